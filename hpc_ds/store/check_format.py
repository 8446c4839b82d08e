"""The rules of The Well's layout for one file: groups, attributes, shapes and types."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import permutations
from typing import Any, NamedTuple

import h5py
import numpy as np

from hpc_ds.store.finding import Finding, Severity
from hpc_ds.store.well import OWN
from hpc_ds.store.well_file import words

GRID_TYPES = ("cartesian", "spherical")
BOUNDARY_TYPES = ("WALL", "OPEN", "PERIODIC")

_GROUPS = ("dimensions", "boundary_conditions", "scalars", "t0_fields", "t1_fields", "t2_fields")


class Remark(NamedTuple):
    """A finding whose file is not named yet."""

    severity: Severity
    place: str
    message: str


class _Known(NamedTuple):
    """What the rules of a file need from its root and dimensions; None where it could not be read."""

    samples: int | None
    dims: dict[str, int | None]
    """Points along each spatial dimension."""
    times: int | None


def check_format(path: str | os.PathLike[str], place: str) -> list[Finding]:
    """Check one file against the rules; `place` names it in the findings."""
    try:
        with h5py.File(path, "r") as file:
            remarks = list(_file(file))
    except OSError as error:
        return [Finding("error", place, f"cannot be opened as HDF5 ({str(error).splitlines()[0]})")]
    return [
        Finding(remark.severity, f"{place}: {remark.place}" if remark.place else place, remark.message)
        for remark in remarks
    ]


def _file(file: h5py.File) -> Iterator[Remark]:
    for name in _GROUPS:
        if not isinstance(file.get(name), h5py.Group):
            yield Remark("error", name, "there is no such group")
    known = _known(file)
    yield from _root(file, known)
    if "dimensions" in file:
        yield from _dimensions(file["dimensions"], known)
    for rank in range(3):
        if f"t{rank}_fields" in file:
            yield from _fields(file[f"t{rank}_fields"], rank, known)
    if "scalars" in file:
        yield from _scalars(file["scalars"], known)
    if "boundary_conditions" in file:
        yield from _boundaries(file, known)
    yield from _names(file)


def _known(file: h5py.File) -> _Known:
    samples = file.attrs.get("n_trajectories")
    dimensions = file.get("dimensions")
    if not isinstance(dimensions, h5py.Group):
        return _Known(_integer(samples), {}, None)
    names = _word_list(dimensions, "spatial_dims") or []
    sizes = {name: _last(dimensions.get(name)) for name in names}
    return _Known(_integer(samples), sizes, _last(dimensions.get("time")))


def _root(file: h5py.File, known: _Known) -> Iterator[Remark]:
    for name in ("dataset_name", "grid_type"):
        if not isinstance(file.attrs.get(name), str):
            yield _lacks("", name, "a word")
    grid_type = file.attrs.get("grid_type")
    if isinstance(grid_type, str) and grid_type not in GRID_TYPES:
        yield Remark("error", "", f"grid_type is '{grid_type}', not one of {', '.join(GRID_TYPES)}")
    for name in ("n_spatial_dims", "n_trajectories"):
        found = _integer(file.attrs.get(name))
        if found is None or found < 1:
            yield _lacks("", name, "an integer of at least 1")
    ndim = _integer(file.attrs.get("n_spatial_dims"))
    if known.dims and ndim is not None and ndim != len(known.dims):
        yield Remark("error", "", f"n_spatial_dims is {ndim}, but there are {len(known.dims)} spatial_dims")
    parameters = _word_list(file, "simulation_parameters")
    if parameters is None:
        yield _lacks("", "simulation_parameters", "a list of words")
    for name in parameters or []:
        if name not in file.attrs:
            yield Remark("error", "", f"the parameter '{name}' is listed, but is no attribute of the file")
        if f"scalars/{name}" not in file:
            yield Remark("warning", "scalars", f"the parameter '{name}' is not among the scalars")


def _dimensions(group: h5py.Group, known: _Known) -> Iterator[Remark]:
    names = _word_list(group, "spatial_dims")
    if not names:
        yield _lacks("dimensions", "spatial_dims", "a list of at least one word")
    for name in ["time", *(names or [])]:
        place = f"dimensions/{name}"
        dataset = group.get(name)
        if not isinstance(dataset, h5py.Dataset):
            yield Remark("error", place, "there is no such data set")
            continue
        yield from _flags(dataset, place, ("sample_varying",))
        # Of the time, The Well's checkers contradict one another.
        severity: Severity = "warning" if name == "time" else "error"
        yield from _flags(dataset, place, ("time_varying",), severity)
        shape = (known.samples,) if _flag(dataset, "sample_varying") else ()
        if dataset.ndim != len(shape) + 1 or dataset.shape[: len(shape)] != shape:
            yield Remark(
                "error", place, f"has shape {dataset.shape}; ({', '.join([*map(str, shape), 'n'])},) is right"
            )
        elif dataset.dtype.kind not in "iuf":
            yield Remark("error", place, f"holds {dataset.dtype}, not numbers")
        elif dataset.size and not (np.diff(np.asarray(dataset[()], dtype=np.float64), axis=-1) > 0).all():
            yield Remark("warning", place, "its values do not increase")


def _fields(group: h5py.Group, rank: int, known: _Known) -> Iterator[Remark]:
    yield from _listing(group)
    for name, dataset in _named(group):
        place = f"{group.name[1:]}/{name}"
        yield from _flags(dataset, place, ("sample_varying", "time_varying"))
        if rank == 2:
            yield from _flags(dataset, place, ("symmetric", "antisymmetric"), "warning")
        varying = np.atleast_1d(dataset.attrs.get("dim_varying", []))
        if len(varying) != len(known.dims) or varying.dtype.kind != "b":
            yield _lacks(
                place, "dim_varying", f"{len(known.dims)} truth values, one for each spatial dimension"
            )
        else:
            yield from _field_shape(dataset, place, rank, varying.tolist(), known)
        yield from _float32(dataset, place)


def _field_shape(
    dataset: h5py.Dataset, place: str, rank: int, varying: list[bool], known: _Known
) -> Iterator[Remark]:
    if None in known.dims.values():
        return
    lead = _lead(dataset, known)
    sizes = [size or 0 for size in known.dims.values()]
    components = (len(sizes),) * rank
    narrow = (*lead, *(size for size, vary in zip(sizes, varying) if vary), *components)
    kept = (*lead, *(size if vary else 1 for size, vary in zip(sizes, varying)), *components)
    if dataset.shape not in (narrow, kept):
        order = "samples, times, space, components"
        turned = dataset.ndim <= 6 and dataset.shape in set(permutations(narrow))
        hint = f"; its axes are in another order than {order}" if turned else ""
        yield Remark("error", place, f"has shape {dataset.shape}; {narrow} is right{hint}")
    elif not all(varying):
        yield from _narrow_shape(place, varying, kept=dataset.shape == kept and narrow != kept)


def _narrow_shape(place: str, varying: list[bool], kept: bool) -> Iterator[Remark]:
    """Remark on a field that does not vary along a dimension, on which The Well's reader and checker disagree."""
    if not kept:
        yield Remark(
            "warning",
            place,
            "leaves out a dimension; The Well's reader wants it repeated, or as an axis of length 1",
        )
    elif sorted(varying, reverse=True) != varying:
        yield Remark(
            "error", place, "has an axis of length 1 before others; The Well's checker refuses it: repeat it"
        )


