"""What is recorded of each sample where its data are: float64 numbers of which metrics are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hpc_ds.learn import calibration, scores
from hpc_ds.runtime.errors import InputError

_WELL_EPS = 1e-7
"""What The Well's benchmark adds to a variance (metrics/spatial.py)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Predictions of some samples beside what is right, in physical units."""

    prediction: Tensor
    r"""(n, channels, \*grid) or (n, D) float64; of classes probabilities (n, classes)."""
    target: Tensor
    """As the prediction; of classes (n,) int64."""
    spread: Tensor | None = None
    """Standard deviations as the prediction, where there are any."""


Recorder = Callable[[Batch], Tensor]


def squared_error(batch: Batch) -> Tensor:
    """Mean of (prediction - target)^2 over the grid, (n, channels)."""
    return over_grid((batch.prediction - batch.target).square())


def absolute_error(batch: Batch) -> Tensor:
    """Mean of |prediction - target| over the grid, (n, channels)."""
    return over_grid((batch.prediction - batch.target).abs())


def squared_log_error(batch: Batch) -> Tensor:
    """Mean of `hpc_ds.learn.scores.squared_log` over the grid, (n, channels)."""
    return over_grid(scores.squared_log(batch.prediction, batch.target))


def norms(batch: Batch) -> Tensor:
    """L2 norms of the error and of the target over all channels and points, (n, 2)."""
    return torch.stack([scores.norm(batch.prediction - batch.target), scores.norm(batch.target)], dim=1)


def vrmse(batch: Batch) -> Tensor:
    """The Well's root of squared error over variance of the target on the grid, (n, channels) (arXiv 2412.00568)."""
    variance = batch.target.flatten(2).var(2, correction=1)
    return (squared_error(batch) / (variance + _WELL_EPS)).sqrt()


def target_mean(batch: Batch) -> Tensor:
    """Mean of the target over the grid, (n, channels)."""
    return over_grid(batch.target)


def target_variance(batch: Batch) -> Tensor:
    """Variance of the target over the grid, (n, channels); zero without a grid."""
    return batch.target.reshape(*batch.target.shape[:2], -1).var(2, correction=0)


def nll(batch: Batch) -> Tensor:
    """Mean of -log N(target; prediction, spread^2) over the grid, (n, channels)."""
    spread = _spread(batch)
    return over_grid(scores.gaussian_nll(batch.prediction, 2.0 * spread.log(), batch.target))


def crps(batch: Batch) -> Tensor:
    """Mean of `hpc_ds.learn.scores.gaussian_crps` over the grid, (n, channels)."""
    return over_grid(scores.gaussian_crps(batch.prediction, _spread(batch), batch.target))


def inside(batch: Batch) -> Tensor:
    """Part of each channel within each central interval of `calibration.LEVELS`, (n, channels, levels)."""
    distance, spread = (batch.prediction - batch.target).abs(), _spread(batch)
    widths = [calibration.half_width(level) for level in calibration.LEVELS]
    return torch.stack([over_grid((distance <= width * spread).double()) for width in widths], dim=2)


def mean_spread(batch: Batch) -> Tensor:
    """Mean of the spread over the grid, (n, channels)."""
    return over_grid(_spread(batch))


def over_grid(values: Tensor) -> Tensor:
    """Mean of `values` over the grid, (n, channels)."""
    return values.reshape(*values.shape[:2], -1).mean(2)


def _spread(batch: Batch) -> Tensor:
    if batch.spread is None:
        raise InputError(
            "metrics nll, crps, coverage and sharpness need a network with a spread: --loss gaussian"
        )
    return batch.spread
