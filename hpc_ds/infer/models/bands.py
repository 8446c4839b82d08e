"""Bands of a fit: quantiles, over posterior draws, of a curve at every point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QUANTILES = np.array([2.5, 25.0, 50.0, 75.0, 97.5])
"""Per cent: the axis ``quantile`` of the group ``curves`` in a posterior file."""

MEDIAN = 2
"""The median's place among `QUANTILES`."""

_MOST = 400  # draws: the ends of the 95 % band are then known to a fifteenth of its width
_FEWEST = 20
_LARGEST = 20_000_000  # numbers held at a time


def spread_draws(draws: int, numbers: int) -> NDArray[np.int64]:
    """Return the indices of the draws that curves are computed of: at most 400, evenly spaced, fewer of long curves.

    Parameters
    ----------
    draws : int
        How many there are.
    numbers : int
        How many numbers are held for each.
    """
    count = min(draws, _MOST, max(_FEWEST, _LARGEST // numbers))
    return np.linspace(0, draws - 1, count).astype(np.int64)


def bands(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantiles (quantile, ..., point) of curves (draw, ..., point)."""
    return np.percentile(curves, QUANTILES, axis=0)
