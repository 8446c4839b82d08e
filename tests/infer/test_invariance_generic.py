"""Every move for any log-likelihood, in each form, leaves prior * likelihood^beta invariant; a wrong one is found out.

The exact test of test_invariance.py. Each row is a repetition with data of its own: its last parameter, which is
fixed and therefore never touched, says which row of the data belongs to it.
"""

import math

import numpy as np
import pytest
from numba import njit
from scipy import stats

from hpc_ds.infer import priors as laws
from hpc_ds.infer.explorers import BatchedExplorer, CompiledExplorer, make_explorer, priors_of
from hpc_ds.infer.kernels import generic
from hpc_ds.infer.kernels.moves import Counts, Tuning
from hpc_ds.infer.kernels.priors import log_density, to_u, to_x
from hpc_ds.infer.kernels.vector import copy
from hpc_ds.infer.model import Model
from hpc_ds.runtime.philox import new_streams, normal

BETA = 0.4
ROWS = 4_000
LEAST_P = 1e-4  # of a configuration, after Bonferroni; the seeds are fixed
SIGMA = (0.5, 1.0, 0.7)

PRIORS = {
    "normal": laws.normal(1.0, 2.0),
    "lognormal": laws.lognormal(0.0, 0.5),
    "gamma": laws.gamma(2.0, 1.5),
    "inverse_gamma": laws.inverse_gamma(3.0, 2.0),
    "uniform": laws.uniform(-2.0, 1.0),
    "log_uniform": laws.log_uniform(0.1, 10.0),
    "exponential": laws.exponential(0.5),
    "half_normal": laws.half_normal(2.0),
    "half_cauchy": laws.half_cauchy(1.0),
    "beta": laws.beta(0.7, 2.0),
    "truncated_normal": laws.truncated_normal(0.0, 1.0, -1.0, 2.0),
    "first": laws.normal(0.0, 1.0),
    "second": laws.normal(0.0, 1.0),
    "third": laws.normal(0.0, 1.0),
    "row": laws.fixed(0.0),
}


def log_likelihood(theta, data):
    """Three points: a sum, an alternating sum of bounded terms, and one that bends."""
    plain, bent, mixed = 0.0, 0.0, 0.0
    for j in range(theta.size - 1):
        term = theta[j] / (1.0 + 0.1 * abs(theta[j]))
        plain += term
        mixed += term if j % 2 == 0 else -term
        bent += math.cos(theta[j])
    row = int(theta[theta.size - 1])
    d0 = (data[row, 0] - 0.3 * plain) / 0.5
    d1 = (data[row, 1] - bent) / 1.0
    d2 = (data[row, 2] - 0.3 * mixed) / 0.7
    return -0.5 * (d0 * d0 + d1 * d1 + d2 * d2)


def batched_log_likelihood(theta, data):
    means = means_of(theta)
    rows = data[theta[:, -1].astype(int)]
    return -0.5 * np.sum(((rows - means) / SIGMA) ** 2, axis=1)


def means_of(theta):
    free = theta[:, :-1]
    term = free / (1.0 + 0.1 * np.abs(free))
    sign = np.where(np.arange(free.shape[1]) % 2 == 0, 1.0, -1.0)
    return np.stack(
        [0.3 * term.sum(axis=1), np.cos(free).sum(axis=1), 0.3 * (term * sign).sum(axis=1)], axis=1
    )


