"""How many samples go into one order: as many as take about a second, by the clock; the samples do not notice."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

TARGET = 1.0
"""Seconds that an order should take: long beside the scheduler's work for it, short beside the run."""

_WORKERS_PER_SECOND = 200.0
"""Orders a second that one scheduler hands out without effort; with more workers orders become longer."""

_MEMORY = 512


class Durations:
    """How long samples took lately."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=_MEMORY)
        self.total = 0.0
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: Iterable[float]) -> None:
        """Take note of samples that ended."""
        for value in seconds:
            self._last.append(value)
            self.total += value
            self.count += 1
            self.longest = max(self.longest, value)

    @property
    def mean(self) -> float | None:
        """Seconds a sample took on average lately; None before the first."""
        return sum(self._last) / len(self._last) if self._last else None

    @property
    def slow(self) -> float:
        """Seconds that 99 % of the samples stay below, with a margin of a quarter; 0 before the first."""
        if not self._last:
            return 0.0
        ranked = sorted(self._last)
        return 1.25 * ranked[min(len(ranked) - 1, math.ceil(0.99 * len(ranked)))]


class Batches:
    """Cuts the samples to do into orders, along blocks that a simulator computes together.

    Parameters
    ----------
    todo : iterable of int
        Design indices.
    block : int
        Samples that the simulator takes at once: aligned blocks are never torn.
    """

    def __init__(self, todo: Iterable[int], block: int) -> None:
        self._block = block
        self._groups: deque[tuple[int, ...]] = deque()
        self._left = 0
        self.put_back(todo)

    def __len__(self) -> int:
        return self._left

    def put_back(self, indices: Iterable[int]) -> None:
        """Add samples at the front, to be handed out next."""
        groups: dict[int, list[int]] = {}
        for index in sorted(indices):
            groups.setdefault(index // self._block, []).append(index)
            self._left += 1
        self._groups.extendleft(tuple(group) for group in reversed(groups.values()))

    def take(self, mean: float | None, slots: int) -> tuple[int, ...]:
        """Return the next samples for one worker, empty if none is left.

        Parameters
        ----------
        mean : float or None
            Seconds a sample takes, None if not known: then one block is handed out.
        slots : int
            Workers that share what is left; orders become short towards the end, so that all end together.
        """
        taken: list[int] = []
        wanted = 1 if mean is None else self._wanted(mean, slots)
        while self._groups and (not taken or len(taken) + len(self._groups[0]) <= wanted):
            taken.extend(self._groups.popleft())
        self._left -= len(taken)
        return tuple(taken)

    def _wanted(self, mean: float, slots: int) -> int:
        target = max(TARGET, slots / _WORKERS_PER_SECOND)
        fair = math.ceil(self._left / (2 * max(1, slots)))
        return max(1, min(int(target / max(mean, 1e-9)), fair))


def without(indices: Sequence[int], done: Iterable[int]) -> list[int]:
    """Return `indices` but those in `done`, in their order."""
    gone = set(done)
    return [index for index in indices if index not in gone]
