"""Single stars of given central enthalpy: mass, radius and tidal deformability."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.physics.neutron_star.eos import EosBatch, for_each
from hpc_ds.physics.neutron_star.units import KM

Array = NDArray[np.float64]

RESOLUTION = 32.0
"""Layers an e-fold of enthalpy (fewer below 0.05): about 130 in a heavy star. See `integrate_stars` for the errors."""


class Stars(NamedTuple):
    """Stars of n equations of state, (n, k) each."""

    mass: Array
    """Gravitational mass in solar masses."""
    radius: Array
    """Circumferential radius in km."""
    tidal: Array
    """Dimensionless tidal deformability Lambda = 2 k2 / (3 C^5), C = M / R."""
    love_number: Array
    """k2."""


def integrate_stars(eos: EosBatch, enthalpies: ArrayLike, resolution: float = RESOLUTION) -> Stars:
    """Integrate the TOV equations in the enthalpy (Lindblom 1992), and the static l = 2 tide along.

    At the default resolution, above half a solar mass, relative errors are at most 3e-5 (median 4e-7) of the mass, 1e-5
    (1e-7) of the radius and 1e-4 (5e-6) of the deformability; they fall as resolution^-2.5.

    Parameters
    ----------
    eos : EosBatch
        Of n equations.
    enthalpies : (k,) or (n, k)
        At the centres of the stars, in any order.
    resolution : float
        Layers an e-fold of enthalpy.

    Returns
    -------
    Stars
        NaN where an enthalpy is not positive or lies beyond the end of a table.
    """
    from hpc_ds.physics.kernels.tov import stars

    h = for_each(eos, enthalpies)
    known = (h > 0.0) & (h <= eos.tops[:, np.newaxis])
    order = np.argsort(np.where(known, -h, np.inf), axis=1, kind="stable")
    descending = np.take_along_axis(np.where(known, h, -1.0), order, axis=1)
    places = np.argsort(order, axis=1)
    mass, radius, tidal, love = (
        np.take_along_axis(values, places, axis=1)
        for values in stars(eos.pieces, eos.starts, descending, float(resolution))
    )
    return Stars(mass, radius * KM, tidal, love)
