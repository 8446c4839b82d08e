"""Open one data file in The Well's layout, ours or anybody's, and reach its arrays without copies where that can be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.well import OWN, VARIES_ALONG

SUFFIXES = (".h5", ".hdf5")
"""What the names of data files end with."""


@dataclass(frozen=True)
class Item:
    """A field or scalar of a file, and how it lies there."""

    name: str
    path: str
    """Inside the file, e.g. ``t1_fields/velocity``."""
    rank: int
    sample_varying: bool
    time_varying: bool
    dim_varying: tuple[bool, ...]
    """For each spatial dimension; empty for a scalar."""
    grid: tuple[int, ...]
    """Points along each spatial dimension; empty for a scalar."""
    shape: tuple[int, ...]
    """As stored."""
    dtype: np.dtype[Any]
    offset: int | None
    """Where its values begin in the file, in bytes; None unless they lie there in one piece, as NumPy has them."""
    repeated: tuple[bool, ...] = ()
    """For each spatial dimension, whether our own file only repeats the field along it; empty if nowhere."""

    @property
    def components(self) -> tuple[int, ...]:
        """Trailing axes of a vector or tensor."""
        return self.shape[len(self.shape) - self.rank :] if self.rank else ()

    def once(self, row: NDArray[Any]) -> NDArray[Any]:
        """Return one stored sample without the repetitions, as it was simulated."""
        if not self.repeated:
            return row
        time = (slice(None),) if self.time_varying else ()
        return row[(*time, *(0 if twice else slice(None) for twice in self.repeated), ...)]

    def on_grid(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return `values`, which end with the stored space and components, as a view that has the whole grid."""
        if all(self.dim_varying):
            return values
        leading = int(self.sample_varying) + int(self.time_varying)
        stored = len(self.shape) - leading - self.rank
        lead = values.shape[: values.ndim - stored - self.rank]
        if stored == len(self.grid):  # files in which the axis is kept, with one point
            space = values.shape[len(lead) : len(lead) + stored]
        else:  # files that leave the axis out, as The Well's checker wants it
            space = tuple(size if vary else 1 for size, vary in zip(self.grid, self.dim_varying))
        full = (*lead, *self.grid, *self.components)
        return np.broadcast_to(values.reshape(*lead, *space, *self.components), full)


@dataclass(frozen=True, eq=False)
class Header:
    """What a data file says of itself."""

    path: Path
    name: str
    """Name of the set."""
    grid_type: str
    samples: int
    times: NDArray[Any]
    """(T,), or (samples, T) where each sample has its own."""
    axes: Mapping[str, NDArray[Any]]
    """Coordinates of each spatial dimension, in the order of the arrays."""
    parameters: tuple[str, ...]
    fields: Mapping[str, Item]
    """By name, those of rank 0 first, then 1, then 2."""
    scalars: Mapping[str, Item]

    @property
    def steps(self) -> int:
        """Number of times."""
        return int(self.times.shape[-1])


class WellFile:
    """A data file with its arrays opened at their first use, and kept open."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._file: h5py.File | None = None
        self._arrays: dict[str, Any] = {}

    def array(self, item: Item) -> Any:
        """Return the stored array of `item`: read-only and mapped where it lies in one piece, else an HDF5 data set."""
        found = self._arrays.get(item.path)
        if found is None:
            found = self._arrays[item.path] = self._opened(item)
        return found

    def close(self) -> None:
        """Let go of the file; views of its arrays stay valid, and the next `array` opens it again."""
        self._arrays.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self, item: Item) -> Any:
        if item.offset is not None:
            # As a plain array: np.memmap's own bookkeeping costs more than a small read.
            mapped = np.memmap(self.header.path, item.dtype, "r", item.offset, item.shape)
            return mapped.view(np.ndarray)
        if self._file is None:
            self._file = h5py.File(self.header.path, "r")
        return self._file[item.path]


def data_files(folder: str | os.PathLike[str], split: str) -> list[Path]:
    """List the data files of a split by name; empty if there are none."""
    place = Path(folder, "data", split)
    return sorted(path for path in place.iterdir() if path.suffix in SUFFIXES) if place.is_dir() else []


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what a data file says of itself.

    Raises
    ------
    InputError
        No such file, not HDF5, or not in The Well's layout.
    """
    try:
        with h5py.File(path, "r") as file:
            return _header(file, Path(path))
    except FileNotFoundError:
        raise InputError(f"{os.fspath(path)}: no such file") from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{os.fspath(path)}: is not in The Well's layout ({reason}); hpc-ds check says more"
        ) from None
    except OSError as error:
        raise InputError(
            f"{os.fspath(path)}: cannot be opened as HDF5 ({str(error).splitlines()[0]})"
        ) from None


