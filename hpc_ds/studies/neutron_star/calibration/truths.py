"""Truths whose posteriors are known: equations of state of the prior, what is observed of each, and the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.models.neutron_star.observations import GaussianStar
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.store.split import SPLITS
from hpc_ds.store.training_set import TrainingSet
from hpc_ds.studies.neutron_star.calibration.proposals import explore
from hpc_ds.studies.neutron_star.calibration.settings import Settings, Stars
from hpc_ds.studies.neutron_star.calibration.weights import Candidates, quantity_values
from hpc_ds.studies.neutron_star.mock import Ensemble, MockStars, read_ensemble

Array = NDArray[np.float64]

_STREAM = name_key("neutron-star.calibration")


@dataclass(frozen=True, eq=False)
class Truths:
    """Equations of state and the stars that are observed of each."""

    ensemble: Ensemble
    stars: list[Stars]

    @property
    def values(self) -> Array:
        """What is judged of each, (truths, quantities)."""
        return quantity_values(self.ensemble)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.stars)


@dataclass(frozen=True, eq=False)
class Answers:
    """Exact posteriors of truths in numbers; a row of every array is one truth."""

    truth: Array
    """(truths, quantities)"""
    mean: Array
    """(truths, quantities)"""
    sd: Array
    """(truths, quantities)"""
    error: Array
    """(truths, quantities) Monte Carlo error of the mean."""
    rank: Array
    """(truths, quantities) share of the posterior below the truth."""
    quantile: Array
    """(truths, levels, quantities)"""
    effective: Array
    """(truths,) draws that the posterior is worth."""
    effective_before: Array
    """(truths,) before more were drawn around it."""
    curves: Array
    """(truths,) equations of state that were drawn then."""
    log_evidence: Array
    """(truths,)"""
    log_evidence_error: Array
    """(truths,)"""

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Return the answers of all parts, one after another."""
        return cls(*(np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True)))

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __len__(self) -> int:
        """Return the number of truths."""
        return len(self.truth)


def mock_truths(ensemble: Ensemble, settings: Settings) -> Truths:
    """Return the first equations of state of an ensemble with the first mock observation of each.

    Raises
    ------
    InputError
        There are fewer than `settings.truths`.
    """
    count = settings.truths
    if len(ensemble) < count:
        raise InputError(
            f"truths {count}: the test split has {len(ensemble)} accepted equations of state; "
            "fewer truths or a larger ensemble are needed"
        )
    mock = MockStars(
        ensemble,
        settings.seed,
        stars=settings.stars,
        mass_error=settings.mass_error,
        radius_error=settings.radius_error,
    )
    seen = mock.observe(np.arange(count))
    first = slice(count)
    return Truths(
        Ensemble(ensemble.speeds_squared[first], ensemble.mass[first], ensemble.radius[first]),
        [_stars(m, r, settings) for m, r in zip(seen.mass, seen.radius, strict=True)],
    )


def read_candidates(folder: str, truths: Truths) -> Candidates:
    """Read all splits of a training set of the simulator ``neutron-star``, without the truths.

    Raises
    ------
    InputError
        As of `read_ensemble` and `Candidates.of`.
    """
    parts = [read_ensemble(folder, split) for split in SPLITS]
    stored = 0
    for split in SPLITS:
        with TrainingSet(folder, split) as one:
            stored += len(one)
    speeds, mass, radius = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("speeds_squared", "mass", "radius")
    )
    accepted = len(speeds)
    other = ~np.isin(_rows(speeds), _rows(truths.ensemble.speeds_squared))
    left = Ensemble(speeds[other], mass[other], radius[other])
    return Candidates.of(left, len(left) * stored / accepted)


def answer(truths: Truths, numbers: Sequence[int], candidates: Candidates, settings: Settings) -> Answers:
    """Return the answers of some truths; each is a function of its own number alone."""
    return Answers.joined([_answer(truths, number, candidates, settings) for number in numbers])


def content(truths: Truths, candidates: Candidates) -> str:
    """Return a hash of all that the answers depend on beside the settings."""
    digest = hashlib.sha256(repr(truths.stars).encode())
    for array in (truths.ensemble.radius, candidates.speeds_squared, candidates.radius):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _answer(truths: Truths, number: int, candidates: Candidates, settings: Settings) -> Answers:
    rng = stream(settings.seed, _STREAM, number)
    explored = explore(candidates, truths.stars[number], settings, rng)
    posterior, truth = explored.posterior, truths.values[number]
    found: tuple[Any, ...] = (
        truth,
        *posterior.moments(),
        posterior.ranks(truth),
        posterior.quantiles(),
        posterior.effective,
        explored.effective_before,
        explored.curves,
        posterior.log_evidence,
        posterior.log_evidence_error,
    )
    return Answers(*(np.asarray(value, dtype=np.float64)[np.newaxis] for value in found))


def _columns(answers: Answers) -> list[Array]:
    return list(answers.arrays().values())


def _rows(speeds: Array) -> NDArray:
    """Return each row as one value, equal where all speeds are."""
    exact = np.ascontiguousarray(speeds)
    return exact.view([("", exact.dtype)] * exact.shape[1])[:, 0]


def _stars(mass: Array, radius: Array, settings: Settings) -> Stars:
    pairs = enumerate(zip(mass.tolist(), radius.tolist(), strict=True))
    return [
        GaussianStar(f"star {k + 1}", m, settings.mass_error, r, settings.radius_error) for k, (m, r) in pairs
    ]
