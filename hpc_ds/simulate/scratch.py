"""Working directories of external programs: one a sample, and none left behind by a process that was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

Keep = Literal["never", "failed", "always"]

_PREFIX = "hpc-ds-sample-"
_KEPT = "hpc-ds-kept-"

_YOUNG = 60.0
"""Seconds in which a directory that is not locked may still be getting its lock."""

_swept: set[str] = set()


@contextmanager
def new_scratch(parent: str | None, keep: Keep) -> Iterator[Path]:
    """Make a working directory in `parent` (None: $TMPDIR or /tmp) and remove it at the end.

    While it is in use it is locked. The first call of a process removes what killed ones left there. One that is to be
    kept is renamed, and an exception that leaves the block tells where it is.
    """
    folder = parent or tempfile.gettempdir()
    if folder not in _swept:
        _swept.add(folder)
        _sweep(Path(folder))
    workdir = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    lock = os.open(workdir, os.O_RDONLY)
    kept = keep == "always"
    try:
        with suppress(OSError):  # a file system without locks: nothing is swept there either
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield workdir
    except BaseException as error:
        kept = keep != "never"
        if kept:
            error.add_note(f"kept in {_kept(workdir)}")
        raise
    finally:
        os.close(lock)
        if kept:
            workdir.rename(_kept(workdir))
        else:
            shutil.rmtree(workdir, ignore_errors=True)


def _kept(workdir: Path) -> Path:
    return workdir.with_name(workdir.name.replace(_PREFIX, _KEPT, 1))


def _sweep(folder: Path) -> None:
    """Remove the directories of this user that nobody holds any more."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = left.lstat()
            if left.is_symlink() or status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG:
                continue
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
