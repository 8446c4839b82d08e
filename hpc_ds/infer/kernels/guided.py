"""Where a peak could stand: proposals of a peak's place, width and height from what the others leave of the data.

A proposal for one peak looks at the other components and the data, never at the peak itself: its density can be
computed for the way back as well, and a Metropolis-Hastings step with it is exact. The law: a table of cells, octaves
of the width times stretches of x, each weighted by what a box of that width would gain there in likelihood (a matched
filter from running sums); uniform within a cell; then the amplitude from its conditional law.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.kernels.components import (
    ESTIMATED,
    GAUSSIAN_PRECISION,
    POISSON,
    PSEUDO_VOIGT,
    evaluate,
    in_order,
    window_of,
)
from hpc_ds.infer.kernels.priors import draw_u, log_density, to_x
from hpc_ds.infer.kernels.vector import exp_negative, projections
from hpc_ds.infer.priors import FIXED
from hpc_ds.runtime.compiled import compiled, inlined
from hpc_ds.runtime.philox import normal, uniform

_FLAT = 0.05  # share of proposals that take any cell: what is proposed must be possible from everywhere
_TEMPER = (
    0.5  # of the gain in log-likelihood: a box is not the peak, and the law must be wider than the posterior
)
_LOG_2 = 0.6931471805599453
_EIGHT_LN2 = 5.545177444479562


class Table(NamedTuple):
    """What one proposal is made from: views of scratch memory."""

    residual: NDArray[np.float64]  # (padded,) data less all other components
    weight: NDArray[np.float64]  # (padded,) 1 / variance of a point
    weights: NDArray[np.float64]  # (padded,) running sum of weight
    moments: NDArray[np.float64]  # (padded,) running sum of weight * residual
    cells: NDArray[np.float64]  # (3 padded,) relative probability of each cell


@compiled
def propose_peak(problem, state, r, c, beta, scale, trial):
    """Write another peak c to `trial`, which holds a copy of the parameters of replica r.

    Returns the change of log prior plus log q(back) - log q(there); minus infinity where there is no way.
    """
    first, theta = problem.first[c], state.theta[r]
    for j in range(first, first + 3):
        if problem.family[j] == FIXED:
            return -np.inf
    table = _table(problem, state)
    _fill(problem, state, r, c, table)
    total = _fill_cells(problem, beta, c, table)
    back = _log_place(problem, table, total, c, theta)
    if back == -np.inf:
        return -np.inf
    mean, sd = _amplitude_law(problem, state, c, beta, scale, table, theta)
    back += _log_normal(theta[first], mean, sd)
    _draw_place(problem, table, total, c, trial, state.stream[r])
    mean, sd = _amplitude_law(problem, state, c, beta, scale, table, trial)
    trial[first] = mean + sd * normal(state.stream[r])
    there = _log_place(problem, table, total, c, trial) + _log_normal(trial[first], mean, sd)
    change = back - there
    for j in range(first, first + 3):
        if not in_order(problem.follows, problem.precedes, trial, j, trial[j]):
            return -np.inf
        change += log_density(problem.family[j], problem.prior[j], trial[j])
        change -= log_density(problem.family[j], problem.prior[j], theta[j])
    return change


@inlined
def _table(problem, state):
    length, scratch = problem.x.size, state.scratch
    return Table(
        scratch[:length],
        scratch[length : 2 * length],
        scratch[2 * length : 3 * length],
        scratch[3 * length : 4 * length],
        scratch[4 * length :],
    )


@compiled
def _fill(problem, state, r, c, table):
    """Compute what all but component c leave of the data, the points' weights, and their running sums."""
    amplitude, shape, residual = state.theta[r, problem.first[c]], state.shape[r, c], state.residual[r]
    inverse = 1.0
    if problem.likelihood == ESTIMATED:
        inverse = 1.0 / state.theta[r, problem.noise] ** 2
    for i in range(problem.x.size):
        table.residual[i] = residual[i] + amplitude * shape[i]
        table.weight[i] = inverse * problem.weight[i]
    if problem.likelihood == POISSON:
        for i in range(problem.points):
            table.weight[i] = 1.0 / max(problem.y[i], 1.0)
    if problem.shirley >= 0:
        _subtract_shirley(problem, state.theta[r], table.residual)
    weights, moments = 0.0, 0.0
    for i in range(problem.points):
        weights += table.weight[i]
        moments += table.weight[i] * table.residual[i]
        table.weights[i] = weights
        table.moments[i] = moments


@compiled
def _subtract_shirley(problem, theta, residual):
    """Subtract the Shirley background that the other peaks alone would have."""
    low, step, x, y = theta[problem.shirley], theta[problem.shirley + 1], problem.x, problem.y
    whole = 0.0
    for i in range(1, problem.points):
        whole += (x[i] - x[i - 1]) * (y[i] - residual[i] + y[i - 1] - residual[i - 1])
    slope = step / whole if whole > 0.0 else 0.0
    part, before = 0.0, y[0] - residual[0]
    residual[0] -= low
    for i in range(1, problem.points):
        value = y[i] - residual[i]
        part += (x[i] - x[i - 1]) * (value + before)
        residual[i] -= low + slope * part
        before = value


@inlined
def _spacing(problem):
    return (problem.x[problem.points - 1] - problem.x[0]) / (problem.points - 1)


@inlined
def _octaves(problem):
    """Number of octaves of the full width: the first from 2 to 4 spacings, the last reaches half the range."""
    octaves = 1
    while 4 << octaves < problem.points:
        octaves += 1
    return octaves


