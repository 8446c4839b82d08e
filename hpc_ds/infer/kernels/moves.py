"""Markov moves of one replica of a sum of components, each leaving prior * likelihood^beta invariant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.kernels.components import (
    ESTIMATED,
    PSEUDO_VOIGT,
    accept_coefficient,
    accept_component,
    exchange_components,
    in_order,
    is_quadratic,
    log_likelihood_of,
    prepare,
    shape_parameters,
    trial_statistic,
    whole_statistic,
)
from hpc_ds.infer.kernels.guided import propose_peak
from hpc_ds.infer.kernels.priors import draw_u, log_density, log_density_u, to_u, to_x
from hpc_ds.infer.kernels.scales import is_position, position_scale, width_of
from hpc_ds.infer.kernels.vector import copy, projections
from hpc_ds.infer.priors import FIXED
from hpc_ds.runtime.compiled import compiled, inlined
from hpc_ds.runtime.philox import exponential, integer, normal, uniform

METROPOLIS, CONDITIONAL, SLICE, PEAK, RELOCATE, PERMUTE, REBIRTH = range(7)
"""Moves of a schedule; see the functions of the same names."""

PEAK_COLUMN, RELOCATE_COLUMN, REBIRTH_COLUMN, EXTRA_COLUMNS = 0, 1, 2, 3
"""Columns, after those of the parameters, of the step sizes and counts of moves of whole components."""


_SHRINKS = 200  # an interval halves about every second time: after 200 it is a point
_STEPS = 200  # of stepping out, split between both sides at random: without that the limit would bias


class Tuning(NamedTuple):
    """What adaptation sets and moves read; frozen while samples are taken."""

    beta: NDArray[np.float64]  # (levels,) inverse temperatures, from 0 to 1
    step: NDArray[np.float64]  # (levels, parameters + EXTRA_COLUMNS)
    scale: NDArray[np.float64]  # (parameters,) spread of the prior
    factor: NDArray[np.float64]  # (levels, D, D) of block moves; (levels, 0, 0) where there are none


class Counts(NamedTuple):
    """Proposals made and accepted, by level and column."""

    tried: NDArray[np.int64]  # (levels, parameters + EXTRA_COLUMNS)
    accepted: NDArray[np.int64]


@compiled
def sweep(problem, state, schedule, tuning, counts, r, level):
    """Make the moves of the schedule, in its order, in replica r at this level."""
    for k in range(schedule.size):
        move = schedule[k]
        if move == METROPOLIS:
            for j in range(problem.family.size):
                if problem.family[j] != FIXED and not has_closed_form(problem, j):
                    metropolis(problem, state, tuning, counts, r, level, j)
        elif move == CONDITIONAL:
            for j in range(problem.family.size):
                if problem.family[j] != FIXED and has_closed_form(problem, j):
                    conditional(problem, state, tuning, r, level, j)
        elif move == SLICE:
            for j in range(problem.family.size):
                if problem.family[j] != FIXED:
                    slice_parameter(problem, state, tuning, counts, r, level, j)
        elif move == PEAK:
            for c in range(problem.kind.size):
                if problem.kind[c] <= PSEUDO_VOIGT:
                    peak(problem, state, tuning, counts, r, level, c)
        elif move == RELOCATE:
            relocate(problem, state, tuning, counts, r, level)
        elif move == PERMUTE:
            permute(problem, state, r)
        elif move == REBIRTH:
            rebirth(problem, state, tuning, counts, r, level)


@inlined
def has_closed_form(problem, j):
    """Whether the log-likelihood as a function of parameter j alone is known without another pass over the data."""
    if problem.likelihood == ESTIMATED and j == problem.noise:
        return True
    c = problem.owner[j]
    return c >= 0 and problem.first[c] == j and is_quadratic(problem)


@compiled
def metropolis(problem, state, tuning, counts, r, level, j):
    """Random walk of one parameter: positions in x, all others in the coordinate of their prior."""
    theta, trial, stream = state.theta[r], state.trial_theta, state.stream[r]
    family, prior, beta = problem.family[j], problem.prior[j], tuning.beta[level]
    copy(theta, trial)
    step = tuning.step[level, j] * normal(stream)
    if is_position(problem, j):
        trial[j] = theta[j] + step * position_scale(problem, theta, problem.owner[j], beta)
        change = log_density(family, prior, trial[j]) - log_density(family, prior, theta[j])
    else:
        u = to_u(family, prior, theta[j])
        trial[j] = to_x(family, prior, u + step)
        change = log_density_u(family, prior, u + step) - log_density_u(family, prior, u)
    counts.tried[level, j] += 1
    if change == -np.inf or not in_order(problem.follows, problem.precedes, theta, j, trial[j]):
        return
    if offer(problem, state, r, problem.owner[j], beta, change, trial):
        counts.accepted[level, j] += 1


@inlined
def offer(problem, state, r, c, beta, change, trial):
    """Accept or refuse `trial`, which differs in component c (-1: in none), with `change` of log prior + log q."""
    return settle(problem, state, r, c, beta, change, trial, -exponential(state.stream[r]))


@inlined
def settle(problem, state, r, c, beta, change, trial, height):
    """Make `trial` the state if its log density exceeds the present one's by at least `height`; never where NaN."""
    if c < 0:
        statistic = state.statistic[r]
        if problem.shirley >= 0:
            statistic = whole_statistic(problem, state.residual[r], trial)
        log_likelihood = log_likelihood_of(problem, statistic, trial)
        if not beta * (log_likelihood - state.log_likelihood[r]) + change >= height:
            return False
        copy(trial, state.theta[r])
        state.statistic[r] = statistic
        state.log_likelihood[r] = log_likelihood
        return True
    low, high, start, stop = prepare(problem, state, r, c, trial)
    statistic = trial_statistic(problem, state, r, c, trial, start, stop)
    log_likelihood = log_likelihood_of(problem, statistic, trial)
    if not beta * (log_likelihood - state.log_likelihood[r]) + change >= height:
        return False
    accept_component(problem, state, r, c, trial, statistic, low, high, start, stop)
    return True


