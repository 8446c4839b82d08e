"""What one parameter can be: a number of some law, a number between bounds, an integer, a choice."""

# What each method of a kind of variable does is said once, at `Variable`.
# ruff: noqa: D102

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate.distributions import (
    Array,
    Distribution,
    log_uniform_quantile,
    uniform_quantile,
)
from hpc_ds.simulate.expressions import Expression

Values = Mapping[str, NDArray[Any]]
"""Columns (n,) of parameters by name."""


@dataclass(frozen=True, kw_only=True)
class Variable(ABC):
    """A parameter and the values that it can take."""

    name: str
    units: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Other parameters on which its bounds depend."""
        return ()

    @property
    def is_fixed(self) -> bool:
        """Whether it has one value only, and is no dimension of a design."""
        return False

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it chooses from; empty if its values are numbers."""
        return ()

    @abstractmethod
    def from_unit(self, u: Array, columns: Values) -> NDArray[Any]:
        """Return the values (n,) at `u`, (n,) in [0, 1); `columns` holds what it `needs`."""

    @abstractmethod
    def to_unit(self, values: NDArray[Any], columns: Values) -> Array:
        """Return numbers in [0, 1] that `from_unit` takes to `values`."""

    @abstractmethod
    def inside(self, values: NDArray[Any], columns: Values) -> NDArray[np.bool_]:
        """Return which of `values` it can take."""

    @abstractmethod
    def convert(self, values: Any) -> NDArray[Any]:
        """Return values as an array (n,) of the kind that `from_unit` returns (ValueError: not possible)."""

    @abstractmethod
    def describe(self) -> str:
        """Say what it can be, for an error message."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Return what a parameter file would say of it, `units` apart."""


@dataclass(frozen=True, kw_only=True)
class Distributed(Variable):
    """A number of a given law."""

    distribution: Distribution

    @property
    def is_fixed(self) -> bool:
        return self.distribution.is_fixed

    def from_unit(self, u: Array, columns: Values) -> NDArray[Any]:
        return self.distribution.quantile(u)

    def to_unit(self, values: NDArray[Any], columns: Values) -> Array:
        return self.distribution.cdf(values)

    def inside(self, values: NDArray[Any], columns: Values) -> NDArray[np.bool_]:
        low, high = self.distribution.support
        return (values >= low) & (values <= high) & np.isfinite(values)

    def convert(self, values: Any) -> NDArray[Any]:
        return _numbers(values)

    def describe(self) -> str:
        return str(self.distribution)

    def plain(self) -> dict[str, Any]:
        return {"distribution": str(self.distribution)}


@dataclass(frozen=True, kw_only=True)
class Bounded(Variable):
    """A number between bounds, each of which may be a formula of other parameters."""

    low: Expression
    high: Expression

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.low.names + self.high.names))

    def limits(self, columns: Values) -> tuple[Array, Array]:
        """Return the bounds where the other parameters are `columns`: each (n,), or one number for all.

        Raises
        ------
        InputError
            Somewhere the lower bound is above the upper one, or is no number.
        """
        low, high = np.asarray(self.low(columns)), np.asarray(self.high(columns))
        wrong = ~(low <= high) | ~np.isfinite(low) | ~np.isfinite(high)
        if wrong.any():
            self._refuse(np.broadcast_arrays(low, high, wrong), columns)
        return low, high

    def _refuse(self, arrays: Any, columns: Values) -> None:
        low, high, wrong = arrays
        place = int(np.flatnonzero(np.atleast_1d(wrong))[0])
        at = ", ".join(f"{name} = {columns[name][place]:.6g}" for name in self.needs)
        found = f"{np.atleast_1d(low)[place]:.6g} and {np.atleast_1d(high)[place]:.6g}"
        raise InputError(
            f"parameter '{self.name}': bounds [{self.low.text}, {self.high.text}] must be numbers that ascend, "
            f"found {found}" + (f" where {at}" if at else "")
        )


