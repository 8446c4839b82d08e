"""Blocks of trainings: the pieces that ranks share out, and the files in which finished ones lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hpc_ds.runtime.atomic import replacing
from hpc_ds.studies.noise_copies.problem import FINE
from hpc_ds.studies.noise_copies.training import EVERY, Trained
from hpc_ds.studies.noise_copies.variants import Scale, Variant

FOLDER = "blocks"
"""Where finished blocks lie in the run folder."""


@dataclass(frozen=True)
class Block:
    """Some seeds of one variant, trained together on one rank."""

    variant: Variant
    first: int
    last: int
    """One more than the last seed's number."""

    @property
    def units(self) -> range:
        """The numbers of the seeds."""
        return range(self.first, self.last)

    def path(self, folder: Path) -> Path:
        """Return where the finished block lies in the run folder `folder`."""
        name = re.sub(r"[^a-z0-9.]+", "-", self.variant.name)
        return folder / FOLDER / f"{name}-seeds-{self.first:03d}.npz"


def cut(scale: Scale) -> list[Block]:
    """Return all blocks of a study; they depend on nothing but the scale."""
    starts = range(0, scale.seeds, scale.block)
    return [
        Block(variant, first, min(first + scale.block, scale.seeds))
        for variant in scale.variants
        for first in starts
    ]


def write(block: Block, trained: Trained, folder: Path) -> None:
    """Write a finished block, all or nothing (`StorageError` where the disk refuses)."""
    with replacing(block.path(folder)) as file:
        np.savez(file, **asdict(trained))


def read(block: Block, folder: Path) -> Trained | None:
    """Return a finished block; None where there is none, or a damaged one.

    The file's own checksums are what tells damage.
    """
    try:
        with np.load(block.path(folder), allow_pickle=False) as file:
            found = Trained(**{field.name: file[field.name] for field in fields(Trained)})
    except (FileNotFoundError, BadZipFile, KeyError, ValueError, EOFError):
        return None
    whole = found.prediction.shape == (len(block.units), -(-FINE // EVERY))
    return found if whole else None


def missing(blocks: Sequence[Block], folder: Path, tell: Callable[[str], None]) -> list[int]:
    """Return the places in `blocks` of those that are still to be trained; damaged ones are named."""
    places = []
    for place, block in enumerate(blocks):
        if read(block, folder) is None:
            places.append(place)
            if block.path(folder).exists():
                tell(f"warning: {block.path(folder)}: damaged, it is trained again")
    return places


def joined(blocks: Sequence[Block], folder: Path) -> dict[Variant, Trained]:
    """Return the results of each variant, over all seeds in their order, of blocks that are all there."""
    parts: dict[Variant, list[Trained]] = {}
    for block in blocks:
        found = read(block, folder)
        if found is None:
            raise RuntimeError(f"{block.path(folder)} has vanished since it was written")
        parts.setdefault(block.variant, []).append(found)
    return {
        variant: Trained(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in some])
                for field in fields(Trained)
            }
        )
        for variant, some in parts.items()
    }
