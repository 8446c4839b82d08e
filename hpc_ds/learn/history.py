"""What happened in a training, epoch by epoch and step by step, as the file history.json has it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from hpc_ds.runtime import atomic

FORMAT = 1

MOST_STEPS = 4096
"""Losses of steps that are kept: when there are more, each two neighbours become their mean."""


@dataclass
class Epoch:
    """One epoch's line of the history."""

    epoch: int
    """Counted from 1."""
    learning_rate: float
    """Of its last step."""
    train_loss: float
    """Mean over the samples that it saw, each with the weights of its step."""
    gradient_norm: float
    """Mean over its steps, before clipping."""
    seconds: float
    """Wall clock, the only figure here that depends on the machine."""
    valid: dict[str, float] = field(default_factory=dict)
    """Metrics on the validation split after the epoch."""


@dataclass
class StepLosses:
    """Mean losses of steps: entry i is the mean over steps i * every to (i + 1) * every."""

    every: int = 1
    loss: list[float] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)
    """Steps that do not make a whole entry yet."""

    def extend(self, losses: Iterable[float]) -> None:
        """Append the losses of further steps."""
        for loss in losses:
            self.pending.append(loss)
            if len(self.pending) == self.every:
                self.loss.append(_mean(self.pending))
                self.pending.clear()
            if len(self.loss) == MOST_STEPS:
                self.loss = [_mean(self.loss[i : i + 2]) for i in range(0, MOST_STEPS, 2)]
                self.every *= 2


@dataclass
class History:
    """All of a training's figures; the same bits on any number of ranks, but for `Epoch.seconds`."""

    epochs: list[Epoch] = field(default_factory=list)
    steps: StepLosses = field(default_factory=StepLosses)
    troubles: list[dict[str, Any]] = field(default_factory=list)
    """Where the training was rolled back: epoch, step, what, and the factor of the learning rate from then on."""
    best_epoch: int | None = None
    """Epoch with the best first metric of the validation split; None without one."""
    best: float | None = None
    """That metric."""

    def add(self, epoch: Epoch, metric: str | None, smaller: bool) -> bool:
        """Append an epoch, and return whether it is the best so far by `metric`; a NaN never is."""
        self.epochs.append(epoch)
        if metric is None:
            return False
        value = epoch.valid[metric]
        better = self.best is None or (value < self.best if smaller else value > self.best)
        if math.isnan(value) or not better:
            return False
        self.best, self.best_epoch = value, epoch.epoch
        return True

    def is_patience_out(self, patience: int | None) -> bool:
        """Tell whether the last `patience` epochs brought no better validation."""
        if patience is None or not self.epochs or not self.epochs[-1].valid:
            return False
        return self.epochs[-1].epoch - (self.best_epoch or 0) >= patience

    def to_plain(self) -> dict[str, Any]:
        """Return the history as plain data, which `from_plain` reads."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> History:
        """Return the history that `to_plain` wrote."""
        return cls(
            [Epoch(**epoch) for epoch in data["epochs"]],
            StepLosses(**data["steps"]),
            list(data["troubles"]),
            data["best_epoch"],
            data["best"],
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Replace the file `path` by this history (`StorageError` as in `atomic.write_json`)."""
        data = self.to_plain()
        del data["steps"]["pending"]
        atomic.write_json(path, data)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