def read_own(path: str | os.PathLike[str], name: str) -> NDArray[Any] | None:
    """Read an array of the group that only our files have (``design_index``, ``crc32``, ``moments``), or None."""
    with h5py.File(path, "r") as file:
        found = file.get(f"{OWN}/{name}")
        return None if found is None else np.asarray(found[()])


def words(value: Any) -> list[str]:
    """Return an attribute that is a list of words, or a single one, as list."""
    return [word.decode() if isinstance(word, bytes) else str(word) for word in np.atleast_1d(value)]


def _header(file: h5py.File, path: Path) -> Header:
    dimensions = file["dimensions"]
    axes = {name: np.asarray(dimensions[name][()]) for name in words(dimensions.attrs["spatial_dims"])}
    grid = tuple(values.shape[-1] for values in axes.values())
    return Header(
        path=path,
        name=str(file.attrs["dataset_name"]),
        grid_type=str(file.attrs["grid_type"]),
        samples=int(file.attrs["n_trajectories"]),
        times=np.asarray(dimensions["time"][()]),
        axes=axes,
        parameters=tuple(words(file.attrs.get("simulation_parameters", []))),
        fields={item.name: item for rank in range(3) for item in _fields(file, rank, grid)},
        scalars={item.name: item for item in _scalars(file)},
    )


def _fields(file: h5py.File, rank: int, grid: tuple[int, ...]) -> Iterator[Item]:
    group = file[f"t{rank}_fields"]
    for name in words(group.attrs["field_names"]):
        dim_varying = tuple(bool(flag) for flag in np.atleast_1d(group[name].attrs["dim_varying"]))
        yield _item(group[name], name, rank, dim_varying, grid)


def _scalars(file: h5py.File) -> Iterator[Item]:
    for name in words(file["scalars"].attrs["field_names"]):
        yield _item(file["scalars"][name], name, 0, (), ())


def _item(
    dataset: h5py.Dataset, name: str, rank: int, dim_varying: tuple[bool, ...], grid: tuple[int, ...]
) -> Item:
    return Item(
        name=name,
        path=dataset.name.lstrip("/"),
        rank=rank,
        sample_varying=bool(dataset.attrs["sample_varying"]),
        time_varying=bool(dataset.attrs["time_varying"]),
        dim_varying=dim_varying,
        grid=grid,
        shape=dataset.shape,
        dtype=dataset.dtype,
        offset=_offset(dataset),
        repeated=_repeated(dataset),
    )


def _repeated(dataset: h5py.Dataset) -> tuple[bool, ...]:
    if VARIES_ALONG not in dataset.attrs:
        return ()
    dims = words(dataset.file["dimensions"].attrs["spatial_dims"])
    return tuple(dim not in words(dataset.attrs[VARIES_ALONG]) for dim in dims)


def _offset(dataset: h5py.Dataset) -> int | None:
    creation = dataset.id.get_create_plist()
    plain = (
        dataset.size > 0
        and dataset.dtype.kind in "iuf"
        and creation.get_layout() == h5py.h5d.CONTIGUOUS
        and creation.get_external_count() == 0
    )
    offset = dataset.id.get_offset() if plain else None
    return None if offset is None or offset % dataset.dtype.itemsize else int(offset)
