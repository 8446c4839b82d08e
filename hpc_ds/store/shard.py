"""Shards: where a process puts its samples while a training set is computed, safe against a kill at any moment."""

from __future__ import annotations

import errno
import os
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import StorageError
from hpc_ds.store import shard_file
from hpc_ds.store.journal import Entry, Journal
from hpc_ds.store.layout import Layout
from hpc_ds.store.moments import Moments
from hpc_ds.store.shard_file import Places, field_path

FOLDER = "shards"

Fields = Mapping[str, NDArray[np.float32]]
"""One sample as `Layout.checked` returns it: contiguous float32 arrays by name."""


class DamagedRow(Exception):
    """A row is gone or does not have the checksum of the journal; the message is one line (see `Journal.lost`)."""


class ShardWriter:
    """Writes samples into ``shards/NAME.000.h5, NAME.001.h5, ...`` and a line for each into ``journal/NAME.jsonl``.

    Nothing is made before the first sample (or the first line that the owner writes into `journal`). A shard is a whole
    HDF5 file from its first moment, of which nothing but values is written afterwards: no kill and no full disk can
    make it unreadable, and the rows that the journal names are those that count.

    Parameters
    ----------
    folder : str or Path
        The run folder, which must exist.
    name : str
        Unique among all processes of all sessions.
    layout : Layout
        Of the training set.
    max_rows, max_bytes : int
        When a new shard is begun; the old one is forced onto the disk meanwhile.

    Attributes
    ----------
    journal : Journal
        The journal of the process, also for what it has to say about failures.
    """

    journal: Journal

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str,
        layout: Layout,
        *,
        max_rows: int = 4096,
        max_bytes: int = 256 * 2**20,
    ) -> None:
        self.journal = Journal(folder, name)
        self._folder, self._name, self._layout = Path(folder), name, layout
        self._rows = max(1, min(max_rows, max_bytes // max(1, layout.sample_bytes)))
        self._shapes = {item.name: layout.shape(item.name) for item in layout.fields}
        self._moments = Moments(layout)
        self._shards = 0
        self._shard: _OpenShard | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._retired: Future[None] | None = None

    def append(self, index: int, fields: Fields, seconds: float, started: float | None = None) -> Entry:
        """Write one sample and journal it; when this returns, it survives the death of the process.

        Parameters
        ----------
        index : int
            Design index.
        fields : mapping of name to float32 array
            As `Layout.checked` returns them.
        seconds : float
            How long it was computed.
        started : float, optional
            When that began, in seconds since 1970; `seconds` ago unless given.

        Raises
        ------
        StorageError
            The disk refuses; the sample does not count, earlier ones do, and the next one may be tried.
        ValueError
            The fields are not those of the layout, in shape, type or order of their values.
        """
        self._check(fields)
        crc = 0
        for name in self._shapes:
            crc = zlib.crc32(fields[name].data, crc)
        moments = self._moments.of_sample(fields)
        shard = self._writable()
        shard.write(index, {name: fields[name] for name in self._shapes}, crc, moments)
        began = time.time() - seconds if started is None else started
        entry = Entry(index, shard.name, shard.row, crc, seconds, began)
        self.journal.done(entry)
        shard.row += 1
        return entry

    def sync(self) -> None:
        """Force all rows and the journal onto the disk: they then survive the death of the machine (StorageError)."""
        self._wait_for_retired()
        if self._shard is not None:
            self._shard.sync()
        self.journal.sync()

    def close(self, sync: bool = True) -> None:
        """Journal that the process ended in good order and let go of the files; may be called twice.

        Without `sync`, what was written survives the end of the process only: enough where it is merged at once.
        """
        try:
            if sync:
                self.sync()
            self._wait_for_retired()
            self.journal.closed()
            if sync:
                self.journal.sync()
        finally:
            if self._shard is not None:
                self._shard.close()
                self._shard = None
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None
            self.journal.close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, fields: Fields) -> None:
        for name, shape in self._shapes.items():
            array = fields[name]
            if array.dtype != np.float32 or array.shape != shape or not array.flags.c_contiguous:
                raise ValueError(f"field {name}: {array.dtype}{array.shape} is not a row of {shape} float32")

    def _writable(self) -> _OpenShard:
        """Return a shard that has a free row."""
        if self._shard is not None and self._shard.row == self._shard.places.rows:
            self._retire(self._shard)
            self._shard = None
        if self._shard is None:
            name = f"{self._name}.{self._shards:03d}"
            path = _shard_path(self._folder, name)
            descriptor, places = shard_file.create(path, self._layout, self._moments.channels, self._rows)
            self._shards += 1
            self._shard = _OpenShard(path, name, descriptor, places)
        return self._shard

    def _retire(self, shard: _OpenShard) -> None:
        """Force a full shard onto the disk and close it, beside the next samples; one at a time."""
        self._wait_for_retired()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "shard-sync")
        self._retired = self._pool.submit(shard.retire)

    def _wait_for_retired(self) -> None:
        retired, self._retired = self._retired, None
        if retired is not None:
            retired.result()


