"""Whether runs can be written where they are to go: room, rights, locks, and a clock that agrees."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hpc_ds.jobs.doctor.finding import Finding
from hpc_ds.jobs.doctor.situation import Situation
from hpc_ds.runtime.amounts import size_text
from hpc_ds.runtime.lock import STALE

FOLDER, SPACE, LOCKS, CLOCK = "run folder", "disk space", "file locks", "clock of the file system"

NOTED_SKEW, WRONG_SKEW = 2.0, STALE / 2
"""Seconds. Two because some file systems know no finer time; half of what makes a run's lock look abandoned."""

SET_CLOCK = "chronyc tracking   # shows the offset; sudo chronyc makestep mends it"

_LITTLE, _NONE = 5e9, 100e6
_FEW_FILES = 10_000
_SWITCH = "HDF5_USE_FILE_LOCKING"
_SWITCHES = ("TRUE", "1", "FALSE", "0", "BEST_EFFORT")
_OFF = f"export {_SWITCH}=FALSE"


def check_storage(situation: Situation) -> Iterator[Finding]:
    """Look at the folder where runs are to go, and at its file system."""
    folder = situation.existing_folder
    trouble = _write_trouble(folder)
    if trouble:
        found = f"{situation.folder.absolute()}: {folder} cannot be written here ({trouble})"
        yield Finding(FOLDER, "wrong", found, "hpc-ds doctor --out /a/folder/that/compute/nodes/can/write")
        return
    yield Finding(FOLDER, "ok", str(situation.folder.absolute()))
    yield space(folder)
    yield locks(folder, situation.environ.get(_SWITCH))
    yield file_clock(folder)


def space(folder: Path, look: Callable[[Path], os.statvfs_result] = os.statvfs) -> Finding:
    """Say how much room is left; a quota is not seen."""
    found = look(folder)
    free, files = found.f_bavail * found.f_frsize, found.f_favail
    told, cure = f"{size_text(free)} free at {folder}", f"df -h {folder}; du -sh {folder}/*"
    if free < _NONE:
        return Finding(SPACE, "wrong", told, cure)
    if found.f_files > 0 and files < _FEW_FILES:
        return Finding(SPACE, "note", f"{told}, but only {files} more files", f"df -i {folder}")
    return Finding(SPACE, "note", told, cure) if free < _LITTLE else Finding(SPACE, "ok", told)


def locks(folder: Path, switch: str | None, lock: Callable[[int, int], None] = fcntl.flock) -> Finding:
    """Say whether HDF5 can lock files here, or is told not to by HDF5_USE_FILE_LOCKING."""
    if switch and switch not in _SWITCHES:
        return Finding(
            LOCKS, "note", f"{_SWITCH}={switch} means nothing to HDF5, which knows {_SWITCHES}", _OFF
        )
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".doctor-") as file:
            lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if switch in ("FALSE", "0"):
            return Finding(LOCKS, "ok", f"none at {folder}, and HDF5 is told so")
        return Finding(LOCKS, "wrong", f"HDF5 cannot lock files at {folder} ({error.strerror})", _OFF)
    return Finding(LOCKS, "ok", f"work at {folder}" + (f" ({_SWITCH}={switch})" if switch else ""))


def file_clock(folder: Path, clock: Callable[[], float] = time.time) -> Finding:
    """Compare the time that a fresh file gets with this machine's: locks of runs are judged by it."""
    before = clock()
    with tempfile.TemporaryFile(dir=folder, prefix=".doctor-") as file:
        file.write(b"now")
        file.flush()
        os.fsync(file.fileno())
        written = os.fstat(file.fileno()).st_mtime
    skew = written - min(max(written, before), clock())
    if abs(skew) <= NOTED_SKEW:
        return Finding(CLOCK, "ok", "agrees with this machine's")
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    if abs(skew) <= WRONG_SKEW:
        return Finding(CLOCK, "note", found, SET_CLOCK)
    return Finding(CLOCK, "wrong", f"{found}: runs in use may seem abandoned", SET_CLOCK)


def _write_trouble(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".doctor-"):
            return ""
    except OSError as error:
        return error.strerror or str(error)