def _scalars(group: h5py.Group, known: _Known) -> Iterator[Remark]:
    yield from _listing(group)
    for name, dataset in _named(group):
        place = f"scalars/{name}"
        yield from _flags(dataset, place, ("sample_varying", "time_varying"))
        lead = _lead(dataset, known)
        if dataset.shape != lead:
            yield Remark("error", place, f"has shape {dataset.shape}; {lead} is right")
        yield from _float32(dataset, place)


def _boundaries(file: h5py.File, known: _Known) -> Iterator[Remark]:
    fields = {name for rank in range(3) for name in file.get(f"t{rank}_fields", {})}
    for name, group in file["boundary_conditions"].items():
        place = f"boundary_conditions/{name}"
        if not isinstance(group, h5py.Group):
            yield Remark("error", place, "is no group")
            continue
        yield from _boundary_type(group, place)
        yield from _flags(group, place, ("sample_varying", "time_varying"))
        strange = [field for field in _word_list(group, "associated_fields") or [] if field not in fields]
        if "associated_fields" not in group.attrs:
            yield _lacks(place, "associated_fields", "a list of words, which may be empty")
        elif strange:
            yield Remark("warning", place, f"its associated field '{strange[0]}' does not exist")
        yield from _mask(group, place, known)


def _boundary_type(group: h5py.Group, place: str) -> Iterator[Remark]:
    kind = group.attrs.get("bc_type")
    if not isinstance(kind, str) or kind.upper() not in BOUNDARY_TYPES:
        yield Remark("error", place, f"bc_type is {kind!r}, not one of {', '.join(BOUNDARY_TYPES)}")
    elif kind not in BOUNDARY_TYPES:
        yield Remark("warning", place, f"bc_type is '{kind}'; {kind.upper()} is right")


