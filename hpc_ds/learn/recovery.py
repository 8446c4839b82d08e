"""Losses that are NaN or explode: how they are recognised, told with the sample's number, and got over."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.world import World

EXPLODING = 1e3
"""A step's loss explodes when it is that many times the median of the recent steps' ..."""

WORSE_THAN_BEGINNING = 10.0
"""... and that many times the median of the first steps', and larger than the step before: near convergence, steps
of Adam that make a tiny loss a thousand times larger are common, and harmless."""

RECENT = 64
BEGINNING = 8

ROLL_BACKS = 5
"""How often a training goes back before it gives up."""

_NAMED = 5


class TrainingFailure(Exception):
    """The loss is NaN or explodes, told in one line with epoch, step and sample; the last snapshot is a good one."""


@dataclass(frozen=True)
class Trouble:
    """Where a training went wrong, told in one line."""

    epoch: int
    step: int
    """Both counted from 1."""
    what: str

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step}: {self.what}"


@dataclass
class Watch:
    """What is remembered of the losses of steps to tell when one explodes."""

    beginning: list[float] = field(default_factory=list)
    """Of the first `BEGINNING` steps of the training."""
    recent: list[float] = field(default_factory=list)
    """Of the last `RECENT` steps."""

    def add(self, losses: Sequence[float]) -> None:
        """Remember the losses of further steps."""
        self.beginning = [*self.beginning, *losses][:BEGINNING]
        self.recent = [*self.recent, *losses][-RECENT:]

    def first_explosion(self, losses: Sequence[float]) -> int | None:
        """Return the index of the first of these further steps whose loss explodes, None if none does.

        A function of the losses alone: it does not matter how often one looks.
        """
        seen = Watch(self.beginning, self.recent)
        for index, loss in enumerate(losses):
            if seen.explodes(loss):
                return index
            seen.add([loss])
        return None

    def explodes(self, loss: float) -> bool:
        """Tell whether the next step explodes with this loss."""
        if len(self.beginning) < BEGINNING or not loss > self.recent[-1]:
            return False
        most = max(
            EXPLODING * statistics.median(self.recent),
            WORSE_THAN_BEGINNING * statistics.median(self.beginning),
        )
        return loss > most

    def ratio(self, loss: float) -> float:
        """Return how many times the median of the recent steps a loss is."""
        return loss / max(statistics.median(self.recent), 1e-300)


def explosion(
    watch: Watch, losses: NDArray[np.float64], samples: NDArray[np.int64], starts: Sequence[int], epoch: int
) -> Trouble | None:
    """Return the first explosion among the steps of an epoch so far.

    Parameters
    ----------
    watch : Watch
        What was before the epoch.
    losses : (seen,) float64
        Of the epoch's samples so far, in the order in which they are seen.
    samples : (seen,) int64
        Their numbers.
    starts : sequence of int
        Where each step begins.
    epoch : int
    """
    parts = np.split(losses, starts[1:])
    means = [float(part.mean()) for part in parts]
    step = watch.first_explosion(means)
    if step is None:
        return None
    before = Watch(watch.beginning, watch.recent)
    before.add(means[:step])
    worst = int(np.argmax(parts[step]))
    sample = int(samples[starts[step] + worst])
    what = (
        f"the loss is {means[step]:.3g}, {before.ratio(means[step]):.1e} times that of recent steps; "
        f"largest of sample {sample} (train): {parts[step][worst]:.3g}"
    )
    return Trouble(epoch, step + 1, what)


def not_finite(
    world: World,
    losses: NDArray[np.float64],
    samples: NDArray[np.int64],
    mine: Sequence[int],
    alone: Callable[[int], tuple[float, float]],
) -> str:
    """Say in a few words which sample of a step made its loss or gradient NaN or infinite; collective.

    BatchNorm spreads one sample's NaN over its whole piece, so that samples are then looked at one by one.

    Parameters
    ----------
    world : World
    losses : (batch,) float64
        Losses of the step's samples, all of them on all ranks.
    samples : (batch,) int64
        Their numbers.
    mine : sequence of int
        Places in the batch of the samples whose data this rank holds.
    alone : callable
        Loss, and norm of its gradient, of the sample at a place of the batch when it is computed alone.
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad) == 1:
        return f"the loss of {_numbered(samples[bad])} (train) is {_kind(losses[bad[0]])}"
    suspects = set(bad.tolist() or range(len(losses)))
    found = [(place, *alone(place)) for place in mine if place in suspects]
    everywhere = sorted(item for items in world.allgather(found) for item in items)
    by_loss = [place for place, loss, _ in everywhere if not np.isfinite(loss)]
    by_norm = [place for place, loss, norm in everywhere if np.isfinite(loss) and not np.isfinite(norm)]
    if len(bad):
        named = np.array(by_loss) if by_loss else bad
        return f"the loss of {_numbered(samples[named])} (train) is {_kind(losses[named[0]])}"
    if by_norm:
        return f"the gradient of {_numbered(samples[by_norm])} (train) is not finite, though its loss is"
    return f"the gradient is not finite, though no sample's alone is: samples {_listed(samples)} (train) together"


def _kind(value: float) -> str:
    return "nan" if np.isnan(value) else "infinite"


def _numbered(numbers: NDArray[np.int64]) -> str:
    unique = np.unique(numbers)
    return f"sample {unique[0]}" if len(unique) == 1 else f"samples {_listed(unique)}"


def _listed(numbers: NDArray[np.int64]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_NAMED])
    return shown if len(numbers) <= _NAMED else f"{shown} and {len(numbers) - _NAMED} more"
