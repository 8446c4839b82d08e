"""More equations of state where a posterior is, for those truths that the draws of the prior do not resolve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.models.neutron_star.observations import GaussianStar
from hpc_ds.physics.neutron_star.curves import mass_radius_curves, radius_at
from hpc_ds.physics.neutron_star.families import sound_speed_segments
from hpc_ds.studies.neutron_star.calibration.settings import Settings
from hpc_ds.studies.neutron_star.calibration.weights import (
    Candidates,
    Posterior,
    effective_size,
    weigh,
    within_reach,
)
from hpc_ds.studies.neutron_star.mock import Ensemble

Array = NDArray[np.float64]

_CENTRES = 256
_FEWEST = 40.0  # effective draws that a kernel's width is taken from
_HALVINGS = 40
_LEAST_WIDTH = 0.01  # of a squared speed of sound
_POINTS = 128
_LIGHTEST = 0.2  # solar masses


@dataclass(frozen=True, eq=False)
class Explored:
    """A posterior and what it took."""

    posterior: Posterior
    effective_before: float
    """Of the draws of the prior alone."""
    curves: int
    """Equations of state whose stars were computed for it."""


def explore(
    candidates: Candidates, stars: Sequence[GaussianStar], settings: Settings, rng: np.random.Generator
) -> Explored:
    """Return the posterior of stars: by the draws of the prior, and by more around it until they suffice.

    Adaptive multiple importance sampling (Cornuet, Marin, Mira & Robert, Scand. J. Stat. 39 (2012) 798): a draw's
    weight is likelihood times prior over the density of all draws together, those of the prior too, so that no weight
    is larger than the prior's draws would have.

    Parameters
    ----------
    candidates : Candidates
        Accepted draws of the prior.
    stars : sequence of GaussianStar
    settings : Settings
    rng : Generator
        Of this truth alone.
    """
    low, high = settings.delta, 1.0 - settings.delta
    log_likelihood = weigh(candidates, stars)
    near = within_reach(log_likelihood)
    held, log_likelihood = candidates[near], log_likelihood[near]
    log_prior = -held.speeds_squared.shape[1] * math.log(high - low)
    density = np.full(len(held), candidates.drawn * math.exp(log_prior))
    before, curves, proposals = math.nan, 0, list[Proposal]()
    while True:
        log_weight = log_likelihood + log_prior - np.log(density)
        effective = effective_size(log_weight)
        before = before if proposals else effective
        if effective >= settings.effective or len(proposals) == settings.rounds:
            return Explored(Posterior(held.values, log_weight), before, curves)
        proposals.append(Proposal.around(held.speeds_squared, log_weight, settings.round_draws, rng))
        speeds = proposals[-1].draw(rng)
        speeds = speeds[((speeds > low) & (speeds < high)).all(axis=1)]
        fresh = Candidates.of(computed(speeds, settings.least_maximum_mass))
        curves += len(speeds)
        density = np.concatenate(
            [
                density + proposals[-1].density(held.speeds_squared),
                candidates.drawn * math.exp(log_prior)
                + sum(proposal.density(fresh.speeds_squared) for proposal in proposals),
            ]
        )
        held = _joined(held, fresh)
        log_likelihood = np.concatenate([log_likelihood, weigh(fresh, stars)])


@dataclass(frozen=True, eq=False)
class Proposal:
    """A mixture of normal laws of equal covariance around weighted draws."""

    inverse: Array
    """(d, d): takes speeds to where the covariance is 1."""
    factor: Array
    """(d, d): takes them back."""
    centres: Array
    """(centres, d), there."""
    draws: int

    @classmethod
    def around(cls, speeds: Array, log_weight: Array, draws: int, rng: np.random.Generator) -> Proposal:
        """Return the mixture of Silverman's width; weights of too few effective draws are evened out first."""
        weight = np.exp(_evened(log_weight))
        weight /= weight.sum()
        place = (rng.random() + np.arange(_CENTRES)) / _CENTRES
        chosen = np.minimum(np.searchsorted(np.cumsum(weight), place), len(weight) - 1)
        off = speeds - weight @ speeds
        d = speeds.shape[1]
        effective = min(1.0 / np.sum(weight**2), _CENTRES)
        width = (4.0 / ((d + 2.0) * effective)) ** (1.0 / (d + 4.0))
        covariance = (off * weight[:, np.newaxis]).T @ off * width**2 + np.eye(d) * _LEAST_WIDTH**2
        factor = np.linalg.cholesky(covariance)
        inverse = np.linalg.inv(factor)
        return cls(inverse, factor, speeds[chosen] @ inverse.T, draws)

    def draw(self, rng: np.random.Generator) -> Array:
        """Return draws, (draws, d), also where no equation of state is."""
        chosen = rng.integers(0, len(self.centres), self.draws)
        d = self.factor.shape[0]
        return (self.centres[chosen] + rng.standard_normal((self.draws, d))) @ self.factor.T

    def density(self, speeds: Array) -> Array:
        """Return how many draws a volume there are at speeds (n, d), (n,)."""
        from hpc_ds.studies.neutron_star.kernels.weights import mean_of_normals

        d = self.factor.shape[0]
        volume = (2.0 * math.pi) ** (0.5 * d) * float(np.prod(np.diag(self.factor)))
        points = np.ascontiguousarray(speeds @ self.inverse.T)
        return self.draws / volume * mean_of_normals(points, np.ascontiguousarray(self.centres))


def computed(speeds: Array, least_maximum_mass: float) -> Ensemble:
    """Return the stars of those equations of state, (n, segments), that carry the least maximum mass."""
    curves = mass_radius_curves(sound_speed_segments(speeds))
    place = np.linspace(0.0, 1.0, _POINTS)
    heaviest = curves.maximum_mass[:, np.newaxis]
    mass = _LIGHTEST + (heaviest - _LIGHTEST) * place
    mass[:, -1] = heaviest[:, 0]
    kept = curves.ok & (curves.maximum_mass >= least_maximum_mass)
    return Ensemble(speeds[kept], mass[kept], radius_at(curves, mass)[kept])


def _joined(one: Candidates, other: Candidates) -> Candidates:
    return Candidates(
        np.concatenate([one.speeds_squared, other.speeds_squared]),
        np.concatenate([one.heaviest, other.heaviest]),
        np.concatenate([one.radius, other.radius]),
        np.concatenate([one.values, other.values]),
        one.drawn,
    )


def _evened(log_weight: Array) -> Array:
    """Return the log weights, to a power at which they are worth a least number of draws."""
    least = min(_FEWEST, 0.5 * len(log_weight))
    if effective_size(log_weight) >= least:
        return log_weight - log_weight.max()
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        power = 0.5 * (low + high)
        if effective_size(power * log_weight) >= least:
            low = power
        else:
            high = power
    return low * (log_weight - log_weight.max())
