"""Families of equations of state: polytropes in pieces, speeds of sound in segments, tables, and simple ones."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.physics.neutron_star.crust import SLY_CRUST, SLY_CRUST_EDGES, fitted_sly_pressure
from hpc_ds.physics.neutron_star.eos import EosBatch, from_pieces
from hpc_ds.physics.neutron_star.units import DYN_PER_CM2, GRAM_PER_CM3, MEV_PER_FM3, NUCLEAR_DENSITY

Array = NDArray[np.float64]

READ_2009 = {
    "SLy": (34.384, 3.005, 2.988, 2.851),
    "APR3": (34.392, 3.166, 3.573, 3.281),
    "APR4": (34.269, 2.830, 3.445, 3.348),
    "FPS": (34.283, 2.985, 2.863, 2.600),
    "WFF1": (34.031, 2.519, 3.791, 3.660),
    "WFF2": (34.233, 2.888, 3.475, 3.517),
    "WFF3": (34.283, 3.329, 2.952, 2.589),
    "BBB2": (34.331, 3.418, 2.835, 2.832),
    "ENG": (34.437, 3.514, 3.130, 3.168),
    "MPA1": (34.495, 3.446, 3.572, 2.887),
    "MS1": (34.858, 3.224, 3.033, 1.325),
    "MS1b": (34.855, 3.456, 3.011, 1.425),
    "H4": (34.669, 2.909, 2.246, 2.144),
    "PAL6": (34.380, 2.227, 2.189, 2.159),
    "ALF2": (34.616, 4.070, 2.411, 1.890),
    "GNH3": (34.648, 2.664, 2.194, 2.304),
}
"""log10 p1 (dyn/cm2), Gamma1, Gamma2, Gamma3 of Read, Lackey, Owen & Friedman (2009, PRD 79, 124032, table III)."""

DENSITY_RATIO = 8.0
"""Energy densities at the upper and the lower end of the segments of Fujimoto, Fukushima & Murase; the lower one is
nuclear density."""

DELTA = 0.02
"""Average squared speeds of sound of segments are uniform between this and 1 less this, in units of that of light."""

LEAST_MAXIMUM_MASS = 1.97
"""Solar masses that an equation of state must carry: the pulsar J0348+0432, 2.01, less its standard error of 0.04."""

_CORE_EDGES = (10.0**14.7, 1e15)  # g/cm3, rho_1 (where the pressure is p1) and rho_2 of Read et al.
_SURFACE_GAMMA = 4.0 / 3.0  # below the first row of a table, where electrons are relativistic
_FIT_RANGE = (1e6, 6e15)  # g/cm3
_FIT_ROWS = 400
_DRIP = 1e12 / GRAM_PER_CM3 * MEV_PER_FM3
_FINEST = 0.04  # of ln(1 + e / drip) between two rows
_FEWEST_FOR_CUBICS = 3


class Edge(NamedTuple):
    """The upper end of a crust: its pieces below, and enthalpy, energy density and pressure there (geometric)."""

    pieces: Array
    enthalpy: float
    energy_density: float
    pressure: float


def piecewise_polytropes(log_pressure: ArrayLike, exponents: ArrayLike) -> EosBatch:
    """Return piecewise polytropes of Read et al. (2009) above the SLy crust.

    Parameters
    ----------
    log_pressure : float or (n,)
        log10 of the pressure in dyn/cm2 at rest-mass density 10^14.7 g/cm3.
    exponents : (3,) or (n, 3)
        Gamma1 below that density, Gamma2 up to 1e15 g/cm3, Gamma3 above.

    Returns
    -------
    EosBatch
        Of n equations.

    Raises
    ------
    ValueError
        An exponent is at most 1, or the core does not meet the crust between 2.6e12 g/cm3 and 10^14.7 g/cm3.

    Examples
    --------
    >>> names = ["SLy", "APR4"]
    >>> table = np.array([READ_2009[name] for name in names])
    >>> len(piecewise_polytropes(table[:, 0], table[:, 1:]))
    2
    """
    log_p, gamma = np.atleast_1d(np.asarray(log_pressure, float)), np.atleast_2d(np.asarray(exponents, float))
    if gamma.shape != (len(log_p), 3):
        raise ValueError(f"exponents have shape {gamma.shape}: ({len(log_p)}, 3) is needed")
    if not (gamma > 1.0).all():
        raise ValueError(f"an exponent is {gamma.min():.6g}: all must be above 1")
    core = np.empty_like(gamma)
    core[:, 0] = _to_geometric(10.0**log_p) / _density(_CORE_EDGES[0]) ** gamma[:, 0]
    for i, edge in enumerate(_CORE_EDGES):
        core[:, i + 1] = core[:, i] * _density(edge) ** (gamma[:, i] - gamma[:, i + 1])
    crust_k = np.array([k * GRAM_PER_CM3 ** (g - 1.0) for k, g in SLY_CRUST])
    junction = (crust_k[-1] / core[:, 0]) ** (1.0 / (gamma[:, 0] - SLY_CRUST[-1][1]))
    _check_junction(junction, log_p)
    n = len(log_p)
    repeated = lambda values: np.broadcast_to(values, (n, len(values)))  # noqa: E731
    return rest_mass_polytropes(
        np.concatenate([repeated(crust_k), core], axis=1),
        np.concatenate([repeated([g for _, g in SLY_CRUST]), gamma], axis=1),
        np.concatenate(
            [
                repeated(_density(np.array(SLY_CRUST_EDGES))),
                junction[:, np.newaxis],
                repeated(_density(np.array(_CORE_EDGES))),
            ],
            axis=1,
        ),
    )


def read_2009(*names: str) -> EosBatch:
    """Return equations of state of `READ_2009` by name, all 16 where none is given."""
    rows = np.array([READ_2009[name] for name in names or READ_2009])
    return piecewise_polytropes(rows[:, 0], rows[:, 1:])


def sound_speed_segments(
    speeds_squared: ArrayLike, ratio: float = DENSITY_RATIO, crust: Edge | None = None
) -> EosBatch:
    """Return the equations of state of Fujimoto, Fukushima & Murase (2018, PRD 98, 023019) above the SLy crust.

    Between nuclear density e_0 (2.7e14 g/cm3) and `ratio` e_0 lie k segments, equal in ln e. Across segment i the
    pressure grows by c_i^2 times the energy density's growth; inside p = k_i e^Gamma_i. The last segment's polytrope
    goes on above. An average speed of sound below that of light does not keep all of a segment below it: see
    `largest_sound_speed_squared`.

    Parameters
    ----------
    speeds_squared : (k,) or (n, k)
        c_i^2 in units of c^2, positive.
    ratio : float
        8 in the published prior, with k = 5.
    crust : Edge, optional
        Other matter below; `sly_below` makes one.

    Returns
    -------
    EosBatch
        Of n equations.

    Raises
    ------
    ValueError
        A squared speed is not positive, or the ratio not above 1.
    """
    from hpc_ds.physics.kernels.equation_of_state import sound_speed_pieces

    speeds = np.ascontiguousarray(np.atleast_2d(np.asarray(speeds_squared, dtype=np.float64)))
    if speeds.ndim != 2 or not speeds.shape[1] or not (speeds > 0.0).all() or not ratio > 1.0:
        raise ValueError("squared speeds of sound must be (n, k) positive numbers, and the ratio above 1")
    edge = crust or sly_below()
    k = speeds.shape[1]
    pieces, tops = sound_speed_pieces(
        edge.pieces, edge.enthalpy, edge.energy_density, edge.pressure, speeds, ratio ** (1.0 / k)
    )
    rows = len(edge.pieces) + k
    return EosBatch(pieces, np.arange(len(speeds) + 1) * rows, tops)


@cache
def sly_below(energy_density: float = NUCLEAR_DENSITY) -> Edge:
    """Return Read's SLy up to an energy density in MeV/fm3: at nuclear density h = 0.039492 and p = 2.184 MeV/fm3."""
    from hpc_ds.physics.kernels.equation_of_state import START, enthalpy, state

    pieces = read_2009("SLy").pieces
    h = float(enthalpy(pieces, 0, len(pieces), energy_density / MEV_PER_FM3))
    kept = pieces[pieces[:, START] < h].copy()
    e, p, _ = state(kept, len(kept) - 1, h)
    return Edge(kept, h, float(e), float(p))


