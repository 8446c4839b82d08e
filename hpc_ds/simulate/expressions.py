"""Formulas of parameters, such as ``low + high <= 1.5``: read by a whitelist, never run as code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

Kind = Literal["number", "truth", "word"]
Values = Mapping[str, NDArray[Any]]
Compiled = tuple[Kind, Callable[[Values], Any]]

FUNCTIONS: dict[str, tuple[int | None, Callable[..., Any]]] = {
    "min": (None, lambda *values: reduce(np.minimum, values)),
    "max": (None, lambda *values: reduce(np.maximum, values)),
    "abs": (1, np.abs),
    "sqrt": (1, np.sqrt),
    "exp": (1, np.exp),
    "log": (1, np.log),
}
"""Functions that a formula may call, with the number of their arguments (None: two or more)."""

_LONGEST = 1000


@dataclass(frozen=True)
class Expression:
    """A formula of parameters, evaluated for many samples at once."""

    text: str
    """As Python writes it: equal formulas have equal texts."""
    kind: Kind
    """Whether it gives numbers or truths."""
    names: tuple[str, ...]
    """Parameters that it names, in the order of their first use."""
    _function: Callable[[Values], Any]
    _words: frozenset[str] = frozenset()

    def __reduce__(self) -> tuple[Callable[..., Expression], tuple[str, str, frozenset[str]]]:
        return read_expression, (self.text, "formula", self._words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __call__(self, columns: Values) -> Any:
        """Return its value for columns (n,) of parameters: (n,), or one number if it names no parameter.

        What has no value (log of a negative number) is NaN, and a comparison with it is false.
        """
        with np.errstate(all="ignore"):
            return self._function(columns)


def read_expression(text: str, where: str, words: frozenset[str] = frozenset()) -> Expression:
    """Read a formula of numbers, parameters, ``+ - * / **``, comparisons, ``and or not`` and `FUNCTIONS`.

    Parameters
    ----------
    text : str
        The formula.
    where : str
        Begins the message of an error.
    words : frozenset of str
        Parameters whose values are words; they can only be compared with a word (``scheme == "a"``).

    Raises
    ------
    InputError
        It is no such formula.
    """
    if len(text) > _LONGEST:
        raise InputError(f"{where}: a formula of {len(text)} characters; at most {_LONGEST} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        kind, function = _Reader(f"{where}: '{text}'", words).read(tree)
    except (SyntaxError, RecursionError, MemoryError, ValueError):
        raise InputError(
            f"{where}: '{text}' is no formula; write one of numbers and parameters, such as 2 * a + b <= 1.5"
        ) from None
    names = tuple(dict.fromkeys(node.id for node in _leaves(tree)))
    return Expression(ast.unparse(tree), kind, names, function, words)


def _leaves(tree: ast.expr) -> list[ast.Name]:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called),
        key=lambda node: (node.lineno, node.col_offset),
    )


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


class _Reader:
    """Turns a syntax tree into a closure, one method a kind of node."""

    def __init__(self, where: str, words: frozenset[str]) -> None:
        self.where = where
        self.words = words

    def read(self, node: ast.expr) -> Compiled:
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise InputError(f"{self.where}: '{ast.unparse(node)}' cannot stand in a formula of parameters")
        return method(node)

    def _of(self, kind: Kind, node: ast.expr) -> Callable[[Values], Any]:
        found, function = self.read(node)
        if found != kind:
            raise InputError(f"{self.where}: '{ast.unparse(node)}' is a {found}; a {kind} is needed there")
        return function

    def _constant(self, node: ast.Constant) -> Compiled:
        value = node.value
        if isinstance(value, str):
            return "word", lambda columns: value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{self.where}: '{ast.unparse(node)}' cannot stand in a formula of parameters")
        number = np.float64(value)  # never a Python integer: 9**9**9 must overflow, not fill the memory
        return "number", lambda columns: number

    def _name(self, node: ast.Name) -> Compiled:
        name = node.id
        if name in self.words:
            return "word", lambda columns: columns[name]
        return "number", lambda columns: np.asarray(columns[name], dtype=np.float64)

    def _binop(self, node: ast.BinOp) -> Compiled:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            raise InputError(f"{self.where}: only + - * / ** are known between numbers")
        left, right = self._of("number", node.left), self._of("number", node.right)
        return "number", lambda columns: operation(left(columns), right(columns))

    def _unaryop(self, node: ast.UnaryOp) -> Compiled:
        if isinstance(node.op, ast.Not):
            truth = self._of("truth", node.operand)
            return "truth", lambda columns: np.logical_not(truth(columns))
        if isinstance(node.op, ast.Invert):
            raise InputError(f"{self.where}: write 'not' in place of ~")
        number = self._of("number", node.operand)
        return "number", (lambda columns: -number(columns)) if isinstance(node.op, ast.USub) else number

    def _boolop(self, node: ast.BoolOp) -> Compiled:
        parts = [self._of("truth", value) for value in node.values]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return "truth", lambda columns: reduce(join, [part(columns) for part in parts])

    def _compare(self, node: ast.Compare) -> Compiled:
        operands = [node.left, *node.comparators]
        pairs = [
            self._pair(left, comparison, right)
            for left, comparison, right in zip(operands, node.ops, operands[1:])
        ]
        return "truth", lambda columns: reduce(np.logical_and, [pair(columns) for pair in pairs])

    def _pair(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> Callable[[Values], Any]:
        operation = _COMPARISONS.get(type(comparison))
        if operation is None:
            raise InputError(f"{self.where}: only < <= > >= == != are known between values")
        kind = self.read(left)[0]
        first, second = self.read(left)[1], self._of(kind, right)
        if kind == "word" and not isinstance(comparison, ast.Eq | ast.NotEq):
            raise InputError(f"{self.where}: words can only be compared by == and !=")
        return lambda columns: operation(first(columns), second(columns))

    def _call(self, node: ast.Call) -> Compiled:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in FUNCTIONS:
            raise InputError(f"{self.where}: no function '{name}'; {unknown(name, FUNCTIONS)}")
        count, function = FUNCTIONS[name]
        if node.keywords or (len(node.args) != count if count else len(node.args) < 2):
            raise InputError(
                f"{self.where}: {name} takes {count or 'two or more'} argument{'s' * (count != 1)}"
            )
        parts = [self._of("number", argument) for argument in node.args]
        return "number", lambda columns: function(*[part(columns) for part in parts])
