"""Symmetries change inputs and targets alike, and their random numbers belong to the sample and the epoch."""

import numpy as np
import pytest

from hpc_ds.learn.augment import Augment, make_augment
from hpc_ds.learn.dataset import open_dataset
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError

SAMPLES = np.arange(200, dtype=np.int64)


@pytest.fixture
def plane(flow_set):
    return open_dataset(
        flow_set[0], "train", make_settings({"input": "velocity:0,u:0,nu", "target": "velocity:-1"})
    )


def coordinates(n=6):
    """A velocity (x, y), seen from the middle, and its square: what each symmetry does to them is known."""
    place = np.arange(n) - (n - 1) / 2
    x, y = np.meshgrid(place, place, indexing="ij")
    velocity = np.stack([x, y])
    inputs = np.concatenate([velocity, [x**2 + 2 * y**2, np.ones((n, n))]])
    return np.tile(inputs, (200, 1, 1, 1)), np.tile(velocity, (200, 1, 1, 1))


def augmented(dataset, texts, inputs, targets, epoch=1, samples=SAMPLES, **options):
    inputs, targets = inputs.copy(), targets.copy()
    Augment(make_settings({"augment": texts}), dataset, **options)(samples, epoch, inputs, targets)
    return inputs, targets


def test_a_flip_turns_components_with_the_axis(plane):
    inputs, targets = coordinates()
    found, learned = augmented(plane, "flip", inputs, targets)
    # The field (x, y) is its own mirror image: reversing an axis and the sign of its component changes nothing.
    assert np.array_equal(found, inputs)
    assert np.array_equal(learned, targets)
    constant = np.ones_like(inputs)
    signs = augmented(plane, "flip", constant, targets)[0][:, :, 0, 0]
    assert {tuple(row) for row in signs[:, :2].tolist()} == {(1, 1), (-1, 1), (1, -1), (-1, -1)}
    assert np.all(signs[:, 2:] == 1.0)
    assert 70 < (signs[:, 0] < 0).sum() < 130


def test_a_transposition_exchanges_components_too(flow_set, tmp_path):
    flow = open_dataset(
        flow_set[0], "train", make_settings({"input": "velocity:0,u:0,nu", "target": "velocity:-1"})
    )
    like = [axis.__class__(axis.name, axis.coordinates, False) for axis in flow.axes]
    flow.axes = tuple(like)
    inputs, targets = coordinates()
    found, learned = augmented(flow, "transpose", inputs, targets)
    assert np.array_equal(found[:, :2], inputs[:, :2])  # (x, y) is its own image here as well
    assert np.array_equal(learned, targets)
    turned = ~(found[:, 2] == inputs[:, 2]).all(axis=(1, 2))
    assert 70 < turned.sum() < 130
    assert np.array_equal(found[turned][0, 2], inputs[0, 2].T)


def test_a_roll_shifts_periodic_axes_only_and_both_sides_alike(plane):
    inputs, targets = coordinates()
    found, learned = augmented(plane, "roll", inputs, targets)
    assert np.array_equal(found[:, 1], inputs[:, 1])  # y is not periodic
    assert np.array_equal(found[:, :2], learned)
    shifts = {int(np.argmin(row)) for row in found[:, 0, :, 0]}
    assert shifts == set(range(6))
    for row in range(20):
        assert np.array_equal(
            found[row, 0], np.roll(inputs[row, 0], int(np.argmin(found[row, 0, :, 0])), axis=0)
        )


def test_noise_has_the_spread_of_each_channel_and_leaves_numbers_alone(plane):
    inputs, targets = coordinates()
    spread = np.array([1.0, 10.0, 2.0, 5.0])
    found, learned = augmented(plane, "noise=0.1", inputs, targets, spread=spread)
    change = (found - inputs).std(axis=(0, 2, 3))
    assert np.allclose(change, [0.1, 1.0, 0.2, 0.0], rtol=0.05)
    assert np.array_equal(learned, targets)


@pytest.mark.parametrize("texts", ["flip", "roll", "noise=0.5", "flip,roll,noise=0.1"])
def test_random_numbers_belong_to_sample_and_epoch(plane, texts):
    inputs = np.random.default_rng(1).normal(size=(200, 4, 6, 6))
    targets = inputs[:, :2].copy()
    whole = augmented(plane, texts, inputs, targets)
    order = np.random.default_rng(2).permutation(200)[:50]
    part = augmented(plane, texts, inputs[order], targets[order], samples=SAMPLES[order])
    for one, other in zip(whole, part):
        assert np.array_equal(one[order], other)
    assert not np.array_equal(augmented(plane, texts, inputs, targets, epoch=2)[0], whole[0])


def test_a_class_stays_what_it_is(flow_set):
    dataset = open_dataset(flow_set[0], "train", make_settings({"input": "u:0", "target": "phase"}))
    inputs, labels = np.random.default_rng(1).normal(size=(200, 1, 6, 6)), SAMPLES % 3
    found, classes = augmented(dataset, "flip,roll", inputs, labels)
    assert not np.array_equal(found, inputs)
    assert np.array_equal(classes, labels)


def test_a_function_of_the_users(plane, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\n"
        "def scaled(inputs, targets, rng):\n"
        "    factor = rng.uniform(1, 2)\n"
        "    return inputs * factor, targets * factor\n"
        "def short(inputs, targets, rng):\n"
        "    return inputs[:1], targets\n"
        "def broken(inputs, targets, rng):\n"
        "    return inputs / np.ones(7), targets\n"
    )
    inputs, targets = coordinates()
    found, learned = augmented(plane, f"{path}:scaled", inputs, targets)
    factors = learned[:, 0, 0, 0] / targets[:, 0, 0, 0]
    assert len(set(factors.tolist())) == 200
    assert np.allclose(found, inputs * factors[:, None, None, None])
    with pytest.raises(
        InputError, match=r"mine\.py: ValueError: returned inputs of shape \(1, 6, 6\); \(4, 6, 6\)"
    ):
        augmented(plane, f"{path}:short", inputs, targets)
    with pytest.raises(InputError, match=r"mine\.py: ValueError: operands .* \(line 8\)"):
        augmented(plane, f"{path}:broken", inputs, targets)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": "flips"}, "--augment flips: did you mean 'flip'"),
        ({"augment": "noise=x"}, "--augment noise=x: noise=SIGMA needs a number"),
        ({"augment": "noise=-1"}, "noise=SIGMA needs a number of at least 0"),
        ({"augment": "transpose"}, "--augment transpose: no two axes of the grid are alike"),
        (
            {"augment": "flip", "input": "nu", "target": "energy:-1"},
            "the inputs are numbers and lie on no grid",
        ),
        ({"augment": "no.py:name"}, "no.py: no such file"),
    ],
)
def test_symmetries_that_there_are_not_are_refused(flow_set, values, message):
    settings = make_settings(values)
    with pytest.raises(InputError, match=message):
        make_augment(settings, open_dataset(flow_set[0], "train", settings))


def test_no_symmetry_is_no_work(plane):
    assert make_augment(make_settings({}), plane) is None
