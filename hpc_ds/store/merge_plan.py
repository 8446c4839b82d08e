"""What a merge is to write: which samples stand in which file, and the files, whole but for the samples' values."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.store import swap, well
from hpc_ds.store.design_file import read_design
from hpc_ds.store.layout import Layout, read_layout
from hpc_ds.store.sources import Sources, find_sources
from hpc_ds.store.split import SPLITS, check_fractions, split_codes

FILE_BYTES = 4 * 2**30
"""A data file holds about so much, unless the user says how many samples."""


@dataclass(frozen=True)
class PlannedFile:
    """A data file to be made."""

    split: str
    name: str
    """Below ``data/``."""
    indices: NDArray[np.int64]
    targets: dict[str, well.Target] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What all ranks need to know."""

    folder: Path
    layout: Layout
    sources: Sources
    files: list[PlannedFile]
    todo: bool

    @property
    def part(self) -> Path:
        """Where the new data files are built."""
        return self.folder / swap.PART


def prepare(folder: Path, fractions: Sequence[float], samples_per_file: int | None) -> Plan:
    """Decide what is to be written, and make the files if anything is; errors as in `hpc_ds.store.merge.merge`."""
    check_fractions(fractions)
    if samples_per_file is not None and samples_per_file < 1:
        raise InputError(f"samples_per_file is {samples_per_file}: it must be at least 1")
    swap.recover(folder)
    layout = read_layout(folder)
    sources = find_sources(folder)
    per_file = samples_per_file or max(1, FILE_BYTES // well.row_bytes(layout))
    files = list(_planned(layout, sources.indices, fractions, per_file))
    if not files or _is_merged(folder, sources, files):
        return Plan(folder, layout, sources, files, todo=False)
    try:
        return Plan(folder, layout, sources, _created(folder, layout, sources, files), todo=True)
    except OSError as error:
        swap.undo(folder)
        raise refused(error, folder) from error
    except BaseException:
        swap.undo(folder)
        raise


def refused(error: OSError, place: Path) -> StorageError:
    """Return a file system's refusal in our words."""
    return StorageError(*told(error, place))


def told(error: OSError, place: Path) -> tuple[int, str, str]:
    """Return errno, reason and file; HDF5 and MPI do not always say that it is the disk that is full."""
    number = error.errno
    if number is None:
        number = errno.ENOSPC if os.statvfs(place).f_bavail == 0 else errno.EIO
    reason = error.strerror if error.strerror and error.errno is not None else os.strerror(number)
    return number, " ".join(reason.split()), str(error.filename or place)


def _planned(
    layout: Layout, indices: NDArray[np.int64], fractions: Sequence[float], per_file: int
) -> Iterator[PlannedFile]:
    codes = split_codes(indices, fractions)
    for code, split in enumerate(SPLITS):
        chosen = indices[codes == code]
        starts = range(0, len(chosen), per_file)
        for number, first in enumerate(starts):
            name = well.file_name(layout, split, number, len(starts))
            yield PlannedFile(split, name, chosen[first : first + per_file])


def _is_merged(folder: Path, sources: Sources, files: Sequence[PlannedFile]) -> bool:
    """Whether the data files are just those that are wanted, and hold whatever is in a shard, too."""
    if not all((folder / name).exists() for name in swap.BESIDE):
        return False
    rows = sources.rows
    if any(index not in rows or rows[index].crc != entry.crc for index, entry in sources.shards.items()):
        return False
    if [path.relative_to(folder / swap.DATA) for path in sources.files] != [
        Path(file.name) for file in files
    ]:
        return False
    there: list[list[int]] = [[] for _ in files]
    for index, row in sorted(sources.rows.items(), key=lambda item: (item[1].file, item[1].row)):
        there[row.file].append(index)
    return all(file.indices.tolist() == found for file, found in zip(files, there))


def _created(
    folder: Path, layout: Layout, sources: Sources, files: Sequence[PlannedFile]
) -> list[PlannedFile]:
    """Make all files without the samples' values, by one process: made by several they would differ."""
    part = swap.begin(folder)
    _check_space(part, sum(len(file.indices) for file in files) * well.row_bytes(layout))
    columns = read_design(folder).columns
    made = []
    for file in files:
        path = part / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        crcs = np.array([sources.crc(int(index)) for index in file.indices], dtype=np.uint32)
        chosen = {name: values[file.indices] for name, values in columns.items()}
        well.create(path, layout, well.Rows(file.indices, crcs, chosen))
        made.append(PlannedFile(file.split, file.name, file.indices, well.targets(path, layout)))
    return made


def _check_space(place: Path, wanted: int) -> None:
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if free < wanted:
        reason = f"{_gibibytes(wanted)} are needed and {_gibibytes(free)} are free"
        raise OSError(errno.ENOSPC, reason, str(place))


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