@pytest.mark.parametrize(
    "moves", [("metropolis",), ("slice",), ("block",), ("block", "slice", "metropolis")], ids=str
)
@pytest.mark.parametrize("form", ["compiled", "batched", "python"])
def test_move_keeps_the_prior(form, moves):
    rows = {"compiled": 4 * ROWS, "batched": ROWS, "python": ROWS // 4}[form]
    assert p_value(form, moves, rows) > LEAST_P


@pytest.mark.parametrize("form", ["compiled", "batched"])
def test_the_law_at_beta_zero_is_the_prior_itself(form):
    """A replica at level 0 is drawn afresh: it forgets where it was."""
    explorer = repetitions(form, ("metropolis",), 500, seed=3)
    explorer.theta[:, 0] = 100.0
    explorer.explore(tuning_of(explorer), counts_of(explorer), np.zeros(500, dtype=np.int64))
    assert stats.kstest(explorer.theta[:, 0], stats.norm(1.0, 2.0).cdf).pvalue > LEAST_P
    assert np.all(np.diff(explorer.theta[:, 11:14], axis=1) > 0.0)


@pytest.mark.parametrize("wrong", ["jacobian forgotten", "order forgotten", "temperature forgotten"])
def test_wrong_move_is_found_out(wrong):
    assert p_value("batched", (wrong,), ROWS) < 1e-3 * LEAST_P


def test_the_forms_of_a_likelihood_agree():
    explorers = [
        repetitions(form, ("metropolis",), 100, seed=1) for form in ("compiled", "batched", "python")
    ]
    assert type(explorers[0]) is CompiledExplorer and type(explorers[1]) is BatchedExplorer
    for other in explorers[1:]:
        assert np.allclose(other.log_likelihood, explorers[0].log_likelihood, rtol=1e-12, atol=1e-12)


# ---- the harness -------------------------------------------------------------------------------------------


def p_value(form, moves, rows):
    """Smallest p-value, corrected for their number, of the parameters and the log-likelihood before and after."""
    exact = repetitions("batched", ("metropolis",), 2 * rows, seed=1)
    known = ("metropolis", "slice", "block")
    explorer = repetitions(form, tuple(move for move in moves if move in known), rows, seed=2)
    explorer.sweeps = 40 if moves == ("block",) else 2
    tuning, counts = tuning_of(explorer), counts_of(explorer)
    if moves[0] in known:
        explorer.explore(tuning, counts, np.ones(rows, dtype=np.int64))
        assert counts.accepted[1].sum() > 0.05 * counts.tried[1].sum() > 0
    else:
        WRONG[moves[0]](explorer, tuning)
    explorer = make_explorer(explorer.model, 1, ("metropolis",), explorer.theta, explorer.stream)
    pairs = list(zip(exact.theta.T[:-1], explorer.theta.T[:-1]))
    pairs.append((exact.log_likelihood, explorer.log_likelihood))
    return min(stats.ks_2samp(a, b, method="asymp").pvalue for a, b in pairs) * len(pairs)


def repetitions(form, moves, rows, seed):
    """An explorer whose rows are draws of the prior, each with data drawn given them."""
    stream = new_streams(np.array([[seed, row] for row in range(rows)], dtype=np.uint64))
    shell = Model("shell", PRIORS, log_likelihood, ordered=[("first", "second", "third")])
    theta = np.zeros((rows, len(PRIORS)))
    empty = np.zeros((0, 0))
    generic.draw_all(priors_of(shell), generic.Rows(theta, stream, np.zeros(0), empty, np.zeros(0), empty))
    theta[:, -1] = np.arange(rows)
    noise = np.random.default_rng(seed).normal(size=(rows, 3)) * SIGMA / math.sqrt(BETA)
    function = batched_log_likelihood if form == "batched" else log_likelihood
    options = {"data": means_of(theta) + noise, "ordered": shell.ordered, "block": 256}
    model = Model("test", PRIORS, function, form=form, **options)
    return make_explorer(model, 2, moves, theta, stream)


def tuning_of(explorer):
    parameters = explorer.theta.shape[1]
    factor = np.tril(np.full((parameters, parameters), 0.05)) + 0.25 * np.eye(parameters)
    step = np.full((2, parameters + 1), 1.0)
    return Tuning(np.array([0.0, BETA]), step, np.ones(parameters), np.stack([factor, factor]))


def counts_of(explorer):
    shape = (2, explorer.theta.shape[1] + 1)
    return Counts(np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64))


# ---- moves that are wrong on purpose -----------------------------------------------------------------------


@njit
def walk_without_jacobian(priors, rows, j):
    """Random walk of parameter j in every row's coordinate, but with the densities of x."""
    changes = np.zeros(rows.theta.shape[0])
    for r in range(rows.theta.shape[0]):
        theta, trial, stream = rows.theta[r], rows.trial[r], rows.stream[r]
        copy(theta, trial)
        family, prior = priors.family[j], priors.prior[j]
        trial[j] = to_x(family, prior, to_u(family, prior, theta[j]) + normal(stream))
        changes[r] = log_density(family, prior, trial[j]) - log_density(family, prior, theta[j])
        if not generic.in_order(priors.follows, priors.precedes, trial, j, trial[j]):
            changes[r] = -np.inf
    return changes


def without_jacobian(explorer, tuning):
    everywhere = np.ones(len(explorer.theta), dtype=bool)
    levels = everywhere.astype(np.int64)
    for j in [*range(explorer.theta.shape[1] - 1)] * 3:
        changes = walk_without_jacobian(explorer._priors, explorer._rows, j)
        new = explorer._evaluate(everywhere).copy()
        generic.decide_rows(explorer._rows, tuning, counts_of(explorer), 0, levels, everywhere, changes, new)


def without_order(explorer, tuning):
    unordered = np.full(explorer.theta.shape[1], -1, dtype=np.int64)
    explorer._priors = explorer._priors._replace(follows=unordered, precedes=unordered)
    walk(explorer, tuning)


def without_temperature(explorer, tuning):
    tuning.beta[1] = 1.0
    walk(explorer, tuning)


def walk(explorer, tuning):
    explorer.schedule = np.array([generic.METROPOLIS])
    explorer.explore(tuning, counts_of(explorer), np.ones(len(explorer.theta), dtype=np.int64))


WRONG = {
    "jacobian forgotten": without_jacobian,
    "order forgotten": without_order,
    "temperature forgotten": without_temperature,
}
