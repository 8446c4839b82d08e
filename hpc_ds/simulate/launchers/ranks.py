"""What rank 0 and the others say to each other while a cluster is up, without a collective call that all wait in."""

from __future__ import annotations

import platform
import sys
import time

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import World
from hpc_ds.simulate.supervisor import Supervisor

_LOOK = 0.03
"""Seconds between looks: idle ranks use no processor time, and nothing waits long for them."""

_FAREWELL = 30.0
"""Seconds that rank 0 waits at the end for the others, which need about five at most."""

_SHOWN = 3
"""Ranks without a worker that are told one by one."""

_END, _ENDED, _REASON, _NO_WORKER = "end", "ended", "reason", "no worker"


class Ranks:
    """All ranks, as rank 0 hears of them.

    Parameters
    ----------
    world : World
        The ranks.
    deadline : Deadline
        Of rank 0; told of a reason to stop that another rank has.
    supervisor : Supervisor or None
        Of rank 0; None if ranks have no workers.
    """

    def __init__(self, world: World, deadline: Deadline, supervisor: Supervisor | None) -> None:
        self._world, self._deadline, self._supervisor = world, deadline, supervisor
        self._without: dict[int, str] = {}
        self._ended = 0

    def hear(self) -> None:
        """Take what the other ranks had to say."""
        for rank, (kind, text) in self._world.poll():
            if kind == _REASON:
                self._deadline.stop(text)
            elif kind == _NO_WORKER:
                self._note(rank, text)
            elif kind == _ENDED:
                self._ended += 1
        own = self._supervisor
        if own is not None and own.trouble is not None and 0 not in self._without:
            self._note(0, _with_host(own.trouble))

    def trouble(self) -> str | None:
        """Return why no rank has a worker or will have one."""
        self.hear()
        return next(iter(self._without.values())) if len(self._without) == self._world.size else None

    def dismiss(self) -> None:
        """Have the other ranks return from `attend`."""
        for rank in range(1, self._world.size):
            self._world.post((_END, ""), rank)

    def wait(self, seconds: float = _FAREWELL) -> None:
        """Wait until the other ranks have said `farewell`; afterwards no message is on its way."""
        end = time.monotonic() + seconds
        while self._ended < self._world.size - 1 and time.monotonic() < end:
            self.hear()
            time.sleep(_LOOK / 3)

    def _note(self, rank: int, text: str) -> None:
        self._without[rank] = text
        if len(self._without) <= _SHOWN:
            print(f"hpc-ds: rank {rank} has no worker: {text}", file=sys.stderr, flush=True)


class Attendance:
    """What a rank above 0 tells rank 0 and hears from it.

    Parameters
    ----------
    world : World
        The ranks.
    deadline : Deadline
        Of this rank; a reason to stop is told.
    supervisor : Supervisor or None
        Of this rank; its trouble is told.
    """

    def __init__(self, world: World, deadline: Deadline, supervisor: Supervisor | None = None) -> None:
        self._world, self._deadline, self._supervisor = world, deadline, supervisor
        self._over = self._said_reason = self._said_trouble = False

    def over(self) -> bool:
        """Tell rank 0 what it must know, and return whether it has said that all is over."""
        self._over |= any(kind == _END for _, (kind, _) in self._world.poll())
        reason = self._deadline.reason()
        if reason is not None and not (self._over or self._said_reason):
            self._world.post((_REASON, reason), 0)
            self._said_reason = True
        own = self._supervisor
        if own is not None and own.trouble is not None and not (self._over or self._said_trouble):
            self._world.post((_NO_WORKER, _with_host(own.trouble)), 0)
            self._said_trouble = True
        return self._over

    def wait(self) -> None:
        """Wait until all is over."""
        while not self.over():
            time.sleep(_LOOK)


def attend(world: World, deadline: Deadline, supervisor: Supervisor | None) -> None:
    """Wait, on a rank above 0, until rank 0 says that it is over; tell it what it must know."""
    Attendance(world, deadline, supervisor).wait()


def farewell(world: World) -> None:
    """Tell rank 0 that this rank has nothing more to say."""
    world.post((_ENDED, ""), 0)


def _with_host(text: str) -> str:
    return f"{text} ({platform.node()})"
