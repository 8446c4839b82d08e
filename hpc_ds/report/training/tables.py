"""The numbers of a training as tables, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpc_ds.report import wording
from hpc_ds.report.table import Cell, Table, for_terminal
from hpc_ds.report.training import wording as words
from hpc_ds.report.training.reader import Split, Training

if TYPE_CHECKING:
    from rich.console import Group

MOST_CHANNELS = 12
"""Names of channels that are told one by one."""


def terminal(run: Training) -> Group:
    """Return what the terminal shows of `run`: the verdict and the metrics.

    Returns
    -------
    rich.console.Group
        To be printed with ``rich.print`` or ``Console.print``.
    """
    from rich.console import Group
    from rich.text import Text

    said = words.verdict(run)
    parts: list[Any] = [Text(said.headline, style="bold")]
    parts += [for_terminal(table) for table in (metrics(run),) if table is not None]
    parts += [Text(f"! {note}", style="yellow") for note in said.notes]
    return Group(*parts)


def metrics(run: Training) -> Table | None:
    """Tabulate each metric on each split."""
    splits = run.metrics
    keys = list(dict.fromkeys(key for values in splits.values() for key in values))
    rows = [row for key in keys for row in _metric(key, [values.get(key) for values in splits.values()])]
    header = ("metric", *splits)
    return Table("What the network reaches", header, tuple(rows)) if rows else None


def members(run: Training) -> Table | None:
    """Tabulate the networks of an ensemble."""
    rows = []
    for member in run.members:
        epochs = member.history.get("epochs") or []
        last: Mapping[str, Any] = epochs[-1] if epochs else {}
        valid = last.get("valid") or {}
        cells = [
            Cell(wording.count(last.get("epoch"))),
            Cell(wording.quantity(last.get("train_loss"))),
            *(Cell(words.metric_value(key, valid.get(key))) for key in _shared(run)),
        ]
        rows.append((Cell(member.name), *cells))
    header = ("member", "epochs", "training loss", *(words.metric_name(key) for key in _shared(run)))
    return Table("The networks of the ensemble", header, tuple(rows)) if rows else None


def channels(run: Training) -> Table | None:
    """Tabulate what goes in and what comes out."""
    rows = []
    for side, name in (("inputs", "goes in"), ("targets", "comes out")):
        told = run.card.get(side) or {}
        names = [str(one) for one in told.get("names") or []]
        if names or told.get("shape"):
            rows.append((Cell(name), Cell(_listed(names)), Cell(_shape(told.get("shape") or []))))
    header = ("", "names", "shape")
    return Table("Inputs and targets", header, tuple(rows), frozenset({0, 1})) if rows else None


def options(run: Training) -> Table | None:
    """Tabulate the options of the network."""
    rows = [(Cell(str(key)), Cell(str(value))) for key, value in (run.card.get("options") or {}).items()]
    return Table("Options of the network", ("option", "value"), tuple(rows)) if rows else None


def shown(split: Split) -> Table | None:
    """Tabulate which samples are drawn, with their errors."""
    rows = [
        (Cell(one.place), Cell(wording.count(one.sample)), Cell(wording.quantity(one.error)))
        for one in split.shown
    ]
    header = ("", "sample", words.error_name(split))
    return Table(f"Which {split.name} samples are drawn", header, tuple(rows)) if rows else None


def _metric(key: str, values: Sequence[Any]) -> list[tuple[Cell, ...]]:
    """Return the row of a metric, or one row for each entry of a metric that is a list or a table."""
    if any(isinstance(value, Mapping) for value in values):
        inner = dict.fromkeys(name for value in values if isinstance(value, Mapping) for name in value)
        parts = [
            (f"{words.metric_name(key)}, {name}", [_of(value, name) for value in values]) for name in inner
        ]
    elif any(isinstance(value, list) for value in values):
        return []
    else:
        parts = [(words.metric_name(key), list(values))]
    known = [
        (name, row) for name, row in parts if any(wording.finite(one) is not None for one in row if _is(one))
    ]
    return [
        (Cell(name), *(Cell(words.metric_value(key, one if _is(one) else None)) for one in row))
        for name, row in known
    ]


def _of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _is(value: Any) -> bool:
    return isinstance(value, int | float)


def _shared(run: Training) -> list[str]:
    """Return the first metrics that the members' last epochs have."""
    epochs = run.members[0].history.get("epochs") if run.members else None
    return list((epochs[-1].get("valid") or {}) if epochs else ())[:2]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_CHANNELS} more" if len(names) > MOST_CHANNELS else ""
    return ", ".join(names[:MOST_CHANNELS]) + more or "–"


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(str(size) for size in shape) or "–"
