"""The test of invariance finds out moves that are wrong on purpose: see geweke.py."""

import numpy as np
import pytest
from numba import njit

from hpc_ds.infer.kernels import components, moves
from hpc_ds.infer.kernels.moves import offer, position_scale, width_of
from hpc_ds.infer.kernels.priors import log_density, log_density_u, to_u, to_x
from hpc_ds.infer.kernels.vector import copy
from hpc_ds.runtime.philox import exponential, normal, uniform

WRONG = [
    "jacobian forgotten",
    "proposal ratio forgotten",
    "temperature forgotten",
    "width of the interval follows the state",
    "order forgotten",
]


@pytest.mark.parametrize("wrong", range(5), ids=lambda wrong: WRONG[wrong])
def test_wrong_move_is_found_out(geweke, wrong):
    case = ("gaussian_precision", 2, "none", "known", 0.05, True)
    assert geweke.p_value(wrong_sweep, (wrong,), case, sweeps=30) < 1e-7


@njit
def wrong_sweep(problem, state, schedule, tuning, counts, r, level):
    for k in range(schedule.size):
        if schedule[k] == 0:
            for j in range(problem.family.size):
                walk_without_jacobian(problem, state, tuning, r, level, j)
        elif schedule[k] == 1:
            for c in range(problem.kind.size):
                peak_without_proposal_ratio(problem, state, tuning, r, level, c)
        elif schedule[k] == 2:
            beta = tuning.beta[level]
            tuning.beta[level] = 1.0
            moves.conditional(problem, state, tuning, r, level, 0)
            tuning.beta[level] = beta
        elif schedule[k] == 3:
            for j in range(problem.family.size):
                slice_of_a_width_that_follows_the_state(problem, state, tuning, r, level, j)
        else:
            for c in range(problem.kind.size):
                relocate_without_order(problem, state, tuning, r, level, c)


@njit
def walk_without_jacobian(problem, state, tuning, r, level, j):
    """Random walk of log x with the densities of x."""
    theta, trial = state.theta[r], state.trial_theta
    family, prior = problem.family[j], problem.prior[j]
    copy(theta, trial)
    trial[j] = to_x(
        family, prior, to_u(family, prior, theta[j]) + tuning.step[level, j] * normal(state.stream[r])
    )
    change = log_density(family, prior, trial[j]) - log_density(family, prior, theta[j])
    offer(problem, state, r, problem.owner[j], tuning.beta[level], change, trial)


@njit
def peak_without_proposal_ratio(problem, state, tuning, r, level, c):
    """A position step that is proportional to the width's and amplitude's scale, which this move changes as well."""
    theta, trial, beta, stream = state.theta[r], state.trial_theta, tuning.beta[level], state.stream[r]
    copy(theta, trial)
    first = problem.first[c]
    scale = 2.0 * min(position_scale(problem, theta, c, beta) / width_of(problem, theta, c), 1.0)
    change = 0.0
    for j in range(first, first + 3):
        family, prior = problem.family[j], problem.prior[j]
        d = scale * normal(stream)
        if j == first + 1:
            trial[j] = theta[j] + d * width_of(problem, theta, c)
        else:
            trial[j] = theta[j] * np.exp(d)
            change += d
        change += log_density(family, prior, trial[j]) - log_density(family, prior, theta[j])
        if not components.in_order(problem.follows, problem.precedes, theta, j, trial[j]):
            return
    offer(problem, state, r, c, beta, change, trial)


@njit
def slice_of_a_width_that_follows_the_state(problem, state, tuning, r, level, j):
    """Slice sampling whose first interval is as wide as the parameter is large."""
    theta, trial, stream = state.theta[r], state.trial_theta, state.stream[r]
    family, prior = problem.family[j], problem.prior[j]
    u = to_u(family, prior, theta[j])
    height, width = -exponential(stream), tuning.step[level, j] * abs(theta[j])
    left = -width * uniform(stream)
    right = left + width
    for _ in range(200):
        distance = left + (right - left) * uniform(stream)
        copy(theta, trial)
        trial[j] = to_x(family, prior, u + distance)
        change = log_density_u(family, prior, u + distance) - log_density_u(family, prior, u)
        if components.in_order(problem.follows, problem.precedes, theta, j, trial[j]) and moves.settle(
            problem, state, r, problem.owner[j], tuning.beta[level], change, trial, height
        ):
            return
        if distance < 0.0:
            left = distance
        else:
            right = distance


@njit
def relocate_without_order(problem, state, tuning, r, level, c):
    copy(state.theta[r], state.trial_theta)
    j = problem.first[c] + 1
    state.trial_theta[j] = to_x(
        problem.family[j],
        problem.prior[j],
        moves.draw_u(problem.family[j], problem.prior[j], state.stream[r]),
    )
    offer(problem, state, r, c, tuning.beta[level], 0.0, state.trial_theta)
