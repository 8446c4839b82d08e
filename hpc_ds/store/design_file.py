"""The design on disk: the parameters of all samples, written before the first one is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.netcdf import Group, Variable, read_attrs, read_group, write_groups

FILE = "design.h5"

_COLUMNS = "design"
_SETTINGS = "settings"
# No parameter can have this name, for it is no identifier.
_DIMENSION = "design-index"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Design:
    """The parameters of all samples; row i belongs to the sample of design index i.

    Attributes
    ----------
    columns : dict of name to (n,) float64, int64 or str array
        The parameters, in the order in which they were declared.
    n : int
        Number of samples.
    attrs : dict
        How they were drawn: kind, seed, the first indices of generations, ...
    """

    columns: Mapping[str, NDArray[Any]]
    n: int
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def row(self, index: int) -> dict[str, float | int | str]:
        """Return one sample's parameters as Python's own float, int and str (IndexError beyond the design)."""
        if not 0 <= index < self.n:
            raise IndexError(f"sample {index} of a design of {self.n}")
        return {name: values[index].item() for name, values in self.columns.items()}


def write_design(
    folder: str | os.PathLike[str],
    columns: Mapping[str, ArrayLike],
    attrs: Mapping[str, Any] | None = None,
    n: int | None = None,
) -> None:
    """Write the design of a run folder, all or nothing; equal input gives equal bytes.

    Parameters
    ----------
    folder : str or Path
        The run folder.
    columns : mapping of name to (n,) array
        Numbers are kept as float64, integers as int64, words as text.
    attrs : mapping of name to str, number or one-dimensional array
        How they were drawn.
    n : int, optional
        Number of samples, for a design without columns.

    Raises
    ------
    ValueError
        The columns differ in length, or one is no list of numbers or words.
    StorageError
        It cannot be written; an older one is then untouched.
    """
    arrays = {name: _storable(name, values) for name, values in columns.items()}
    lengths = {array.size for array in arrays.values()} | (set() if n is None else {n})
    if len(lengths) != 1:
        raise ValueError(f"a design needs columns of one length: found {sorted(lengths)}")
    size = lengths.pop()
    table = Group(
        {name: Variable((_DIMENSION,), array) for name, array in arrays.items()}, dims={_DIMENSION: size}
    )
    root = Group(attrs={"format": _FORMAT, "samples": size})
    write_groups(Path(folder) / FILE, {"/": root, _COLUMNS: table, _SETTINGS: Group(attrs=attrs or {})})


def read_design(folder: str | os.PathLike[str]) -> Design:
    """Read the design of a run folder.

    Raises
    ------
    InputError
        There is none, it is damaged, or a later version wrote it.
    """
    path = Path(folder) / FILE
    root = read_attrs(path)
    if root.get("format") != _FORMAT:
        raise InputError(f"{path}: a design of format {root.get('format')}; this version knows {_FORMAT}")
    columns = {name: _words(values) for name, values in read_group(path, _COLUMNS).items()}
    attrs = {name: _python(value) for name, value in read_attrs(path, _SETTINGS).items()}
    return Design(columns, int(root["samples"]), attrs)


def _storable(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"column {name} has {array.ndim} axes: one is needed")
    if array.dtype.kind in "biu":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    if array.dtype.kind in "UO" and all(isinstance(item, str) for item in array):
        return array.astype(object)
    raise ValueError(f"column {name} holds {array.dtype}: numbers or words are needed")


def _words(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(str) if values.dtype.kind == "O" else values


def _python(value: Any) -> Any:
    """Return numbers as Python's own; arrays stay."""
    return value.item() if isinstance(value, np.generic) else value
