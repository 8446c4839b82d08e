"""Is a posterior right: uniform ranks of the truths, bands that hold as many of them as they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVELS = (0.68, 0.95)

SIGNIFICANT = 0.01
"""Chance, of all tests together, below which ranks are called not uniform."""

_MOST_BINS = 10
_A_BIN = 8  # ranks expected in each: fewer spoil the law of chi^2


def uniformity(ranks: Array, names: Sequence[str]) -> dict[str, Any]:
    """Test whether ranks are uniform in (0, 1) (Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788).

    Parameters
    ----------
    ranks : (truths, quantities) float64
    names : sequence of str
        Of the quantities.

    Returns
    -------
    dict
        By quantity the chances of ranks as uneven, by Kolmogorov and Smirnov and by chi^2; the smallest of all, and
        ``uniform``: whether it is above 0.01 over the number of tests.
    """
    tests = {
        name: {"kolmogorov_smirnov": kolmogorov_smirnov(column), "chi_squared": chi_squared(column)}
        for name, column in zip(names, ranks.T, strict=True)
    }
    chances = [chance for pair in tests.values() for chance in pair.values()]
    return {
        "tests": tests,
        "least": min(chances),
        "uniform": min(chances) > SIGNIFICANT / len(chances),
        "bins": _bins(len(ranks)),
    }


def kolmogorov_smirnov(ranks: Array) -> float:
    """Return the chance that uniform ranks (n,) have a distribution as far from the straight line."""
    from scipy.stats import kstest

    return float(kstest(ranks, "uniform").pvalue)


def chi_squared(ranks: Array) -> float:
    """Return the chance that uniform ranks (n,) fill equal bins as unevenly."""
    from scipy.stats import chisquare

    return float(chisquare(histogram(ranks)).pvalue)


def histogram(ranks: Array) -> NDArray[np.int64]:
    """Return how many ranks there are in each of up to ten equal bins."""
    return np.histogram(ranks, _bins(len(ranks)), (0.0, 1.0))[0]


def coverage(ranks: Array, level: float) -> Array:
    """Return the share of truths inside the central band of a level, (quantities,), from ranks (truths, quantities)."""
    return (np.abs(ranks - 0.5) <= 0.5 * level).mean(axis=0)


def binomial_error(level: float, count: int) -> float:
    """Return the standard error of a coverage that is right."""
    return math.sqrt(level * (1.0 - level) / count)


def _bins(count: int) -> int:
    return max(2, min(_MOST_BINS, count // _A_BIN))
