"""Read a measured table (x, y and perhaps sigma) and check it before any work starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.columns import Columns, load_columns

_SIGMA_WORDS = ("sig", "err", "unc", "std", "dev", "dy")


@dataclass(frozen=True, eq=False)
class Table:
    """A measured curve with x in ascending order.

    Attributes
    ----------
    x, y : (n,) float64
        Finite values, sorted by x.
    sigma : (n,) float64 or None
        Standard deviation of each y, positive; None if the file has no third column.
    x_name, y_name : str
        Names from the header, else "x" and "y".
    path : str
        The file as it was asked for.
    warnings : list of str
        What was noticed and mended (order of x, repeated x, columns left out), one line each.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    sigma: NDArray[np.float64] | None
    x_name: str
    y_name: str
    path: str
    warnings: list[str] = field(default_factory=list)


def read_xy(path: str | os.PathLike[str]) -> Table:
    """Read x, y and an optional sigma from text, NPZ or HDF5.

    Columns named x and y (and sigma) are taken by their names, in any order; otherwise the first three
    columns count. In NPZ and HDF5 files a third array beside x and y is sigma only if it is called so.

    Parameters
    ----------
    path : str or Path
        CSV (comma, semicolon, tab), text with blanks, ``.npz``, ``.h5``, ``.hdf5`` or ``.nc``;
        ``file.h5:/group`` chooses a group.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        One line, for anything that cannot be read as finite numbers with sigma > 0.
    """
    columns = load_columns(path)
    chosen, warnings = _choose(columns)
    values = [columns.numbers(column) for column in chosen]
    _check_lengths(columns, chosen, values)
    if len(values) == 3:
        _check_positive(columns, chosen[2], values[2])
    values, order_warnings = _sorted_by_x(values)
    return Table(
        x=values[0],
        y=values[1],
        sigma=values[2] if len(values) == 3 else None,
        x_name=columns.names[chosen[0]],
        y_name=columns.names[chosen[1]],
        path=os.fspath(path),
        warnings=columns.warnings + warnings + order_warnings,
    )


def read_columns(path: str | os.PathLike[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Read every column of a file, in the order of the file, for models of the user's own.

    Returns
    -------
    names : list of str
        From the header; "x", "y", "sigma", "column4", ... where there is none.
    values : (n_columns, n) float64
        Finite values, not sorted.

    Raises
    ------
    InputError
        One line, as in :func:`read_xy`, also for columns of different lengths.
    """
    columns = load_columns(path)
    chosen = list(range(len(columns.names)))
    values = [columns.numbers(column) for column in chosen]
    _check_lengths(columns, chosen, values)
    return columns.names, np.stack(values)


def _choose(columns: Columns) -> tuple[list[int], list[str]]:
    """Return the indices of x, y and perhaps sigma, and what was decided about the other columns."""
    names = [name.lower() for name in columns.names]
    if len(names) < 2:
        raise InputError(
            f"{columns.path}: found one column, '{columns.names[0]}'; two are needed, x and y, "
            "separated by comma, semicolon, tab or blanks"
        )
    by_name = names.count("x") == 1 and names.count("y") == 1
    chosen = [names.index("x"), names.index("y")] if by_name else [0, 1]
    others = [column for column in range(len(names)) if column not in chosen]
    if by_name and names.count("sigma") == 1:
        chosen.append(names.index("sigma"))
    elif others and (columns.ordered or not by_name):
        chosen.append(others[0])
    return chosen, _choice_warnings(columns, chosen)


def _choice_warnings(columns: Columns, chosen: list[int]) -> list[str]:
    warnings = []
    if len(chosen) == 3:
        sigma = columns.names[chosen[2]]
        if not any(word in sigma.lower() for word in _SIGMA_WORDS):
            warnings.append(f"column '{sigma}' is taken as sigma, the error of y")
    left_out = [name for column, name in enumerate(columns.names) if column not in chosen]
    if left_out:
        shown = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        warnings.append(f"columns not used: {shown}")
    return warnings


def _check_lengths(columns: Columns, chosen: list[int], values: list[NDArray[np.float64]]) -> None:
    lengths = [len(value) for value in values]
    if len(set(lengths)) > 1:
        found = ", ".join(f"{columns.names[c]} {n}" for c, n in zip(chosen, lengths, strict=True))
        raise InputError(f"{columns.path}: arrays of different lengths ({found}); equal lengths are needed")


def _check_positive(columns: Columns, column: int, sigma: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(sigma <= 0)
    if len(bad):
        raise InputError(
            f"{columns.where(int(bad[0]), column)}: found sigma = {sigma[bad[0]]:g}; "
            "a standard deviation > 0 is needed"
        )


def _sorted_by_x(values: list[NDArray[np.float64]]) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Sort all columns by the first, keeping the order of equal x."""
    warnings = []
    if np.any(np.diff(values[0]) < 0):
        order = np.argsort(values[0], kind="stable")
        values = [value[order] for value in values]
        warnings.append(f"x is not in ascending order: the {len(order)} points were sorted")
    repeated = np.flatnonzero(np.diff(values[0]) == 0)
    if len(repeated):
        first = values[0][repeated[0]]
        warnings.append(f"x is repeated (times: {len(repeated)}, first at {first:.10g}): all points are used")
    return values, warnings
