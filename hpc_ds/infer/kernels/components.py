"""State of a sum of components under compiled moves: y = sum_c coefficient_c shape_c(x) + noise.

A move changes one component; only that component's shape is evaluated again, and only where it differs from zero.
Whatever is cached (shapes, residual, block sums) is a pure function of the parameters: the residual of a window is
summed anew over its components in their order whenever a move is accepted, so nothing drifts, and a state
restored from its parameters alone continues bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.kernels import vector
from hpc_ds.infer.kernels.priors import draw_u, log_density, to_x
from hpc_ds.infer.kernels.vector import BLOCK
from hpc_ds.runtime.compiled import compiled

KNOWN, ESTIMATED, POISSON = 0, 1, 2
"""Noise: standard deviation given at each point; one unknown standard deviation; counts."""

GAUSSIAN_PRECISION, GAUSSIAN, LORENTZIAN, PSEUDO_VOIGT, CONSTANT, SLOPE, EXPONENTIAL = range(7)
"""Kinds of components; the first four are peaks: (amplitude, position, width[, mixing])."""

_FOUR_LN2 = 4.0 * np.log(2.0)
_NEGLIGIBLE = 40.0  # exp(-40) = 4e-18: a Gaussian below this fraction of its height is taken as zero


class Problem(NamedTuple):
    """What stays the same during a run: data, components and priors (see `hpc_ds.infer.models.components`)."""

    x: NDArray[np.float64]  # (padded,) ascending; the last value repeated
    y: NDArray[np.float64]  # (padded,) zero beyond the points
    weight: NDArray[np.float64]  # (padded,) 1 / sigma^2, or 1; zero beyond the points
    points: int
    centre: float  # where SLOPE is zero
    offset: float  # what the log-likelihood has beside the terms computed here
    likelihood: int
    noise: int  # parameter that is the noise's standard deviation, or -1
    shirley: int  # first of the two parameters (low, step) of a Shirley background, or -1
    kind: NDArray[np.int64]  # (components,)
    first: NDArray[np.int64]  # (components,) the parameter that is the coefficient; the shape's follow it
    owner: NDArray[np.int64]  # (parameters,) component, or -1
    family: NDArray[np.int64]  # (parameters,)
    prior: NDArray[np.float64]  # (parameters, 6)
    follows: NDArray[np.int64]  # (parameters,) the parameter that must not be larger, or -1
    precedes: NDArray[np.int64]  # (parameters,) the parameter that must not be smaller, or -1


class State(NamedTuple):
    """Replicas and what is cached of them; `theta` and `stream` alone define it."""

    theta: NDArray[np.float64]  # (replicas, parameters)
    stream: NDArray[np.uint64]  # (replicas, 8)
    log_likelihood: NDArray[np.float64]  # (replicas,)
    statistic: NDArray[np.float64]  # (replicas,) chi square, or the Poisson sum
    shape: NDArray[np.float64]  # (replicas, components, padded)
    window: NDArray[np.int64]  # (replicas, components, 2)
    residual: NDArray[np.float64]  # (replicas, padded)
    block: NDArray[np.float64]  # (replicas, blocks) chi square of each block
    trial_theta: NDArray[np.float64]  # (parameters,) scratch
    trial_shape: NDArray[np.float64]  # (padded,) scratch
    trial_residual: NDArray[np.float64]  # (padded,) scratch


def new_state(problem: Problem, theta: NDArray[np.float64], stream: NDArray[np.uint64]) -> State:
    """Return the state of replicas at `theta` (replicas, parameters) with the random streams (replicas, 8)."""
    replicas, padded, components = len(theta), problem.x.size, problem.kind.size
    state = State(
        theta=np.array(theta, dtype=np.float64),
        stream=np.array(stream, dtype=np.uint64),
        log_likelihood=np.zeros(replicas),
        statistic=np.zeros(replicas),
        shape=np.zeros((replicas, components, padded)),
        window=np.zeros((replicas, components, 2), dtype=np.int64),
        residual=np.zeros((replicas, padded)),
        block=np.zeros((replicas, padded // BLOCK)),
        trial_theta=np.zeros(problem.family.size),
        trial_shape=np.zeros(padded),
        trial_residual=np.zeros(padded),
    )
    refresh_all(problem, state)
    return state


@compiled
def refresh_all(problem, state):
    """Compute everything cached from the parameters, for every replica."""
    for r in range(state.theta.shape[0]):
        refresh(problem, state, r)


@compiled
def refresh(problem, state, r):
    """Compute everything cached of replica r from its parameters."""
    theta = state.theta[r]
    for c in range(problem.kind.size):
        low, high = window_of(problem, c, theta)
        evaluate(problem, c, theta, low, high, state.trial_shape)
        _store_shape(state, r, c, low, high)
    _refresh_residual(problem, state, r, 0, problem.x.size)


@compiled
def draw_from_prior(problem, state, r):
    """Replace the parameters of replica r by a fresh draw from the prior."""
    theta = state.theta[r]
    stream = state.stream[r]
    for j in range(theta.size):
        theta[j] = to_x(
            problem.family[j], problem.prior[j], draw_u(problem.family[j], problem.prior[j], stream)
        )
    sort_groups(problem.follows, problem.precedes, theta)
    refresh(problem, state, r)


@compiled
def sort_groups(follows, precedes, theta):
    """Sort each ordered group of parameters in place: exact draws of its prior from independent ones."""
    for start in range(theta.size):
        if follows[start] >= 0 or precedes[start] < 0:
            continue
        last = precedes[start]
        while last >= 0:  # insertion sort along the chain of the group
            value = theta[last]
            j = last
            while follows[j] >= 0 and theta[follows[j]] > value:
                theta[j] = theta[follows[j]]
                j = follows[j]
            theta[j] = value
            last = precedes[last]


@compiled
def in_order(follows, precedes, theta, j, value):
    """Whether parameter j may take this value beside its neighbours in an ordered group."""
    if follows[j] >= 0 and theta[follows[j]] > value:
        return False
    return not (precedes[j] >= 0 and theta[precedes[j]] < value)


@compiled
def log_prior(problem, theta):
    """Log density of the parameters, less the constant log(m!) of ordered groups."""
    total = 0.0
    for j in range(theta.size):
        total += log_density(problem.family[j], problem.prior[j], theta[j])
    return total


@compiled
def window_of(problem, c, theta):
    """Points [low, high), whole blocks, outside which component c is zero."""
    kind = problem.kind[c]
    if kind > GAUSSIAN:
        return 0, problem.x.size
    position = theta[problem.first[c] + 1]
    reach = np.sqrt(_NEGLIGIBLE / gaussian_decay(kind, theta[problem.first[c] + 2]))
    low = _first_block_ending_above(problem.x, position - reach)
    high = _first_block_beginning_above(problem.x, position + reach)
    return low * BLOCK, max(low, high) * BLOCK


@compiled
def shape_parameters(kind):
    """Number of parameters of a kind of component beside its coefficient."""
    if kind <= LORENTZIAN:
        return 2
    if kind == PSEUDO_VOIGT:
        return 3
    if kind == EXPONENTIAL:
        return 1
    return 0


@compiled
def gaussian_decay(kind, width):
    """Decay of exp(-decay z^2) from the width parameter: a precision, or a full width at half maximum."""
    if kind == GAUSSIAN_PRECISION:
        return 0.5 * width
    return _FOUR_LN2 / (width * width)


@compiled
def _first_block_ending_above(x, value):
    low, high = 0, x.size // BLOCK
    while low < high:
        middle = (low + high) // 2
        if x[middle * BLOCK + BLOCK - 1] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _first_block_beginning_above(x, value):
    low, high = 0, x.size // BLOCK
    while low < high:
        middle = (low + high) // 2
        if x[middle * BLOCK] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def evaluate(problem, c, theta, low, high, out):
    """Write the shape of component c, without its coefficient, to out[low:high]."""
    x, into, first, kind = problem.x[low:high], out[low:high], problem.first[c], problem.kind[c]
    if kind <= GAUSSIAN:
        vector.gaussian_shape(x, theta[first + 1], gaussian_decay(kind, theta[first + 2]), into)
    elif kind == LORENTZIAN:
        vector.lorentzian_shape(x, theta[first + 1], theta[first + 2], into)
    elif kind == PSEUDO_VOIGT:
        vector.pseudo_voigt_shape(x, theta[first + 1], theta[first + 2], theta[first + 3], into)
    elif kind == CONSTANT:
        into[:] = 1.0
    elif kind == SLOPE:
        for i in range(x.size):
            into[i] = x[i] - problem.centre
    else:
        vector.exponential_shape(x, problem.x[0], theta[first + 1], into)


@compiled
def log_likelihood_of(problem, statistic, theta):
    """Log-likelihood from the statistic and, where the noise is estimated, its standard deviation."""
    if problem.likelihood == KNOWN:
        return problem.offset - 0.5 * statistic
    if problem.likelihood == POISSON:
        return problem.offset + statistic
    sigma = theta[problem.noise]
    return problem.offset - problem.points * np.log(sigma) - 0.5 * statistic / (sigma * sigma)


@compiled
def is_quadratic(problem):
    """Whether the statistic is a chi square that is quadratic in every coefficient."""
    return problem.likelihood != POISSON and problem.shirley < 0


@compiled
def trial_statistic(problem, state, r, c, theta, low, high):
    """Statistic of replica r if component c had the parameters `theta` and the shape trial_shape[low:high].

    [low, high) covers the old and the new window of the component, and trial_shape is zero where only the old is.
    """
    first = problem.first[c]
    old, new = state.theta[r, first], theta[first]
    residual, shape = state.residual[r], state.shape[r, c]
    if is_quadratic(problem):
        return state.statistic[r] + vector.chi_square_change(
            residual[low:high],
            problem.weight[low:high],
            shape[low:high],
            old,
            state.trial_shape[low:high],
            new,
        )
    vector.copy(residual, state.trial_residual)
    vector.replace(
        residual[low:high],
        shape[low:high],
        old,
        state.trial_shape[low:high],
        new,
        state.trial_residual[low:high],
    )
    return whole_statistic(problem, state.trial_residual, theta)


@compiled
def whole_statistic(problem, residual, theta):
    """Statistic of a residual, from all points."""
    x, y, weight, points = problem.x, problem.y, problem.weight, problem.points
    j = problem.shirley
    if problem.likelihood == POISSON:
        if j < 0:
            return vector.poisson_log_likelihood(y, residual, weight)
        return vector.shirley_poisson_log_likelihood(x, y, residual, theta[j], theta[j + 1], points)
    if j < 0:
        return vector.chi_square(residual, weight)
    return vector.shirley_chi_square(x, y, residual, weight, theta[j], theta[j + 1], points)


@compiled
def prepare(problem, state, r, c, theta):
    """Evaluate component c at `theta` into trial_shape; return its window and the union with the present one."""
    low, high = window_of(problem, c, theta)
    evaluate(problem, c, theta, low, high, state.trial_shape)
    old_low, old_high = state.window[r, c]
    if old_low >= old_high:
        return low, high, low, high
    if low >= high:
        state.trial_shape[old_low:old_high] = 0.0
        return low, high, old_low, old_high
    start, stop = min(low, old_low), max(high, old_high)
    state.trial_shape[start:low] = 0.0
    state.trial_shape[high:stop] = 0.0
    return low, high, start, stop


@compiled
def accept_component(problem, state, r, c, theta, low, high, start, stop):
    """Make trial_shape and `theta` those of component c of replica r; [start, stop) is what changes."""
    vector.copy(theta, state.theta[r])
    _store_shape(state, r, c, low, high)
    _refresh_residual(problem, state, r, start, stop)


@compiled
def accept_coefficient(problem, state, r, c, value):
    """Give component c of replica r another coefficient."""
    state.theta[r, problem.first[c]] = value
    low, high = state.window[r, c]
    _refresh_residual(problem, state, r, low, high)


@compiled
def _store_shape(state, r, c, low, high):
    shape = state.shape[r, c]
    old_low, old_high = state.window[r, c]
    shape[old_low:old_high] = 0.0
    vector.copy(state.trial_shape[low:high], shape[low:high])
    state.window[r, c, 0] = low
    state.window[r, c, 1] = high


@compiled
def _refresh_residual(problem, state, r, start, stop):
    residual = state.residual[r]
    theta = state.theta[r]
    vector.copy(problem.y[start:stop], residual[start:stop])
    for c in range(problem.kind.size):
        low = max(start, state.window[r, c, 0])
        high = min(stop, state.window[r, c, 1])
        if low < high:
            vector.subtract(residual[low:high], theta[problem.first[c]], state.shape[r, c, low:high])
    if is_quadratic(problem):
        block = state.block[r]
        for b in range(start // BLOCK, stop // BLOCK):
            block[b] = vector.chi_square(
                residual[b * BLOCK : (b + 1) * BLOCK], problem.weight[b * BLOCK : (b + 1) * BLOCK]
            )
        total = 0.0
        for b in range(block.size):
            total += block[b]
        state.statistic[r] = total
    else:
        state.statistic[r] = whole_statistic(problem, residual, theta)
    state.log_likelihood[r] = log_likelihood_of(problem, state.statistic[r], theta)
