"""The numbers of an ensemble as tables, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import wording
from hpc_ds.report.ensemble import wording as words
from hpc_ds.report.ensemble.parameters import Parameter
from hpc_ds.report.ensemble.reader import Ensemble, Failed
from hpc_ds.report.ensemble.samples import Gallery
from hpc_ds.report.table import Cell, Table, for_terminal
from hpc_ds.runtime.amounts import size_text

if TYPE_CHECKING:
    from rich.console import Group

MOST_FAILURES = 50
"""Failures told one by one."""

_STATISTICS = {
    "mean": "mean",
    "std": "sd",
    "rms": "rms",
    "mean_delta": "mean of Δ",
    "std_delta": "sd of Δ",
    "rms_delta": "rms of Δ",
}


def terminal(run: Ensemble) -> Group:
    """Return what the terminal shows of `run`: the verdict, the splits, the failures by kind.

    Returns
    -------
    rich.console.Group
        To be printed with ``rich.print`` or ``Console.print``.
    """
    from rich.console import Group
    from rich.text import Text

    said = words.verdict(run)
    parts: list[Any] = [Text(said.headline, style="bold")]
    parts += [for_terminal(table) for table in (splits(run), failure_kinds(run)) if table is not None]
    parts += [Text(f"! {note}", style="yellow") for note in said.notes]
    return Group(*parts)


def parameters(run: Ensemble) -> Table | None:
    """Tabulate what each parameter was asked to be and the range that the design gave it."""
    rows = [
        (Cell(item.name), Cell(item.units or "–"), Cell(item.law or "–"), *map(Cell, _range(item)))
        for item in run.parameters
    ]
    header = ("parameter", "units", "asked", "smallest", "largest")
    return Table("Parameters", header, tuple(rows), frozenset({0, 2}), frozenset({1})) if rows else None


def fields(run: Ensemble) -> Table | None:
    """Tabulate the fields that each sample has."""
    if run.layout is None:
        return None
    kinds = ("scalar", "vector", "tensor")
    rows = []
    for item in run.layout.fields:
        shape = run.layout.shape(item.name)
        axes = (*(("time",) if item.time_varying else ()), *run.layout.dims(item.name))
        spoken = " × ".join(
            [f"{name} {size}" for name, size in zip(axes, shape, strict=False)]
            + [str(size) for size in shape[len(axes) :]]
        )
        size = size_text(4 * float(np.prod(shape)))
        cells = (item.name, kinds[item.rank], item.units or "–", spoken or "one number", size)
        rows.append(tuple(map(Cell, cells)))
    header = ("field", "kind", "units", "points", "a sample")
    return Table("Fields", header, tuple(rows), frozenset({0}), frozenset({1, 2, 3}))


def shown(run: Ensemble, chosen: Gallery) -> Table:
    """Tabulate the samples that the figures show: their strength and their parameters."""
    varied = [item for item in run.parameters if item.varies][:6]
    rows = [
        (
            Cell(one.title),
            Cell(f"{one.percentile} %"),
            Cell(wording.quantity(one.rms)),
            *(Cell(value(item, one.index)) for item in varied),
        )
        for one in chosen.shown
    ]
    units = (
        next((item.units for item in run.layout.fields if item.name == chosen.guide), "")
        if run.layout
        else ""
    )
    strength = f"rms of {chosen.guide}{f' / {units}' if units else ''}"
    header = ("", "percentile", strength, *(item.label for item in varied))
    return Table("The samples shown", header, tuple(rows))


def failure_kinds(run: Ensemble) -> Table | None:
    """Tabulate how many samples failed of each kind."""
    rows = [
        (Cell(kind), Cell(wording.count(number)), Cell(words.KINDS.get(kind, "–")))
        for kind, number in words.kinds(run)
    ]
    header = ("kind", "samples", "what it means")
    return Table("Failures by kind", header, tuple(rows), frozenset({0, 2})) if rows else None


def failures(run: Ensemble) -> Table:
    """Tabulate the first `MOST_FAILURES` failures with message and parameters."""
    told = run.failures[:MOST_FAILURES]
    every = len(told) == len(run.failures)
    caption = (
        "Failed samples" if every else f"The first {len(told)} of {wording.count(len(run.failures))} failures"
    )
    rows = [
        (Cell(str(item.index)), Cell(item.kind), Cell(item.message or "–"), Cell(_parameters(run, item)))
        for item in told
    ]
    return Table(
        caption,
        ("sample", "kind", "message", "parameters"),
        tuple(rows),
        frozenset({0, 2, 3}),
        frozenset({1}),
    )


def splits(run: Ensemble) -> Table | None:
    """Tabulate samples, files and bytes of train, valid and test; None before a merge."""
    if not run.splits:
        return None
    rows = [
        (one.name, wording.count(one.samples), wording.count(len(one.files)), size_text(one.size))
        for one in run.splits
    ]
    samples, files, size = (
        sum(numbers) for numbers in zip(*((s.samples, len(s.files), s.size) for s in run.splits))
    )
    rows.append(("all", wording.count(samples), wording.count(files), size_text(size)))
    cells = tuple(tuple(map(Cell, row)) for row in rows)
    return Table("Splits", ("split", "samples", "files", "bytes"), cells)


def statistics(run: Ensemble) -> Table | None:
    """Tabulate ``stats.yaml``: a row for each field, of vectors and tensors for each component."""
    names = list(dict.fromkeys(name for values in run.statistics.values() for name in values))
    rows = [
        (Cell(label), *(Cell(_statistic(run.statistics, key, name, place)) for key in _STATISTICS))
        for name in names
        for label, place in _components(name, run.statistics)
    ]
    trained = any(one.name == "train" and one.samples for one in run.splits)
    whose = "training samples" if trained else "samples"
    caption = f"Statistics of all {whose}, times and points (Δ: from one time to the next)"
    return Table(caption, ("field", *_STATISTICS.values()), tuple(rows)) if rows else None


def value(item: Parameter, index: int) -> str:
    """Write the value of a parameter in one sample."""
    if index >= item.values.size:
        return "–"
    number = float(item.values[index])
    return item.words[int(number)] if item.words else wording.quantity(number)


def _range(item: Parameter) -> Sequence[str]:
    if not item.values.size or item.words:
        return "–", "–"
    return wording.quantity(item.values.min()), wording.quantity(item.values.max())


def _parameters(run: Ensemble, failed: Failed) -> str:
    told = {
        name: given if isinstance(given, str) else wording.quantity(given)
        for name, given in failed.parameters.items()
    } or {item.name: value(item, failed.index) for item in run.parameters}
    return ", ".join(f"{name} = {text}" for name, text in told.items()) or "–"


def _components(name: str, statistics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, tuple[int, ...]]]:
    """Return label and place of each component of a field."""
    shape = np.shape(next(values[name] for values in statistics.values() if name in values))
    places = list(np.ndindex(*shape))
    return [(f"{name}[{', '.join(str(i + 1) for i in place)}]" if place else name, place) for place in places]


def _statistic(
    statistics: Mapping[str, Mapping[str, Any]], key: str, name: str, place: tuple[int, ...]
) -> str:
    """Write one number to four digits of the standard deviation that belongs to it."""
    spread = "std_delta" if key.endswith("_delta") else "std"
    number, sd = (
        None if name not in statistics.get(kind, {}) else float(np.asarray(statistics[kind][name])[place])
        for kind in (key, spread)
    )
    return wording.quantity(number, sd / 100 if sd else None)
