"""Every move of sums of components leaves prior * likelihood^beta invariant, and a wrong one is found out.

The test is exact (modified Geweke test: Bouchard-Cote et al. 2022; Geweke 2004): parameters from the prior, data
given them, a few moves given the data; then the parameters have the law of the prior again.

At beta < 1 the data are drawn with variance / beta, which is the tempered likelihood, normalised. Where the noise
sigma is a parameter, that normalisation is sigma^(n (1 - beta)): the lognormal prior of sigma times it is
lognormal again, its mu shifted by n (1 - beta) sd^2, and that is the law to be kept.
"""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from hpc_ds.infer import priors as laws
from hpc_ds.infer.kernels import components, moves
from hpc_ds.infer.kernels.components import ESTIMATED, POISSON
from hpc_ds.infer.kernels.moves import (
    CONDITIONAL,
    METROPOLIS,
    PEAK,
    PERMUTE,
    RELOCATE,
    SLICE,
    Counts,
    Tuning,
    offer,
    position_scale,
    sweep,
    width_of,
)
from hpc_ds.infer.kernels.priors import log_density, log_density_u, to_u, to_x
from hpc_ds.infer.kernels.vector import copy
from hpc_ds.runtime.philox import exponential, new_streams, normal, uniform

REPETITIONS = 6_000
SWEEPS = 10
LEAST_P = 1e-4  # of a configuration, after Bonferroni; the seeds are fixed
POINTS = 56  # two blocks, the second one not full
NOISE_MU, NOISE_SD = -0.5, 0.3

# shape, number of peaks, background, noise, beta, ordered
METROPOLIS_CASES = [
    ("gaussian_precision", 2, "none", "known", 1.0, False),
    ("gaussian", 3, "linear", "known", 0.3, True),
    ("lorentzian", 1, "exponential", "estimated", 0.4, False),
    ("pseudo_voigt", 2, "shirley", "known", 1.0, True),
    ("pseudo_voigt", 1, "shirley", "estimated", 0.1, False),
    ("gaussian", 2, "constant", "poisson", 1.0, True),
    ("lorentzian", 1, "linear", "poisson", 1.0, False),
    ("gaussian", 1, "shirley", "poisson", 1.0, False),
]
CONDITIONAL_CASES = [
    ("gaussian_precision", 2, "none", "known", 1.0, False),
    ("gaussian", 2, "linear", "known", 0.02, True),
    ("lorentzian", 1, "exponential", "estimated", 0.4, False),
    ("pseudo_voigt", 2, "constant", "estimated", 1.0, False),
    ("gaussian", 1, "shirley", "estimated", 0.3, False),
]
PEAK_CASES = [
    ("gaussian_precision", 2, "none", "known", 0.05, True),
    ("gaussian", 2, "linear", "known", 0.01, False),
    ("lorentzian", 2, "exponential", "estimated", 0.1, True),
    ("pseudo_voigt", 1, "shirley", "known", 1.0, False),
    ("gaussian_precision", 1, "constant", "poisson", 1.0, False),
]
RELOCATE_CASES = [(*case[:4], min(case[4], 0.1), case[5]) if case[3] != "poisson" else case for case in PEAK_CASES]
CASES = {
    "metropolis": (METROPOLIS, METROPOLIS_CASES),
    "slice": (SLICE, METROPOLIS_CASES),
    "conditional": (CONDITIONAL, CONDITIONAL_CASES),
    "peak": (PEAK, PEAK_CASES),
    "relocate": (RELOCATE, RELOCATE_CASES),
    "permute": (PERMUTE, [case for case in PEAK_CASES if case[1] > 1]),
}
ALL_MOVES = (CONDITIONAL, METROPOLIS, PEAK, RELOCATE, PERMUTE, SLICE)


@pytest.mark.parametrize(
    ("move", "case"), [(move, case) for move, (_, cases) in CASES.items() for case in cases], ids=str
)
def test_move_keeps_the_prior(make_spectrum, move, case):
    assert p_value(make_spectrum, sweep, (CASES[move][0],), case) > LEAST_P


@pytest.mark.parametrize("case", METROPOLIS_CASES, ids=str)
def test_all_moves_in_turn_keep_the_prior(make_spectrum, case):
    assert p_value(make_spectrum, sweep, ALL_MOVES, case, repetitions=4_000, sweeps=5) > LEAST_P


