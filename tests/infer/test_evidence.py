"""Estimates of the evidence from exact draws of paths whose normalising constants are known."""

import math

import numpy as np
import pytest
from scipy import special

from hpc_ds.infer.evidence import (
    block_error,
    estimate,
    multistate_ratio,
    stepping_stones,
    thermodynamic_integration,
)

LADDER = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 14)])
MEAN, SD = np.array([1.0, -2.0, 0.5]), 0.4


def gaussian_log_z(beta):
    """Prior N(0, 1), log-likelihood sum -(x - m)^2 / 2 s^2 - log(s sqrt(2 pi)): one factor for each dimension.

    The integral of N(x; 0, 1) exp(-beta (x - m)^2 / 2 s^2) is sqrt(v / (1 + v)) exp(-m^2 / 2 (1 + v)), v = s^2 / beta.
    """
    beta = np.maximum(np.asarray(beta, dtype=float), 1e-300)[:, None]
    v = SD**2 / beta
    factor = -0.5 * np.log1p(1.0 / v) - 0.5 * MEAN**2 / (1.0 + v) - beta * np.log(SD * np.sqrt(2.0 * np.pi))
    return factor.sum(axis=1)


def gaussian_energies(beta, normals):
    """Log-likelihoods of exact draws at each beta, made from standard normal numbers (scans, levels, dimensions)."""
    precision = beta[:, None] / SD**2
    x = precision * MEAN / (1.0 + precision) + normals / np.sqrt(1.0 + precision)
    return np.sum(-0.5 * ((x - MEAN) / SD) ** 2 - np.log(SD * np.sqrt(2.0 * np.pi)), axis=2)


def independent(scans, seed, beta=LADDER):
    return gaussian_energies(beta, np.random.default_rng(seed).normal(size=(scans, len(beta), len(MEAN))))


def correlated(scans, seed, memory, beta=LADDER):
    """Draws whose normals follow an AR(1) of this memory in each level, and replicas that wander between levels.

    Every scan the series of neighbouring levels are exchanged at random: the joint law at each time stays that of
    independent exact draws, but errors of different levels hang together as in replica exchange.
    """
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(len(beta), len(MEAN)))
    normals = np.empty((scans, *state.shape))
    for t in range(scans):
        state = memory * state + math.sqrt(1.0 - memory**2) * rng.normal(size=state.shape)
        hot = np.arange(t % 2, len(beta) - 1, 2)
        hot = hot[rng.random(len(hot)) < 0.5]
        state[hot], state[hot + 1] = state[hot + 1], state[hot]
        normals[t] = state
    return gaussian_energies(beta, normals)


def binomial_log_z(beta, n, y):
    """log Z(beta) of y ~ Bin(n, p1 p2), both uniform: the product has the density -log p."""
    choose = special.gammaln(n + 1) - special.gammaln(y + 1) - special.gammaln(n - y + 1)
    a, b = beta * y + 1.0, beta * (n - y) + 1.0
    return beta * choose + special.betaln(a, b) + np.log(special.digamma(beta * n + 2.0) - special.digamma(a))


def binomial_energies(beta, n, y, scans, seed):
    """Exact draws by inverting the distribution function of p = p1 p2 on a grid."""
    t = np.linspace(-40.0, 40.0, 400_001)  # logit p: the density has its mass far from both ends
    log_p, log_q = -np.logaddexp(0.0, -t), -np.logaddexp(0.0, t)
    energy = (
        special.gammaln(n + 1)
        - special.gammaln(y + 1)
        - special.gammaln(n - y + 1)
        + y * log_p
        + (n - y) * log_q
    )
    rng, columns = np.random.default_rng(seed), []
    for b in beta:
        density = np.exp(b * (energy - energy.max()) + log_p + log_q) * -log_p
        cumulative = np.cumsum(density)
        columns.append(np.interp(rng.random(scans), cumulative / cumulative[-1], energy))
    return np.stack(columns, axis=1)


def test_every_estimate_agrees_with_the_closed_form_of_a_gaussian_path():
    found = estimate(LADDER, independent(20_000, seed=1))
    exact = gaussian_log_z(LADDER)
    assert 0.001 < found.error < 0.02
    assert found.log_evidence == pytest.approx(exact[-1], abs=3.0 * found.error)
    assert found.log_evidence_at == pytest.approx(exact, abs=4.0 * found.error)
    assert found.stepping_stone_forward == pytest.approx(exact[-1], abs=5.0 * found.error)
    assert found.stepping_stone_backward == pytest.approx(exact[-1], abs=5.0 * found.error)
    assert found.free_energy == -found.log_evidence


@pytest.mark.parametrize(("n", "y"), [(10, 3), (100, 50), (1000, 2)])
def test_log_evidence_of_a_binomial_product_at_every_inverse_temperature(n, y):
    beta = np.concatenate([[0.0], np.geomspace(1e-2, 1.0, 9)])
    found = estimate(beta, binomial_energies(beta, n, y, 20_000, seed=n))
    exact = binomial_log_z(beta, n, y)
    assert found.log_evidence == pytest.approx(exact[-1], abs=3.0 * found.error)
    assert found.log_evidence_at == pytest.approx(exact, abs=5.0 * found.error)
    assert found.stepping_stone_forward == pytest.approx(exact[-1], abs=6.0 * found.error)


def test_multistate_ratio_is_better_than_stepping_stones():
    errors = np.array(
        [
            [one.log_evidence, one.stepping_stone_forward, one.stepping_stone_backward]
            for one in (estimate(LADDER, independent(300, seed)) for seed in range(60))
        ]
    )
    mbar, forward, backward = np.sqrt(np.mean((errors - gaussian_log_z(np.ones(1))) ** 2, axis=0))
    assert mbar < min(forward, backward)


