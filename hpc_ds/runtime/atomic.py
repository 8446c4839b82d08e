"""Files that are either the old ones or the new ones, never half of each, wherever the process is killed."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from hpc_ds.runtime.errors import StorageError

# Some file systems (FUSE, parallel ones) cannot sync or open a directory; the rename still counts.
_NO_DIRECTORY_SYNC = {
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOSYS,
}


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block ends well.

    The bytes go to a hidden temporary beside `path`, which is synced, renamed over it, and the directory
    synced. If anything is raised, the temporary is removed and `path` stays as it was. A process killed in
    between leaves only the temporary, which `remove_leftovers` takes away.

    Raises
    ------
    StorageError
        The operating system refused to write (``ENOSPC``, ``EDQUOT``, ``EFBIG``, ``EACCES``, ...).
    """
    target = Path(path)
    temporary = temporary_beside(target)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_directory(target.parent)
    except OSError as error:
        _remove(temporary)
        raise StorageError(error.errno or errno.EIO, error.strerror or str(error), str(target)) from error
    except BaseException:
        _remove(temporary)
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes | bytearray | memoryview) -> None:
    """Replace the content of `path` by `data`, all or nothing.

    Raises
    ------
    StorageError
        As in `replacing`.
    """
    with replacing(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace the content of `path` by `text` in UTF-8, all or nothing (`StorageError` as in `replacing`)."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Replace the content of `path` by `value` as JSON, all or nothing.

    NumPy scalars and arrays become numbers and lists, paths become text, and NaN and infinities become
    ``null`` because JSON has no word for them.

    Raises
    ------
    StorageError
        As in `replacing`.
    TypeError
        `value` holds something that JSON cannot express; nothing is written.
    """
    write_text(path, json.dumps(finite(plain(value)), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Return `value` built of dictionaries, lists, text, numbers, booleans and None only.

    Raises
    ------
    TypeError
        `value` holds something else; the message names its type.
    """
    if value is None or type(value) in (str, bool, int, float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy, told by its method so that this module does not import it
        return plain(value.tolist())
    raise TypeError(f"a value of type {type(value).__qualname__} cannot be written as plain data: {value!r}")


def finite(value: Any) -> Any:
    """Return plain data with None in place of every NaN and infinity, for which JSON has no word."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def remove_leftovers(directory: str | os.PathLike[str]) -> None:
    """Remove temporaries that killed writers left in `directory`; only its owner may call this."""
    for leftover in Path(directory).glob(".*.tmp"):
        _remove(leftover)


def is_leftover(path: Path) -> bool:
    """Tell whether `path` is named like a temporary of this module."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def temporary_beside(path: Path) -> Path:
    """Return the name of this process's temporary for `path`, in the same directory and hidden."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _sync_directory(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