@pytest.mark.parametrize(
    "case", [("gaussian", 1, "linear", "known", 1e-3, False), ("gaussian", 1, "linear", "estimated", 1e-3, False)], ids=str
)
def test_conditional_keeps_the_prior_however_small_its_first_interval(make_spectrum, case):
    """Stepping out is limited; the slices here are longer than that."""
    wide = {"amplitude": laws.normal(2.0, 1.0), "noise": laws.lognormal(-0.5, 0.1)}
    assert p_value(make_spectrum, sweep, (CONDITIONAL,), case, priors=wide, scale=0.004) > LEAST_P


def test_peaks_of_unlike_priors_are_exchanged_rightly(make_spectrum):
    unlike = {"position[1]": laws.normal(1.0, 0.5), "amplitude[2]": laws.exponential(1.0)}
    case = ("gaussian", 2, "none", "known", 0.5, False)
    assert p_value(make_spectrum, sweep, (PERMUTE,), case, priors=unlike) > LEAST_P


def test_fixed_parameters_stay_and_the_others_keep_the_prior(make_spectrum):
    known = {"position[1]": laws.fixed(1.0), "amplitude[2]": laws.fixed(2.0), "background_slope": laws.fixed(0.5)}
    case = ("gaussian", 2, "linear", "known", 0.5, False)
    assert p_value(make_spectrum, sweep, ALL_MOVES, case, priors=known) > LEAST_P


@pytest.mark.parametrize("wrong", range(5), ids=lambda wrong: WRONG[wrong])
def test_wrong_move_is_found_out(make_spectrum, wrong):
    case = ("gaussian_precision", 2, "none", "known", 0.05, True)
    assert p_value(make_spectrum, wrong_sweep, (wrong,), case, sweeps=30) < 1e-3 * LEAST_P


def test_fresh_draws_of_ordered_positions_are_sorted_independent_draws(make_spectrum):
    case = ("gaussian", 3, "none", "known", 1.0, True)
    spectrum, _, _ = setting(make_spectrum, case, {}, 0.0)
    found = records(sweep, (), spectrum, spectrum.problem, 1.0, 0, 20_000, 1)
    law = stats.norm(1.5, 0.4)
    for k in range(3):
        position = found[:, 3 * k + 1]
        assert stats.kstest(stats.beta(k + 1, 3 - k).cdf(law.cdf(position)), "uniform").pvalue > LEAST_P


# ---- the harness -------------------------------------------------------------------------------------------


def p_value(make_spectrum, move, schedule, case, *, priors=None, scale=1.0, repetitions=REPETITIONS, sweeps=SWEEPS):
    """Smallest p-value, corrected for their number, of parameters and functions of them before and after."""
    beta = case[4]
    spectrum, drawing, tuning_scale = setting(make_spectrum, case, priors or {}, beta)
    exact = records(move, (), spectrum, drawing, beta, 0, 2 * repetitions, seed=1)
    moved = records(move, schedule, spectrum, drawing, beta, sweeps, repetitions, seed=2, scale=scale * tuning_scale)
    free = exact.std(axis=0) > 0.0
    assert np.array_equal(moved[:, ~free], np.broadcast_to(exact[0, ~free], moved[:, ~free].shape))
    p = [stats.ks_2samp(a, b, method="asymp").pvalue for a, b in zip(exact[:, free].T, moved[:, free].T)]
    return min(p) * len(p)


def setting(make_spectrum, case, priors, beta):
    """The spectrum, the problem from whose prior its parameters are drawn, and the spread of its priors."""
    shape, peaks, background, noise, _, ordered = case
    x = np.linspace(0.0, 3.0, POINTS)
    sigma = 0.3 + 0.1 * x
    chosen = {"noise": laws.lognormal(NOISE_MU, NOISE_SD), **priors}
    mu, sd = chosen["noise"].arguments
    tempered = {**chosen, "noise": laws.lognormal(mu + POINTS * (1.0 - beta) * sd**2, sd)}
    options = {"sigma": sigma, "ordered": ordered}
    spectrum, drawing = (
        make_spectrum(shape, peaks, background, noise, x, np.zeros(POINTS), priors=each, **options)
        for each in (chosen, tempered)
    )
    drawing = drawing.problem._replace(y=spectrum.problem.y)  # one set of data for both
    rng = np.random.default_rng(0)
    spread = np.array([np.subtract(*np.percentile(law.sample(rng, 1000), [90, 10])) for law in spectrum.priors.values()])
    return spectrum, drawing, np.maximum(spread, 1e-300)


