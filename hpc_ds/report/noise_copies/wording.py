"""Say in words, chosen by the numbers, what noise copies did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpc_ds.report.noise_copies.reader import Comparison, Entry
from hpc_ds.report.wording import Verdict, count, fraction, spoken

FEW = 50
"""Fewer seeds than this leave all but large differences open."""

_TREATMENTS = {
    "none": "no noise",
    "fresh": "fresh noise in each step",
    "bias": "jitter of the first bias",
    "first-layer": "jitter of the first layer",
    "all-layers": "jitter of all layers",
    "dropout": "dropout",
}
_VERBS = {
    "better": "lower the test error",
    "worse": "raise the test error",
    "open": "make no clear difference to the test error",
}


def treatment(one: Entry, strength: bool = False) -> str:
    """Name what disturbs a variant's training, with how much of it where `strength` says so."""
    kind, copies = one["treatment"], one["copies"]
    name = _TREATMENTS.get(kind) or f"{copies} noise {'copy' if copies == 1 else 'copies'}"
    if kind == "dropout":
        return f"{name} of {100 * one['amount']:g} %"
    return f"{name}, s\u00a0=\u00a0{one['amount']:g}" if strength and kind != "none" else name


def network(one: Entry) -> str:
    """Name a network, such as ``1-9-9-1 leaky ReLU``."""
    activation = {"leaky-relu": "leaky ReLU", "relu": "ReLU"}.get(one["activation"], one["activation"])
    return f"{'-'.join(map(str, one['widths']))} {activation}"


def error(value: Any) -> str:
    """Write an error to the fourth decimal: seeds scatter by far more."""
    return fraction(value, 4)


def ratio(found: Mapping[str, Any]) -> str:
    """Write a ratio of errors with its interval."""
    if found["low"] is None or found["high"] is None:
        return f"{found['ratio']:.3f}"
    return f"{found['ratio']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def verdict(study: Comparison) -> Verdict:
    """Return the sentence that the numbers carry, and what to know before believing it."""
    chosen = _most_copies(study)
    found = study.gains.get(chosen["name"]) if chosen else None
    if chosen is None or found is None:
        return Verdict("Noise copies were not compared with training without noise.", ())
    headline = (
        f"{treatment(chosen)} of {count(study.summary['points'])} exact points {_VERBS[found['verdict']]} "
        f"of {network(chosen)}: {found['ratio']:.2f} times that without noise{_within(found)}."
    )
    return Verdict(headline, tuple(_notes(study)))


def judged(claim: Mapping[str, Any]) -> str:
    """Say how the numbers stand to a claim."""
    found, expected = claim["verdict"], claim["expected"]
    if expected == "same":
        return {"open": "no difference found"}.get(found, f"no: {found}")
    if found == "open":
        return "left open"
    return "yes" if found == expected else f"no: {found}"


def concluded(study: Comparison) -> str:
    """Return a paragraph on which claims the numbers bear out."""
    answers = [judged(claim) for claim in study.claims]
    yes, unsettled = answers.count("yes"), answers.count("left open")
    no, same = sum(one.startswith("no: ") for one in answers), answers.count("no difference found")
    return (
        f"Of {len(answers)} things that are said of these networks, the numbers bear out {yes}, contradict {no} and "
        f"leave {unsettled} open; where two are said to do the same, no difference was found in {same}. An interval "
        "that holds 1 does not show that two are equal, only how far apart they can be."
    )


def over_networks(study: Comparison) -> str:
    """Return a sentence on which networks the most copies helped and harmed, at the usual strength."""
    most = max((one["copies"] for one in study.variants), default=0)
    names = dict.fromkeys(one["network"] for one in study.variants)
    chosen = [one for one in (study.find(name, "copies", most) for name in names) if one is not None]
    found = {
        network(one): study.gains[one["name"]]["verdict"] for one in chosen if one["name"] in study.gains
    }
    parts = []
    for kind, verb in (("better", "lower"), ("worse", "raise")):
        named = [name for name, came_out in found.items() if came_out == kind]
        parts += [f"{verb} the test error of {spoken(named)}"] if named else []
    left = list(found.values()).count("open")
    parts += [f"make no clear difference in {count(left)} of {count(len(found))} networks"] if left else []
    return f"{count(most)} noise copies {spoken(parts)}." if parts else ""


def _within(found: Mapping[str, Any]) -> str:
    if found["low"] is None or found["high"] is None:
        return ""
    return f" (95 %: {found['low']:.2f} to {found['high']:.2f})"


def _notes(study: Comparison) -> list[str]:
    notes = []
    seeds = study.summary["seeds"]
    if seeds < FEW:
        notes.append(
            f"{count(seeds)} seeds leave all but large differences open: look at the intervals, and use --scale full."
        )
    plain, noisy = study.find(study.summary["main"], "none"), _most_copies(study)
    if plain and noisy and (plain["stuck"] or noisy["stuck"]):
        notes.append(
            f"{count(plain['stuck'])} of {count(seeds)} trainings of {network(plain)} are stuck in a local minimum "
            f"without noise, {count(noisy['stuck'])} with {treatment(noisy)}: medians hide them, the dots below do not."
        )
    return notes


def _most_copies(study: Comparison) -> Entry | None:
    most = max((one["copies"] for one in study.main), default=0)
    return study.find(study.summary["main"], "copies", most)
