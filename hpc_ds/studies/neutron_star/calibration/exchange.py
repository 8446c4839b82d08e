"""The same posteriors by replica exchange: two methods that share nothing but the likelihood must agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.diagnostics import mixing
from hpc_ds.infer.model import Model
from hpc_ds.infer.models.neutron_star import eos_models
from hpc_ds.infer.results import ModelResult
from hpc_ds.infer.run import sample
from hpc_ds.infer.settings import make_settings
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import World
from hpc_ds.studies.neutron_star.calibration.proposals import computed
from hpc_ds.studies.neutron_star.calibration.settings import Settings
from hpc_ds.studies.neutron_star.calibration.truths import Answers, Truths
from hpc_ds.studies.neutron_star.calibration.weights import quantity_values

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Posteriors of the first truths by replica exchange; a row of every array is one truth."""

    mean: Array
    """(truths, quantities)"""
    sd: Array
    """(truths, quantities)"""
    error: Array
    """(truths, quantities) Monte Carlo error of the mean."""
    log_evidence: Array
    """(truths,)"""
    log_evidence_error: Array
    """(truths,)"""


def exchange(
    folder: Path, truths: Truths, settings: Settings, world: World, deadline: Deadline
) -> tuple[bool, Sampled | None]:
    """Sample the first truths' posteriors in a folder; collective.

    Returns
    -------
    finished : bool
        Whether all draws are made.
    sampled : Sampled or None
        On rank 0, if so.
    """
    chosen = make_settings(
        {"draws": settings.draws, "tuning": settings.tuning, "sweeps": 1, "seed": settings.seed}
    )
    models = [_model(truths, number, settings) for number in range(settings.exchange)]
    results = sample(models, settings=chosen, folder=folder, world=world, deadline=deadline)
    finished = world.bcast(results is not None)
    if results is None:
        return finished, None
    rows = [_row(result) for result in results.models]
    return finished, Sampled(*(np.array(column) for column in zip(*rows, strict=True)))


def agreement(answers: Answers, sampled: Sampled) -> dict[str, Any]:
    """Compare the two methods on the truths that both have.

    Returns
    -------
    dict
        Differences of posterior means (weights less exchange) in units of their joint Monte Carlo error, and in units
        of the posterior's standard deviation: root mean square and largest, over truths and quantities; and the
        differences of the log evidence likewise.
    """
    both = slice(len(sampled.mean))
    means = answers.mean[both] - sampled.mean
    scaled = means / np.hypot(answers.error[both], sampled.error)
    gap = answers.log_evidence[both] - sampled.log_evidence
    gap_scaled = gap / np.hypot(answers.log_evidence_error[both], sampled.log_evidence_error)
    return {
        "truths": len(gap),
        "means_in_errors": _sizes(scaled),
        "means_in_sd": _sizes(means / answers.sd[both]),
        "sd_ratio": _sizes(sampled.sd / answers.sd[both] - 1.0),
        "error_in_sd": _sizes(sampled.error / sampled.sd),
        "log_evidence": _sizes(gap),
        "log_evidence_in_errors": _sizes(gap_scaled),
    }


def _model(truths: Truths, number: int, settings: Settings) -> Model:
    segments = truths.ensemble.speeds_squared.shape[1]
    (model,) = eos_models(truths.stars[number], [segments], settings.delta, settings.least_maximum_mass)
    return replace(model, name=f"truth {number}", finish=None)


def _row(result: ModelResult) -> tuple[Array, Array, Array, float, float]:
    draws = np.stack([values.ravel() for values in result.presentation.parameters.values()], axis=1)
    different, place = np.unique(draws, axis=0, return_inverse=True)
    values = quantity_values(computed(different, 0.0))[place.ravel()]
    sd = values.std(axis=0, ddof=1)
    worth = np.array([mixing(column[np.newaxis]).ess for column in values.T])
    return values.mean(axis=0), sd, sd / np.sqrt(worth), result.log_evidence, result.log_evidence_error


def _sizes(values: Array) -> dict[str, float]:
    return {"rms": float(np.sqrt(np.mean(values**2))), "largest": float(np.abs(values).max())}
