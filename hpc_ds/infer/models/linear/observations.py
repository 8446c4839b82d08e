"""What a linear model is fitted to: y, x, perhaps sigma, and any further columns as regressors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.columns import Columns, load_columns
from hpc_ds.store.table import Table

Array = NDArray[np.float64]

_POWER = re.compile(r"x\^([2-9])")
_PARAMETERS = {"1": "intercept", "x": "slope"}
_TAKEN = ("intercept", "slope", "noise", "chain", "draw")  # parameters, and axes of the posterior's file
_SIGMA_NAMES = (
    "sigma",
    "sigma_y",
    "error",
    "err",
    "yerr",
    "y_err",
    "dy",
    "sd",
    "std",
    "stdev",
    "uncertainty",
)


@dataclass(frozen=True, eq=False)
class Observations:
    """Named columns of equal length, one of them y.

    Raises
    ------
    InputError
        If a column is missing, differs in length or is not finite, or sigma is not positive.
    """

    columns: Mapping[str, ArrayLike]
    """Values (n,) by name, kept as float64."""

    x_name: str = "x"
    """The column that the regressors ``x``, ``x^2`` ... mean."""

    y_name: str = "y"
    """The column that is explained."""

    sigma_name: str | None = None
    """The column of the standard deviations of y."""

    path: str = "data"
    """What errors call these data."""

    warnings: list[str] = field(default_factory=list)
    """What was noticed while they were read, one line each."""

    def __post_init__(self) -> None:
        columns = {name: np.asarray(values, dtype=np.float64) for name, values in self.columns.items()}
        object.__setattr__(self, "columns", columns)
        for name in filter(None, (self.x_name, self.y_name, self.sigma_name)):
            if name not in columns:
                raise InputError(f"{self.path}: no column '{name}'; there are {', '.join(columns)}")
        for name, values in columns.items():
            if values.shape != (self.y.size,) or self.y.size == 0:
                needed = f"{self.y.shape} is that of y"
                raise InputError(f"{self.path}, column '{name}': its shape is {values.shape}, {needed}")
            self._check(name, np.isfinite(values), "a finite number is needed")
        if self.sigma_name:
            self._check(self.sigma_name, columns[self.sigma_name] > 0.0, "a standard deviation > 0 is needed")

    @classmethod
    def of(cls, table: Table) -> Observations:
        """Return a table's x, y and sigma."""
        columns = {table.x_name: table.x, table.y_name: table.y}
        sigma_name = None if table.sigma is None else f"sigma of {table.y_name}"
        if table.sigma is not None:
            columns[f"sigma of {table.y_name}"] = table.sigma
        return cls(columns, table.x_name, table.y_name, sigma_name, table.path, table.warnings)

    @property
    def x(self) -> Array:
        """Values of the column x, (n,)."""
        return np.asarray(self.columns[self.x_name])

    @property
    def y(self) -> Array:
        """Values that are explained, (n,)."""
        return np.asarray(self.columns[self.y_name])

    @property
    def sigma(self) -> Array | None:
        """Standard deviations of y, (n,), or None."""
        return np.asarray(self.columns[self.sigma_name]) if self.sigma_name else None

    def table(self) -> Table:
        """Return x, y and sigma in ascending order of x."""
        order = np.argsort(self.x, kind="stable")
        sigma = None if self.sigma is None else self.sigma[order]
        return Table(self.x[order], self.y[order], sigma, self.x_name, self.y_name, self.path, self.warnings)

    def source(self, regressor: str) -> str | None:
        """Return the column that a regressor is a function of, None for ``1``."""
        if regressor == "1":
            return None
        return self.x_name if regressor == "x" or _POWER.fullmatch(regressor) else regressor

    def regressor(self, name: str) -> Array:
        """Return the values (n,) of a regressor: ``1``, ``x``, ``x^2`` ... ``x^9`` or a column.

        Raises
        ------
        InputError
            If the values are zero everywhere or too large for a float.
        """
        source, power = self.source(name), _POWER.fullmatch(name)
        if source is None:
            return np.ones_like(self.y)
        column = np.asarray(self.columns[source])
        with np.errstate(over="ignore", under="ignore"):
            values = column ** int(power[1]) if power else column
            squares = float(values @ values)
        if not 0.0 < squares < np.inf:
            problem = "zero everywhere" if squares == 0.0 else "too large a number"
            raise InputError(f"{self.path}: regressor '{name}' is {problem}; nothing can be fitted to it")
        return values

    def _check(self, name: str, good: NDArray[np.bool_], needed: str) -> None:
        bad = np.flatnonzero(~good)
        if bad.size:
            found = np.asarray(self.columns[name])[bad[0]]
            raise InputError(f"{self.path}, column '{name}', element {bad[0]}: found {found:g}; {needed}")


