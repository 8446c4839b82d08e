"""The test suite's own guard: a rank that fails or hangs ends all ranks, and is heard."""

import shutil
import sys
from pathlib import Path

FAILS_ON_RANK_1 = """
import pytest
from mpi4py import MPI

@pytest.mark.mpi
def test_one_rank_fails_while_the_other_waits():
    assert MPI.COMM_WORLD.Get_rank() == 0, "only rank 0 is well"
    MPI.COMM_WORLD.Barrier()
"""

RANK_1_HANGS = """
import time
import pytest
from mpi4py import MPI

@pytest.mark.mpi
@pytest.mark.timeout(2)
def test_one_rank_never_comes():
    if MPI.COMM_WORLD.Get_rank() == 1:
        time.sleep(600)
    MPI.COMM_WORLD.Barrier()
"""


def run_under_mpi(mpiexec, tmp_path, source):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path / "conftest.py")
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\ntimeout = 60\ntimeout_method = thread\n")
    (tmp_path / "test_sample.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "--with-mpi", "-p", "no:cacheprovider", tmp_path]
    return mpiexec(2, command, cwd=tmp_path, timeout=60)


def test_a_failing_rank_ends_all_ranks_and_is_heard(mpiexec, tmp_path):
    outcome = run_under_mpi(mpiexec, tmp_path, FAILS_ON_RANK_1)
    assert outcome.returncode != 0
    assert "only rank 0 is well" in outcome.stderr
    assert "1 failed on rank 1 of 2" in outcome.stderr


def test_a_hanging_rank_ends_all_ranks(mpiexec, tmp_path):
    outcome = run_under_mpi(mpiexec, tmp_path, RANK_1_HANGS)
    assert outcome.returncode != 0
    assert "test_one_rank_never_comes" in outcome.stdout + outcome.stderr


def test_permissions_bind_the_unprivileged_child(unprivileged, tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o500)
    outcome = unprivileged([sys.executable, "-c", f"open({str(folder / 'file')!r}, 'w')"])
    assert "PermissionError" in outcome.stderr
    assert not (folder / "file").exists()
