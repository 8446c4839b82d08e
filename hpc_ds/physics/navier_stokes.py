"""Incompressible flow on the unit torus by its vorticity: w_t + u w_x + v w_y = viscosity (w_xx + w_yy) + forcing.

The velocity is u = psi_y, v = -psi_x with -(psi_xx + psi_yy) = w, so that w = v_x - u_y. Pseudo-spectral, free of
aliasing (Orszag's two thirds), with diffusion solved exactly and advection to fourth order in time (ETDRK4; Cox &
Matthews 2002), where the published code has Crank-Nicolson's and Euler's steps, of first order.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from hpc_ds.physics.spectral import Modes, as_array, check, highest_mode, march

Array = NDArray[np.float64]


def solve(
    initial: ArrayLike,
    viscosity: ArrayLike,
    times: ArrayLike,
    step: float,
    forcing: ArrayLike | None = None,
) -> Array:
    """Return the vorticity at some times.

    Samples share no arithmetic: neither the others nor their number change a bit of one. One that blows up ends as NaN.

    Parameters
    ----------
    initial : (samples, n, n) array_like
        w at x = i / n, y = j / n and time 0; n a power of two, at least 8. Its mean, which no periodic flow has, and
        modes from n / 3 on are taken off; likewise of the forcing.
    viscosity : (samples,) array_like
        Not negative.
    times : (m,) array_like
        At least 0 and increasing.
    step : float
        Longest time step. The time between two of `times` is divided evenly.
    forcing : (n, n) array_like, optional
        Curl of the force on all samples, constant in time; none unless given.

    Returns
    -------
    (samples, m, n, n) float64

    Raises
    ------
    ValueError
        Shapes, sizes or values that are not as above.
    """
    from hpc_ds.physics.kernels.lanes import LANES, zeros
    from hpc_ds.physics.kernels.navier_stokes import advance, new_work

    fields, nu, moments = as_array(initial), as_array(viscosity), as_array(times)
    check(fields, nu, 2, moments, step)
    n = fields.shape[1]
    curl = np.zeros((n, n)) if forcing is None else as_array(forcing)
    if curl.shape != (n, n):
        raise ValueError(f"forcing has shape {curl.shape}: ({n}, {n}) is needed, as the initial fields")
    modes = np.stack([_to_modes(field) for field in fields])
    work, force = new_work(n, highest_mode(n)), zeros(modes.shape[1], 2, LANES)
    force_modes = _to_modes(curl)[:, np.newaxis]
    force[:, 0], force[:, 1] = force_modes.real, force_modes.imag
    rates = -nu[:, np.newaxis] * _wave_numbers(n)
    found = march(modes, rates, moments, step, lambda w, c, steps: advance(w, c, force, steps, work))
    return np.stack([np.stack([_to_field(moment, n) for moment in sample]) for sample in found])


def standard_forcing(n: int, amplitude: float = 0.1) -> Array:
    """Return amplitude (sin 2 pi (x + y) + cos 2 pi (x + y)), (n, n) float64: the published one (Li et al. 2021)."""
    x = np.arange(n) / n
    phase = 2.0 * np.pi * (x[:, np.newaxis] + x)
    return amplitude * (np.sin(phase) + np.cos(phase))


def velocity(vorticity: ArrayLike) -> Array:
    """Return the velocity of vorticity fields.

    Parameters
    ----------
    vorticity : (..., n, n) array_like
        At x = i / n, y = j / n; of any mean, which makes no velocity.

    Returns
    -------
    (..., n, n, 2) float64
        (u, v); both have the mean 0.
    """
    w = as_array(vorticity)
    n = w.shape[-1]
    kx = 2.0 * np.pi * np.fft.fftfreq(n, 1.0 / n)[:, np.newaxis]
    ky = 2.0 * np.pi * np.arange(n // 2 + 1)
    square = kx**2 + ky**2
    square[0, 0] = np.inf
    spectrum = scipy.fft.rfft2(w, workers=1) / square
    # The highest mode of an even n is a cosine, of which the grid does not see the derivative.
    parts = [
        1j * np.where(ky < np.pi * n, ky, 0.0) * spectrum,
        -1j * np.where(-kx < np.pi * n, kx, 0.0) * spectrum,
    ]
    return np.stack([scipy.fft.irfft2(part, (n, n), workers=1) for part in parts], axis=-1)


# The modes that are stepped: those of the half plane k_y > 0, or k_y = 0 and k_x > 0, at [k_x + K, k_y]


def _to_modes(field: Array) -> Modes:
    """Return the modes ((2 K + 1) (K + 1),) of a field (n, n), zero where none is stepped."""
    top = highest_mode(len(field))
    spectrum = scipy.fft.rfft2(field, norm="forward", workers=1)
    modes = spectrum[np.arange(-top, top + 1), : top + 1]
    modes[: top + 1, 0] = 0.0
    return modes.ravel()


def _to_field(modes: Modes, n: int) -> Array:
    """Return the field (n, n) of these modes."""
    top = highest_mode(n)
    spectrum = np.zeros((n, n // 2 + 1), dtype=np.complex128)
    spectrum[np.arange(-top, top + 1), : top + 1] = modes.reshape(2 * top + 1, top + 1)
    spectrum[-np.arange(1, top + 1), 0] = spectrum[1 : top + 1, 0].conj()
    return scipy.fft.irfft2(spectrum, (n, n), norm="forward", workers=1)


def _wave_numbers(n: int) -> Array:
    """Return |2 pi k|^2 of each mode."""
    top = highest_mode(n)
    kx, ky = np.meshgrid(np.arange(-top, top + 1), np.arange(top + 1), indexing="ij")
    return as_array((2.0 * np.pi * kx) ** 2 + (2.0 * np.pi * ky) ** 2).ravel()
