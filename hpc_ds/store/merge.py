"""Make the data files of a training set out of what its processes wrote: the same bytes, whoever merges."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.world import World
from hpc_ds.store import swap, well, writers
from hpc_ds.store.copying import copy_rows
from hpc_ds.store.index import write_index
from hpc_ds.store.merge_plan import Plan, PlannedFile, prepare, refused
from hpc_ds.store.moments import Moments, write_stats
from hpc_ds.store.sources import forget_damage, note_damage
from hpc_ds.store.split import FRACTIONS, SPLITS
from hpc_ds.store.writers import WriterName


@dataclass(frozen=True)
class MergeReport:
    """What a merge did."""

    samples: int
    """Samples in the set."""
    counts: dict[str, int]
    """How many of them are in each split."""
    files: int
    bytes: int
    seconds: float
    writer: str
    """How the values were written; empty if nothing was."""
    stats_from: str
    """``train``; or ``all`` if the set is so small that no sample trains. Empty without samples."""
    changed: bool
    """False if the set was merged already, or nothing could be merged."""
    damaged: tuple[int, ...] = ()
    """Design indices of samples that nothing holds with the right checksum. The older set and the shards are then left
    as they are: the samples have to be computed again."""


def merge(
    folder: str | os.PathLike[str],
    world: World,
    *,
    keep_shards: bool = False,
    writer: WriterName = "auto",
    fractions: Sequence[float] = FRACTIONS,
    samples_per_file: int | None = None,
) -> MergeReport:
    """Write ``data/``, ``stats.yaml`` and ``index.h5`` of a run folder from its finished samples; collective.

    The samples come from the shards and from data files that were merged before. Those of a split stand in the order of
    the design; failed ones are left out. The files are the same, byte for byte, on any number of ranks, and whatever
    was killed before. The new set takes the place of the old one when it is whole; then the shards are removed.

    Parameters
    ----------
    folder : str or Path
        The run folder, in which nobody else writes.
    world : World
        The ranks that work together.
    keep_shards : bool
        Leave the shards where they are.
    writer : str
        See `hpc_ds.store.writers.WriterName`.
    fractions : (3,) sequence of float
        Shares of train, valid and test.
    samples_per_file : int, optional
        At most so many; without it, files of about `FILE_BYTES`.

    Raises
    ------
    InputError
        On all ranks: no layout or design, options that cannot be, or something in ``data/`` that is not ours or
        damaged.
    StorageError
        On all ranks: the disk is full or refuses. The older set and the shards are as they were.
    """
    start = time.monotonic()
    name = writers.choose(writer, world)
    plan = world.root_first(prepare, Path(folder), tuple(fractions), samples_per_file)
    if not plan.todo:
        return world.root_first(_leave_as_it_is, plan, keep_shards, start)
    outcome = copy_rows(plan, world, name)
    damaged = sorted(index for each in world.allgather(outcome.damaged) for index in each)
    problem = next((each for each in world.allgather(outcome.problem) if each is not None), None)
    return world.root_first(_finish, plan, keep_shards, name, damaged, problem, start)


def recover(folder: str | os.PathLike[str]) -> None:
    """Finish or undo what a killed merge left in a run folder; by one process, at every start.

    Raises
    ------
    StorageError
        The file system refuses.
    """
    swap.recover(folder)


# Rank 0, after


def _finish(
    plan: Plan,
    keep_shards: bool,
    writer: str,
    damaged: list[int],
    problem: Exception | None,
    start: float,
) -> MergeReport:
    if problem is not None or damaged:
        swap.undo(plan.folder)
    if problem is not None:
        raise problem
    if damaged:
        note_damage(plan.sources, damaged)
        return _report(plan, start, damaged=tuple(damaged))
    try:
        stats_from = _write_beside(plan)
        forget_damage(plan.folder)
    except OSError as error:
        swap.undo(plan.folder)
        raise refused(error, plan.folder) from error
    swap.commit(plan.folder)
    _remove_shards(plan.folder, keep_shards)
    return _report(plan, start, writer=writer, stats_from=stats_from, changed=True)


def _write_beside(plan: Plan) -> str:
    """Write statistics and index of the new files; return which samples the statistics are of."""
    train = [file for file in plan.files if file.split == "train"]
    chosen = train or plan.files
    moments = np.concatenate([_moments(plan, file) for file in chosen])
    order = np.argsort(np.concatenate([file.indices for file in chosen]))
    write_stats(plan.part / "stats.yaml", Moments(plan.layout).stats(moments[order]))
    write_index(plan.part / "index.h5", plan.part, [file.name for file in plan.files])
    return "train" if train else "all"


def _moments(plan: Plan, file: PlannedFile) -> NDArray[np.float64]:
    with h5py.File(plan.part / file.name, "r") as opened:
        return np.asarray(opened[well.MOMENTS][()])


def _leave_as_it_is(plan: Plan, keep_shards: bool, start: float) -> MergeReport:
    if plan.files:
        _remove_shards(plan.folder, keep_shards)
    train = any(file.split == "train" for file in plan.files)
    return _report(plan, start, stats_from="" if not plan.files else "train" if train else "all")


def _remove_shards(folder: Path, keep: bool) -> None:
    """Remove the shards; the journals stay, for they know the run times and the failures.

    What cannot be removed does no harm, and the next merge tries again.
    """
    if not keep:
        shutil.rmtree(folder / "shards", ignore_errors=True)


def _report(
    plan: Plan,
    start: float,
    *,
    writer: str = "",
    stats_from: str = "",
    changed: bool = False,
    damaged: tuple[int, ...] = (),
) -> MergeReport:
    counts = {
        str(split): sum(len(file.indices) for file in plan.files if file.split == split) for split in SPLITS
    }
    samples = sum(counts.values())
    return MergeReport(
        samples=samples,
        counts=counts,
        files=len(plan.files),
        bytes=samples * well.row_bytes(plan.layout),
        seconds=time.monotonic() - start,
        writer=writer,
        stats_from=stats_from,
        changed=changed,
        damaged=damaged,
    )
