"""Samples that are computed when they are read, as a training learns from them."""

import numpy as np
import pytest

from hpc_ds.learn import train
from hpc_ds.learn.computed import ComputedData, ComputedDataset
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import stream


def noisy_copies(name, offset, length):
    """Copies of 10 numbers each with its own noise, whose mean is to be learned."""

    def compute(samples):
        rows = [stream(3, offset + int(sample)) for sample in samples]
        target = np.array([rng.uniform(-1.0, 1.0) for rng in rows])[:, None]
        return target + 0.5 * np.array([rng.normal(size=10) for rng in rows]), target

    names = [f"copy {i}" for i in range(10)]
    shapes = {"input_shape": (10,), "target_shape": (1,), "input_names": names, "target_names": ["value"]}
    return ComputedDataset(name, length, compute, task="scalars", **shapes)


def data(content="first"):
    splits = {"train": noisy_copies("train", 0, 4000), "test": noisy_copies("test", 10**6, 2000)}
    return ComputedData("noisy copies", splits, content)


def learn(folder, **more):
    words = {"epochs": 15, "batch": 100, "lanes": 1, "learning_rate": 0.01, "options": {"layers": "none"}}
    return train("mlp", data(**more), folder=folder, tell=lambda line: None, **words)


def test_a_linear_network_learns_the_best_linear_estimate_of_noisy_copies(tmp_path):
    # The posterior mean of a value of variance 1/3 seen ten times with noise of variance 1/4 leaves
    # 1/(3 + 10/0.25) of variance, if it were normal; among linear estimates that is exact.
    reached = learn(tmp_path / "run").metrics["test"]["rmse"]
    assert reached == pytest.approx(1.0 / np.sqrt(3.0 + 40.0), rel=0.05)


def test_members_may_learn_from_splits_of_their_own(tmp_path):
    asked = []

    def train_of(member):
        asked.append(member)
        return noisy_copies("train", 10**5 * member, 500)

    splits = {"train": noisy_copies("train", 0, 500), "test": noisy_copies("test", 10**6, 500)}
    mine = ComputedData("noisy copies", splits, "third", train_of)
    words = {"epochs": 2, "batch": 100, "lanes": 1, "members": 2, "options": {"layers": "none"}}
    outcome = train("mlp", mine, folder=tmp_path / "run", tell=lambda line: None, **words)
    assert set(asked) == {0, 1} and "crps" in outcome.metrics["test"]


def test_data_of_another_content_are_another_training(tmp_path):
    learn(tmp_path / "run")
    with pytest.raises(InputError, match="content"):
        learn(tmp_path / "run", content="second")


def test_an_mlp_of_the_published_shape_has_the_published_number_of_parameters():
    from hpc_ds.learn import build_network
    from hpc_ds.learn.networks import count_parameters

    options = {"layers": "60-40-40", "activation": "relu", "output": "tanh"}
    for inputs, parameters in ((30, 6145), (56, 7705)):
        network = build_network("mlp", options, (inputs,), (5,), "scalars")
        assert count_parameters(network) == parameters
