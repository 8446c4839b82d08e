"""In which order a network sees its samples: a function of seed, member and epoch alone, on any number of ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.settings import Settings
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, stream

_ORDER, _BOOTSTRAP = name_key("learn.order"), name_key("learn.bootstrap")


class Order:
    """The order of the samples, epoch by epoch.

    Parameters
    ----------
    n : int
        How many samples there are.
    settings : Settings
        Of which `seed`, `sampling`, `hard_ratio` and `bootstrap` count.
    labels : (n,) int64, optional
        Class of each sample; needed for all samplings but uniform.
    member : int
        Of an ensemble: each has an order of its own, and with bootstrap samples of its own.

    Raises
    ------
    InputError
        A sampling by classes, and there are none; or a class that no sample has.

    Attributes
    ----------
    length : int
        How many samples an epoch has, in all epochs.
    """

    def __init__(
        self, n: int, settings: Settings, labels: NDArray[np.int64] | None = None, member: int = 0
    ) -> None:
        self.n, self.member, self.seed = n, member, settings.seed
        self.sampling, self.ratio = settings.sampling, settings.hard_ratio
        self._base = np.arange(n, dtype=np.int64)
        if settings.bootstrap:
            self._base = stream(self.seed, _BOOTSTRAP, member).integers(0, n, n, dtype=np.int64)
        self._pools: list[NDArray[np.int64]] = []
        if self.sampling != "uniform":
            self._pools = _pools(self._base, labels, self.sampling)
        counts = np.array([len(pool) for pool in self._pools])
        self._quotas = _quotas(self.sampling, counts, len(self._base), self.ratio)
        self.length = int(self._quotas.sum()) if self._pools else n

    def epoch(self, epoch: int, losses: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
        """Return the samples of an epoch in the order in which they are seen.

        Parameters
        ----------
        epoch : int
            Its number.
        losses : (n,) float64, optional
            Last loss of each sample, NaN where it was not seen yet; for sampling hard, which without them is under.

        Returns
        -------
        (length,) int64
            Numbers of samples, of 0 to n - 1. Equal arguments give equal orders on every machine.
        """
        rng = stream(self.seed, _ORDER, self.member, epoch)
        if not self._pools:
            return self._base[rng.permutation(self.n)]
        chosen = [self._drawn(place, losses, rng) for place in range(len(self._pools))]
        return rng.permutation(np.concatenate(chosen))

    def _drawn(
        self, place: int, losses: NDArray[np.float64] | None, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return as many samples of a class as it has to give: each once before one is taken again."""
        pool, quota = self._pools[place], int(self._quotas[place])
        shuffled = pool[rng.permutation(len(pool))]
        if self.sampling == "hard" and losses is not None and quota < len(pool):
            known = np.where(np.isnan(losses), np.inf, losses)[shuffled]  # what was never seen comes first
            return shuffled[np.argsort(-known, kind="stable")[:quota]]
        whole, rest = divmod(quota, len(pool))
        return np.concatenate([np.tile(pool, whole), shuffled[:rest]])


def count_classes(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return how many samples each class has: labels (n,) to (classes,)."""
    return np.bincount(labels, minlength=classes).astype(np.int64)


def _pools(
    base: NDArray[np.int64], labels: NDArray[np.int64] | None, sampling: str
) -> list[NDArray[np.int64]]:
    if labels is None:
        raise InputError(
            f"--sampling {sampling}: needs classes (--task classify); uniform is right without them"
        )
    pools = [base[labels[base] == each] for each in range(int(labels.max(initial=-1)) + 1)]
    for each, pool in enumerate(pools):
        if not len(pool):
            raise InputError(
                f"--sampling {sampling}: no sample of class number {each} to draw; more samples are needed"
            )
    return pools


def _quotas(sampling: str, counts: NDArray[np.int64], total: int, ratio: float) -> NDArray[np.int64]:
    """Return how many samples of each class an epoch has."""
    if not len(counts):
        return counts
    if sampling == "balanced":
        # The first classes get one more where the classes do not divide the samples.
        return total // len(counts) + (np.arange(len(counts)) < total % len(counts))
    if sampling == "over":
        return np.full(len(counts), counts.max())
    quotas = counts.copy()
    most = int(counts.argmax())
    others = int(counts.sum() - counts[most])
    if others:
        quotas[most] = min(int(counts[most]), max(1, round(ratio * others)))
    return quotas
