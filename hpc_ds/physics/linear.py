"""Closed forms for linear models with Gaussian noise: evidence, posterior, model choice, integration.

With y = X theta + noise of known sigma the likelihood is Gaussian in theta. A uniform prior in a box or a
Gaussian prior then leaves nothing to sample (Katakami et al., arXiv 2406.02869, treat y = a x + b with flat
priors; here X may hold any regressors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]

_LOG_2PI = float(np.log(2.0 * np.pi))
# Beyond so many standard deviations a box leaves out less than 1e-15 of the posterior.
_OUT_OF_REACH = 8.2
# Regressors count as independent up to this correlation, which moves a log evidence by less than 1e-12.
_NO_CORRELATION = 1e-12


class NoClosedFormError(ValueError):
    """The box of the prior cuts into two or more parameters that are correlated with each other."""


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A Gaussian likelihood as a function of p parameters: all that the data say.

    log L(theta) = log_peak - (theta - estimate)' precision (theta - estimate) / 2

    Attributes
    ----------
    estimate : (p,) float64
        Least-squares estimate.
    precision : (p, p) float64
        X' X / sigma^2.
    log_peak : float
        Log likelihood at the estimate, normalisation included.
    """

    estimate: Array
    precision: Array
    log_peak: float

    @property
    def covariance(self) -> Array:
        """Return the inverse of the precision, (p, p)."""
        return np.linalg.inv(self.precision)


@dataclass(frozen=True, eq=False)
class BoxPrior:
    """Independent uniform priors between ``low`` and ``high``, (p,) each."""

    low: Array
    high: Array

    def __post_init__(self) -> None:
        _freeze(self, low=np.atleast_1d(self.low), high=np.atleast_1d(self.high))
        if self.low.shape != self.high.shape or np.any(self.low >= self.high):
            raise ValueError(f"box prior: low {self.low} must lie below high {self.high}, one by one")


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """Gaussian prior with ``mean`` (p,) and ``covariance`` (p, p), or (p,) variances of independent ones."""

    mean: Array
    covariance: Array

    def __post_init__(self) -> None:
        covariance = np.atleast_1d(self.covariance)
        covariance = np.diag(covariance) if covariance.ndim == 1 else covariance
        _freeze(self, mean=np.atleast_1d(self.mean), covariance=covariance)


Prior = BoxPrior | GaussianPrior


def likelihood(design: ArrayLike, y: ArrayLike, sigma: ArrayLike) -> Likelihood:
    """Summarise data by their Gaussian likelihood.

    Parameters
    ----------
    design : (n, p)
        One column a regressor: ``numpy.column_stack([x, numpy.ones_like(x)])`` for y = a x + b.
    y : (n,)
    sigma : float or (n,)
        Known standard deviation of the noise.

    Raises
    ------
    ValueError
        If the shapes disagree or sigma is not positive.
    """
    design, y = np.asarray(design, dtype=np.float64), np.asarray(y, dtype=np.float64)
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), y.shape)
    if design.ndim != 2 or y.ndim != 1 or len(design) != len(y):
        raise ValueError(f"design {design.shape} and y {y.shape} must be (n, p) and (n,)")
    if not np.all(sigma > 0.0):
        raise ValueError("sigma must be positive")
    weighted, target = design / sigma[:, np.newaxis], y / sigma
    estimate = np.linalg.lstsq(weighted, target, rcond=None)[0]
    residual = target - weighted @ estimate
    log_peak = -0.5 * float(residual @ residual) - float(np.log(sigma).sum()) - 0.5 * len(y) * _LOG_2PI
    return Likelihood(estimate, weighted.T @ weighted, log_peak)


def log_evidence(data: Likelihood, prior: Prior) -> float:
    """Return the log of the integral of likelihood times prior; its negative is the Bayesian free energy.

    Raises
    ------
    NoClosedFormError
        If a box cuts into parameters that are correlated with each other.
    """
    if isinstance(prior, GaussianPrior):
        return _gaussian_log_evidence(data, prior)
    width = np.log(prior.high - prior.low).sum()
    return float(data.log_peak + 0.5 * _log_det_2pi(data.covariance) - width + _boxed(data, prior)[0])


def posterior(data: Likelihood, prior: Prior) -> tuple[Array, Array]:
    """Return mean (p,) and covariance (p, p) of the parameters; raises as `log_evidence`."""
    if isinstance(prior, GaussianPrior):
        return _gaussian_posterior(data, prior)
    return _boxed(data, prior)[1:]


def noise_estimate(design: ArrayLike, y: ArrayLike) -> float:
    """Return the sigma of greatest evidence under wide uniform priors, sqrt(RSS / (n - p))."""
    design, y = np.asarray(design, dtype=np.float64), np.asarray(y, dtype=np.float64)
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(np.sqrt(residual @ residual / (len(y) - design.shape[1])))


def selection_probability(design: ArrayLike, sigma: ArrayLike, truth: ArrayLike, widths: ArrayLike) -> float:
    """Return the probability that data will favour the larger of two nested models.

    The larger model has q more regressors, the last columns of the design; both have wide uniform priors.
    With t the estimates of the q parameters and C their covariance, t' C^-1 t follows a noncentral
    chi-square law, and the larger model has the greater evidence where it exceeds
    2 sum(log widths) - log det(2 pi C).

    Parameters
    ----------
    design : (n, p)
    sigma : float or (n,)
        Standard deviation of the noise.
    truth : (q,) or float
        True values of the q parameters; zeros give the rate of false positives.
    widths : (q,) or float
        Widths of their uniform priors.
    """
    from scipy.stats import ncx2

    design, truth = np.asarray(design, dtype=np.float64), np.atleast_1d(np.asarray(truth, dtype=np.float64))
    weighted = design / np.broadcast_to(np.asarray(sigma, dtype=np.float64), len(design))[:, np.newaxis]
    tested = np.linalg.inv(weighted.T @ weighted)[-len(truth) :, -len(truth) :]
    threshold = 2.0 * np.log(np.broadcast_to(widths, truth.shape)).sum() - _log_det_2pi(tested)
    noncentrality = truth @ np.linalg.solve(tested, truth)
    return float(ncx2.sf(threshold, len(truth), noncentrality)) if threshold > 0.0 else 1.0


