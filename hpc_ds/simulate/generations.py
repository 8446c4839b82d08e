"""The samples that are to be computed, generation by generation where the design learns from what it sees."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.simulate.adaptive import AdaptiveDesign, is_adaptive, make_adaptive, summary_of
from hpc_ds.simulate.design import Columns
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.recording import recorded_simulator
from hpc_ds.store.design_file import FILE as DESIGN
from hpc_ds.store.design_file import read_design, write_design
from hpc_ds.store.layout import read_layout
from hpc_ds.store.moments import Moments
from hpc_ds.store.shard import DamagedRow
from hpc_ds.store.sources import SourceReader, Sources

LAST = "generation"
"""In a run folder: the last generation that was asked for, whole, also where fewer samples are wanted so far."""

_KEY = name_key("design")

_ROUNDS = 3
"""Times that damaged samples of a generation are computed again."""


def generations(job: Job, ledger: FolderLedger) -> Iterator[list[int]]:
    """Yield the unsettled samples of each generation; the next one is asked for when all of them are settled.

    A design that is made beforehand is one generation. An adaptive one is always asked for whole generations, so that
    its samples do not depend on how many are wanted in all. It is asked for each once: what it answered is kept. A
    generation of which a row turns out damaged is yielded again.

    Raises
    ------
    InputError
        An adaptive design of the user's own fails, or answers otherwise than when the folder's samples were made.
    StorageError
        The disk refuses, or rows are damaged again and again.
    """
    if not is_adaptive(job.settings.design):
        yield _unsettled(range(job.target), ledger)
        return
    size = job.settings.generation
    design = make_adaptive(job.settings.design, recorded_simulator(job.path).space)
    for number, start in enumerate(range(0, job.target, size)):
        stop = min(start + size, job.target)
        _ask(design, job, number, stop)
        wanted = range(start, stop)
        yield _unsettled(wanted, ledger)
        for attempt in itertools.count(1):
            damaged = _tell(design, job, wanted, ledger)
            if not damaged:
                break
            if attempt > _ROUNDS:
                raise StorageError(errno.EIO, "rows are damaged again and again", str(job.path / "shards"))
            ledger.lose(damaged)
            yield _unsettled(wanted, ledger)


def begin_design(job: Job) -> None:
    """Write the first generation of an adaptive design: workers look for a design as soon as they start."""
    if is_adaptive(job.settings.design):
        design = make_adaptive(job.settings.design, recorded_simulator(job.path).space)
        _ask(design, job, 0, min(job.settings.generation, job.target))


def _unsettled(indices: range, ledger: FolderLedger) -> list[int]:
    settled = ledger.refresh()
    return [index for index in indices if index not in settled]


def _ask(design: AdaptiveDesign, job: Job, number: int, stop: int) -> None:
    """Let the design on disk reach to sample `stop`, asking for generation `number` if that was never done."""
    size, folder = job.settings.generation, job.path
    known: Columns = dict(read_design(folder).columns) if (folder / DESIGN).exists() else {}
    have = len(next(iter(known.values()))) if known else 0
    if have >= stop:
        return
    start = number * size
    asked = _answer(design, job, number)
    for name, values in known.items():
        if not np.array_equal(values[start:have], asked[name][: have - start]):
            raise InputError(
                f"{folder}: the design {job.settings.design} now gives other samples for generation {number} than when "
                "it was begun; choose another folder"
            )
    grown = {
        name: np.concatenate([known[name][:start], values[: stop - start]])
        if known
        else values[: stop - start]
        for name, values in asked.items()
    }
    attrs = {"kind": job.settings.design, "seed": job.settings.seed, "generation": size}
    write_design(folder, grown, attrs, stop)


def _answer(design: AdaptiveDesign, job: Job, number: int) -> Columns:
    """Return the whole of a generation: what is kept of it, or what the design says now, which is kept first.

    The design on disk ends with the last sample that is wanted. When more are, the design may know other things, for
    failed samples were tried again: then the rest of the generation must be what was chosen with the first of it.
    """
    size, place = job.settings.generation, job.path / LAST
    if (place / DESIGN).exists():
        kept = read_design(place)
        if kept.attrs.get("number") == number and kept.n == size:
            return dict(kept.columns)
    asked = design.ask(number, size, stream(job.settings.seed, _KEY, number))
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(error.errno or errno.EIO, error.strerror or str(error), str(place)) from error
    write_design(place, asked, {"number": number}, size)
    return asked


def _tell(design: AdaptiveDesign, job: Job, wanted: range, ledger: FolderLedger) -> list[int]:
    """Tell the design what became of a generation, those samples that did not fail, in their order.

    Nothing is told if rows are damaged or gone, which are returned.
    """
    sources, there = ledger.sources(), ledger.done
    done = [index for index in wanted if index in there]
    if not done:
        return []
    values, damaged = _watched(sources, job.settings.watch, done)
    if not damaged:
        columns = {name: column[done] for name, column in read_design(job.path).columns.items()}
        design.tell(columns, values)
    return damaged


def _watched(
    sources: Sources, field: str | None, indices: list[int]
) -> tuple[NDArray[np.float64], list[int]]:
    """Return what a design learns of these samples, one row each, and those among them that cannot be read."""
    layout = read_layout(sources.folder)
    name = field or layout.fields[0].name
    arrays = {item.name: np.empty(layout.shape(item.name), np.float32) for item in layout.fields}
    moments = np.empty((Moments(layout).channels, 2))
    rows: list[NDArray[np.float64]] = []
    damaged = []
    with SourceReader(sources, layout) as reader:
        for index in indices:
            try:
                reader.read_into(index, arrays, moments)
            except DamagedRow:
                damaged.append(index)
            else:
                rows.append(summary_of(arrays[name]))
    return np.array(rows), damaged
