"""Mock observations of simulated neutron stars: the distributions that they are drawn from."""

import numpy as np
import pytest

from hpc_ds.studies.neutron_star.mock import (
    LIGHTEST,
    MASS_SCALE,
    RADIUS_SCALE,
    Ensemble,
    mock_observations,
)


@pytest.fixture(scope="module")
def ensemble():
    """Radii that are linear in mass, so that interpolation is exact."""
    share = np.linspace(0.0, 1.0, 9)
    maximum = np.array([2.0, 2.2, 2.6])
    mass = 0.2 + share * (maximum[:, None] - 0.2)
    return Ensemble(np.arange(15.0).reshape(3, 5) / 15.0, mass, 13.0 - mass)


def read(dataset, samples):
    inputs = np.empty((len(samples), *dataset.input_shape))
    targets = np.empty((len(samples), *dataset.target_shape))
    dataset.read(samples, inputs, targets)
    return inputs, targets


def test_without_noise_stars_lie_on_their_curve_and_masses_are_uniform(ensemble):
    data = mock_observations(ensemble, copies=4000, seed=1, mass_error=0.0, radius_error=0.0)
    inputs, targets = read(data, np.arange(len(data)))
    mass, radius = inputs[:, :15] * MASS_SCALE, inputs[:, 15:] * RADIUS_SCALE
    assert np.abs(radius - (13.0 - mass)).max() < 1e-12
    for number, maximum in enumerate(ensemble.maximum_mass):
        share = (mass[number::3] - LIGHTEST) / (maximum - LIGHTEST)
        assert share.mean() == pytest.approx(0.5, abs=0.005) and share.std() == pytest.approx(
            12**-0.5, abs=0.005
        )
        assert (targets[number::3] == ensemble.speeds_squared[number]).all()


def test_noise_is_normal_and_independent(ensemble):
    data = mock_observations(ensemble, copies=4000, seed=1)
    exact = mock_observations(ensemble, copies=4000, seed=1, mass_error=0.0, radius_error=0.0)
    samples = np.arange(len(data))
    noise = read(data, samples)[0] - read(exact, samples)[0]
    noise[:, :15] *= MASS_SCALE / 0.1
    noise[:, 15:] *= RADIUS_SCALE / 0.5
    assert noise.mean() == pytest.approx(0.0, abs=0.006) and noise.std() == pytest.approx(1.0, abs=0.005)
    assert (np.abs(noise) < 1.0).mean() == pytest.approx(0.6827, abs=0.003)
    correlation = np.corrcoef(noise.T) - np.eye(30)
    assert np.abs(correlation).max() < 5.0 / np.sqrt(len(data))


def test_a_sample_is_the_same_whatever_it_is_read_with(ensemble):
    data = mock_observations(ensemble, copies=10, seed=1, errors="random")
    whole = read(data, np.arange(30))[0]
    assert np.array_equal(read(data, np.array([17, 4]))[0], whole[[17, 4]])
    assert not np.array_equal(
        read(mock_observations(ensemble, copies=10, seed=2, errors="random"), [4])[0], whole[4:5]
    )


def test_random_errors_are_inputs_and_are_shared_by_the_copies_of_a_set(ensemble):
    data = mock_observations(ensemble, copies=200, seed=1, errors="random", copies_a_set=100, stars=14)
    assert data.input_shape == (56,) and data.input_names[28] == "sigma_M[1]"
    inputs = read(data, np.arange(len(data)))[0]
    sigma = inputs[:, 28:].reshape(200, 3, 28)
    assert (sigma[:100] == sigma[0]).all() and (sigma[100:] == sigma[100]).all()
    assert not (sigma[0] == sigma[100]).any()
    assert sigma.min() > 0.0 and sigma.max() < 1.0
