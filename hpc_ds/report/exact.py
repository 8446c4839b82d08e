"""What is known in closed form, beside what the sampler found: evidence, posterior, choice of model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpc_ds.report import wording
from hpc_ds.report.table import Cell, Table
from hpc_ds.report.wording import Entry

Summary = Mapping[str, Any]

FAR = 3.0
"""Standard errors beyond which sampler and closed form disagree: chance alone does that once in 370 times."""

_STEP = 0.01
"""A log evidence is told down to the second digit of this."""


def evidence(summary: Summary) -> Table | None:
    """Tabulate each model's log evidence by the sampler and in closed form; None if there is no closed form."""
    known = _by_name(summary)
    rows = []
    for entry in summary["models"]:
        if entry["name"] in known:
            value, error = entry.get("log_evidence"), entry.get("log_evidence_error")
            exact = known[entry["name"]]["log_evidence"]
            numbers = (wording.with_error(value, error), wording.quantity(exact, error or _STEP))
            rows.append((Cell(entry["name"]), *map(Cell, numbers), _apart(value, exact, error)))
    header = ("model", "sampler", "closed form", "difference")
    caption = "Log evidence: sampler, closed form (difference in standard errors)"
    return Table(caption, header, tuple(rows)) if rows else None


def parameters(summary: Summary, entry: Entry) -> Table | None:
    """Tabulate mean and sd of one model's parameters in the same way."""
    sampled = entry.get("parameters", {})
    exact = _by_name(summary).get(entry["name"], {}).get("parameters", {})
    rows = [_parameter(name, sampled[name], values) for name, values in exact.items() if name in sampled]
    header = ("parameter", "mean", "closed form", "difference", "sd", "closed form")
    caption = f"Parameters of {entry['name']}: sampler, closed form (difference in standard errors)"
    return Table(caption, header, tuple(rows)) if rows else None


def choice(summary: Summary) -> Table | None:
    """Tabulate each pair of models of which one contains the other, to tell whether the larger is needed."""
    rows = [
        (
            Cell(_pair(pair["larger"], pair["smaller"])),
            Cell(_sampled_difference(summary, pair)),
            Cell(wording.quantity(pair["delta_F"], _STEP)),
            Cell(_chance(pair["selection_probability"])),
            Cell(_chance(pair["false_positive_rate"])),
        )
        for pair in _closed_form(summary).get("comparisons", [])
    ]
    columns = ("ΔF by the\nsampler", "ΔF in\nclosed form", "selection\nprobability", "false-positive\nrate")
    return Table("Is the larger model needed?", ("models", *columns), tuple(rows)) if rows else None


def meaning(summary: Summary) -> str:
    """Say what the numbers of `choice` mean; empty where there are none."""
    pairs = _closed_form(summary).get("comparisons", [])
    if not pairs:
        return ""
    text = (
        "ΔF is the Bayesian free energy (−log evidence) of the smaller model less that of the larger one: "
        "above 0 the data favour the larger model, exp(ΔF) to 1. The selection probability is how often a "
        "repeated measurement would favour the larger model if that model, as estimated here, were the "
        "truth; the false-positive rate is how often it would do so although the smaller model were the "
        "truth."
    )
    if any(pair["selection_probability"] is None for pair in pairs):
        text += " Both are known only where all priors are uniform and those of shared parameters the same."
    return text


def missing(summary: Summary) -> list[str]:
    """Say of which models there is no closed form, and why: one sentence for each reason."""
    named: dict[str, list[str]] = {}
    for name, reason in _closed_form(summary).get("missing", {}).items():
        named.setdefault(str(reason), []).append(f"“{name}”")
    return [f"No closed form of {wording.spoken(names)}: {reason}." for reason, names in named.items()]


def _closed_form(summary: Summary) -> Mapping[str, Any]:
    return summary.get("closed_form") or {}


def _by_name(summary: Summary) -> dict[str, Mapping[str, Any]]:
    return {model["name"]: model for model in _closed_form(summary).get("models", [])}


def _parameter(name: str, sampled: Mapping[str, Any], exact: Mapping[str, float]) -> tuple[Cell, ...]:
    """Write both moments down to the standard error that the number of effective draws leaves."""
    effective = wording.finite(sampled.get("ess")) or 0.0
    spread = wording.finite(sampled.get("sd")) or 0.0
    error = spread / math.sqrt(effective) if effective else None
    step = error or spread
    return (
        Cell(name),
        Cell(wording.quantity(sampled.get("mean"), step)),
        Cell(wording.quantity(exact["mean"], step)),
        _apart(sampled.get("mean"), exact["mean"], error),
        Cell(wording.quantity(spread, step)),
        Cell(wording.quantity(exact["sd"], step)),
    )


def _apart(value: Any, exact: float, error: Any) -> Cell:
    """Write how many standard errors the sampler lies above the closed form."""
    found, step = wording.finite(value), wording.finite(error)
    if found is None or not step:
        return Cell(wording.fraction(None))
    errors = (found - exact) / step
    return Cell(wording.fraction(errors, 1), warn=abs(errors) > FAR)


def _pair(larger: str, smaller: str) -> str:
    """Name two models, on two lines where one would be long."""
    between = " " if len(larger + smaller) < 16 else "\n"
    return f"{larger}{between}or {smaller}"


def _sampled_difference(summary: Summary, pair: Mapping[str, Any]) -> str:
    entries = {entry["name"]: entry for entry in summary["models"]}
    both = [entries.get(pair[role], {}) for role in ("larger", "smaller")]
    values = [wording.finite(entry.get("log_evidence")) for entry in both]
    errors = [wording.finite(entry.get("log_evidence_error")) or 0.0 for entry in both]
    if values[0] is None or values[1] is None:
        return wording.quantity(None)
    return wording.with_error(values[0] - values[1], math.hypot(*errors))


def _chance(probability: float | None) -> str:
    """Write a probability that is known exactly: small ones to two digits."""
    if probability is None or not 0.0 < probability < 0.001:
        return wording.percent(probability)
    return f"{wording.quantity(100 * probability, 100 * probability)} %"
