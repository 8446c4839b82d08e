"""Failed samples: one file each, with all that is needed to see why and to run it again by hand."""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hpc_ds.runtime import atomic
from hpc_ds.runtime.errors import StorageError
from hpc_ds.store.journal import encodable

FOLDER = "failed"


@dataclass(frozen=True)
class FailedSample:
    """A sample that was given up."""

    index: int
    parameters: Mapping[str, Any]
    kind: str
    """Class of the failure, e.g. ``raised``, ``timeout``."""
    message: str
    """One line."""
    attempts: int = 1
    traceback: str = ""
    log: str = ""
    """The end of what it printed."""
    host: str = field(default_factory=platform.node)
    time: float = field(default_factory=time.time)
    """When it was given up, in seconds since 1970."""


def write_failure(folder: str | os.PathLike[str], sample: FailedSample) -> Path:
    """Write ``failed/000123.json`` in a run folder, all or nothing, and return its path (StorageError if it cannot).

    What UTF-8 cannot express, such as a byte that a program printed and nobody could decode, is written as an escape.
    """
    path = failure_path(folder, sample.index)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(
            error.errno or errno.EIO, error.strerror or str(error), str(path.parent)
        ) from error
    atomic.write_json(path, _encodable(atomic.plain(asdict(sample))))
    return path


def read_failures(folder: str | os.PathLike[str]) -> list[FailedSample]:
    """Read all failed samples of a run folder, in the order of the design; damaged files are passed over."""
    found = (_sample(path) for path in (Path(folder) / FOLDER).glob("*.json"))
    return sorted((sample for sample in found if sample is not None), key=lambda sample: sample.index)


def remove_failure(folder: str | os.PathLike[str], index: int) -> None:
    """Remove the file of a sample that is to be computed again, or has been; there may be none."""
    with suppress(OSError):
        failure_path(folder, index).unlink()


def failure_path(folder: str | os.PathLike[str], index: int) -> Path:
    """Return where the file of a failed sample lies."""
    return Path(folder) / FOLDER / f"{index:06d}.json"


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def _sample(path: Path) -> FailedSample | None:
    known = {item.name for item in fields(FailedSample)}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return FailedSample(**{name: value for name, value in record.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