def read_observations(path: str | os.PathLike[str], terms: Sequence[str] = ()) -> Observations:
    """Read y, x, sigma and the columns that the terms name from a text, NPZ or HDF5 file.

    y is the column called y, else the second (the first if x is the second); x the one called x, else the
    first that is left. sigma is a column with such a name (sigma, error, sd, dy, ...) that no term names.
    Columns without a part are not read.

    Raises
    ------
    InputError
        One line for anything that cannot be read as finite numbers with sigma > 0.
    """
    columns = load_columns(path)
    if len(columns.names) < 2:
        raise InputError(f"{columns.path}: found one column, '{columns.names[0]}'; two are needed, x and y")
    wanted = {part.strip() for term in terms for part in term.split("+")}
    x, y, sigma = _roles(columns.names, wanted)
    used = [c for c, name in enumerate(columns.names) if c in (x, y, sigma) or name in wanted]
    if len({columns.names[c] for c in used}) < len(used):
        raise InputError(
            f"{columns.path}: two columns have one name ({', '.join(columns.names)}); rename one"
        )
    left_out = [name for c, name in enumerate(columns.names) if c not in used]
    return Observations(
        columns={columns.names[c]: columns.numbers(c) for c in used},
        x_name=columns.names[x],
        y_name=columns.names[y],
        sigma_name=_checked_sigma(columns, sigma),
        path=columns.path,
        warnings=columns.warnings + ([f"columns not used: {', '.join(left_out)}"] if left_out else []),
    )


def regressors_of(term: str, observations: Observations) -> list[str]:
    """Return the regressors of a sum such as ``"1 + x + x^2"`` in its order, the column x as ``x``.

    Raises
    ------
    InputError
        If one is unknown, is y or sigma itself, clashes with a parameter's name, or is given twice.
    """
    found: list[str] = []
    for part in (part.strip() for part in term.split("+")):
        name = "x" if part == observations.x_name else part
        _check_regressor(name, term, observations)
        if name in found:
            raise InputError(f"--terms '{term}': regressor '{name}' twice")
        found.append(name)
    return found


def parameter_of(regressor: str) -> str:
    """Return the name of a regressor's coefficient."""
    return _PARAMETERS.get(regressor, regressor)


def _check_regressor(name: str, term: str, observations: Observations) -> None:
    if name in ("1", "x") or _POWER.fullmatch(name):
        return
    taken = {observations.y_name, observations.sigma_name}
    others = [column for column in observations.columns if column not in {*taken, observations.x_name}]
    if name in taken:
        raise InputError(f"--terms '{term}': '{name}' is what is explained or its error, no regressor")
    if name not in others:
        known = ", ".join(["1", "x", "x^2 ... x^9", *others])
        raise InputError(f"--terms '{term}': unknown regressor '{name}'; known are {known}")
    if name in _TAKEN or "/" in name:
        raise InputError(f"--terms '{term}': column '{name}' cannot name a parameter; rename it in the file")


def _roles(names: Sequence[str], wanted: set[str]) -> tuple[int, int, int | None]:
    """Return the indices of x, y and perhaps sigma."""
    lower = [name.lower() for name in names]
    y = lower.index("y") if "y" in lower else 0 if lower[1] == "x" else 1
    x = lower.index("x") if "x" in lower else next(c for c in range(len(names)) if c != y)
    free = [c for c, name in enumerate(names) if c not in (x, y) and name not in wanted]
    sigma = next((c for word in _SIGMA_NAMES for c in free if lower[c] == word), None)
    return x, y, sigma


def _checked_sigma(columns: Columns, sigma: int | None) -> str | None:
    if sigma is None:
        return None
    values = columns.numbers(sigma)
    bad = np.flatnonzero(values <= 0.0)
    if bad.size:
        place = columns.where(int(bad[0]), sigma)
        raise InputError(f"{place}: found sigma = {values[bad[0]]:g}; a standard deviation > 0 is needed")
    return columns.names[sigma]
