"""Copy samples from where they are into new data files: each rank a range of the rows, each sample checked."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.store import well, writers
from hpc_ds.store.layout import Layout
from hpc_ds.store.merge_plan import Plan, PlannedFile, refused
from hpc_ds.store.moments import Moments
from hpc_ds.store.shard import DamagedRow
from hpc_ds.store.sources import SourceReader
from hpc_ds.store.writers import WriterName

# What a rank gathers before it writes; larger samples go one by one.
_BLOCK_BYTES = 4 * 2**20
# Files that are open at once.
_BATCH = 64


@dataclass
class Outcome:
    """What a rank met while it copied."""

    damaged: list[int] = field(default_factory=list)
    """Design indices of samples that no source has with their checksum."""
    problem: Exception | None = None
    """The first error of another kind; it can be sent to other ranks."""


def copy_rows(plan: Plan, world: World, name: WriterName) -> Outcome:
    """Copy this rank's share of the rows, a range of each batch of files; collective.

    Once this rank has met something, it writes no more, but looks for all samples that are damaged.
    """
    outcome = Outcome()
    with SourceReader(plan.sources, plan.layout) as reader:
        for first in range(0, len(plan.files), _BATCH):
            batch = plan.files[first : first + _BATCH]
            with _noted(outcome, plan.folder):
                writer = writers.opened(name, world, [plan.part / file.name for file in batch])
                # After an error, too, the other ranks wait in the collective close.
                with closing(writer), _noted(outcome, plan.folder):
                    _copy_share(plan.layout, batch, world, reader, writer, outcome)
    return outcome


@contextmanager
def _noted(outcome: Outcome, place: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # alone with it, this rank would leave the others waiting
        outcome.problem = outcome.problem or _carried(error, place)


def _carried(error: Exception, place: Path) -> Exception:
    """Return an error as other ranks can receive it."""
    if isinstance(error, OSError):
        return refused(error, place)
    if isinstance(error, InputError):
        return error
    carried = RuntimeError(f"{type(error).__name__}: {error}")
    carried.add_note("".join(traceback.format_exception(error)))
    return carried


def _copy_share(
    layout: Layout,
    files: Sequence[PlannedFile],
    world: World,
    reader: SourceReader,
    writer: writers.Writer,
    outcome: Outcome,
) -> None:
    starts = np.cumsum([0, *(len(file.indices) for file in files)]).tolist()
    low, high = (starts[-1] * rank // world.size for rank in (world.rank, world.rank + 1))
    block = _Block(layout)
    for number, file in enumerate(files):
        begin, end = max(low, starts[number]), min(high, starts[number + 1])
        for first in range(begin, end, block.rows):
            row = first - starts[number]
            indices = file.indices[row : row + min(block.rows, end - first)]
            block.fill(reader, indices, outcome.damaged)
            if outcome.damaged or outcome.problem:
                continue
            for name, target in file.targets.items():
                writer.write(number, target, row, block.stored(name, len(indices)))


class _Block:
    """Some samples in memory, on their way from the sources to a file."""

    def __init__(self, layout: Layout) -> None:
        self.rows = max(1, _BLOCK_BYTES // max(1, layout.sample_bytes))
        self._layout = layout
        self._fields = {
            item.name: np.empty((self.rows, *layout.shape(item.name)), np.float32) for item in layout.fields
        }
        self._moments = np.empty((self.rows, Moments(layout).channels, 2))

    def fill(self, reader: SourceReader, indices: NDArray[np.int64], damaged: list[int]) -> None:
        """Read samples, and note those that are damaged."""
        for row, index in enumerate(indices.tolist()):
            try:
                out = {name: values[row, ...] for name, values in self._fields.items()}
                reader.read_into(index, out, self._moments[row])
            except DamagedRow:
                damaged.append(index)

    def stored(self, name: str, count: int) -> NDArray[np.float32] | NDArray[np.float64]:
        """Return the first `count` samples as the file has them."""
        if name == well.MOMENTS:
            return self._moments[:count]
        if well.stored_shape(self._layout, name) == self._layout.shape(name):
            return self._fields[name][:count]
        return np.stack([well.stored(self._layout, name, row) for row in self._fields[name][:count]])
