"""The ladder of inverse temperatures against paths whose communication barrier is known."""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from hpc_ds.infer import ladder as ladders

# Gaussian path: reference N(0, 1 / t0) in d dimensions, log-likelihood -(t1 - t0) |x|^2 / 2. At beta it is N(0, 1 / t)
# with t = t0 + beta (t1 - t0), |x|^2 = chi^2_d / t, and the local barrier E|l - l'| / 2 is (t1 - t0) g / (4 t) with
# g = E|chi^2_d - chi'^2_d| = 2 d Gamma((d + 1) / 2) / (sqrt(pi) Gamma(d / 2 + 1)); hence
# Lambda(beta) = g / 4 log(t / t0). (Syed et al., JRSS-B 84 (2022) 321, equations 14 to 16.)
ELEVEN = np.linspace(0.0, 1.0, 11)
DRAWS = 40_000


def gaussian_barrier(beta, d, t0, t1):
    g = 2.0 * d * special.gamma((d + 1) / 2) / (math.sqrt(math.pi) * special.gamma(d / 2 + 1))
    return 0.25 * g * np.log1p(beta * (t1 - t0) / t0)


def gaussian_draws(beta, d, t0, t1, draws=DRAWS, seed=0):
    """Exact independent log-likelihoods (draws, levels)."""
    squares = np.random.default_rng(seed).chisquare(d, size=(draws, len(beta)))
    return -0.5 * (t1 - t0) * squares / (t0 + beta * (t1 - t0))


def mean_rejection(beta, energies):
    log_ratio = np.diff(beta) * (energies[:, :-1] - energies[:, 1:])
    return np.mean(1.0 - np.exp(np.minimum(log_ratio, 0.0)), axis=0)


def test_gini_mean_difference_of_the_derivation():
    """One degree of freedom: E|z^2 - z'^2| = E|z - z'| E|z + z'| = 4 / pi."""
    assert gaussian_barrier(math.e - 1.0, 1, 1.0, 2.0) == pytest.approx(1.0 / math.pi)
    law = stats.chi2(4)
    g, _ = integrate.quad(lambda v: 2.0 * law.cdf(v) * law.sf(v), 0.0, np.inf)
    assert gaussian_barrier(math.e - 1.0, 4, 1.0, 2.0) == pytest.approx(0.25 * g)


@pytest.mark.parametrize(("d", "t1"), [(1, 10.0), (2, 3.0), (5, 5.0)])
def test_cumulative_barrier_of_the_gaussian_path_at_eleven_inverse_temperatures(d, t1):
    fine = np.concatenate([[0.0], np.geomspace(0.002, 1.0, 41)])
    beta = np.union1d(fine, ELEVEN)
    rejection = mean_rejection(beta, gaussian_draws(beta, d, 1.0, t1, draws=200_000))
    found = ladders.cumulative_barrier(rejection)[np.searchsorted(beta, ELEVEN)]
    assert np.abs(found - gaussian_barrier(ELEVEN, d, 1.0, t1)).max() < 0.01


@pytest.mark.parametrize("replicas", [6, 9, 14])
def test_equal_rejection_equalises(replicas):
    d, t0, t1 = 3, 1.0, 1000.0
    beta = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 12)])
    for seed in range(3):
        rejection = mean_rejection(beta, gaussian_draws(beta, d, t0, t1, seed=seed))
        beta = ladders.equal_rejection(beta, rejection, replicas)
        assert len(beta) == replicas and beta[0] == 0.0 and beta[-1] == 1.0
        assert np.all(np.diff(beta) > 0.0)
    rejection = mean_rejection(beta, gaussian_draws(beta, d, t0, t1, seed=9))
    assert rejection.max() - rejection.min() < 0.02


