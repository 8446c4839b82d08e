"""The ground floor costs nothing to import and never starts MPI."""

import subprocess
import sys

import pytest

HEAVY = {"mpi4py", "numba", "torch", "rich", "scipy", "h5py", "dask"}
WITHOUT_NUMPY = [
    "errors",
    "atomic",
    "world",
    "threads",
    "folder",
    "lock",
    "provenance",
    "deadline",
    "progress",
]


def loaded(statement, repository, environment):
    names = "sorted({name.partition('.')[0] for name in sys.modules})"
    code = f"import sys\n{statement}\nprint(*{names})"
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_package_imports_nothing_heavy(repository, plain_environment):
    assert not loaded("import hpc_ds.runtime", repository, plain_environment) & (HEAVY | {"numpy"})


@pytest.mark.parametrize("module", WITHOUT_NUMPY)
def test_module_leaves_numpy_unloaded_so_that_threads_can_be_limited(module, repository, plain_environment):
    assert not loaded(f"import hpc_ds.runtime.{module}", repository, plain_environment) & (HEAVY | {"numpy"})


@pytest.mark.parametrize("module", ["random", "snapshot"])
def test_array_modules_import_nothing_beyond_numpy(module, repository, plain_environment):
    assert not loaded(f"import hpc_ds.runtime.{module}", repository, plain_environment) & HEAVY


def test_serial_world_does_not_load_mpi(repository, plain_environment):
    statement = "from hpc_ds.runtime.world import get_world; assert get_world().size == 1"
    assert "mpi4py" not in loaded(statement, repository, plain_environment)
