"""A training does not depend on the number of ranks: not one bit of its losses, metrics and weights."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

import hpc_ds.learn.pace
from hpc_ds.learn.distributed import join, learn_world
from hpc_ds.learn.recovery import TrainingFailure
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def toy():
    """Return the module toy_training.py, which tests in importlib mode cannot import."""
    place = Path(__file__).parents[1] / "learn" / "toy_training.py"
    spec = importlib.util.spec_from_file_location("toy_training", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def world():
    return learn_world()


@pytest.fixture
def folder(world, tmp_path):
    """Return a folder that all ranks share."""
    return Path(world.bcast(str(tmp_path)))


@pytest.fixture
def alone(toy, tmp_path):
    """Return the answer of a training of this rank alone: `alone(epochs=2)`."""

    def run(**options):
        folder = tmp_path / "alone"
        folder.mkdir(exist_ok=True)
        trainer = toy.make_trainer(folder, group=join(World(), device="cpu"), **options)
        return toy.answer(trainer, trainer.run())

    return run


def reproducible(world):
    return world.size & (world.size - 1) == 0


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2, "activation_checkpoints": True, "precision": "bfloat16"}]
)
def test_training_has_the_same_bits_on_any_number_of_ranks(toy, world, folder, alone, comm, options):
    with join(world, comm=comm, device="cpu") as group:
        if not reproducible(world):
            with pytest.raises(InputError, match="--lanes 4 can be shared by 1, 2 or 4 ranks"):
                toy.make_trainer(folder, group=group, **options).run()
            return
        trainer = toy.make_trainer(folder, group=group, **options)
        found = toy.answer(trainer, trainer.run())
    for part, expected in zip(found, alone(**options)):
        assert part == expected


@pytest.mark.parametrize("kind", ["fast", "sharded"])
def test_other_reductions_give_the_same_losses_to_rounding(toy, world, folder, alone, kind):
    # Sharded, BatchNorm sees the share of a rank rather than a lane: there a network without it is compared.
    network, own = (toy.make_network() if kind == "fast" else plain_network() for _ in range(2))
    trainer = toy.make_trainer(folder, group=join(world, device="cpu"), network=network, reduction=kind)
    result = trainer.run()
    _, expected, best = alone(network=own)
    losses = [epoch.train_loss for epoch in result.history.epochs]
    assert losses == pytest.approx([epoch["train_loss"] for epoch in expected["epochs"]], rel=1e-5)
    assert result.best_epoch == best
    for epoch, other in zip(result.history.epochs, expected["epochs"]):
        assert epoch.valid == pytest.approx(other["valid"], rel=1e-5)


@pytest.mark.parametrize("kind", ["reproducible", "fast", "sharded"])
def test_training_that_is_stopped_on_all_ranks_goes_on(toy, world, folder, tmp_path, kind, monkeypatch):
    if kind == "reproducible" and not reproducible(world):
        pytest.skip("reproducible takes powers of two")
    monkeypatch.setattr(hpc_ds.learn.pace, "EVERY", 0.0)
    group, answers = join(world, device="cpu"), []
    for name, looks in (("whole", 10**9), ("cut", 5)):
        place = folder / name
        if world.is_root:
            place.mkdir()
        world.barrier()
        state = "stopped"
        while state == "stopped":
            # Only the last rank has a reason to stop.
            mine = looks if world.rank == world.size - 1 else 10**9
            trainer = toy.make_trainer(place, group=group, deadline=Looks(mine), reduction=kind, epochs=3)
            result = trainer.run()
            state = result.state
        weights = {name: array.tobytes() for name, array in result.weights.items()}
        if kind != "sharded" or world.size == 1:
            assert not weights
            weights = toy.answer(trainer, result)[0]
        answers.append((weights, json.dumps([epoch.train_loss for epoch in result.history.epochs])))
    assert answers[0] == answers[1]


def plain_network():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Conv1d(2, 6, 3, padding=1), torch.nn.GELU(), torch.nn.Conv1d(6, 1, 1))


class Looks:
    """A deadline that comes on one rank after so many looks, and is agreed upon by all."""

    def __init__(self, looks):
        self.looks = looks

    def agreed(self, world):
        self.looks -= 1
        return world.any(self.looks < 0)

    def reason(self):
        return "one rank wants to stop"


def test_all_ranks_learn_of_a_poisoned_sample_and_name_it(toy, world, folder):
    if world.is_root:
        toy.write_data(folder / "data.npz", poison=17, value=math.inf)
    world.barrier()
    trainer = toy.make_trainer(folder, group=join(world, device="cpu"), reduction="fast", lanes=8)
    with pytest.raises(
        TrainingFailure, match=r"^epoch 1, step \d: the loss of sample 17 \(train\) is nan$"
    ) as failure:
        trainer.run()
    assert len(set(world.allgather(str(failure.value)))) == 1


@pytest.mark.parametrize("kind", ["reproducible", "fast"])
def test_samples_that_one_rank_cannot_read_are_bad_input_on_all(toy, world, folder, kind):
    if kind == "reproducible" and not reproducible(world):
        pytest.skip("reproducible takes powers of two")
    trainer = toy.make_trainer(folder, group=join(world, device="cpu"), reduction=kind)
    read, steps = trainer.train.read, iter(range(1000))

    def torn(*arguments):
        if next(steps) == 3 and world.rank == world.size - 1:
            raise InputError("data.npz: cannot be read (torn)")
        read(*arguments)

    trainer.train.read = torn
    with pytest.raises(InputError, match=r"^data.npz: cannot be read \(torn\)$"):
        trainer.run()
