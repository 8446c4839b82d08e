"""One data file of a training set as The Well lays it out: made serially, whole but for the samples' values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.layout import Axis, Boundary, Column, Field, Layout
from hpc_ds.store.moments import Moments

FORMAT = 1
"""Version of the group `OWN`."""

OWN = "hpc_ds"
"""Our own group in each file, which The Well's reader passes over: design indices and checksums."""

MOMENTS = "hpc_ds/moments"
"""Key of the samples' moments among the targets; no field can have this name."""

VARIES_ALONG = "varies_along"
"""Attribute of a field that is stored repeated along the other dimensions."""

# Left alone, HDF5 puts values at any byte; mapped into memory they should begin where a vector register can.
_ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of the samples of a file before their values are copied."""

    design_index: NDArray[np.int64]
    """(B,) which point of the design each sample is."""
    crc32: NDArray[np.uint32]
    """(B,) checksum of each sample's bytes, field after field in the order of the layout."""
    columns: Mapping[str, NDArray[Any]]
    """Parameters of the samples by name: (B,) numbers or words."""


@dataclass(frozen=True)
class Target:
    """A data set of a file that is still to be filled."""

    path: str
    """Inside the file."""
    offset: int
    """Where its values begin, in bytes."""
    row_bytes: int
    """Bytes of one sample."""


def create(path: str | os.PathLike[str], layout: Layout, rows: Rows) -> None:
    """Make a data file in which only the values and moments of the samples are missing: see `targets`.

    Data sets of fields are contiguous, allocated and never filled, so that the space of the values is a hole until
    they are written. Equal arguments give equal bytes.

    Raises
    ------
    InputError
        A parameter of the layout that `rows` lacks.
    OSError
        HDF5 cannot write.
    """
    creation = _group_creation(h5py.h5p.FILE_CREATE)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    access.set_alignment(1, _ALIGNMENT)
    identifier = h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access)
    with h5py.File(identifier) as file:
        parameters = {column.name: _numbers(column, rows.columns) for column in layout.columns}
        _write_root(file, layout, rows, parameters)
        _write_dimensions(_group(file, "dimensions"), layout)
        _write_boundaries(_group(file, "boundary_conditions"), layout)
        _write_own(_group(file, OWN), layout, rows)
        _write_scalars(_group(file, "scalars"), layout, len(rows.design_index), parameters)
        for rank in range(3):
            _write_fields(_group(file, f"t{rank}_fields"), layout, rank, len(rows.design_index))


def place(layout: Layout, name: str) -> str:
    """Return the path of the field `name` inside a file, e.g. ``t0_fields/vorticity``."""
    return f"scalars/{name}" if is_scalar(layout.field(name)) else f"t{layout.field(name).rank}_fields/{name}"


def is_scalar(field: Field) -> bool:
    """Whether a field is one number a sample (or one a time), which The Well keeps apart.

    The Well's reader takes one number a time of each sample. Its formatting script refuses it: it adds the two flags to
    count axes, and the sum of two of NumPy's truth values is a truth value again.
    """
    return field.dims == () and field.rank == 0


def spatial_axes(layout: Layout) -> tuple[Axis, ...]:
    """Return the axes as the files have them: a set without any gets one of a single point, for The Well needs one."""
    return layout.axes or (Axis("point", np.zeros(1)),)


def stored_shape(layout: Layout, name: str) -> tuple[int, ...]:
    """Return the shape of one sample of the field `name` in a file.

    It differs from ``layout.shape(name)`` for a field that varies along some dimensions only: The Well's checker wants
    the others left out, its reader wants them of length one, so such a field is stored repeated along them.
    """
    field = layout.field(name)
    if is_scalar(field):
        return layout.shape(name)
    time = (layout.times.size,) if field.time_varying else ()
    grid = tuple(axis.size for axis in spatial_axes(layout))
    return (*time, *grid, *(layout.ndim,) * field.rank)


