"""What sampled equations of state show: heaviest stars, radii, pressures, and what was learnt of each segment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.infer.models.bands import spread_draws
from hpc_ds.infer.models.neutron_star.prior import EosPrior, share_of
from hpc_ds.infer.posterior import Named, Presentation, bare
from hpc_ds.physics.neutron_star.curves import Curves, mass_radius_curves, radius_at, tidal_at
from hpc_ds.physics.neutron_star.eos import EosBatch, pressure_at
from hpc_ds.physics.neutron_star.units import NUCLEAR_DENSITY

Array = NDArray[np.float64]

DENSITIES = (1.5, 2.0, 3.0, 4.0, 6.0)
"""Energy densities, in units of nuclear density, of the pressures that are reported."""

CANONICAL_MASS = 1.4
MASSES = np.linspace(0.6, 2.6, 81)
"""Solar masses at which bands of the radius are drawn."""
QUANTILES = np.array([2.5, 16.0, 50.0, 84.0, 97.5])
"""Per cent: bands of 68 and 95 %."""
PRIOR_DRAWS = 2000
"""Equations of state drawn from the prior, for its bands and for the share that the cuts leave."""

_BINS = 24
_DENSITY_POINTS = 64
_FEWEST_ON_BRANCH = 0.05  # of the draws: below it a radius at that mass has no band


def information_gain(
    draws: ArrayLike,
    low: float = 0.0,
    high: float = 1.0,
    weights: ArrayLike | None = None,
    effective: float | None = None,
) -> float:
    """Return how much is known of one parameter whose prior is U(low, high): its relative entropy in bits.

    That of a histogram of 24 bins, less its bias (Miller 1955), (bins - 1) / (2 n ln 2): the answer can be a little
    below zero where nothing is learnt, and is at most log2(24) = 4.6.

    Parameters
    ----------
    draws : (...)
        Of the posterior.
    low, high : float
        Ends of the prior.
    weights : (...), optional
        Of the draws.
    effective : float, optional
        How many independent draws they are worth; by default their number, or (sum w)^2 / sum w^2.
    """
    values = np.asarray(draws, dtype=np.float64).ravel()
    weight = np.ones(values.size) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    count = effective or float(weight.sum() ** 2 / np.sum(weight**2))
    share = np.histogram(values, _BINS, (low, high), weights=weight)[0] / weight.sum()
    held = share[share > 0.0]
    return float(np.sum(held * np.log2(held * _BINS)) - (held.size - 1) / (2.0 * count * np.log(2.0)))


def present_eos(prior: EosPrior, draws: dict[str, Array]) -> Presentation:
    """Add stars, pressures, bands, those of the prior, and information to the draws.

    Parameters
    ----------
    prior : EosPrior
    draws : dict of (copies, draws) float64
        By parameter name.
    """
    shown = bare(draws)
    shape = next(iter(draws.values())).shape
    eos = prior.eos(np.stack([values.ravel() for values in draws.values()], axis=1))
    curves = mass_radius_curves(eos)
    derived = {name: values.reshape(shape) for name, values in star_quantities(eos, curves).items()}
    gain = [information_gain(values, *prior.support, effective=_worth(values)) for values in draws.values()]
    before, stars_before, met = prior.sample(PRIOR_DRAWS)
    share, share_error = share_of(met)
    groups: dict[str, Mapping[str, Named]] = {
        **_bands(prior.ratio, eos, curves, "", spread_draws(len(curves), len(MASSES) + _DENSITY_POINTS)),
        "information": {"gain": (("segment",), np.array(gain))},
    }
    for name, more in _bands(prior.ratio, before, stars_before, "prior_", np.flatnonzero(met)).items():
        groups[name] = {**groups[name], **more}
    return Presentation(
        parameters=shown.parameters,
        derived=derived,
        variables={
            **shown.variables,
            **{name: (("chain", "draw"), values) for name, values in derived.items()},
        },
        groups=groups,
        coords={"quantile": QUANTILES, "segment": np.arange(1, len(draws) + 1)},
        facts={"prior_share": share, "prior_share_error": share_error, "information_gain": gain},
    )


def star_quantities(eos: EosBatch, curves: Curves) -> dict[str, Array]:
    """Return the maximum mass (solar masses), R(1.4) (km), Lambda(1.4) and pressures (MeV/fm3) by name, (n,) each.

    Those at 1.4 solar masses are left out where an equation of state does not reach them.
    """
    found = {"maximum_mass": curves.maximum_mass}
    radius = radius_at(curves, [CANONICAL_MASS])[:, 0]
    if np.isfinite(radius).all():
        found["radius[1.4]"] = radius
        found["tidal_deformability[1.4]"] = tidal_at(curves, [CANONICAL_MASS])[:, 0]
    pressure = pressure_at(eos, np.array(DENSITIES) * NUCLEAR_DENSITY)
    return found | {f"pressure[{at:g}]": pressure[:, i] for i, at in enumerate(DENSITIES)}


def known_bands(values: Array) -> Array:
    """Return quantiles (quantile, point) of values (draw, point), NaN where fewer than a twentieth of them is known."""
    bands = np.full((len(QUANTILES), values.shape[1]), np.nan)
    known = np.isfinite(values).sum(axis=0) >= max(_FEWEST_ON_BRANCH * len(values), 1.0)
    if known.any():
        bands[:, known] = np.nanpercentile(values[:, known], QUANTILES, axis=0)
    return bands


def _bands(
    ratio: float, eos: EosBatch, curves: Curves, prefix: str, some: NDArray[np.int64]
) -> dict[str, dict[str, Named]]:
    """Return the bands of some equations of state and of their stars; names of values begin with `prefix`."""
    density = NUCLEAR_DENSITY * np.geomspace(1.0, ratio, _DENSITY_POINTS)
    axes = ("quantile", "point")
    return {
        "mass_radius": {
            "mass": (("point",), MASSES),
            f"{prefix}radius": (axes, known_bands(radius_at(curves, MASSES)[some])),
        },
        "pressure_density": {
            "energy_density": (("point",), density),
            f"{prefix}pressure": (axes, known_bands(pressure_at(eos, density)[some])),
        },
    }


def _worth(values: Array) -> float:
    """Return how many independent draws (copies, draws) are worth."""
    from hpc_ds.infer.diagnostics import mixing

    ess = mixing(values).ess
    return min(ess, values.size) if np.isfinite(ess) else values.size
