"""Laws of single numbers as people write them, ``normal(1.5, 0.447)``: families, arguments, checks, supports.

Engines add what they need of a law: densities for inference, quantiles for designs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from hpc_ds.runtime.errors import InputError


@dataclass(frozen=True)
class Law:
    """What sets one family of laws apart: the registry's row."""

    names: tuple[str, ...]
    """Names of the arguments."""

    support: Callable[..., tuple[float, float]]
    """The support for given arguments."""

    check: Callable[..., str | None] = lambda *arguments: None
    """A relation between arguments that is broken, in words, or None."""

    infinite: tuple[str, ...] = ()
    """Arguments that may be infinite."""

    def problem(self, values: tuple[float, ...]) -> str | None:
        """Say in words what is wrong with these arguments, or None."""
        if len(values) != len(self.names):
            return f"{len(self.names)} arguments are needed ({', '.join(self.names)}), {len(values)} found"
        for name, value in zip(self.names, values, strict=True):
            if math.isnan(value) or (math.isinf(value) and name not in self.infinite):
                return f"{name} must be a finite number, found {value}"
            if name in _POSITIVE and value <= 0:
                return f"{name} must be greater than 0, found {value}"
        return self.check(*values)


def checked_law(what: str, family: str, arguments: tuple[float, ...]) -> tuple[float, ...]:
    """Return the arguments of a law as floats.

    Raises
    ------
    InputError
        The family is unknown or an argument cannot be one of it; `what` says what the law is for ("prior").
    """
    if family not in LAWS:
        raise InputError(f"{what} '{family}': unknown; known are {_known(LAWS)}")
    try:
        values = tuple(float(value) for value in arguments)
    except (TypeError, ValueError):
        raise InputError(f"{what} {family}{arguments!r}: arguments must be numbers") from None
    problem = LAWS[family].problem(values)
    if problem:
        raise InputError(f"{what} '{law_text(family, values)}': {problem}")
    return values


def law_text(family: str, arguments: tuple[float, ...]) -> str:
    """Return the text that `read_law` reads back as these."""
    return f"{family}({', '.join(repr(value).removesuffix('.0') for value in arguments)})"


def read_law(what: str, text: str) -> tuple[str, tuple[float, ...]]:
    """Read a law such as ``normal(1.5, 0.447)`` or ``Half-Normal(scale=2)`` as family and arguments.

    Raises
    ------
    InputError
        In one line that names `what` the law is for, the text, what is wrong with it and what would be right.
    """
    name, bracket, rest = text.strip().partition("(")
    by_letters = {_letters(family): family for family in LAWS}
    family = by_letters.get(_letters(name))
    if family is None:
        raise InputError(f"{what} '{text}': unknown; known are {_known(LAWS)}")
    if not bracket or not rest.endswith(")"):
        raise InputError(f"{what} '{text}': write {_usage(family)}")
    return family, checked_law(what, family, _read_arguments(what, text, family, rest[:-1]))


_POSITIVE = {"sd", "sigma", "shape", "rate", "scale", "a", "b"}
_FARTHEST = 1000.0
"""Standard deviations between the mean of a truncated normal law and its support, at most."""


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in "-_ ")


def _usage(family: str) -> str:
    return f"{family}({', '.join(LAWS[family].names)})"


def _known(families: Collection[str]) -> str:
    return ", ".join(_usage(family) for family in families)


def _read_arguments(what: str, text: str, family: str, inside: str) -> tuple[float, ...]:
    """Read numbers, positional or named, in the family's order."""
    names = LAWS[family].names
    parts = [part.strip() for part in inside.split(",")] if inside.strip() else []
    if len(parts) != len(names):
        raise InputError(f"{what} '{text}': write {_usage(family)}; {len(parts)} arguments found")
    found: dict[str, float] = {}
    for place, part in zip(names, parts, strict=True):
        left, equals, right = part.rpartition("=")
        name = left.strip() if equals else place
        if name not in names or name in found:
            raise InputError(f"{what} '{text}': write {_usage(family)}; found '{part}'")
        try:
            found[name] = float(right)
        except ValueError:
            raise InputError(f"{what} '{text}': {name} must be a number, found '{right.strip()}'") from None
    return tuple(found[name] for name in names)


def _check_interval(low: float, high: float) -> str | None:
    if not low < high:
        return f"low must be less than high, found {low} and {high}"
    return None if math.isfinite(high - low) else f"the interval from {low} to {high} is too wide"


def _check_log_interval(low: float, high: float) -> str | None:
    if low <= 0.0:
        return f"low must be greater than 0, found {low}"
    if math.isinf(high / low):
        return f"the interval from {low} to {high} is too wide"
    return _check_interval(low, high)


def _check_truncation(mean: float, sd: float, low: float, high: float) -> str | None:
    if not low < high:
        return f"low must be less than high, found {low} and {high}"
    if math.isfinite(low) and math.isfinite(high) and math.isinf(high - low):
        return f"the interval from {low} to {high} is too wide"
    if max(low - mean, mean - high) > _FARTHEST * sd:
        return f"the interval from {low} to {high} is more than {_FARTHEST:g} sd away from the mean"
    return None


def _any(*arguments: float) -> tuple[float, float]:
    return -math.inf, math.inf


def _above_zero(*arguments: float) -> tuple[float, float]:
    return 0.0, math.inf


def _between(low: float, high: float) -> tuple[float, float]:
    return low, high


LAWS: dict[str, Law] = {
    "normal": Law(("mean", "sd"), _any),
    "lognormal": Law(("mu", "sigma"), _above_zero),
    "gamma": Law(("shape", "rate"), _above_zero),
    "inverse_gamma": Law(("shape", "scale"), _above_zero),
    "uniform": Law(("low", "high"), _between, _check_interval),
    "log_uniform": Law(("low", "high"), _between, _check_log_interval),
    "exponential": Law(("rate",), _above_zero),
    "half_normal": Law(("scale",), _above_zero),
    "half_cauchy": Law(("scale",), _above_zero),
    "beta": Law(("a", "b"), lambda a, b: (0.0, 1.0)),
    "truncated_normal": Law(
        ("mean", "sd", "low", "high"),
        lambda mean, sd, low, high: (low, high),
        _check_truncation,
        infinite=("low", "high"),
    ),
    "fixed": Law(("value",), lambda value: (value, value)),
}
"""Every family by its name; a new one is a row here and in the tables of the engines."""
