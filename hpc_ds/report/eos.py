"""What a run tells of dense matter: the section of an infer run, drawn as the study of neutron stars draws its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpc_ds.report import wording
from hpc_ds.report.frame import beside, figure, section, unbroken
from hpc_ds.report.neutron_star import curves, stars, tables
from hpc_ds.report.neutron_star import wording as words
from hpc_ds.report.neutron_star.reader import Study
from hpc_ds.report.reader import Model, Run
from hpc_ds.report.table import Cell, Table
from hpc_ds.report.table import html as as_html
from hpc_ds.report.wording import Entry

NAME = "neutron-star"
"""The model in ``summary.json`` that this section belongs to."""


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
    known = _stars(run.summary)
    if known:
        title = f"Numbers and sources<span>{wording.count(len(known))} stars</span>"
        table = as_html(tables.of_stars("The stars", known))
        parts.append(f"<details><summary>{title}</summary><div>{table}</div></details>\n")
    return section("matter", f"Dense matter, by {run.best.name}", *parts)


def figures(run: Run, model: Model, key: str) -> str:
    """Draw masses and radii, pressures, and the information on each segment, as far as the model's file has them."""
    study = _as_study(run, model)
    plane = figure(*stars.given(study, f"mass-radius-{key}")) if "mass_radius" in study.compared else ""
    pair = []
    if "pressure_density" in study.compared:
        pair.append(figure(*curves.pressure(study, f"pressure-{key}")))
    gains = curves.gains(study, f"gains-{key}")
    if gains is not None:
        pair.append(figure(*gains))
    return plane + (beside(*pair) if pair else "")


def sentences(summary: Mapping[str, Any], entry: Entry) -> list[str]:
    """Say in words what was found of a model: radius, heaviest star, what was learnt of each segment."""
    if not about_matter(summary):
        return []
    derived = entry.get("derived", {})
    told = [_estimate(derived.get(name), title, unit) for name, title, unit in _DERIVED]
    found = wording.spoken([one for one in told if one])
    learnt = words.learnt(entry, summary.get("options", {}).get("density_ratio"))
    return [line for line in (f"{found[:1].upper()}{found[1:]}." if found else "", learnt) if line]


def cuts(summary: Mapping[str, Any]) -> Table | None:
    """Tabulate which share of each prior meets the cuts, and the log evidence given that they are met."""
    rows = tuple(
        (Cell(entry["name"]), *tables.given_cuts(entry))
        for entry in summary["models"]
        if wording.finite(entry.get("prior_share"))
    )
    options = summary.get("options", {})
    needed = (
        [f"a maximum mass of {options['least_maximum_mass']:g}"] if options.get("least_maximum_mass") else []
    )
    needed += ["no sound faster than light"] if options.get("causal") else []
    what = wording.spoken(needed) or "a star of one solar mass"
    header = ("model", "log evidence", "share of the prior", "given the cuts")
    return Table(f"What the cuts leave: {what}", header, rows) if rows else None


def _stars(summary: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return summary.get("observations") or []


def _as_study(run: Run, model: Model) -> Study:
    """Return one model of the run as a study that has nothing but this posterior."""
    compared = {}
    for group, axis, what in (
        ("mass_radius", "mass", "radius"),
        ("pressure_density", "energy_density", "pressure"),
    ):
        names = {axis: axis, what: "posterior", f"prior_{what}": "prior"}
        found = model.groups.get(group)
        if found:
            compared[group] = {new: found[name] for name, new in names.items() if name in found}
    told = ({**run.summary, "posterior": model.entry}, run.config, run.provenance, run.state, run.note)
    return Study(run.folder, *told, compared, calibrated={}, built=())


def _estimate(values: Any, title: str, unit: str) -> str:
    if not values:
        return ""
    spread = values.get("sd")
    low, high = (wording.quantity(values.get(key), spread) for key in ("2.5%", "97.5%"))
    return f"{title} is {wording.with_error(values.get('mean'), spread)}{unit} (95 %: {low} to {high})"


_DERIVED = (
    ("radius[1.4]", "the radius of a star of 1.4 solar masses", " km"),
    ("tidal_deformability[1.4]", "its tidal deformability", ""),
    ("maximum_mass", "the maximum mass", " solar masses"),
)
