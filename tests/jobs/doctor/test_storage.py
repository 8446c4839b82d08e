"""Folders that cannot be written, full disks, file systems without locks or with another clock are found."""

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from hpc_ds.jobs.doctor.kernels import HOME, NAME, check_home, check_kernels
from hpc_ds.jobs.doctor.storage import CLOCK, FOLDER, LOCKS, SPACE, check_storage, file_clock, locks, space

LOOK = """
from pathlib import Path
from hpc_ds.jobs.doctor import Situation
from hpc_ds.jobs.doctor.{module} import {check}
"""
SAY = "[print(each.state, each.name, each.found, each.cure, sep='|') for each in {check}(Situation(Path({folder!r})))]"


def test_a_good_folder_is_all_right_and_stays_empty(machine, found):
    told = found(check_storage, machine.situation())
    assert set(told) == {FOLDER, SPACE, LOCKS, CLOCK}
    assert [told[name].state for name in (FOLDER, LOCKS, CLOCK)] == ["ok"] * 3
    assert list(machine.runs.iterdir()) == []


def test_a_folder_that_is_to_be_made_is_judged_by_the_one_above(machine, found):
    machine.runs = machine.runs / "new" / "run"
    assert found(check_storage, machine.situation())[FOLDER].state == "ok"
    assert not machine.runs.exists()


def as_one_whom_permissions_bind(unprivileged, repository, module, check, folder, **variables):
    """Run a check where root's rights do not help; return the fields of its first finding."""
    code = (LOOK + SAY).format(module=module, check=check, folder=str(folder))
    outcome = unprivileged([sys.executable, "-c", code], env={"PYTHONPATH": str(repository), **variables})
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.splitlines()[0].split("|")


def test_a_folder_that_cannot_be_written_is_wrong(unprivileged, repository, tmp_path):
    (tmp_path / "runs").mkdir(mode=0o555)
    told = as_one_whom_permissions_bind(
        unprivileged, repository, "storage", "check_storage", tmp_path / "runs"
    )
    assert told[:2] == ["wrong", FOLDER] and "Permission denied" in told[2]


def disk(free, files=10**6):
    return lambda path: os.statvfs_result((4096, 1, 10**9, 10**9, free, 10**7, files, files, 0, 255))


def test_little_room_is_noted_and_none_is_wrong():
    assert space(Path("/x"), disk(50 * 10**9)).state == "ok"
    assert space(Path("/x"), disk(10**9)).state == "note"
    assert space(Path("/x"), disk(10**6)).state == "wrong"


def test_few_files_left_are_noted():
    told = space(Path("/x"), disk(50 * 10**9, files=50))
    assert told.state == "note" and told.cure == "df -i /x"


def refuse(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_file_system_without_locks_is_wrong_until_hdf5_is_told(tmp_path):
    told = locks(tmp_path, None, refuse)
    assert told.state == "wrong" and told.cure == "export HDF5_USE_FILE_LOCKING=FALSE"
    assert locks(tmp_path, "TRUE", refuse).state == "wrong"
    assert locks(tmp_path, "FALSE", refuse).state == "ok"


def test_a_word_that_hdf5_does_not_know_is_noted(tmp_path):
    assert locks(tmp_path, "no").state == "note"
    assert locks(tmp_path, "BEST_EFFORT").state == locks(tmp_path, None).state == "ok"


@pytest.mark.parametrize(
    "skew, state", [(0, "ok"), (10, "note"), (-10, "note"), (100, "wrong"), (-100, "wrong")]
)
def test_a_file_system_with_another_clock_is_found(tmp_path, skew, state):
    told = file_clock(tmp_path, clock=lambda: time.time() - skew)
    assert told.state == state
    if skew:
        assert f"{abs(skew)} s {'ahead of' if skew > 0 else 'behind'}" in told.found


# ---- kernels and the home folder --------------------------------------------------------------------------------


def test_kernels_can_be_kept_here(machine, found, tmp_path):
    told = found(check_kernels, machine.situation(NUMBA_CACHE_DIR=str(tmp_path / "kept")))[NAME]
    assert told.state == "ok" and "none yet" in told.found


def test_a_folder_of_kernels_that_cannot_be_written_is_wrong(unprivileged, repository, tmp_path):
    (tmp_path / "kept").mkdir(mode=0o555)
    told = as_one_whom_permissions_bind(
        unprivileged, repository, "kernels", "check_kernels", tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "kept")
    )
    assert told[0] == "wrong" and "Permission denied" in told[2] and "NUMBA_CACHE_DIR=" in told[3]


def test_kernels_older_than_the_sources_are_noted_where_the_folder_does_not_tell_them_apart(
    machine, found, tmp_path
):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "step.nbi").touch()
    assert found(check_kernels, machine.situation(NUMBA_CACHE_DIR=str(folder)))[NAME].state == "ok"
    os.utime(folder / "step.nbi", (1e9, 1e9))
    told = found(check_kernels, machine.situation(NUMBA_CACHE_DIR=str(folder)))[NAME]
    assert told.state == "note" and told.cure == f"rm -r {folder}"


def test_a_numba_that_cannot_be_loaded_is_wrong(machine, found):
    machine.package("numba", "raise ImportError('Numba needs NumPy 2.4 or less')")
    told = found(check_kernels, machine.situation())[NAME]
    assert told.state == "wrong" and "NumPy 2.4 or less" in told.found


def test_a_home_that_is_not_visible_is_noted(machine, found, tmp_path):
    assert found(check_home, machine.situation(HOME=str(tmp_path)))[HOME].state == "ok"
    told = found(check_home, machine.situation(HOME="/nowhere/at/all"))[HOME]
    assert told.state == "note" and "is not visible" in told.found
    assert told.cure.startswith(f"export XDG_CACHE_HOME={machine.runs}/.cache")
