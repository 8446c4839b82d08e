"""Evaluations of data sets in memory: blocks, pictures, faults and the file."""

from dataclasses import dataclass, field

import h5py
import numpy as np
import pytest
import torch

from hpc_ds.learn.evaluation import climatology, evaluate
from hpc_ds.learn.evaluation_file import read_evaluation, write_evaluation
from hpc_ds.learn.metrics import make_metrics
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World


@dataclass
class Alone:
    """A group of one rank."""

    world: World = field(default_factory=World)
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable


class Memory:
    """A data set of given arrays."""

    name, axes = "memory (valid)", ()

    def __init__(self, task, inputs, targets, classes=0):
        self.task, self.inputs, self.targets = task, inputs, targets
        self.input_shape = inputs.shape[1:]
        self.target_shape = (classes,) if task == "classify" else targets.shape[1:]
        self.input_names = tuple(f"in{i}" for i in range(self.input_shape[0]))
        self.target_names = tuple(f"out{i}" for i in range(self.target_shape[0]))
        self.blocks = []

    def __len__(self):
        return len(self.inputs)

    def where(self, sample):
        return f"valid.h5, row {sample}"

    def read(self, samples, inputs, targets):
        self.blocks.append(samples.tolist())
        inputs[:], targets[:] = self.inputs[samples], self.targets[samples]


def fields(n=11):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n, 2, 6, 6)).astype(np.float32)
    return Memory("fields", inputs, 3.0 * inputs[:, :1] + 1.0)


def nearly(inputs):
    """A prediction of `fields` whose error grows with the first input of the sample."""
    return 3.0 * inputs[:, :1] + 1.0 + 0.1 * inputs[:, 0, 0, 0].reshape(-1, 1, 1, 1)


def scalars(n=11):
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(n, 3)).astype(np.float32)
    return Memory("scalars", inputs, inputs[:, :2] * 2.0)


def classes(n=30):
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(n, 3)).astype(np.float32)
    return Memory("classify", inputs, inputs.argmax(1), classes=3)


def softmax(inputs):
    return inputs.softmax(dim=1)


def test_metrics_are_those_of_all_samples_at_once():
    data = fields()
    found = evaluate(nearly, data, Alone(), 4, make_metrics("fields"))
    prediction = nearly(torch.from_numpy(data.inputs)).double().numpy()
    error = prediction - data.targets
    relative = np.linalg.norm(error.reshape(11, -1), axis=1) / np.linalg.norm(
        data.targets.reshape(11, -1), axis=1
    )
    assert found.metrics["relative_l2"] == pytest.approx(relative.mean(), rel=1e-6)
    assert found.error == pytest.approx(relative, rel=1e-6) and found.sample.tolist() == list(range(11))
    assert found.metrics["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert found.names == ("out0",) and not found.not_finite.size and not found.pictures


def test_blocks_are_fixed_and_read_in_order_once():
    data = fields()
    evaluate(nearly, data, Alone(), 4, make_metrics("fields"))
    assert data.blocks == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_many_rounds_are_joined_in_order():
    data = scalars(n=150)
    found = evaluate(lambda inputs: inputs[:, :2], data, Alone(), 1, make_metrics("scalars"))
    assert np.array_equal(found.arrays["target"], data.targets)


def test_the_best_the_median_and_the_worst_sample_are_kept():
    data = fields()
    found = evaluate(nearly, data, Alone(), 4, make_metrics("fields"), keep=True)
    order = np.argsort(found.error)
    for place, sample in (("best", order[0]), ("median", order[5]), ("worst", order[10])):
        picture = found.pictures[place]
        assert picture.sample == sample and picture.error == found.error[sample]
        assert np.array_equal(picture.arrays["input"], data.inputs[sample])
        assert np.array_equal(picture.arrays["target"], data.targets[sample])
        assert picture.arrays["prediction"].shape == (1, 6, 6)


def test_predictions_with_a_spread_bring_its_metrics():
    data = scalars()

    def with_spread(inputs):
        return 2.0 * inputs[:, :2] + 1.0, torch.full((len(inputs), 2), 1.0)

    found = evaluate(with_spread, data, Alone(), 4, make_metrics("scalars", spread=True))
    assert found.metrics["coverage_68"] == 0.0 and found.metrics["coverage_90"] == 1.0
    assert found.metrics["sharpness"] == 1.0 and found.arrays["spread"].shape == (11, 2)
    assert found.metrics["rmse"] == pytest.approx(1.0, abs=1e-6)


def test_classes_keep_all_probabilities_and_rank_by_that_of_the_right_one():
    data = classes()
    found = evaluate(softmax, data, Alone(), 8, make_metrics("classify"))
    probability = softmax(torch.from_numpy(data.inputs)).numpy()
    assert np.array_equal(found.arrays["label"], data.targets)
    assert found.arrays["probability"] == pytest.approx(probability)
    assert found.metrics["accuracy"] == 1.0
    assert found.details["accuracy/confusion"].tolist() == np.diag(np.bincount(data.targets)).tolist()
    assert found.error == pytest.approx(-np.log(probability[np.arange(30), data.targets]), rel=1e-6)


def test_a_prediction_that_is_not_finite_is_told_and_leaves_no_metric():
    data = fields()

    def broken(inputs):
        prediction = nearly(inputs)
        prediction[inputs[:, 0, 0, 0] == data.inputs[6, 0, 0, 0]] = float("nan")
        return prediction

    found = evaluate(broken, data, Alone(), 4, make_metrics("fields"), keep=True)
    assert found.not_finite.tolist() == [6] and np.isnan(found.error[6])
    assert all(np.isnan(value) for value in found.metrics.values())
    assert found.pictures["worst"].sample == 6


@pytest.mark.parametrize("what", ["input", "target"])
def test_data_that_are_not_finite_are_refused_by_sample(what):
    data = fields()
    getattr(data, f"{what}s")[[7, 9], 0, 2, 2] = np.inf
    with pytest.raises(
        InputError, match=rf"valid\.h5, row 7: the {what} holds NaN or infinity \(and 1 more such\)"
    ):
        evaluate(nearly, data, Alone(), 4, make_metrics("fields"))


def test_a_data_set_that_cannot_be_read_is_refused():
    data = fields()

    def read(samples, inputs, targets):
        raise InputError("valid.h5: damaged")

    data.read = read
    for collective in (
        lambda: evaluate(nearly, data, Alone(), 4, make_metrics("fields")),
        lambda: climatology(data, Alone(), 4),
    ):
        with pytest.raises(InputError, match=r"valid\.h5: damaged"):
            collective()


def test_no_samples_and_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="no samples"):
        evaluate(nearly, fields(0), Alone(), 4, make_metrics("fields"))
    with pytest.raises(ValueError, match=r"predictions have the shape \(4, 2, 6, 6\), not \(4, 1, 6, 6\)"):
        evaluate(lambda inputs: inputs, fields(), Alone(), 4, make_metrics("fields"))


