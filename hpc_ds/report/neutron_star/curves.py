"""Draw pressure against energy density, speeds of sound by segment with what was learnt of each, and radius errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.neutron_star import drawing, naming
from hpc_ds.report.neutron_star import wording as words
from hpc_ds.report.neutron_star.reader import HIGH, LOW, LOWER, MEDIAN, UPPER, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DENSITIES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100)
_ABOVE = tuple(200 * 2**k for k in range(7))
_UPRIGHT = 5  # segments whose names have room beside each other
_PRESSURES = (1, 10, 100, 1000)
_RADIUS_ERRORS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)


def pressure(study: Study, key: str = "pressure") -> tuple[str, str]:
    """Draw the bands of the pressure given the stars of the networks; return figure and caption."""
    said = ["grey the prior"]
    if study.bands("pressure_density", "posterior") is not None:
        said.append(f"blue the {study.posterior}")
    rows = study.members("pressure_density")
    if rows is not None:
        said.append(f"orange the mean of {naming.networks(len(rows))} with its standard deviation (dashed)")
    label = f"Pressure against energy density: {wording.spoken(study.answers('pressure_density'))}"
    drawn = svg.render(_pressure, study, "posterior", key=key, label=label, size=(svg.HALF[0], 3.4))
    stars = naming.stars(study.items("observations"))
    return drawn, f"The equation of state given {stars}, with bands of 68 and 95 %: {wording.spoken(said)}."


def pressure_of_all(study: Study, key: str = "pressure-all") -> tuple[str, str] | None:
    """Draw the same given every star; None where that was not sampled."""
    if study.bands("pressure_density", "posterior_all") is None:
        return None
    label = "Pressure against energy density: exact posterior given every published star"
    drawn = svg.render(_pressure, study, "posterior_all", key=key, label=label, size=(svg.HALF[0], 3.4))
    stars = naming.stars(study.items("observations_all"))
    return drawn, f"Given {stars}: the exact posterior (green); dotted, the 95 % band of the figure beside."


def speeds(study: Study, key: str = "speeds") -> tuple[str, str]:
    """Draw the squared speed of sound of each segment; return figure and caption."""
    label = "Squared speed of sound of each segment: prior, networks and exact posterior"
    drawn = svg.render(_speeds, study, key=key, label=label, size=(svg.HALF[0], 3.1))
    return drawn, (
        "The squared speed of sound in each segment of density, in units of that of light: grey the prior, blue and "
        "green the exact posterior (thick 68 %, thin 95 %, the dot its median), orange the networks (dots) with mean "
        "and standard deviation."
    )


def gains(study: Study, key: str = "gains") -> tuple[str, str] | None:
    """Draw what the stars tell of each segment in bits; None where that is not known."""
    rows = [(words.gains(study.part(which)), role) for which, role in _GAINS]
    known = [(values, role) for values, role in rows if values]
    if not known:
        return None
    segments = max(len(values) for values, _ in known)
    label = f"Information gained about each of {naming.number(segments)} segments, in bits"
    drawn = svg.render(_gains, study, known, key=key, label=label, size=(svg.HALF[0], 3.1))
    return drawn, (
        "What is learnt of each segment: the relative entropy of its posterior to the prior. One bit halves the range "
        "that is left; below the line the page calls a segment hardly constrained, from there to half a bit little."
    )


def radius_errors(study: Study, key: str = "radius-errors") -> tuple[str, str]:
    """Draw the error of the radius by mass, beside the published one; return figure and caption."""
    label = "Root mean square error of the radius against the mass of the star"
    drawn = svg.render(_radius_errors, study, key=key, label=label, size=(svg.WIDE[0], 2.9))
    return drawn, words.radius_caption(study)


_GAINS = (("posterior", drawing.POSTERIOR), ("posterior_all", drawing.ALL))


def _pressure(figure: Figure, study: Study, which: str) -> None:
    axes = figure.subplots()
    density = study.axis("pressure_density") / naming.nuclear_density()
    drawn = []
    for name, role, label in (
        ("prior", drawing.PRIOR, "prior"),
        (which, drawing.ALL if which == "posterior_all" else drawing.POSTERIOR, study.posterior),
    ):
        rows = study.bands("pressure_density", name)
        if rows is not None:
            drawing.bands(axes.fill_between, density, rows, role)
            drawn.append(drawing.band_key(role, label))
            if name != "prior":
                axes.plot(density, rows[MEDIAN], color=svg.colour(role), lw=1.4)
    drawn += _others(axes, study, density, which)
    _log_log(axes, density)
    axes.legend(handles=drawn, loc="lower right", handlelength=1.3)


def _others(axes: Axes, study: Study, density: np.ndarray, which: str) -> list[Any]:
    """Draw the networks; where every star is given, which they do not see, the posterior without the others instead."""
    if which == "posterior_all":
        rows = study.bands("pressure_density", "posterior")
        if rows is None:
            return []
        for row in (rows[LOW], rows[HIGH]):
            axes.plot(density, row, color=svg.colour(drawing.POSTERIOR), lw=1, ls=(0, (1, 1.5)))
        return [drawing.line_key(drawing.POSTERIOR, "without the others, 95 %", lw=1, ls=(0, (1, 1.5)))]
    members = study.members("pressure_density")
    if members is None:
        return []
    mean, sd = words.moments(members)
    for row in members:
        axes.plot(density, row, color=svg.colour(drawing.NETWORK), lw=0.5, alpha=0.55)
    axes.plot(density, mean, color=svg.colour(drawing.NETWORK), lw=1.6)
    for side in (-1, 1):
        edge = np.where(mean + side * sd > 0.0, mean + side * sd, np.nan)
        axes.plot(density, edge, color=svg.colour(drawing.NETWORK), lw=1, ls=(0, (4, 2)))
    return [drawing.line_key(drawing.NETWORK, "networks, mean ± sd", lw=1.6)]


def _log_log(axes: Axes, density: np.ndarray) -> None:
    """Make both axes logarithmic, and write energy densities in MeV/fm³ above the panel."""
    axes.set(xscale="log", yscale="log", xlim=(density.min(), density.max()))
    axes.set_xticks(_within(_DENSITIES, density))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = axes.get_ylim()
    axes.set_yticks([at for at in _PRESSURES if low <= at <= high])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("energy density / nuclear density")
    axes.set_ylabel("pressure / MeV fm⁻³")
    unit = naming.nuclear_density()
    top = axes.secondary_xaxis(
        "top", functions=(partial(np.multiply, unit), partial(np.multiply, 1.0 / unit))
    )
    above = _within(_ABOVE, unit * density)
    top.set_xticks(above, [f"{at:g}" for at in above])
    top.set_xlabel("energy density / MeV fm⁻³", fontsize=8)
    for axis in (axes.xaxis, axes.yaxis, top.xaxis):
        axis.set_ticks([], minor=True)


def _within(ticks: Sequence[int], values: np.ndarray) -> list[int]:
    return [at for at in ticks if values.min() <= at * 1.001 and at <= values.max() * 1.001]


def _speeds(figure: Figure, study: Study) -> None:
    axes, entries = figure.subplots(), []
    prior, posterior, every = (
        study.bands("sound_speed", name) for name in ("prior", "posterior", "posterior_all")
    )
    members = study.members("sound_speed")
    count = next((rows.shape[1] for rows in (prior, posterior, every, members) if rows is not None), 0)
    place = np.arange(count)
    if prior is not None:
        for low, high, strength in (
            (LOW, HIGH, drawing.WIDE_BAND),
            (LOWER, UPPER, drawing.NARROW_BAND),
        ):
            axes.bar(
                place,
                prior[high] - prior[low],
                0.84,
                prior[low],
                color=svg.colour(drawing.PRIOR),
                alpha=strength,
            )
        entries.append(drawing.band_key(drawing.PRIOR, "prior"))
    for rows, role, shift, label in (
        (posterior, drawing.POSTERIOR, -0.24, "exact"),
        (every, drawing.ALL, 0.24, "every star"),
    ):
        if rows is not None:
            _whiskers(axes, place + shift, rows, role)
            entries.append(drawing.line_key(role, label, marker="o", ms=4, lw=2.4))
    if members is not None:
        _dots(axes, place, members)
        entries.append(drawing.line_key(drawing.NETWORK, "networks", marker="o", ms=4, lw=1.4))
    axes.set_ylim(0, 1)
    _segments(axes, naming.segments(count, study.density_ratio))
    axes.set_ylabel("squared speed of sound / c²")
    drawing.key_above(axes, entries)


def _whiskers(axes: Axes, place: np.ndarray, rows: np.ndarray, role: str) -> None:
    colour = svg.colour(role)
    axes.vlines(place, rows[LOW], rows[HIGH], color=colour, lw=1)
    axes.vlines(place, rows[LOWER], rows[UPPER], color=colour, lw=3.4)
    axes.plot(place, rows[MEDIAN], "o", ms=4.4, color=colour, mec=svg.colour("ink"), mew=0.6)


def _dots(axes: Axes, place: np.ndarray, members: np.ndarray) -> None:
    colour = svg.colour(drawing.NETWORK)
    mean, sd = words.moments(members)
    for number, row in enumerate(members):
        # Side by side by rank, so that the picture is the same each time and equal answers lie apart.
        shift = 0.1 * ((number % 5) - 2) / 2
        axes.plot(place + shift, row, ".", ms=3, mew=0, alpha=0.7, color=colour)
    axes.errorbar(place, mean, sd, fmt="_", ms=9, mew=1.4, elinewidth=1.1, capsize=2.5, color=colour)


def _gains(figure: Figure, study: Study, known: Sequence[tuple[list[float], str]]) -> None:
    axes = figure.subplots()
    width = 0.72 / len(known)
    for number, (values, role) in enumerate(known):
        place = np.arange(len(values)) + width * (number - 0.5 * (len(known) - 1))
        axes.bar(place, values, 0.92 * width, color=svg.colour(role), alpha=0.85)
        for x, height in zip(place, values, strict=True):
            told = words.bits(height)
            axes.annotate(
                told,
                (x, words.HARDLY if height < words.HARDLY and told != "0" else height),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
    axes.axhline(words.HARDLY, color=svg.colour("muted"), lw=0.8, ls=(0, (4, 2)))
    axes.axhline(0, color=svg.colour("muted"), lw=0.7)
    axes.margins(y=0.1)
    _segments(axes, naming.segments(max(len(values) for values, _ in known), study.density_ratio))
    axes.set_ylabel("information gain / bits")
    names = {drawing.POSTERIOR: study.posterior, drawing.ALL: "every star"}
    drawing.key_above(axes, [drawing.band_key(role, names[role]) for _, role in known])


def _segments(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > _UPRIGHT else 0)
    axes.set_xlabel("energy density of the segment / nuclear density")
    axes.grid(visible=False, axis="x")


def _radius_errors(figure: Figure, study: Study) -> None:
    axes, entries, drawn = figure.subplots(), [], []
    mass = words.row(study, "mass")
    for name, role, label, marker in _ROWS:
        values = words.row(study, name)
        known = np.isfinite(values)
        if not known.any() or values.size != mass.size:
            continue
        axes.plot(mass[known], values[known], marker, ms=4.5, lw=1.4, color=svg.colour(role), ls="-")
        entries.append(drawing.line_key(role, label, marker=marker, ms=4.5))
        drawn.append(values[known])
    same = words.same_truths(study)
    if same.size == mass.size and np.isfinite(same).all() and drawn:
        axes.plot(mass, same, "o", ms=3, lw=1.2, color=svg.colour(drawing.NETWORK), ls=(0, (4, 2)))
        drawn.append(same)
    if drawn:
        _log_radii(axes, np.concatenate(drawn))
        axes.set_xticks(mass, [f"{one:.1f}" for one in mass])
    axes.set(xlabel="mass of the star / solar masses", ylabel="rms error of the radius / km")
    drawing.key_above(axes, entries)


def _log_radii(axes: Axes, values: np.ndarray) -> None:
    low, high = 0.85 * float(values.min()), 1.15 * float(values.max())
    axes.set(yscale="log", ylim=(low, high))
    ticks = [tick for tick in _RADIUS_ERRORS if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)


_ROWS = (
    ("network", drawing.NETWORK, "networks", "o"),
    ("published", drawing.PUBLISHED, "published", "D"),
    ("exact", drawing.POSTERIOR, "exact posterior", "s"),
    ("prior_mean", drawing.PRIOR, "prior mean", "x"),
)
