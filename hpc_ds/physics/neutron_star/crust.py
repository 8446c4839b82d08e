"""The SLy crust: the piecewise polytropes of Read et al., and the analytic fit of Haensel & Potekhin."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SLY_CRUST = (
    (6.80110e-9, 1.58425),
    (1.06186e-6, 1.28733),
    (5.32697e1, 0.62223),
    (3.99874e-8, 1.35692),
)
"""K and Gamma of p / c^2 = K rho^Gamma in g/cm3, outermost first (Read et al. 2009, PRD 79, 124032)."""

SLY_CRUST_EDGES = (2.44034e7, 3.78358e11, 2.62780e12)
"""Rest-mass densities in g/cm3 at which one polytrope of the crust follows another (the same source)."""

# Haensel & Potekhin (2004, A&A 428, 191): a_1, ..., a_18 of SLy.
_FIT = (
    6.22,
    6.121,
    0.005925,
    0.16326,
    6.48,
    11.4971,
    19.105,
    0.8938,
    6.54,
    11.4950,
    -22.775,
    1.5707,
    4.3,
    14.08,
    27.80,
    -1.653,
    1.50,
    14.67,
)


def fitted_sly_pressure(mass_density: ArrayLike) -> Array:
    """Return the pressure of SLy by the fit of Haensel & Potekhin (2004), crust and core.

    Parameters
    ----------
    mass_density : (...)
        e / c^2 in g/cm3, from 1e5 to 1e16.

    Returns
    -------
    (...) float64
        dyn/cm2; a few per cent from the tabulated SLy where that is smooth.
    """
    a, xi = _FIT, np.log10(np.asarray(mass_density, dtype=np.float64))
    outer = (a[0] + a[1] * xi + a[2] * xi**3) / (1.0 + a[3] * xi) * _step(a[4] * (xi - a[5]))
    inner = (a[6] + a[7] * xi) * _step(a[8] * (a[9] - xi))
    core = (a[10] + a[11] * xi) * _step(a[12] * (a[13] - xi))
    deep = (a[14] + a[15] * xi) * _step(a[16] * (a[17] - xi))
    return 10.0 ** (outer + inner + core + deep)


def _step(x: Array) -> Array:
    return 1.0 / (np.exp(x) + 1.0)
