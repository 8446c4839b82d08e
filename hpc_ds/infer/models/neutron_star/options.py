"""What `hpc-ds infer neutron-star` can be told beside the stars, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpc_ds.infer.model import Model
from hpc_ds.infer.models.neutron_star.likelihood import LOWEST_MASS
from hpc_ds.infer.models.neutron_star.observations import REACH, LikelihoodGrid
from hpc_ds.infer.models.neutron_star.prior import EosPrior
from hpc_ds.infer.models.neutron_star.stars import Star
from hpc_ds.physics.neutron_star.curves import mass_radius_curves
from hpc_ds.physics.neutron_star.families import DELTA, DENSITY_RATIO, LEAST_MAXIMUM_MASS
from hpc_ds.physics.neutron_star.units import KM
from hpc_ds.runtime.errors import InputError

DEFAULT_SEGMENTS = (3, 4, 5, 7)
MOST_SEGMENTS = 20

_TRIED = 400  # draws of the prior: a cut that leaves none of them leaves less than a hundredth of it
_SMALLEST_RADIUS = 2.25 * KM * LOWEST_MASS  # km; of any matter (Buchdahl 1959)
_NO_STAR = 10.0  # a radius beyond the largest by this factor is in other units, however large its error


@dataclass(frozen=True)
class EosOptions:
    """Equations of state to compare, and what is taken for possible before the data."""

    segments: tuple[int, ...] = DEFAULT_SEGMENTS
    """Numbers of segments, one model each."""
    delta: float = DELTA
    """Each squared speed of sound is uniform from delta to 1 - delta."""
    least_maximum_mass: float = LEAST_MAXIMUM_MASS
    """Solar masses that an equation of state must reach; 0 for no cut."""
    causal: bool = False
    """Whether sound must nowhere be faster than light."""
    density_ratio: float = DENSITY_RATIO
    """Energy densities at the upper and the lower end of the segments."""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> EosOptions:
        """Return the options that flags or a file give, by their names.

        Raises
        ------
        InputError
            One line that names the flag, what was found and what is right.
        """
        return cls(
            parse_segments(given.get("segments", cls.segments)),
            _number(given, "delta", cls.delta, "between 0 and 0.5", lambda x: 0.0 < x < 0.5),
            _number(given, "least_maximum_mass", cls.least_maximum_mass, "0 or above", lambda x: x >= 0.0),
            bool(given.get("causal", cls.causal)),
            _number(given, "density_ratio", cls.density_ratio, "above 1, at most 100", _is_ratio),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of them by name, for a configuration."""
        return {**asdict(self), "segments": list(self.segments)}

    def models(self, stars: Sequence[Star]) -> list[Model]:
        """Return one model of the stars for each number of segments.

        Raises
        ------
        InputError
            As of `eos_models`, the cuts leave no equation of state, or a radius is none that the prior's stars can
            have.
        """
        from hpc_ds.infer.models.neutron_star import eos_models, prior_share

        models = eos_models(
            [star.likelihood for star in stars],
            self.segments,
            self.delta,
            self.least_maximum_mass,
            causal=self.causal,
            ratio=self.density_ratio,
        )
        for model in models:
            if prior_share(model, _TRIED)[0] == 0.0:
                raise InputError(
                    f"--least-maximum-mass {self.least_maximum_mass:g}: none of {_TRIED} equations of state of "
                    f"{model.name} drawn from the prior meets the cuts; a lower mass is needed"
                )
        # `finish` is a partial of `present_eos`, whose first argument is the prior.
        _check_radii(stars, [model.finish.args[0] for model in models])  # type: ignore[union-attr]
        return models

    def warnings(self, stars: Sequence[Star]) -> list[str]:
        """Return what a user should know before the work: pulsars that count twice."""
        alone = [star.name for star in stars if not star.has_radius]
        if not (self.least_maximum_mass and alone):
            return []
        return [
            f"the cut at a maximum mass of {self.least_maximum_mass:g} stands for a heavy pulsar, and the mass of "
            f"{', '.join(alone)} is given too: with --least-maximum-mass 0 no pulsar counts twice"
        ]


def parse_segments(value: Any) -> tuple[int, ...]:
    """Read ``5``, ``3,4,5,7``, ``3:5`` (both ends) or a list of numbers.

    Raises
    ------
    InputError
        Not that, or a number of segments below 1 or above `MOST_SEGMENTS`.
    """
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    found: list[int] = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        try:
            low, high = int(first), int(last if colon else first)
        except ValueError:
            raise InputError(
                f"--segments '{text}': a number, a range such as 3:5 or a list 3,4,5,7 is needed"
            ) from None
        if not 1 <= low <= high <= MOST_SEGMENTS:
            raise InputError(f"--segments '{text}': from 1 to {MOST_SEGMENTS}, ranges upwards such as 3:5")
        found.extend(range(low, high + 1))
    return tuple(dict.fromkeys(found))


def largest_radius(prior: EosPrior) -> float:
    """Return the largest radius in km that a star can have, which is one of the stiffest equation of state."""
    curves = mass_radius_curves(prior.eos([[prior.support[1]] * prior.segments]))
    return float(curves.radius[curves.mass >= LOWEST_MASS].max())


def _check_radii(stars: Sequence[Star], priors: Sequence[EosPrior]) -> None:
    """Refuse radii that the prior's stars cannot have, as where columns were mistaken or units are not km."""
    measured = [star for star in stars if star.has_radius]
    if not measured:
        return
    curves = priors[0].sample(_TRIED)[1]
    drawn = curves.radius[curves.mass >= LOWEST_MASS]
    largest = max(largest_radius(prior) for prior in priors)
    for star in measured:
        if isinstance(star.likelihood, LikelihoodGrid):
            _check_grid(star.likelihood, drawn.min(), drawn.max())
        else:
            _check_radius(star, _SMALLEST_RADIUS, largest)


def _check_grid(grid: LikelihoodGrid, smallest: float, largest: float) -> None:
    held = grid.radius[grid.likelihood.any(axis=0)]
    if held[-1] < smallest or held[0] > largest:
        raise InputError(
            f"observation '{grid.name}': its radii {held[0]:g} to {held[-1]:g} lie outside those of {_TRIED} "
            f"equations of state drawn from the prior, {smallest:.4g} to {largest:.4g} km; km are needed"
        )


def _check_radius(star: Star, smallest: float, largest: float) -> None:
    told = star.describe()
    radius, (below, above) = told["radius"], told["radius_errors"]
    reached = radius + REACH * above >= smallest and radius - REACH * below <= largest
    if not reached or radius > _NO_STAR * largest:
        raise InputError(
            f"observation '{star.name}': radius {radius:g} +- {above if radius < smallest else below:g} lies outside "
            f"those that the prior's equations of state can have, {smallest:.3g} to {largest:.3g} km; km are needed"
        )


def _is_ratio(x: float) -> bool:
    return 1.0 < x <= 100.0


def _number(
    given: Mapping[str, Any], key: str, default: float, needed: str, is_right: Callable[[float], bool]
) -> float:
    value = given.get(key, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and is_right(number)):
        raise InputError(f"--{key.replace('_', '-')} {value}: a number {needed} is needed")
    return number
