"""Read what a parameter file says: one parameter, the conditions on all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.simulate.distributions import fixed, read_distribution
from hpc_ds.simulate.expressions import Expression, read_expression
from hpc_ds.simulate.variables import Choices, Distributed, Integers, Interval, Variable

KINDS = ("distribution", "bounds", "integer", "choices")
"""Ways to say what a parameter can be; each has exactly one."""


def read_variable(name: str, spec: Any, words: frozenset[str]) -> Variable:
    """Return the parameter that a number or a table describes.

    Parameters
    ----------
    name : str
        The parameter.
    spec : number or mapping
        See `ParameterSpace.from_dict`.
    words : frozenset of str
        Names of the parameters whose values are words.

    Raises
    ------
    InputError
        One line that names the parameter, what was found and what would be right.
    """
    where = f"parameter '{name}'"
    if _is_number(spec):
        if isinstance(spec, Integral):
            return _integer(name, "", {"integer": [spec, spec]}, words)
        return Distributed(name=name, distribution=fixed(_finite(spec, where)))
    if isinstance(spec, str):
        spec = {"distribution": spec}
    if not isinstance(spec, Mapping):
        raise InputError(
            f"{where}: found {spec!r}; a number, a text such as 'uniform(0, 1)', or a table with one of "
            f"{', '.join(KINDS)} is needed"
        )
    if "constraints" in spec:
        raise InputError(f"{where}: 'constraints' belongs above the first [table] of the file")
    check_keys(spec, (*KINDS, "scale", "units"), where)
    kinds = [key for key in KINDS if key in spec]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise InputError(f"{where}: found {found}; exactly one of {', '.join(KINDS)} is needed")
    if "scale" in spec and (kinds != ["bounds"] or spec["scale"] not in ("linear", "log")):
        raise InputError(f"{where}: scale = {spec['scale']!r}; 'linear' or 'log' with bounds is needed")
    units = spec.get("units", "")
    if not isinstance(units, str):
        raise InputError(f"{where}: units = {units!r}; a text is needed")
    return _BUILDERS[kinds[0]](name, units, spec, words)


def read_constraints(texts: Any, words: frozenset[str]) -> tuple[Expression, ...]:
    """Return the conditions that `texts` are (`InputError` for what is none); `words` as in `read_variable`."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InputError(f"constraints = {texts!r}; a list of texts such as ['a + b <= 1'] is needed")
    found = []
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"constraint {text!r}: a text such as 'a + b <= 1' is needed")
        constraint = read_expression(text, "constraint", words)
        if constraint.kind != "truth":
            raise InputError(f"constraint '{text}': a comparison such as 'a + b <= 1' is needed")
        if not constraint.names:
            raise InputError(f"constraint '{text}': names no parameter")
        found.append(constraint)
    return tuple(found)


def holds_words(spec: Any) -> bool:
    """Return whether a table describes a choice among words."""
    values = spec.get("choices") if isinstance(spec, Mapping) else None
    return isinstance(values, list | tuple) and any(isinstance(value, str) for value in values)


def check_keys(data: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse a key that is not among those `known` (InputError)."""
    for key in data:
        if key not in known:
            raise InputError(f"{where}: no key '{key}'; {unknown(key, known)}")


def _distributed(name: str, units: str, spec: Mapping[str, Any], words: frozenset[str]) -> Variable:
    text = spec["distribution"]
    if not isinstance(text, str):
        raise InputError(
            f"parameter '{name}': distribution = {text!r}; a text such as 'uniform(0, 1)' is needed"
        )
    try:
        return Distributed(name=name, units=units, distribution=read_distribution(text))
    except InputError as error:
        raise InputError(f"parameter '{name}': {error}") from None


def _interval(name: str, units: str, spec: Mapping[str, Any], words: frozenset[str]) -> Variable:
    low, high = _bounds(name, "bounds", spec["bounds"], words)
    return Interval(name=name, units=units, low=low, high=high, log=spec.get("scale") == "log")


def _integer(name: str, units: str, spec: Mapping[str, Any], words: frozenset[str]) -> Variable:
    low, high = _bounds(name, "integer", spec["integer"], words)
    return Integers(name=name, units=units, low=low, high=high)


def _choices(name: str, units: str, spec: Mapping[str, Any], words: frozenset[str]) -> Variable:
    values, where = spec["choices"], f"parameter '{name}'"
    if not isinstance(values, list | tuple) or not values:
        raise InputError(f"{where}: choices = {values!r}; a list of at least one value is needed")
    all_words = all(isinstance(value, str) and value for value in values)
    if not all_words and not all(_is_number(value) for value in values):
        raise InputError(f"{where}: choices = {list(values)!r}; either all words or all numbers are needed")
    plain = [value if all_words else _finite(value, where) for value in values]
    if not all_words and all(isinstance(value, Integral) for value in values):
        plain = [int(value) for value in values]
    if len(set(plain)) < len(plain):
        raise InputError(f"{where}: choices = {list(values)!r}: one stands twice")
    return Choices(name=name, units=units, values=tuple(plain))


_BUILDERS = {"distribution": _distributed, "bounds": _interval, "integer": _integer, "choices": _choices}


def _bounds(name: str, key: str, value: Any, words: frozenset[str]) -> tuple[Expression, Expression]:
    where = f"parameter '{name}'"
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(f"{where}: {key} = {value!r}; two are needed, [low, high]")
    low, high = (_bound(where, key, one, words) for one in value)
    if not low.names and not high.names and not low({}) < high({}) + (key == "integer"):
        raise InputError(f"{where}: {key} = [{low.text}, {high.text}]; low must be less than high")
    return low, high


def _bound(where: str, key: str, value: Any, words: frozenset[str]) -> Expression:
    if _is_number(value):
        value = repr(float(_finite(value, f"{where}: {key}"))).removesuffix(".0")
    if not isinstance(value, str):
        raise InputError(
            f"{where}: {key} holds {value!r}; a number or a formula of other parameters is needed"
        )
    bound = read_expression(value, f"{where}: {key}", words)
    if bound.kind != "number":
        raise InputError(f"{where}: {key}: '{value}' is a {bound.kind}; a number is needed")
    return bound


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise InputError(f"{where}: found {value}; a finite number is needed")
    return float(value)