@inlined
def _cells_of(problem, octave):
    """Number of stretches of 2^octave spacings."""
    return ((problem.points - 2) >> octave) + 1


@inlined
def _parameter(problem, c, width):
    """The parameter that stands for a full width at half maximum: itself, or a precision."""
    return _EIGHT_LN2 / (width * width) if problem.kind[c] == GAUSSIAN_PRECISION else width


@inlined
def _full_width(problem, c, parameter):
    return np.sqrt(_EIGHT_LN2 / parameter) if problem.kind[c] == GAUSSIAN_PRECISION else parameter


@compiled
def _fill_cells(problem, beta, c, table):
    """Weigh every cell relative to the best; return the sum."""
    n, x, cell, largest = problem.points, problem.x, 0, -np.inf
    place, width = problem.first[c] + 1, problem.first[c] + 2
    for octave in range(_octaves(problem)):
        stride = 1 << octave
        parameter = _parameter(problem, c, _spacing(problem) * stride * 2.0 * np.sqrt(2.0))
        start = log_density(problem.family[width], problem.prior[width], parameter) + np.log(parameter)
        for i in range(0, n - 1, stride):
            stop = min(i + stride, n - 1)
            value = start + _TEMPER * beta * _gain(table, i - stride, i + 2 * stride, n)
            value += log_density(problem.family[place], problem.prior[place], 0.5 * (x[i] + x[stop]))
            table.cells[cell] = value
            largest = max(largest, value)
            cell += 1
    if largest == -np.inf:
        return 0.0
    total, cell = 0.0, 0
    for octave in range(_octaves(problem)):
        stride = 1 << octave
        for i in range(0, n - 1, stride):
            table.cells[cell] = (x[min(i + stride, n - 1)] - x[i]) * exp_negative(table.cells[cell] - largest)
            total += table.cells[cell]
            cell += 1
    return total


@inlined
def _gain(table, start, stop, n):
    """Log-likelihood that the best box on the points [start, stop) gains, if its height is positive."""
    last = min(stop, n) - 1
    moment, weight = table.moments[last], table.weights[last]
    if start > 0:
        moment -= table.moments[start - 1]
        weight -= table.weights[start - 1]
    if moment > 0.0 and weight > 0.0:
        return 0.5 * moment * moment / weight
    return 0.0


@compiled
def _all_cells(problem):
    cells = 0
    for octave in range(_octaves(problem)):
        cells += _cells_of(problem, octave)
    return cells


@compiled
def _log_place(problem, table, total, c, theta):
    """Log density of the proposal at the position and the width parameter of `theta`."""
    x, n, position, parameter = (
        problem.x,
        problem.points,
        theta[problem.first[c] + 1],
        theta[problem.first[c] + 2],
    )
    octave = int(np.floor(np.log2(_full_width(problem, c, parameter) / _spacing(problem)))) - 1
    if octave < 0 or octave >= _octaves(problem) or not x[0] <= position < x[n - 1]:
        return -np.inf
    index = (np.searchsorted(x[:n], position, side="right") - 1) >> octave
    cell = index
    for k in range(octave):
        cell += _cells_of(problem, k)
    low, high = x[index << octave], x[min((index + 1) << octave, n - 1)]
    share = _FLAT / _all_cells(problem)
    if total > 0.0:
        share += (1.0 - _FLAT) * table.cells[cell] / total
    density = np.log(share / ((high - low) * _LOG_2 * parameter))
    return density - _LOG_2 if problem.kind[c] == GAUSSIAN_PRECISION else density


@compiled
def _draw_place(problem, table, total, c, trial, stream):
    """Draw position and width parameter; the mixing of a pseudo-Voigt from its prior."""
    n, first, cells, cell = problem.points, problem.first[c], _all_cells(problem), 0
    if uniform(stream) < _FLAT or not total > 0.0:
        cell = min(int(cells * uniform(stream)), cells - 1)
    else:
        left = uniform(stream) * total - table.cells[0]
        while left >= 0.0 and cell < cells - 1:
            cell += 1
            left -= table.cells[cell]
    octave = 0
    while cell >= _cells_of(problem, octave):
        cell -= _cells_of(problem, octave)
        octave += 1
    low, high = problem.x[cell << octave], problem.x[min((cell + 1) << octave, n - 1)]
    trial[first + 1] = low + (high - low) * uniform(stream)
    width = 2.0 * _spacing(problem) * (1 << octave) * np.exp(_LOG_2 * uniform(stream))
    trial[first + 2] = _parameter(problem, c, width)
    if problem.kind[c] == PSEUDO_VOIGT and problem.family[first + 3] != FIXED:
        j = first + 3
        trial[j] = to_x(
            problem.family[j], problem.prior[j], draw_u(problem.family[j], problem.prior[j], stream)
        )


@compiled
def _amplitude_law(problem, state, c, beta, scale, table, theta):
    """Mean and standard deviation of the amplitude of a peak at `theta`, under a vague normal prior."""
    low, high = window_of(problem, c, theta)
    evaluate(problem, c, theta, low, high, state.trial_shape)
    along, norm = projections(table.residual[low:high], table.weight[low:high], state.trial_shape[low:high])
    precision = beta * norm + 1.0 / (scale * scale)
    return beta * along / precision, 1.0 / np.sqrt(precision)


@inlined
def _log_normal(value, mean, sd):
    """Log density of a normal law, less its constant."""
    return -0.5 * ((value - mean) / sd) ** 2 - np.log(sd)
