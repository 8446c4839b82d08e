"""The numbers of the neutron-star study as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpc_ds.report import wording
from hpc_ds.report.neutron_star import naming, trust
from hpc_ds.report.neutron_star import wording as words
from hpc_ds.report.neutron_star.reader import CANONICAL, Estimate, Study
from hpc_ds.report.table import Cell, Table
from hpc_ds.report.wording import finite
from hpc_ds.runtime.amounts import duration_text

_SHARE = 0.05  # a coverage that far from what is right is looked at, if chance does not explain it
_STAGES = {
    "ensemble": "equations of state",
    "network-fixed": "networks, fixed errors",
    "network-known": "networks, known errors",
    "posterior": "exact posterior",
    "posterior-all": "exact posterior, every star",
    "calibration": "calibration",
}
_FORMS = {"grid": "grid of likelihoods", "samples": "samples"}


def answers(study: Study) -> Table | None:
    """Tabulate R(1.4), maximum mass and pressures by every method."""
    rows = []
    for name, title, group, at in _answers():
        alone = (study.prior_at(group, at), study.networks_at(group, at)) if group else (None, None)
        found = [*alone, study.sampled(name), study.sampled(name, "posterior_all")]
        if any(found):
            rows.append((Cell(title), *(Cell(words.estimate(one)) for one in found)))
    header = ("", "prior", "networks", "exact posterior", "every star")
    caption = "What they say (mean ± standard deviation; of the prior the median, and its middle 68 %)"
    return Table(caption, header, tuple(rows)) if rows else None


def speeds(study: Study) -> Table | None:
    """Tabulate the squared speed of sound of each segment: networks, exact posterior, difference, information."""
    parameters = study.part("posterior").get("parameters") or {}
    rows, members = [], study.members("sound_speed")
    count = len(parameters) or (0 if members is None else members.shape[1])
    mean, sd = (None, None) if members is None else words.moments(members)
    bits, bits_all = (words.gains(study.part(which)) for which in ("posterior", "posterior_all"))
    apart = study.part("agreement").get("difference") or []
    for place, span in enumerate(naming.segments(count, study.density_ratio)):
        exact = list(parameters.values())[place] if parameters else {}
        network = None if mean is None or sd is None else Estimate(mean[place], _number(sd[place]))
        rows.append(
            (
                Cell(f"{place + 1}: {span}"),
                Cell(words.estimate(network)),
                Cell(wording.with_error(exact.get("mean"), exact.get("sd"))),
                _far(apart[place] if place < len(apart) else None),
                _bits(bits, place),
                _bits(bits_all, place),
            )
        )
    header = (
        "segment: density /\nnuclear density",
        "networks",
        "exact\nposterior",
        "difference\n/ sd",
        "bits",
        "bits,\nevery star",
    )
    return (
        Table("Squared speed of sound by segment (mean ± standard deviation)", header, tuple(rows))
        if rows
        else None
    )


def models(study: Study) -> Table | None:
    """Tabulate the evidence of each number of segments, also given that the prior's cut is met."""
    rows = []
    for entry in study.items("models"):
        evidence, *given = given_cuts(entry)
        probability = Cell(wording.percent(finite(entry.get("probability"))))
        rows.append((Cell(str(entry.get("name"))), evidence, probability, *given))
    header = (
        "model",
        "log evidence",
        "probability",
        "prior that\nmeets the cut",
        "log evidence\ngiven the cut",
    )
    return Table("Evidence by number of segments (natural logarithms)", header, tuple(rows)) if rows else None


def given_cuts(entry: Mapping[str, Any]) -> tuple[Cell, Cell, Cell]:
    """Write a model's log evidence, the share of its prior that meets the cuts, and the log evidence if it does."""
    value, error = finite(entry.get("log_evidence")), finite(entry.get("log_evidence_error"))
    share, of_share = finite(entry.get("prior_share")), finite(entry.get("prior_share_error")) or 0.0
    evidence = Cell(wording.with_error(value, error))
    if not share:
        return evidence, Cell("–"), Cell("–")
    given = None if value is None else value - math.log(share)
    joint = math.hypot(error or 0.0, of_share / share)
    return evidence, Cell(_met(share, of_share)), Cell(wording.with_error(given, joint))