def from_rows(energy_density: ArrayLike, pressure: ArrayLike) -> EosBatch:
    """Return the equation of state of one table: straight lines in ln p against ln e.

    Parameters
    ----------
    energy_density, pressure : (rows,)
        MeV/fm3. Densities are positive and grow; the pressure is positive and grows or stays, which is a first-order
        transition. A pressure of zero in the first row makes the matter self-bound; otherwise p = k e^(4/3) below it.

    Returns
    -------
    EosBatch
        Of one equation that ends with the table.

    Raises
    ------
    ValueError
        Other values.
    """
    from hpc_ds.physics.kernels.equation_of_state import table_pieces

    e, p = (np.ascontiguousarray(values, dtype=np.float64) for values in (energy_density, pressure))
    if e.shape != p.shape or e.ndim != 1 or len(e) < 2:
        raise ValueError(f"shapes {e.shape} and {p.shape}: twice (rows,) with two rows or more is needed")
    if not (e[0] > 0.0 and p[0] >= 0.0 and p[1] > 0.0):
        raise ValueError("energy densities must be positive, and pressures but the first one")
    if not ((np.diff(e) > 0.0).all() and (np.diff(p) >= 0.0).all()):
        raise ValueError("energy densities must grow, and pressures must not fall")
    pieces, top = table_pieces(e / MEV_PER_FM3, p / MEV_PER_FM3, _SURFACE_GAMMA)
    return from_pieces([pieces], top)


