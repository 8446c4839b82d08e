"""Put a merged set in the place of an older one, such that a kill at any moment loses neither.

A merge builds ``data.part/``, with ``stats.yaml`` and ``index.h5`` in it. When all of it is on the disk it is renamed
to ``data.next/``: from that moment the new set counts, and whoever finds it carries on with the swap.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from hpc_ds.runtime.errors import StorageError

DATA = "data"
PART = "data.part"
NEXT = "data.next"
OLD = "data.old"

BESIDE = ("stats.yaml", "index.h5")
"""Files that lie beside ``data/`` and belong to it."""


def begin(folder: Path) -> Path:
    """Return an empty ``data.part/`` to build a set in (StorageError if it cannot be made)."""
    part = folder / PART
    try:
        _remove(part)
        part.mkdir()
    except OSError as error:
        raise StorageError(error.errno or errno.EIO, error.strerror or str(error), str(part)) from error
    return part


def undo(folder: Path) -> None:
    """Remove what was built in ``data.part/``."""
    _remove(folder / PART)


def commit(folder: Path) -> None:
    """Let the set in ``data.part/`` take the place of the older one.

    Raises
    ------
    StorageError
        The file system refuses; `recover` carries on.
    """
    try:
        _sync_tree(folder / PART)
        os.rename(folder / PART, folder / NEXT)
        _sync(folder)
        _finish(folder)
    except OSError as error:
        raise StorageError(error.errno or errno.EIO, error.strerror or str(error), str(folder)) from error


def recover(folder: str | os.PathLike[str]) -> None:
    """Finish or undo what a killed merge left; to be called by one process at every start.

    Afterwards the run folder holds either the set from before the merge or the merged one, whole.

    Raises
    ------
    StorageError
        The file system refuses.
    """
    place = Path(folder)
    try:
        _remove(place / PART)
        if (place / NEXT).is_dir():
            _finish(place)
        elif (place / OLD).is_dir():
            if (place / DATA).is_dir():
                with suppress(OSError):
                    _remove(place / OLD)
            else:
                os.rename(place / OLD, place / DATA)
    except OSError as error:
        raise StorageError(error.errno or errno.EIO, error.strerror or str(error), str(place)) from error


def _finish(folder: Path) -> None:
    """Swap; each step may have been made before."""
    if (folder / DATA).is_dir():
        _remove(folder / OLD)
        os.rename(folder / DATA, folder / OLD)
    for name in BESIDE:
        if (folder / NEXT / name).exists():
            os.replace(folder / NEXT / name, folder / name)
    os.rename(folder / NEXT, folder / DATA)
    _sync(folder)
    with suppress(OSError):  # the new set stands; the next start tries again
        _remove(folder / OLD)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)


def _sync_tree(place: Path) -> None:
    """Put the entries of all folders on the disk, and the small files; the writers synced the large ones."""
    for folder, _, _ in os.walk(place):
        _sync(Path(folder))
    for name in BESIDE:
        _sync(place / name)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync a folder; the rename still counts.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM):
            raise
    finally:
        os.close(descriptor)
