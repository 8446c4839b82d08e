"""Loops over one row of a grid, and over whole grids taken as rows, that compile to vector instructions.

A row of a grid has one point more at either end than the `size` unknowns; a scratch row `t` begins at the first one.
Every loop counts from zero: the compiler then sees that no index is negative.
"""

from __future__ import annotations

from numba import njit

from hpc_ds.runtime.compiled import compiled

FUSED = {"contract"}
SUMS = {"contract", "reassoc", "nsz"}


@compiled
def set_row(t, f, size):
    """t = f."""
    for j in range(size):
        t[j] = f[j + 1]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def set_east(t, east, u, size):
    """t = coupling to the east times u there."""
    for j in range(size):
        t[j] = east[j + 1] * u[j + 2]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def add_south(t, north, right, left, u, size, corners):
    """t += couplings to the row below (whose couplings these are) times u there."""
    for j in range(size):
        t[j] += north[j + 1] * u[j + 1]
    if corners:
        for j in range(size):
            t[j] += right[j] * u[j] + left[j + 2] * u[j + 2]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def add_north(t, north, right, left, u, size, corners):
    """t += couplings to the row above times u there."""
    for j in range(size):
        t[j] += north[j + 1] * u[j + 1]
    if corners:
        for j in range(size):
            t[j] += right[j + 1] * u[j + 2] + left[j + 1] * u[j]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def from_west(t, east, inverse, u, size):
    """Solve diagonal u = t + coupling to the west times u there, from the west end on."""
    for j in range(size):
        t[j] *= inverse[j + 1]
    value = 0.0
    for j in range(size):
        value = t[j] + (east[j] * inverse[j + 1]) * value
        u[j + 1] = value


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def from_east(t, east, inverse, u, size):
    """Solve diagonal u = t + couplings to west (u still old) and east times u there, from the east end on."""
    for j in range(size):
        t[j] = (t[j] + east[j] * u[j]) * inverse[j + 1]
    value = 0.0
    for j in range(size - 1, -1, -1):
        value = t[j] + (east[j + 1] * inverse[j + 1]) * value
        u[j + 1] = value


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def multiply_row(image, diagonal, east, south, north, below, u, above, size):
    """Set a row of `image` to A u, A of five points; `south` and `north` are couplings to the rows below and above."""
    for j in range(size):
        image[j + 1] = (
            diagonal[j + 1] * u[j + 1]
            - east[j] * u[j]
            - east[j + 1] * u[j + 2]
            - south[j + 1] * below[j + 1]
            - north[j + 1] * above[j + 1]
        )


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def gather(coarse, t, west, middle, east):
    """Add to a coarse row what the fine row `t` gives, by the weights of its western, middle and eastern points."""
    for q in range(coarse.size - 2):
        coarse[q + 1] += west[q + 1] * t[2 * q] + middle[q + 1] * t[2 * q + 1] + east[q + 1] * t[2 * q + 2]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def scatter(coarse, u, west, middle, east):
    """Add to a fine row what the coarse row gives to it: the transpose of `gather`."""
    for q in range(coarse.size - 2):
        u[2 * q + 1] += west[q + 1] * coarse[q + 1]
        u[2 * q + 2] += middle[q + 1] * coarse[q + 1]
        u[2 * q + 3] += east[q + 1] * coarse[q + 1]


@compiled
def clear(a):
    """a = 0, of a grid."""
    for i in range(a.shape[0]):
        row = a[i]
        for j in range(row.size):
            row[j] = 0.0


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def add_scaled(a, factor, b):
    """a += factor b, of two grids."""
    for i in range(a.shape[0]):
        to, of = a[i], b[i]
        for j in range(to.size):
            to[j] += factor * of[j]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def scale_and_add(a, factor, b):
    """a = factor a + b, of two grids."""
    for i in range(a.shape[0]):
        to, of = a[i], b[i]
        for j in range(to.size):
            to[j] = factor * to[j] + of[j]


@njit(cache=True, fastmath=SUMS, error_model="numpy", _nrt=False)
def dot(a, b):
    """Sum of a b over two grids."""
    total = 0.0
    for i in range(a.shape[0]):
        one, other = a[i], b[i]
        for j in range(one.size):
            total += one[j] * other[j]
    return total
