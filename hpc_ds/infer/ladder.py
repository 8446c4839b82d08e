"""The ladder of inverse temperatures: where it starts, how it is tuned, and what theory says of its round trips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Betas = NDArray[np.float64]

REPLICAS_A_BARRIER = 3.0
"""Intervals for each unit of the communication barrier: a third of the exchanges is refused."""

MOST_REPLICAS = 1000
_FEWEST = 4
_LEAST_REJECTION = 1e-3  # keeps the cumulative barrier strictly increasing


def initial_ladder(log_likelihoods: NDArray[np.float64], replicas: int | None) -> Betas:
    """Return a first ladder from draws of the prior.

    Parameters
    ----------
    log_likelihoods : (draws,) float64
        Of independent draws from the prior.
    replicas : int or None
        Number of levels; chosen so that neighbours differ by at most a factor 2.5 if None.

    Returns
    -------
    (levels,) float64
        0, then a geometric sequence up to 1. The second level is where weights exp(beta log L) have half of the
        effective size of equal ones.
    """
    finite = log_likelihoods[np.isfinite(log_likelihoods)]
    first = _half_weight(finite) if finite.size > 1 else 1e-6
    if first >= 1.0:
        return np.linspace(0.0, 1.0, replicas or _FEWEST)
    count = replicas or max(_FEWEST, 2 + int(np.ceil(np.log(1.0 / first) / np.log(2.5))))
    if count < 3:
        return np.array([0.0, 1.0])
    ladder = np.concatenate([[0.0], np.geomspace(first, 1.0, count - 1)])
    ladder[-1] = 1.0
    return ladder


def cumulative_barrier(rejection: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the communication barrier up to each level (levels,) from the rejections of the pairs (levels - 1,).

    Syed, Bouchard-Cote, Deligiannidis & Doucet, JRSS-B 84 (2022) 321, equation 16.
    """
    return np.concatenate([[0.0], np.cumsum(rejection)])


def replicas_for(barrier: float) -> int:
    """Return the number of replicas for a ladder of this communication barrier."""
    return int(np.clip(1 + np.ceil(REPLICAS_A_BARRIER * barrier), _FEWEST, MOST_REPLICAS))


def equal_rejection(beta: Betas, rejection: NDArray[np.float64], replicas: int) -> Betas:
    """Return the ladder of this many levels on which all pairs reject alike.

    The cumulative barrier is interpolated by a monotone cubic and inverted at equal steps (Syed et al. 2022,
    algorithm 2).

    Parameters
    ----------
    beta : (levels,) float64
        The present ladder, ascending from 0 to 1.
    rejection : (levels - 1,) float64
        Mean rejection probability of each pair.
    replicas : int
        Number of levels wanted.
    """
    from scipy.interpolate import PchipInterpolator

    barrier = cumulative_barrier(np.maximum(rejection, _LEAST_REJECTION))
    # The first levels span orders of magnitude: inverting the barrier as a function of beta keeps them apart.
    ladder = PchipInterpolator(barrier, beta)(np.linspace(0.0, barrier[-1], replicas))
    ladder[0], ladder[-1] = 0.0, 1.0
    return np.maximum.accumulate(ladder)


def nearest_levels(old: Betas, rejection: NDArray[np.float64], new: Betas) -> NDArray[np.int64]:
    """Return for each level of a new ladder the level of the old one that is nearest in communication barrier."""
    barrier = cumulative_barrier(np.maximum(rejection, _LEAST_REJECTION))
    wanted = np.interp(new, old, barrier)
    nearest = np.abs(wanted[:, None] - barrier[None, :]).argmin(axis=1)
    return nearest.astype(np.int64)


def round_trip_rate(rejection: NDArray[np.float64]) -> float:
    """Return the round trips a scan that efficient local moves reach on this ladder: 1 / (2 + 2 sum r / (1 - r)).

    Syed et al. (2022), corollary 2; for ever finer ladders it becomes `round_trip_limit`.
    """
    r = np.minimum(rejection, 1.0 - 1e-9)
    return float(1.0 / (2.0 + 2.0 * np.sum(r / (1.0 - r))))


def round_trip_limit(barrier: float) -> float:
    """Return the round trips a scan of an infinitely fine ladder: 1 / (2 + 2 Lambda) (Syed et al. 2022, theorem 3)."""
    return 1.0 / (2.0 + 2.0 * barrier)


def _half_weight(log_likelihoods: NDArray[np.float64]) -> float:
    """Inverse temperature at which the effective fraction of prior draws falls to one half, by bisection."""

    def fraction(beta: float) -> float:
        weight = np.exp(beta * (log_likelihoods - log_likelihoods.max()))
        return float(weight.sum() ** 2 / (np.sum(weight**2) * weight.size))

    if fraction(1.0) >= 0.5:
        return 1.0
    low, high = -700.0, 0.0  # in log beta
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fraction(np.exp(middle)) >= 0.5 else (low, middle)
    return float(np.exp(low))
