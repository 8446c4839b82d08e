"""Evaluations have the same bits on any number of ranks, and members are trained side by side."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpc_ds.learn.evaluation import climatology, evaluate
from hpc_ds.learn.metrics import make_metrics
from hpc_ds.learn.uncertainty import member_groups
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World, get_world

pytestmark = pytest.mark.mpi

N, BLOCK = 23, 2


@pytest.fixture
def world():
    return get_world()


def group(world):
    return SimpleNamespace(world=world, device=torch.device("cpu"))


class Memory:
    """Fields or classes made of their sample numbers; some samples cannot be read."""

    name, axes = "memory (test)", ()

    def __init__(self, task, samples=N, unreadable=(), nan=()):
        self.task, self.samples, self.unreadable, self.nan = task, samples, unreadable, nan
        self.input_shape = (2, 8, 8)
        self.target_shape = (3,) if task == "classify" else (2, 8, 8)
        self.input_names, self.target_names = ("u", "v"), ("a", "b", "c")[: self.target_shape[0]]

    def __len__(self):
        return self.samples

    def where(self, sample):
        return f"valid.h5, row {sample}"

    def read(self, samples, inputs, targets):
        for row, sample in enumerate(samples.tolist()):
            if sample in self.unreadable:
                raise InputError(f"shard of sample {sample}: damaged")
            rng = np.random.default_rng(sample)
            inputs[row] = rng.normal(size=self.input_shape)
            targets[row] = sample % 3 if self.task == "classify" else rng.normal(size=self.target_shape)
            if sample in self.nan:
                inputs[row, 0, 0, 0] = np.nan


class Network:
    """Fields with a spread, or probabilities; counts its calls."""

    def __init__(self, task):
        self.task, self.calls = task, 0
        weights = np.random.default_rng(99).normal(size=(128, 3)).astype(np.float32)
        self.weights = torch.from_numpy(weights)

    def __call__(self, inputs):
        self.calls += 1
        if self.task == "classify":
            return (inputs.flatten(1) @ self.weights).softmax(1)
        return inputs.sin(), inputs.cos().abs() + 0.1


@pytest.mark.parametrize("task", ["fields", "classify"])
@pytest.mark.parametrize("samples", [1, 5, N])
def test_an_evaluation_has_the_same_bits_on_any_number_of_ranks(world, task, samples):
    metrics = make_metrics(task, spread=task == "fields")
    data = Memory(task, samples)
    together = evaluate(Network(task), data, group(world), BLOCK, metrics, keep=True)
    alone = evaluate(Network(task), data, group(World()), BLOCK, metrics, keep=True)
    assert list(together.metrics) == list(alone.metrics)
    assert (
        np.array(list(together.metrics.values())).tobytes()
        == np.array(list(alone.metrics.values())).tobytes()
    )
    for name, values in alone.details.items():
        assert np.array_equal(together.details[name], values, equal_nan=True)
    if world.is_root:
        assert together.error.tobytes() == alone.error.tobytes()
        assert {name: part.tobytes() for name, part in together.arrays.items()} == {
            name: part.tobytes() for name, part in alone.arrays.items()
        }
        assert list(together.pictures) == list(alone.pictures)
        for place, picture in alone.pictures.items():
            for name, part in picture.arrays.items():
                assert np.array_equal(together.pictures[place].arrays[name], part)
    else:
        assert not len(together.error) and not together.pictures


def test_a_network_is_called_equally_often_on_all_ranks(world):
    network = Network("fields")
    evaluate(network, Memory("fields"), group(world), BLOCK, make_metrics("fields"), keep=True)
    blocks = -(-N // BLOCK)
    assert world.allgather(network.calls) == [-(-blocks // world.size) + 3] * world.size


def test_a_climatology_has_the_same_bits_on_any_number_of_ranks(world):
    data = Memory("fields")
    assert (
        climatology(data, group(world), BLOCK).tobytes() == climatology(data, group(World()), BLOCK).tobytes()
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Memory("fields", unreadable=(5,)), "shard of sample 5: damaged"),
        (Memory("fields", nan=(21, 8)), "valid.h5, row 8: the input holds NaN or infinity (and 1 more such)"),
    ],
)
def test_a_fault_that_one_rank_meets_ends_all(world, data, message):
    with pytest.raises(InputError) as refused:
        evaluate(Network("fields"), data, group(world), BLOCK, make_metrics("fields"))
    assert message in str(refused.value)
    assert len(set(world.allgather(str(refused.value)))) == 1


def test_metrics_that_the_network_cannot_have_end_all_ranks_also_those_without_a_block(world):
    metrics = make_metrics("fields", ("nll",), spread=True)
    with pytest.raises(InputError, match="need a network with a spread"):
        evaluate(torch.sin, Memory("fields", 1), group(world), BLOCK, metrics)


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_groups_train_different_members_at_once(world, members):
    mine, dealt, deal = member_groups(world, members)
    seen = world.allgather((None if mine is None else mine.size, dealt))
    trained = [
        member
        for rank, (_, part) in enumerate(seen)
        for member in part
        if rank in {g[0] for g in deal.groups}
    ]
    assert sorted(trained) == list(range(members))
    assert {size for size, _ in seen if size} == {world.size // min(world.size, members)}
    if mine is not None:
        assert mine.allgather(world.rank) == list(deal.groups[deal.of(world.rank)])
        mine.free()
