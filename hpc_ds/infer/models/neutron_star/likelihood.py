"""The likelihood of squared speeds of sound given observed stars, and of curves that are there already."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.infer.kernels import neutron_star as kernel
from hpc_ds.infer.model import Model
from hpc_ds.infer.models.neutron_star.observations import Observation, as_observation, encode
from hpc_ds.physics.neutron_star.curves import HIGHEST_ENTHALPY, LOWEST_ENTHALPY, Curves
from hpc_ds.physics.neutron_star.families import Edge
from hpc_ds.physics.neutron_star.observed import Observation as Published
from hpc_ds.physics.neutron_star.tov import RESOLUTION
from hpc_ds.physics.neutron_star.units import KM

Array = NDArray[np.float64]

LOWEST_MASS = 1.0
"""Solar masses: stars have masses ~ U(1, M_max) before the data (Fujimoto, Fukushima & Murase 2018)."""

POINTS = 64
"""Stars of a curve, as of `mass_radius_curves`."""


def log_likelihood(theta, data):  # type: ignore[no-untyped-def]  # numba infers the types
    """Return the log-likelihood of one equation of state; minus infinity where a cut leaves it out.

    Parameters
    ----------
    theta : (k,) float64
        Squared speeds of sound.
    data : (rows, 8) float64
        From `pack`.
    """
    return kernel.of_speeds(theta, data)


def log_likelihoods(model: Model, speeds_squared: ArrayLike) -> Array:
    """Return the log-likelihoods (n,) of equations of state with squared speeds of sound (n, k), as the sampler's."""
    speeds = np.ascontiguousarray(speeds_squared, dtype=np.float64)
    if speeds.ndim != 2 or speeds.shape[1] != len(model.parameters):
        raise ValueError(f"squared speeds of shape {speeds.shape}: (n, {len(model.parameters)}) is needed")
    return kernel.of_many_speeds(speeds, model.data)


def log_likelihoods_of_curves(
    curves: Curves, observations: Sequence[Observation | Published], least_maximum_mass: float = 0.0
) -> Array:
    """Return the log-likelihoods (n,) of any mass-radius curves: for weights of a stored ensemble.

    Parameters
    ----------
    curves : Curves
        Of n equations of state; minus infinity where not `ok`.
    observations : sequence
    least_maximum_mass : float
        Solar masses; minus infinity for curves that end below.
    """
    mass, radius = (np.ascontiguousarray(values, dtype=np.float64) for values in (curves.mass, curves.radius))
    stars = [as_observation(star) for star in observations]
    data = _packed(stars, np.empty((0, kernel.WIDTH)), {kernel.LEAST_MAXIMUM: least_maximum_mass}, {})
    return kernel.of_curves(mass, radius, np.asarray(curves.ok), data)


def pack(
    observations: Sequence[Observation],
    crust: Edge,
    growth: float,
    least_maximum_mass: float,
    causal: bool,
) -> Array:
    """Return what `log_likelihood` needs to know, (rows, 8): see `hpc_ds.infer.kernels.neutron_star`.

    Parameters
    ----------
    observations : sequence
    crust : Edge
        Matter below the segments.
    growth : float
        Factor of the energy density across one segment.
    least_maximum_mass : float
        Solar masses.
    causal : bool
        Whether sound faster than light, anywhere in the heaviest star, makes the likelihood zero.
    """
    matter = {
        kernel.CRUST_H: crust.enthalpy,
        kernel.CRUST_E: crust.energy_density,
        kernel.CRUST_P: crust.pressure,
        kernel.GROWTH: growth,
        kernel.CAUSAL: float(causal),
    }
    curve = {
        kernel.LEAST_MAXIMUM: least_maximum_mass,
        kernel.LOWEST_H: LOWEST_ENTHALPY,
        kernel.HIGHEST_H: HIGHEST_ENTHALPY,
        kernel.POINTS: POINTS,
        kernel.RESOLUTION: RESOLUTION,
        kernel.LENGTH: KM,
    }
    return _packed(observations, crust.pieces, curve, matter)


def _packed(
    observations: Sequence[Observation], crust: Array, curve: dict[int, float], matter: dict[int, float]
) -> Array:
    header = np.zeros((kernel.HEADER_ROWS, kernel.WIDTH))
    header[0, kernel.CRUST_ROWS], header[0, kernel.STARS] = len(crust), len(observations)
    header[1, kernel.LOWEST_MASS] = LOWEST_MASS
    for row, values in enumerate((matter, curve)):
        for column, value in values.items():
            header[row, column] = value
    stars = encode(observations, len(header) + len(crust))
    data = np.ascontiguousarray(np.concatenate([header, crust, stars]))
    assert math.isfinite(data.sum())
    return data