class ShardReader:
    """Reads rows of all shards of a run folder, with the files kept open; for one thread.

    As a context manager it closes itself.

    Parameters
    ----------
    folder : str or Path
        The run folder.
    layout : Layout
        Of the training set.
    open_files : int
        How many shards stay open, those that were used last.
    """

    def __init__(self, folder: str | os.PathLike[str], layout: Layout, *, open_files: int = 128) -> None:
        self._folder, self._limit = Path(folder), open_files
        self._shapes = {item.name: layout.shape(item.name) for item in layout.fields}
        self._sizes = {name: int(np.prod(shape)) for name, shape in self._shapes.items()}
        self._moments = Moments(layout)
        self._places: dict[str, Places] = {}
        self._descriptors: OrderedDict[str, int] = OrderedDict()

    def read(self, entry: Entry) -> dict[str, NDArray[np.float32]]:
        """Return one sample in new arrays (DamagedRow as in `read_into`)."""
        fields = {name: np.empty(shape, np.float32) for name, shape in self._shapes.items()}
        self.read_into(entry, fields)
        return fields

    def read_into(self, entry: Entry, out: Fields) -> None:
        """Read one sample into contiguous float32 arrays of as many values, e.g. rows of a buffer.

        Raises
        ------
        DamagedRow
            The row or its file is gone, or its checksum is not that of the journal.
        """
        crc = 0
        for name, size in self._sizes.items():
            array = out[name]
            if array.dtype != np.float32 or array.size != size or not array.flags.c_contiguous:
                raise ValueError(
                    f"field {name}: {array.dtype}{array.shape} does not take {size} float32 in a row"
                )
            self._fill(entry, field_path(name), array)
            crc = zlib.crc32(array.data, crc)
        if crc != entry.crc:
            raise DamagedRow(
                f"{self._path(entry)}: row {entry.row} of sample {entry.index} has checksum {crc:08x}; "
                f"the journal says {entry.crc:08x}"
            )

    def moments(self, entry: Entry) -> NDArray[np.float64]:
        """Return the moments of one sample, (channels, 2) as `Moments.of_sample`; anew if what is stored is damaged.

        Raises
        ------
        DamagedRow
            They are damaged, and the row is, too.
        """
        moments, crc = np.empty((self._moments.channels, 2)), np.empty(1, np.uint32)
        self._fill(entry, shard_file.MOMENTS, moments)
        self._fill(entry, shard_file.MOMENTS_CRC, crc)
        if zlib.crc32(moments.data) != crc[0]:
            return self._moments.of_sample(self.read(entry))
        return moments

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, entry: Entry, path: str, out: NDArray[Any]) -> None:
        """Read the row of one data set."""
        descriptor, places = self._opened(entry)
        offset, stride = places.place(path, entry.row)
        left = shard_file.bytes_of(out)
        if not 0 <= entry.row < places.rows or stride != len(left):
            raise DamagedRow(f"{self._path(entry)}: has no row {entry.row} for sample {entry.index}")
        while left:
            try:
                taken = os.preadv(descriptor, [left], offset)
            except OSError as error:
                raise DamagedRow(
                    f"{self._path(entry)}: row {entry.row} cannot be read ({error.strerror})"
                ) from error
            if not taken:
                raise DamagedRow(f"{self._path(entry)}: ends before row {entry.row} of sample {entry.index}")
            left, offset = left[taken:], offset + taken

    def _opened(self, entry: Entry) -> tuple[int, Places]:
        name = entry.shard
        if name in self._descriptors:
            self._descriptors.move_to_end(name)
            return self._descriptors[name], self._places[name]
        try:
            if name not in self._places:
                self._places[name] = shard_file.read_places(self._path(entry))
            descriptor = os.open(self._path(entry), os.O_RDONLY | os.O_CLOEXEC)
        # HDF5 raises RuntimeError and KeyError on files that are damaged inside.
        except (OSError, RuntimeError, KeyError) as error:
            raise DamagedRow(
                f"{self._path(entry)}: cannot be opened ({str(error).splitlines()[0]})"
            ) from error
        if len(self._descriptors) >= self._limit:
            os.close(self._descriptors.popitem(last=False)[1])
        self._descriptors[name] = descriptor
        return descriptor, self._places[name]

    def _path(self, entry: Entry) -> Path:
        return _shard_path(self._folder, entry.shard)


def read_row(folder: str | os.PathLike[str], entry: Entry, layout: Layout) -> dict[str, NDArray[np.float32]]:
    """Return one sample (DamagedRow as in `ShardReader`)."""
    with ShardReader(folder, layout) as reader:
        return reader.read(entry)


def shard_exists(folder: str | os.PathLike[str], shard: str) -> bool:
    """Tell whether the file of a shard, as an `Entry` names it, is there."""
    return _shard_path(Path(folder), shard).exists()


class _OpenShard:
    """A shard while it is written."""

    def __init__(self, path: Path, name: str, descriptor: int, places: Places) -> None:
        self.path, self.name, self.places = path, name, places
        self.row = 0
        self._descriptor = descriptor

    def write(self, index: int, fields: Fields, crc: int, moments: NDArray[np.float64]) -> None:
        """Write the next row; it is not there before `row` is counted up and the journal says so."""
        values: dict[str, NDArray[Any]] = {field_path(name): array for name, array in fields.items()}
        values[shard_file.MOMENTS] = moments
        values[shard_file.MOMENTS_CRC] = np.array([zlib.crc32(moments.data)], np.uint32)
        values[shard_file.CRC] = np.array([crc], np.uint32)
        values[shard_file.INDEX] = np.array([index], np.int64)
        try:
            for path, array in values.items():
                shard_file.write_all(self._descriptor, array, self.places.place(path, self.row)[0])
        except OSError as error:
            raise self._refused(error) from error

    def sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._refused(error) from error

    def retire(self) -> None:
        try:
            self.sync()
        finally:
            self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(error.errno or errno.EIO, error.strerror or str(error), str(self.path))


def _shard_path(folder: Path, shard: str) -> Path:
    return folder / FOLDER / f"{shard}.h5"
