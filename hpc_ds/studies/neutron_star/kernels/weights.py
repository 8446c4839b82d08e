"""Compiled weights of equations of state: likelihoods of observed stars, and densities of what more are drawn from."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hpc_ds.infer.kernels.vector import exp_negative

Array = NDArray[np.float64]

STAR = 6
"""Columns of a star's row: mass, radius, factors of the squares of what a star is off in mass and radius and of their
product, and the log of the constant."""

# All of these are merged into their callers. What stays a function of its own is compiled twice, alone and with its
# caller: a process that compiled both runs the first and one that found them in the cache the second, and sums that may
# be reordered then differ in the last bit.
_SUMS = {"contract", "reassoc", "nsz"}
_LARGEST = {"contract", "reassoc", "nsz", "nnan"}  # without NaN, a loop over maxima is one of vectors


@njit(cache=True, fastmath=_LARGEST, forceinline=True)
def _exponents(mass: Array, radius: Array, log_share: Array, star: Array, out: Array) -> float:
    """Set the log of the integrand at all nodes; return the largest."""
    largest = -1e300
    for q in range(mass.size):
        x, y = mass[q] - star[0], radius[q] - star[1]
        value = log_share[q] - star[2] * x * x - star[3] * y * y + star[4] * x * y
        out[q] = value
        largest = max(largest, value)
    return largest


@njit(cache=True, fastmath=_SUMS, forceinline=True)
def _sum_of_exponentials(exponents: Array, largest: float) -> float:
    total = 0.0
    for q in range(exponents.size):
        total += exp_negative(exponents[q] - largest)
    return total


@njit(cache=True)
def log_likelihoods(
    heaviest: Array, radius: Array, place: Array, log_share: Array, stars: Array, lowest: float
) -> Array:
    """Return the log-likelihoods of stars whose masses are uniform up to the heaviest, integrated over these.

    Parameters
    ----------
    heaviest : (n,) float64
        Maximum masses, above `lowest`.
    radius : (n, nodes) float64
        At mass lowest + place (heaviest - lowest).
    place, log_share : (nodes,) float64
        Nodes of a quadrature on (0, 1) and the logs of its weights.
    stars : (s, STAR) float64
    lowest : float

    Returns
    -------
    (n,) float64
    """
    found = np.empty(heaviest.size)
    mass, exponents = np.empty(place.size), np.empty(place.size)
    for i in range(heaviest.size):
        for q in range(place.size):
            mass[q] = lowest + place[q] * (heaviest[i] - lowest)
        total = 0.0
        for s in range(stars.shape[0]):
            largest = _exponents(mass, radius[i], log_share, stars[s], exponents)
            total += stars[s, 5] + largest + math.log(_sum_of_exponentials(exponents, largest))
        found[i] = total
    return found


@njit(cache=True)
def mean_of_normals(points: Array, centres: Array) -> Array:
    """Return the mean over centres (k, d) of exp(-|x - centre|^2 / 2) at points x, (n, d)."""
    found = np.empty(points.shape[0])
    columns, exponents = centres.T.copy(), np.empty(centres.shape[0])
    for i in range(points.shape[0]):
        exponents[:] = 0.0
        for d in range(columns.shape[0]):
            _add_square(columns[d], points[i, d], exponents)
        found[i] = _sum_of_exponentials(exponents, 0.0) / centres.shape[0]
    return found


@njit(cache=True, fastmath=_SUMS, forceinline=True)
def _add_square(centres: Array, x: float, exponents: Array) -> None:
    for k in range(centres.size):
        exponents[k] -= 0.5 * (x - centres[k]) * (x - centres[k])
