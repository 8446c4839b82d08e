"""The numbers of the study as tables."""

from __future__ import annotations

from hpc_ds.report import wording
from hpc_ds.report.noise_copies import wording as words
from hpc_ds.report.noise_copies.reader import Comparison, Entry
from hpc_ds.report.table import Cell, Table

_MANY = 0.25
"""A share of stuck trainings that a reader should see at once."""


def claims(study: Comparison) -> Table:
    """Tabulate what is said, and what the paired comparison says of it."""
    rows = tuple(
        (
            Cell(claim["said"]),
            Cell(words.judged(claim), warn=words.judged(claim).startswith("no: ")),
            Cell(words.ratio(claim)),
            Cell(f"{claim['wins']} of {claim['seeds']}"),
        )
        for claim in study.claims
    )
    header = ("what is said", "borne out", "ratio (95 %)", "seeds won")
    return Table("What is said of noise copies, and what came out", header, rows, short=frozenset({1}))


def variants(study: Comparison) -> Table:
    """Tabulate every variant: median and quartiles of its errors, and what became stuck."""
    header = (
        "network (parameters)",
        "disturbed by",
        "test error",
        "training",
        "ratio (95 %)",
        "stuck",
        "dead",
        "quartiles of test",
    )
    rows = tuple(_row(study, one) for one in study.variants)
    return Table("Every variant: medians over seeds", header, rows, prose=frozenset({0, 1}))


def _row(study: Comparison, one: Entry) -> tuple[Cell, ...]:
    gain, test = study.gains.get(one["name"]), one["test"]
    return (
        Cell(f"{words.network(one)} ({wording.count(one['parameters'])})"),
        Cell(words.treatment(one, strength=True)),
        Cell(words.error(test["median"])),
        Cell(words.error(one["train"]["median"])),
        Cell(words.ratio(gain) if gain else "–"),
        Cell(wording.count(one["stuck"]), warn=one["stuck"] >= _MANY * study.summary["seeds"]),
        Cell(wording.count(one["dead"]), warn=one["dead"] > 0),
        Cell(f"{words.error(test['25%'])}–{words.error(test['75%'])}"),
    )
