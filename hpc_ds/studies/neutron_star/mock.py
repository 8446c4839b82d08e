"""Mock observations of simulated neutron stars, made when they are read: millions of noisy copies of a few curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hpc_ds.learn.computed import ComputedDataset
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, philox_key
from hpc_ds.store.split import hashed
from hpc_ds.store.training_set import TrainingSet

Array = NDArray[np.float64]
Errors = Literal["fixed", "random"]

MASS, RADIUS = (1.8, 0.6), (12.0, 2.0)
"""Centre and scale, in solar masses and km, by which inputs are standardised."""

MASS_ERROR, RADIUS_ERROR = (0.5, 0.3), (2.5, 1.5)
"""The same of standard errors."""

LARGEST_ERRORS = (1.0, 5.0)
"""Solar masses and km; of `errors` random."""

LIGHTEST = 1.0
"""Solar masses of the lightest star that is observed."""

_MOCK, _SETS = name_key("neutron-star.mock"), name_key("neutron-star.errors")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Equations of state and the stable stars of each, evenly spaced in mass."""

    speeds_squared: Array
    """(n, segments) average squared speed of sound of each segment, in units of the speed of light."""
    mass: Array
    """(n, points) solar masses, increasing."""
    radius: Array
    """(n, points) km."""

    @property
    def maximum_mass(self) -> Array:
        """(n,) solar masses."""
        return self.mass[:, -1]

    def __len__(self) -> int:
        """Return the number of equations of state."""
        return len(self.mass)

    def radius_at(self, number: NDArray[np.int64], mass: Array) -> Array:
        """Return radii, (samples, stars) in km, of stars of such masses, each sample with its equation of state.

        Straight lines between the stored stars, for speed: just below the maximum mass, where the curve is steep, tens
        of metres off, small beside the errors of observations; `calibration.weights.radius_at` follows it there.
        """
        first, last = self.mass[number, :1], self.mass[number, -1:]
        points = self.mass.shape[1]
        place = np.clip((mass - first) / (last - first) * (points - 1), 0.0, points - 1.0)
        left = np.minimum(place.astype(np.int64), points - 2)
        share = place - left
        row = number[:, None]
        return self.radius[row, left] * (1.0 - share) + self.radius[row, left + 1] * share


class Seen(NamedTuple):
    """Stars as observed, (samples, stars) each."""

    mass: Array
    """Solar masses."""
    radius: Array
    """km."""
    mass_error: Array
    radius_error: Array


def read_ensemble(folder: str, split: str) -> Ensemble:
    """Read one split of a training set of the simulator ``neutron-star``; only equations of state that are accepted.

    Raises
    ------
    InputError
        No such set, or none of its equations of state is accepted.
    """
    with TrainingSet(folder, split) as stored:
        accepted = np.flatnonzero(np.asarray(stored.read("accepted")).reshape(len(stored)) > 0.5)
        if not len(accepted):
            raise InputError(
                f"{folder}: none of the {len(stored)} equations of state of split {split} is accepted; "
                "more samples or a lower least_maximum_mass are needed"
            )
        names = sorted(
            (name for name in stored.parameters if name.startswith("c2_")), key=lambda name: int(name[3:])
        )
        speeds = np.stack([stored.parameters[name] for name in names], axis=1)
        mass, radius = (
            np.asarray(stored.read(name), dtype=np.float64).reshape(len(stored), -1)
            for name in ("mass", "radius")
        )
    return Ensemble(np.asarray(speeds, dtype=np.float64)[accepted], mass[accepted], radius[accepted])


