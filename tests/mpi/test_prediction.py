"""The file of predictions is the same, byte for byte, on any number of ranks; what one rank meets ends all of them."""

import errno
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from hpc_ds.learn.dataset import Dataset, open_dataset
from hpc_ds.learn.network_file import save_network
from hpc_ds.learn.networks import build_network
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.prediction import predict
from hpc_ds.learn.prediction_file import PredictionFile
from hpc_ds.learn.predictor import Predictor, describe
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.world import World, get_world

pytestmark = pytest.mark.mpi

SETTINGS = make_settings({"task": "scalars"})


@pytest.fixture
def world():
    return get_world()


@pytest.fixture
def folder(world, tmp_path_factory):
    """A folder that all ranks see, with a trained network and data for it."""
    place = Path(world.bcast(str(tmp_path_factory.mktemp("prediction")) if world.is_root else ""))
    world.root_first(make_run, place)
    return place


def make_run(place):
    torch.manual_seed(5)
    x = np.random.default_rng(5).normal(size=(53, 6)).astype(np.float32)
    np.savez(place / "data.npz", x=x, y=x[:, :2] ** 2)
    dataset = open_dataset(place / "data.npz", "train", SETTINGS)
    card = describe("mlp", {"layers": [16]}, dataset)
    network = build_network("mlp", card.options, card.input_shape, card.output_shape, card.task)
    save_network(
        place / "network",
        Predictor(card, network, Normaliser(np.zeros(6), np.ones(6)), Normaliser.identity()),
    )


def test_file_has_the_same_bytes_on_any_number_of_ranks(world, folder):
    serial = folder / "serial.h5"
    world.root_first(
        lambda: predict(folder, folder / "data.npz", out=serial, batch=4, world=World()) and None
    )
    out = predict(folder, folder / "data.npz", out=folder / "parallel.h5", batch=4, world=world)
    assert world.root_first(lambda: out.read_bytes() == serial.read_bytes())


def test_ranks_without_a_block_do_no_harm(world, folder):
    out = predict(folder, folder / "data.npz", batch=1000, world=world)
    assert world.root_first(lambda: out.stat().st_size > 53 * 8)


def test_every_rank_hears_that_one_could_not_read(world, folder, monkeypatch):
    if world.rank == world.size - 1:
        read, calls = Dataset.read, []

        def broken(self, *arguments):
            calls.append(arguments)
            if len(calls) > 1:  # the first sample is looked at beforehand
                raise InputError("data.npz: cannot be read (Stale file handle)")
            read(self, *arguments)

        monkeypatch.setattr(Dataset, "read", broken)
    with pytest.raises(InputError, match="Stale file handle"):
        predict(folder, folder / "data.npz", batch=4, world=world)
    assert world.root_first(lambda: not list(folder.glob("predictions/*.h5")))


def test_every_rank_hears_that_one_could_not_write(world, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if world.rank == world.size - 1:
        monkeypatch.setattr(PredictionFile, "write", full)
    with pytest.raises(StorageError, match="No space left on device"):
        predict(folder, folder / "data.npz", batch=4, world=world)
    monkeypatch.undo()
    world.barrier()
    assert predict(folder, folder / "data.npz", batch=4, world=world).name == "data.h5"


def test_every_rank_hears_of_bad_input(world, folder):
    with pytest.raises(InputError, match="no such file"):
        predict(folder, folder / "nothing.npz", world=world)
    world.root_first((folder / "there.h5").touch)
    with pytest.raises(InputError, match="is there already"):
        predict(folder, folder / "data.npz", out=folder / "there.h5", world=world)


def test_values_that_are_not_finite_are_counted_over_the_ranks(world, folder):
    def spoil():
        x = np.zeros((53, 6), dtype=np.float32)
        x[[9, 30, 52]] = np.nan
        np.savez(folder / "spoilt.npz", x=x)

    world.root_first(spoil)
    lines = []
    out = predict(folder, folder / "spoilt.npz", batch=4, world=world, tell=lines.append)
    assert any("3 of 53 samples hold a NaN" in line and "sample 9 (" in line for line in lines)
    with h5py.File(out) as file:
        assert file.attrs["not_finite"] == 3
