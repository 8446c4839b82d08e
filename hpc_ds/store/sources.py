"""Where the samples of a run are now: in the shards of a session, or in data files that were merged before."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.errors import InputError
from hpc_ds.store import well
from hpc_ds.store.journal import Entry, Journals
from hpc_ds.store.layout import Layout
from hpc_ds.store.shard import DamagedRow, ShardReader
from hpc_ds.store.split import SPLITS
from hpc_ds.store.well_file import Header, WellFile, data_files, read_header, read_own

DAMAGED = "damaged.json"
"""In a run folder: rows of ``data/`` that were found damaged, and do not count until the next merge replaces them."""


class Row(NamedTuple):
    """A row of a data file."""

    file: int
    """Place among `Sources.files`."""
    row: int
    crc: int


@dataclass(frozen=True)
class Sources:
    """Where each finished sample lies; a sample may lie in a shard, in a data file, or in both.

    It is small and can be sent to other ranks.
    """

    folder: Path
    files: tuple[Path, ...]
    """Data files that were merged before."""
    shards: Mapping[int, Entry]
    rows: Mapping[int, Row]

    @property
    def indices(self) -> NDArray[np.int64]:
        """Design indices of all finished samples, increasing."""
        return np.array(sorted(self.shards.keys() | self.rows.keys()), dtype=np.int64)

    def crc(self, index: int) -> int:
        """Return the checksum that a sample has; that of the shard where there is one, for it is the later one."""
        entry = self.shards.get(index)
        return entry.crc if entry is not None else self.rows[index].crc


def find_sources(folder: str | os.PathLike[str], journals: Journals | None = None) -> Sources:
    """Find all finished samples of a run folder.

    A sample counts whose journal line points at a shard that exists, or that an own data file holds.

    Parameters
    ----------
    folder : str or Path
        The run folder.
    journals : Journals, optional
        Its journals, if they were read already.

    Raises
    ------
    InputError
        ``data/`` holds something that a merge did not write, or a damaged file.
    """
    place = Path(folder)
    known = journals or Journals.read(place)
    there = {path.stem for path in (place / "shards").glob("*.h5")}
    shards = {index: entry for index, entry in known.done.items() if entry.shard in there}
    files = _own_files(place)
    bad = _known_damage(place)
    rows = {
        int(index): Row(number, row, int(crc))
        for number, path in enumerate(files)
        for row, (index, crc) in enumerate(zip(*_contents(path)))
        if index not in bad
    }
    return Sources(place, tuple(files), shards, rows)


def note_damage(sources: Sources, indices: Iterable[int]) -> None:
    """Let damaged samples no longer count where a data file holds them; journals are the caller's to correct.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    rows = {index for index in indices if index in sources.rows}
    if rows:
        write_json(sources.folder / DAMAGED, sorted(rows | _known_damage(sources.folder)))


def forget_damage(folder: Path) -> None:
    """Remove the note, just before new data files take the place of the damaged ones."""
    (folder / DAMAGED).unlink(missing_ok=True)


class SourceReader:
    """Reads finished samples, each checked by its checksum; for one thread. Closes itself as a context manager."""

    def __init__(self, sources: Sources, layout: Layout) -> None:
        self._sources = sources
        self._layout = layout
        self._shards = ShardReader(sources.folder, layout)
        self._files: dict[int, tuple[WellFile, NDArray[np.float64]]] = {}

    def read_into(
        self, index: int, out: Mapping[str, NDArray[np.float32]], moments: NDArray[np.float64]
    ) -> None:
        """Read one sample and its moments into the given arrays.

        Parameters
        ----------
        index : int
            Design index.
        out : mapping of name to float32 array
            Contiguous, of the shapes of the layout.
        moments : (channels, 2) float64 array
            Filled as `Moments.of_sample` returns it.

        Raises
        ------
        DamagedRow
            Neither the shard nor the data file has the sample with the checksum that counts.
        """
        entry, row = self._sources.shards.get(index), self._sources.rows.get(index)
        if entry is not None:
            try:
                self._shards.read_into(entry, out)
                moments[:] = self._shards.moments(entry)
                return
            except DamagedRow:
                if row is None or row.crc != entry.crc:  # an older row of another result is not this sample
                    raise
        if row is None:
            raise DamagedRow(f"sample {index}: is in no shard and in no data file")
        self._read_row(index, row, out, moments)

    def close(self) -> None:
        """Let go of the files."""
        self._shards.close()
        for file, _ in self._files.values():
            file.close()
        self._files.clear()

    def __enter__(self) -> SourceReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_row(
        self, index: int, row: Row, out: Mapping[str, NDArray[np.float32]], moments: NDArray[np.float64]
    ) -> None:
        file, kept = self._file(row.file)
        items = {**file.header.fields, **file.header.scalars}
        crc = 0
        for field in self._layout.fields:
            item = items[field.name]
            row_of_field = item.once(np.asarray(file.array(item)[row.row]))
            # A set without axes has one of a single point in its files.
            np.copyto(out[field.name], row_of_field.reshape(out[field.name].shape))
            crc = zlib.crc32(out[field.name].data, crc)
        if crc != row.crc:
            path = self._sources.files[row.file]
            raise DamagedRow(f"{path}: row {row.row}, sample {index}: its checksum is wrong")
        moments[:] = kept[row.row]

    def _file(self, number: int) -> tuple[WellFile, NDArray[np.float64]]:
        if number not in self._files:
            path = self._sources.files[number]
            header = read_header(path)
            _check_layout(header, self._layout)
            moments = read_own(path, "moments")
            if moments is None:
                raise InputError(f"{path}: has lost the moments of its samples")
            self._files[number] = WellFile(header), moments
        return self._files[number]


def _own_files(folder: Path) -> list[Path]:
    """List the data files, and refuse anything beside them: a merge replaces the whole of ``data/``."""
    files = [path for split in SPLITS for path in data_files(folder, split)]
    known = {*files, *(folder / "data" / split for split in SPLITS)}
    for path in sorted((folder / "data").rglob("*")):
        if path not in known:
            raise InputError(f"{path}: was not written by a merge, which replaces data/; move it elsewhere")
    return files


def _known_damage(folder: Path) -> set[int]:
    try:
        return set(json.loads((folder / DAMAGED).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / DAMAGED}: cannot be read ({error}); remove it") from None


def _contents(path: Path) -> tuple[Sequence[int], Sequence[int]]:
    """Return the design indices and checksums of a data file."""
    try:
        index, crc = read_own(path, "design_index"), read_own(path, "crc32")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); move it elsewhere"
        ) from None
    if index is None or crc is None:
        raise InputError(f"{path}: was not written by a merge, which replaces data/; move it elsewhere")
    return index.tolist(), crc.tolist()


def _check_layout(header: Header, layout: Layout) -> None:
    items = {**header.fields, **header.scalars}
    for field in layout.fields:
        wanted = well.stored_shape(layout, field.name)
        found = items[field.name].shape[1:] if field.name in items else None
        if found != wanted:
            raise InputError(
                f"{header.path}: field '{field.name}' has shape {found}; layout.json declares {wanted}"
            )