@dataclass(frozen=True, eq=False)
class MockStars:
    """Noisy observations of the stars of an ensemble.

    A sample is one equation of state: `stars` masses uniform between 1 solar mass and the maximum, their radii, and
    normal errors on both. Of n equations of state, sample i is the copy i // n of number i % n.
    """

    ensemble: Ensemble
    seed: int
    """Sample i is a function of it and of i."""
    stars: int = 15
    """That are observed together."""
    errors: Errors = "fixed"
    """"fixed": the standard errors below. "random": uniform up to 1 solar mass and 5 km, the same for all copies of a
    set."""
    mass_error: float = 0.1
    """Of "fixed", in solar masses."""
    radius_error: float = 0.5
    """Of "fixed", in km."""
    copies_a_set: int = 100
    """Of "random"."""

    def observe(self, samples: NDArray[np.int64]) -> Seen:
        """Return what is observed; the same numbers whatever they are asked for with."""
        count = len(self.ensemble)
        copy, number = np.divmod(samples, count)
        draws = _uniform(samples, 3 * self.stars, philox_key(self.seed, _MOCK)[0]).reshape(-1, 3, self.stars)
        mass = LIGHTEST + draws[:, 0] * (self.ensemble.maximum_mass[number, None] - LIGHTEST)
        radius = self.ensemble.radius_at(number, mass)
        if self.errors == "fixed":
            each = np.array([self.mass_error, self.radius_error])[:, None]
            sigma = np.broadcast_to(each, (len(samples), 2, self.stars))
        else:
            sets = (copy // self.copies_a_set) * count + number
            of_set = _uniform(sets, 2 * self.stars, philox_key(self.seed, _SETS)[0])
            sigma = of_set.reshape(-1, 2, self.stars) * np.array(LARGEST_ERRORS)[:, None]
        mass_error, radius_error = sigma[:, 0], sigma[:, 1]
        return Seen(
            mass + mass_error * ndtri(draws[:, 1]),
            radius + radius_error * ndtri(draws[:, 2]),
            mass_error,
            radius_error,
        )

    def dataset(self, copies: int, name: str = "mock stars") -> ComputedDataset:
        """Return so many copies of each equation of state, whose speeds of sound are to be learned.

        Returns
        -------
        ComputedDataset
            Inputs (2 stars,) or, where errors differ, (4 stars,) of `as_inputs`; targets (segments,).
        """
        count, known = len(self.ensemble), self.errors == "random"
        speeds = self.ensemble.speeds_squared

        def compute(samples: NDArray[np.int64]) -> tuple[Array, Array]:
            return as_inputs(self.observe(samples), known), speeds[samples % count]

        parts = ["M", "R", "sigma_M", "sigma_R"][: 4 if known else 2]
        return ComputedDataset(
            name,
            count * copies,
            compute,
            task="scalars",
            input_shape=(len(parts) * self.stars,),
            target_shape=(speeds.shape[1],),
            input_names=[f"{part}[{star + 1}]" for part in parts for star in range(self.stars)],
            target_names=[f"c2_{segment + 1}" for segment in range(speeds.shape[1])],
        )


def as_inputs(seen: Seen, known: bool) -> Array:
    """Return what a network sees of stars that are observed together, (samples, 2 or 4 stars), standardised.

    The lightest star comes first: stars have no order of their own, and a network that need not learn this comes close
    to the exact posterior mean in far fewer steps.

    Parameters
    ----------
    seen : Seen
    known : bool
        Whether it sees the standard errors too.
    """
    order = np.argsort(seen.mass, axis=1, kind="stable")
    scales = (MASS, RADIUS, MASS_ERROR, RADIUS_ERROR)[: 4 if known else 2]
    columns = [
        (np.take_along_axis(values, order, 1) - centre) / scale
        for values, (centre, scale) in zip(seen, scales, strict=False)
    ]
    return np.concatenate(columns, axis=1)


def _uniform(things: NDArray[np.int64], draws: int, key: np.uint64) -> Array:
    """Return numbers in (0, 1) that belong to things, (things, draws)."""
    with np.errstate(over="ignore"):
        counters = things.astype(np.uint64)[:, None] * np.uint64(draws) + np.arange(draws, dtype=np.uint64)
    numbers = hashed(np.bitwise_xor(counters, key))
    return np.clip(numbers, 2.0**-54, 1.0 - 2.0**-53)
