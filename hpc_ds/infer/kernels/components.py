"""State of a sum of components under compiled moves: y = sum_c coefficient_c shape_c(x) + noise.

A move changes one component; only that component's shape is evaluated again, and only where it differs from zero.
Within a scan the residual follows the moves by differences; at its end `settle_residual` sums it anew over the
components in their order. After a scan all that is cached is thus a pure function of the parameters: nothing
drifts, and a state restored from its parameters alone continues bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.kernels import vector
from hpc_ds.infer.kernels.priors import draw_u, log_density, to_x
from hpc_ds.infer.kernels.vector import BLOCK
from hpc_ds.runtime.compiled import compiled, inlined

KNOWN, ESTIMATED, POISSON = 0, 1, 2
"""Noise: standard deviation given at each point; one unknown standard deviation; counts."""

GAUSSIAN_PRECISION, GAUSSIAN, LORENTZIAN, PSEUDO_VOIGT, CONSTANT, SLOPE, EXPONENTIAL = range(7)
"""Kinds of components; the first four are peaks: (amplitude, position, width[, mixing])."""

_FOUR_LN2 = 4.0 * np.log(2.0)
_NEGLIGIBLE = 36.0  # exp(-36) = 2e-16: a Gaussian below this fraction of its height is taken as zero
_LARGEST_FALL = 1e-4  # of chi square in one move by differences: the residual then keeps 14 digits


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
    trial_theta: NDArray[np.float64]  # (parameters,) scratch
    trial_shape: NDArray[np.float64]  # (padded,) scratch
    trial_residual: NDArray[np.float64]  # (padded,) scratch
    scratch: NDArray[np.float64]  # (7 padded,) scratch of `hpc_ds.infer.kernels.guided`


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
        trial_theta=np.zeros(problem.family.size),
        trial_shape=np.zeros(padded),
        trial_residual=np.zeros(padded),
        scratch=np.zeros(7 * padded),
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
        low, high, start, stop = prepare(problem, state, r, c, theta)
        _store_shape(state, r, c, low, high, start, stop)
    settle_residual(problem, state, r)


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


@inlined
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


@inlined
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


@inlined
def shape_parameters(kind):
    """Number of parameters of a kind of component beside its coefficient."""
    if kind <= LORENTZIAN:
        return 2
    if kind == PSEUDO_VOIGT:
        return 3
    if kind == EXPONENTIAL:
        return 1
    return 0


@inlined
def gaussian_decay(kind, width):
    """Decay of exp(-decay z^2) from the width parameter: a precision, or a full width at half maximum."""
    if kind == GAUSSIAN_PRECISION:
        return 0.5 * width
    return _FOUR_LN2 / (width * width)


@inlined
def _first_block_ending_above(x, value):
    low, high = 0, x.size // BLOCK
    while low < high:
        middle = (low + high) // 2
        if x[middle * BLOCK + BLOCK - 1] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _first_block_beginning_above(x, value):
    low, high = 0, x.size // BLOCK
    while low < high:
        middle = (low + high) // 2
        if x[middle * BLOCK] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
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


@inlined
def log_likelihood_of(problem, statistic, theta):
    """Log-likelihood from the statistic and, where the noise is estimated, its standard deviation."""
    if problem.likelihood == KNOWN:
        return problem.offset - 0.5 * statistic
    if problem.likelihood == POISSON:
        return problem.offset + statistic
    sigma = theta[problem.noise]
    return problem.offset - problem.points * np.log(sigma) - 0.5 * statistic / (sigma * sigma)


@inlined
def is_quadratic(problem):
    """Whether the statistic is a chi square that is quadratic in every coefficient."""
    return problem.likelihood != POISSON and problem.shirley < 0


@inlined
def trial_statistic(problem, state, r, c, theta, start, stop):
    """Statistic of replica r if component c had the parameters `theta` and the shape trial_shape[start:stop].

    [start, stop) covers the old and the new window of the component, and trial_shape is zero where only the old is.
    The residual that goes with it is left in trial_residual[start:stop].
    """
    first, shape = problem.first[c], state.shape[r, c]
    old, new = state.theta[r, first], theta[first]
    residual, trial = state.residual[r], state.trial_residual
    if not is_quadratic(problem):
        vector.copy(residual, trial)
    change = vector.replace(
        residual[start:stop],
        problem.weight[start:stop],
        shape[start:stop],
        old,
        state.trial_shape[start:stop],
        new,
        trial[start:stop],
    )
    if is_quadratic(problem):
        return state.statistic[r] + change
    return whole_statistic(problem, trial, theta)


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


@inlined
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


@inlined
def accept_component(problem, state, r, c, theta, statistic, low, high, start, stop):
    """Make `theta`, trial_shape and trial_residual those of replica r, where component c moved; see `prepare`."""
    vector.copy(theta, state.theta[r])
    _store_shape(state, r, c, low, high, start, stop)
    vector.copy(state.trial_residual[start:stop], state.residual[r, start:stop])
    _follow(problem, state, r, statistic)


@inlined
def accept_coefficient(problem, state, r, c, value, statistic):
    """Give component c of replica r another coefficient, with which the statistic is this."""
    low, high = state.window[r, c]
    change = value - state.theta[r, problem.first[c]]
    state.theta[r, problem.first[c]] = value
    vector.subtract(state.residual[r, low:high], change, state.shape[r, c, low:high])
    _follow(problem, state, r, statistic)


@inlined
def exchange_components(problem, state, r, a, b):
    """Give component a of replica r the parameters of b and the other way round: their sum stays what it is."""
    for k in range(shape_parameters(problem.kind[a]) + 1):
        i, j = problem.first[a] + k, problem.first[b] + k
        state.theta[r, i], state.theta[r, j] = state.theta[r, j], state.theta[r, i]
    start, stop = (
        min(state.window[r, a, 0], state.window[r, b, 0]),
        max(state.window[r, a, 1], state.window[r, b, 1]),
    )
    vector.exchange(state.shape[r, a, start:stop], state.shape[r, b, start:stop])
    vector.exchange(state.window[r, a], state.window[r, b])


@compiled
def settle_residual(problem, state, r):
    """Sum the residual of replica r anew over its components, and what depends on it."""
    residual, theta = state.residual[r], state.theta[r]
    vector.copy(problem.y, residual)
    for c in range(problem.kind.size):
        low, high = state.window[r, c]
        vector.subtract(residual[low:high], theta[problem.first[c]], state.shape[r, c, low:high])
    state.statistic[r] = whole_statistic(problem, residual, theta)
    state.log_likelihood[r] = log_likelihood_of(problem, state.statistic[r], theta)


@inlined
def _follow(problem, state, r, statistic):
    """Take over the statistic of an accepted move; where it fell so far that digits are lost, sum anew."""
    if not is_quadratic(problem) or not statistic > _LARGEST_FALL * state.statistic[r]:
        settle_residual(problem, state, r)
    else:
        state.statistic[r] = statistic
        state.log_likelihood[r] = log_likelihood_of(problem, statistic, state.theta[r])


@inlined
def _store_shape(state, r, c, low, high, start, stop):
    vector.copy(state.trial_shape[start:stop], state.shape[r, c, start:stop])
    state.window[r, c, 0] = low
    state.window[r, c, 1] = high