def records(move, schedule, spectrum, drawing, beta, sweeps, repetitions, seed, scale=None):
    problem, parameters = spectrum.problem, len(spectrum.priors)
    columns = parameters + moves.EXTRA_COLUMNS
    step = np.full((2, columns), 0.6)
    step[:, parameters:] = 1.0
    tuning = Tuning(np.array([0.0, beta]), step, np.ones(parameters) if scale is None else scale, np.zeros((2, 0, 0)))
    counts = Counts(np.zeros((2, columns), dtype=np.int64), np.zeros((2, columns), dtype=np.int64))
    stream = new_streams(np.array([[seed, 0], [seed, 1]], dtype=np.uint64))
    theta = np.array([[prior.sample(np.random.default_rng(0)) for prior in spectrum.priors.values()]])
    state = components.new_state(problem, theta, stream[:1])
    out = np.zeros((repetitions, parameters + 3))
    repeat(move, np.array(schedule, dtype=np.int64), problem, drawing, state, tuning, counts, sweeps, stream[1], out)
    if len(schedule) == 1 and schedule[0] not in (CONDITIONAL, PERMUTE) and move is sweep:
        assert counts.accepted.sum() > 0.02 * counts.tried.sum() > 0, "a test of a move that never moves shows nothing"
    return out


@njit
def repeat(move, schedule, problem, drawing, state, tuning, counts, sweeps, stream, out):
    beta = tuning.beta[1]
    for i in range(out.shape[0]):
        problem.y[:] = 0.0
        components.draw_from_prior(drawing, state, 0)
        measure(problem, state, beta, stream)
        components.refresh(problem, state, 0)
        for _ in range(sweeps):
            move(problem, state, schedule, tuning, counts, 0, 1)
        theta = state.theta[0]
        size = theta.size
        out[i, :size] = theta
        out[i, size] = state.log_likelihood[0]
        out[i, size + 1] = components.log_prior(drawing, theta)
        out[i, size + 2] = theta[0] * np.mean(problem.y)


@njit
def measure(problem, state, beta, stream):
    """Draw data given the parameters; the state's residual is minus the sum of components."""
    theta, n = state.theta[0], problem.points
    rise = 0.0
    for i in range(n):
        mean = -state.residual[0, i]
        if problem.shirley >= 0:
            mean += theta[problem.shirley] + theta[problem.shirley + 1] * rise
            if i + 1 < n:
                rise += trapezoid(problem.x, state.residual[0], i) / whole_area(problem.x, state.residual[0], n)
        if problem.likelihood == POISSON:
            problem.y[i] = poisson(mean, stream)
            continue
        sigma = theta[problem.noise] if problem.likelihood == ESTIMATED else problem.weight[i] ** -0.5
        problem.y[i] = mean + sigma / np.sqrt(beta) * normal(stream)


@njit
def trapezoid(x, residual, i):
    return -0.5 * (x[i + 1] - x[i]) * (residual[i] + residual[i + 1])


@njit
def whole_area(x, residual, n):
    total = 0.0
    for i in range(n - 1):
        total += trapezoid(x, residual, i)
    return total


@njit
def poisson(mean, stream):
    count, time = 0, exponential(stream)
    while time < mean:
        count += 1
        time += exponential(stream)
    return float(count)


# ---- moves that are wrong on purpose -----------------------------------------------------------------------

WRONG = [
    "jacobian forgotten",
    "proposal ratio forgotten",
    "temperature forgotten",
    "width of the interval follows the state",
    "order forgotten",
]


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
    trial[j] = to_x(family, prior, to_u(family, prior, theta[j]) + tuning.step[level, j] * normal(state.stream[r]))
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
        problem.family[j], problem.prior[j], moves.draw_u(problem.family[j], problem.prior[j], state.stream[r])
    )
    offer(problem, state, r, c, tuning.beta[level], 0.0, state.trial_theta)
