"""What one training set holds, declared before a sample exists: its grid, fields, boundaries and parameters."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError

GridType = Literal["cartesian", "spherical"]
BoundaryKind = Literal["PERIODIC", "WALL", "OPEN"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
# Attributes that the root of each of The Well's files has; a parameter is an attribute there, too.
_RESERVED = ("dataset_name", "grid_type", "n_spatial_dims", "n_trajectories", "simulation_parameters")


class FieldError(ValueError):
    """A simulator returned fields that are not the declared ones; the message says which and how."""


@dataclass(frozen=True, eq=False)
class Axis:
    """A spatial dimension or the time, with the coordinate of each of its points."""

    name: str
    coordinates: NDArray[np.float64]
    """(n,) float64, strictly increasing."""
    units: str = ""

    @property
    def size(self) -> int:
        """Number of points."""
        return int(self.coordinates.size)


@dataclass(frozen=True)
class Field:
    """A quantity that each sample holds.

    A field without spatial dimensions (``dims=()``) is a scalar of the sample: one number, or one a time.
    """

    name: str
    rank: Literal[0, 1, 2] = 0
    """0 for a scalar, 1 for a vector, 2 for a tensor: so many trailing axes of components, each as long as there are
    spatial dimensions."""
    time_varying: bool = True
    dims: tuple[str, ...] | None = None
    """Names of the spatial dimensions along which it varies, in the order of the grid; None for all of them."""
    units: str = ""
    symmetric: bool = False
    """Of a tensor: equal to its transpose."""
    antisymmetric: bool = False
    """Of a tensor: equal to minus its transpose."""


@dataclass(frozen=True)
class Boundary:
    """A condition at the ends of one or more spatial dimensions."""

    kind: BoundaryKind
    dims: tuple[str, ...]
    sides: Literal["both", "low", "high"] = "both"
    fields: tuple[str, ...] = ()
    """Fields that it concerns; empty for all."""

    @property
    def name(self) -> str:
        """Name of its group in the files, e.g. ``x_periodic``."""
        side = "" if self.sides == "both" else f"_{self.sides}"
        return f"{'_'.join(self.dims)}{side}_{self.kind.lower()}"


@dataclass(frozen=True)
class Column:
    """A parameter as the training set names it; its values lie in the design."""

    name: str
    units: str = ""
    choices: tuple[str, ...] = ()
    """What the numbers 0, 1, ... stand for, if it is a choice among words."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Everything that is the same for all samples of a training set.

    Raises
    ------
    InputError
        A name that is no identifier, stands twice or is one that The Well's files have themselves, a name of the set
        that cannot be part of a file's, coordinates that do not increase (also those that only float32 makes equal),
        a dimension that does not exist, or nothing declared at all.
    """

    name: str
    """Name of the set, e.g. ``burgers``."""
    axes: tuple[Axis, ...]
    """Spatial dimensions in the order of the arrays; may be empty."""
    times: Axis
    """The moments that are kept; one entry if nothing varies in time."""
    fields: tuple[Field, ...]
    boundaries: tuple[Boundary, ...] = ()
    columns: tuple[Column, ...] = ()
    grid_type: GridType = "cartesian"
    attributes: Mapping[str, str] = field(default_factory=dict)
    """More attributes of the files' roots: a title, a source, an equation."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def ndim(self) -> int:
        """Number of spatial dimensions."""
        return len(self.axes)

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the spatial dimensions along which the field `name` varies."""
        declared = self.field(name).dims
        return tuple(axis.name for axis in self.axes) if declared is None else declared

    def field(self, name: str) -> Field:
        """Return the field of that name (KeyError if there is none)."""
        for item in self.fields:
            if item.name == name:
                return item
        raise KeyError(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one sample of the field `name`: time, then space, then components."""
        item = self.field(name)
        sizes = {axis.name: axis.size for axis in self.axes}
        time = (self.times.size,) if item.time_varying else ()
        return (*time, *(sizes[dim] for dim in self.dims(name)), *(self.ndim,) * item.rank)

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample on disk (float32)."""
        return 4 * sum(int(np.prod(self.shape(item.name))) for item in self.fields)

    def checked(self, values: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        """Return a simulator's fields as contiguous float32 arrays, in the order in which they are declared.

        Raises
        ------
        FieldError
            They are no mapping; or a field is missing or not declared, is no array of numbers, has masked values or
            another shape, or holds a NaN or an infinity (also one that only float32 makes).
        """
        if not isinstance(values, Mapping):
            found = "None" if values is None else f"a value of type {type(values).__name__}"
            raise FieldError(f"returned {found}: a mapping of fields is needed")
        names = [item.name for item in self.fields]
        for name in values:
            if name not in names:
                raise FieldError(
                    f"field '{name}' was returned but is not declared; declared are {', '.join(names)}"
                )
        return {name: self._checked(name, values) for name in names}

    def _checked(self, name: str, values: Mapping[str, Any]) -> NDArray[np.float32]:
        if name not in values:
            raise FieldError(f"field '{name}' is declared but was not returned")
        raw = _array(name, values[name])
        if raw.dtype.kind not in "biuf":
            raise FieldError(f"field '{name}' holds {raw.dtype}: real numbers are needed")
        if raw.shape != self.shape(name):
            raise FieldError(f"field '{name}' has shape {raw.shape}: {self.shape(name)} is declared")
        with np.errstate(over="ignore"):
            array = np.asarray(raw, dtype=np.float32, order="C")  # ascontiguousarray makes () a row
        wrong = array.size - int(np.count_nonzero(np.isfinite(array)))
        if wrong:
            raise FieldError(f"field '{name}' holds {wrong} of {array.size} values that are NaN or infinite")
        return array

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as plain data for JSON; `from_dict` reads it back exactly."""
        return {
            "name": self.name,
            "axes": [_plain(axis) for axis in self.axes],
            "times": _plain(self.times),
            "fields": [_plain(item) for item in self.fields],
            "boundaries": [_plain(item) for item in self.boundaries],
            "columns": [_plain(item) for item in self.columns],
            "grid_type": self.grid_type,
            "attributes": dict(self.attributes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layout:
        """Return the layout that `to_dict` described."""
        return cls(
            data["name"],
            tuple(_axis(item) for item in data["axes"]),
            _axis(data["times"]),
            tuple(Field(**_tuples(item)) for item in data["fields"]),
            tuple(Boundary(**_tuples(item)) for item in data["boundaries"]),
            tuple(Column(**_tuples(item)) for item in data["columns"]),
            data["grid_type"],
            data["attributes"],
        )


def axis(name: str, low: float, high: float, size: int, units: str = "", endpoint: bool = True) -> Axis:
    """Return an axis of `size` evenly spaced points from `low` to `high`; without the end for a periodic one."""
    return Axis(name, np.linspace(low, high, size, endpoint=endpoint), units)


def read_layout(folder: str | os.PathLike[str]) -> Layout:
    """Read ``layout.json`` of a run folder (`InputError` if there is none, or a damaged one)."""
    path = Path(folder) / "layout.json"
    try:
        return Layout.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the folder of --out of hpc-ds simulate") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); mend it or choose another folder") from None


def _array(name: str, value: Any) -> NDArray[Any]:
    if np.ma.is_masked(value):
        raise FieldError(f"field '{name}' has masked values: give each of them a number")
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # PyTorch raises the last one
        reason = " ".join(str(error).split())
        raise FieldError(f"field '{name}' cannot be made an array ({reason})") from error


def _check(layout: Layout) -> None:
    if not _FILE_NAME.fullmatch(layout.name):
        raise InputError(
            f"simulator {layout.name!r}: its name is part of file names: it must not be empty, begin with a dot or "
            "hold a slash"
        )
    if not layout.fields:
        raise InputError(f"simulator {layout.name}: declares no field; at least one is needed")
    _check_names(layout.name, "axis", [axis.name for axis in layout.axes])
    _check_names(
        layout.name,
        "field or parameter",
        [item.name for item in layout.fields] + [item.name for item in layout.columns],
    )
    _check_reserved(layout)
    for axis in (*layout.axes, layout.times):
        _check_coordinates(layout.name, axis)
    _check_dims(layout)


def _check_reserved(layout: Layout) -> None:
    """Refuse the names that The Well's files keep for themselves."""
    where = f"simulator {layout.name}"
    if any(axis.name == "time" for axis in layout.axes):
        raise InputError(f"{where}: no axis may be called 'time', which The Well keeps for the times")
    names = [column.name for column in layout.columns]
    for kind, chosen, kept in (
        ("parameter", names, _RESERVED),
        ("attribute", layout.attributes, (*_RESERVED, *names)),
    ):
        for name in chosen:
            if name in kept:
                raise InputError(
                    f"{where}: {kind} '{name}' is one that The Well's files have; call it otherwise"
                )


def _check_coordinates(where: str, axis: Axis) -> None:
    with np.errstate(over="ignore"):
        stored = axis.coordinates.astype(np.float32)  # as the files have them
    for values, precision in ((axis.coordinates, ""), (stored, " in single precision, too")):
        if (
            values.ndim != 1
            or not values.size
            or not np.isfinite(values).all()
            or (np.diff(values) <= 0).any()
        ):
            raise InputError(
                f"simulator {where}: the coordinates of '{axis.name}' must be finite numbers that increase{precision}"
            )


def _check_dims(layout: Layout) -> None:
    known = [axis.name for axis in layout.axes]
    for item in layout.fields:
        if item.rank and not known:
            raise InputError(
                f"simulator {layout.name}: field '{item.name}' has rank {item.rank}, and so many components as there "
                "are axes: there are none"
            )
    for owner, dims in [(f"field '{item.name}'", item.dims or ()) for item in layout.fields] + [
        (f"boundary '{item.name}'", item.dims) for item in layout.boundaries
    ]:
        if [name for name in known if name in dims] != list(dims):
            raise InputError(
                f"simulator {layout.name}: {owner} has dims {list(dims)}; they must be among {known}, in that order"
            )


def _check_names(where: str, what: str, names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"simulator {where}: {what} '{name}': a name of letters, digits and _ is needed")
        if names.count(name) > 1:
            raise InputError(f"simulator {where}: {what} '{name}' is declared twice")


def _plain(item: Any) -> dict[str, Any]:
    values = {one.name: getattr(item, one.name) for one in fields(item)}
    return {
        name: value.tolist()
        if isinstance(value, np.ndarray)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in values.items()
    }


def _axis(data: Mapping[str, Any]) -> Axis:
    return Axis(data["name"], np.asarray(data["coordinates"], dtype=np.float64), data["units"])


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
