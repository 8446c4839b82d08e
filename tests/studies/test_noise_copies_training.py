import numpy as np
import pytest
import torch

from hpc_ds.studies.noise_copies import problem
from hpc_ds.studies.noise_copies.training import EVERY, LAST_SHARE, LEARNING_RATE, Training, learning_rate
from hpc_ds.studies.noise_copies.variants import ALL_LAYERS, COPIES, LARGE, MIDDLE, NONE, Variant

UNITS = (3, 4, 5)


def test_the_function_has_its_two_peaks_where_it_says():
    x = problem.fine_grid()
    y = problem.f(x)
    tops = x[1:-1][(y[1:-1] > y[:-2]) & (y[1:-1] > y[2:])]
    np.testing.assert_allclose(tops, [0.3, 0.65], atol=0.001)
    np.testing.assert_allclose(problem.f(np.array([0.3, 0.65])), [0.8, 0.55], atol=1e-4)


def test_every_seed_has_points_of_its_own():
    first, second = problem.points(0, 0), problem.points(0, 1)
    assert first.shape == (20,) and np.all(np.diff(first) > 0) and first[0] >= 0 and first[-1] <= 1
    assert not np.array_equal(first, second)
    assert np.array_equal(first, problem.points(0, 0))


@pytest.mark.parametrize("treatment", [NONE, ALL_LAYERS], ids=lambda one: one.name)
def test_trainings_side_by_side_do_not_touch_each_other(treatment):
    variant = Variant(LARGE, treatment)
    together, alone = Training(variant, 1, UNITS, 60), Training(variant, 1, [4], 60)
    for training in (together, alone):
        training.advance(60)
    np.testing.assert_allclose(together.result().prediction[1], alone.result().prediction[0], atol=1e-6)
    assert together.result().test[1] == pytest.approx(alone.result().test[0], rel=1e-9)


def test_the_steps_are_those_of_torchs_adam():
    training, plain = (Training(Variant(MIDDLE, COPIES[1]), 1, UNITS, 40) for _ in range(2))
    training.advance(40)
    adam = torch.optim.Adam([plain._parameters], lr=LEARNING_RATE)
    for step in range(40):
        adam.param_groups[0]["lr"] = learning_rate(step, 40)
        plain._parameters.grad = plain.gradient(plain._noise.at(step))
        adam.step()
    torch.testing.assert_close(training._parameters, plain._parameters, rtol=1e-10, atol=1e-12)


def test_pieces_of_any_length_make_the_same_training():
    whole, cut = (Training(Variant(LARGE, ALL_LAYERS), 1, UNITS, 130) for _ in range(2))
    whole.advance(1000)
    for steps in (1, 99, 30, 500):
        cut.advance(steps)
    assert whole.done == cut.done == 130
    assert torch.equal(whole._parameters, cut._parameters)


def test_training_learns():
    training = Training(Variant(LARGE, NONE), 0, range(4), 2000)
    before = training.result()
    training.advance(2000)
    after = training.result()
    assert np.median(after.train) < 0.2 * np.median(before.train)
    assert np.median(after.train) < 0.3 * np.median(after.spread)


def test_errors_of_a_network_that_answers_nothing_are_those_of_the_function():
    training = Training(Variant(LARGE, NONE), 0, UNITS, 1)
    with torch.no_grad():
        training._parameters.zero_()
    found = training.result()
    y = problem.f(np.array([problem.points(0, unit) for unit in UNITS]))
    np.testing.assert_allclose(found.train, np.sqrt((y**2).mean(axis=1)))
    # The integral of (a exp(-(x/w)^2))^2 is a^2 w sqrt(pi/2); the peaks do not overlap, within 1 %.
    expected = np.sqrt(np.sqrt(np.pi / 2) * (0.8**2 * 0.07 + 0.55**2 * 0.11))
    np.testing.assert_allclose(found.test, expected, rtol=0.01)
    np.testing.assert_allclose(found.spread, y.std(axis=1))
    assert np.all(found.swing == 0)
    assert found.prediction.shape == (3, -(-problem.FINE // EVERY)) and not found.prediction.any()


def test_the_rate_falls_from_the_first_to_the_last_step():
    rates = [learning_rate(step, 100) for step in range(100)]
    assert rates[0] == LEARNING_RATE
    assert rates[-1] == pytest.approx(LAST_SHARE * LEARNING_RATE)
    assert np.all(np.diff(rates) < 0)
