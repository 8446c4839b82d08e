"""The file of predictions: HDF5 that rank 0 makes, all ranks fill where their samples belong, and one rename ends."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.world import World
from hpc_ds.store.well import Target
from hpc_ds.store.writers import choose, opened

FORMAT = 1


@dataclass(frozen=True)
class Column:
    """One array of the file."""

    name: str
    shape: tuple[int, ...]
    """Of one sample."""
    dtype: str
    attributes: Mapping[str, Any]


class PredictionFile:
    """Predictions on their way to the disk; made, filled and ended by all ranks together.

    What is there before `finish` has another name, begins with a dot and is made anew by the next run: a file of the
    name that was asked for is whole. Equal predictions give equal bytes, on any number of ranks.

    Parameters
    ----------
    path : str or Path
        The file to be.
    columns : sequence of Column
    samples : int
        How many samples each array holds.
    attributes : mapping
        Of the file.
    world : World

    Raises
    ------
    InputError
        There is a file of that name, or no folder can be made for it; on all ranks.
    StorageError
        The disk refuses; on all ranks.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[Column],
        samples: int,
        attributes: Mapping[str, Any],
        world: World,
    ) -> None:
        self.path, self._world = Path(path), world
        self._part = self.path.with_name(f".{self.path.name}.part")
        self._targets = world.root_first(_make, self.path, self._part, columns, samples, attributes)
        try:
            self._writer = opened(choose("auto", world), world, [self._part])
        except OSError as error:
            raise _refused(error, self.path) from error

    def write(self, name: str, first: int, values: NDArray[Any]) -> None:
        """Write values of successive samples from number `first` on (OSError where the disk refuses)."""
        self._writer.write(0, self._targets[name], first, np.ascontiguousarray(values))

    def finish(
        self, problem: OSError | InputError | None = None, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Give the file its name, once all ranks have written theirs; collective.

        Parameters
        ----------
        problem : OSError or InputError, optional
            What this rank met when it read or wrote.
        attributes : mapping, optional
            Of the file, which are known only now; equal on all ranks.

        Raises
        ------
        InputError, StorageError
            On all ranks, if one of them met something; the file keeps its other name and is made anew next time.
        """
        try:
            self._writer.close()
        except OSError as error:
            problem = problem or error
        first = next((each for each in self._world.allgather(problem) if each is not None), None)
        if isinstance(first, InputError):
            raise InputError(str(first)) from problem
        if first is not None:
            raise _refused(first, self.path) from problem
        self._world.root_first(_complete, self._part, self.path, attributes or {})


def check_free(path: str | os.PathLike[str]) -> None:
    """Refuse a name that is taken (`InputError`): a prediction replaces nothing."""
    if os.path.lexists(path):
        raise InputError(f"{path}: is there already; remove it, or give another --out")


def _make(
    path: Path, part: Path, columns: Sequence[Column], samples: int, attributes: Mapping[str, Any]
) -> dict[str, Target]:
    check_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with h5py.File(part, "w", libver=("earliest", "v110")) as file:
            file.attrs.update({"format": FORMAT, "kind": "prediction", **attributes})
            return {column.name: _column(file, column, samples) for column in columns}
    except OSError as error:
        raise _refused(error, path) from error


def _column(file: h5py.File, column: Column, samples: int) -> Target:
    """Make a data set that has its place in the file before it has values."""
    shape, dtype = (samples, *column.shape), np.dtype(column.dtype)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    found = h5py.Dataset(
        h5py.h5d.create(file.id, column.name.encode(), h5py.h5t.py_create(dtype), space, creation)
    )
    found.attrs.update(dict(column.attributes))
    return Target(column.name, found.id.get_offset(), dtype.itemsize * int(np.prod(column.shape)))


def _complete(part: Path, path: Path, attributes: Mapping[str, Any]) -> None:
    try:
        if attributes:
            with h5py.File(part, "r+", libver=("earliest", "v110")) as file:
                file.attrs.update(attributes)
        os.replace(part, path)
    except OSError as error:
        raise _refused(error, path) from error


def _refused(error: OSError, path: Path) -> StorageError:
    if isinstance(error, StorageError):
        return error
    return StorageError(error.errno or 0, error.strerror or str(error), str(path))
