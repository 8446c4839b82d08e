"""Assemble the page of the neutron-star study."""

from __future__ import annotations

from html import escape
from pathlib import Path

from hpc_ds.report import figures
from hpc_ds.report.frame import beside, document, figure, header, provenance, section, unbroken
from hpc_ds.report.neutron_star import curves, honesty, stars, tables, trust
from hpc_ds.report.neutron_star import wording as words
from hpc_ds.report.neutron_star.reader import CANONICAL, Estimate, Study, load
from hpc_ds.report.table import Table
from hpc_ds.report.table import html as as_html
from hpc_ds.report.wording import count, finite
from hpc_ds.runtime.amounts import duration_text

Drawn = tuple[str, str] | None


def html(folder: Path) -> str:
    """Return the page for the study in `folder`.

    Raises
    ------
    InputError
        It is no run folder of this study, is not finished, or holds a damaged file.
    """
    study = load(Path(folder))
    said = words.verdict(study)
    sections = [
        _mass_radius(study),
        _pressure(study),
        _speeds(study),
        _models(study),
        _radius_errors(study),
        _honesty(study),
        _stars(study),
        _made(study),
        provenance(study, {"source": str(study.summary.get("source") or "")}),
    ]
    title = str(study.summary.get("title") or "Neutron stars")
    return document(study, said.headline, header(title, said, (), _facts(study)), sections)


def _facts(study: Study) -> dict[str, str]:
    radius = f"R({CANONICAL:g}), "
    took = [finite(value) for value in study.part("seconds").values()]
    facts = {
        f"{radius}exact posterior": _km(study.sampled(f"radius[{CANONICAL:g}]")),
        f"{radius}networks": _km(study.network_radius()),
        f"{radius}every star": _km(study.sampled(f"radius[{CANONICAL:g}]", "posterior_all")),
        "Equations of state": count(study.part("ensemble").get("accepted")),
        "Scale": str(study.summary.get("scale") or "–"),
        "Took": duration_text(sum(one or 0.0 for one in took)) if took else "–",
    }
    return {name: value for name, value in facts.items() if value != "–"}


def _km(one: Estimate | None) -> str:
    return "–" if one is None else f"{words.estimate(one)} km"


def _mass_radius(study: Study) -> str:
    parts = _told(words.narrowed(study), words.agreement(study))
    if "mass_radius" in study.compared:
        parts.append(figure(*stars.given(study)))
    parts += _table(tables.answers(study))
    parts += _figure(stars.every(study))
    if not study.part("posterior_all"):
        parts += _told("The posterior given every published star was not sampled in this run.")
    return section("mass-radius", "Mass and radius", *parts)


def _pressure(study: Study) -> str:
    if "pressure_density" not in study.compared:
        return ""
    both = [figure(*curves.pressure(study)), *_figure(curves.pressure_of_all(study))]
    return section("pressure", "Pressure and density", beside(*both))


def _speeds(study: Study) -> str:
    parts = _told(words.constrained(study))
    both = [figure(*curves.speeds(study))] if "sound_speed" in study.compared else []
    both += _figure(curves.gains(study))
    parts += [beside(*both)] if both else []
    parts += _table(tables.speeds(study))
    return section("speeds", "Speed of sound, segment by segment", *parts) if parts else ""


def _models(study: Study) -> str:
    entries = [one for one in study.items("models") if finite(one.get("log_evidence")) is not None]
    if not entries:
        return ""
    told = _told(
        "A cut on the maximum mass counts as data: more segments meet it more or less often, which is part of the "
        "evidence. The last column takes that out, and compares what the radii say alone."
    )
    drawn = []
    if len(entries) > 1:
        summary = {"models": entries}
        drawn = [
            beside(
                figure(figures.evidence(summary), _EVIDENCE),
                figure(figures.probability(summary), _PROBABILITY),
            )
        ]
    return section("models", "How many segments?", *drawn, *told, *_table(tables.models(study)))


def _radius_errors(study: Study) -> str:
    table = tables.radius_errors(study)
    if table is None:
        return ""
    parts = [*_told(words.radius_summary(study)), figure(*curves.radius_errors(study)), as_html(table)]
    return section("radius-errors", "The radius of unseen stars, beside the published row", *parts)


def _honesty(study: Study) -> str:
    if not study.part("calibration"):
        return section(
            "honesty", "Are the error bars honest?", *_told("No calibration was made in this run.")
        )
    parts = _told(trust.exactness(study), trust.bootstrap(study))
    if not trust.network_calibration(study):
        parts += _told("The band of the networks was not tested in this run.")
    parts += _figure(honesty.coverage(study))
    parts += [*_table(tables.coverage(study)), *_told(_COLUMNS)]
    parts += _figure(honesty.ranks(study))
    parts += _told(trust.effective(study), trust.ways(study))
    if not study.part("calibration").get("exchange"):
        parts += _told("No truth was sampled by replica exchange as well.")
    both = [*_figure(honesty.truths(study)), *_figure(honesty.two_ways(study))]
    parts += [beside(*both)] if both else []
    return section("honesty", "Are the error bars honest?", *parts)


def _stars(study: Study) -> str:
    found = [as_html(table) for table in tables.stars(study)]
    return section("stars", "The observed stars", *found) if found else ""


def _made(study: Study) -> str:
    links = "".join(
        f'<li><a href="{name}/report.html">{escape(_PAGES[name])}</a></li>'
        for name in study.built
        if name in _PAGES
    )
    pages = f"<p>Pages of the stages:</p><ul>{links}</ul>" if links else ""
    return section("made", "How it was made", *_told(_STEPS), as_html(tables.stages(study)), pages)


def _told(*texts: str) -> list[str]:
    return [f"<p>{unbroken(text)}</p>\n" for text in texts if text]


def _table(table: Table | None) -> list[str]:
    return [] if table is None else [as_html(table)]


def _figure(drawn: Drawn) -> list[str]:
    return [] if drawn is None else [figure(*drawn)]


_EVIDENCE = (
    "The log evidence of each number of segments with its standard error, and how far it lies below the highest: 3 "
    "less is 20 times less probable."
)
_PROBABILITY = "The probability of each number of segments, weighed against those tried here only."
_COLUMNS = (
    "Errors are root mean squares of the mean against the truth, in units of c² or km; the spread is the mean standard "
    "deviation of the networks; the last column is the root mean square of how far the networks' mean lies from the "
    "exact posterior's, in posterior standard deviations. Coloured: what chance does not explain."
)
_STEPS = (
    "Equations of state are drawn from the prior and their stars computed; networks learn from noisy copies of mock "
    "stars and read the observed ones; replica exchange samples the exact posterior of the same stars under the same "
    "prior; mock truths test both. A time adds up all sessions of a stage that ended in good order."
)
_PAGES = {
    "ensemble": "the equations of state",
    "network-fixed": "the networks with fixed errors",
    "network-known": "the networks with known errors",
    "posterior": "the exact posterior",
    "posterior-all": "the exact posterior given every star",
    "calibration": "the calibration",
}
