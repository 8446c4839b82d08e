"""Mock observations of simulated neutron stars, made when they are read: millions of noisy copies of a few curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

MASS_SCALE, RADIUS_SCALE = 3.0, 20.0
"""Solar masses and kilometres by which inputs are divided (Fujimoto, Fukushima & Murase 2020, PRD 101, 054016)."""

MASS_ERROR_SCALE, RADIUS_ERROR_SCALE = 1.0, 5.0
"""The same of standard errors, which are also the largest ones of `errors` random."""

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
        """Return radii, (samples, stars) in km, of stars of such masses, each sample with its equation of state."""
        first, last = self.mass[number, :1], self.mass[number, -1:]
        points = self.mass.shape[1]
        place = np.clip((mass - first) / (last - first) * (points - 1), 0.0, points - 1.0)
        left = np.minimum(place.astype(np.int64), points - 2)
        share = place - left
        row = number[:, None]
        return self.radius[row, left] * (1.0 - share) + self.radius[row, left + 1] * share


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


def mock_observations(
    ensemble: Ensemble,
    *,
    copies: int,
    seed: int,
    stars: int = 15,
    errors: Errors = "fixed",
    mass_error: float = 0.1,
    radius_error: float = 0.5,
    copies_a_set: int = 100,
    name: str = "mock stars",
) -> ComputedDataset:
    r"""Return noisy observations of the stars of an ensemble, whose speeds of sound are to be learned.

    A sample is one equation of state: `stars` masses uniform between 1 solar mass and the maximum, their radii, and
    normal errors on both. Sample i is the copy i // n of equation of state i % n.

    Parameters
    ----------
    ensemble : Ensemble
        Of n equations of state.
    copies : int
        Samples of each.
    seed : int
        Sample i is a function of it and of i.
    stars : int
        That are observed together.
    errors : {"fixed", "random"}
        "fixed": the standard errors below, and the inputs are M and R. "random": standard errors uniform up to 1 solar
        mass and 5 km, the same for `copies_a_set` copies, and known: they are inputs too.
    mass_error, radius_error : float
        Of "fixed", in solar masses and km.
    copies_a_set : int
        Of "random".
    name : str
        Of the data set.

    Returns
    -------
    ComputedDataset
        Inputs (2 stars,) or (4 stars,): M, R and then their standard errors, scaled; targets (segments,).
    """
    count, known = len(ensemble), errors == "random"
    key, set_key = (philox_key(seed, each)[0] for each in (_MOCK, _SETS))

    def compute(samples: NDArray[np.int64]) -> tuple[Array, Array]:
        copy, number = np.divmod(samples, count)
        draws = _uniform(samples, 3 * stars, key).reshape(-1, 3, stars)
        mass = LIGHTEST + draws[:, 0] * (ensemble.maximum_mass[number, None] - LIGHTEST)
        radius = ensemble.radius_at(number, mass)
        sigma = np.broadcast_to(np.array([mass_error, radius_error])[:, None], (len(samples), 2, stars))
        if known:
            of_set = _uniform((copy // copies_a_set) * count + number, 2 * stars, set_key)
            largest = np.array([MASS_ERROR_SCALE, RADIUS_ERROR_SCALE])[:, None]
            sigma = of_set.reshape(-1, 2, stars) * largest
        seen = [mass + sigma[:, 0] * ndtri(draws[:, 1]), radius + sigma[:, 1] * ndtri(draws[:, 2])]
        inputs = scaled(seen[0], seen[1], *((sigma[:, 0], sigma[:, 1]) if known else ()))
        return inputs, ensemble.speeds_squared[number]

    parts = ["M", "R", "sigma_M", "sigma_R"][: 4 if known else 2]
    segments = ensemble.speeds_squared.shape[1]
    return ComputedDataset(
        name,
        count * copies,
        compute,
        task="scalars",
        input_shape=(len(parts) * stars,),
        target_shape=(segments,),
        input_names=[f"{part}[{star + 1}]" for part in parts for star in range(stars)],
        target_names=[f"c2_{segment + 1}" for segment in range(segments)],
    )


def scaled(
    mass: Array, radius: Array, mass_error: Array | None = None, radius_error: Array | None = None
) -> Array:
    """Return the inputs of a network, (samples, 2 or 4 stars), of observations (samples, stars) in Msun and km."""
    parts = [mass / MASS_SCALE, radius / RADIUS_SCALE]
    if mass_error is not None and radius_error is not None:
        parts += [mass_error / MASS_ERROR_SCALE, radius_error / RADIUS_ERROR_SCALE]
    return np.concatenate(parts, axis=1)


def _uniform(things: NDArray[np.int64], draws: int, key: np.uint64) -> Array:
    """Return numbers in (0, 1) that belong to things, (things, draws)."""
    with np.errstate(over="ignore"):
        counters = things.astype(np.uint64)[:, None] * np.uint64(draws) + np.arange(draws, dtype=np.uint64)
    numbers = hashed(np.bitwise_xor(counters, key))
    return np.clip(numbers, 2.0**-54, 1.0 - 2.0**-53)
