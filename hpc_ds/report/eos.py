"""What a run tells of dense matter: masses and radii, pressures, and what was learnt of each segment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.frame import beside, figure, section, unbroken
from hpc_ds.report.neutron_star import drawing
from hpc_ds.report.reader import Model, Run
from hpc_ds.report.table import Cell, Table
from hpc_ds.report.table import html as as_html
from hpc_ds.report.wording import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "neutron-star"
"""The model in ``summary.json`` that this section belongs to."""

HARDLY = 0.25
"""Bits below which a segment's posterior is nearly its prior."""

_MEDIAN = 2  # of the quantiles 2.5, 16, 50, 84 and 97.5 %
_RADII, _MASSES = (6.5, 16.0), (0.5, 2.6)
_NAME_SIZE = 7.0
_MOST_NAMED = 24
_DENSITIES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100)
_PRESSURES = (1, 10, 100, 1000)


def about_matter(summary: Mapping[str, Any]) -> bool:
    """Tell whether a run was one of neutron stars."""
    return bool(summary.get("model") == NAME)


def question(run: Run) -> str:
    """Write what the run asked."""
    number, file = len(_stars(run.summary)), Path(run.data_path)
    what = "star" if number == 1 else "stars"
    if file.name.endswith("stars"):  # a study says it in words: 14 published stars
        named = file.name
    elif file.suffix:
        named = f"{number or 'the'} {what} of {file.name}"
    else:
        named = f"{number or 'the'} {file.name} {what}"
    return f"What {'does' if number == 1 else 'do'} {named} tell of dense matter?"


def shown(run: Run) -> str:
    """Return the section: figures of the best model, what they mean, and every star; nothing for other runs."""
    if not about_matter(run.summary):
        return ""
    parts = [figures(run, run.best, "best")]
    parts += [f"<p>{unbroken(line)}</p>" for line in sentences(run.summary, run.best.entry)]
    parts += [as_html(table) for table in (cuts(run.summary),) if table is not None]
    known = stars(run.summary)
    if known is not None:
        title = f"Numbers and sources<span>{wording.count(len(known.rows))} stars</span>"
        parts.append(f"<details><summary>{title}</summary><div>{as_html(known)}</div></details>\n")
    return section("matter", f"Dense matter, by {run.best.name}", *parts)


def figures(run: Run, model: Model, key: str) -> str:
    """Draw masses and radii, pressures, and the information on each segment, as far as the model's file has them."""
    drawn = [_mass_radius(run, model, key)] if "mass_radius" in model.groups else []
    pair = []
    if "pressure_density" in model.groups:
        label = f"Pressure against energy density by {model.name}, with the prior"
        pair.append(
            figure(svg.render(_pressure, model, key=f"pressure-{key}", label=label, size=_HALF), _PRESSURE)
        )
    if gains(model.entry):
        label = f"Information gained about each segment by {model.name}, in bits"
        pair.append(figure(svg.render(_gains, model, key=f"gains-{key}", label=label, size=_HALF), _GAINS))
    return "".join(drawn) + (beside(*pair) if pair else "")


def sentences(summary: Mapping[str, Any], entry: Entry) -> list[str]:
    """Say in words what was found of the best model: radius, heaviest star, segments that are hardly constrained."""
    if not about_matter(summary):
        return []
    derived = entry.get("derived", {})
    told = [_estimate(derived.get(name), title, unit) for name, title, unit in _DERIVED]
    lines = [
        f"{text[:1].upper()}{text[1:]}." for text in [wording.spoken([one for one in told if one])] if text
    ]
    weak = [place + 1 for place, bits in enumerate(gains(entry)) if bits < HARDLY]
    if weak:
        named = (
            f"{'segment' if len(weak) == 1 else 'segments'} {wording.spoken([str(place) for place in weak])}"
        )
        lines.append(
            f"Of {named}, the lowest density being 1, the stars tell less than {HARDLY:g} bits: there the posterior is "
            "nearly the prior, and pressures follow from what was taken for possible, not from the data."
        )
    return lines


def gains(entry: Entry) -> list[float]:
    """Return the information on each segment in bits; empty where it is not known."""
    values = [wording.finite(value) for value in entry.get("information_gain") or []]
    return [value for value in values if value is not None]


