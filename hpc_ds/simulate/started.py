"""Which samples were under way when a job ended: those that end the whole job must not do so for ever."""

from __future__ import annotations

import errno
import faulthandler
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hpc_ds.runtime.errors import StorageError

FOLDER = "started"

_WIDTH = 13


class Deaths(NamedTuple):
    """Jobs that ended while a sample was under way."""

    jobs: int
    stack: str
    """What the process did when `Started.end_process_after` ended it; empty if none was ended so."""


class Started:
    """Says on the disk which sample a process has under way; what it said last stays if the process is killed.

    Parameters
    ----------
    folder : Path
        The run folder.
    name : str
        Unique among all processes of all sessions.

    Raises
    ------
    StorageError
        By `say`: the disk refuses.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / FOLDER / name
        self._descriptor: int | None = None

    def say(self, index: int) -> None:
        """Say that a sample is begun."""
        try:
            if self._descriptor is None:
                self._path.parent.mkdir(exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o666)
                os.lseek(self._descriptor, _WIDTH, os.SEEK_SET)
            os.pwrite(self._descriptor, b"%*d\n" % (_WIDTH - 1, index), 0)
        except OSError as error:
            number = error.errno or errno.EIO
            raise StorageError(number, error.strerror or str(error), str(self._path)) from error

    def end_process_after(self, seconds: float) -> None:
        """End this process (exit code 1) unless `go_on` is called in time, whatever its threads do meanwhile.

        No thread of Python's is needed for that: a simulator in compiled code may hold the interpreter for ever.
        """
        assert self._descriptor is not None, "no sample was begun"
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._descriptor)

    def go_on(self) -> None:
        """Let the process go on."""
        faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """Take back what was said: the process ends in good order."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
            with suppress(OSError):
                self._path.unlink()


def deaths(folder: Path) -> dict[int, Deaths]:
    """Return what is remembered of jobs that ended while samples were under way, by design index."""
    found: dict[int, Deaths] = {}
    for index, stack, _ in _records(folder):
        known = found.get(index, Deaths(0, ""))
        found[index] = Deaths(known.jobs + 1, stack or known.stack)
    return found


def forget(folder: Path, index: int) -> None:
    """Forget the jobs that ended while this sample was under way."""
    for known, _, path in _records(folder):
        if known == index:
            with suppress(OSError):
                path.unlink()


def tidy(folder: Path) -> None:
    """Remove the folder of these records if there are none; when no process of the run is at work."""
    with suppress(OSError):
        (folder / FOLDER).rmdir()


def _records(folder: Path) -> Iterator[tuple[int, str, Path]]:
    """Yield index, stack and file of each process that did not end in good order."""
    with suppress(FileNotFoundError):
        for path in (folder / FOLDER).iterdir():
            with suppress(OSError, ValueError):
                index, _, stack = path.read_text(errors="replace").partition("\n")
                yield int(index), stack, path
