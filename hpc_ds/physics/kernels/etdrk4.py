"""Steps of fourth order in time, with diffusion solved exactly: du/dt = rate u + N(u), mode by mode.

ETDRK4 of Cox & Matthews, J. Comput. Phys. 176, 430 (2002), eqs. 26-29:

    a  = E u + Q N(u)        b = E u + Q N(a)        c = E a + Q (2 N(b) - N(u))
    u' = E^2 u + f1 N(u) + f2 (N(a) + N(b)) + f3 N(c)

with z = rate h, E = exp(z / 2), Q = h/2 phi1(z / 2), f1 = h (phi1 - 3 phi2 + 4 phi3)(z), f2 = h (2 phi2 - 4 phi3)(z)
and f3 = h (4 phi3 - phi2)(z), where phi1(z) = (e^z - 1) / z and phi_{k+1}(z) = (phi_k(z) - 1/k!) / z.
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

from hpc_ds.physics.kernels.lanes import get, get_real, put, zeros
from hpc_ds.runtime.compiled import compiled

Array = NDArray[np.float64]

_COUNT = 5  # coefficients of a mode: E, Q, f1, f2, f3
_TERMS = 17  # of the series of phi3 up to |z| = 1: the next is 4e-19


def coefficients(rate: Array, step: float) -> Array:
    """Return what the stages below read.

    Parameters
    ----------
    rate : (modes, LANES) float64
        Of decay, not positive: -viscosity |k|^2.
    step : float
        h, in the unit of time.

    Returns
    -------
    (5 modes, LANES) float64
    """
    z = np.asarray(rate, dtype=np.float64) * step
    phi1, phi2, phi3 = _phi(z)
    found = zeros(_COUNT * z.shape[0], z.shape[1])
    values = (
        np.exp(0.5 * z),
        0.5 * step * _phi(0.5 * z)[0],
        step * (phi1 - 3.0 * phi2 + 4.0 * phi3),
        step * (2.0 * phi2 - 4.0 * phi3),
        step * (4.0 * phi3 - phi2),
    )
    for i, value in enumerate(values):
        found[i::_COUNT] = value
    return found


@compiled
def half_stage(c, u, slope, out):
    """out = E u + Q slope: stages a and b."""
    for k in range(u.shape[0]):
        put(out, k, get_real(c, 5 * k) * get(u, k) + get_real(c, 5 * k + 1) * get(slope, k))


@compiled
def full_stage(c, a, slope, first, out):
    """out = E a + Q (2 slope - first): stage c."""
    for k in range(a.shape[0]):
        change = 2.0 * get(slope, k) - get(first, k)
        put(out, k, get_real(c, 5 * k) * get(a, k) + get_real(c, 5 * k + 1) * change)


@compiled
def end_of_step(c, u, first, second, third, fourth):
    """Take u to the end of the step."""
    for k in range(u.shape[0]):
        e = get_real(c, 5 * k)
        middle = get(second, k) + get(third, k)
        new = e * (e * get(u, k)) + get_real(c, 5 * k + 2) * get(first, k)
        put(u, k, new + (get_real(c, 5 * k + 3) * middle + get_real(c, 5 * k + 4) * get(fourth, k)))


def _phi(z: Array) -> tuple[Array, Array, Array]:
    """Return phi1, phi2 and phi3 of z <= 0, to rounding."""
    small = np.where(z > -1.0, z, 0.0)
    phi3 = np.polynomial.polynomial.polyval(small, [1.0 / factorial(j + 3) for j in range(_TERMS)])
    phi2 = 0.5 + small * phi3
    phi1 = 1.0 + small * phi2
    # Up from phi1 the differences lose digits near zero, down from phi3 far from it.
    large = np.where(z > -1.0, -1.0, z)
    far1 = np.expm1(large) / large
    far2 = (far1 - 1.0) / large
    far3 = (far2 - 0.5) / large
    near = z > -1.0
    return np.where(near, phi1, far1), np.where(near, phi2, far2), np.where(near, phi3, far3)
