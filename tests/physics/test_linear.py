"""Closed forms of linear models agree with quadrature, with the formulas written out and with simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.special import erf
from scipy.stats import multivariate_normal

from hpc_ds.physics.linear import (
    BoxPrior,
    GaussianPrior,
    NoClosedFormError,
    integrate,
    integration_free_energy,
    likelihood,
    log_evidence,
    noise_estimate,
    posterior,
    selection_probability,
)

N, SIGMA, A, B = 40, 0.6, 3.0, 2.0
BOX = BoxPrior(np.array([-A, -B]), np.array([A, B]))
WALLS = [
    (BOX, "far away"),
    (BoxPrior(np.array([-3.0, -2.0]), np.array([1.05, 0.4])), "on one side"),
    (BoxPrior(np.array([1.0, 0.25]), np.array([1.2, 0.35])), "on both sides"),
    (BoxPrior(np.array([1.5, -2.0]), np.array([3.0, -0.2])), "all in the tail"),
]


def line(
    seed: int = 0, n: int = N, sigma: float = SIGMA, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the design [x, 1] and y of y = 1.1 x + 0.3; x has zero mean unless shifted."""
    x = np.linspace(-1, 1, n) + shift
    noise = sigma * np.random.default_rng(seed).standard_normal(n)
    return np.column_stack([x, np.ones(n)]), 1.1 * x + 0.3 + noise


def by_quadrature(design, y, sigma, box, moment=lambda a, b: 1.0):
    """Integrate moment * likelihood over the box, in units of exp(-n), divided by its volume."""

    def integrand(b, a):
        residual = y - design @ np.array([a, b])
        log = -0.5 * (residual @ residual) / sigma**2 - 0.5 * len(y) * np.log(2 * np.pi * sigma**2)
        return moment(a, b) * np.exp(log + len(y))

    limits = (box.low[0], box.high[0], box.low[1], box.high[1])
    integral, _ = dblquad(integrand, *limits, epsabs=0, epsrel=1e-9)
    return integral / np.prod(box.high - box.low)


def narrowed(data, box, reach=9.0):
    """Return the part of the box where the posterior is, so that quadrature finds it."""
    deviation = np.sqrt(np.diag(data.covariance))
    low = np.maximum(box.low, np.minimum(data.estimate - reach * deviation, box.high - reach * deviation))
    high = np.minimum(box.high, np.maximum(data.estimate + reach * deviation, box.low + reach * deviation))
    return BoxPrior(low, high)


# Evidence and posterior under a box


@pytest.mark.parametrize("box", [box for box, _ in WALLS], ids=[name for _, name in WALLS])
def test_box_evidence_and_moments_match_quadrature(box):
    design, y = line()
    data = likelihood(design, y, SIGMA)
    near = narrowed(data, box)
    shrink = np.prod(near.high - near.low) / np.prod(box.high - box.low)
    mass = by_quadrature(design, y, SIGMA, near)
    assert log_evidence(data, box) == pytest.approx(np.log(mass * shrink) - N, abs=1e-8)
    mean, covariance = posterior(data, box)
    first = [by_quadrature(design, y, SIGMA, near, lambda a, b, i=i: (a, b)[i]) / mass for i in range(2)]
    assert mean == pytest.approx(first, abs=1e-7)
    for i in range(2):
        second = by_quadrature(design, y, SIGMA, near, lambda a, b, i=i: ((a, b)[i] - mean[i]) ** 2) / mass
        assert covariance[i, i] == pytest.approx(second, rel=1e-5)
    assert covariance[0, 1] == pytest.approx(0.0, abs=1e-15)


