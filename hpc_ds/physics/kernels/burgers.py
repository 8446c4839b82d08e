"""Compiled steps of Burgers' equation in Fourier space, eight samples at once.

A real field of n points is transformed as n / 2 complex ones, z_j = u_2j + i u_2j+1. Inverse transforms leave real and
imaginary parts exchanged (see `hpc_ds.physics.kernels.fft`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.physics.kernels.etdrk4 import end_of_step, full_stage, half_stage
from hpc_ds.physics.kernels.fft import roots, transform
from hpc_ds.physics.kernels.lanes import LANES, conj, get, imag, join, put, real, swap, times_i, zeros
from hpc_ds.runtime.compiled import compiled

Array = NDArray[np.float64]


class Work(NamedTuple):
    """Tables and scratch of a solver of n points whose modes 0 ... m - 1 are kept."""

    points: NDArray[np.complex128]  # (n,) roots of unity
    pairs: NDArray[np.complex128]  # (n / 2,) roots of unity
    x: Array  # (n / 2, 2, LANES), as the three below
    y: Array
    a: Array
    b: Array
    stages: Array  # (5, m, 2, LANES)


def new_work(n: int, modes: int) -> Work:
    """Return the tables and scratch for `n` points, a power of two from 8 on, and so many modes, 3 (modes - 1) < n."""
    x, y, a, b = (zeros(n // 2, 2, LANES) for _ in range(4))
    return Work(roots(n), roots(n // 2), x, y, a, b, zeros(5, modes, 2, LANES))


@compiled
def advance(u, c, steps, work):
    """Take the modes u (m, 2, LANES), u(x) = sum_k u_k exp(2 pi i k x), through so many steps.

    c : (5 m, LANES), `coefficients` of the rates -viscosity (2 pi k)^2.
    """
    a, b = work.stages[0], work.stages[1]
    first, second, third = work.stages[2], work.stages[3], work.stages[4]
    for _ in range(steps):
        slope(u, first, work)
        half_stage(c, u, first, a)
        slope(a, second, work)
        half_stage(c, u, second, b)
        slope(b, third, work)
        full_stage(c, a, third, first, b)
        slope(b, a, work)
        end_of_step(c, u, first, second, third, a)


@compiled
def slope(u, out, work):
    """out = modes of -(u^2 / 2)_x."""
    _to_points(u, work)
    for j in range(work.y.shape[0]):
        z = get(work.y, j)  # exchanged: u_2j is the imaginary part
        put(work.x, j, join(imag(z) * imag(z), real(z) * real(z)))
    transform(work.pairs, work.x, 0, 1, work.y, 0, 1, work.a, work.b)
    _from_points(out, work)


@compiled
def _to_points(u, work):
    """work.y = the field at the points, in exchanged pairs.

    Even points have the modes u_k + conj(u_{n/2 - k}), odd ones (u_k - conj(u_{n/2 - k})) exp(2 pi i k / n).
    """
    modes, half = u.shape[0], work.pairs.size
    for k in range(half // 2 + 1):
        here = get(u, k)
        even, odd = here, here
        if half - k < modes:
            there = conj(get(u, half - k))
            even, odd = here + there, here - there
        odd = times_i(work.points[k].conjugate() * odd)
        put(work.x, k, swap(even + odd))
        if k > 0:
            put(work.x, half - k, swap(conj(even - odd)))
    transform(work.pairs, work.x, 0, 1, work.y, 0, 1, work.a, work.b)


@compiled
def _from_points(out, work):
    """out = modes of -(s / 2)_x of the field s, whose pairs have the modes work.y."""
    n, half = work.points.size, work.pairs.size
    for k in range(out.shape[0]):
        here, there = get(work.y, k), conj(get(work.y, half - k if k > 0 else 0))
        twice = (here + there) - times_i(work.points[k] * (here - there))
        put(out, k, (-0.5 * np.pi * k / n) * times_i(twice))