def radius_errors(study: Study) -> Table | None:
    """Tabulate the error of the radius by mass, in the published order."""
    mass, ours = words.row(study, "mass"), words.row(study, "network")
    if not mass.size:
        return None
    published = words.row(study, "published")
    ratio = ours / published if published.shape == ours.shape else np.array([])
    named = (
        ("networks", ours, 3),
        ("published", published, 3),
        ("networks / published", ratio, 2),
        ("exact posterior mean", words.row(study, "exact"), 3),
        ("networks, same truths", words.same_truths(study), 3),
        ("prior mean", words.row(study, "prior_mean"), 3),
    )
    rows = tuple(
        (Cell(name), *(Cell(wording.fraction(one, digits)) for one in values))
        for name, values, digits in named
        if values.shape == mass.shape and np.isfinite(values).any()
    )
    header = ("", *(f"{one:.1f}" for one in mass))
    return Table("Root mean square error of the radius in km, by mass in solar masses", header, rows)


def coverage(study: Study) -> Table | None:
    """Tabulate how often the bands hold the truth, and how far networks and exact posterior are from it."""
    exact, network = study.part("calibration"), trust.network_calibration(study)
    named = [str(one["name"]) for one in trust.quantities(exact) or trust.quantities(network)]
    rows = []
    for name in named:
        one, other = trust.find(exact, name), trust.find(network, name)
        rows.append(
            (
                Cell(naming.quantity(name)),
                *(_held(exact, one, level) for level in (0, 1)),
                *(_held(network, other, level) for level in (0, 1)),
                Cell(wording.fraction(one.get("rms", other.get("rms_exact")), 3)),
                Cell(wording.fraction(other.get("rms"), 3)),
                Cell(wording.fraction(other.get("spread"), 3)),
                Cell(wording.fraction(other.get("agreement"))),
            )
        )
    header = (
        "",
        "exact\n68 %",
        "exact\n95 %",
        "networks\n± 1 sd",
        "networks\n± 2 sd",
        "error,\nexact",
        "error,\nnetworks",
        "spread of\nnetworks",
        "apart\n/ sd",
    )
    return Table("Truths inside the bands / %, and errors", header, tuple(rows)) if rows else None


def stars(study: Study) -> list[Table]:
    """Tabulate every star with its numbers and where they were published: those that the networks see, then others."""
    seen = study.items("observations")
    names = {one.get("name") for one in seen}
    others = [one for one in study.items("observations_all") if one.get("name") not in names]
    parts = (
        ("Stars that networks and exact posterior are given", seen),
        ("Further stars of the exact posterior given every star", others),
    )
    return [of_stars(caption, group) for caption, group in parts if group]


def of_stars(caption: str, observed: Sequence[Mapping[str, Any]]) -> Table:
    """Tabulate stars with their numbers and where they were published."""
    header = ("star", "mass /\nsolar masses", "radius / km", "source", "kind; how")
    return Table(caption, header, tuple(_star(one) for one in observed), prose=frozenset({0, 3, 4}))


def stages(study: Study) -> Table:
    """Tabulate what was done, of what size, and how long it took."""
    seconds = study.part("seconds")
    rows = [
        (Cell(title), Cell(_size(study, name)), Cell(_took(seconds.get(name))))
        for name, title in _STAGES.items()
    ]
    others = [
        (Cell(str(name)), Cell("–"), Cell(_took(value)))
        for name, value in seconds.items()
        if name not in _STAGES
    ]
    return Table(
        "What was done", ("stage", "of what size", "took"), (*rows, *others), prose=frozenset({0, 1})
    )


def _met(share: float, error: float) -> str:
    """Write a share of the prior in per cent; one that may be all of it by its lower end."""
    if error and share + error >= 1.0:
        return f"over {math.floor(1000 * (share - error)) / 10:.1f} %"
    return f"{wording.with_error(100 * share, 100 * error or None)} %"


