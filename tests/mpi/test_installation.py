"""The MPI that set-up chose: one library in the process, and parallel HDF5 that all ranks write through."""

import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.mpi(min_size=2)


@pytest.fixture
def h5py():
    module = pytest.importorskip("h5py")
    if not module.get_config().mpi:
        pytest.skip("needs h5py on parallel HDF5: this one is serial")
    return module


def test_mpi4py_and_h5py_share_one_mpi_library(h5py):
    maps = Path("/proc/self/maps").read_text()
    libraries = {Path(path).resolve() for path in re.findall(r"/\S*/libmpi(?:ch)?\.so\S*", maps)}
    assert len(libraries) == 1, libraries


def test_all_ranks_write_one_file_together(h5py, mpi_tmp_path):
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    path = mpi_tmp_path / "together.h5"
    with h5py.File(path, "w", driver="mpio", comm=world) as file:
        dataset = file.create_dataset("rank", (world.size, 1000), dtype="i8")
        with dataset.collective:
            dataset[world.rank] = world.rank
    with h5py.File(path, "r", driver="mpio", comm=world) as file:
        assert np.array_equal(file["rank"][:, 0], np.arange(world.size))
        assert np.array_equal(file["rank"][:, -1], np.arange(world.size))
