"""Mock observations of simulated neutron stars: the distributions that they are drawn from."""

import numpy as np
import pytest

from hpc_ds.studies.neutron_star.mock import LIGHTEST, MASS, RADIUS, Ensemble, MockStars, Seen, as_inputs


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
    mock = MockStars(ensemble, seed=1, mass_error=0.0, radius_error=0.0)
    seen = mock.observe(np.arange(12_000))
    assert np.abs(seen.radius - (13.0 - seen.mass)).max() < 1e-12
    for number, maximum in enumerate(ensemble.maximum_mass):
        share = (seen.mass[number::3] - LIGHTEST) / (maximum - LIGHTEST)
        assert share.mean() == pytest.approx(0.5, abs=0.005)
        assert share.std() == pytest.approx(12**-0.5, abs=0.005)


def test_noise_is_normal_and_independent(ensemble):
    samples = np.arange(12_000)
    noisy = MockStars(ensemble, seed=1).observe(samples)
    exact = MockStars(ensemble, seed=1, mass_error=0.0, radius_error=0.0).observe(samples)
    noise = np.hstack([(noisy.mass - exact.mass) / 0.1, (noisy.radius - exact.radius) / 0.5])
    assert noise.mean() == pytest.approx(0.0, abs=0.006) and noise.std() == pytest.approx(1.0, abs=0.005)
    assert (np.abs(noise) < 1.0).mean() == pytest.approx(0.6827, abs=0.003)
    correlation = np.corrcoef(noise.T) - np.eye(30)
    assert np.abs(correlation).max() < 5.0 / np.sqrt(len(samples))


def test_inputs_do_not_depend_on_the_order_of_the_stars():
    seen = Seen(
        np.array([[1.8, 1.2, 1.5]]),
        np.array([[10.0, 12.0, 14.0]]),
        np.full((1, 3), 0.1),
        np.full((1, 3), 0.5),
    )
    turned = Seen(*(values[:, [2, 0, 1]] for values in seen))
    inputs = as_inputs(seen, known=True)
    assert np.array_equal(inputs, as_inputs(turned, known=True)) and inputs.shape == (1, 12)
    assert inputs[0, :3] * MASS[1] + MASS[0] == pytest.approx([1.2, 1.5, 1.8])
    assert inputs[0, 3:6] * RADIUS[1] + RADIUS[0] == pytest.approx([12.0, 14.0, 10.0])


def test_targets_are_the_speeds_of_the_sample_s_equation_of_state(ensemble):
    data = MockStars(ensemble, seed=1).dataset(copies=3)
    assert len(data) == 9 and data.input_shape == (30,) and data.target_shape == (5,)
    assert np.array_equal(read(data, np.arange(9))[1], np.tile(ensemble.speeds_squared, (3, 1)))


def test_a_sample_is_the_same_whatever_it_is_read_with(ensemble):
    data = MockStars(ensemble, seed=1, errors="random").dataset(copies=10)
    whole = read(data, np.arange(30))[0]
    assert np.array_equal(read(data, np.array([17, 4]))[0], whole[[17, 4]])
    other = MockStars(ensemble, seed=2, errors="random").dataset(copies=10)
    assert not np.array_equal(read(other, np.array([4]))[0], whole[4:5])


def test_random_errors_are_inputs_and_are_shared_by_the_copies_of_a_set(ensemble):
    mock = MockStars(ensemble, seed=1, stars=14, errors="random", copies_a_set=100)
    data = mock.dataset(copies=200)
    assert data.input_shape == (56,) and data.input_names[28] == "sigma_M[1]"
    seen = mock.observe(np.arange(600))
    for errors, largest in ((seen.mass_error, 1.0), (seen.radius_error, 5.0)):
        sets = errors.reshape(200, 3, 14)
        assert (sets[:100] == sets[0]).all() and (sets[100:] == sets[100]).all()
        assert not (sets[0] == sets[100]).any()
        assert sets.min() > 0.0 and 0.9 * largest < sets.max() < largest
