"""Scores of samples against closed forms."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpc_ds.learn import scores
from hpc_ds.runtime.errors import InputError


def grid_axis(name, points, periodic=False, units=""):
    return SimpleNamespace(name=name, coordinates=np.asarray(points), periodic=periodic, units=units)


def circle(n):
    return grid_axis("x", 2 * np.pi * np.arange(n) / n, periodic=True)


def test_relative_l2_is_a_ratio_of_norms_sample_by_sample():
    target = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]])
    prediction = torch.tensor([[[3.0, 4.5]], [[0.6, 0.8]]])
    assert scores.relative_l2(prediction, target).tolist() == pytest.approx([0.1, 1.0])


def test_relative_l2_has_a_gradient_where_the_prediction_is_exact():
    prediction = torch.ones(2, 3, requires_grad=True)
    scores.relative_l2(prediction, torch.ones(2, 3)).sum().backward()
    assert torch.equal(prediction.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("n", [16, 17])
def test_derivative_on_a_periodic_axis_is_spectrally_exact(n):
    x = torch.from_numpy(circle(n).coordinates)
    (derivative,) = scores.Gradient([circle(n)])(torch.sin(3 * x)[None, None])
    assert torch.allclose(derivative, 3 * torch.cos(3 * x), atol=1e-12)


def test_derivative_on_an_uneven_axis_is_exact_for_parabolas():
    x = np.array([0.0, 0.1, 0.35, 0.5, 1.0])
    field = torch.from_numpy(1.0 + x - 2.0 * x**2)[None, None]
    (derivative,) = scores.Gradient([grid_axis("x", x)])(field)
    assert derivative[0, 0].numpy() == pytest.approx(1.0 - 4.0 * x, abs=1e-12)


def test_derivatives_go_along_their_own_axis():
    y = np.linspace(0.0, 1.0, 5)
    x = torch.from_numpy(circle(8).coordinates)
    field = (torch.from_numpy(y)[:, None] * torch.sin(x))[None, None]
    along_y, along_x = scores.Gradient([grid_axis("y", y), circle(8)])(field)
    assert torch.allclose(along_y, torch.sin(x).expand(5, 8), atol=1e-12)
    assert torch.allclose(along_x[0, 0], torch.from_numpy(y)[:, None] * torch.cos(x), atol=1e-12)


def test_relative_h1_of_waves_matches_closed_form():
    # ||sin kx||_H1^2 = (1 + k^2) ||sin kx||^2: an error of a sin 5x beside sin 2x is a sqrt(26/5).
    x = torch.from_numpy(circle(32).coordinates)
    target = torch.sin(2 * x)[None, None]
    error = 0.01 * torch.sin(5 * x)
    found = scores.relative_h1(target + error, target, scores.Gradient([circle(32)]))
    assert found.item() == pytest.approx(0.01 * math.sqrt(26 / 5), rel=1e-10)


def test_h1_needs_axes_and_even_points_on_periodic_ones():
    with pytest.raises(InputError, match="need a grid"):
        scores.Gradient([])
    with pytest.raises(InputError, match="axis x: periodic, but its points are not even"):
        scores.Gradient([grid_axis("x", [0.0, 0.1, 0.3], periodic=True)])
    scores.Gradient([grid_axis("x", np.linspace(0, 1, 50, dtype=np.float32), periodic=True)])


def test_axes_of_one_point_have_no_derivative():
    assert scores.Gradient([grid_axis("z", [0.0])])(torch.ones(1, 1, 1)) == []


def test_gaussian_nll_is_that_of_the_normal_law():
    from scipy.stats import norm

    mean, sd, target = 0.3, 1.7, -1.2
    found = scores.gaussian_nll(
        *(torch.tensor(v, dtype=torch.float64) for v in (mean, 2 * math.log(sd), target))
    )
    assert found.item() == pytest.approx(-norm(mean, sd).logpdf(target), rel=1e-12)


def test_gaussian_crps_matches_the_integral_it_stands_for():
    from scipy.integrate import quad
    from scipy.stats import norm

    mean, sd, target = 1.0, 0.5, 1.8
    below = quad(lambda x: norm.cdf(x, mean, sd) ** 2, -10, target)[0]
    above = quad(lambda x: (1.0 - norm.cdf(x, mean, sd)) ** 2, target, 10)[0]
    found = scores.gaussian_crps(*(torch.tensor(v, dtype=torch.float64) for v in (mean, sd, target)))
    assert found.item() == pytest.approx(below + above, rel=1e-7)


def test_crps_without_spread_is_the_absolute_error():
    zero = torch.tensor([0.0], dtype=torch.float64)
    assert scores.gaussian_crps(zero, zero, zero + 2.0).item() == 2.0
    assert scores.ensemble_crps(zero[None], zero + 2.0, fair=False).item() == 2.0


@pytest.mark.parametrize("fair", [True, False])
def test_ensemble_crps_equals_the_sum_over_pairs(fair):
    members = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4)))
    target = torch.tensor([0.1, -1.0, 2.0, 0.0], dtype=torch.float64)
    pairs = (members[:, None] - members[None]).abs().sum((0, 1)) / (6 * 5 if fair else 36)
    expected = (members - target).abs().mean(0) - 0.5 * pairs
    assert torch.allclose(scores.ensemble_crps(members, target, fair), expected, atol=1e-12)


def test_raw_crps_of_a_reliable_ensemble_shrinks_with_its_size_and_the_fair_one_does_not():
    # E CRPS of m members of the law of the target is (1 + 1/m) times that of infinitely many.
    draws = torch.from_numpy(np.random.default_rng(1).normal(size=(11, 200_000)))
    score = {
        (m, fair): scores.ensemble_crps(draws[:m], draws[10], fair).mean().item()
        for m in (5, 10)
        for fair in (True, False)
    }
    assert score[5, False] / score[10, False] == pytest.approx(1.2 / 1.1, rel=3e-3)
    assert score[5, True] / score[10, True] == pytest.approx(1.0, rel=3e-3)
    assert score[10, True] == pytest.approx(1.0 / math.sqrt(math.pi), rel=3e-3)


def test_a_fair_score_needs_two_members():
    with pytest.raises(ValueError, match="two members"):
        scores.ensemble_crps(torch.zeros(1, 3), torch.zeros(3))


@pytest.mark.parametrize(
    ("axis", "cosines"),
    [
        (grid_axis("lat", [-60.0, 0.0, 60.0], units="degrees_north"), [0.5, 1.0, 0.5]),
        (grid_axis("latitude", [-60.0, 0.0, 60.0]), [0.5, 1.0, 0.5]),
        (grid_axis("lat", [-1.0, 0.0, 1.0], units="deg"), np.cos(np.deg2rad([-1.0, 0.0, 1.0]))),
        (grid_axis("lat", [-np.pi / 3, 0.0, np.pi / 3]), [0.5, 1.0, 0.5]),
        (grid_axis("theta", [np.pi / 6, np.pi / 2, 5 * np.pi / 6]), [0.5, 1.0, 0.5]),
    ],
)
def test_latitude_weights_are_cosines_of_mean_one(axis, cosines):
    weights = scores.latitude_weights([axis, grid_axis("phi", [0.0, 1.0])])
    assert weights.shape == (3, 1) and weights.mean() == pytest.approx(1.0)
    assert weights.ravel() == pytest.approx(np.asarray(cosines) / np.mean(cosines))


def test_a_plane_has_no_latitude_weights():
    assert scores.latitude_weights([grid_axis("x", [0, 1]), grid_axis("theta", [0, 1])]) is None
