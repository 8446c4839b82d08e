"""The toy problem: a spectral function of two peaks, known at twenty random places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.random import name_key, stream

POINTS = 20
"""Places at which the function is known."""

FINE = 1001
"""Points of the grid on which errors are measured, both ends of [0, 1] among them."""

_KEY = name_key("noise-copies.points")


def f(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the function of two peaks, any shape; the published formula is not known, this one is ours."""
    return 0.8 * np.exp(-(((x - 0.3) / 0.07) ** 2)) + 0.55 * np.exp(-(((x - 0.65) / 0.11) ** 2))


def fine_grid() -> NDArray[np.float64]:
    """Return the grid on which errors are measured, (FINE,)."""
    return np.linspace(0.0, 1.0, FINE)


def points(seed: int, unit: int) -> NDArray[np.float64]:
    """Return the places (POINTS,) that seed number `unit` of the run of `seed` knows, in ascending order.

    They are uniform on [0, 1] and the same for every variant, so that variants are compared on equal data.
    """
    return np.sort(stream(seed, _KEY, unit).random(POINTS))
