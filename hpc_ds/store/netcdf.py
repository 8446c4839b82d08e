"""Write groups of named arrays as one NetCDF-4 file that xarray and arviz open, and read them back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.runtime.atomic import write_bytes
from hpc_ds.runtime.errors import InputError

# The NetCDF-4 specification marks a dimension without values by this text and its size in ten digits.
_BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable."
# xarray writes truth values as bytes with this attribute, and turns them back.
_TRUTH = ("dtype", "bool")


class Variable(NamedTuple):
    """An array with the names of its axes; a plain tuple ``(dims, values)`` does as well."""

    dims: tuple[str, ...]
    values: ArrayLike
    attrs: Mapping[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Group:
    """One group of a NetCDF file: what xarray calls a data set.

    Attributes
    ----------
    variables : mapping of name to Variable or ``(dims, values[, attrs])``
        Numbers, truth values or strings, of any number of axes.
    coords : mapping of dimension to (n,) array
        Values along a dimension: numbers or strings.
    dims : mapping of dimension to size
        Sizes that are stated beforehand; those of the arrays need not be.
    attrs : mapping of name to str, number or one-dimensional array
        Attributes of the group.
    """

    variables: Mapping[str, Variable | tuple] = field(default_factory=dict)
    coords: Mapping[str, ArrayLike] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)


def write_groups(path: str | os.PathLike[str], groups: Mapping[str, Group]) -> None:
    """Write a whole file at once, atomically; equal input gives equal bytes.

    The file is built in memory, so that HDF5 never meets a full disk: about twice its size is needed.

    Parameters
    ----------
    path : str or Path
        A file of that name is replaced.
    groups : mapping of name to Group
        ``"/"`` is the root group; its attributes become those of arviz's InferenceData.

    Raises
    ------
    ValueError
        If arrays disagree about the size of a dimension, or a variable has the name of a dimension.
    StorageError
        If the file cannot be written; an older one is then untouched.
    """
    plan = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    plan.set_fapl_core(block_size=2**20, backing_store=False)
    plan.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    plan.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    creation = _ordered(h5py.h5p.create(h5py.h5p.FILE_CREATE))
    # Without a backing store HDF5 only wants a name here, and leaves a file of that name alone.
    name = os.fsencode(path)
    with h5py.File(h5py.h5f.create(name, fcpl=creation, fapl=plan)) as file:
        dimension_ids = iter(range(2**31 - 1))
        for group_name, group in groups.items():
            _write_group(_created_group(file, group_name), group, dimension_ids)
        file.flush()
        image = file.id.get_file_image()
    write_bytes(path, image)


def read_group(path: str | os.PathLike[str], group: str) -> dict[str, NDArray[Any]]:
    """Read all coordinates and variables of a group, in the order in which they were written.

    Strings come back as arrays of ``str`` objects, truth values as ``bool``.

    Raises
    ------
    InputError
        If there is no such file or group.
    """
    with _opened(path) as file:
        return {
            name: _values(item)
            for name, item in _found_group(file, path, group).items()
            if isinstance(item, h5py.Dataset) and not is_bare_dimension(item)
        }


def read_attrs(path: str | os.PathLike[str], group: str = "/") -> dict[str, Any]:
    """Read the attributes of a group: str, NumPy numbers and arrays; `InputError` as in `read_group`."""
    with _opened(path) as file:
        return dict(_found_group(file, path, group).attrs)


def list_groups(path: str | os.PathLike[str]) -> list[str]:
    """List the groups below the root, in the order in which they were written."""
    with _opened(path) as file:
        return [name for name, item in file.items() if isinstance(item, h5py.Group)]


def is_bare_dimension(dataset: h5py.Dataset) -> bool:
    """Whether a data set only stands for a dimension that has no values."""
    name = dataset.attrs.get("NAME", b"")
    return (name if isinstance(name, bytes) else str(name).encode()).startswith(_BARE_DIMENSION.encode())


# Writing


def _ordered(creation: Any) -> Any:
    """Make a group remember the order of its links, as NetCDF-4 demands, and not when it was made."""
    creation.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    creation.set_obj_track_times(False)
    return creation


def _created_group(file: h5py.File, name: str) -> h5py.Group:
    if name == "/":
        return file["/"]
    creation = _ordered(h5py.h5p.create(h5py.h5p.GROUP_CREATE))
    return h5py.Group(h5py.h5g.create(file.id, name.encode(), gcpl=creation))


def _write_group(target: h5py.Group, group: Group, dimension_ids: Iterator[int]) -> None:
    variables = {name: Variable(*variable) for name, variable in group.variables.items()}
    arrays = {name: _storable(variable.values) for name, variable in variables.items()}
    coords = {name: _storable(values) for name, values in group.coords.items()}
    sizes = _sizes(group, variables, arrays, coords)
    for name, size in sizes.items():
        scale = _create_dimension(target, name, size, coords.get(name))
        scale.attrs["_Netcdf4Dimid"] = np.int32(next(dimension_ids))
    for name, variable in variables.items():
        dataset = _create_dataset(target, name, arrays[name])
        for axis, dimension in enumerate(variable.dims):
            dataset.dims[axis].attach_scale(target[dimension])
        _write_attrs(dataset, variable.attrs)
    _write_attrs(target, group.attrs)


def _sizes(
    group: Group,
    variables: Mapping[str, Variable],
    arrays: Mapping[str, NDArray[Any]],
    coords: Mapping[str, NDArray[Any]],
) -> dict[str, int]:
    """Return the size of every dimension, or say which array contradicts another."""
    sizes = {name: int(size) for name, size in group.dims.items()}
    axes: list[tuple[str, tuple[str, ...], NDArray[Any]]]
    axes = [(name, (name,), values) for name, values in coords.items()]
    axes += [(name, tuple(variable.dims), arrays[name]) for name, variable in variables.items()]
    for name, dims, array in axes:
        if len(dims) != array.ndim:
            raise ValueError(f"{name} has {array.ndim} axes; its dimensions are {dims}")
        for dimension, size in zip(dims, array.shape, strict=True):
            if sizes.setdefault(dimension, size) != size:
                raise ValueError(
                    f"{name} has {size} along {dimension}; {sizes[dimension]} were stated before"
                )
    both = sorted(set(sizes) & set(variables))
    if both:
        raise ValueError(f"{both[0]} is a dimension: give its values in coords, not in variables")
    return sizes


def _create_dimension(target: h5py.Group, name: str, size: int, values: NDArray[Any] | None) -> h5py.Dataset:
    if values is not None:
        scale = _create_dataset(target, name, values)
        scale.make_scale(name)
    else:
        scale = target.create_dataset(name, shape=(size,), dtype=">f4", track_times=False)
        scale.make_scale(f"{_BARE_DIMENSION}{size:10d}")
    return scale


def _create_dataset(target: h5py.Group, name: str, values: NDArray[Any]) -> h5py.Dataset:
    truth = values.dtype.kind == "b"
    stored = values.astype(np.int8) if truth else values
    dtype = h5py.string_dtype() if stored.dtype.kind == "O" else stored.dtype
    dataset = target.create_dataset(name, data=stored, dtype=dtype, track_times=False)
    if truth:
        dataset.attrs[_TRUTH[0]] = _TRUTH[1]
    return dataset


def _storable(values: ArrayLike) -> NDArray[Any]:
    """Turn strings of any kind into an array of ``str`` objects; leave numbers as they are."""
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind in "UO" and all(isinstance(item, str) for item in array.flat):
        return array.astype(object)
    raise ValueError(f"an array of {array.dtype} cannot be written; numbers, truth values or strings can")


def _write_attrs(target: h5py.Group | h5py.Dataset, attrs: Mapping[str, Any]) -> None:
    for name, value in attrs.items():
        if isinstance(value, str):
            target.attrs[name] = value
            continue
        array = _storable(value)
        array = array.astype(np.int8) if array.dtype.kind == "b" else array
        target.attrs.create(name, array, dtype=h5py.string_dtype() if array.dtype.kind == "O" else None)


# Reading


def _opened(path: str | os.PathLike[str]) -> h5py.File:
    if not os.path.exists(path):
        raise InputError(f"{os.fspath(path)}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{os.fspath(path)}: cannot be opened as HDF5 ({reason})") from None


def _found_group(file: h5py.File, path: str | os.PathLike[str], name: str) -> h5py.Group:
    found = file.get(name)
    if not isinstance(found, h5py.Group):
        inside = ", ".join(file) or "none"
        raise InputError(f"{os.fspath(path)}: no group {name!r}; groups in it: {inside}")
    return found


def _values(dataset: h5py.Dataset) -> NDArray[Any]:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[()], dtype=object)
    values = np.asarray(dataset[()])
    return values.astype(bool) if dataset.attrs.get(_TRUTH[0]) == _TRUTH[1] else values
