"""Default priors of linear models, scaled from the data and the same in all models that are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.models.linear.likelihood import compress, design_of
from hpc_ds.infer.priors import Prior, log_uniform, uniform

Array = NDArray[np.float64]

_WIDE = 10.0  # times the scale of the data, and standard errors beyond the estimate, that a prior reaches
_CUT = 1e-6  # what the box may cut off the marginal posterior if the noise is estimated
_FARTHEST = 100.0  # standard errors: Student's law of 1 or 2 degrees of freedom has no end
_SMALLEST_NOISE = 1e-10  # of the data's size, where a model goes through all points


def default_priors(
    names: Sequence[Sequence[str]],
    designs: Sequence[Array],
    y: Array,
    sigma: float | Array | None,
    noise: str,
) -> dict[str, Prior]:
    """Return a prior for every parameter.

    The coefficient of a regressor f has ``uniform(-h, h)``, where h is ten times what f needs to explain the
    data alone, 10 max(rms(y) / rms(f), sd(y) / sd(f)). It is wider where the posterior of one of the models
    needs it: at least 10 standard errors beyond the estimate, so that the box cuts off less than 1e-20 of the
    posterior. If the noise is estimated, Student's law of the estimate sets their number: less than 3e-6 is
    cut off from 3 degrees of freedom on, at most 1 % below (100 standard errors). h is rounded up to 1, 2 or
    5 times a power of ten.

    An estimated noise has ``log_uniform(low, high)`` from a tenth of the smallest noise that a model leaves,
    sqrt(RSS / (n - p)), to ten times the largest or rms(y), rounded outwards in the same way.

    Parameters
    ----------
    names : list of list of str
        Parameters of each model's regressors.
    designs : list of (n, p) float64
    y : (n,) float64
    sigma : float, (n,) float64 or None
        None: the noise is estimated.
    noise : str
        Name of its parameter.
    """
    half: dict[str, float] = {}
    left: list[float] = []
    for parameters, design in zip(names, designs, strict=True):
        needed = _needed(design, y, sigma)
        for parameter, column, least in zip(parameters, design.T, needed, strict=True):
            half[parameter] = max(half.get(parameter, 0.0), _WIDE * _scale(column, y), least)
        left.append(_noise_left(design, y))
    priors = {parameter: uniform(-_round_up(h), _round_up(h)) for parameter, h in half.items()}
    return priors | ({noise: _noise_prior(y, left)} if sigma is None else {})


def _scale(column: Array, y: Array) -> float:
    """Return the coefficient that explains y, or its variation, by this column alone (1 stands for y = 0)."""
    scale = _rms(y) / _rms(column)
    if np.ptp(column) > 0.0:
        scale = max(scale, float(np.std(y) / np.std(column)))
    return scale if scale > 0.0 else 1.0 / _rms(column)


def _needed(design: Array, y: Array, sigma: float | Array | None) -> Array:
    """Return how far from zero the posterior reaches, (p,); zeros where the data do not determine it."""
    points, regressors = design.shape
    freedom = points - regressors
    weighted, target = design_of(compress(design, y, sigma))
    size = np.linalg.norm(weighted, axis=0)
    scaled = weighted / size
    if freedom < (1 if sigma is None else 0) or np.linalg.matrix_rank(scaled) < regressors:
        return np.zeros(regressors)
    estimate = np.linalg.lstsq(scaled, target, rcond=None)[0] / size
    error = np.linalg.norm(np.linalg.pinv(scaled), axis=1) / size
    if sigma is None:
        return np.abs(estimate) + _student_reach(freedom) * _noise_left(design, y) * error
    return np.abs(estimate) + _WIDE * error


def _student_reach(freedom: int) -> float:
    from scipy.stats import t

    return min(max(float(t.isf(0.5 * _CUT, freedom)), _WIDE), _FARTHEST)


def _noise_left(design: Array, y: Array) -> float:
    """Return sqrt(RSS / (n - p)), at least a rounding error, or 0 if there are too few points to tell."""
    freedom = len(y) - design.shape[1]
    if freedom < 1:
        return 0.0
    residual = abs(float(compress(design, y, None)[-2, -1]))
    return max(residual / math.sqrt(freedom), _SMALLEST_NOISE * (_rms(y) or 1.0))


def _noise_prior(y: Array, left: Sequence[float]) -> Prior:
    size = _rms(y) or 1.0
    smallest = min((noise for noise in left if noise > 0.0), default=1e-3 * size)
    low, high = smallest / _WIDE, _WIDE * max(size, *left)
    return log_uniform(1.0 / _round_up(1.0 / low), _round_up(high))


def _rms(values: Array) -> float:
    return float(np.linalg.norm(values) / math.sqrt(len(values)))


def _round_up(value: float) -> float:
    """Return the next of ..., 0.5, 1, 2, 5, 10, ... that is not below a positive value."""
    power = math.floor(math.log10(value))
    digit = next((digit for digit in (1, 2, 5) if value <= float(f"{digit}e{power}")), 10)
    return float(f"{digit}e{power}")