def integrate(parts: Sequence[Likelihood]) -> Likelihood:
    """Return the likelihood of several independent measurements of the same parameters: precisions add."""
    precision = np.sum([part.precision for part in parts], axis=0)
    estimate = np.linalg.solve(precision, np.sum([part.precision @ part.estimate for part in parts], axis=0))
    log_peak = 0.0
    for part in parts:
        shift = estimate - part.estimate
        log_peak += part.log_peak - 0.5 * float(shift @ part.precision @ shift)
    return Likelihood(estimate, precision, log_peak)


def integration_free_energy(parts: Sequence[Likelihood], prior: Prior) -> float:
    """Return the free energy of shared parameters less that of separate ones; negative means: integrate."""
    return sum(log_evidence(part, prior) for part in parts) - log_evidence(integrate(parts), prior)


# Gaussian prior: in z, with theta = mean + root z, it is N(0, 1), and the precision may be singular


def _whitened(data: Likelihood, prior: GaussianPrior) -> tuple[Array, Array, Array]:
    root = np.linalg.cholesky(prior.covariance)
    precision = root.T @ data.precision @ root
    return root, precision, np.linalg.solve(root, data.estimate - prior.mean)


def _gaussian_log_evidence(data: Likelihood, prior: GaussianPrior) -> float:
    _, precision, shift = _whitened(data, prior)
    total = precision + np.eye(len(shift))
    misfit = shift @ precision @ np.linalg.solve(total, shift)
    return float(data.log_peak - 0.5 * misfit - 0.5 * np.linalg.slogdet(total)[1])


def _gaussian_posterior(data: Likelihood, prior: GaussianPrior) -> tuple[Array, Array]:
    root, precision, shift = _whitened(data, prior)
    total = precision + np.eye(len(shift))
    mean = prior.mean + root @ np.linalg.solve(total, precision @ shift)
    return mean, root @ np.linalg.solve(total, root.T)


# Box prior: the likelihood's Gaussian, cut at the walls that it reaches


def _boxed(data: Likelihood, prior: BoxPrior) -> tuple[float, Array, Array]:
    """Return log mass in the box, mean (p,) and covariance (p, p) of the Gaussian cut at the walls.

    The parameters c that are cut must be independent of each other. Given them the others, u, have
    E[u | c] = estimate + slope (c - estimate), whatever their correlation with c.
    """
    covariance = data.covariance
    low, high = _walls(prior, data.estimate, covariance)
    cut = (low > -_OUT_OF_REACH) | (high < _OUT_OF_REACH)
    if not cut.any():
        return 0.0, data.estimate, covariance
    among_cut = covariance[np.ix_(cut, cut)]
    _check_independent(among_cut)
    mean, variance = _cut_moments(low[cut], high[cut])
    deviation = np.sqrt(np.diag(among_cut))
    slope = covariance[:, cut] / np.diag(among_cut)
    shifted = data.estimate + slope @ (deviation * mean)
    shrunk = covariance - (slope * (np.diag(among_cut) * (1.0 - variance))) @ slope.T
    low_after, high_after = _walls(prior, shifted, shrunk)
    if np.any((low_after > -_OUT_OF_REACH)[~cut] | (high_after < _OUT_OF_REACH)[~cut]):
        raise NoClosedFormError(
            "a wall of the box pushes a correlated parameter against another wall: widen the box"
        )
    return _log_mass(low[cut], high[cut]), shifted, shrunk


def _walls(prior: BoxPrior, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """Return the distances of the walls from the mean, in standard deviations (p,)."""
    deviation = np.sqrt(np.diag(covariance))
    return (prior.low - mean) / deviation, (prior.high - mean) / deviation


def _check_independent(covariance: Array) -> None:
    scale = np.sqrt(np.diag(covariance))
    if np.abs(covariance / np.outer(scale, scale) - np.eye(len(scale))).max() > _NO_CORRELATION:
        raise NoClosedFormError(
            "the box cuts into correlated parameters: widen it, or centre x to make them independent"
        )


def _cut_moments(low: Array, high: Array) -> tuple[Array, Array]:
    """Return mean and variance of standard normal variables between walls, (p,) each."""
    from scipy.stats import truncnorm

    mean, variance = truncnorm.stats(low, high, moments="mv")
    return np.atleast_1d(mean), np.atleast_1d(variance)


def _log_mass(low: Array, high: Array) -> float:
    """Return the log probability that independent standard normal variables lie between walls."""
    from scipy.special import log_ndtr

    # In the lower tail both terms are small numbers, so that their difference keeps its digits.
    flip = low > 0.0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    return float(np.sum(log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))))


# Helpers


def _log_det_2pi(covariance: Array) -> float:
    """Return log det(2 pi covariance)."""
    return float(np.linalg.slogdet(covariance)[1]) + len(covariance) * _LOG_2PI


def _freeze(prior: Prior, **values: Array) -> None:
    """Store arrays as float64 in a frozen instance."""
    for name, value in values.items():
        object.__setattr__(prior, name, np.asarray(value, dtype=np.float64))
