"""The samples that are to be computed, generation by generation where the design learns from what it sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.simulate.adaptive import AdaptiveDesign, is_adaptive, make_adaptive, summary_of
from hpc_ds.simulate.design import Columns
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.recording import recorded_simulator
from hpc_ds.store.design_file import FILE as DESIGN
from hpc_ds.store.design_file import read_design, write_design
from hpc_ds.store.journal import Journals
from hpc_ds.store.layout import read_layout
from hpc_ds.store.moments import Moments
from hpc_ds.store.sources import SourceReader, find_sources

_KEY = name_key("design")


def generations(job: Job, ledger: FolderLedger) -> Iterator[list[int]]:
    """Yield the unsettled samples of each generation; the next one is asked for when all of them are settled.

    A design that is made beforehand is one generation. An adaptive one is always asked for whole generations, so that
    its samples do not depend on how many are wanted in all.

    Raises
    ------
    InputError
        An adaptive design of the user's own fails, or answers otherwise than when the folder's samples were made.
    """
    if not is_adaptive(job.settings.design):
        yield _unsettled(range(job.target), ledger)
        return
    size = job.settings.generation
    design = make_adaptive(job.settings.design, recorded_simulator(job.path).space)
    for number, start in enumerate(range(0, job.target, size)):
        stop = min(start + size, job.target)
        _ask(design, job, number, stop)
        yield _unsettled(range(start, stop), ledger)
        _tell(design, job, range(start, stop))


def begin_design(job: Job) -> None:
    """Write the first generation of an adaptive design: workers look for a design as soon as they start."""
    if is_adaptive(job.settings.design):
        design = make_adaptive(job.settings.design, recorded_simulator(job.path).space)
        _ask(design, job, 0, min(job.settings.generation, job.target))


def _unsettled(indices: range, ledger: FolderLedger) -> list[int]:
    settled = ledger.refresh()
    return [index for index in indices if index not in settled]


def _ask(design: AdaptiveDesign, job: Job, number: int, stop: int) -> None:
    """Let the design on disk reach to sample `stop`, asking for generation `number` if it does not yet."""
    size, folder = job.settings.generation, job.path
    known: Columns = dict(read_design(folder).columns) if (folder / DESIGN).exists() else {}
    have = len(next(iter(known.values()))) if known else 0
    if have >= stop:
        return
    start = number * size
    asked = design.ask(number, size, stream(job.settings.seed, _KEY, number))
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


def _tell(design: AdaptiveDesign, job: Job, indices: range) -> None:
    """Tell the design what became of a generation, those samples that did not fail, in their order."""
    sources = find_sources(job.path, Journals.read(job.path))
    held = sources.shards.keys() | sources.rows.keys()
    done = [index for index in indices if index in held]
    if not done:
        return
    columns = {name: values[done] for name, values in read_design(job.path).columns.items()}
    design.tell(columns, _watched(job.path, job.settings.watch, done))


def _watched(folder: Path, field: str | None, indices: list[int]) -> NDArray[np.float64]:
    """Return what a design learns of these samples: one row each."""
    layout = read_layout(folder)
    name = field or layout.fields[0].name
    arrays = {item.name: np.empty(layout.shape(item.name), np.float32) for item in layout.fields}
    moments = np.empty((Moments(layout).channels, 2))
    rows = []
    with SourceReader(find_sources(folder), layout) as reader:
        for index in indices:
            reader.read_into(index, arrays, moments)
            rows.append(summary_of(arrays[name]))
    return np.array(rows)