def test_wall_on_one_of_two_correlated_parameters_matches_quadrature():
    design, y = line(shift=0.8)
    data = likelihood(design, y, SIGMA)
    box = BoxPrior(np.array([-3.0, -2.0]), np.array([data.estimate[0] - 0.1, 4.0]))
    near = narrowed(data, box, reach=12.0)
    shrink = np.prod(near.high - near.low) / np.prod(box.high - box.low)
    mass = by_quadrature(design, y, SIGMA, near)
    assert log_evidence(data, box) == pytest.approx(np.log(mass * shrink) - N, abs=1e-8)
    mean, covariance = posterior(data, box)
    assert mean[1] == pytest.approx(by_quadrature(design, y, SIGMA, near, lambda a, b: b) / mass, abs=1e-7)

    def product(a, b):
        return (a - mean[0]) * (b - mean[1])

    assert covariance[0, 1] == pytest.approx(by_quadrature(design, y, SIGMA, near, product) / mass, rel=1e-5)


def test_walls_on_two_correlated_parameters_are_refused():
    design, y = line(shift=0.8)
    data = likelihood(design, y, SIGMA)
    box = BoxPrior(data.estimate - 0.1, data.estimate + 0.1)
    with pytest.raises(NoClosedFormError, match="correlated"):
        log_evidence(data, box)


def test_wall_that_pushes_a_correlated_parameter_to_another_wall_is_refused():
    design, y = line(shift=3.0)
    data = likelihood(design, y, SIGMA)
    deviation = np.sqrt(np.diag(data.covariance))
    box = BoxPrior(data.estimate + [7, -12] * deviation, data.estimate + [9, 12] * deviation)
    assert np.isfinite(log_evidence(data, box))
    tight = BoxPrior(data.estimate + [7, -8.5] * deviation, data.estimate + [9, 8.5] * deviation)
    with pytest.raises(NoClosedFormError, match="another wall"):
        log_evidence(data, tight)


def test_free_energies_match_the_formulas_written_out():
    """F1, F2 and their difference for y = a x and y = a x + b with mean(x) = 0, flat priors."""
    design, y = line()
    x = design[:, 0]
    s, a, b = np.mean(x**2), np.mean(x * y) / np.mean(x**2), np.mean(y)
    error = np.mean((y - a * x - b) ** 2) / 2
    s_a, s_b = SIGMA / np.sqrt(N * s), SIGMA / np.sqrt(N)
    cut_a = (erf((A - a) / (np.sqrt(2) * s_a)) + erf((A + a) / (np.sqrt(2) * s_a))) / 2
    cut_b = (erf((B - b) / (np.sqrt(2) * s_b)) + erf((B + b) / (np.sqrt(2) * s_b))) / 2
    common = N / 2 * np.log(2 * np.pi * SIGMA**2) + N * error / SIGMA**2
    common += np.log(2 * A) - np.log(2 * np.pi * s_a**2) / 2 - np.log(cut_a)
    f2 = common + np.log(2 * B) - np.log(2 * np.pi * s_b**2) / 2 - np.log(cut_b)
    f1 = common + N * b**2 / (2 * SIGMA**2)
    full, reduced = likelihood(design, y, SIGMA), likelihood(design[:, :1], y, SIGMA)
    assert -log_evidence(full, BOX) == pytest.approx(f2, abs=1e-10)
    assert -log_evidence(reduced, BoxPrior(-A, A)) == pytest.approx(f1, abs=1e-10)
    difference = N * b**2 / (2 * SIGMA**2) - np.log(2 * B) + np.log(2 * np.pi * SIGMA**2 / N) / 2
    assert f1 - f2 == pytest.approx(difference, abs=1e-10)


def test_posterior_in_a_wide_box_is_least_squares():
    design, y = line(shift=0.5)
    data = likelihood(design, y, SIGMA)
    mean, covariance = posterior(data, BoxPrior(np.full(2, -100.0), np.full(2, 100.0)))
    assert mean == pytest.approx(np.linalg.lstsq(design, y)[0], rel=1e-12)
    assert covariance == pytest.approx(np.linalg.inv(design.T @ design) * SIGMA**2, rel=1e-12)


def test_box_far_in_the_tail_keeps_its_digits():
    data = likelihood(np.ones((1, 1)), np.zeros(1), 1.0)
    from scipy.stats import norm

    for low, high in ((20.0, 21.0), (-21.0, -20.0)):
        assert log_evidence(data, BoxPrior(low, high)) == pytest.approx(norm.logsf(20.0), abs=1e-8)