def smooth_rows(energy_density: Array, pressure: Array) -> tuple[Array, Array]:
    """Return the rows of a table with others between them, on monotone cubics of ln p against ln e.

    The cubics are those of Fritsch & Butland (1984) and never overshoot; a jump of the density keeps its edges. There
    are about 25 rows an e-fold of the density above neutron drip, where a star's mass is, and none are added below.

    Parameters
    ----------
    energy_density, pressure : (rows,) float64
        As of `from_rows`.

    Returns
    -------
    energy_density, pressure : (more rows,) float64
    """
    first = int(pressure[0] == 0.0)
    breaks = np.flatnonzero(np.diff(pressure) == 0.0) + 1
    ends = [first, *breaks[breaks > first], len(pressure)]
    e, p = [energy_density[:first]], [pressure[:first]]
    for begin, end in itertools.pairwise(ends):
        finer = _between(energy_density[begin:end], pressure[begin:end])
        e.append(finer[0])
        p.append(finer[1])
    return np.concatenate(e), np.concatenate(p)


def _between(energy_density: Array, pressure: Array) -> tuple[Array, Array]:
    """Return more rows of a part without jumps."""
    from scipy.interpolate import PchipInterpolator

    if len(energy_density) < _FEWEST_FOR_CUBICS:
        return energy_density, pressure
    x, weight = np.log(energy_density), np.log1p(energy_density / _DRIP)
    parts = np.maximum(np.ceil(np.diff(weight) / _FINEST), 1.0).astype(np.int64)
    place = np.concatenate([np.arange(count) / count for count in parts])
    finer = np.append(np.repeat(x[:-1], parts) + place * np.repeat(np.diff(x), parts), x[-1])
    return np.exp(finer), np.exp(PchipInterpolator(x, np.log(pressure))(finer))


def fitted_sly() -> EosBatch:
    """Return SLy by the fit of Haensel & Potekhin (2004), from 400 rows between 1e6 and 6e15 g/cm3."""
    density = np.geomspace(*_FIT_RANGE, _FIT_ROWS)
    mev = MEV_PER_FM3 / GRAM_PER_CM3
    return from_rows(density * mev, fitted_sly_pressure(density) / DYN_PER_CM2 * MEV_PER_FM3)


