"""Snapshots of a computation: arrays and a little text in one checksummed file; the last two are kept.

A file is: a magic line; the length of the header (8 bytes, little endian); the header in JSON (format, meta,
and name, dtype and shape of each array); the arrays in C order; the SHA-256 of everything before (32 bytes).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime import atomic
from hpc_ds.runtime.errors import InputError

FORMAT = 1
KEPT = 2

_MAGIC = b"hpc_ds snapshot\n"
_NAME = re.compile(r"snapshot-(\d+)\.bin")
_DIGEST = hashlib.sha256().digest_size


class Snapshots:
    """The snapshots in one directory; one process at a time may save.

    Parameters
    ----------
    directory : str or Path
        Where they lie; made by the first `save`.
    warn : callable
        Told in one line about each damaged snapshot; by default it is printed on stderr.
    """

    def __init__(self, directory: str | Path, warn: Callable[[str], None] | None = None) -> None:
        self.directory = Path(directory)
        self._warn = warn or _print_warning
        self._damaged: set[int] = set()

    def save(self, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Path:
        """Write a new snapshot, and only then remove all but the last two sound ones.

        Parameters
        ----------
        arrays : dict of ndarray
            Any shapes and orders; numbers, booleans, fixed-length text. They come back in C order.
        meta : dict
            What JSON can hold; tuples come back as lists, floats and integers exactly.

        Raises
        ------
        StorageError
            The disk refuses; the older snapshots are untouched.
        TypeError
            An array of Python objects or records, or a `meta` that JSON cannot express. Nothing is written.
        """
        blocks = {name: _block(name, array) for name, array in arrays.items()}
        header = _header(blocks, meta)
        self.directory.mkdir(parents=True, exist_ok=True)
        present = self._counters()
        counter = max(present, default=0) + 1
        with atomic.replacing(self._path(counter)) as file:
            _write(file, header, blocks)
        self._prune(present)
        return self._path(counter)

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return arrays and meta of the newest sound snapshot, or None if there is none.

        Every damaged one that is passed over is reported through `warn`, and goes at the next `save`. Nothing
        on disk is changed.

        Raises
        ------
        InputError
            The snapshot was written by a later version of the format.
        PermissionError
            It may not be read.
        """
        for counter in reversed(self._counters()):
            path = self._path(counter)
            try:
                return _read(path)
            except FileNotFoundError:
                continue
            except PermissionError:
                raise
            except (_DamageError, OSError) as error:
                self._damaged.add(counter)
                self._warn(f"{path}: damaged ({error}), it is passed over")
        if self._damaged:
            self._warn(f"{self.directory}: no sound snapshot is left, the work starts from the beginning")
        return None

    def _path(self, counter: int) -> Path:
        return self.directory / f"snapshot-{counter}.bin"

    def _counters(self) -> list[int]:
        if not self.directory.is_dir():
            return []
        matches = (_NAME.fullmatch(entry.name) for entry in self.directory.iterdir())
        return sorted(int(match.group(1)) for match in matches if match)

    def _prune(self, older: list[int]) -> None:
        sound = [counter for counter in older if counter not in self._damaged]
        for counter in set(older) - set(sound[len(sound) - (KEPT - 1) :]):
            self._path(counter).unlink(missing_ok=True)
        self._damaged.clear()
        atomic.remove_leftovers(self.directory)


class _DamageError(Exception):
    """The bytes are not those that were written."""


def _block(name: str, array: NDArray[Any]) -> NDArray[Any]:
    block = np.asarray(array, order="C")
    if block.dtype.hasobject or block.dtype.names:
        raise TypeError(
            f"array {name!r} is of type {block.dtype}: a snapshot holds plain numbers and text only"
        )
    return block


def _header(blocks: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    table = [[name, block.dtype.str, list(block.shape)] for name, block in blocks.items()]
    return json.dumps({"format": FORMAT, "meta": meta, "arrays": table}).encode("utf-8")


def _write(file: BinaryIO, header: bytes, blocks: Mapping[str, NDArray[Any]]) -> None:
    digest = hashlib.sha256()
    chunks: list[Any] = [_MAGIC, len(header).to_bytes(8, "little"), header]
    chunks += [block.reshape(-1).view(np.uint8) for block in blocks.values() if block.size]
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
    file.write(digest.digest())


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    content = memoryview(path.read_bytes())
    body, digest = content[:-_DIGEST], content[-_DIGEST:]
    if bytes(content[: len(_MAGIC)]) != _MAGIC:
        raise _DamageError("it does not begin like a snapshot")
    if hashlib.sha256(body).digest() != digest:
        raise _DamageError(f"its checksum does not fit its {len(content)} bytes")
    start = len(_MAGIC) + 8
    stop = start + int.from_bytes(body[len(_MAGIC) : start], "little")
    header = json.loads(bytes(body[start:stop]))
    if header["format"] > FORMAT:
        raise InputError(
            f"{path}: snapshot format {header['format']}, this version reads up to {FORMAT}: update hpc_ds"
        )
    return _arrays(header["arrays"], body[stop:]), header["meta"]


def _arrays(table: list[Any], data: memoryview) -> dict[str, NDArray[Any]]:
    arrays = {}
    for name, dtype, shape in table:
        count = math.prod(shape)
        arrays[name] = (
            np.frombuffer(data, dtype, count).reshape(shape).copy() if count else np.empty(shape, dtype)
        )
        data = data[arrays[name].nbytes :]
    return arrays


def _print_warning(line: str) -> None:
    print(f"hpc-ds: warning: {line}", file=sys.stderr, flush=True)