@compiled
def slice_parameter(problem, state, tuning, counts, r, level, j):
    """Slice sampling of one parameter: an interval of four steps, shrunk until a point is in the slice."""
    theta, trial, stream = state.theta[r], state.trial_theta, state.stream[r]
    family, prior = problem.family[j], problem.prior[j]
    copy(theta, trial)
    u = to_u(family, prior, theta[j])
    present = log_density_u(family, prior, u)
    height = -exponential(stream)
    width = 4.0 * tuning.step[level, j]
    left = -width * uniform(stream)
    right = left + width
    for _ in range(_SHRINKS):
        distance = left + (right - left) * uniform(stream)
        trial[j] = to_x(family, prior, u + distance)
        counts.tried[level, j] += 1
        if in_order(problem.follows, problem.precedes, theta, j, trial[j]):
            change = log_density_u(family, prior, u + distance) - present
            if settle(problem, state, r, problem.owner[j], tuning.beta[level], change, trial, height):
                counts.accepted[level, j] += 1
                return
        if distance < 0.0:
            left = distance
        else:
            right = distance


@compiled
def conditional(problem, state, tuning, r, level, j):
    """Slice sampling (Neal 2003) of a parameter whose log-likelihood is known in closed form."""
    if j == problem.noise:
        _conditional_noise(problem, state, tuning, r, level, j)
    else:
        _conditional_coefficient(problem, state, tuning, r, level, j)


