"""The fields have the covariance that they are asked for, mode by mode, and are the same functions on every grid."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from scipy import stats

from hpc_ds.physics.random_fields import (
    neumann_eigenvalues,
    neumann_field,
    periodic_eigenvalues,
    periodic_field,
)

SIGMA, TAU, ALPHA = 3.0, 4.0, 2.2
DRAWS = 2000


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def hartley_coefficients(field):
    """Coefficients of the orthonormal functions cos(2 pi k x) + sin(2 pi k x), by their definition as integrals."""
    transform = np.fft.fftshift(np.fft.fftn(field, norm="forward"))
    return transform.real - transform.imag


def cosine_coefficients(field):
    """Coefficients of the orthonormal functions prod sqrt(2) cos(pi k x), from values at cell centres."""
    return scipy.fft.dctn(field, type=2, norm="ortho") / np.sqrt(field.size)


CASES = {
    "periodic 1-D": (periodic_field, periodic_eigenvalues, hartley_coefficients, (33,), {}),
    "periodic 2-D": (periodic_field, periodic_eigenvalues, hartley_coefficients, (9, 15), {}),
    "periodic 3-D": (periodic_field, periodic_eigenvalues, hartley_coefficients, (5, 3, 5), {}),
    "Neumann 1-D": (neumann_field, neumann_eigenvalues, cosine_coefficients, (32,), {"points": "centres"}),
    "Neumann 2-D": (neumann_field, neumann_eigenvalues, cosine_coefficients, (8, 13), {"points": "centres"}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_mode_has_its_variance_and_modes_are_independent(case):
    draw, eigenvalues, coefficients, shape, more = CASES[case]
    rng = generator(1)
    found = np.stack(
        [coefficients(draw(rng, shape, SIGMA, TAU, ALPHA, **more)).ravel() for _ in range(DRAWS)]
    )
    normalised = found / np.sqrt(eigenvalues(shape, SIGMA, TAU, ALPHA).ravel())
    # The sum of the squares of all modes and draws is chi-squared; so is each mode's (Bonferroni over the modes).
    total = np.square(normalised).sum()
    assert abs(stats.norm.ppf(stats.chi2.cdf(total, normalised.size))) < 4.5
    one = np.square(normalised).sum(axis=0)
    smallest = stats.chi2.ppf(1e-5 / one.size, DRAWS)
    largest = stats.chi2.isf(1e-5 / one.size, DRAWS)
    assert one.min() > smallest and one.max() < largest
    correlations = np.corrcoef(normalised.T)[np.triu_indices(one.size, 1)] * np.sqrt(DRAWS)
    assert np.abs(correlations).max() < stats.norm.isf(1e-5 / correlations.size)
    assert np.abs(normalised.mean(axis=0)).max() * np.sqrt(DRAWS) < stats.norm.isf(1e-5 / one.size)


def test_a_wrong_exponent_would_be_noticed():
    rng = generator(1)
    found = np.stack(
        [hartley_coefficients(periodic_field(rng, (33,), SIGMA, TAU, ALPHA)) for _ in range(DRAWS)]
    )
    normalised = found / np.sqrt(periodic_eigenvalues((33,), SIGMA, TAU, ALPHA + 0.05))
    total = np.square(normalised).sum()
    assert abs(total - normalised.size) > 10 * np.sqrt(2 * normalised.size)


def test_eigenvalues_follow_the_published_formulas():
    # Burgers: 625 (4 pi^2 k^2 + 25)^-2, at k = 3 of a grid of 17.
    burgers = periodic_eigenvalues((17,), 25.0, 5.0, 2.0)
    assert burgers[8 + 3] == burgers[8 - 3] == pytest.approx(625 / (4 * np.pi**2 * 9 + 25) ** 2, rel=1e-14)
    # Darcy: the square of tau^(alpha - 1) (pi^2 |k|^2 + tau^2)^(-alpha / 2).
    darcy = neumann_eigenvalues((9, 9), 3.0, 3.0, 2.0, zero_mean=True)
    assert darcy[2, 5] == pytest.approx((3.0 / (np.pi**2 * 29 + 9)) ** 2, rel=1e-14)
    assert darcy[0, 0] == 0.0 < darcy[0, 1]


@pytest.mark.parametrize("shape", [(32,), (16, 16), (15, 16)])
def test_variance_at_a_point_is_the_sum_of_the_eigenvalues_everywhere(shape):
    rng = generator(2)
    fields = np.stack([periodic_field(rng, shape, SIGMA, TAU, ALPHA).ravel() for _ in range(DRAWS)])
    expected = periodic_eigenvalues(shape, SIGMA, TAU, ALPHA).sum()
    scores = (np.square(fields).mean(axis=0) / expected - 1.0) / np.sqrt(2.0 / DRAWS)
    assert np.abs(scores).max() < 5.0
    # Stationary: the covariance of two points depends on their distance only.
    first = (fields[:, 0] * fields[:, 3]).mean(), (fields[:, 8] * fields[:, 11]).mean()
    assert abs(first[0] - first[1]) < 5.0 * expected * np.sqrt(2.0 / DRAWS)


def test_mean_of_the_variance_between_walls_is_the_sum_of_the_eigenvalues():
    rng = generator(3)
    fields = np.stack(
        [neumann_field(rng, (16, 16), SIGMA, TAU, ALPHA, points="centres") for _ in range(DRAWS)]
    )
    eigenvalues = neumann_eigenvalues((16, 16), SIGMA, TAU, ALPHA)
    error = np.sqrt(2.0 * np.square(eigenvalues).sum() / DRAWS)
    assert np.square(fields).mean() == pytest.approx(eigenvalues.sum(), abs=4.5 * error)


def test_variance_scales_with_the_box_as_the_covariance_operator_does():
    # On [0, 2]^2 the eigenfunctions are normalised over an area of 4: white noise (alpha = 0) has the variance
    # sigma^2 a mode / 4, and lengths enter through 2 pi k / length.
    assert periodic_eigenvalues((5,), 2.0, 1.0, 1.0, length=2.0)[3] == pytest.approx(4.0 / (np.pi**2 + 1.0))
    rng = generator(4)
    fields = np.stack([periodic_field(rng, (5, 5), 2.0, 1.0, 0.0, length=2.0) for _ in range(DRAWS)])
    assert np.square(fields).mean() == pytest.approx(25 * 4.0 / 4.0, rel=0.03)


@pytest.mark.parametrize("ndim", [1, 2])
def test_periodic_field_on_a_finer_grid_is_the_same_function(ndim):
    coarse = periodic_field(generator(5), (16,) * ndim, SIGMA, TAU, ALPHA, cutoff=7)
    fine = periodic_field(generator(5), (64,) * ndim, SIGMA, TAU, ALPHA, cutoff=7)
    assert fine[(slice(None, None, 4),) * ndim] == pytest.approx(coarse, abs=1e-13)
    # Without a cutoff the finer grid adds modes and keeps the others.
    full = hartley_coefficients(periodic_field(generator(5), (65,) * ndim, SIGMA, TAU, ALPHA))
    common = hartley_coefficients(periodic_field(generator(5), (15,) * ndim, SIGMA, TAU, ALPHA))
    assert full[(slice(32 - 7, 32 + 8),) * ndim] == pytest.approx(common, abs=1e-13)
    assert np.abs(full[0]).max() > 1e-7


@pytest.mark.parametrize("ndim", [1, 2])
def test_neumann_field_at_nodes_centres_and_on_a_finer_grid_is_the_same_function(ndim):
    cut = {"cutoff": 9, "zero_mean": True}
    coarse = neumann_field(generator(6), (12,) * ndim, SIGMA, TAU, ALPHA, **cut)
    fine = neumann_field(generator(6), (34,) * ndim, SIGMA, TAU, ALPHA, **cut)
    assert fine[(slice(None, None, 3),) * ndim] == pytest.approx(coarse, abs=1e-13)
    # The centres of 33 cells are the odd ones of 67 nodes.
    centres = neumann_field(generator(6), (33,) * ndim, SIGMA, TAU, ALPHA, points="centres", **cut)
    nodes = neumann_field(generator(6), (67,) * ndim, SIGMA, TAU, ALPHA, **cut)
    assert nodes[(slice(1, None, 2),) * ndim] == pytest.approx(centres, abs=1e-13)


def test_neumann_field_is_the_series_that_defines_it():
    n, x = 7, np.arange(7) / 6
    field = neumann_field(generator(7), (n, n), SIGMA, TAU, ALPHA)
    amplitudes = np.sqrt(neumann_eigenvalues((n, n), SIGMA, TAU, ALPHA))
    functions = np.cos(np.pi * np.outer(np.arange(n), x)) * np.where(np.arange(n) > 0, np.sqrt(2), 1)[:, None]
    drawn = generator(7).standard_normal(n * n)
    order = sorted(np.ndindex(n, n), key=lambda k: (max(k), k))
    total = sum(
        drawn[rank] * amplitudes[k] * np.outer(functions[k[0]], functions[k[1]])
        for rank, k in enumerate(order)
    )
    assert field == pytest.approx(total, abs=1e-13)


def test_normal_derivative_vanishes_at_the_walls():
    field = neumann_field(generator(8), (2001,), SIGMA, TAU, 3.0, cutoff=20)
    inner = np.abs(np.diff(field)).max()
    assert abs(field[1] - field[0]) < 0.05 * inner and abs(field[-1] - field[-2]) < 0.05 * inner


@pytest.mark.parametrize("draw", [periodic_field, neumann_field])
def test_equal_streams_give_equal_bits_and_no_mean_where_none_is_wanted(draw):
    first = draw(generator(9), (32, 32), SIGMA, TAU, ALPHA, zero_mean=True)
    assert np.array_equal(first, draw(generator(9), (32, 32), SIGMA, TAU, ALPHA, zero_mean=True))
    assert not np.array_equal(first, draw(generator(10), (32, 32), SIGMA, TAU, ALPHA, zero_mean=True))
    if draw is periodic_field:
        assert abs(first.mean()) < 1e-15


def test_impossible_covariances_are_refused():
    with pytest.raises(ValueError, match=r"tau is 0\.0: it must be positive"):
        periodic_field(generator(), (8,), 1.0, 0.0, 2.0)
    with pytest.raises(ValueError, match="length is -1"):
        neumann_field(generator(), (8,), 1.0, 1.0, 2.0, length=-1)
    with pytest.raises(ValueError, match="at least one point"):
        periodic_field(generator(), (0,), 1.0, 1.0, 2.0)