def _answers() -> tuple[tuple[str, str, str, float], ...]:
    """Return what is tabulated: derived number, title, and the group and place where bands know it too."""
    unit = naming.nuclear_density()
    return (
        (f"radius[{CANONICAL:g}]", f"R({CANONICAL:g}) / km", "mass_radius", CANONICAL),
        ("maximum_mass", "maximum mass\n/ solar masses", "", 0.0),
        (f"tidal_deformability[{CANONICAL:g}]", f"tidal deformability\nΛ({CANONICAL:g})", "", 0.0),
        ("pressure[2]", "pressure at 2 nuclear\ndensities / MeV fm⁻³", "pressure_density", 2 * unit),
        ("pressure[4]", "pressure at 4 nuclear\ndensities / MeV fm⁻³", "pressure_density", 4 * unit),
    )


def _star(one: Mapping[str, Any]) -> tuple[Cell, ...]:
    form = _FORMS.get(str(one.get("form")))
    how = "; ".join(str(part) for part in (one.get("kind"), form, one.get("method")) if part)
    how = how.replace(" %", "\u00a0%")
    return (
        Cell(str(one.get("name"))),
        Cell(naming.measured(one, "mass")),
        Cell(naming.measured(one, "radius")),
        Cell(str(one.get("source") or "–")),
        Cell(how or "–"),
    )


def _size(study: Study, stage: str) -> str:
    """Say how large a stage was."""
    if stage == "ensemble":
        part = study.part("ensemble")
        if not part:
            return "–"
        least = finite(part.get("least_maximum_mass"))
        cut = f" that carry {least:g} solar masses" if least is not None else ""
        return f"{wording.count(part.get('drawn'))} drawn, {wording.count(part.get('accepted'))}{cut} kept"
    if stage.startswith("network"):
        return _network(study.part("networks").get(stage.removeprefix("network-")))
    if stage == "calibration":
        part = study.part("calibration")
        truths = f"{wording.count(part.get('truths'))} mock truths, {wording.count(part.get('candidates'))} weighted"
        return truths if part else "not done"
    part = study.part(stage.replace("-", "_"))
    diagnostics = part.get("diagnostics") or {}
    worth = [finite(one.get("ess")) for one in (part.get("parameters") or {}).values()]
    known = [one for one in worth if one is not None]
    draws = f"{wording.count(diagnostics.get('scans'))} draws, " if diagnostics else ""
    return f"{draws}worth {wording.count(min(known))} or more" if known else ("done" if part else "not done")


def _network(part: Any) -> str:
    if not isinstance(part, Mapping):
        return "not done"
    members = int(finite(part.get("members")) or 0)
    tested = ((part.get("metrics") or {}).get("test") or {}).get("msle")
    error = f", test error {wording.quantity(tested, tested)} (msle)" if finite(tested) else ""
    return (
        f"{naming.networks(members)} {part.get('layers')}, {wording.count(part.get('parameters'))} parameters each; "
        f"{wording.count(part.get('equations'))} equations of state, {wording.count(part.get('samples_seen'))} noisy "
        f"samples in all epochs{error}"
    )


def _far(value: Any) -> Cell:
    found = finite(value)
    return Cell(wording.fraction(found), warn=found is not None and abs(found) >= words.NEAR)


def _bits(values: list[float], place: int) -> Cell:
    found = values[place] if place < len(values) else None
    return Cell("–") if found is None else Cell(words.bits(found), warn=found < words.HARDLY)


def _held(part: Mapping[str, Any], one: Mapping[str, Any], level: int) -> Cell:
    """Write a coverage in per cent; one that chance does not explain is marked."""
    shares = one.get("coverage") or []
    found = finite(shares[level]) if level < len(shares) else None
    right, error = trust.nominal(part, part, level)
    if found is None or right is None or error is None:
        return Cell("–")
    return Cell(f"{100 * found:.0f}", warn=abs(found - right) > max(_SHARE, 3 * error))


def _took(value: Any) -> str:
    found = finite(value)
    return "–" if found is None else duration_text(found)


def _number(value: Any) -> float:
    return finite(value) or 0.0