def stored(layout: Layout, name: str, sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one sample of a field as it is stored; no copy where it has all dimensions."""
    field = layout.field(name)
    if field.dims is None or is_scalar(field):
        return sample.reshape(stored_shape(layout, name))
    time = (slice(None),) if field.time_varying else ()
    space = (slice(None) if axis.name in field.dims else None for axis in spatial_axes(layout))
    return np.broadcast_to(sample[(*time, *space, ...)], stored_shape(layout, name))


def row_bytes(layout: Layout) -> int:
    """Return how many bytes the fields of one sample take in the files."""
    return 4 * sum(int(np.prod(stored_shape(layout, field.name))) for field in layout.fields)


def targets(path: str | os.PathLike[str], layout: Layout) -> dict[str, Target]:
    """Return what is to be filled in a file that `create` made: each field by name, and `MOMENTS`."""
    places = {field.name: place(layout, field.name) for field in layout.fields}
    with h5py.File(path, "r") as file:
        return {name: _target(file[inside]) for name, inside in {**places, MOMENTS: MOMENTS}.items()}


def file_name(layout: Layout, split: str, number: int, files: int = 1) -> str:
    """Return the path of a data file below ``data/``, e.g. ``train/burgers_train_0000.h5``.

    All numbers of a split of `files` files have as many digits, so that readers who sort by name find the order of the
    design.
    """
    width = max(4, len(str(files - 1)))
    return str(Path(split, f"{layout.name}_{split}_{number:0{width}d}.h5"))


def check_columns(layout: Layout, columns: Mapping[str, NDArray[Any]]) -> None:
    """Refuse parameters that a data file cannot hold, before anything is computed.

    Parameters
    ----------
    layout : Layout
        Of the training set; columns that it does not name are not looked at.
    columns : mapping of name to (n,) array
        The design: numbers, or words.

    Raises
    ------
    InputError
        A number that is not finite, be it in float32 only.
    """
    for column in layout.columns:
        values = np.asarray(columns.get(column.name, ()))
        if values.dtype.kind in "iuf":
            with np.errstate(over="ignore"):
                wrong = ~np.isfinite(values.astype(np.float32))
            if wrong.any():
                raise InputError(
                    f"parameter '{column.name}': {values[wrong][0]!s} does not fit into single precision, in which the "
                    "set keeps it: give it in other units or its logarithm"
                )


# The parts of a file


def _write_root(
    file: h5py.File, layout: Layout, rows: Rows, parameters: Mapping[str, NDArray[np.float32]]
) -> None:
    file.attrs["dataset_name"] = layout.name
    file.attrs["grid_type"] = layout.grid_type
    file.attrs["n_spatial_dims"] = np.int64(len(spatial_axes(layout)))
    file.attrs["n_trajectories"] = np.int64(len(rows.design_index))
    _set_words(file, "simulation_parameters", [column.name for column in layout.columns])
    for name, values in parameters.items():
        # The range, for an attribute has room for some thousand samples only; the values lie in /scalars.
        file.attrs[name] = np.array([values.min(), values.max()], dtype=np.float32)
    for name, text in layout.attributes.items():
        file.attrs[name] = text


def _write_dimensions(group: h5py.Group, layout: Layout) -> None:
    axes = spatial_axes(layout)
    _set_words(group, "spatial_dims", [axis.name for axis in axes])
    for name, axis, in_time in [("time", layout.times, True), *((axis.name, axis, False) for axis in axes)]:
        dataset = _dataset(group, name, axis.coordinates.astype(np.float32))
        _set_flags(dataset, sample_varying=False, time_varying=in_time)
        _set_units(dataset, axis.units)


def _write_boundaries(group: h5py.Group, layout: Layout) -> None:
    # One group for each dimension, because The Well's reader warns of several in one.
    singles = [
        Boundary(item.kind, (dim,), item.sides, item.fields)
        for item in layout.boundaries
        for dim in item.dims
    ]
    sizes = {axis.name: axis.size for axis in layout.axes}
    for place, single in enumerate(singles):
        twins = sum(other.name == single.name for other in singles[:place])
        name = f"{single.name}_{twins + 1}" if twins else single.name
        _write_boundary(_group(group, name), single, sizes[single.dims[0]])


def _write_boundary(group: h5py.Group, boundary: Boundary, size: int) -> None:
    _set_words(group, "associated_dims", boundary.dims)
    _set_words(group, "associated_fields", boundary.fields)
    group.attrs["bc_type"] = boundary.kind
    _set_flags(group, sample_varying=False, time_varying=False)
    mask = np.zeros(size, dtype=bool)
    mask[0] = boundary.sides != "high"
    mask[-1] |= boundary.sides != "low"
    _dataset(group, "mask", mask)


def _write_own(group: h5py.Group, layout: Layout, rows: Rows) -> None:
    group.attrs["format"] = np.int64(FORMAT)
    # In the order in which the checksums take them.
    _set_words(group, "fields", [field.name for field in layout.fields])
    _dataset(group, "design_index", rows.design_index.astype(np.int64))
    _dataset(group, "crc32", rows.crc32.astype(np.uint32))
    _empty(group, "moments", (len(rows.design_index), Moments(layout).channels, 2), np.float64)


def _write_scalars(
    group: h5py.Group, layout: Layout, samples: int, parameters: Mapping[str, NDArray[np.float32]]
) -> None:
    fields = [field for field in layout.fields if is_scalar(field)]
    _set_words(group, "field_names", [*parameters, *(field.name for field in fields)])
    for column in layout.columns:
        dataset = _dataset(group, column.name, parameters[column.name])
        _set_flags(dataset, sample_varying=True, time_varying=False)
        _set_units(dataset, column.units)
        if column.choices:
            _set_words(dataset, "choices", column.choices)
    for field in fields:
        dataset = _empty(group, field.name, (samples, *stored_shape(layout, field.name)))
        _set_flags(dataset, sample_varying=True, time_varying=field.time_varying)
        _set_units(dataset, field.units)


def _write_fields(group: h5py.Group, layout: Layout, rank: int, samples: int) -> None:
    fields = [field for field in layout.fields if field.rank == rank and not is_scalar(field)]
    _set_words(group, "field_names", [field.name for field in fields])
    for field in fields:
        dataset = _empty(group, field.name, (samples, *stored_shape(layout, field.name)))
        dataset.attrs["dim_varying"] = np.ones(len(spatial_axes(layout)), dtype=bool)
        if field.dims is not None:
            _set_words(dataset, VARIES_ALONG, field.dims)
        _set_flags(dataset, sample_varying=True, time_varying=field.time_varying)
        if rank == 2:
            _set_flags(dataset, symmetric=field.symmetric, antisymmetric=field.antisymmetric)
        _set_units(dataset, field.units)


# HDF5


def _numbers(column: Column, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    if column.name not in columns:
        known = ", ".join(columns) or "none"
        raise InputError(f"parameter '{column.name}' of the layout is not in the design; there are {known}")
    values = np.asarray(columns[column.name])
    if column.choices and values.dtype.kind not in "biuf":
        codes = {word: code for code, word in enumerate(column.choices)}
        values = np.array([codes[str(word)] for word in values])
    return values.astype(np.float32)


def _group_creation(kind: Any) -> Any:
    creation = h5py.h5p.create(kind)
    creation.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    creation.set_obj_track_times(False)
    return creation


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    creation = _group_creation(h5py.h5p.GROUP_CREATE)
    return h5py.Group(h5py.h5g.create(parent.id, name.encode(), gcpl=creation))


def _empty(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> h5py.Dataset:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, dcpl=creation))


def _target(dataset: h5py.Dataset) -> Target:
    row = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    # A data set without any value has no place.
    return Target(dataset.name.lstrip("/"), int(dataset.id.get_offset() or 0), row)


def _dataset(group: h5py.Group, name: str, values: NDArray[Any]) -> h5py.Dataset:
    dataset = _empty(group, name, values.shape, values.dtype)
    dataset[...] = values
    return dataset


def _set_flags(target: h5py.Group | h5py.Dataset, **flags: bool) -> None:
    for name, flag in flags.items():
        target.attrs[name] = np.bool_(flag)


def _set_units(target: h5py.Dataset, units: str) -> None:
    if units:
        target.attrs["units"] = units


def _set_words(target: h5py.Group | h5py.Dataset, name: str, words: Sequence[str]) -> None:
    target.attrs.create(name, np.array(words, dtype=object), dtype=h5py.string_dtype())
