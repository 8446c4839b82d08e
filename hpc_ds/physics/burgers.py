"""Viscous Burgers equation on a ring: u_t + (u^2 / 2)_x = viscosity u_xx with u(x + 1, t) = u(x, t).

Pseudo-spectral, free of aliasing (Orszag's two thirds), with diffusion solved exactly and advection to fourth order in
time (ETDRK4; Cox & Matthews 2002). The mean of u stays what it is.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from hpc_ds.physics.spectral import as_array, check, highest_mode, march

Array = NDArray[np.float64]


def solve(initial: ArrayLike, viscosity: ArrayLike, times: ArrayLike, step: float) -> Array:
    """Return the solution at some times.

    Samples share no arithmetic: neither the others nor their number change a bit of one. One that blows up ends as NaN.

    Parameters
    ----------
    initial : (samples, n) array_like
        u at x = i / n and time 0; n a power of two, at least 8. Modes from n / 3 on are taken off.
    viscosity : (samples,) array_like
        Not negative.
    times : (m,) array_like
        At least 0 and increasing.
    step : float
        Longest time step. The time between two of `times` is divided evenly.

    Returns
    -------
    (samples, m, n) float64

    Raises
    ------
    ValueError
        Shapes, sizes or values that are not as above.
    """
    from hpc_ds.physics.kernels.burgers import advance, new_work

    fields, nu, moments = as_array(initial), as_array(viscosity), as_array(times)
    check(fields, nu, 1, moments, step)
    n = fields.shape[1]
    waves = np.arange(highest_mode(n) + 1)
    # One by one: a transform of many rows may round differently with their number.
    modes = np.stack([scipy.fft.rfft(field, norm="forward")[waves] for field in fields])
    rates = -nu[:, np.newaxis] * (2.0 * np.pi * waves) ** 2
    work = new_work(n, len(waves))
    found = march(modes, rates, moments, step, lambda u, c, steps: advance(u, c, steps, work))
    return np.stack([scipy.fft.irfft(sample, n, norm="forward") for sample in found])