def test_each_point_may_have_its_own_sigma():
    design, y = line()
    sigma = np.linspace(0.3, 0.9, N)
    data = likelihood(design, y, sigma)
    direct = multivariate_normal.logpdf(y, design @ data.estimate, np.diag(sigma**2))
    assert data.log_peak == pytest.approx(direct, abs=1e-9)
    assert data.precision == pytest.approx(design.T @ np.diag(sigma**-2.0) @ design, rel=1e-12)


# Gaussian prior


@pytest.mark.parametrize("p", [1, 5, 20])
def test_gaussian_prior_matches_the_marginal_law_of_y(p):
    rng = np.random.default_rng(p)
    design, y, sigma = rng.standard_normal((30, p)), rng.standard_normal(30), 0.4
    root = rng.standard_normal((p, p)) + 2 * np.eye(p)
    prior = GaussianPrior(rng.standard_normal(p), root @ root.T)
    marginal = design @ prior.covariance @ design.T + sigma**2 * np.eye(30)
    data = likelihood(design, y, sigma)
    assert log_evidence(data, prior) == pytest.approx(
        multivariate_normal.logpdf(y, design @ prior.mean, marginal), abs=1e-7
    )
    gain = prior.covariance @ design.T @ np.linalg.inv(marginal)
    mean, covariance = posterior(data, prior)
    assert mean == pytest.approx(prior.mean + gain @ (y - design @ prior.mean), abs=1e-8)
    assert covariance == pytest.approx(prior.covariance - gain @ design @ prior.covariance, abs=1e-8)


def test_gaussian_prior_works_with_more_parameters_than_points():
    rng = np.random.default_rng(1)
    design, y = rng.standard_normal((3, 6)), rng.standard_normal(3)
    data = likelihood(design, y, 0.5)
    expected = multivariate_normal.logpdf(y, np.zeros(3), design @ design.T + 0.25 * np.eye(3))
    assert log_evidence(data, GaussianPrior(np.zeros(6), np.ones(6))) == pytest.approx(expected, abs=1e-10)


# Model choice


def test_noise_estimate_has_the_greatest_evidence():
    design, y = line()
    best = noise_estimate(design, y)
    wide = BoxPrior(np.full(2, -50.0), np.full(2, 50.0))
    evidence = [log_evidence(likelihood(design, y, best * factor), wide) for factor in (0.999, 1.0, 1.001)]
    assert evidence[1] == max(evidence)


@pytest.mark.parametrize("intercept", [0.0, 0.15, 0.3])
def test_selection_probability_matches_simulation(intercept):
    """The rate over 10,000 draws of the noise, judged by the evidence itself, within 3 binomial errors."""
    design, _ = line()
    draws = 10_000
    rng = np.random.default_rng(7)
    y = design @ [1.1, intercept] + SIGMA * rng.standard_normal((draws, N))
    larger, smaller = BoxPrior(np.full(2, -10.0), np.full(2, 10.0)), BoxPrior(-10.0, 10.0)
    for sample in y[:500]:
        full, reduced = likelihood(design, sample, SIGMA), likelihood(design[:, :1], sample, SIGMA)
        by_evidence = log_evidence(full, larger) > log_evidence(reduced, smaller)
        by_formula = N * sample.mean() ** 2 / SIGMA**2 > 2 * np.log(20) - np.log(2 * np.pi * SIGMA**2 / N)
        assert by_evidence == by_formula
    chosen = np.mean(N * y.mean(axis=1) ** 2 / SIGMA**2 > 2 * np.log(20) - np.log(2 * np.pi * SIGMA**2 / N))
    p = selection_probability(design, SIGMA, intercept, 20.0)
    assert 0.002 < p < 0.7
    assert abs(chosen - p) < 3 * np.sqrt(p * (1 - p) / draws)


