"""Whether error bars are as large as errors: known answers, and a regression with noise that varies."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hpc_ds.learn.calibration import (
    conformal_factor,
    coverage,
    fit_spread,
    fit_temperature,
    half_width,
    reliability,
    tempered,
)
from hpc_ds.learn.losses import make_loss
from hpc_ds.runtime.errors import InputError


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_half_widths_are_the_normal_quantiles():
    assert half_width(0.90) == pytest.approx(1.6448536269514722)
    assert half_width(math.erf(1.0 / math.sqrt(2.0))) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        half_width(1.0)


def test_coverage_of_right_spreads_is_nominal_by_target():
    spread = np.exp(normal(0, 100_000, 2))
    target = spread * normal(1, 100_000, 2)
    found = coverage(np.zeros_like(target), spread, target, (0.5, 0.68, 0.9, 0.95))
    assert found.shape == (4, 2)
    assert found == pytest.approx(np.array([[0.5, 0.68, 0.9, 0.95]] * 2).T, abs=0.006)


def test_spreads_that_are_half_of_the_errors_cover_too_little_and_are_doubled():
    spread = np.exp(normal(2, 50_000, 2))
    target = 3.0 + spread * normal(3, 50_000, 2) * [2.0, 1.0]
    mean = np.full_like(target, 3.0)
    assert coverage(mean, spread, target, (0.9,))[0] == pytest.approx([0.589, 0.9], abs=0.01)
    factors = fit_spread(mean, spread, target)
    assert factors == pytest.approx([2.0, 1.0], rel=0.01)
    assert coverage(mean, spread * factors, target, (0.9,))[0] == pytest.approx([0.9, 0.9], abs=0.005)


def test_the_conformal_factor_is_a_rank_of_the_scores():
    target = np.arange(1.0, 20.0)[:, None]  # scores 1..19: the ceil(20 * 0.9) = 18th
    assert conformal_factor(np.zeros((19, 1)), np.ones((19, 1)), target, 0.9).tolist() == [18.0]
    assert conformal_factor(np.zeros((9, 1)), np.ones((9, 1)), target[:9], 0.9).tolist() == [9.0]


def test_conformal_bands_cover_what_they_promise_whatever_the_law_of_the_errors():
    # Errors of a Student law, spreads wrong by a factor 3: the coverage of a new sample is 0.9 to 0.9 + 1/(n + 1).
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(2000):
        target = rng.standard_t(3, size=(50, 1))
        factor = conformal_factor(np.zeros((49, 1)), np.full((49, 1), 3.0), target[:49], 0.9)
        covered.append(abs(target[49, 0]) <= 3.0 * factor[0])
    assert 0.9 - 0.02 <= np.mean(covered) <= 0.9 + 1 / 50 + 0.02


def test_a_band_needs_samples_enough_and_spreads_above_zero():
    ones = np.ones((8, 1))
    with pytest.raises(InputError, match="a band of 90% needs 9 samples to calibrate on, found 8"):
        conformal_factor(ones, ones, ones, 0.9)
    with pytest.raises(InputError, match="a spread of 0 cannot be calibrated"):
        fit_spread(ones, 0.0 * ones, ones)


def test_reliability_counts_each_sample_in_one_bin():
    probability = np.array([[1.0, 0.0], [0.5, 0.5], [0.55, 0.45], [0.9, 0.1], [0.1, 0.9]])
    found = reliability(probability, np.array([0, 0, 1, 0, 0]), bins=10)
    assert found.count.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 2, 1]
    assert found.accuracy[[4, 5, 8, 9]].tolist() == [1.0, 0.0, 0.5, 1.0]
    assert found.confidence[8] == pytest.approx(0.9) and np.isnan(found.confidence[0])


def test_the_temperature_of_a_network_that_is_too_sure_is_found():
    rng = np.random.default_rng(5)
    logits = 2.0 * rng.normal(size=(20_000, 4))
    right = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = (right.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    sure = tempered(right, 1.0 / 3.0)  # three times too sure
    temperature = fit_temperature(sure, label)
    assert temperature == pytest.approx(3.0, rel=0.03)
    assert tempered(sure, 3.0) == pytest.approx(right, abs=1e-9)
    assert reliability(sure, label).expected_error > 0.15
    assert reliability(tempered(sure, temperature), label).expected_error < 0.02


def test_a_calibrated_network_keeps_its_temperature():
    rng = np.random.default_rng(6)
    p = rng.random(20_000)
    label = (rng.random(20_000) < p).astype(np.int64)
    assert fit_temperature(np.stack([1 - p, p], 1), label) == pytest.approx(1.0, abs=0.05)


# ---- a regression whose noise varies ------------------------------------------------------------------------


def noisy_sine(seed, n):
    """y = sin(2 pi x) + noise of standard deviation 0.05 + 0.3 x on 0 < x < 1."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 1))
    sd = 0.05 + 0.3 * x
    return x, np.sin(2 * np.pi * x) + sd * rng.normal(size=(n, 1)), sd


def trained(x, y, epochs=60, batch=128):
    """A small network of mean and log-variance, trained by the gaussian loss."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
    loss = make_loss("gaussian", "scalars")
    inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch)[: len(x) // batch]:
            optimiser.zero_grad()
            loss(network(inputs[rows]), targets[rows]).mean().backward()
            optimiser.step()
            schedule.step()
    return network


def predicted(network, x):
    with torch.no_grad():
        mean, log_variance = network(torch.from_numpy(x).float()).double().chunk(2, dim=1)
    return mean.numpy(), torch.exp(0.5 * log_variance).numpy()


def test_the_90_percent_band_of_a_regression_with_varying_noise_covers_88_to_92_percent():
    network = trained(*noisy_sine(0, 4000)[:2])
    x, y, sd = noisy_sine(1, 20_000)
    mean, spread = predicted(network, x)
    valid_x, valid_y, _ = noisy_sine(2, 4000)
    factor = conformal_factor(*predicted(network, valid_x), valid_y, 0.90)
    quiet, loud = x[:, 0] < 0.5, x[:, 0] >= 0.5
    assert np.median(np.abs(spread / sd - 1.0)) < 0.1
    for width in (half_width(0.90), factor):
        inside = np.abs(y - mean) <= width * spread
        assert 0.88 < inside.mean() < 0.92
        assert 0.86 < inside[quiet].mean() < 0.94 and 0.86 < inside[loud].mean() < 0.94
