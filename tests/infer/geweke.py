"""The exact test of invariance of moves of sums of components; `conftest.py` hands it to the tests as a fixture.

Modified Geweke test (Bouchard-Cote et al. 2022; Geweke 2004): parameters from the prior, data given them, a few moves
given the data; then the parameters have the law of the prior again.

At beta < 1 the data are drawn with variance / beta, which is the tempered likelihood, normalised. Where the noise
sigma is a parameter, that normalisation is sigma^(n (1 - beta)): the lognormal prior of sigma times it is
lognormal again, its mu shifted by n (1 - beta) sd^2, and that is the law to be kept.
"""

import numpy as np
from numba import njit
from scipy import stats

from hpc_ds.infer import priors as laws
from hpc_ds.infer.kernels import components, moves
from hpc_ds.infer.kernels.components import ESTIMATED, POISSON
from hpc_ds.infer.kernels.moves import CONDITIONAL, PERMUTE, Counts, Tuning, sweep
from hpc_ds.runtime.philox import exponential, new_streams, normal

REPETITIONS = 6_000
SWEEPS = 10
POINTS = 56  # two blocks, the second one not full
NOISE_MU, NOISE_SD = -0.5, 0.3

make_spectrum = None  # the fixture of this name; conftest.py sets it


def p_value(move, schedule, case, *, priors=None, scale=1.0, repetitions=REPETITIONS, sweeps=SWEEPS):
    """Smallest p-value, corrected for their number, of parameters and functions of them before and after."""
    beta = case[4]
    spectrum, drawing, tuning_scale = setting(case, priors or {}, beta)
    exact = records(move, (), spectrum, drawing, beta, 0, 2 * repetitions, seed=1)
    moved = records(
        move, schedule, spectrum, drawing, beta, sweeps, repetitions, seed=2, scale=scale * tuning_scale
    )
    free = exact.std(axis=0) > 0.0
    assert np.array_equal(moved[:, ~free], np.broadcast_to(exact[0, ~free], moved[:, ~free].shape))
    p = [stats.ks_2samp(a, b, method="asymp").pvalue for a, b in zip(exact[:, free].T, moved[:, free].T)]
    return min(p) * len(p)


def setting(case, priors, beta):
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
    spread = np.array(
        [np.subtract(*np.percentile(law.sample(rng, 1000), [90, 10])) for law in spectrum.priors.values()]
    )
    return spectrum, drawing, np.maximum(spread, 1e-300)


def records(move, schedule, spectrum, drawing, beta, sweeps, repetitions, seed, scale=None):
    problem, parameters = spectrum.problem, len(spectrum.priors)
    columns = parameters + moves.EXTRA_COLUMNS
    step = np.full((2, columns), 0.6)
    step[:, parameters:] = 1.0
    tuning = Tuning(
        np.array([0.0, beta]), step, np.ones(parameters) if scale is None else scale, np.zeros((2, 0, 0))
    )
    counts = Counts(np.zeros((2, columns), dtype=np.int64), np.zeros((2, columns), dtype=np.int64))
    stream = new_streams(np.array([[seed, 0], [seed, 1]], dtype=np.uint64))
    theta = np.array([[prior.sample(np.random.default_rng(0)) for prior in spectrum.priors.values()]])
    state = components.new_state(problem, theta, stream[:1])
    out = np.zeros((repetitions, parameters + 3))
    repeat(
        move,
        np.array(schedule, dtype=np.int64),
        problem,
        drawing,
        state,
        tuning,
        counts,
        sweeps,
        stream[1],
        out,
    )
    if len(schedule) == 1 and schedule[0] not in (CONDITIONAL, PERMUTE) and move is sweep:
        assert counts.accepted.sum() > 0.02 * counts.tried.sum() > 0, (
            "a test of a move that never moves shows nothing"
        )
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
                rise += trapezoid(problem.x, state.residual[0], i) / whole_area(
                    problem.x, state.residual[0], n
                )
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