@compiled
def _conditional_coefficient(problem, state, tuning, r, level, j):
    theta, stream, c = state.theta[r], state.stream[r], problem.owner[j]
    family, prior, value = problem.family[j], problem.prior[j], theta[j]
    low, high = state.window[r, c]
    along, norm = projections(
        state.residual[r, low:high], problem.weight[low:high], state.shape[r, c, low:high]
    )
    tempered = tuning.beta[level]
    if problem.likelihood == ESTIMATED:
        tempered /= theta[problem.noise] ** 2
    width = min(tuning.scale[j], 3.0 / np.sqrt(tempered * norm + 1e-300))
    floor = log_density(family, prior, value) - exponential(stream)
    left = value - width * uniform(stream)
    right = left + width
    steps = integer(stream, _STEPS)
    for _ in range(steps):
        if not _coefficient_density(family, prior, left, value, tempered, along, norm) > floor:
            break
        left -= width
    for _ in range(_STEPS - 1 - steps):
        if not _coefficient_density(family, prior, right, value, tempered, along, norm) > floor:
            break
        right += width
    for _ in range(_SHRINKS):
        new = left + (right - left) * uniform(stream)
        if _coefficient_density(family, prior, new, value, tempered, along, norm) >= floor and in_order(
            problem.follows, problem.precedes, theta, j, new
        ):
            change = new - value
            statistic = state.statistic[r] + change * (norm * change - 2.0 * along)
            accept_coefficient(problem, state, r, c, new, statistic)
            return
        if new < value:
            left = new
        else:
            right = new


@inlined
def _coefficient_density(family, prior, new, old, tempered, along, norm):
    d = new - old
    return log_density(family, prior, new) + tempered * d * (along - 0.5 * norm * d)


@compiled
def _conditional_noise(problem, state, tuning, r, level, j):
    theta, stream = state.theta[r], state.stream[r]
    family, prior, beta = problem.family[j], problem.prior[j], tuning.beta[level]
    value = to_u(family, prior, theta[j])
    width = min(1.0, 3.0 / np.sqrt(2.0 * beta * problem.points + 1e-300))
    floor = _noise_density(problem, state, r, beta, family, prior, value) - exponential(stream)
    left = value - width * uniform(stream)
    right = left + width
    steps = integer(stream, _STEPS)
    for _ in range(steps):
        if not _noise_density(problem, state, r, beta, family, prior, left) > floor:
            break
        left -= width
    for _ in range(_STEPS - 1 - steps):
        if not _noise_density(problem, state, r, beta, family, prior, right) > floor:
            break
        right += width
    for _ in range(_SHRINKS):
        new = left + (right - left) * uniform(stream)
        if _noise_density(problem, state, r, beta, family, prior, new) >= floor:
            theta[j] = to_x(family, prior, new)
            state.log_likelihood[r] = log_likelihood_of(problem, state.statistic[r], theta)
            return
        if new < value:
            left = new
        else:
            right = new


@compiled
def _noise_density(problem, state, r, beta, family, prior, u):
    sigma = to_x(family, prior, u)
    if not sigma > 0.0:
        return -np.inf
    return log_density_u(family, prior, u) - beta * (
        problem.points * np.log(sigma) + 0.5 * state.statistic[r] / (sigma * sigma)
    )


@compiled
def peak(problem, state, tuning, counts, r, level, c):
    """Joint random walk of one peak's amplitude, position and width in units of their Fisher scale.

    (log a, mu / w, log w) move together by step / signal; the scale changes with a and w, hence the ratio of the
    two proposal densities.
    """
    theta, trial, stream, beta = state.theta[r], state.trial_theta, state.stream[r], tuning.beta[level]
    first = problem.first[c]
    column = problem.family.size + PEAK_COLUMN
    counts.tried[level, column] += 1
    size = tuning.step[level, column]
    old_scale = position_scale(problem, theta, c, beta) / width_of(problem, theta, c)
    old_scale = min(old_scale, 1.0)
    copy(theta, trial)
    d0, d1, d2 = normal(stream), normal(stream), normal(stream)
    change = 0.0
    for k in range(3):
        j = first + k
        family, prior = problem.family[j], problem.prior[j]
        if family == FIXED:
            return
        if k == 1:
            trial[j] = theta[j] + size * old_scale * d1 * width_of(problem, theta, c)
            change += log_density(family, prior, trial[j]) - log_density(family, prior, theta[j])
        else:
            factor = np.exp(size * old_scale * (d0 if k == 0 else d2))
            trial[j] = theta[j] * factor
            change += log_density(family, prior, trial[j]) - log_density(family, prior, theta[j])
            change += np.log(factor)
        if change == -np.inf or not in_order(problem.follows, problem.precedes, theta, j, trial[j]):
            return
    new_scale = min(position_scale(problem, trial, c, beta) / width_of(problem, trial, c), 1.0)
    back = old_scale / new_scale
    ratio = width_of(problem, theta, c) / width_of(problem, trial, c)
    squares = d0 * d0 + d2 * d2
    change += 0.5 * (squares + d1 * d1) - 0.5 * back * back * (squares + ratio * ratio * d1 * d1)
    change += 3.0 * np.log(back) + np.log(ratio)
    if offer(problem, state, r, c, beta, change, trial):
        counts.accepted[level, column] += 1


