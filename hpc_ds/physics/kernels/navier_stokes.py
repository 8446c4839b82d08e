"""Compiled steps of the vorticity equation in Fourier space, eight samples at once.

With U = u + i v for the velocity (u, v), kappa = 2 pi (k_x - i k_y) and modes w_k of the vorticity,

    U_k = w_k / kappa        and        (u w_x + v w_y)_k = i/4 (kappa^2 P_k - conj(kappa^2 P_-k)),    P_k = (U^2)_k

so that one complex transform each way does what five real ones do for velocity, gradient and product (the form in
u^2 - v^2 and u v of Basdevant, J. Comput. Phys. 50, 209 (1983), written with complex numbers).

The modes are those of |k_x|, |k_y| <= K in the half plane k_y > 0, or k_y = 0 and k_x > 0, of which the others are the
conjugates. Mode (k_x, k_y) stands at [k_x + K, k_y]; where there is no mode it is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.physics.kernels.etdrk4 import end_of_step, full_stage, half_stage
from hpc_ds.physics.kernels.fft import roots, transform
from hpc_ds.physics.kernels.lanes import LANES, conj, get, imag, join, put, real, swap, zeros
from hpc_ds.runtime.compiled import compiled

Array = NDArray[np.float64]


class Work(NamedTuple):
    """Tables and scratch of a solver of n x n points and the highest mode K."""

    roots: NDArray[np.complex128]  # (n,)
    to_velocity: NDArray[np.complex128]  # (2 K + 1, K + 1) 1 / kappa
    to_slope: NDArray[np.complex128]  # (2 K + 1, K + 1) -i kappa^2 / (4 n^2)
    lines: Array  # (n (n + 1), 2, LANES) at [k_x mod n, y], with a gap that spreads columns over the cache
    plus: Array  # (n, 2, LANES), as the five below
    minus: Array
    x: Array
    y: Array
    a: Array
    b: Array
    stages: Array  # (5, (2 K + 1) (K + 1), 2, LANES)


def new_work(n: int, highest: int) -> Work:
    """Return the tables and scratch for `n` x `n` points, a power of two from 8 on, and the highest mode, 3 K < n."""
    kx, ky = np.meshgrid(np.arange(-highest, highest + 1), np.arange(highest + 1), indexing="ij")
    kappa = 2.0 * np.pi * (kx - 1j * ky)
    is_mode = (ky > 0) | (kx > 0)
    inverse = np.divide(1.0, kappa, out=np.zeros_like(kappa), where=is_mode)
    square = np.where(is_mode, -0.25j / n**2 * kappa**2, 0.0)
    lines, stages = zeros(n * (n + 1), 2, LANES), zeros(5, kx.size, 2, LANES)
    plus, minus, x, y, a, b = (zeros(n, 2, LANES) for _ in range(6))
    return Work(roots(n), inverse, square, lines, plus, minus, x, y, a, b, stages)


@compiled
def advance(w, c, forcing, steps, work):
    """Take the modes w (modes, 2, LANES), w(x, y) = sum_k w_k exp(2 pi i (k_x x + k_y y)), through so many steps.

    c : (5 modes, LANES), `coefficients` of the rates -viscosity |2 pi k|^2; forcing : modes (modes, 2, LANES).
    """
    a, b = work.stages[0], work.stages[1]
    first, second, third = work.stages[2], work.stages[3], work.stages[4]
    for _ in range(steps):
        slope(w, forcing, first, work)
        half_stage(c, w, first, a)
        slope(a, forcing, second, work)
        half_stage(c, w, second, b)
        slope(b, forcing, third, work)
        full_stage(c, a, third, first, b)
        slope(b, forcing, a, work)
        end_of_step(c, w, first, second, third, a)


@compiled
def slope(w, forcing, out, work):
    """out = modes of forcing - (u w_x + v w_y)."""
    n, highest = work.roots.size, work.to_slope.shape[1] - 1
    for kx in range(highest + 1):
        _velocity_along_y(w, kx, work)
    for y in range(n):
        _square_along_x(y, work)
    for kx in range(highest + 1):
        _slope_of_modes(kx, forcing, out, work)


@compiled
def _velocity_along_y(w, kx, work):
    """Transform the velocity's modes of k_x and -k_x from k_y to y."""
    n = work.roots.size
    minus = work.minus if kx > 0 else work.plus
    _place(w, kx, 0, work.plus, minus, work)
    if kx > 0:
        _place(w, -kx, 1, minus, work.plus, work)
        transform(work.roots, minus, 0, 1, work.lines, (n - kx) * (n + 1), 1, work.a, work.b)
    transform(work.roots, work.plus, 0, 1, work.lines, kx * (n + 1), 1, work.a, work.b)


@compiled
def _place(w, kx, start, here, there, work):
    """Put the velocity's modes (k_x, k_y) into `here` and those opposite to them into `there`, exchanged."""
    n, columns = here.shape[0], work.to_velocity.shape[1]
    row = kx + columns - 1
    for ky in range(start, columns):
        vorticity = get(w, row * columns + ky)
        factor = work.to_velocity[row, ky]
        put(here, ky, swap(factor * vorticity))
        put(there, n - ky if ky > 0 else 0, swap(-factor * conj(vorticity)))


@compiled
def _square_along_x(y, work):
    """Transform one line of the velocity U from k_x to x, square it, and transform U^2 back."""
    n, highest = work.roots.size, work.to_slope.shape[1] - 1
    transform(work.roots, work.lines, y, n + 1, work.x, 0, 1, work.a, work.b)
    for x in range(n):
        velocity = get(work.x, x)
        v, u = real(velocity), imag(velocity)  # exchanged
        put(work.x, x, join(u * u - v * v, 2.0 * (u * v)))
    transform(work.roots, work.x, 0, 1, work.y, 0, 1, work.a, work.b)
    for kx in range(highest + 1):
        put(work.lines, kx * (n + 1) + y, get(work.y, kx))
    for kx in range(n - highest, n):
        put(work.lines, kx * (n + 1) + y, get(work.y, kx))


@compiled
def _slope_of_modes(kx, forcing, out, work):
    """Transform U^2 of k_x and -k_x from y to k_y, and take its modes to those of the slope."""
    n = work.roots.size
    transform(work.roots, work.lines, kx * (n + 1), 1, work.x, 0, 1, work.a, work.b)
    if kx == 0:
        _combine(0, work.x, work.x, forcing, out, work)
    else:
        transform(work.roots, work.lines, (n - kx) * (n + 1), 1, work.y, 0, 1, work.a, work.b)
        _combine(kx, work.x, work.y, forcing, out, work)
        _combine(-kx, work.y, work.x, forcing, out, work)


@compiled
def _combine(kx, here, there, forcing, out, work):
    """Slope of the modes (k_x, k_y) from the modes of U^2 on their line and on the opposite one."""
    n, columns = here.shape[0], work.to_slope.shape[1]
    row = kx + columns - 1
    for ky in range(columns):
        factor = work.to_slope[row, ky]
        opposite = factor * get(there, n - ky if ky > 0 else 0)
        k = row * columns + ky
        put(out, k, (factor * get(here, ky) + conj(opposite)) + get(forcing, k))
