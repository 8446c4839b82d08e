"""The way of draws and states to the disk: scribes write the draws of the ranks near them, rank 0 keeps the states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpc_ds.infer.pieces import Part
from hpc_ds.runtime.agreement import raise_together
from hpc_ds.runtime.errors import StorageError
from hpc_ds.runtime.world import World


class Scribes:
    """Every so many ranks one that writes: no rank ever takes the draws of all.

    Parameters
    ----------
    world : World
    ranks_each : int
        Neighbouring ranks whose draws one scribe writes.

    Attributes
    ----------
    near : World
        The ranks of this rank's scribe, which is the first of them.
    """

    def __init__(self, world: World, ranks_each: int) -> None:
        self._world = world
        self._number: int | None = None
        self.near, self._heads = world, None
        if world.size > ranks_each:
            self._number, first = world.rank // ranks_each, world.rank // ranks_each * ranks_each
            near = world.split(range(first, min(first + ranks_each, world.size)))
            assert near is not None
            self.near = near
            self._heads = world.split(range(0, world.size, ranks_each))

    def write(self, parts: Sequence[Part], write: Callable[[list[Part], int | None], None]) -> None:
        """Call ``write(parts, number)`` on each scribe with the parts of the ranks near it; collective.

        Raises
        ------
        StorageError
            A disk refuses a scribe: on all ranks.
        """
        gathered = self.near.gather(list(parts))
        problem = None
        if gathered is not None:
            try:
                write(_flat(gathered), self._number)
            except StorageError as error:
                problem = error
        raise_together(self._world, problem)

    def gather(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts of all ranks by ensemble on rank 0, and nothing elsewhere; collective."""
        gathered = self.near.gather(list(parts))
        if self._number is not None and gathered is not None:
            assert self._heads is not None
            gathered = self._heads.gather(_flat(gathered))
        return [] if gathered is None else _flat(gathered)

    def free(self) -> None:
        """Free the communicators; collective."""
        if self._number is not None:
            self.near.free()
            if self._heads is not None:
                self._heads.free()


def _flat(gathered: Sequence[Sequence[Part]]) -> list[Part]:
    return sorted((part for parts in gathered for part in parts), key=lambda part: part.e)
