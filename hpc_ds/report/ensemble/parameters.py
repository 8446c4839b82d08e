"""The parameters of an ensemble as a report shows them: law, units, scale and the values in the design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpc_ds.store.design_file import Design
    from hpc_ds.store.layout import Layout

FEW = 24
"""More different whole numbers than this are shown like any other numbers."""

_WIDE = 100.0
"""A parameter of unknown law whose largest value is this many times its smallest is shown on a logarithmic axis."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter and its value for each sample."""

    name: str
    units: str
    law: str
    """What it was asked to be; empty where only its values are known."""
    values: np.ndarray
    """(n,) float64; for a choice among words the place among `words`."""
    words: tuple[str, ...] = ()
    log: bool = False
    """Whether it belongs on a logarithmic axis."""

    @property
    def varies(self) -> bool:
        """Whether two samples differ in it."""
        return self.values.size > 0 and bool(np.ptp(self.values) > 0)

    @property
    def label(self) -> str:
        """Its name, with the units behind a solidus."""
        return f"{self.name} / {self.units}" if self.units else self.name

    @property
    def discrete(self) -> bool:
        """Whether its values are words, or few whole numbers as those of an integer are."""
        if self.words or self.values.size == 0:
            return bool(self.words)
        return bool(np.all(self.values == np.round(self.values))) and np.unique(self.values).size <= FEW


def read_parameters(
    design: Design | None, layout: Layout | None, settings: Mapping[str, Any]
) -> tuple[Parameter, ...]:
    """Return the parameters of `design`, with what the configuration and the layout say of each."""
    if design is None:
        return ()
    declared = _declared(settings)
    units = {column.name: column.units for column in layout.columns} if layout is not None else {}
    choices = {column.name: column.choices for column in layout.columns} if layout is not None else {}
    found = []
    for name, column in design.columns.items():
        words = choices.get(name, ()) if column.dtype.kind in "US" else ()
        values, words = _numbers(np.asarray(column), words)
        law = declared.get(name)
        found.append(
            Parameter(name, units.get(name, ""), _law(law), values, words, _is_log(law, values, words))
        )
    return tuple(found)


def _declared(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of the space in the configuration, as a parameter file describes them."""
    space = settings.get("space")
    parameters = space.get("parameters") if isinstance(space, Mapping) else None
    return parameters if isinstance(parameters, Mapping) else {}


def _numbers(column: np.ndarray, words: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    if column.dtype.kind in "biuf":
        return column.astype(np.float64), ()
    known = [*words, *sorted(set(map(str, column)) - set(words))]
    place = {word: code for code, word in enumerate(known)}
    return np.array([place[str(word)] for word in column], dtype=np.float64), tuple(known)


def _law(declared: Any) -> str:
    if isinstance(declared, int | float):
        return f"fixed({declared:g})"
    if not isinstance(declared, Mapping):
        return ""
    if "distribution" in declared:
        return str(declared["distribution"])
    if "choices" in declared:
        return f"one of {', '.join(map(str, declared['choices']))}"
    for key, before in (("bounds", ""), ("integer", "integer, ")):
        if key in declared:
            ends = " to ".join(
                f"{end:g}" if isinstance(end, int | float) else str(end) for end in declared[key]
            )
            return f"{before}{ends}{', logarithmic' if declared.get('scale') == 'log' else ''}"
    return ""


def _is_log(declared: Any, values: np.ndarray, words: tuple[str, ...]) -> bool:
    if words or not values.size or values.min() <= 0.0:
        return False
    if isinstance(declared, Mapping):
        return declared.get("scale") == "log" or str(declared.get("distribution", "")).startswith("log")
    return declared is None and bool(values.max() >= _WIDE * values.min())
