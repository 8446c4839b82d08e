"""Which samples were under way when a job ended: those that end the whole job must not do so for ever."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hpc_ds.runtime.errors import StorageError

FOLDER = "started"


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
            os.pwrite(self._descriptor, b"%12d\n" % index, 0)
        except OSError as error:
            number = error.errno or errno.EIO
            raise StorageError(number, error.strerror or str(error), str(self._path)) from error

    def close(self) -> None:
        """Take back what was said: the process ends in good order."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
            with suppress(OSError):
                self._path.unlink()


def deaths(folder: Path) -> Counter[int]:
    """Return how many jobs ended while each sample was under way, of those that are remembered."""
    return Counter(index for index, _ in _records(folder))


def forget(folder: Path, index: int) -> None:
    """Forget the jobs that ended while this sample was under way."""
    for known, path in _records(folder):
        if known == index:
            with suppress(OSError):
                path.unlink()


def _records(folder: Path) -> Iterator[tuple[int, Path]]:
    with suppress(FileNotFoundError):
        for path in (folder / FOLDER).iterdir():
            with suppress(OSError, ValueError):
                yield int(path.read_text()), path