def test_selection_probability_of_two_correlated_regressors_matches_simulation():
    rng = np.random.default_rng(3)
    x = np.linspace(0, 1, 25)
    design, truth, sigma, draws = np.column_stack([np.ones(25), x, x**2]), np.array([0.6, -0.2]), 0.3, 4000
    larger, smaller = BoxPrior(np.full(3, -20.0), np.full(3, 20.0)), BoxPrior(-20.0, 20.0)
    count = 0
    for _ in range(draws):
        y = design @ np.concatenate([[1.0], truth]) + sigma * rng.standard_normal(25)
        full, reduced = likelihood(design, y, sigma), likelihood(design[:, :1], y, sigma)
        count += log_evidence(full, larger) > log_evidence(reduced, smaller)
    p = selection_probability(design, sigma, truth, 40.0)
    assert 0.02 < p < 0.98
    assert abs(count / draws - p) < 3 * np.sqrt(p * (1 - p) / draws)


def test_selection_is_certain_where_a_narrow_prior_costs_nothing():
    assert selection_probability(np.ones((1, 1)), 1.0, 0.0, 0.1) == 1.0


# Integration of measurements


def test_integrated_likelihood_is_that_of_all_points_together():
    (first, y1), (second, y2) = line(1), line(2, n=25, sigma=0.2, shift=0.4)
    joint = integrate([likelihood(first, y1, 0.6), likelihood(second, y2, 0.2)])
    sigma = np.concatenate([np.full(N, 0.6), np.full(25, 0.2)])
    together = likelihood(np.vstack([first, second]), np.concatenate([y1, y2]), sigma)
    assert joint.estimate == pytest.approx(together.estimate, rel=1e-12)
    assert joint.precision == pytest.approx(together.precision, rel=1e-12)
    assert joint.log_peak == pytest.approx(together.log_peak, abs=1e-9)


def test_integration_free_energy_matches_the_formula_written_out():
    """Sum over a and b of d^2 / 2v + log(2 pi v) / 2 - log(width), v the sum of the two variances."""
    (first, y1), (second, y2) = line(1), line(2, n=25, sigma=0.2)
    parts = [likelihood(first, y1, 0.6), likelihood(second, y2, 0.2)]
    box = BoxPrior(np.full(2, -8.0), np.full(2, 8.0))
    variance = np.diag(parts[0].covariance) + np.diag(parts[1].covariance)
    distance = parts[0].estimate - parts[1].estimate
    expected = np.sum(distance**2 / (2 * variance) + np.log(2 * np.pi * variance) / 2 - np.log(16.0))
    assert integration_free_energy(parts, box) == pytest.approx(expected, abs=1e-9)
    assert expected < 0


def test_integration_free_energy_matches_quadrature():
    (first, y1), (second, y2) = line(1, n=12), line(2, n=9, sigma=0.4)
    box = BoxPrior(np.array([-1.0, -1.0]), np.array([2.0, 1.5]))
    separate = np.log(by_quadrature(first, y1, SIGMA, box)) + np.log(by_quadrature(second, y2, 0.4, box))
    # Points of different noise are brought to one by dividing each by its sigma.
    scaled = np.vstack([first / SIGMA, second / 0.4]), np.concatenate([y1 / SIGMA, y2 / 0.4])
    joint = np.log(by_quadrature(*scaled, 1.0, box)) - 12 * np.log(SIGMA) - 9 * np.log(0.4)
    parts = [likelihood(first, y1, SIGMA), likelihood(second, y2, 0.4)]
    assert integration_free_energy(parts, box) == pytest.approx(separate - joint, abs=1e-6)


def test_measurements_that_contradict_each_other_are_not_integrated():
    design, y = line(1)
    parts = [likelihood(design, y, SIGMA), likelihood(design, y + 1.5, SIGMA)]
    assert integration_free_energy(parts, BoxPrior(np.full(2, -8.0), np.full(2, 8.0))) > 0


# Bad arguments


@pytest.mark.parametrize(
    "make",
    [
        lambda: BoxPrior(1.0, 1.0),
        lambda: BoxPrior(np.zeros(2), np.ones(3)),
        lambda: likelihood(np.ones((3, 1)), np.ones(4), 1.0),
        lambda: likelihood(np.ones((3, 1)), np.ones(3), 0.0),
    ],
)
def test_contradictory_arguments_are_refused(make):
    with pytest.raises(ValueError):
        make()