def test_what_a_network_caches_while_it_is_evaluated_does_for_training():
    class Lazy(torch.nn.Module):
        scale = None

        def forward(self, inputs):
            self.scale = torch.full((1,), 3.0) if self.scale is None else self.scale
            return self.scale * inputs[:, :1]

    network = Lazy()
    evaluate(network, fields(), Alone(), 4, make_metrics("fields"))
    inputs = torch.ones(1, 2, 6, 6, requires_grad=True)
    network(inputs).sum().backward()
    assert inputs.grad.max() == 3.0


def test_climatology_is_the_mean_target_at_each_point():
    data = fields()
    assert climatology(data, Alone(), 4) == pytest.approx(data.targets.astype(np.float64).mean(0))


def test_the_file_gives_back_what_was_written(tmp_path):
    def with_spread(inputs):
        return nearly(inputs), torch.ones(len(inputs), 1, 6, 6)

    metrics = make_metrics("fields", spread=True)
    valid = evaluate(with_spread, fields(), Alone(), 4, metrics, keep=True)
    test = evaluate(with_spread, fields(5), Alone(), 4, metrics)
    write_evaluation(tmp_path / "evaluation.h5", {"valid": valid, "test": test})
    found = read_evaluation(tmp_path / "evaluation.h5")
    assert list(found) == ["valid", "test"] and found["test"].pictures == {}
    for name, written in (("valid", valid), ("test", test)):
        back = found[name]
        assert (back.task, back.names, back.input_names) == ("fields", ("out0",), ("in0", "in1"))
        assert back.metrics == written.metrics and back.metric == written.metric
        assert np.array_equal(back.error, written.error) and np.array_equal(back.sample, written.sample)
        for key, values in written.details.items():
            assert np.array_equal(back.details[key], values)
    for place, picture in valid.pictures.items():
        back = found["valid"].pictures[place]
        assert (back.sample, back.error) == (picture.sample, picture.error)
        assert set(back.arrays) == {"input", "target", "prediction", "spread"}
        assert all(np.array_equal(back.arrays[key], values) for key, values in picture.arrays.items())


def test_the_file_of_classes_and_of_predictions_that_failed(tmp_path):
    data = classes()
    good = evaluate(softmax, data, Alone(), 8, make_metrics("classify"))
    bad = evaluate(lambda inputs: softmax(inputs) * torch.nan, data, Alone(), 8, make_metrics("classify"))
    write_evaluation(tmp_path / "evaluation.h5", {"valid": bad, "test": good})
    found = read_evaluation(tmp_path / "evaluation.h5")
    assert found["valid"].not_finite.tolist() == list(range(30)) and found["valid"].details == {}
    assert np.array_equal(found["test"].arrays["probability"], good.arrays["probability"])
    assert np.array_equal(
        found["test"].details["calibration_error/reliability"],
        good.details["calibration_error/reliability"],
        equal_nan=True,
    )


def test_the_file_is_plain_hdf5(tmp_path):
    found = evaluate(nearly, fields(), Alone(), 4, make_metrics("fields"), keep=True)
    write_evaluation(tmp_path / "evaluation.h5", {"valid": found}, units="m/s")
    with h5py.File(tmp_path / "evaluation.h5") as file:
        assert file["valid"].attrs["metric"] == "relative L2" and file["valid"].attrs["units"] == "m/s"
        assert file["valid/worst"].attrs["sample"] == found.pictures["worst"].sample
        assert file["valid/metrics/rmse"][()] == found.metrics["rmse"]
        assert file["valid/median/prediction"].shape == (1, 6, 6)


def test_another_file_is_no_evaluation(tmp_path):
    h5py.File(tmp_path / "other.h5", "w").close()
    with pytest.raises(InputError, match="format None is no evaluation's; 1 is needed"):
        read_evaluation(tmp_path / "other.h5")
