"""The index shows all files of a set as one, wherever the folder lies."""

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.world import World
from hpc_ds.store.merge import merge
from hpc_ds.store.split import SPLITS
from hpc_ds.store.training_set import TrainingSet


@pytest.fixture
def folder(zoo, tmp_path):
    zoo.write_run(tmp_path / "run", range(30))
    merge(tmp_path / "run", World(), samples_per_file=5)
    return tmp_path / "run"


def test_all_samples_are_behind_one_name(folder, zoo):
    with h5py.File(folder / "index.h5") as index:
        order = index["hpc_ds/design_index"][()]
        assert sorted(order) == list(range(30))
        assert index.attrs["n_trajectories"] == 30
        for name in ("t1_fields/velocity", "t0_fields/vorticity", "t2_fields/strain", "scalars/energy"):
            key = name.split("/")[1]
            assert np.array_equal(index[name], [zoo.sample(design)[key] for design in order])
        assert index["t1_fields/velocity"].attrs["time_varying"]
        assert list(index["dimensions"].attrs["spatial_dims"]) == ["x", "y"]
        viscosity = zoo.columns(order)["viscosity"].astype(np.float32)
        assert np.array_equal(index["scalars/viscosity"], viscosity)


def test_each_sample_has_its_split(folder):
    with h5py.File(folder / "index.h5") as index:
        for code, split in enumerate(SPLITS):
            chosen = index["hpc_ds/design_index"][index["hpc_ds/split"][()] == code]
            assert np.array_equal(chosen, TrainingSet(folder, split).design_index)


def test_there_is_one_mapping_a_file(folder):
    files = len(list((folder / "data").rglob("*.h5")))
    with h5py.File(folder / "index.h5") as index:
        assert len(index["t0_fields/vorticity"].virtual_sources()) == files > 3


def test_the_folder_can_be_moved(folder, zoo, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    folder.rename(tmp_path / "elsewhere")
    with h5py.File(tmp_path / "elsewhere" / "index.h5") as index:
        order = index["hpc_ds/design_index"][()]
        assert np.array_equal(index["t0_fields/vorticity"][7], zoo.sample(order[7])["vorticity"])


def test_a_file_that_is_gone_reads_as_nan(folder):
    (folder / "data" / "train" / "zoo_train_0001.h5").unlink()
    with h5py.File(folder / "index.h5") as index:
        assert np.isnan(index["t0_fields/vorticity"][5:10]).all()
        assert np.isfinite(index["t0_fields/vorticity"][10:]).all()