@dataclass(frozen=True, kw_only=True)
class Interval(Bounded):
    """A real number between bounds, uniform on a linear or logarithmic scale."""

    log: bool = False

    def limits(self, columns: Values) -> tuple[Array, Array]:
        low, high = super().limits(columns)
        if self.log and not (low > 0.0).all():
            raise InputError(
                f"parameter '{self.name}': the lower bound {self.low.text} must be greater than 0 on a scale = 'log', "
                f"found {low.min():.6g}"
            )
        return low, high

    def from_unit(self, u: Array, columns: Values) -> NDArray[Any]:
        low, high = self.limits(columns)
        quantile = log_uniform_quantile if self.log else uniform_quantile
        return np.clip(quantile(u, low, high), low, high)

    def to_unit(self, values: NDArray[Any], columns: Values) -> Array:
        low, high = self.limits(columns)
        if self.log:
            values, low, high = np.log(values), np.log(low), np.log(high)
        width = np.where(high > low, high - low, 1.0)
        return np.clip((values - low) / width, 0.0, 1.0)

    def inside(self, values: NDArray[Any], columns: Values) -> NDArray[np.bool_]:
        low, high = self.limits(columns)
        return (values >= low) & (values <= high)

    def convert(self, values: Any) -> NDArray[Any]:
        return _numbers(values)

    def describe(self) -> str:
        return f"a number from {self.low.text} to {self.high.text}"

    def plain(self) -> dict[str, Any]:
        scale = {"scale": "log"} if self.log else {}
        return {"bounds": [_plain_bound(self.low), _plain_bound(self.high)], **scale}


@dataclass(frozen=True, kw_only=True)
class Integers(Bounded):
    """An integer between bounds, both included, all equally likely."""

    @property
    def is_fixed(self) -> bool:
        return self.low == self.high

    def limits(self, columns: Values) -> tuple[Array, Array]:
        low, high = super().limits(columns)
        first, last = np.ceil(low), np.floor(high)
        if (first > last).any():
            self._refuse(np.broadcast_arrays(low, high, first > last), columns)
        return first, last

    def from_unit(self, u: Array, columns: Values) -> NDArray[Any]:
        first, last = self.limits(columns)
        return np.minimum(first + np.floor(u * (last - first + 1.0)), last).astype(np.int64)

    def to_unit(self, values: NDArray[Any], columns: Values) -> Array:
        first, last = self.limits(columns)
        return np.clip((values - first + 0.5) / (last - first + 1.0), 0.0, 1.0)

    def inside(self, values: NDArray[Any], columns: Values) -> NDArray[np.bool_]:
        first, last = self.limits(columns)
        return (values >= first) & (values <= last)

    def convert(self, values: Any) -> NDArray[Any]:
        return _integers(values)

    def describe(self) -> str:
        return f"an integer from {self.low.text} to {self.high.text}"

    def plain(self) -> dict[str, Any]:
        ends = [_plain_bound(self.low), _plain_bound(self.high)]
        return {"integer": [int(end) if isinstance(end, float) and end.is_integer() else end for end in ends]}


@dataclass(frozen=True, kw_only=True)
class Choices(Variable):
    """One of a few values, all equally likely: words, or numbers."""

    values: tuple[Any, ...]

    @property
    def is_fixed(self) -> bool:
        return len(self.values) == 1

    @property
    def words(self) -> tuple[str, ...]:
        return self.values if isinstance(self.values[0], str) else ()

    def from_unit(self, u: Array, columns: Values) -> NDArray[Any]:
        chosen = np.minimum((u * len(self.values)).astype(np.int64), len(self.values) - 1)
        return np.asarray(self.values)[chosen]

    def to_unit(self, values: NDArray[Any], columns: Values) -> Array:
        place = {value: j for j, value in enumerate(self.values)}
        return (np.array([place[value] for value in values.tolist()], dtype=np.float64) + 0.5) / len(
            self.values
        )

    def inside(self, values: NDArray[Any], columns: Values) -> NDArray[np.bool_]:
        return np.isin(values, np.asarray(self.values))

    def convert(self, values: Any) -> NDArray[Any]:
        kind = np.asarray(self.values).dtype
        if kind.kind == "U":
            # Not of the choices' own width: a longer word would be cut to one of them.
            return np.array([str(value) for value in values], dtype=np.str_)
        return _numbers(values) if kind.kind == "f" else _integers(values)

    def describe(self) -> str:
        return "one of " + ", ".join(map(str, self.values))

    def plain(self) -> dict[str, Any]:
        return {"choices": list(self.values)}


def _numbers(values: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("a number is needed") from None


def _integers(values: Any) -> NDArray[np.int64]:
    numbers = _numbers(values)
    if not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        raise ValueError("an integer is needed")
    return numbers.astype(np.int64)


def _plain_bound(bound: Expression) -> float | str:
    return bound.text if bound.names else float(bound({}))