def polytropes(pressure: ArrayLike, density: ArrayLike, gamma: ArrayLike) -> EosBatch:
    """Return single polytropes p = K rho^Gamma, e = rho + p / (Gamma - 1), in the rest-mass density rho.

    Parameters
    ----------
    pressure, density : float or (n,)
        One point of each, in MeV/fm3.
    gamma : float or (n,)
        Above 1.
    """
    p, rho, exponent = (
        np.asarray(values, dtype=np.float64)
        for values in np.broadcast_arrays(*map(np.atleast_1d, (pressure, density, gamma)))
    )
    k = p / MEV_PER_FM3 / (rho / MEV_PER_FM3) ** exponent
    return rest_mass_polytropes(k[:, np.newaxis], exponent[:, np.newaxis], np.empty((len(k), 0)))


def self_bound(surface_density: ArrayLike, sound_speed_squared: ArrayLike = math.inf) -> EosBatch:
    """Return matter that is held together without gravity: e = e_s + c_s^-2 p, as of bags of quarks.

    Parameters
    ----------
    surface_density : float or (n,)
        e_s in MeV/fm3, positive.
    sound_speed_squared : float or (n,)
        c_s^2 in units of c^2; infinite, the default, for incompressible matter (the star of uniform density).
    """
    from hpc_ds.physics.kernels.equation_of_state import self_bound_pieces

    e, speed = np.broadcast_arrays(*map(np.atleast_1d, (surface_density, sound_speed_squared)))
    pieces = self_bound_pieces(e / MEV_PER_FM3, 1.0 / speed.astype(np.float64))
    return EosBatch(pieces, np.arange(len(e) + 1), np.full(len(e), math.inf))


def rest_mass_polytropes(k: Array, gamma: Array, edges: Array) -> EosBatch:
    """Return p = K_i rho^Gamma_i between rest-mass densities, e continuous: all in geometric units.

    Parameters
    ----------
    k, gamma : (n, m)
        Of m pieces, the outermost first; its e / rho goes to 1 at the surface.
    edges : (n, m - 1)
        Rest-mass densities between the pieces; the pressures of two neighbours agree there.
    """
    n, m = k.shape
    pieces = np.zeros((n, m, 8))
    index = 1.0 / (gamma - 1.0)
    start, offset, ratio = np.zeros(n), np.zeros(n), np.zeros(n)
    density = k[:, 0] ** -index[:, 0]
    for i in range(m):
        if i > 0:
            density = edges[:, i - 1]
            below = k[:, i - 1] * density ** (gamma[:, i - 1] - 1.0)
            energy = 1.0 + offset + below * index[:, i - 1]
            start = np.log(energy + below)
            ratio = k[:, i] * density ** (gamma[:, i] - 1.0)
            offset = energy - 1.0 - ratio * index[:, i]
        scale = np.exp(start) / gamma[:, i] * (gamma[:, i] - 1.0)
        rows = (start, ratio, scale, np.ones(n), density, index[:, i], 1.0 + offset, index[:, i])
        pieces[:, i] = np.stack(rows, axis=1)
    return EosBatch(pieces.reshape(n * m, 8), np.arange(n + 1) * m, np.full(n, math.inf))


def _density(gram_per_cm3: float | Array) -> Array:
    return np.asarray(gram_per_cm3) / GRAM_PER_CM3


def _to_geometric(dyn_per_cm2: Array) -> Array:
    return dyn_per_cm2 / DYN_PER_CM2


def _check_junction(junction: Array, log_pressure: Array) -> None:
    bad = np.flatnonzero(
        ~((junction > _density(SLY_CRUST_EDGES[-1])) & (junction < _density(_CORE_EDGES[0])))
    )
    if len(bad):
        raise ValueError(
            f"equation {bad[0]} (log10 p1 = {log_pressure[bad[0]]:.6g}) meets the SLy crust at "
            f"{junction[bad[0]] * GRAM_PER_CM3:.4g} g/cm3: 2.6e12 to 5.0e14 is needed"
        )
