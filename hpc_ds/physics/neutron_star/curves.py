"""Mass-radius curves of batches of equations of state: the stable branch, the maximum mass, and values at a mass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.physics.neutron_star.eos import EosBatch
from hpc_ds.physics.neutron_star.tov import RESOLUTION
from hpc_ds.physics.neutron_star.units import KM, MEV_PER_FM3

Array = NDArray[np.float64]

LOWEST_ENTHALPY = 0.04
"""Where curves begin: above nuclear density in the crust's continuation, 0.1 to 0.25 solar masses with a crust."""

HIGHEST_ENTHALPY = 2.5
"""Up to where maxima are sought: causal matter has them below 0.9, the fits of Read et al. below 1.0."""

_FEWEST_POINTS = 5


@dataclass(frozen=True, eq=False)
class Curves:
    """Stars along the stable branch of n equations of state, lightest first, (n, points) each.

    The last star is that of the maximum mass, where `ok`.

    Attributes
    ----------
    mass, radius, tidal : (n, points) float64
        Solar masses, km, and Lambda.
    enthalpy, pressure, energy_density : (n, points) float64
        At the centre: a pure number, MeV/fm3, MeV/fm3.
    ok : (n,) bool
        A maximum of the mass was found. Otherwise the branch goes up to where the table ends, or to an enthalpy of
        2.5; or it could not be computed and all is NaN.
    """

    mass: Array
    radius: Array
    tidal: Array
    enthalpy: Array
    pressure: Array
    energy_density: Array
    ok: NDArray[np.bool_]

    @property
    def maximum_mass(self) -> Array:
        """The largest mass of each branch, (n,), a maximum where `ok`."""
        return self.mass[:, -1]

    def __len__(self) -> int:
        return len(self.ok)


def mass_radius_curves(
    eos: EosBatch,
    points: int = 64,
    lowest_enthalpy: float = LOWEST_ENTHALPY,
    resolution: float = RESOLUTION,
) -> Curves:
    """Return the mass-radius curves up to the first maximum of the mass.

    The maximum is refined: its star is computed, not picked from a grid. Each curve is a function of its own equation
    alone, whatever else is in the batch.

    Parameters
    ----------
    eos : EosBatch
        Of n equations.
    points : int
        Stars a curve, at central enthalpies in geometric progression; at least 5.
    lowest_enthalpy : float
        At the centre of the lightest star. It must lie above the minimum mass, which is at 0.025 to 0.03 with a crust.
    resolution : float
        Layers an e-fold of enthalpy, as of `integrate_stars`.

    Returns
    -------
    Curves
    """
    from hpc_ds.physics.kernels.mass_radius import (
        ENERGY_DENSITY,
        ENTHALPY,
        MASS,
        PRESSURE,
        RADIUS,
        TIDAL,
        TURNED,
        curves,
    )

    if points < _FEWEST_POINTS or not 0.0 < lowest_enthalpy < HIGHEST_ENTHALPY:
        raise ValueError(
            f"{points} points from an enthalpy of {lowest_enthalpy} on: at least {_FEWEST_POINTS} points, and an "
            f"enthalpy between 0 and {HIGHEST_ENTHALPY} are needed"
        )
    tops = np.minimum(eos.tops, HIGHEST_ENTHALPY)
    found, outcomes = curves(eos.pieces, eos.starts, tops, float(lowest_enthalpy), points, float(resolution))
    return Curves(
        mass=found[:, MASS],
        radius=found[:, RADIUS] * KM,
        tidal=found[:, TIDAL],
        enthalpy=found[:, ENTHALPY],
        pressure=found[:, PRESSURE] * MEV_PER_FM3,
        energy_density=found[:, ENERGY_DENSITY] * MEV_PER_FM3,
        ok=outcomes == TURNED,
    )


def radius_at(curves: Curves, masses: ArrayLike) -> Array:
    """Return the radii in km of stable stars of masses (k,) or (n, k), as (n, k).

    NaN for a mass outside the curve. With 64 points 99 % of the radii are within 2e-5 of the stars', and all within
    5e-4, up to 0.998 of the maximum mass; with 128 points a fifth of that.
    """
    return _at(curves, curves.radius, masses)


def tidal_at(curves: Curves, masses: ArrayLike) -> Array:
    """Return the tidal deformabilities Lambda of stable stars of masses (k,) or (n, k), as (n, k), as `radius_at`."""
    return np.exp(_at(curves, np.log(curves.tidal), masses))


def central_density_at(curves: Curves, masses: ArrayLike) -> Array:
    """Return the central energy densities in MeV/fm3 of stable stars of masses (k,) or (n, k), as `radius_at`."""
    return np.exp(_at(curves, np.log(curves.energy_density), masses))


def _at(curves: Curves, values: Array, masses: ArrayLike) -> Array:
    from hpc_ds.physics.kernels.mass_radius import values_at_masses

    wanted = np.asarray(masses, dtype=np.float64)
    if wanted.ndim not in (1, 2) or (wanted.ndim == 2 and len(wanted) != len(curves)):
        raise ValueError(f"masses have shape {wanted.shape}: (k,) or ({len(curves)}, k) is needed")
    each = np.ascontiguousarray(np.broadcast_to(wanted, (len(curves), wanted.shape[-1])))
    contiguous = (np.ascontiguousarray(array) for array in (curves.mass, values))
    return values_at_masses(*contiguous, curves.ok, each)
