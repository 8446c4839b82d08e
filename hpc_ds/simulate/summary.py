"""The answer of a simulation run: how many samples there are, which failed and why, and where they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hpc_ds.runtime.amounts import duration_text
from hpc_ds.simulate.dispatch import Tally
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.store.design_file import Design
from hpc_ds.store.layout import Field, Layout

FORMAT = 1
SHOWN = 100
"""Failures that the summary tells one by one; all of them lie in ``failed/``."""


State = Literal["done", "stopped"]


@dataclass(frozen=True)
class Outcome:
    """What a run folder holds when a session ends."""

    folder: str
    state: State
    note: str | None
    """Why it stopped."""
    samples: int
    """How many samples the set is to have."""
    done: int
    failed: int
    summary: Mapping[str, Any]
    """What ``summary.json`` holds."""

    @property
    def missing(self) -> int:
        """Samples that are neither done nor set aside."""
        return self.samples - self.done - self.failed

    def lines(self) -> list[str]:
        """Return what a terminal shows."""
        told = [self._headline()]
        session = self.summary["seconds"]["session"]
        if session["samples"]:
            told.append(_rate(session))
        return told + self._failures() + self._contradictions()

    def _headline(self) -> str:
        simulator = self.summary["simulator"]
        splits = ", ".join(f"{count:,} {name}" for name, count in self.summary.get("splits", {}).items())
        if not self.done and self.state == "done":
            return f"{simulator}: none of {self.samples:,} samples is good, so there is no training set"
        if self.state == "done":
            merged = f" ({splits})" if splits else ""
            return f"{simulator}: {self.done:,} of {self.samples:,} samples in {self.folder}{merged}"
        merged = f"; merged so far: {splits}" if splits else ""
        return (
            f"{simulator}: stopped at {self.done + self.failed:,} of {self.samples:,} samples ({self.note}); "
            f"the same hpc-ds simulate command goes on from here{merged}"
        )

    def _contradictions(self) -> list[str]:
        several = self.summary["contradictions"]
        if not several:
            return []
        return [
            f"warning: sample {several[0]} was computed twice with different results ({len(several)} such samples): "
            "the simulator uses more than its parameters and its rng"
        ]

    def _failures(self) -> list[str]:
        if not self.failed:
            return []
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.summary["failure_kinds"].items())
        first = self.summary["failures"][0]
        return [
            f"{self.failed:,} samples failed ({kinds}); see {self.folder}/failed, --retry-failed tries them again",
            f"first: sample {first['index']}: {first['message']}",
        ]


def make_summary(
    job: Job, layout: Layout, design: Design, ledger: FolderLedger, tally: Tally, merged: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what ``summary.json`` holds.

    Parameters
    ----------
    job : Job
        The session's.
    layout : Layout
        Of the training set.
    design : Design
        Of all samples.
    ledger : FolderLedger
        What became of them.
    tally : Tally
        Of this session.
    merged : mapping
        ``splits``, ``files`` and ``bytes`` of the training set; empty where there is none yet.
    """
    done, failed = ledger.done, ledger.failed
    seconds = np.array([entry.seconds for entry in ledger.entries.values()])
    return {
        "format": FORMAT,
        "kind": "simulate",
        "simulator": job.name,
        "title": layout.attributes.get("title", job.name),
        "samples": job.target,
        "done": len(done),
        "failed": len(failed),
        "missing": job.target - len(done) - len(failed),
        "failure_kinds": dict(Counter(record.kind for record in failed.values()).most_common()),
        "failures": [
            {"index": index, "kind": record.kind, "message": record.message}
            for index, record in sorted(failed.items())[:SHOWN]
        ],
        "design": {"kind": job.settings.design, "seed": job.settings.seed},
        "fields": {item.name: _field(layout, item) for item in layout.fields},
        "parameters": {
            column.name: {"units": column.units, **_range(design.columns[column.name])}
            for column in layout.columns
        },
        "seconds": {
            "computing": float(seconds.sum()),
            "mean": float(seconds.mean()) if seconds.size else None,
            "longest": float(seconds.max()) if seconds.size else None,
            "session": {"samples": tally.done, "computing": tally.seconds, "wall": tally.wall},
        },
        "lost_with_workers": tally.lost,
        "contradictions": sorted(ledger.contradictions)[:SHOWN],
        **merged,
    }


def _field(layout: Layout, item: Field) -> dict[str, Any]:
    return {
        "shape": list(layout.shape(item.name)),
        "units": item.units,
        "rank": item.rank,
        "time_varying": item.time_varying,
    }


def _range(values: Any) -> dict[str, Any]:
    if values.dtype.kind not in "if":
        return {"choices": sorted(set(values.tolist()))}
    return {"min": values.min().item(), "max": values.max().item()} if values.size else {}


def _rate(session: Mapping[str, float]) -> str:
    count, wall = int(session["samples"]), session["wall"]
    time = f"{wall:.1f} s" if wall < 10 else duration_text(wall)
    return f"computed {count:,} in {time} ({count / max(wall, 1e-9):.1f} samples a second)"
