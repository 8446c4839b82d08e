"""Moves for any log-likelihood: propose into a trial row, have it evaluated, then decide.

The compiled and the batched sampler share the steps: one evaluates each trial at once in compiled code (`explore`),
the other collects the trials of a block of replicas (`hpc_ds.infer.explorers`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hpc_ds.infer.kernels.components import in_order, sort_groups
from hpc_ds.infer.kernels.exchange import exchange
from hpc_ds.infer.kernels.priors import draw_u, log_density, log_density_u, to_u, to_x
from hpc_ds.infer.kernels.vector import copy
from hpc_ds.infer.priors import FIXED
from hpc_ds.runtime.compiled import compiled
from hpc_ds.runtime.philox import exponential, normal, uniform

METROPOLIS, SLICE, BLOCK_MOVE = 0, 1, 2
"""Moves of a schedule."""

_SHRINKS = 200  # an interval halves about every second time: after 200 it is a point
_POINT = 1e-60  # an interval shorter than this is given up: there was no likelihood to begin with


class Priors(NamedTuple):
    """What moves need to know of the parameters."""

    family: NDArray[np.int64]  # (parameters,)
    prior: NDArray[np.float64]  # (parameters, 6)
    follows: NDArray[np.int64]  # (parameters,)
    precedes: NDArray[np.int64]  # (parameters,)


class Rows(NamedTuple):
    """Replicas of a rank, one a row; `theta`, `stream` and `log_likelihood` define them."""

    theta: NDArray[np.float64]  # (replicas, parameters)
    stream: NDArray[np.uint64]  # (replicas, 8)
    log_likelihood: NDArray[np.float64]  # (replicas,)
    trial: NDArray[np.float64]  # (replicas, parameters) scratch
    noise: NDArray[np.float64]  # (parameters,) scratch
    interval: NDArray[np.float64]  # (replicas, 2) scratch


@compiled
def draw_row(priors, theta, stream):
    """Replace the parameters by a fresh draw from the prior."""
    for j in range(theta.size):
        theta[j] = to_x(priors.family[j], priors.prior[j], draw_u(priors.family[j], priors.prior[j], stream))
    sort_groups(priors.follows, priors.precedes, theta)


@compiled
def log_prior(priors, theta):
    """Log density of the parameters, less the constant of ordered groups."""
    total = 0.0
    for j in range(theta.size):
        total += log_density(priors.family[j], priors.prior[j], theta[j])
    return total


@compiled
def coordinates(priors, theta, u):
    """Write the sampling coordinates of `theta` to `u`."""
    for j in range(theta.size):
        u[j] = to_u(priors.family[j], priors.prior[j], theta[j])


@compiled
def shift(priors, theta, trial, j, distance):
    """Move parameter j of the trial by this distance in its coordinate; return the change of log density there."""
    family, prior = priors.family[j], priors.prior[j]
    u = to_u(family, prior, theta[j])
    trial[j] = to_x(family, prior, u + distance)
    return log_density_u(family, prior, u + distance) - log_density_u(family, prior, u)


@compiled
def propose_one(priors, theta, trial, stream, step, j):
    """Random walk of parameter j; return the change of the log prior, minus infinity if it is impossible."""
    copy(theta, trial)
    change = shift(priors, theta, trial, j, step * normal(stream))
    if not in_order(priors.follows, priors.precedes, trial, j, trial[j]):
        return -np.inf
    return change


@compiled
def propose_block(priors, theta, trial, noise, stream, step, factor):
    """Random walk of all parameters by step * factor * normals, factor (D, D) lower triangular."""
    copy(theta, trial)
    for j in range(theta.size):
        noise[j] = normal(stream)
    change = 0.0
    for j in range(theta.size):
        if priors.family[j] == FIXED:
            continue
        distance = 0.0
        for k in range(j + 1):
            distance += factor[j, k] * noise[k]
        change += shift(priors, theta, trial, j, step * distance)
    for j in range(theta.size):
        if not in_order(priors.follows, priors.precedes, trial, j, trial[j]):
            return -np.inf
    return change


@compiled
def slice_start(stream, width, interval):
    """Place an interval of this width at random around distance 0; return the log height of the slice."""
    interval[0] = -width * uniform(stream)
    interval[1] = interval[0] + width
    return -exponential(stream)


@compiled
def slice_propose(priors, theta, trial, stream, interval, j):
    """Try a point of the interval; return the change of the log prior, minus infinity if it is impossible."""
    copy(theta, trial)
    distance = interval[0] + (interval[1] - interval[0]) * uniform(stream)
    change = shift(priors, theta, trial, j, distance)
    if distance < 0.0:  # should it be refused, the interval ends there
        interval[0] = distance
    else:
        interval[1] = distance
    if not in_order(priors.follows, priors.precedes, trial, j, trial[j]):
        return -np.inf
    return change


@compiled
def decide(theta, trial, log_likelihood, trial_log_likelihood, beta, change, stream):
    """Metropolis: make the trial the state with probability min(1, exp(beta difference + change))."""
    if change == -np.inf:
        return False
    log_ratio = beta * (trial_log_likelihood - log_likelihood) + change
    if log_ratio >= 0.0 or -exponential(stream) < log_ratio:
        copy(trial, theta)
        return True
    return False


@njit(cache=True)
def evaluate(function, data, rows):
    """Compute the log-likelihood of every row by the very code that explores: resumed runs go on to the last bit."""
    for r in range(rows.theta.shape[0]):
        rows.log_likelihood[r] = function(rows.theta[r], data)


@njit(cache=True)
def explore(function, data, priors, rows, schedule, tuning, counts, levels, sweeps):
    """Let each local replica make `sweeps` sweeps at its level; at beta = 0 it is drawn afresh from the prior."""
    for r in range(levels.size):
        if levels[r] == 0:
            draw_row(priors, rows.theta[r], rows.stream[r])
            rows.log_likelihood[r] = function(rows.theta[r], data)
            continue
        for _ in range(sweeps):
            for k in range(schedule.size):
                if schedule[k] == BLOCK_MOVE:
                    _block(function, data, priors, rows, tuning, counts, r, levels[r])
                    continue
                for j in range(priors.family.size):
                    if priors.family[j] == FIXED:
                        continue
                    if schedule[k] == METROPOLIS:
                        _metropolis(function, data, priors, rows, tuning, counts, r, levels[r], j)
                    else:
                        _slice(function, data, priors, rows, tuning, counts, r, levels[r], j)


@njit(cache=True)
def _metropolis(function, data, priors, rows, tuning, counts, r, level, j):
    theta, trial, stream = rows.theta[r], rows.trial[r], rows.stream[r]
    change = propose_one(priors, theta, trial, stream, tuning.step[level, j], j)
    _settle(function, data, rows, tuning, counts, r, level, j, change)


@njit(cache=True)
def _block(function, data, priors, rows, tuning, counts, r, level):
    theta, trial, stream, column = rows.theta[r], rows.trial[r], rows.stream[r], priors.family.size
    step, factor = tuning.step[level, column], tuning.factor[level]
    change = propose_block(priors, theta, trial, rows.noise, stream, step, factor)
    _settle(function, data, rows, tuning, counts, r, level, column, change)


@njit(cache=True)
def _settle(function, data, rows, tuning, counts, r, level, column, change):
    counts.tried[level, column] += 1
    if change == -np.inf:
        return
    new = function(rows.trial[r], data)
    if decide(
        rows.theta[r], rows.trial[r], rows.log_likelihood[r], new, tuning.beta[level], change, rows.stream[r]
    ):
        rows.log_likelihood[r] = new
        counts.accepted[level, column] += 1


@njit(cache=True)
def _slice(function, data, priors, rows, tuning, counts, r, level, j):
    theta, trial, stream, interval = rows.theta[r], rows.trial[r], rows.stream[r], rows.interval[r]
    height = slice_start(stream, 4.0 * tuning.step[level, j], interval)
    for _ in range(_SHRINKS):
        counts.tried[level, j] += 1
        change = slice_propose(priors, theta, trial, stream, interval, j)
        if change == -np.inf:
            continue
        new = function(trial, data)
        if tuning.beta[level] * (new - rows.log_likelihood[r]) + change >= height:
            copy(trial, theta)
            rows.log_likelihood[r] = new
            counts.accepted[level, j] += 1
            return


@njit(cache=True)
def run(function, data, priors, rows, schedule, tuning, counts, ladder, sweeps, energies, draws, log_priors):
    """Make one scan for each row of `energies`, all replicas being local; see `exchange.run`."""
    top = ladder.beta.size - 1
    for t in range(energies.shape[0]):
        explore(function, data, priors, rows, schedule, tuning, counts, ladder.level_of, sweeps)
        for level in range(top + 1):
            energies[t, level] = rows.log_likelihood[ladder.replica_at[level]]
        draws[t] = rows.theta[ladder.replica_at[top]]
        log_priors[t] = log_prior(priors, draws[t])
        exchange(ladder, rows.log_likelihood)


@njit(cache=True)
def propose_rows(priors, rows, tuning, move, j, levels, active, changes):
    """Propose move `move` (of parameter j) in every active row; `changes` (rows,) receives the log prior's change."""
    for r in range(levels.size):
        if not active[r]:
            copy(rows.theta[r], rows.trial[r])
        elif move == METROPOLIS:
            step = tuning.step[levels[r], j]
            changes[r] = propose_one(priors, rows.theta[r], rows.trial[r], rows.stream[r], step, j)
        elif move == BLOCK_MOVE:
            step, factor = tuning.step[levels[r], j], tuning.factor[levels[r]]
            changes[r] = propose_block(
                priors, rows.theta[r], rows.trial[r], rows.noise, rows.stream[r], step, factor
            )
        else:
            changes[r] = slice_propose(
                priors, rows.theta[r], rows.trial[r], rows.stream[r], rows.interval[r], j
            )
        if active[r] and changes[r] == -np.inf:
            copy(rows.theta[r], rows.trial[r])  # the likelihood is not asked about the impossible