def _mask(group: h5py.Group, place: str, known: _Known) -> Iterator[Remark]:
    dims = _word_list(group, "associated_dims")
    if not dims:
        yield _lacks(place, "associated_dims", "a list of at least one word")
        return
    strange = [dim for dim in dims if dim not in known.dims]
    mask = group.get("mask")
    if strange:
        yield Remark("error", place, f"its associated dimension '{strange[0]}' does not exist")
    elif not isinstance(mask, h5py.Dataset):
        yield Remark("error", f"{place}/mask", "there is no such data set")
    else:
        shape = (*_lead(group, known), *(known.dims[dim] for dim in dims))
        if mask.shape != shape:
            yield Remark("error", f"{place}/mask", f"has shape {mask.shape}; {shape} is right")
        if mask.dtype.kind != "b":
            yield Remark("warning", f"{place}/mask", f"holds {mask.dtype}, not truth values")


def _names(file: h5py.File) -> Iterator[Remark]:
    """Remark on names that stand twice, and on groups that The Well does not know."""
    groups = [file[name] for name in _GROUPS[2:] if isinstance(file.get(name), h5py.Group)]
    names = [name for group in groups for name in _word_list(group, "field_names") or []]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield Remark("error", "", f"two fields or scalars are called '{name}'")
    for name in file:
        if name not in (*_GROUPS, OWN):
            yield Remark("warning", name, "is no part of The Well's layout")


# What rules share


def _named(group: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
    """Return the data sets that a group lists and has."""
    names = _word_list(group, "field_names") or []
    return [(name, group[name]) for name in names if isinstance(group.get(name), h5py.Dataset)]


def _listing(group: h5py.Group) -> Iterator[Remark]:
    """Remark on what a group lists and does not have, or has and does not list."""
    place = group.name[1:]
    names = _word_list(group, "field_names")
    if names is None:
        yield _lacks(place, "field_names", "a list of words, which may be empty")
        return
    for name in group:
        if name not in names:
            yield Remark("warning", f"{place}/{name}", "is not among the field_names, so no reader finds it")
    for name in names:
        if not isinstance(group.get(name), h5py.Dataset):
            yield Remark(
                "error", f"{place}/{name}", "is among the field_names, but there is no such data set"
            )


def _flags(
    target: h5py.Group | h5py.Dataset, place: str, names: tuple[str, ...], severity: Severity = "error"
) -> Iterator[Remark]:
    for name in names:
        if not isinstance(target.attrs.get(name), bool | np.bool_):
            yield Remark(severity, place, _lack(name, "a truth value", target))


def _float32(dataset: h5py.Dataset, place: str) -> Iterator[Remark]:
    if dataset.dtype.kind not in "iufb":
        yield Remark("error", place, f"holds {dataset.dtype}, not numbers")
    elif dataset.dtype != np.float32:
        yield Remark("warning", place, f"holds {dataset.dtype}; the sets of The Well hold float32")


def _lead(target: h5py.Group | h5py.Dataset, known: _Known) -> tuple[int | None, ...]:
    samples = (known.samples,) if _flag(target, "sample_varying") else ()
    return (*samples, *((known.times,) if _flag(target, "time_varying") else ()))


def _flag(target: h5py.Group | h5py.Dataset, name: str) -> bool:
    return bool(np.any(target.attrs.get(name, False)))


def _lacks(place: str, name: str, right: str) -> Remark:
    return Remark("error", place, f"the attribute {name} is missing or not {right}")


def _lack(name: str, right: str, target: h5py.Group | h5py.Dataset) -> str:
    state = f"is {target.attrs[name]!r}, not" if name in target.attrs else "is missing; it must be"
    return f"the attribute {name} {state} {right}"


def _word_list(target: h5py.Group | h5py.Dataset, name: str) -> list[str] | None:
    found: Any = target.attrs.get(name)
    if not isinstance(found, np.ndarray):
        return None
    if not found.size:
        return []
    return words(found) if all(isinstance(word, str | bytes) for word in found) else None


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, int | np.integer) else None


def _last(dataset: Any) -> int | None:
    return int(dataset.shape[-1]) if isinstance(dataset, h5py.Dataset) and dataset.ndim else None
