"""The space of a simulator's parameters: what each can be, and what they must satisfy together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.toml import read_toml
from hpc_ds.simulate.expressions import Expression
from hpc_ds.simulate.reading import check_keys, holds_words, read_constraints, read_variable
from hpc_ds.simulate.variables import Values, Variable
from hpc_ds.store.layout import Column

SPACE_KEYS = ("parameters", "constraints")
"""Keys of a parameter file."""


@dataclass(frozen=True)
class ParameterSpace:
    """Parameters with what they can be, in order.

    Build it with `from_dict` or `read_space`. A sample is a point of the unit cube, one coordinate for each parameter
    that is not fixed; `from_unit` takes it to values.

    Raises
    ------
    InputError
        A name that is no identifier, a formula that names no parameter or goes in a circle, bounds that are somewhere
        reversed.
    """

    variables: tuple[Variable, ...]
    constraints: tuple[Expression, ...] = ()

    def __post_init__(self) -> None:
        _check_names(self)
        _check_bounds(self)

    @classmethod
    def from_dict(
        cls, parameters: Mapping[str, Any], constraints: Sequence[str] = (), where: str = ""
    ) -> ParameterSpace:
        """Return the space that a parameter file describes.

        Parameters
        ----------
        parameters : mapping
            By name: ``{"distribution": "log_uniform(1e-3, 1e-1)"}``, or that text alone, ``{"bounds": [low, high]}``
            with numbers or formulas of other parameters and perhaps ``"scale": "log"``,
            ``{"integer": [first, last]}``, ``{"choices": [...]}``, each perhaps with ``"units"``; or a number, which
            does not vary.
        constraints : sequence of str
            Conditions that every sample satisfies, e.g. ``low + high <= 1.5``.
        where : str
            Begins the message of an error, e.g. the file.

        Raises
        ------
        InputError
            One line that says what is wrong and what would be right.
        """
        where = f"{where}: " if where else ""
        if not isinstance(parameters, Mapping):
            raise InputError(f"{where}parameters: a table [parameters.NAME] for each is needed")
        words = frozenset(name for name, spec in parameters.items() if holds_words(spec))
        try:
            variables = tuple(read_variable(name, spec, words) for name, spec in parameters.items())
            return cls(variables, read_constraints(constraints, words))
        except InputError as error:
            raise InputError(f"{where}{error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the space as plain data for TOML; ``from_dict(**data)`` reads back an equal one."""
        parameters = {
            item.name: {**item.plain(), **({"units": item.units} if item.units else {})}
            for item in self.variables
        }
        return {"parameters": parameters, "constraints": [item.text for item in self.constraints]}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters, fixed ones too."""
        return tuple(item.name for item in self.variables)

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the parameters that are not fixed: the coordinates of the unit cube."""
        return tuple(item.name for item in self.variables if not item.is_fixed)

    @property
    def dimension(self) -> int:
        """Number of parameters that are not fixed."""
        return len(self.varied)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The parameters as a training set declares them."""
        return tuple(Column(item.name, item.units, item.words) for item in self.variables)

    def from_unit(self, u: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return the parameters of samples of the unit cube.

        Parameters
        ----------
        u : (n, dimension) float64
            Numbers in [0, 1).

        Returns
        -------
        dict of (n,) arrays by name: float64, int64 for integers, str for words.

        Raises
        ------
        InputError
            Bounds that depend on other parameters are reversed at one of these samples.
        """
        points = np.asarray(u, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.dimension:
            raise ValueError(f"points of shape {points.shape}: (n, {self.dimension}) is needed")
        place = {name: j for j, name in enumerate(self.varied)}
        found: dict[str, NDArray[Any]] = {}
        for item in self._ordered:
            coordinate = points[:, place[item.name]] if item.name in place else np.full(len(points), 0.5)
            found[item.name] = item.from_unit(coordinate, found)
        return {name: found[name] for name in self.names}

    def to_unit(self, columns: Values) -> NDArray[np.float64]:
        """Return the points (n, dimension) of the unit cube that `from_unit` takes to `columns`.

        Integers and choices lie in the middle of what leads to them.
        """
        varied = [item for item in self.variables if not item.is_fixed]
        rows = len(next(iter(columns.values()))) if columns else 0
        units = [item.to_unit(np.asarray(columns[item.name]), columns) for item in varied]
        return np.stack(units, axis=1) if units else np.empty((rows, 0))

    def satisfied(self, columns: Values) -> NDArray[np.bool_]:
        """Return which samples (n,) of `columns` satisfy all constraints."""
        rows = len(next(iter(columns.values()))) if columns else 0
        mask = np.ones(rows, dtype=np.bool_)
        for constraint in self.constraints:
            mask &= constraint(columns)
        return mask

    def converted(
        self, columns: Mapping[str, Any], where: str, row: Callable[[int], str] = "sample {}".format
    ) -> dict[str, NDArray[Any]]:
        """Return columns that come from outside as `from_unit` would have given them.

        Parameters
        ----------
        columns : mapping
            Values (n,) of every parameter, numbers or texts.
        where : str
            Begins the message of an error.
        row : callable
            Names the place of a sample, counted from 0, in that message.

        Raises
        ------
        InputError
            A column is missing or unknown, or a value lies outside the space.
        """
        for name in columns:
            if name not in self.names:
                raise InputError(f"{where}: no parameter '{name}'; {unknown(name, self.names, 'parameters')}")
        for name in self.names:
            if name not in columns:
                raise InputError(
                    f"{where}: no column '{name}'; one for each of {', '.join(self.names)} is needed"
                )
        found = {item.name: _convert(item, columns[item.name], where) for item in self.variables}
        self._check_inside(found, where, row)
        return found

    def _check_inside(self, columns: Values, where: str, row: Callable[[int], str]) -> None:
        for item in self._ordered:
            wrong = np.flatnonzero(~item.inside(columns[item.name], columns))
            if wrong.size:
                value = columns[item.name][wrong[0]]
                raise InputError(
                    f"{where}, {row(int(wrong[0]))}: {item.name} = {value} lies outside its space, {item.describe()}"
                )
        for constraint in self.constraints:
            wrong = np.flatnonzero(~np.asarray(constraint(columns)))
            if wrong.size:
                at = ", ".join(f"{name} = {columns[name][wrong[0]]}" for name in constraint.names)
                raise InputError(f"{where}, {row(int(wrong[0]))}: not {constraint.text} ({at})")

    @cached_property
    def _ordered(self) -> tuple[Variable, ...]:
        """The variables, each after those that its bounds need."""
        waiting = list(self.variables)
        ready: list[Variable] = []
        while waiting:
            known = {item.name for item in ready}
            free = [item for item in waiting if known.issuperset(item.needs)]
            if not free:
                circle = ", ".join(f"'{item.name}'" for item in waiting)
                raise InputError(f"parameters {circle}: their bounds depend on each other in a circle")
            ready += free
            waiting = [item for item in waiting if item not in free]
        return tuple(ready)


def read_space(path: str | Path, known: Sequence[str] = SPACE_KEYS) -> ParameterSpace:
    """Read the space of a TOML file with tables ``[parameters.NAME]`` and a list ``constraints``.

    Parameters
    ----------
    path : str or Path
        The file.
    known : sequence of str
        Keys that the file may have; others than `SPACE_KEYS` are for the caller.

    Raises
    ------
    InputError
        One line that names the file, the key, what was found and what would be right.
    """
    data = read_toml(path, "--parameters")
    check_keys(data, known, f"{path}")
    if not data.get("parameters"):
        raise InputError(f"{path}: no [parameters.NAME]; a table for each parameter is needed")
    return ParameterSpace.from_dict(data["parameters"], data.get("constraints", ()), str(path))


def sample_of(columns: Values, index: int) -> dict[str, Any]:
    """Return one sample's parameters as a simulator gets them: float, int and str by name."""
    return {name: values[index].item() for name, values in columns.items()}


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _convert(item: Variable, values: Any, where: str) -> NDArray[Any]:
    try:
        return item.convert(values)
    except ValueError as error:
        raise InputError(f"{where}, column '{item.name}': {error} ({item.describe()})") from None


def _check_names(space: ParameterSpace) -> None:
    names = space.names
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"parameter '{name}': a name of letters, digits and _ is needed")
    for owner, needed in [(f"parameter '{item.name}'", item.needs) for item in space.variables] + [
        (f"constraint '{item.text}'", item.names) for item in space.constraints
    ]:
        for name in needed:
            if name not in names:
                raise InputError(f"{owner}: no parameter '{name}'; {unknown(name, names, 'parameters')}")


_CORNERS = 8
"""Up to so many dimensions all corners of the unit cube are tried."""

_TRIALS = 256


def _check_bounds(space: ParameterSpace) -> None:
    """Meet bounds that can be reversed before work begins: at corners and at points spread over the unit cube."""
    d = space.dimension
    spread = np.outer(np.arange(1, _TRIALS + 1), np.sqrt(np.arange(2, d + 2) + math.pi)) % 1.0
    ends = (0.0, 1.0 - 2.0**-53)
    corners = np.array(list(product(ends, repeat=d))) if 0 < d <= _CORNERS else np.outer(ends, np.ones(d))
    space.from_unit(np.concatenate([spread, corners]))
