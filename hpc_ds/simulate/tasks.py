"""What Dask runs on a worker: an order, handed on to the compute processes that this worker has for the run."""

from __future__ import annotations

import atexit
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from hpc_ds.simulate.orders import Order, Report
from hpc_ds.simulate.pool import Pool

IDLE = 600.0
"""Seconds without an order after which the processes of a run end: its client may have died."""

_LOOK = 5.0


class Crew(Protocol):
    """Who works off the orders of one session of a run."""

    def run(self, order: Order) -> Report:
        """Work off an order; called by several threads."""
        ...

    def close(self) -> None:
        """Let go of all that there is."""
        ...


@dataclass
class _Post:
    """A crew and who needs it."""

    crew: Crew
    users: int = 0
    idle_since: float = field(default_factory=time.monotonic)


_lock = threading.Lock()
_posts: dict[tuple[str, str], _Post] = {}
"""By folder and session: several runs may share the workers of a scheduler that runs already."""
_watching = False


def run_order(order: Order) -> Report:
    """Have an order worked off by a compute process of this worker.

    The processes are made at the first order, as many as the Dask worker has threads, unless `prestart` has made them.
    They end when their run ends, when another session of it begins, or after `IDLE` seconds without an order.

    Raises
    ------
    InputError, StorageError, RuntimeError
        What all samples share: a simulator that cannot be loaded, a full disk, processes that cannot start.
    """
    with _lock:
        post = _post(order.folder, order.session, None)
        post.users += 1
    try:
        return post.crew.run(order)
    finally:
        with _lock:
            post.users -= 1
            post.idle_since = time.monotonic()


def prestart(folder: str, session: str, processes: int) -> None:
    """Start the compute processes of a session and return at once; those of an earlier one are closed first."""
    with _lock:
        _post(folder, session, processes)


def install(folder: str, session: str, crew: Crew) -> None:
    """Have the orders of a session worked off by `crew`; it stays until `close`."""
    with _lock:
        _posts[folder, session] = _Post(crew, users=1)


def close(folder: str | None = None, session: str | None = None) -> None:
    """Let the compute processes of a session, or all, close their files and end; busy ones are killed after 2 s."""
    with _lock:
        keys = [key for key in _posts if folder is None or key == (folder, session)]
        posts = [_posts.pop(key) for key in keys]
    _close(posts)


def close_idle(seconds: float = IDLE) -> None:
    """Close the processes of sessions that had no order for so long."""
    end = time.monotonic() - seconds
    with _lock:
        keys = [key for key, post in _posts.items() if not post.users and post.idle_since <= end]
        posts = [_posts.pop(key) for key in keys]
    _close(posts)


def _post(folder: str, session: str, processes: int | None) -> _Post:
    """Return the crew of a session, made if there is none; to be called with the lock."""
    known = _posts.get((folder, session))
    if known is None:
        _close([_posts.pop(key) for key in list(_posts) if key[0] == folder])
        known = _posts[folder, session] = _Post(Pool(folder, session, processes or _threads_of_worker()))
        _watch()
    return known


def _close(posts: list[_Post]) -> None:
    for post in posts:
        post.crew.close()


def _watch() -> None:
    """Look after idle processes from now on."""
    global _watching
    if not _watching:
        _watching = True
        threading.Thread(target=_close_idle_for_ever, name="hpc-ds-idle", daemon=True).start()


def _close_idle_for_ever() -> None:
    while True:
        time.sleep(_LOOK)
        close_idle()


def _threads_of_worker() -> int:
    """Return how many orders this process works off at the same time: the threads of its Dask worker."""
    try:
        from distributed import get_worker

        return get_worker().state.nthreads
    except (ImportError, ValueError):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


atexit.register(close)