def test_equal_rejection_finds_the_analytic_schedule_of_the_gaussian_path():
    d, t0, t1, replicas = 2, 1.0, 100.0, 30
    beta = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 60)])
    found = ladders.equal_rejection(beta, mean_rejection(beta, gaussian_draws(beta, d, t0, t1)), replicas)
    exact = t0 / (t1 - t0) * np.expm1(np.linspace(0.0, math.log(t1 / t0), replicas))
    assert np.allclose(gaussian_barrier(found, d, t0, t1), gaussian_barrier(exact, d, t0, t1), atol=0.03)


@pytest.mark.parametrize("rejection", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
def test_equal_rejection_stays_a_ladder_whatever_was_measured(rejection):
    beta = np.array([0.0, 1e-6, 0.5, 1.0])
    for replicas in (2, 3, 4, 50):
        found = ladders.equal_rejection(beta, np.array(rejection), replicas)
        assert len(found) == replicas and found[0] == 0.0 and found[-1] == 1.0
        assert np.all(np.diff(found) > 0.0)


def test_first_ladder_begins_where_half_of_the_prior_draws_count():
    energies = gaussian_draws(np.zeros(1), 4, 1.0, 200.0, draws=4000)[:, 0]
    beta = ladders.initial_ladder(energies, None)
    weight = np.exp(beta[1] * (energies - energies.max()))
    assert weight.sum() ** 2 / (weight**2).sum() == pytest.approx(2000, rel=1e-6)
    assert beta[0] == 0.0 and beta[-1] == 1.0
    ratio = beta[2:] / beta[1:-1]
    assert np.allclose(ratio, ratio[0]) and ratio[0] <= 2.5


@pytest.mark.parametrize("replicas", [2, 3, 7, 40])
def test_first_ladder_has_as_many_levels_as_asked_for(replicas):
    for energies in (np.random.default_rng(0).normal(-1e5, 1e4, 200), np.zeros(50), np.full(50, -math.inf)):
        beta = ladders.initial_ladder(energies, replicas)
        assert len(beta) == replicas and beta[0] == 0.0 and beta[-1] == 1.0
        assert np.all(np.diff(beta) > 0.0)


@pytest.mark.parametrize(
    "energies",
    [np.full(64, -1e300), np.array([-math.inf] * 63 + [-5.0]), np.array([0.0, -1e308, -1e306, -math.inf])],
    ids=["alike and tiny", "one of them possible", "extreme"],
)
def test_first_ladder_of_odd_likelihoods_is_a_ladder(energies):
    beta = ladders.initial_ladder(energies, None)
    assert np.all(np.isfinite(beta)) and beta[0] == 0.0 and beta[-1] == 1.0
    assert np.all(np.diff(beta) > 0.0)


def test_new_levels_start_from_the_old_level_nearest_in_barrier():
    old = np.array([0.0, 0.01, 0.1, 1.0])
    rejection = np.array([0.2, 0.4, 0.4])
    assert list(ladders.nearest_levels(old, rejection, old)) == [0, 1, 2, 3]
    new = np.array([0.0, 0.004, 0.006, 0.05, 0.06, 0.5, 0.6, 1.0])
    assert list(ladders.nearest_levels(old, rejection, new)) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_number_of_replicas_grows_with_the_barrier():
    assert ladders.replicas_for(0.0) == ladders.replicas_for(0.5) == 4
    assert [ladders.replicas_for(barrier) for barrier in (2.0, 5.0, 7.2)] == [7, 16, 23]
    assert ladders.replicas_for(1e9) == ladders.MOST_REPLICAS


def test_round_trip_rates_of_theory():
    assert ladders.round_trip_rate(np.zeros(5)) == 0.5
    assert ladders.round_trip_rate(np.array([0.5, 0.5])) == pytest.approx(1.0 / 6.0)
    assert 0.0 < ladders.round_trip_rate(np.array([1.0, 0.5])) < 1e-8
    fine = np.full(100_000, 7.0 / 100_000)
    assert ladders.round_trip_rate(fine) == pytest.approx(ladders.round_trip_limit(7.0), rel=1e-4)
