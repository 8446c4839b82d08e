"""What Dask runs on a worker: an order, handed on to the compute processes of this worker."""

from __future__ import annotations

import atexit
import os
import threading

from hpc_ds.simulate.orders import Order, Report
from hpc_ds.simulate.pool import Pool

_lock = threading.Lock()
_pool: Pool | None = None


def run_order(order: Order) -> Report:
    """Have an order worked off by a compute process of this worker.

    The processes are made at the first order, as many as the Dask worker has threads, unless `prestart` has made them.

    Raises
    ------
    InputError, StorageError, RuntimeError
        What all samples share: a simulator that cannot be loaded, a full disk, processes that cannot start.
    """
    return _pool_for(order.folder, order.session, None).run(order)


def prestart(folder: str, session: str, processes: int) -> None:
    """Start the compute processes of a session and return at once; those of another session are closed first."""
    _pool_for(folder, session, processes)


def close() -> None:
    """Let the compute processes close their files and end; those that are still busy after 2 s are killed."""
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.close()


def _pool_for(folder: str, session: str, processes: int | None) -> Pool:
    global _pool
    with _lock:
        if _pool is not None and (_pool.folder, _pool.session) != (folder, session):
            _pool.close()
            _pool = None
        if _pool is None:
            _pool = Pool(folder, session, processes or _threads_of_worker())
    return _pool


def _threads_of_worker() -> int:
    """Return how many orders this process works off at the same time: the threads of its Dask worker."""
    try:
        from distributed import get_worker

        return get_worker().state.nthreads
    except (ImportError, ValueError):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


atexit.register(close)
