"""The file of a shard: an HDF5 file in which every row has its place before it is written."""

from __future__ import annotations

import errno
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.atomic import temporary_beside
from hpc_ds.runtime.errors import StorageError
from hpc_ds.store.layout import Layout

FORMAT = 1

_FIELDS = "fields"
_PAGE = 4096
_TOO_LARGE = {errno.EFBIG, errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Places:
    """Where the rows of a shard lie in its file.

    Row r of a data set begins ``offset + r * stride`` bytes into the file.
    """

    rows: int
    """Rows that there is room for; those that no journal names hold nothing."""
    data_sets: Mapping[str, tuple[int, int]]
    """Offset and stride of each data set by its path in the file."""
    size: int = 0
    """Bytes of the file, where it was planned and not read."""

    def place(self, path: str, row: int) -> tuple[int, int]:
        """Return where a row begins and how many bytes it has."""
        offset, stride = self.data_sets[path]
        return offset + row * stride, stride


def field_path(name: str) -> str:
    """Return the path of the data set of a field, (rows, ...) float32."""
    return f"{_FIELDS}/{name}"


INDEX = "index"
"""Path of the design indices, (rows,) int64; -1 where no row was written."""
CRC = "crc32"
"""Path of the checksums of the fields, (rows,) uint32."""
MOMENTS = "moments"
"""Path of mean and M2 of the channels, (rows, channels, 2) float64."""
MOMENTS_CRC = "moments_crc32"
"""Path of the checksums of the moments, (rows,) uint32."""


def create(path: Path, layout: Layout, channels: int, rows: int) -> tuple[int, Places]:
    """Make a shard's file without any row; the caller closes the descriptor that is returned with the places.

    Disk is used only by what is written. Where the size limit of a file (or a file system that knows no holes) leaves
    less room, there are fewer rows.

    Raises
    ------
    StorageError
        It cannot be made; nothing is left of it.
    """
    while True:
        image, places = _plan(layout, channels, rows)
        try:
            return _create(path, image, places), places
        except OSError as error:
            if error.errno not in _TOO_LARGE or rows == 1:
                reason = error.strerror or str(error)
                raise StorageError(error.errno or errno.EIO, reason, str(path)) from error
            rows = max(1, rows // 2)


def read_places(path: Path) -> Places:
    """Read where the rows of a shard lie (OSError or KeyError if the file is damaged)."""
    with h5py.File(path, "r") as file:
        if file.attrs.get("format") != FORMAT:
            raise OSError(f"not a shard of format {FORMAT}")
        items = [file[name] for name in file if name != _FIELDS] + list(file[_FIELDS].values())
        places = {item.name.lstrip("/"): (item.id.get_offset(), _stride(item)) for item in items}
        return Places(len(file[INDEX]), places)


def write_all(descriptor: int, values: NDArray[Any], offset: int) -> None:
    """Write the bytes of a contiguous array at an offset (OSError of the operating system)."""
    left = bytes_of(values)
    while left:
        # A write may stop early: at two gibibytes, or at the last free block; the next one then says why.
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def bytes_of(values: NDArray[Any]) -> memoryview:
    """Return the bytes of a contiguous array of any shape, not copied."""
    return values.reshape(-1).view(np.uint8).data


def _stride(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.shape[1:]) * dataset.dtype.itemsize


def _create(path: Path, image: bytes, places: Places) -> int:
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    # A kill between two of these steps must not leave half a file under the name of a shard.
    new = temporary_beside(path)
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, np.frombuffer(image, np.uint8), 0)
        os.ftruncate(descriptor, places.size)
        write_all(descriptor, np.full(places.rows, -1, dtype="<i8"), places.place(INDEX, 0)[0])
        new.rename(path)
    except OSError:
        os.close(descriptor)
        new.unlink(missing_ok=True)
        raise
    return descriptor


def _plan(layout: Layout, channels: int, rows: int) -> tuple[bytes, Places]:
    """Return all that HDF5 writes into a file without rows, and the places that it reserved."""
    shapes = {field_path(item.name): (layout.shape(item.name), "<f4") for item in layout.fields}
    shapes |= {
        INDEX: ((), "<i8"),
        CRC: ((), "<u4"),
        MOMENTS: ((channels, 2), "<f8"),
        MOMENTS_CRC: ((), "<u4"),
    }
    image = _Image()
    with h5py.File(image, "w", alignment_threshold=_PAGE, alignment_interval=_PAGE) as file:
        file.attrs["format"] = FORMAT
        file.attrs["dataset_name"] = layout.name
        file.create_group(_FIELDS)
        made = {
            path: _reserved(file, path, (rows, *shape), np.dtype(kind))
            for path, (shape, kind) in shapes.items()
        }
        # A place is given away at the first write, after all that HDF5 says about the data sets: so the image is short.
        places = {path: (_allocated(item), _stride(item)) for path, item in made.items()}
    # Zeros at the end need not be written: they are what a hole reads as.
    return image.getvalue().rstrip(b"\0"), Places(rows, places, image.size)


def _reserved(file: h5py.File, path: str, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    space, kind = h5py.h5s.create_simple(shape), h5py.h5t.py_create(dtype)
    return h5py.Dataset(h5py.h5d.create(file.id, path.encode(), kind, space, dcpl=creation))


def _allocated(dataset: h5py.Dataset) -> int:
    dataset[(0,) * dataset.ndim] = 0
    return dataset.id.get_offset()


class _Image(io.BytesIO):
    """The beginning of a file that HDF5 writes; of the values far behind, only how long the file is."""

    size = 0
    _LIMIT = 2**22

    def write(self, data: Any) -> int:
        length = len(data)
        if self.tell() + length <= self._LIMIT:
            return super().write(data)
        self.seek(length, os.SEEK_CUR)
        return length

    def truncate(self, size: int | None = None) -> int:
        self.size = self.tell() if size is None else size
        return self.size
