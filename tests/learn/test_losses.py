"""Losses against numbers computed by hand, and the refusals."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hpc_ds.learn.losses import class_weights, make_loss, outputs_needed
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.runtime.errors import InputError

X = SimpleNamespace(name="x", coordinates=2 * np.pi * np.arange(8) / 8, periodic=True)
LATITUDE = SimpleNamespace(name="lat", coordinates=np.array([-60.0, 0.0, 60.0]), periodic=False)


class Affine(nn.Module):
    """Physical = 10 + 2 * normalised."""

    def inverse(self, values):
        return 10.0 + 2.0 * values


def fields(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l2", (0.25 + 4.0) / 2),
        ("l1", (0.5 + 2.0) / 2),
        ("huber", (0.125 + 1.5) / 2),
        ("huber=0.5", (0.125 + 0.875) / 2),
    ],
)
def test_losses_of_single_values(name, expected):
    prediction, target = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.0, 1.0]])
    assert make_loss(name, "scalars")(prediction, target).tolist() == pytest.approx([expected])


@pytest.mark.parametrize(
    ("name", "task", "axes", "shape"),
    [
        ("relative-l2", "fields", (X,), (3, 2, 8)),
        ("h1", "fields", (X,), (3, 2, 8)),
        ("latitude-l2", "fields", (LATITUDE,), (3, 2, 3)),
        ("l2", "fields", (), (3, 2, 4, 4)),
        ("l1", "scalars", (), (3, 5)),
        ("huber", "scalars", (), (3, 5)),
        ("msle", "scalars", (), (3, 5)),
    ],
)
def test_each_sample_has_its_own_loss_and_an_exact_prediction_none(name, task, axes, shape):
    loss = make_loss(name, task, axes)
    prediction, target = fields(0, *shape).abs(), fields(1, *shape).abs()
    whole = loss(prediction, target)
    alone = torch.cat([loss(prediction[i : i + 1], target[i : i + 1]) for i in range(3)])
    assert whole.shape == (3,) and torch.allclose(whole, alone, rtol=1e-6) and (whole > 0).all()
    assert torch.equal(loss(target, target), torch.zeros(3))


def test_relative_l2_is_computed_in_physical_units_where_a_normaliser_is_given():
    prediction, target = fields(2, 4, 1, 8), fields(3, 4, 1, 8)
    error, size = 2.0 * (prediction - target), 10.0 + 2.0 * target
    expected = error.flatten(1).norm(dim=1) / size.flatten(1).norm(dim=1)
    physical = make_loss("relative-l2", "fields", (X,), Normaliser([10.0], [2.0]))
    assert torch.allclose(physical(prediction, target), expected)
    assert not torch.allclose(make_loss("relative-l2", "fields", (X,))(prediction, target), expected)


def test_l2_stays_in_normalised_units():
    prediction, target = fields(2, 4, 3), fields(3, 4, 3)
    loss = make_loss("l2", "scalars", normaliser=Affine())
    assert torch.allclose(loss(prediction, target), (prediction - target).square().mean(1))


def test_msle_compares_logarithms_of_physical_values_and_cuts_negative_predictions():
    prediction, target = (
        torch.tensor([[-9.0, -4.0]]),
        torch.tensor([[-5.0, -5.0]]),
    )  # physical: -8, 2 and 0, 0
    assert make_loss("msle", "scalars", normaliser=Affine())(prediction, target).item() == pytest.approx(
        math.log(3.0) ** 2 / 2
    )


def test_gaussian_loss_is_the_negative_log_likelihood():
    from scipy.stats import norm

    mean, log_variance, target = fields(4, 2, 3), fields(5, 2, 3), fields(6, 2, 3)
    found = make_loss("gaussian", "scalars")(torch.cat([mean, log_variance], dim=1), target)
    expected = -norm(mean.numpy(), np.exp(0.5 * log_variance.numpy())).logpdf(target.numpy()).mean(1)
    assert found.numpy() == pytest.approx(expected, rel=1e-5)


def test_gaussian_loss_needs_twice_the_outputs():
    assert outputs_needed("gaussian", "fields", 3) == 6 and outputs_needed("l2", "fields", 3) == 3
    assert outputs_needed(None, "classify", 5) == 5


def test_gaussian_loss_of_absurd_variances_is_finite():
    output = torch.tensor([[0.0, 1e4], [0.0, -1e4]])
    assert torch.isfinite(make_loss("gaussian", "scalars")(output, torch.zeros(2, 1))).all()


def test_weights_of_classes_have_mean_one_over_the_training_samples():
    counts = np.array([90, 9, 1])
    weights = class_weights(counts).numpy()
    assert (counts * weights).sum() / counts.sum() == pytest.approx(1.0)
    assert weights == pytest.approx([100 / 270, 100 / 27, 100 / 3])


def test_weighted_cross_entropy_weighs_each_sample_by_its_class():
    logits, labels = fields(7, 3, 2), torch.tensor([0, 1, 1])
    found = make_loss("weighted-cross-entropy", "classify", class_counts=[3, 1])(logits, labels)
    plain = make_loss(None, "classify")(logits, labels)
    assert torch.allclose(found, plain * torch.tensor([2 / 3, 2.0, 2.0]))


def test_focal_with_gamma_zero_and_alpha_half_is_half_the_cross_entropy():
    logits, labels = fields(8, 6, 2), torch.tensor([0, 1, 0, 1, 1, 0])
    found = make_loss("focal=0,0.5", "classify")(logits, labels)
    assert torch.allclose(found, 0.5 * functional.cross_entropy(logits, labels, reduction="none"))


def test_focal_follows_its_formula():
    logits, labels = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0])
    y = 1.0 / (1.0 + math.exp(-1.0))
    expected = [-0.25 * (1 - y) ** 2 * math.log(y), -0.75 * y**2 * math.log(1 - y)]
    assert make_loss("focal", "classify")(logits, labels).tolist() == pytest.approx(expected, rel=1e-5)


def test_focal_of_many_classes_weighs_them_alike():
    logits, labels = fields(9, 4, 5), torch.tensor([0, 1, 2, 4])
    assert torch.allclose(
        make_loss("focal=0", "classify")(logits, labels),
        functional.cross_entropy(logits, labels, reduction="none"),
    )


def test_latitude_l2_weighs_rows_by_their_area():
    target = torch.zeros(1, 1, 3)
    loss = make_loss("latitude-l2", "fields", (LATITUDE,))
    assert loss(torch.tensor([[[1.0, 0.0, 0.0]]]), target).item() == pytest.approx(0.25)
    assert loss(torch.tensor([[[0.0, 1.0, 0.0]]]), target).item() == pytest.approx(0.5)


def test_defaults_follow_the_task():
    names = {task: make_loss(None, task).name for task in ("fields", "scalars", "classify")}
    assert names == {"fields": "relative-l2", "scalars": "l2", "classify": "cross-entropy"}


def test_half_precision_outputs_are_scored_in_float32():
    found = make_loss("l2", "scalars")(torch.ones(1, 3).bfloat16(), torch.zeros(1, 3))
    assert found.dtype == torch.float32 and found.item() == 1.0


def test_buffers_of_a_loss_move_with_it():
    loss = make_loss("h1", "fields", (X,)).to(torch.float64)
    assert {buffer.dtype for buffer in loss.buffers()} == {torch.float64}


@pytest.mark.parametrize(
    ("name", "task", "options", "message"),
    [
        ("cross-entropy", "fields", {}, "--loss cross-entropy: not for fields; losses are relative-l2"),
        ("relative-l2", "classify", {}, "--loss relative-l2: not for classes; losses are cross-entropy"),
        ("h1", "scalars", {}, "--loss h1: not for scalars"),
        ("huver", "scalars", {}, "did you mean 'huber'"),
        ("h1", "fields", {}, "need a grid"),
        ("latitude-l2", "fields", {"axes": (X,)}, "needs an axis lat, latitude or colatitude; axes are x"),
        ("weighted-cross-entropy", "classify", {}, "needs the training samples of each class"),
        (
            "weighted-cross-entropy",
            "classify",
            {"class_counts": [3, 0]},
            "class 1 of 2 has no training sample",
        ),
        ("l2=3", "scalars", {}, "takes 0 numbers, found 1: l2 alone"),
        ("focal=1,2,3", "classify", {}, "takes 2 numbers, found 3: focal=GAMMA,ALPHA"),
        ("focal=1,2", "classify", {}, "alpha is 2: 0 to 1 is needed"),
        ("huber=0", "scalars", {}, "delta is 0: above 0 is needed"),
        ("huber=x", "scalars", {}, "numbers are needed after the ="),
    ],
)
def test_wrong_losses_are_refused_in_one_line(name, task, options, message):
    with pytest.raises(InputError) as refused:
        make_loss(name, task, **options)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "task", "prediction", "target"),
    [
        ("l2", "scalars", torch.zeros(3), torch.zeros(3, 1)),
        ("l2", "scalars", torch.zeros(3, 2), torch.zeros(3, 1)),
        ("gaussian", "scalars", torch.zeros(3, 1), torch.zeros(3, 1)),
        ("cross-entropy", "classify", torch.zeros(2, 4), torch.zeros(3, dtype=torch.int64)),
    ],
)
def test_shapes_that_do_not_belong_together_are_not_broadcast(name, task, prediction, target):
    with pytest.raises(ValueError, match="the network returned"):
        make_loss(name, task)(prediction, target)


def test_a_target_that_has_died_away_does_not_outweigh_the_others():
    loss = make_loss("relative-l2", "fields", normaliser=Normaliser([0.0], [2.0]))
    target = torch.tensor([[[1.0, 1.0]], [[1e-12, 1e-12]]])
    prediction = target + 0.1
    assert loss(prediction, target).tolist() == pytest.approx([0.1, 0.1 / 1e-3], rel=1e-5)
