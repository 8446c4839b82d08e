"""Log evidence from the log-likelihoods of tempered chains, with a standard error that holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Energies = NDArray[np.float64]

_NEWTON_STEPS = 50
_HESSIAN_DRAWS = 10_000  # fix the derivative to a percent, at a quarter of the time of the sums themselves
_MOST_BLOCKS = 256
_FEWEST_BLOCKS = 16


@dataclass(frozen=True)
class Evidence:
    """Estimates of log Z = log of the integral of prior times likelihood, from one set of tempered draws."""

    log_evidence: float
    """Multistate Bennett acceptance ratio over all temperatures: the answer."""
    error: float
    """Its standard error, from independent blocks of the joint series of all temperatures."""
    stepping_stone_forward: float
    """Each level weighted to the next colder one; exp of it is unbiased for Z."""
    stepping_stone_backward: float
    """Each level weighted to the next hotter one; exp of minus it is unbiased for 1/Z."""
    thermodynamic_integration: float
    """Trapezoidal rule over the ladder: biased by its coarseness, for comparison only."""
    log_evidence_at: tuple[float, ...]
    """log Z at every inverse temperature of the ladder, by the same ratio."""

    disagreement: float
    """Forward stepping stone less the answer, in units of the error. The backward one is no measure: it rests on rare
    draws of hot levels that fit extremely badly, and is off by half a unit where the answer is right to a tenth."""
    mean_log_likelihood: tuple[float, ...]
    """Mean log-likelihood at every inverse temperature."""

    @property
    def free_energy(self) -> float:
        """Bayesian free energy F = -log Z."""
        return -self.log_evidence


def estimate(beta: NDArray[np.float64], energies: Energies) -> Evidence:
    """Estimate the log evidence from a run with a frozen ladder.

    Parameters
    ----------
    beta : (levels,) float64
        Inverse temperatures, ascending, first 0 and last 1.
    energies : (scans, levels) float64
        Log-likelihood of the state at each level after each scan.

    Returns
    -------
    Evidence

    Raises
    ------
    ValueError
        If there are fewer than 2 scans or the shapes differ.

    Notes
    -----
    Shirts & Chodera, J. Chem. Phys. 129 (2008) 124105; Xie, Lewis, Fan, Kuo & Chen, Syst. Biol. 60 (2011) 150.
    """
    beta = np.ascontiguousarray(beta, dtype=np.float64)
    energies = np.ascontiguousarray(energies, dtype=np.float64)
    if energies.ndim != 2 or energies.shape[1] != beta.size or len(energies) < 2:
        raise ValueError(
            f"energies have shape {energies.shape}; (at least 2 scans, {beta.size} levels) are needed"
        )
    integral = thermodynamic_integration(beta, energies)
    energies = np.maximum(energies, -1e300)  # a likelihood of zero: no weight anywhere but at beta = 0
    forward, backward = stepping_stones(beta, energies)
    log_z = multistate_ratio(beta, energies, 0.5 * (forward + backward))
    error = _standard_error(beta, energies, log_z)
    return Evidence(
        log_evidence=float(log_z[-1]),
        error=error,
        stepping_stone_forward=float(forward[-1]),
        stepping_stone_backward=float(backward[-1]),
        thermodynamic_integration=integral,
        log_evidence_at=tuple(float(value) for value in log_z),
        disagreement=abs(float(forward[-1] - log_z[-1])) / error if error > 0.0 else 0.0,
        mean_log_likelihood=tuple(float(value) for value in energies.mean(axis=0)),
    )


def stepping_stones(
    beta: NDArray[np.float64], energies: Energies
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log Z at every level by forward and by backward stepping stones, each (levels,) and 0 at beta = 0."""
    gap = np.diff(beta)
    forward = _log_mean_exp(gap * energies[:, :-1])
    backward = -_log_mean_exp(-gap * energies[:, 1:])
    zero = np.zeros(1)
    return np.concatenate([zero, np.cumsum(forward)]), np.concatenate([zero, np.cumsum(backward)])


def thermodynamic_integration(beta: NDArray[np.float64], energies: Energies) -> float:
    """Return the trapezoidal integral of the mean log-likelihood over beta, -inf where a draw is impossible."""
    mean = energies.mean(axis=0)
    return float(np.sum(np.diff(beta) * (mean[1:] + mean[:-1]) / 2.0))


def multistate_ratio(
    beta: NDArray[np.float64], energies: Energies, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return log Z (levels,), 0 at beta = 0, that makes every level's expected number of draws its actual one.

    Newton's method with the derivative from a part of the draws; `start` (levels,) is where it begins.
    """
    from hpc_ds.infer.kernels import mbar

    scans, levels = energies.shape
    log_z = np.where(np.isfinite(start), start, 0.0)
    counts, hessian = np.empty(levels), np.empty((levels, levels))
    stride = max(1, scans * levels // _HESSIAN_DRAWS)
    for _ in range(_NEWTON_STEPS):
        mbar.expected_counts(-log_z, beta, energies, counts)
        excess = counts / scans - 1.0
        if np.max(np.abs(excess)) < 1e-9:
            break
        mbar.count_covariance(-log_z, beta, energies, stride, hessian)
        used = len(range(0, scans, stride))
        step = np.zeros(levels)
        step[1:] = np.linalg.lstsq(hessian[1:, 1:] / used, excess[1:], rcond=None)[0]
        log_z += np.clip(step, -2.0, 2.0)
    return log_z - log_z[0]


def _standard_error(beta: NDArray[np.float64], energies: Energies, log_z: NDArray[np.float64]) -> float:
    """Delta method: the error of the estimate is a sum over scans of a scalar series; see `block_error`."""
    from hpc_ds.infer.kernels import mbar

    scans, levels = energies.shape
    hessian = np.empty((levels, levels))
    stride = max(1, scans * levels // _HESSIAN_DRAWS)
    mbar.count_covariance(-log_z, beta, energies, stride, hessian)
    used = len(range(0, scans, stride))
    direction = np.zeros(levels)
    target = np.zeros(levels - 1)
    target[-1] = 1.0
    direction[1:] = np.linalg.lstsq(hessian[1:, 1:] / used, target, rcond=None)[0]
    series = np.empty(scans)
    mbar.influence(-log_z, beta, energies, direction, series)
    return block_error(series)


def block_error(series: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of a correlated series, from means of blocks.

    Blocks double in length from a 256th of the series on while more than 32 remain; the largest of the errors that
    they give counts, as blocks that are too short to be independent give too small a one.
    """
    blocks = min(_MOST_BLOCKS, len(series) // 2)
    error = 0.0
    while blocks >= 2:
        means = series[: len(series) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
        error = max(error, float(means.std(ddof=1) / np.sqrt(blocks)))
        if blocks <= 2 * _FEWEST_BLOCKS:
            break
        blocks //= 2
    return error


def _log_mean_exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = values.max(axis=0)
    return largest + np.log(np.mean(np.exp(values - largest), axis=0))
