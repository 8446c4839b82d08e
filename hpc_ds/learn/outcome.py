"""The answer of a training: how good the network is, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hpc_ds.runtime.amounts import duration_text

FORMAT = 1

State = Literal["done", "stopped"]


@dataclass(frozen=True)
class Outcome:
    """What a run folder holds when a session ends; on all ranks."""

    folder: str
    state: State
    note: str
    """Why it stopped; or why it ended before the last epoch."""
    summary: Mapping[str, Any]
    """What ``summary.json`` holds; while a training is stopped, how far it is."""

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """What the network reached, by split and name."""
        return self.summary.get("metrics", {})

    def lines(self) -> list[str]:
        """Return what a terminal shows."""
        summary = self.summary
        epochs = f"{summary['epochs_done']} of {summary['epochs']} epochs"
        if self.state == "stopped":
            return [
                f"{summary['network']}: stopped in {self.folder} after {epochs} ({self.note}); "
                "the same hpc-ds learn command goes on from here"
            ]
        kept = f", the best is epoch {summary['best_epoch']}" if summary.get("best_epoch") else ""
        note = f" ({self.note})" if self.note else ""
        size = f"{summary['members']} networks of " if summary["members"] > 1 else ""
        head = f"{summary['network']}: {size}{summary['parameters']:,} parameters in {self.folder}"
        told = [f"{head}; {epochs}{note}{kept}, {duration_text(summary['seconds'])}"]
        return told + [_told(split, metrics) for split, metrics in self.metrics.items()]


def _told(split: str, metrics: Mapping[str, float]) -> str:
    return f"{split}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
