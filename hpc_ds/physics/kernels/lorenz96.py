"""Compiled Runge-Kutta integration of the Lorenz-96 systems, one sample a call.

A ring of n values lies in an array of n + 3, with copies of its ends. Values of the large scale and of the one-level
system begin at place 2, behind the last two, and the first follows; those of the small scale begin at place 1, behind
the last one, and the first two follow. A tendency is then one loop without a wrap: it compiles to vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_ds.runtime.compiled import compiled

FUSED = {"contract"}
SUMS = {"contract", "reassoc", "nsz"}


@njit(cache=True, error_model="numpy")
def one_level(start, forcing, step, skipped, frames, every):
    """Return the states (frames, n) after `skipped` steps and then each `every` steps."""
    n = start.size
    state, stage, slope, total = np.zeros(n + 3), np.zeros(n + 3), np.zeros(n), np.zeros(n)
    state[2 : n + 2] = start
    kept = np.empty((frames, n))
    for frame in range(frames):
        for _ in range(skipped if frame == 0 else every):
            one_level_step(state, stage, slope, total, forcing, step)
        kept[frame] = state[2 : n + 2]
    return kept


@compiled
def one_level_step(state, stage, slope, total, forcing, step):
    """Advance `state` by one step of the classical fourth-order Runge-Kutta method."""
    close_large(state)
    one_level_slope(state, slope, forcing)
    begin_total(total, slope)
    for weight, length in ((2.0, 0.5), (2.0, 0.5), (1.0, 1.0)):
        move(stage, state, slope, length * step, 2)
        close_large(stage)
        one_level_slope(stage, slope, forcing)
        add(total, slope, weight)
    move(state, state, total, step / 6.0, 2)


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def one_level_slope(x, slope, forcing):
    """slope = x_{k-1} (x_{k+1} - x_{k-2}) - x_k + forcing."""
    for k in range(slope.size):
        slope[k] = x[k + 1] * (x[k + 3] - x[k]) - x[k + 2] + forcing


@njit(cache=True, error_model="numpy")
def two_level(large, small, constants, step, skipped, frames, every):
    """Return the states (frames, K) and (frames, K J) after `skipped` steps and then each `every` steps.

    `constants` are forcing F, coupling h, amplitude ratio b and time ratio c; `large` is (K,), `small` (K J,).
    """
    n, m = large.size, small.size
    x, x_stage, x_slope, x_total = np.zeros(n + 3), np.zeros(n + 3), np.zeros(n), np.zeros(n)
    y, y_stage, y_slope, y_total = np.zeros(m + 3), np.zeros(m + 3), np.zeros(m), np.zeros(m)
    x[2 : n + 2] = large
    y[1 : m + 1] = small
    kept_x, kept_y = np.empty((frames, n)), np.empty((frames, m))
    for frame in range(frames):
        for _ in range(skipped if frame == 0 else every):
            two_level_step(x, x_stage, x_slope, x_total, y, y_stage, y_slope, y_total, constants, step)
        kept_x[frame] = x[2 : n + 2]
        kept_y[frame] = y[1 : m + 1]
    return kept_x, kept_y


@compiled
def two_level_step(x, x_stage, x_slope, x_total, y, y_stage, y_slope, y_total, constants, step):
    """Advance `x` and `y` by one step of the classical fourth-order Runge-Kutta method."""
    two_level_slope(x, y, x_slope, y_slope, constants)
    begin_total(x_total, x_slope)
    begin_total(y_total, y_slope)
    for weight, length in ((2.0, 0.5), (2.0, 0.5), (1.0, 1.0)):
        move(x_stage, x, x_slope, length * step, 2)
        move(y_stage, y, y_slope, length * step, 1)
        two_level_slope(x_stage, y_stage, x_slope, y_slope, constants)
        add(x_total, x_slope, weight)
        add(y_total, y_slope, weight)
    move(x, x, x_total, step / 6.0, 2)
    move(y, y, y_total, step / 6.0, 1)


@compiled
def two_level_slope(x, y, x_slope, y_slope, constants):
    """Set the tendencies of both levels, after closing both rings."""
    forcing, coupling, amplitude_ratio, time_ratio = constants
    close_large(x)
    close_small(y)
    one_level_slope(x, x_slope, forcing)
    exchange = coupling * time_ratio / amplitude_ratio
    sectors = y_slope.size // x_slope.size
    small_slope(y, y_slope, time_ratio * amplitude_ratio, time_ratio)
    for k in range(x_slope.size):
        x_slope[k] -= exchange * sum_and_push(y, y_slope, k * sectors, sectors, exchange * x[k + 2])


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def small_slope(y, slope, advection, damping):
    """slope = advection y_{j+1} (y_{j-1} - y_{j+2}) - damping y_j."""
    for j in range(slope.size):
        slope[j] = advection * y[j + 2] * (y[j] - y[j + 3]) - damping * y[j + 1]


@njit(cache=True, fastmath=SUMS, error_model="numpy", _nrt=False)
def sum_and_push(y, slope, first, sectors, push):
    """Add `push` to the slopes of one large-scale site's small-scale values; return the sum of these values."""
    total = 0.0
    for j in range(sectors):
        total += y[first + j + 1]
        slope[first + j] += push
    return total


@compiled
def close_large(x):
    """Copy the ends of a ring whose values begin at place 2."""
    n = x.size - 3
    x[0], x[1], x[n + 2] = x[n], x[n + 1], x[2]


@compiled
def close_small(y):
    """Copy the ends of a ring whose values begin at place 1."""
    m = y.size - 3
    y[0], y[m + 1], y[m + 2] = y[m], y[1], y[2]


@compiled
def begin_total(total, slope):
    """total = slope."""
    for k in range(slope.size):
        total[k] = slope[k]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def add(total, slope, weight):
    """total += weight slope."""
    for k in range(slope.size):
        total[k] += weight * slope[k]


@njit(cache=True, fastmath=FUSED, error_model="numpy", _nrt=False)
def move(to, state, slope, length, first):
    """to = state + length slope, of rings whose values begin at place `first`."""
    for k in range(slope.size):
        to[k + first] = state[k + first] + length * slope[k]