@compiled
def relocate(problem, state, tuning, counts, r, level):
    """Draw position, width and amplitude of one peak, taken at random, afresh from their priors."""
    c = integer(state.stream[r], problem.kind.size)
    if problem.kind[c] > PSEUDO_VOIGT:
        return
    trial, stream = state.trial_theta, state.stream[r]
    copy(state.theta[r], trial)
    column = problem.family.size + RELOCATE_COLUMN
    counts.tried[level, column] += 1
    for j in range(problem.first[c], problem.first[c] + 3):
        if problem.family[j] == FIXED:
            return
        trial[j] = to_x(
            problem.family[j], problem.prior[j], draw_u(problem.family[j], problem.prior[j], stream)
        )
        if not in_order(problem.follows, problem.precedes, trial, j, trial[j]):
            return
    if offer(problem, state, r, c, tuning.beta[level], 0.0, trial):
        counts.accepted[level, column] += 1


@compiled
def permute(problem, state, r):
    """Exchange the parameters of two like peaks: the likelihood is symmetric, their priors need not be."""
    stream, theta = state.stream[r], state.theta[r]
    a, b = integer(stream, problem.kind.size), integer(stream, problem.kind.size)
    if a == b or problem.kind[a] != problem.kind[b] or problem.kind[a] > PSEUDO_VOIGT:
        return
    trial = state.trial_theta
    copy(theta, trial)
    change = 0.0
    for k in range(shape_parameters(problem.kind[a]) + 1):
        i, j = problem.first[a] + k, problem.first[b] + k
        trial[i], trial[j] = theta[j], theta[i]
        change += log_density(problem.family[i], problem.prior[i], trial[i])
        change += log_density(problem.family[j], problem.prior[j], trial[j])
        change -= log_density(problem.family[i], problem.prior[i], theta[i])
        change -= log_density(problem.family[j], problem.prior[j], theta[j])
    for j in range(theta.size):
        if not in_order(problem.follows, problem.precedes, trial, j, trial[j]):
            return
    if change >= -exponential(stream):
        exchange_components(problem, state, r, a, b)


@compiled
def rebirth(problem, state, tuning, counts, r, level):
    """Take one peak away and put it where the others leave most of the data unexplained; see `propose_peak`.

    Made in about a quarter of the sweeps, as it costs as much as ten to thirty updates of one parameter.
    """
    stream = state.stream[r]
    c = integer(stream, 4 * problem.kind.size)
    if c >= problem.kind.size or problem.kind[c] > PSEUDO_VOIGT:
        return
    trial, beta = state.trial_theta, tuning.beta[level]
    copy(state.theta[r], trial)
    column = problem.family.size + REBIRTH_COLUMN
    counts.tried[level, column] += 1
    change = propose_peak(problem, state, r, c, beta, tuning.scale[problem.first[c]], trial)
    if change > -np.inf and offer(problem, state, r, c, beta, change, trial):
        counts.accepted[level, column] += 1
