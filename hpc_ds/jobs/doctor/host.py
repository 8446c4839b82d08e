"""What the operating system grants: shared memory between ranks, and open files."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from hpc_ds.jobs.doctor.finding import Finding, counted
from hpc_ds.jobs.doctor.situation import Situation
from hpc_ds.runtime.amounts import size_text

SHARED, FILES = "shared memory", "open files"

_SHM = Path("/dev/shm")
_NEEDED = 4 << 20
"""Bytes of shared memory a rank: the segment that Open MPI 4 makes for each (btl_vader_segment_size)."""
_COMFORTABLE = 32 << 20
_ENOUGH_FILES = 1024
"""What Dask's scheduler and an index of a few hundred shards open."""


def check_shared_memory(situation: Situation, folder: Path = _SHM) -> Iterator[Finding]:
    """Say whether there is enough shared memory for the ranks of a machine."""
    grow = "mount -o remount,size=50% /dev/shm   # containers: docker run --shm-size=1g, apptainer run --bind /dev/shm"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield Finding(
            SHARED, "wrong", f"{folder} is not there or cannot be written: ranks cannot talk by it", grow
        )
        return
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    told = f"{size_text(free)} free in {folder} for {counted(situation.ranks, 'rank')}"
    if free < _NEEDED * situation.ranks:
        yield Finding(SHARED, "wrong", f"{told}: MPI needs {size_text(_NEEDED)} each", grow)
    elif free < _COMFORTABLE * situation.ranks:
        yield Finding(SHARED, "note", told, grow)
    else:
        yield Finding(SHARED, "ok", told)


def check_open_files(
    situation: Situation, limit: Callable[[int], tuple[int, int]] = resource.getrlimit
) -> Iterator[Finding]:
    """Say whether a process may open enough files and connections."""
    soft, hard = limit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _ENOUGH_FILES:
        yield Finding(
            FILES, "ok", "no limit" if soft == resource.RLIM_INFINITY else f"up to {soft} a process"
        )
        return
    reachable = hard == resource.RLIM_INFINITY or hard >= _ENOUGH_FILES
    cure = f"ulimit -n {_ENOUGH_FILES if reachable else hard}"
    yield Finding(FILES, "note", f"only {soft} a process: many shards or workers may need more", cure)
