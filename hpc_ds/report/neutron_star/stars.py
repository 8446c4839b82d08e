"""Draw the observed stars in the plane of mass and radius, with what each method says of all stars."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg
from hpc_ds.report.neutron_star import drawing, naming
from hpc_ds.report.neutron_star import wording as words
from hpc_ds.report.neutron_star.reader import HIGH, LOW, MEDIAN, Study
from hpc_ds.report.wording import spoken

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Star = Mapping[str, Any]

SIZE = (svg.WIDE[0], 4.3)
_NAME_SIZE = 7.0
_MOST_NAMED = 24
_RADII, _MASSES = (6.5, 16.0), (0.5, 2.6)
_MARKERS = {"pulse profile": "D", "mass": ">", "quiescent": "o", "burster": "s"}
_HOVER = "star:"  # what `_titled` turns into a text that is seen when the mouse rests on the star
_HALO = "paint-order:stroke;stroke:var(--page);stroke-width:2.5px;stroke-linejoin:round"


def given(study: Study, key: str = "mass-radius") -> tuple[str, str]:
    """Draw the stars that are given with all bands; return figure and caption."""
    stars = study.items("observations")
    bands = spoken(study.answers("mass_radius"))
    label = f"Radius and mass of {naming.stars(stars)} with the bands of {bands}"
    drawn = svg.render(_given, study, stars, key=key, label=label, size=SIZE)
    return _titled(drawn, stars), _caption(study, stars)


def every(study: Study, key: str = "mass-radius-all") -> tuple[str, str] | None:
    """Draw every published star with the posterior given all of them; None where that was not sampled."""
    rows, stars = study.bands("mass_radius", "posterior_all"), study.items("observations_all")
    if rows is None or not stars:
        return None
    label = (
        f"Radius and mass of {naming.stars(stars)} with the bands of the exact posterior given all of them"
    )
    drawn = svg.render(_every, study, rows, stars, key=key, label=label, size=SIZE)
    new = [star for star in stars if star.get("name") not in _names(study)]
    more = (
        f"; named are the {naming.number(len(new))} that the networks do not see"
        if new and _names(study)
        else ""
    )
    told = [
        f"The same plane with {naming.stars(stars)}{more}. Bands: the exact posterior given all of them, 68 and 95 %; "
        "dotted: the 95 % of the posterior above.",
        words.prior_of_all(study),
        _EDGE if _alone(stars) else "",
    ]
    return _titled(drawn, stars), " ".join(one for one in told if one)


def _given(figure: Figure, study: Study, stars: Sequence[Star]) -> None:
    axes, entries = _plane(figure), []
    entries += _prior(axes, study)
    rows = study.bands("mass_radius", "posterior")
    if rows is not None:
        entries.append(_posterior(axes, study, rows, drawing.POSTERIOR, study.posterior))
    entries += _networks(axes, study)
    _draw(axes, stars, [])
    drawing.key_above(axes, entries)
    _name(axes, stars, [])


def _every(figure: Figure, study: Study, rows: np.ndarray, stars: Sequence[Star]) -> None:
    axes, known = _plane(figure), _names(study)
    entries = _prior(axes, study)
    entries.append(_posterior(axes, study, rows, drawing.ALL, "exact, every star"))
    before = study.bands("mass_radius", "posterior")
    if before is not None:
        for row in (before[LOW], before[HIGH]):
            axes.plot(
                row, study.axis("mass_radius"), color=svg.colour(drawing.POSTERIOR), lw=1, ls=(0, (1, 1.5))
            )
        label = f"{naming.number(len(known)) if known else 'fewer'} stars, 95 %"
        entries.append(drawing.line_key(drawing.POSTERIOR, label, lw=1, ls=(0, (1, 1.5))))
    old = [star for star in stars if star.get("name") in known]
    new = [star for star in stars if star.get("name") not in known]
    _draw(axes, old, old)
    _draw(axes, new, old)
    drawing.key_above(axes, entries)
    _name(axes, new, old)


def _plane(figure: Figure) -> Axes:
    axes = figure.subplots()
    axes.set(xlim=_RADII, ylim=_MASSES, xlabel="radius / km", ylabel="mass / solar masses")
    return axes


def _prior(axes: Axes, study: Study) -> list[Any]:
    rows = study.bands("mass_radius", "prior")
    if rows is None:
        return []
    drawing.bands(axes.fill_betweenx, study.axis("mass_radius"), rows, drawing.PRIOR)
    return [drawing.band_key(drawing.PRIOR, "prior")]


def _posterior(axes: Axes, study: Study, rows: np.ndarray, role: str, label: str) -> Any:
    mass = study.axis("mass_radius")
    drawing.bands(axes.fill_betweenx, mass, rows, role)
    axes.plot(rows[MEDIAN], mass, color=svg.colour(role), lw=1.4)
    return drawing.band_key(role, label)


def _networks(axes: Axes, study: Study) -> list[Any]:
    rows = study.members("mass_radius")
    if rows is None:
        return []
    mass, ink = study.axis("mass_radius"), svg.colour(drawing.NETWORK)
    mean, sd = words.moments(rows)
    for row in rows:
        axes.plot(row, mass, color=ink, lw=0.5, alpha=0.55)
    axes.plot(mean, mass, color=ink, lw=1.8)
    for side in (-1, 1):
        axes.plot(mean + side * sd, mass, color=ink, lw=1, ls=(0, (4, 2)))
    return [drawing.line_key(drawing.NETWORK, "networks, mean ± sd", lw=1.8)]


def _draw(axes: Axes, stars: Sequence[Star], faint: Sequence[Star]) -> None:
    """Draw stars with their errors; a star of unknown radius stands at the edge."""
    for star in stars:
        x, y = _spot(star)
        weak = star in faint
        colour = svg.colour("muted" if weak else "ink")
        style: dict[str, Any] = {"color": colour, "lw": 0.6, "alpha": 0.3 if weak else 0.45, "zorder": 4}
        below, above = star["mass_errors"]
        axes.plot([x, x], [y - below, y + above], **style)
        if star.get("radius") is not None:
            low, high = star["radius_errors"]
            axes.plot([x - low, x + high], [y, y], **style)
        marker = _MARKERS.get(naming.kind_of(star), "o")
        (dot,) = axes.plot(
            [x], [y], marker, ms=3 if weak else 4.2, mew=0, color=colour, zorder=6, clip_on=False
        )
        dot.set_url(f"{_HOVER}{star['name']}")


def _name(axes: Axes, stars: Sequence[Star], others: Sequence[Star]) -> None:
    spots = [_spot(star) for star in (*others, *stars)]
    if 0 < len(stars) <= _MOST_NAMED:
        names = [str(star["name"]) for star in stars]
        drawing.label_apart(axes, spots, names, _NAME_SIZE, len(others), _HOVER)


def _spot(star: Star) -> tuple[float, float]:
    radius = _RADII[1] if star.get("radius") is None else float(star["radius"])
    return float(np.clip(radius, *_RADII)), float(np.clip(star["mass"], *_MASSES))


def _alone(stars: Sequence[Star]) -> bool:
    """Tell whether only the mass is known of one of them."""
    return any(star.get("radius") is None for star in stars)


def _names(study: Study) -> set[Any]:
    return {star.get("name") for star in study.items("observations")}


def _titled(drawn: str, stars: Sequence[Star]) -> str:
    """Turn the marks that stars carry into texts that are shown when the mouse rests on them; names get a halo."""
    told = {str(star["name"]): naming.star(star) for star in stars}

    def title(match: re.Match[str]) -> str:
        name = unescape(match[1])
        look = f' style="{_HALO}"' if "<text" in match[2] else ""
        return f"<g{look}><title>{escape(told.get(name, name))}</title>{match[2]}</g>"

    return re.sub(rf'<a href="{_HOVER}([^"]*)"[^>]*>(.*?)</a>', title, drawn, flags=re.S)


def _caption(study: Study, stars: Sequence[Star]) -> str:
    rows = study.members("mass_radius")
    parts = [
        f"{naming.stars(stars).capitalize()} with their errors ({naming.markers(stars)}); the mouse shows the numbers."
    ]
    parts += [_EDGE] if _alone(stars) else []
    if study.bands("mass_radius", "prior") is not None:
        parts.append("Grey: what the prior allows before any radius is measured, 68 and 95 %.")
    if study.bands("mass_radius", "posterior") is not None:
        parts.append(f"Blue: the {study.posterior}, 68 and 95 %.")
    if rows is not None:
        each = "thin lines" if len(rows) > 1 else "the thin line"
        parts.append(
            f"Orange: {naming.networks(len(rows))} ({each}), their mean and its standard deviation (dashed)."
        )
    parts.append("A band ends where fewer than one equation of state in twenty has such a star.")
    return " ".join(parts)


_EDGE = "A triangle at the edge is a star of which only the mass is known."
