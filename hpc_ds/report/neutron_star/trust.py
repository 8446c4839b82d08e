"""Say by the numbers whether error bars are honest: what mock truths tell of exact posteriors and of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpc_ds.report.neutron_star import naming
from hpc_ds.report.neutron_star.reader import Study
from hpc_ds.report.wording import count, finite, fraction, quantity, spoken

FEW_EFFECTIVE = 50.0
"""Draws that a posterior must be worth to be called known."""

_SAME = 1.5  # joint Monte Carlo errors, root mean square
_ENOUGH = 5  # truths


def exactness(study: Study) -> str:
    """Say by the numbers whether the exact posterior passes its own test."""
    part = study.part("calibration")
    known = quantities(part)
    if not known:
        return ""
    told = []
    for level, right in enumerate(part.get("levels") or ()):
        shares = [finite((one.get("coverage") or [None, None])[level]) for one in known]
        held = [one for one in shares if one is not None]
        error = nominal(part, {}, level)[1] or 0.0
        if held:
            told.append(
                f"{share(float(np.median(held)))} ({share(min(held))} to {share(max(held))}) inside its "
                f"{100 * right:.0f} % band, give or take {fraction(100 * error, 1)} points"
            )
    ranked = "uniform" if part.get("uniform") else "not uniform"
    least = finite(part.get("least_chance"))
    chance = f" (least chance {quantity(least, least)} of {2 * len(known)} tests)" if least else ""
    return (
        f"Of {count(part.get('truths'))} mock truths the exact posterior has {spoken(told)}; their ranks are "
        f"{ranked}{chance}."
    )


def bootstrap(study: Study) -> str:
    """Say by the numbers whether the band of the bootstrap is as wide as it should be."""
    part = network_calibration(study)
    known = [one for one in quantities(part) if _first(one) is not None]
    right, error = nominal({}, part, 0)
    if not known or right is None or error is None:
        return ""
    shares = [_first(one) or 0.0 for one in known]
    middle = float(np.median(shares))
    members = naming.networks(_whole(part.get("members")))
    text = (
        f"The band of the bootstrap, mean ± 1 standard deviation of {members}, holds the "
        f"truth in {share(middle)} of {count(part.get('truths'))} mock truths (median over {len(known)} quantities; "
        f"from {share(min(shares))} to {share(max(shares))}), where {share(right)} would be right."
    )
    if middle < right - 2 * error:
        text += f" It is too narrow, as was published{_spreads(known)}."
    elif middle > right + 2 * error:
        text += f" It is too wide here, though it was published as too narrow{_spreads(known)}."
    else:
        text += " Here it is as wide as it should be, though it was published as too narrow."
    return text


def ways(study: Study) -> str:
    """Say whether importance weights and replica exchange agree; empty where the second was not done."""
    found = study.part("calibration").get("exchange")
    if not isinstance(found, Mapping):
        return ""
    means, in_sd = _sizes(found, "means_in_errors"), _sizes(found, "means_in_sd")
    evidence = _sizes(found, "log_evidence_in_errors")
    if means is None or in_sd is None:
        return ""
    truths = _whole(found.get("truths"))
    text = (
        f"For {count(truths)} of them the posterior was sampled by replica exchange too. {_judged(means[0], truths)} "
        f"their means differ by {fraction(means[0])} joint Monte Carlo errors (root mean square; chance makes it 1), "
        f"that is by {fraction(in_sd[0], 3)} posterior standard deviations"
    )
    return f"{text}, and their log evidences by {fraction(evidence[0])} errors." if evidence else f"{text}."


def effective(study: Study) -> str:
    """Say how many independent draws each posterior by weights is worth; empty where that is not known."""
    found = study.part("calibration").get("effective")
    after = found.get("after") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(after, Mapping):
        return ""
    before = found.get("before") or {}
    text = (
        f"The stored equations of state alone are worth {count(before.get('median'))} draws in the median (at least "
        f"{count(before.get('least'))}); with {count(found.get('curves'))} more, drawn around the posteriors of "
        f"{count(found.get('refined'))} truths, {count(after.get('median'))} (at least {count(after.get('least'))})."
    )
    few = found.get("too_few") or []
    return text + (f" {count(len(few))} posteriors stay below {FEW_EFFECTIVE:.0f}." if few else "")


def share(value: float) -> str:
    """Write a share of counted things in per cent."""
    return f"{100 * value:.0f} %"


def network_calibration(study: Study) -> Mapping[str, Any]:
    """Return what is known of the bootstrap band of the networks over mock truths; empty where nothing is."""
    found = study.part("calibration").get("network")
    return found if isinstance(found, Mapping) else {}


def quantities(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what was judged in a calibration."""
    return [one for one in part.get("quantities") or [] if isinstance(one, Mapping)]


def find(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what a calibration says of one quantity; empty where it says nothing."""
    return next((one for one in quantities(part) if one.get("name") == name), {})


def nominal(
    exact: Mapping[str, Any], network: Mapping[str, Any], level: int
) -> tuple[float | None, float | None]:
    """Return the right coverage of a level (0 or 1) with its standard error, of the first part that knows it."""
    for part, right, error in ((exact, "levels", "coverage_error"), (network, "expected", "error")):
        rights, errors = part.get(right) or [], part.get(error) or []
        if level < min(len(rights), len(errors)):
            return finite(rights[level]), finite(errors[level])
    return None, None


def _judged(errors: float, truths: int) -> str:
    """Say whether two ways agree whose means are so many joint errors apart."""
    if truths < _ENOUGH:
        say = "truth says" if truths == 1 else "truths say"
        return (
            f"{naming.number(truths).capitalize()} {say} little, as all quantities of a truth err together:"
        )
    return "The two agree:" if errors < _SAME else "The two do not agree:"


def _first(one: Mapping[str, Any]) -> float | None:
    shares = one.get("coverage") or []
    return finite(shares[0]) if shares else None


def _spreads(known: Sequence[Mapping[str, Any]]) -> str:
    """Compare the networks' spread with their error and with the posterior's width, where all are known."""
    pairs = [(finite(one.get("spread")), finite(one.get("rms"))) for one in known]
    ratios = [spread / rms for spread, rms in pairs if spread is not None and rms]
    return f": their spread is {fraction(float(np.median(ratios)))} times their true error" if ratios else ""


def _sizes(found: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    part = found.get(name)
    pair = (
        (finite(part.get("rms")), finite(part.get("largest"))) if isinstance(part, Mapping) else (None, None)
    )
    return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def _whole(value: Any) -> int:
    found = finite(value)
    return 0 if found is None else int(found)