def cuts(summary: Mapping[str, Any]) -> Table | None:
    """Tabulate which share of each prior meets the cuts, and the log evidence given that they are met."""
    rows = []
    for entry in summary["models"]:
        share, error = (wording.finite(entry.get(key)) for key in ("prior_share", "prior_share_error"))
        if not share:
            continue
        value, wrong = (
            wording.finite(entry.get("log_evidence")),
            wording.finite(entry.get("log_evidence_error")),
        )
        given = None if value is None else value - math.log(share)
        both = math.hypot(wrong or 0.0, (error or 0.0) / share)
        rows.append(
            (
                Cell(entry["name"]),
                Cell(f"{wording.with_error(100.0 * share, 100.0 * (error or 0.0))} %"),
                Cell(wording.with_error(value, wrong)),
                Cell(wording.with_error(given, both)),
            )
        )
    options = summary.get("options", {})
    needed = (
        [f"a maximum mass of {options['least_maximum_mass']:g}"] if options.get("least_maximum_mass") else []
    )
    needed += ["no sound faster than light"] if options.get("causal") else []
    what = wording.spoken(needed) or "a star of one solar mass"
    header = ("model", "share of the prior", "log evidence", "given the cuts")
    return Table(f"What the cuts leave: {what}", header, tuple(rows)) if rows else None


def stars(summary: Mapping[str, Any]) -> Table | None:
    """Tabulate the stars with their numbers and sources."""
    rows = tuple(
        (
            Cell(str(one["name"])),
            Cell(_measured(one, "mass")),
            Cell(_measured(one, "radius")),
            Cell(_known_as(one)),
            Cell("; ".join(str(one[key]) for key in ("source", "method") if one.get(key)) or "–"),
        )
        for one in _stars(summary)
    )
    header = ("star", "mass / solar masses", "radius / km", "by", "source")
    return Table("The stars", header, rows, frozenset({0, 3, 4})) if rows else None


