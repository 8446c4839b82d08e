"""Equations of state of neutron stars: squared speeds of sound in segments, given observed masses and radii."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.model import Model
from hpc_ds.infer.models.neutron_star.likelihood import (
    LOWEST_MASS,
    log_likelihood,
    log_likelihoods,
    log_likelihoods_of_curves,
    pack,
)
from hpc_ds.infer.models.neutron_star.observations import (
    GaussianStar,
    LikelihoodGrid,
    MeasuredMass,
    Observation,
    SplitStar,
    as_observation,
    star_grid,
    star_samples,
)
from hpc_ds.infer.models.neutron_star.options import (
    DEFAULT_SEGMENTS,
    MOST_SEGMENTS,
    EosOptions,
)
from hpc_ds.infer.models.neutron_star.presentation import information_gain, present_eos, star_quantities
from hpc_ds.infer.models.neutron_star.prior import EosPrior, share_of
from hpc_ds.infer.models.neutron_star.stars import Star, chosen_stars, published_stars, read_stars
from hpc_ds.infer.priors import uniform
from hpc_ds.physics.neutron_star.families import DELTA, DENSITY_RATIO, LEAST_MAXIMUM_MASS, Edge, sly_below
from hpc_ds.physics.neutron_star.observed import KINDS
from hpc_ds.physics.neutron_star.observed import Observation as Published
from hpc_ds.runtime.errors import InputError

__all__ = [
    "DEFAULT_SEGMENTS",
    "KINDS",
    "LOWEST_MASS",
    "MOST_SEGMENTS",
    "EosOptions",
    "GaussianStar",
    "LikelihoodGrid",
    "MeasuredMass",
    "Observation",
    "SplitStar",
    "Star",
    "chosen_stars",
    "eos_models",
    "information_gain",
    "log_likelihoods",
    "log_likelihoods_of_curves",
    "parameter_names",
    "prior_share",
    "published_stars",
    "read_stars",
    "star_grid",
    "star_quantities",
    "star_samples",
]


def eos_models(
    observations: Sequence[Observation | Published],
    segments: Sequence[int] = DEFAULT_SEGMENTS,
    delta: float = DELTA,
    least_maximum_mass: float = LEAST_MAXIMUM_MASS,
    *,
    causal: bool = False,
    ratio: float = DENSITY_RATIO,
    crust: Edge | None = None,
) -> list[Model]:
    """Return one model for each number of segments in which the squared speed of sound is a parameter.

    The equations of state are those of `sound_speed_segments`, each c_i^2 ~ U(delta, 1 - delta). Every star's true
    mass is uniform from 1 solar mass to the maximum mass of the equation of state, and is integrated over.

    Parameters
    ----------
    observations : sequence
        Of `GaussianStar`, `MeasuredMass` and `LikelihoodGrid` (`star_samples` and `star_grid` make those), and of
        published stars (`hpc_ds.physics.neutron_star.observed`).
    segments : sequence of int
        Their numbers, one model each, called ``"5 segments"``. Parameters are ``sound_speed_squared[1]``, ..., the
        lowest density first.
    delta : float
        Between 0 and 0.5.
    least_maximum_mass : float
        Solar masses; an equation of state that does not reach them has no likelihood. Give 0 where masses of pulsars
        are among the observations, lest the same star count twice.
    causal : bool
        Whether sound faster than light, at any density up to that in the centre of the heaviest star, leaves no
        likelihood either: inside a segment it can be faster than on average.
    ratio : float
        Energy densities at the segments' upper and lower end.
    crust : Edge, optional
        Matter below; by default SLy up to nuclear density.

    Returns
    -------
    list of Model

    Raises
    ------
    InputError
        One line: no observation, two of one name, segments that are not positive numbers or given twice, a delta or
        ratio out of range, an observed mass or a least maximum mass that no equation of state of a model reaches.

    Notes
    -----
    The prior is that of all speeds, and the cuts are part of the likelihood: an evidence counts them as data (that a
    pulsar so heavy exists). The evidence given that the cuts are met is larger by minus the log of `prior_share`.
    """
    stars = [as_observation(star) for star in observations]
    _check_options(stars, segments, delta, ratio)
    edge = crust or sly_below()
    models = []
    for count in segments:
        prior = EosPrior(count, delta, ratio, edge, least_maximum_mass, causal)
        highest = prior.heaviest()
        for star in stars:
            star.check(LOWEST_MASS, highest)
        if not 0.0 <= least_maximum_mass < highest:
            raise InputError(
                f"least_maximum_mass {least_maximum_mass}: with {count} segments maximum masses are below "
                f"{highest:.4g} solar masses; 0 (no cut) or a number below that is needed"
            )
        models.append(
            Model(
                name=f"{count} segments" if count > 1 else "1 segment",
                parameters={name: uniform(delta, 1.0 - delta) for name in parameter_names(count)},
                log_likelihood=log_likelihood,
                form="compiled",
                data=pack(stars, edge, ratio ** (1.0 / count), least_maximum_mass, causal),
                finish=partial(present_eos, prior),
            )
        )
    return models


def parameter_names(segments: int) -> list[str]:
    """Return the names of the squared speeds of sound, the lowest density first."""
    return [f"sound_speed_squared[{i + 1}]" for i in range(segments)]


def prior_share(model: Model, draws: int = 4000, seed: int = 0) -> tuple[float, float]:
    """Return which share of the prior meets the model's cuts, and its standard error, from independent draws."""
    rng = np.random.default_rng(seed)
    speeds = np.stack([prior.sample(rng, draws) for prior in model.parameters.values()], axis=1)
    return share_of(np.isfinite(log_likelihoods(_without_stars(model), speeds)))


def _without_stars(model: Model) -> Model:
    from dataclasses import replace

    from hpc_ds.infer.kernels.neutron_star import STARS

    data: NDArray[np.float64] = model.data.copy()
    data[0, STARS] = 0.0
    return replace(model, data=data)


def _check_options(
    observations: Sequence[Observation], segments: Sequence[int], delta: float, ratio: float
) -> None:
    if not len(observations):
        raise InputError("no observation: at least one star is needed")
    names = [observation.name for observation in observations]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"observation '{name}' is there twice: names must differ")
    for count in segments:
        if count != int(count) or not 1 <= count <= MOST_SEGMENTS:
            raise InputError(f"segments {count}: a number from 1 to {MOST_SEGMENTS} is needed")
    if not len(segments) or len(set(segments)) < len(segments):
        raise InputError(f"segments {list(segments)}: one or more numbers, each once, are needed")
    if not 0.0 < delta < 0.5:
        raise InputError(f"delta {delta}: a number between 0 and 0.5 is needed")
    if not 1.0 < ratio < float("inf"):
        raise InputError(f"ratio {ratio}: a number above 1 is needed")
