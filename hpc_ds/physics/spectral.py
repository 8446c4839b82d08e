"""What pseudo-spectral solvers on a torus share: samples go eight at a time from one stored moment to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Modes = NDArray[np.complex128]

Advance = Callable[[Array, Array, int], None]
"""``advance(modes, coefficients, steps)`` takes modes (k, 2, LANES) through so many steps, in place."""

_SMALLEST_GRID = 8
_SAME = 1e-9  # intervals that differ by rounding alone share a step, and so its coefficients
_TAIL = 0.9  # of the highest mode: from here on modes must have become small


def highest_mode(n: int) -> int:
    """Return the highest mode that is kept on n points: below n / 3, so that squares are free of aliasing."""
    return (n - 1) // 3


def march(initial: Modes, rates: Array, times: Array, step: float, advance: Advance) -> Modes:
    """Return the modes of samples at some times.

    Parameters
    ----------
    initial : (samples, k) complex128
        At time 0.
    rates : (samples, k) float64
        Of decay, which is solved exactly; not positive.
    times : (m,) float64
        At least 0 and increasing.
    step : float
        Longest step; the time between two of `times` is divided evenly.
    advance : callable
        Steps of the equation.

    Returns
    -------
    (samples, m, k) complex128
    """
    from hpc_ds.physics.kernels.lanes import LANES

    found = np.empty((len(initial), len(times), initial.shape[1]), dtype=np.complex128)
    for first in range(0, len(initial), LANES):
        # Lanes without a sample of their own repeat the last one: no lane reads another.
        samples = np.minimum(np.arange(first, first + LANES), len(initial) - 1)
        moments = _march_lanes(initial[samples], rates[samples], times, step, advance)
        for i, modes in enumerate(moments):
            found[first : first + LANES, i] = modes[: len(initial) - first]
    return found


def is_resolved(fields: Array, limit: float = 0.03) -> bool:
    """Return whether the solver's grid and step were fine enough for a sample.

    The modes near the highest one, relative to the largest, tell the relative error of the field: where they were above
    1e-3, both agreed within a factor of 4, for Burgers' equation and for flow, as solutions on finer grids showed.

    Parameters
    ----------
    fields : (times, n) or (times, n, n) float64
        On the solver's own grid, later than the initial field.
    limit : float
        At every time the modes from 0.9 of the highest kept one on are at most this part of the largest mode. Fields
        that are not finite are not resolved.
    """
    n, axes = fields.shape[-1], tuple(range(1, fields.ndim))
    top = highest_mode(n)
    wave = np.abs(np.fft.fftfreq(n, 1.0 / n))
    shell = wave if len(axes) == 1 else np.maximum(wave[:, np.newaxis], wave)
    size = np.abs(scipy.fft.fftn(fields, axes=axes, workers=1))
    largest = size[:, shell > 0].max(axis=1)
    tail = size[:, (shell >= _TAIL * top) & (shell <= top)].max(axis=1)
    return bool(np.all(tail <= limit * largest))


def check(fields: Array, viscosity: Array, dim: int, times: Array, step: float) -> None:
    """Check what a solver is given.

    Raises
    ------
    ValueError
        Says what is wrong and what would be right.
    """
    n = fields.shape[-1] if fields.ndim else 0
    if fields.ndim != dim + 1 or fields.shape[1:] != (n,) * dim or n < _SMALLEST_GRID or n & (n - 1):
        shape = ", ".join(["samples"] + ["n"] * dim)
        raise ValueError(f"initial has shape {fields.shape}: ({shape}) is needed, n a power of two from 8 on")
    if viscosity.shape != fields.shape[:1] or not np.all(viscosity >= 0.0):
        raise ValueError("viscosity: one number for each sample is needed, none negative")
    if times.ndim != 1 or not times.size or not np.all(np.isfinite(times)) or times[0] < 0.0:
        raise ValueError(f"times {times}: finite numbers from 0 on are needed")
    if np.any(np.diff(times) <= 0.0):
        raise ValueError(f"times {times}: they must increase")
    if not step > 0.0:
        raise ValueError(f"step is {step}: a positive one is needed")


def steps_between(start: float, end: float, step: float) -> int:
    """Return the smallest number of equal steps from `start` to `end` of which none is longer than `step`."""
    return math.ceil((end - start) / step * (1.0 - _SAME))


def as_array(values: ArrayLike) -> Array:
    """Return values as float64."""
    return np.asarray(values, dtype=np.float64)


def _march_lanes(
    initial: Modes, rates: Array, times: Array, step: float, advance: Advance
) -> Iterator[Modes]:
    """Yield the modes (LANES, k) at each of the times."""
    from hpc_ds.physics.kernels.etdrk4 import coefficients
    from hpc_ds.physics.kernels.lanes import LANES, zeros

    state = zeros(initial.shape[1], 2, LANES)
    state[:, 0], state[:, 1] = initial.real.T, initial.imag.T
    now, used = 0.0, 0.0
    for time in times:
        steps = steps_between(now, time, step)
        if steps:
            needed = (time - now) / steps
            if abs(needed - used) > _SAME * needed:
                used, table = needed, coefficients(np.ascontiguousarray(rates.T), needed)
            advance(state, table, steps)
        now = time
        yield (state[:, 0] + 1j * state[:, 1]).T