def test_multistate_ratio_does_not_depend_on_where_it_begins():
    energies = independent(2_000, seed=5)
    forward, backward = stepping_stones(LADDER, energies)
    a, b, c = (multistate_ratio(LADDER, energies, start) for start in (forward, backward, 0.0 * forward))
    assert a == pytest.approx(b, abs=1e-7) and a == pytest.approx(c, abs=1e-7)


def test_multistate_ratio_of_two_levels_is_bennetts():
    """Bennett (1976): the root of the equal sums of Fermi functions, found here by bisection."""
    beta = np.array([0.0, 1.0])
    energies = np.random.default_rng(3).normal([-2.0, -0.5], 1.0, size=(500, 2))

    def excess(log_z):
        return np.sum(special.expit(energies.ravel() - log_z)) - 500.0

    low, high = -20.0, 20.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    assert estimate(beta, energies).log_evidence == pytest.approx(low, abs=1e-6)


@pytest.mark.parametrize("memory", [0.0, 0.7, 0.95])
def test_reported_error_is_the_spread_over_50_seeds(memory):
    """A spread of 50 values is itself known to 10 %; a standard error from 32 blocks to 13 %."""
    scans = {0.0: 400, 0.7: 1_000, 0.95: 3_000}[memory]
    found = [estimate(LADDER, correlated(scans, seed, memory)) for seed in range(50)]
    values = np.array([one.log_evidence for one in found])
    reported = np.array([one.error for one in found])
    spread = values.std(ddof=1)
    exact = gaussian_log_z(np.ones(1))[0]
    assert 0.75 * spread < np.sqrt(np.mean(reported**2)) < 1.5 * spread
    assert np.mean(np.abs(values - exact) < 3.0 * reported) >= 0.95
    assert 0.5 <= np.mean(np.abs(values - exact) < reported) <= 0.88
    assert abs(values.mean() - exact) < 4.0 * spread / math.sqrt(50)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.98])
def test_block_error_of_a_correlated_series_is_its_long_run_deviation(memory):
    """AR(1) with unit innovations: n times the variance of the mean tends to 1 / (1 - memory)^2."""
    n, found = 20_000, []
    for seed in range(40):
        steps = np.random.default_rng(seed).normal(size=n)
        series = np.empty(n)
        value = steps[0] / math.sqrt(1.0 - memory**2)
        for t in range(n):
            value = memory * value + steps[t]
            series[t] = value
        found.append(block_error(series))
    assert math.sqrt(np.mean(np.square(found))) == pytest.approx(
        1.0 / (1.0 - memory) / math.sqrt(n), rel=0.25
    )


def test_thermodynamic_integration_is_the_trapezoidal_rule():
    energies = np.array([[-4.0, -2.0, -1.0], [-6.0, -2.0, -1.0]])
    assert thermodynamic_integration(np.array([0.0, 0.5, 1.0]), energies) == pytest.approx(-2.5)


def test_thermodynamic_integration_has_no_answer_where_part_of_the_prior_is_impossible():
    energies = independent(500, seed=2)
    energies[::3, 0] = -math.inf
    found = estimate(LADDER, energies)
    assert found.thermodynamic_integration == -math.inf
    assert math.isfinite(found.log_evidence) and math.isfinite(found.stepping_stone_forward)


def test_adding_a_constant_to_the_log_likelihood_adds_it_to_the_log_evidence():
    energies = independent(500, seed=2)
    plain, shifted = estimate(LADDER, energies), estimate(LADDER, energies - 12345.0)
    assert shifted.log_evidence == pytest.approx(plain.log_evidence - 12345.0, abs=1e-7)
    assert shifted.error == pytest.approx(plain.error, rel=1e-5)


def test_a_part_of_the_prior_without_likelihood():
    """Likelihood 1 on a fraction f of the prior and 0 elsewhere: Z = f at every beta > 0."""
    beta, f = np.array([0.0, 0.3, 1.0]), 0.2
    energies = np.zeros((5_000, 3))
    energies[np.random.default_rng(4).random(5_000) > f, 0] = -math.inf
    found = estimate(beta, energies)
    share = np.mean(np.isfinite(energies[:, 0]))
    assert found.stepping_stone_forward == pytest.approx(math.log(share), abs=1e-12)
    assert found.log_evidence == pytest.approx(math.log(f), abs=4.0 * found.error)
    assert 0.0 < found.error < 0.1
    assert found.log_evidence_at[1] == pytest.approx(found.log_evidence, abs=1e-6)


def test_a_likelihood_that_is_constant_has_an_evidence_without_error():
    found = estimate(np.array([0.0, 0.5, 1.0]), np.full((50, 3), -7.25))
    assert found.log_evidence == pytest.approx(-7.25, abs=1e-9)
    assert found.stepping_stone_forward == found.stepping_stone_backward == pytest.approx(-7.25)
    assert found.error < 1e-9


@pytest.mark.parametrize("scans", [2, 3, 5])
def test_very_few_scans_give_finite_numbers(scans):
    found = estimate(np.array([0.0, 1.0]), np.random.default_rng(0).normal(-3.0, 1.0, size=(scans, 2)))
    assert all(math.isfinite(v) for v in (found.log_evidence, found.error, found.stepping_stone_backward))


@pytest.mark.parametrize("shape", [(1, 15), (10, 14), (10,)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="at least 2 scans, 15 levels"):
        estimate(LADDER, np.zeros(shape))