def _stars(summary: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return summary.get("observations") or []


def _mass_radius(run: Run, model: Model, key: str) -> str:
    seen = _stars(run.summary)
    label = f"Mass against radius by {model.name}, with the prior and {len(seen)} stars"
    size = (svg.WIDE[0], 4.3)
    drawn = svg.render(_plane, model, seen, key=f"mass-radius-{key}", label=label, size=size)
    alone = any(one.get("radius") is None for one in seen)
    edge = " A triangle at the edge is a star of which only the mass is known." if alone else ""
    return figure(drawn, _MASS_RADIUS + edge)


def _plane(canvas: Figure, model: Model, seen: Sequence[Mapping[str, Any]]) -> None:
    axes, found = canvas.subplots(), model.groups["mass_radius"]
    axes.set(xlim=_RADII, ylim=_MASSES, xlabel="radius / km", ylabel="mass / solar masses")
    mass, rows = found["mass"], found["radius"]
    if "prior_radius" in found:
        drawing.bands(axes.fill_betweenx, mass, found["prior_radius"], drawing.PRIOR)
    drawing.bands(axes.fill_betweenx, mass, rows, drawing.POSTERIOR)
    axes.plot(rows[_MEDIAN], mass, color=svg.colour(drawing.POSTERIOR), lw=1.4)
    spots = [_draw_star(axes, one) for one in seen]
    drawing.key_above(axes, _key())
    if 0 < len(seen) <= _MOST_NAMED:
        drawing.label_apart(axes, spots, [str(one["name"]) for one in seen], _NAME_SIZE)


def _draw_star(axes: Axes, one: Mapping[str, Any]) -> tuple[float, float]:
    """Draw a star with its errors and return its place; one of unknown radius stands at the edge."""
    ink, alone = svg.colour("ink"), one.get("radius") is None
    x = _RADII[1] if alone else float(np.clip(one["radius"], *_RADII))
    y = float(np.clip(one["mass"], *_MASSES))
    below, above = one["mass_errors"]
    axes.plot([x, x], [y - below, y + above], color=ink, lw=0.6, alpha=0.45, zorder=4)
    if not alone:
        left, right = one["radius_errors"]
        axes.plot([x - left, x + right], [y, y], color=ink, lw=0.6, alpha=0.45, zorder=4)
    axes.plot([x], [y], ">" if alone else "o", ms=4.2, mew=0, color=ink, zorder=6, clip_on=False)
    return x, y


def _pressure(canvas: Figure, model: Model) -> None:
    axes, found = canvas.subplots(), model.groups["pressure_density"]
    density = found["energy_density"] / found["energy_density"][0]
    if "prior_pressure" in found:
        drawing.bands(axes.fill_between, density, found["prior_pressure"], drawing.PRIOR)
    drawing.bands(axes.fill_between, density, found["pressure"], drawing.POSTERIOR)
    axes.plot(density, found["pressure"][_MEDIAN], color=svg.colour(drawing.POSTERIOR), lw=1.4)
    axes.set(xscale="log", yscale="log", xlim=(1.0, density[-1]))
    low, high = axes.get_ylim()
    for axis, places, ends in (
        (axes.xaxis, _DENSITIES, (1.0, density[-1])),
        (axes.yaxis, _PRESSURES, (low, high)),
    ):
        kept = [at for at in places if ends[0] <= at * 1.001 and at <= ends[1] * 1.001]
        axis.set_ticks(kept, [f"{at:g}" for at in kept])
        axis.set_ticks([], minor=True)
    axes.set(xlabel="energy density / nuclear density", ylabel="pressure / MeV fm⁻³")
    axes.legend(handles=_key(), loc="lower right", handlelength=1.3)


def _key() -> list[Any]:
    return [drawing.band_key(drawing.PRIOR, "prior"), drawing.band_key(drawing.POSTERIOR, "posterior")]


def _gains(canvas: Figure, model: Model) -> None:
    axes, values = canvas.subplots(), gains(model.entry)
    axes.bar(range(len(values)), values, 0.66, color=svg.colour(drawing.POSTERIOR), alpha=0.85, zorder=2)
    for place, value in enumerate(values):
        axes.annotate(
            wording.fraction(value),
            (place, max(value, 0.0)),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
        )
    axes.axhline(HARDLY, color=svg.colour("muted"), lw=0.8, ls=(0, (4, 2)))
    axes.axhline(0.0, color=svg.colour("muted"), lw=0.7)
    axes.margins(y=0.12)
    axes.set_xticks(range(len(values)), _spans(model, len(values)))
    axes.set(xlabel="energy density of the segment / nuclear density", ylabel="information gain / bits")
    axes.tick_params(axis="x", labelrotation=30 if len(values) > 5 else 0)
    axes.grid(visible=False, axis="x")


def _spans(model: Model, segments: int) -> list[str]:
    """Return the range of each segment in nuclear densities; only numbers where the file does not tell."""
    found = model.groups.get("pressure_density", {}).get("energy_density")
    if found is None:
        return [str(place + 1) for place in range(segments)]
    ends = (found[-1] / found[0]) ** (np.arange(segments + 1) / segments)
    texts = [f"{end:.1f}".removesuffix(".0") for end in ends]
    return [f"{low}–{high}" for low, high in pairwise(texts)]


def _estimate(values: Any, title: str, unit: str) -> str:
    if not values:
        return ""
    spread = values.get("sd")
    low, high = (wording.quantity(values.get(key), spread) for key in ("2.5%", "97.5%"))
    return f"{title} is {wording.with_error(values.get('mean'), spread)}{unit} (95 %: {low} to {high})"


def _measured(one: Mapping[str, Any], what: str) -> str:
    value, errors = wording.finite(one.get(what)), one.get(f"{what}_errors")
    if value is None or errors is None:
        return "–"
    low, high = errors
    if low == high:
        return wording.with_error(value, low)
    told = [wording.quantity(number, min(low, high)) for number in (value, low, high)]
    return f"{told[0]} −{told[1]} +{told[2]}"


def _known_as(one: Mapping[str, Any]) -> str:
    form = {"grid": "grid of likelihoods", "samples": "samples"}.get(str(one.get("form")), "")
    return ", ".join(part for part in (str(one.get("kind") or ""), form) if part) or "numbers with errors"


_HALF = (svg.HALF[0], 3.2)
_DERIVED = (
    ("radius[1.4]", "the radius of a star of 1.4 solar masses", " km"),
    ("tidal_deformability[1.4]", "its tidal deformability", ""),
    ("maximum_mass", "the maximum mass", " solar masses"),
)
_MASS_RADIUS = (
    "The stars with their errors, 68 %, and the bands of 68 and 95 % of the radius at each mass: grey before the data, "
    "blue after. A band ends where fewer than one equation of state in twenty has such a star."
)
_PRESSURE = "The pressure of dense matter: bands of 68 and 95 %, grey before the data, blue after."
_GAINS = (
    "What is learnt of each segment: the relative entropy of its posterior to its prior. One bit halves the range that "
    "is left; below the dashed line the posterior is nearly the prior."
)
