"""The Lorenz-96 systems of one and two levels: tendencies, trajectories, and what the small scale does to the large."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SMALLEST_RING = 4  # fewer sites would be their own second neighbours


@dataclass(frozen=True)
class TwoLevel:
    """The constants of the two-level system (Lorenz 1996), with the values of Wilks (2005) unless said otherwise."""

    forcing: float = 20.0
    """F."""
    coupling: float = 1.0
    """h."""
    amplitude_ratio: float = 10.0
    """b, of the large to the small scale's amplitude."""
    time_ratio: float = 10.0
    """c, of the large to the small scale's times."""

    @property
    def exchange(self) -> float:
        """h c / b, the strength of the coupling."""
        return self.coupling * self.time_ratio / self.amplitude_ratio


def advection(x: Array) -> Array:
    """Return x_{k-1} (x_{k+1} - x_{k-2}) on a ring; x . advection(x) = 0, so it keeps the energy.

    Parameters
    ----------
    x : (..., n) float64

    Returns
    -------
    (..., n) float64
    """
    return np.roll(x, 1, -1) * (np.roll(x, -1, -1) - np.roll(x, 2, -1))


def tendency(x: Array, forcing: float) -> Array:
    """Return dx/dt = x_{k-1} (x_{k+1} - x_{k-2}) - x_k + F of the one-level system; x is (..., n)."""
    return advection(x) - x + forcing


def trajectory(
    start: Array, forcing: float, *, step: float, frames: int, every: int = 1, skipped: int = 0
) -> Array:
    """Integrate the one-level system by the classical fourth-order Runge-Kutta method.

    Parameters
    ----------
    start : (n,) float64
        State at time 0; n >= 4.
    forcing : float
        F.
    step : float
        Time step; 0.05 is the customary one (six hours of the atmosphere, Lorenz 1996).
    frames : int
        Number of states that are returned.
    every : int
        Steps from one to the next.
    skipped : int
        Steps before the first.

    Returns
    -------
    (frames, n) float64
        Infinite or NaN where the step was too long.

    Raises
    ------
    ValueError
        `start` is no ring of at least four values.
    """
    from hpc_ds.physics.kernels.lorenz96 import one_level

    return one_level(_ring("start", start), float(forcing), float(step), skipped, frames, every)


def two_level_tendency(x: Array, y: Array, constants: TwoLevel) -> tuple[Array, Array]:
    """Return dx/dt and dy/dt of the two-level system.

    dx_k/dt = x_{k-1} (x_{k+1} - x_{k-2}) - x_k + F - (h c / b) sum_j y_{kj},
    dy_i/dt = c b y_{i+1} (y_{i-1} - y_{i+2}) - c y_i + (h c / b) x_{k(i)}, where i counts all (k, j) in one ring.

    Parameters
    ----------
    x : (..., K) float64
    y : (..., K, J) float64
    constants : TwoLevel

    Returns
    -------
    (..., K), (..., K, J) float64
    """
    ring = y.reshape(*y.shape[:-2], -1)
    along = np.roll(ring, -1, -1) * (np.roll(ring, 1, -1) - np.roll(ring, -2, -1))
    small = constants.time_ratio * (constants.amplitude_ratio * along - ring)
    large = tendency(x, constants.forcing) - small_scale_effect(y, constants)
    return large, small.reshape(y.shape) + constants.exchange * x[..., np.newaxis]


def small_scale_effect(y: Array, constants: TwoLevel) -> Array:
    """Return (h c / b) sum_j y_{kj}, what a closure has to give: it is taken from dx_k/dt; y is (..., K, J)."""
    return constants.exchange * y.sum(axis=-1)


def unresolved_tendency(x: Array, later: Array, lag: float, forcing: float) -> Array:
    """Return the one-level tendency of `x` less (later - x) / lag: the effect of the small scale as it is measured.

    The published closures are fits of this with a lag of 0.005 (Wilks 2005, order 4; Arnold et al. 2013, order 3).
    It is not quite `small_scale_effect`: the finite difference takes off lag / 2 times d^2 x / dt^2, which moves a
    cubic fit by 0.7 (root mean square over the climate of x, where the effect scatters by 1.8 about its fit).

    Parameters
    ----------
    x, later : (..., K) float64
        States of the large scale at a time and at `lag` after it.
    lag, forcing : float

    Returns
    -------
    (..., K) float64
    """
    return tendency(x, forcing) - (later - x) / lag


def two_level_trajectory(
    large: Array,
    small: Array,
    constants: TwoLevel,
    *,
    step: float,
    frames: int,
    every: int = 1,
    skipped: int = 0,
) -> tuple[Array, Array]:
    """Integrate the two-level system by the classical fourth-order Runge-Kutta method.

    Parameters
    ----------
    large : (K,) float64
        x at time 0, K >= 4.
    small : (K, J) float64
        y at time 0.
    constants : TwoLevel
    step, frames, every, skipped
        As of `trajectory`; with c = b = 10 a step of at most 0.005.

    Returns
    -------
    x, y : (frames, K), (frames, K, J) float64

    Raises
    ------
    ValueError
        Shapes that do not belong together.
    """
    from hpc_ds.physics.kernels.lorenz96 import two_level

    x, y = _ring("large", large), np.asarray(small, dtype=np.float64)
    if y.ndim != 2 or len(y) != len(x) or not y.shape[1]:
        raise ValueError(f"small has shape {y.shape}: ({len(x)}, J) is needed")
    numbers = tuple(float(value) for value in astuple(constants))
    states, inner = two_level(x, y.ravel(), numbers, float(step), skipped, frames, every)
    return states, inner.reshape(frames, *y.shape)


def _ring(name: str, values: Array) -> Array:
    ring = np.ascontiguousarray(values, dtype=np.float64)
    if ring.ndim != 1 or ring.size < _SMALLEST_RING:
        raise ValueError(
            f"{name} has shape {ring.shape}: a ring of at least {_SMALLEST_RING} values is needed"
        )
    return ring
