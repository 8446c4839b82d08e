"""What a user says of a simulator, in Python or TOML: axes, times, fields, boundaries, parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.toml import read_toml
from hpc_ds.simulate.parameters import SPACE_KEYS, ParameterSpace
from hpc_ds.simulate.reading import check_keys
from hpc_ds.store.layout import Axis, Boundary, Column, Field, Layout

SECTIONS = (*SPACE_KEYS, "axes", "times", "fields", "boundaries", "grid_type", "attributes", "block", "ranks")
"""What can be said of a simulator."""

RANKS = {"scalar": 0, "vector": 1, "tensor": 2}
"""Ranks of fields by name."""

_AXIS_KEYS = ("values", "low", "high", "size", "endpoint", "units")
_FIELD_KEYS = ("units", "rank", "dims", "time_varying", "symmetric", "antisymmetric")
_BOUNDARY_KEYS = ("kind", "dims", "sides", "fields")
_KINDS = ("PERIODIC", "WALL", "OPEN")
_SIDES = ("both", "low", "high")

Sections = Mapping[str, Any]


def read_sections(path: str, known: Sequence[str] = SECTIONS) -> dict[str, Any]:
    """Read a TOML file that may have the sections that are `known`.

    Raises
    ------
    InputError
        The file cannot be read, or has a section that is not known.
    """
    data = read_toml(path)
    check_keys(data, known, path)
    return data


def space_of(sections: Sections, where: str) -> ParameterSpace:
    """Return the space of the section ``parameters`` (`InputError` as `ParameterSpace.from_dict`)."""
    return ParameterSpace.from_dict(sections.get("parameters", {}), sections.get("constraints", ()), where)


def layout_of(name: str, sections: Sections, columns: tuple[Column, ...], where: str) -> Layout:
    """Return the layout of the sections ``axes``, ``times``, ``fields`` and ``boundaries``.

    Each axis is an `Axis`, its coordinates, or a table of ``values``, or ``low``, ``high``, ``size`` and perhaps
    ``endpoint``; each field a `Field` or a table of its properties; each boundary a `Boundary` or a table.

    Raises
    ------
    InputError
        One line that names `where`, the key, what was found and what would be right.
    """
    try:
        return Layout(
            name,
            _axes(sections.get("axes", {})),
            _times(sections.get("times")),
            _fields(sections.get("fields", {})),
            _boundaries(sections.get("boundaries", ())),
            columns,
            _one_of("grid_type", sections.get("grid_type", "cartesian"), ("cartesian", "spherical")),
            {key: str(value) for key, value in _table("attributes", sections.get("attributes", {})).items()},
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def count_of(sections: Sections, key: str, where: str) -> int:
    """Return ``block`` or ``ranks``: an integer of at least 1, 1 if nothing is said."""
    value = sections.get(key, 1)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{where}: {key} = {value!r}; an integer of at least 1 is needed")
    return value


def _axes(said: Any) -> tuple[Axis, ...]:
    if isinstance(said, Mapping):
        return tuple(_axis(f"axes.{name}", name, value) for name, value in said.items())
    if isinstance(said, Sequence) and all(isinstance(one, Axis) for one in said):
        return tuple(said)
    raise InputError(f"axes = {said!r}; a table [axes.NAME] for each, or a list of Axis is needed")


def _times(said: Any) -> Axis:
    if said is None:
        return Axis("time", np.zeros(1))
    return _axis("times", said.name if isinstance(said, Axis) else "time", said)


def _axis(key: str, name: str, said: Any) -> Axis:
    if isinstance(said, Axis):
        return said
    if not isinstance(said, Mapping):
        return Axis(name, _coordinates(key, said))
    check_keys(said, _AXIS_KEYS, f"[{key}]")
    units = _text(f"{key}.units", said.get("units", ""))
    if "values" in said:
        if len(set(said) - {"values", "units"}):
            raise InputError(f"[{key}]: either values, or low, high and size are needed")
        return Axis(name, _coordinates(f"{key}.values", said["values"]), units)
    for needed in ("low", "high", "size"):
        if needed not in said:
            raise InputError(f"[{key}]: no {needed}; values, or low, high and size are needed")
    return Axis(name, _even(key, said), units)


def _even(key: str, said: Mapping[str, Any]) -> NDArray[np.float64]:
    low, high, size = said["low"], said["high"], said["size"]
    for which, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{key}.{which} = {value!r}; a finite number is needed")
    if not low < high:
        raise InputError(f"[{key}]: low = {low} and high = {high}; low must be less than high")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"{key}.size = {size!r}; an integer of at least 1 is needed")
    return np.linspace(low, high, size, endpoint=_flag(f"{key}.endpoint", said.get("endpoint", True)))


def _coordinates(key: str, said: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(said, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{key} = {said!r}; numbers that increase are needed") from None


def _fields(said: Any) -> tuple[Field, ...]:
    if isinstance(said, Mapping):
        return tuple(_field(name, value) for name, value in said.items())
    if (
        isinstance(said, Sequence)
        and not isinstance(said, str)
        and all(isinstance(one, Field) for one in said)
    ):
        return tuple(said)
    raise InputError(f"fields = {said!r}; a table [fields.NAME] for each, or a list of Field is needed")


def _field(name: str, said: Any) -> Field:
    key = f"fields.{name}"
    check_keys(_table(key, said), _FIELD_KEYS, f"[{key}]")
    rank = RANKS.get(said.get("rank", 0), said.get("rank", 0))
    if rank not in (0, 1, 2) or isinstance(rank, bool):
        raise InputError(f"{key}.rank = {rank!r}; 0 (scalar), 1 (vector) or 2 (tensor) is needed")
    symmetric, antisymmetric = (_flag(f"{key}.{one}", said.get(one, False)) for one in _FIELD_KEYS[-2:])
    if (symmetric or antisymmetric) and (rank != 2 or (symmetric and antisymmetric)):
        raise InputError(f"[{key}]: symmetric or antisymmetric; only a tensor can be one of them")
    return Field(
        name,
        rank,
        _flag(f"{key}.time_varying", said.get("time_varying", True)),
        None if said.get("dims") is None else _names(f"{key}.dims", said["dims"]),
        _text(f"{key}.units", said.get("units", "")),
        symmetric,
        antisymmetric,
    )


def _boundaries(said: Any) -> tuple[Boundary, ...]:
    if isinstance(said, Mapping):
        return tuple(_boundary(f"boundaries.{name}", value) for name, value in said.items())
    if isinstance(said, Sequence) and not isinstance(said, str):
        return tuple(_boundary(f"boundaries, {j}", value) for j, value in enumerate(said, 1))
    raise InputError(f"boundaries = {said!r}; a table [boundaries.NAME] for each, or a list is needed")


def _boundary(key: str, said: Any) -> Boundary:
    if isinstance(said, Boundary):
        return said
    check_keys(_table(key, said), _BOUNDARY_KEYS, f"[{key}]")
    for needed in ("kind", "dims"):
        if needed not in said:
            raise InputError(f"[{key}]: no {needed}; kind and dims are needed")
    return Boundary(
        _one_of(f"{key}.kind", str(said["kind"]).upper(), _KINDS),
        _names(f"{key}.dims", said["dims"]),
        _one_of(f"{key}.sides", said.get("sides", "both"), _SIDES),
        _names(f"{key}.fields", said.get("fields", [])),
    )


def _table(key: str, said: Any) -> Mapping[str, Any]:
    if not isinstance(said, Mapping):
        raise InputError(f"{key} = {said!r}; a table is needed")
    return said


def _names(key: str, said: Any) -> tuple[str, ...]:
    if (
        isinstance(said, str)
        or not isinstance(said, Sequence)
        or not all(isinstance(one, str) for one in said)
    ):
        raise InputError(f"{key} = {said!r}; a list of names is needed")
    return tuple(said)


def _text(key: str, said: Any) -> str:
    if not isinstance(said, str):
        raise InputError(f"{key} = {said!r}; a text is needed")
    return said


def _flag(key: str, said: Any) -> bool:
    if not isinstance(said, bool):
        raise InputError(f"{key} = {said!r}; true or false is needed")
    return said


def _one_of(key: str, said: Any, known: Sequence[str]) -> Any:
    if said not in known:
        raise InputError(f"{key} = {said!r}; {unknown(str(said), known)}")
    return said
