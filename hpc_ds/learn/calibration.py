"""Whether error bars and probabilities are as large as the errors, and factors that make them so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, ndtri, softmax

from hpc_ds.runtime.errors import InputError

Values = NDArray[np.float64]

LEVELS = (0.68, 0.90, 0.95)
"""Nominal contents of the intervals whose coverage is stated."""

_SMALLEST = float(np.finfo(np.float32).tiny)
_LOG_TEMPERATURE = 5.0
"""Temperatures between exp(-5) and exp(5) are looked at."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Of samples in bins of equal width by their confidence: how often they are right."""

    edges: Values
    """(bins + 1,) of confidence, 0 to 1."""
    confidence: Values
    """(bins,) mean probability of the predicted class; NaN in an empty bin."""
    accuracy: Values
    """(bins,) part that is right; NaN in an empty bin."""
    count: NDArray[np.int64]
    """(bins,) samples."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean of |accuracy - confidence| over samples (Guo et al. 2017, equation 3)."""
        filled = self.count > 0
        gap = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((gap * self.count[filled]).sum() / self.count.sum())


def reliability(probability: Values, label: NDArray[np.int64], bins: int = 15) -> Reliability:
    """Return the reliability of predicted classes.

    Parameters
    ----------
    probability : (n, classes) float64
        Predicted.
    label : (n,) int64
        What they are.
    bins : int
        How many bins between 0 and 1, each closed above.
    """
    top = probability.max(1)
    right = probability.argmax(1) == label
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, top, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (
            np.bincount(place, weights=part, minlength=bins) / count for part in (top, right)
        )
    return Reliability(edges, confidence, accuracy, count)


def half_width(level: float) -> float:
    """Return how many standard deviations the central interval of a normal law with that content reaches."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}: between 0 and 1 is needed")
    return float(ndtri(0.5 + 0.5 * level))


def coverage(mean: Values, spread: Values, target: Values, levels: Sequence[float] = LEVELS) -> Values:
    """Return which part of the targets lies in the central normal interval of each nominal content.

    Parameters
    ----------
    mean, spread, target : (n, D) float64
        Spread is a standard deviation.
    levels : sequence of float
        Nominal contents, between 0 and 1.

    Returns
    -------
    (levels, D) float64
    """
    widths = np.array([half_width(level) for level in levels])
    return (np.abs(target - mean) <= widths[:, None, None] * spread).mean(1)


def fit_spread(mean: Values, spread: Values, target: Values) -> Values:
    """Return the factors of `spread` that make normal forecasts most likely, (D,).

    The root of the mean of ((target - mean)/spread)^2: the zero of the derivative of the likelihood
    (Laves et al. 2020, arXiv 2006.13092, equation 6). Fit it on samples that the network was not trained on.

    Raises
    ------
    InputError
        A spread that is not above zero.
    """
    return np.sqrt(np.square(_standardised(mean, spread, target)).mean(0))


def conformal_factor(mean: Values, spread: Values, target: Values, level: float = 0.90) -> Values:
    """Return the factors q for which mean +- q spread covers the part `level` of new samples, (D,).

    Split conformal prediction: q is the ceil((n + 1) level)-th smallest of |target - mean|/spread over n samples
    that the network was not trained on. Whatever the law of the errors, the coverage of a new, exchangeable sample
    is at least `level` and at most level + 1/(n + 1) (Lei et al. 2018, theorem 2.2).

    Parameters
    ----------
    mean, spread, target : (n, D) float64
        Of the samples to calibrate on; a spread of ones gives bands of one width.
    level : float
        Content of the band, between 0 and 1.

    Raises
    ------
    InputError
        A spread that is not above zero, or too few samples for that level.
    """
    scores = np.sort(np.abs(_standardised(mean, spread, target)), axis=0)
    # The product may lie a rounding error above a whole number: (9 + 1) 0.9.
    rank = math.ceil(round((len(scores) + 1) * level, 9))
    if rank > len(scores):
        needed = math.ceil(round(level / (1.0 - level), 9))
        raise InputError(f"a band of {level:.0%} needs {needed} samples to calibrate on, found {len(scores)}")
    return scores[rank - 1]


def fit_temperature(probability: Values, label: NDArray[np.int64]) -> float:
    """Return the temperature T that makes softmax(log(probability)/T) most likely (Guo et al. 2017, section 4.2).

    Above 1 the network was too sure. Fit it on samples that the network was not trained on.

    Parameters
    ----------
    probability : (n, classes) float64
        Predicted; logits differ from their logarithms by what softmax takes away, so either gives the same T.
    label : (n,) int64
        What they are.
    """
    logits = _logits(probability)
    rows = np.arange(len(label))

    def cost(log_temperature: float) -> float:
        return float(-log_softmax(logits * math.exp(-log_temperature), axis=1)[rows, label].mean())

    bounds = (-_LOG_TEMPERATURE, _LOG_TEMPERATURE)
    return math.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)


def tempered(probability: Values, temperature: float) -> Values:
    """Return softmax(log(probability)/temperature), (n, classes)."""
    return np.asarray(softmax(_logits(probability) / temperature, axis=1))


def _standardised(mean: Values, spread: Values, target: Values) -> Values:
    if not np.all(spread > 0.0):
        raise InputError(f"a spread of {np.min(spread):g} cannot be calibrated: above 0 is needed")
    return (target - mean) / spread


def _logits(probability: ArrayLike) -> Values:
    return np.log(np.maximum(np.asarray(probability, dtype=np.float64), _SMALLEST))
