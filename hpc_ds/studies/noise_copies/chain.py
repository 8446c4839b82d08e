"""The chain of the study: train all blocks that are missing, then compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpc_ds.learn.threading import set_threads
from hpc_ds.runtime.atomic import remove_leftovers
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.world import World
from hpc_ds.studies.noise_copies import blocks, outcome
from hpc_ds.studies.noise_copies.blocks import Block
from hpc_ds.studies.noise_copies.problem import POINTS
from hpc_ds.studies.noise_copies.training import LAST_SHARE, LEARNING_RATE, Training
from hpc_ds.studies.noise_copies.variants import SCALES, Scale

Tell = Callable[[str], None]

CHUNK = 500
"""Steps between two looks at the deadline, a fraction of a second."""


def options(scale: str) -> dict[str, Any]:
    """Return all that shapes the result at a scale, for ``config.toml``."""
    chosen = SCALES[scale]
    return {
        "points": POINTS,
        "seeds": chosen.seeds,
        "block": chosen.block,
        "steps": chosen.steps,
        "learning_rate": LEARNING_RATE,
        "last_share": LAST_SHARE,
        "variants": [variant.name for variant in chosen.variants],
    }


def chain(folder: Path, scale: str, seed: int, world: World, deadline: Deadline, tell: Tell) -> bool:
    """Train every variant with every seed and write ``summary.json``; collective.

    Returns
    -------
    bool
        False where the deadline came first; the same call then goes on after the last finished block.
    """
    return run(folder, SCALES[scale], seed, world, deadline, tell)


def run(folder: Path, scale: Scale, seed: int, world: World, deadline: Deadline, tell: Tell) -> bool:
    """Do what `chain` does for a study of any size.

    The result does not depend on the number of ranks: blocks are cut by seeds alone, and every training reads
    random numbers of its own.
    """
    warning = set_threads(1, world)
    if warning is not None:
        tell(f"warning: {warning}")
    every = blocks.cut(scale)
    left = world.root_first(_prepare, folder, every, tell)
    if not _train([every[place] for place in left], folder, scale, seed, world, deadline):
        return False
    world.root_first(_conclude, folder, every, scale, seed)
    return True


def _prepare(folder: Path, every: list[Block], tell: Tell) -> list[int]:
    """Return which blocks are missing, in a folder where they can be written."""
    place = folder / blocks.FOLDER
    place.mkdir(parents=True, exist_ok=True)
    remove_leftovers(place)
    return blocks.missing(every, folder, tell)


def _train(
    left: list[Block], folder: Path, scale: Scale, seed: int, world: World, deadline: Deadline
) -> bool:
    """Train blocks in rounds of one a rank, all ranks asking the deadline together between chunks."""
    total = len(left)
    with Progress(world, folder / "progress.jsonl", total, "blocks of trainings") as progress:
        for first in range(0, total, world.size):
            mine = first + world.rank
            block = left[mine] if mine < total else None
            training = None if block is None else Training(block.variant, seed, block.units, scale.steps)
            for _ in range(0, scale.steps, CHUNK):
                if deadline.agreed(world):
                    return False
                if training is not None:
                    training.advance(CHUNK)
            if block is not None and training is not None:
                blocks.write(block, training.result(), folder)
            progress.update(min(first + world.size, total))
    world.barrier()
    return True


def _conclude(folder: Path, every: list[Block], scale: Scale, seed: int) -> None:
    outcome.write(folder, blocks.joined(every, folder), scale, seed)
