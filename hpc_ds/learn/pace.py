"""How often a training looks up from its steps: by rank 0's clock, at steps that all ranks agree on."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from hpc_ds.learn.group import Group
from hpc_ds.runtime.world import World

EVERY = 0.2
"""Seconds between safe points, about: what collective calls there cost is then nothing."""


class Pace:
    """Says at which steps the ranks meet, and when a snapshot is due.

    Parameters
    ----------
    world : World
    snapshot_every : float
        Seconds.
    """

    def __init__(self, world: World, snapshot_every: float) -> None:
        self._world, self._snapshot_every = world, snapshot_every
        self._steps, self._gap = 0, 1
        self._met = self._saved = time.monotonic()
        self._shown: tuple[float, int] | None = None
        self._rate = 0.0

    def is_due(self) -> bool:
        """Count a step, and return whether the ranks meet after it; the same on all ranks."""
        self._steps += 1
        return self._steps >= self._gap

    def agree(self) -> bool:
        """Return on all ranks whether a snapshot is due, and agree on when to meet again; collective."""
        now = time.monotonic()
        per_step = max((now - self._met) / max(self._steps, 1), 1e-6)
        gap = int(min(max(EVERY / per_step, 1), 2 * self._gap))
        is_due, self._gap = self._world.bcast((now - self._saved >= self._snapshot_every, gap))
        self._met, self._steps = now, 0
        return is_due

    def saved(self) -> None:
        """Count the time to the next snapshot from now on."""
        self._saved = self._met = time.monotonic()

    def rate(self, done: int) -> float:
        """Return steps a second since the last call, 0 at the first one; that of before where none was done."""
        now, before = time.monotonic(), self._shown
        if before is not None and done == before[1]:
            return self._rate
        if before is not None:
            self._rate = max(0, done - before[1]) / max(now - before[0], 1e-9)
        self._shown = now, done
        return self._rate


class EpochLosses:
    """The losses of an epoch's samples in the order in which they are seen, of whichever rank computed them.

    Parameters
    ----------
    count : int
        Samples of the epoch.
    group : Group
    known : (seen,) float64
        Losses of its first samples that all ranks know already.

    Attributes
    ----------
    own : (count,) float64 Tensor
        On the device, so that no step waits for it; this rank writes at the places of its own samples.
    """

    def __init__(self, count: int, group: Group, known: NDArray[np.float64]) -> None:
        self.own = torch.zeros(count, dtype=torch.float64, device=group.device)
        self._group, self._known = group, known

    def share(self, seen: int) -> NDArray[np.float64]:
        """Return the losses of the first `seen` samples, the same bits on all ranks; collective."""
        first = len(self._known)
        if seen > first:
            # Each place is written by one rank and zero on the others: sums are exact in any order.
            fresh = self.own[first:seen].clone()
            self._group.all_reduce_(fresh)
            self._known = np.concatenate([self._known, fresh.cpu().numpy()])
        return self._known
