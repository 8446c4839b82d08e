"""Several Dask schedulers for one run: each has its own ranks, its own client and its own share of the samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hpc_ds.runtime.agreement import raise_together
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import World
from hpc_ds.simulate.adaptive import is_adaptive
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.settings import ClusterSettings

if TYPE_CHECKING:
    from hpc_ds.simulate.cluster import Cluster

T = TypeVar("T")

RANKS_EACH = 1024
"""Ranks that one scheduler serves: with samples of a second it then hands out as many as it can (docs/scaling.md)."""

_TELL_EVERY = 0.5
_COUNT, _STOP = "count", "stop"


@dataclass(frozen=True)
class Share:
    """The samples of one of `count` schedulers: whole blocks, dealt out in turn."""

    number: int = 0
    count: int = 1

    def of(self, indices: Iterable[int], block: int) -> list[int]:
        """Return those of `indices` that belong to this share; a block that is computed together stays together."""
        return [index for index in indices if index // block % self.count == self.number]


def schedulers_for(settings: ClusterSettings, job: Job, ranks: int) -> int:
    """Return how many schedulers a run on so many ranks has.

    One where ranks are not workers' supervisors, where the user names a scheduler, where a sample takes several ranks,
    and for adaptive designs, whose generations all must see.
    """
    one = settings.launcher not in ("auto", "supervised") or settings.scheduler is not None
    if one or job.ranks > 1 or is_adaptive(job.settings.design):
        return 1
    wanted = settings.schedulers if settings.schedulers is not None else -(-ranks // RANKS_EACH)
    return max(1, min(wanted, ranks))


class Council:
    """The clients of all schedulers of a run, as one of them hears of the others.

    Rank 0's client is told how far the others are and shows the sum; a reason to stop that one of them has is one for
    all of them.

    Parameters
    ----------
    world : World
        The ranks that have a client each, in the order of their shares.
    deadline : Deadline
        Of this rank.

    Attributes
    ----------
    world : World
        As given.
    """

    def __init__(self, world: World, deadline: Deadline) -> None:
        self.world = world
        self._deadline = deadline
        self._done = [0] * world.size
        self._told, self._has_said_stop = 0.0, False

    @property
    def share(self) -> Share:
        """The share of this client."""
        return Share(self.world.rank, self.world.size)

    def attended(self, cluster: Cluster) -> Cluster:
        """Return the cluster with ears for the council, whenever the client looks at it."""
        from hpc_ds.simulate.cluster import Cluster

        def slots() -> int:
            self._hear()
            return cluster.slots()

        return Cluster(cluster.client, slots, cluster.trouble, cluster.dashboard)

    def total(self, done: int) -> int:
        """Take note of what this client has done, tell rank 0, and return what all have done as far as is known."""
        self._done[self.world.rank] = done
        if self.world.rank and time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            self.world.post((_COUNT, done), 0)
        return sum(self._done)

    def stop(self, reason: str) -> None:
        """Have the other clients stop, once."""
        if not self._has_said_stop:
            self._has_said_stop = True
            for rank in range(self.world.size):
                if rank != self.world.rank:
                    self.world.post((_STOP, reason), rank)

    def adjourn(self) -> None:
        """Wait until no message is on its way; collective."""
        self.world.barrier()
        self._hear()
        self.world.barrier()

    def _hear(self) -> None:
        for rank, (kind, what) in self.world.poll():
            if kind == _COUNT:
                self._done[rank] = what
            elif kind == _STOP:
                self._has_said_stop = True  # whoever said it told all
                self._deadline.stop(what)
        reason = self._deadline.reason()
        if reason is not None and self.world.size > 1:
            self.stop(reason)


def run_on_shares(
    world: World, schedulers: int, run: Callable[[World, Council | None], T | None], deadline: Deadline
) -> list[T]:
    """Cut the ranks into as many crews, call ``run(crew, council)`` in each, and return the answers; collective.

    Parameters
    ----------
    world : World
        The ranks. Crews are neighbouring ranks, as many in each as in the others or one more.
    schedulers : int
        How many crews.
    run : callable
        Collective over a crew, on whose first rank it returns its answer. It is given the council there, else None.
    deadline : Deadline
        Of this rank.

    Returns
    -------
    list
        The answers in the order of crews, on rank 0; an empty list on the others.

    Raises
    ------
    Exception
        What one of the crews raised: on all ranks, after the other crews have stopped.
    """
    firsts = [number * world.size // schedulers for number in range(schedulers)]
    mine = max(number for number, first in enumerate(firsts) if first <= world.rank)
    crew = world.split(range(firsts[mine], [*firsts, world.size][mine + 1]))
    leaders = world.split(firsts)
    assert crew is not None
    council = Council(leaders, deadline) if leaders is not None else None
    answer, error = _attempt(run, crew, council)
    world.all_arrive(math.inf)  # with patience: crews that still compute need their processors
    raise_together(world, error)
    if council is not None and leaders is not None:
        council.adjourn()
        leaders.free()
    crew.free()
    return [found for found in world.gather(answer) or [] if found is not None]


def _attempt(
    run: Callable[[World, Council | None], T | None], crew: World, council: Council | None
) -> tuple[T | None, Exception | None]:
    try:
        return run(crew, council), None
    except Exception as error:
        if council is not None:
            council.stop(f"another scheduler's client failed: {error}")
        return None, error
