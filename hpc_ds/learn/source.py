"""Where samples lie: the opened files of a training set or of plain arrays, and what each sample holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.selection import Quantity
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.split import SPLITS
from hpc_ds.store.training_set import check_kin, read_statistics
from hpc_ds.store.well_file import Header, Item, WellFile, data_files, read_header, words

Statistics = dict[str, dict[str, NDArray[np.float64]]]


@dataclass(frozen=True, eq=False)
class GridAxis:
    """A dimension of the grid on which fields lie."""

    name: str
    coordinates: NDArray[np.float64]
    """(n,) float64."""
    periodic: bool = False
    """Whether what leaves at one end comes in at the other."""
    units: str = ""


@dataclass(frozen=True, eq=False)
class StoredFile:
    """One file with the arrays of its samples."""

    path: Path
    samples: int
    """How many of its samples count."""
    items: Mapping[str, Item]
    array: Callable[[Item], Any]
    """The stored array of an item: mapped, in memory, or an HDF5 data set."""
    rows: NDArray[np.int64] | None = None
    """(samples,) where in the file they lie; None for all of them in order."""


@dataclass(frozen=True, eq=False)
class Source:
    """The samples of one split."""

    place: str
    """The set and the split, for messages."""
    name: str
    files: tuple[StoredFile, ...]
    quantities: Mapping[str, Quantity]
    axes: tuple[GridAxis, ...] = ()
    """Empty where there is no grid."""
    statistics: Statistics = field(default_factory=dict)
    """``mean`` and ``std`` of whole fields over the training split, where a file holds them."""


def open_training_set(folder: Path, split: str) -> Source:
    """Return one split of a training set in The Well's layout.

    Raises
    ------
    InputError
        The set is not merged, the split has no samples, or a file is damaged or of another set.
    """
    paths = data_files(folder, split)
    if not paths:
        raise InputError(_missing(folder, split))
    statistics = read_statistics(folder / "stats.yaml") if (folder / "stats.yaml").exists() else {}
    return _of_files(paths, f"{folder} ({split})", statistics)


def open_data_file(path: Path) -> Source:
    """Return all samples of a single data file in The Well's layout (`InputError` if it is damaged)."""
    return _of_files([path], os.fspath(path), {})


def splits_of_training_set(folder: Path) -> tuple[str, ...]:
    """Return the splits of a training set that have data files, of train, valid and test."""
    return tuple(split for split in SPLITS if data_files(folder, split))


def _of_files(paths: Sequence[Path], place: str, statistics: Statistics) -> Source:
    headers = [read_header(path) for path in paths]
    for header in headers[1:]:
        check_kin(headers[0], header)
    gridded = any(len(values) > 1 for values in headers[0].axes.values())
    return Source(
        place,
        headers[0].name,
        tuple(_file(header) for header in headers),
        _quantities(headers[0], gridded),
        _axes(headers[0]) if gridded else (),
        statistics,
    )


def _missing(folder: Path, split: str) -> str:
    there = splits_of_training_set(folder)
    if there:
        return f"{folder}: no samples in data/{split}; there are {', '.join(there)}"
    if (folder / "layout.json").exists():
        return f"{folder}: the samples are not merged yet; hpc-ds merge {folder} makes the data files"
    if not folder.exists():
        return f"{folder}: no such folder; give that of --out of hpc-ds simulate, or an .h5 or .npz file"
    return f"{folder}: no training set (no data/{split} with .h5 files); give the folder that holds data/"


def _file(header: Header) -> StoredFile:
    file = WellFile(header)
    items = {**header.fields, **header.scalars}
    size = os.path.getsize(header.path)
    for item in items.values():
        needed = (item.offset or 0) + item.dtype.itemsize * int(np.prod(item.shape))
        if item.offset is not None and needed > size:
            raise InputError(
                f"{header.path}: is cut off: {item.path} ends at byte {needed}, the file at {size}"
            )
    return StoredFile(header.path, header.samples, items, file.array)


def _quantities(header: Header, gridded: bool) -> dict[str, Quantity]:
    names = tuple(header.axes)
    with h5py.File(header.path, "r") as file:
        choices = {
            name: tuple(words(file[f"scalars/{name}"].attrs.get("choices", []))) for name in header.scalars
        }
    found = {}
    for item in (*header.fields.values(), *header.scalars.values()):
        components = tuple(
            names if len(names) == size else tuple(map(str, range(size))) for size in item.components
        )
        on_grid = gridded and item.name in header.fields
        times = header.steps if item.time_varying else None
        found[item.name] = Quantity(
            item.name, on_grid, times, components, choices.get(item.name, ()), item.dtype.kind in "iu"
        )
    return found


def _axes(header: Header) -> tuple[GridAxis, ...]:
    with h5py.File(header.path, "r") as file:
        conditions = file.get("boundary_conditions", {})
        periodic = {
            name
            for group in conditions.values()
            if str(group.attrs.get("bc_type", "")).upper() == "PERIODIC"
            for name in words(group.attrs.get("associated_dims", []))
        }
        return tuple(
            GridAxis(
                name,
                # Grids that differ from sample to sample: the first one stands for them.
                np.asarray(values, dtype=np.float64).reshape(-1, values.shape[-1])[0],
                name in periodic,
                str(file[f"dimensions/{name}"].attrs.get("units", "")),
            )
            for name, values in header.axes.items()
        )
