"""Compiled sums of the multistate Bennett acceptance ratio for tempered likelihoods."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_ds.infer.kernels.vector import exp_negative

SUMS = {"contract", "reassoc", "nsz"}


@njit(cache=True, fastmath=SUMS)
def occupation(log_weight, beta, log_likelihood, p):
    """Write to p the probability that a draw of this log-likelihood came from each level.

    p_k is proportional to exp(log_weight_k + beta_k log_likelihood), log_weight_k = log N_k - log Z_k.
    """
    largest = -np.inf
    for k in range(beta.size):
        p[k] = log_weight[k] + beta[k] * log_likelihood
        largest = max(largest, p[k])
    total = 0.0
    for k in range(beta.size):
        p[k] = exp_negative(p[k] - largest)
        total += p[k]
    scale = 1.0 / total
    for k in range(beta.size):
        p[k] *= scale


@njit(cache=True)
def expected_counts(log_weight, beta, energies, counts):
    """Sum of occupation probabilities over all draws `energies` (scans, levels), by level."""
    p = np.empty(beta.size)
    counts[:] = 0.0
    for t in range(energies.shape[0]):
        for level in range(energies.shape[1]):
            occupation(log_weight, beta, energies[t, level], p)
            counts += p


@njit(cache=True)
def count_covariance(log_weight, beta, energies, stride, matrix):
    """Sum over every stride-th scan of diag(p) - p p': the derivative of `expected_counts`."""
    p = np.empty(beta.size)
    matrix[:] = 0.0
    for t in range(0, energies.shape[0], stride):
        for level in range(energies.shape[1]):
            occupation(log_weight, beta, energies[t, level], p)
            for j in range(beta.size):
                if p[j] < 1e-12:
                    continue
                matrix[j, j] += p[j]
                for k in range(beta.size):
                    matrix[j, k] -= p[j] * p[k]


@njit(cache=True)
def influence(log_weight, beta, energies, direction, series):
    """Series over scans of direction . (sum over levels of p - 1): what each scan adds to the estimate's error."""
    p = np.empty(beta.size)
    for t in range(energies.shape[0]):
        total = 0.0
        for level in range(energies.shape[1]):
            occupation(log_weight, beta, energies[t, level], p)
            for k in range(beta.size):
                total += direction[k] * p[k]
        series[t] = total - np.sum(direction)