@njit(cache=True)
def decide_rows(rows, tuning, counts, column, levels, active, changes, new):
    """Decide on the trials of `propose_rows` from their log-likelihoods `new` (rows,)."""
    for r in range(levels.size):
        if not active[r]:
            continue
        level = levels[r]
        counts.tried[level, column] += 1
        theta, trial, stream = rows.theta[r], rows.trial[r], rows.stream[r]
        if decide(theta, trial, rows.log_likelihood[r], new[r], tuning.beta[level], changes[r], stream):
            rows.log_likelihood[r] = new[r]
            counts.accepted[level, column] += 1


@njit(cache=True)
def start_slices(rows, tuning, j, levels, heights):
    """Begin a slice move of parameter j in every row not at beta = 0."""
    for r in range(levels.size):
        if levels[r] > 0:
            heights[r] = slice_start(rows.stream[r], 4.0 * tuning.step[levels[r], j], rows.interval[r])


@njit(cache=True)
def decide_slices(rows, tuning, counts, j, levels, active, changes, new, heights):
    """Accept the trials that lie in their slices and make those rows inactive, and those whose intervals vanished."""
    for r in range(levels.size):
        if not active[r]:
            continue
        level = levels[r]
        counts.tried[level, j] += 1
        if changes[r] != -np.inf and (
            tuning.beta[level] * (new[r] - rows.log_likelihood[r]) + changes[r] >= heights[r]
        ):
            copy(rows.trial[r], rows.theta[r])
            rows.log_likelihood[r] = new[r]
            counts.accepted[level, j] += 1
            active[r] = False
        elif rows.interval[r, 1] - rows.interval[r, 0] < _POINT:
            active[r] = False


@njit(cache=True)
def draw_rows(priors, rows, levels):
    """Draw the rows at beta = 0 afresh from the prior into their trials; return whether there is one."""
    found = False
    for r in range(levels.size):
        if levels[r] == 0:
            draw_row(priors, rows.theta[r], rows.stream[r])
            copy(rows.theta[r], rows.trial[r])
            found = True
    return found


@njit(cache=True)
def draw_all(priors, rows):
    """Draw every row from the prior."""
    for r in range(rows.theta.shape[0]):
        draw_row(priors, rows.theta[r], rows.stream[r])


@njit(cache=True)
def all_coordinates(priors, theta, u):
    """Sampling coordinates of every row."""
    for r in range(theta.shape[0]):
        coordinates(priors, theta[r], u[r])
