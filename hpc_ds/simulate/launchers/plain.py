"""dask-mpi's way: client, scheduler and workers are ranks themselves, and a rank that is lost ends the job."""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.simulate.addresses import agree_on_addresses
from hpc_ds.simulate.cluster import Cluster
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.keys import Keys, make_keys
from hpc_ds.simulate.settings import ClusterSettings

_CLIENT, _SCHEDULER = 0, 1

_SMALLEST = 3

_CLOSING = 10.0


def launch(
    world: World, settings: ClusterSettings, job: Job, work: Callable[[Cluster], None], deadline: Deadline
) -> None:
    """Call ``work(cluster)`` on rank 0, with dask-mpi's scheduler on rank 1 and workers on all others; collective.

    dask-mpi's `execute` is given the client's rank 0, so that the run folder's rank is the client's. What it is known
    to leave undone is done here: the scheduler is closed even if `work` failed, no nanny, no exit handler, no HTTP
    server, keys. A reason to stop that only another rank has is not heard.

    Raises
    ------
    InputError
        On all ranks: fewer than three, or dask-mpi is not installed.
    """
    world.root_first(check, world)
    host = agree_on_addresses(world, settings.interface)
    keys = world.bcast(make_keys() if world.is_root else None)
    assert keys is not None and world.comm is not None
    if world.rank > _SCHEDULER:
        from hpc_ds.simulate import tasks

        tasks.prestart(job.folder, job.session, settings.processes or 1)
    from hpc_ds.simulate.dask_settings import dask_set_up

    with dask_set_up(_log(world, job), settings.dashboard):
        if world.rank == _CLIENT:
            _lead(world, settings, job, host, keys, work)
        else:
            _execute(world, settings, host, keys, None)


def check(world: World) -> None:
    """Refuse fewer ranks than dask-mpi needs, and a machine that does not have it."""
    if world.size < _SMALLEST:
        raise InputError(
            f"--launcher dask-mpi: started as {world.size} of the 3 ranks or more that it needs (client, scheduler, "
            "worker): mpiexec -n 3 or more, or take another launcher"
        )
    if importlib.util.find_spec("dask_mpi") is None:
        raise InputError("--launcher dask-mpi: dask-mpi is not installed: pip install dask-mpi")


def _log(world: World, job: Job) -> Path:
    logs = job.path / "logs"
    logs.mkdir(exist_ok=True)
    return logs / ("scheduler.log" if world.rank == _SCHEDULER else f"rank{world.rank}.log")


def _lead(
    world: World,
    settings: ClusterSettings,
    job: Job,
    host: str,
    keys: Keys,
    work: Callable[[Cluster], None],
) -> None:
    """Be the client, in this thread; dask-mpi's thread for it waits, and closes the scheduler when this is over."""
    import dask.config
    from distributed import Client

    from hpc_ds.simulate.dask_nodes import RunSecurity
    from hpc_ds.simulate.dask_settings import hush_dask
    from hpc_ds.simulate.remote import Remote

    over = threading.Event()
    others = set(threading.enumerate())
    dask.config.set(_keys_for_closing(keys))
    _execute(world, settings, host, keys, over.wait)
    waiting = [thread for thread in threading.enumerate() if thread not in others]
    try:
        client = Client(
            dask.config.get("scheduler-address"), security=RunSecurity(keys), set_as_default=False
        )
        remote = Remote(client, job)
        work(Cluster(client, remote.slots, remote.trouble, remote.dashboard()))
        hush_dask()
        remote.close()
    finally:
        over.set()
        for thread in waiting:
            thread.join(_CLOSING)


def _execute(
    world: World, settings: ClusterSettings, host: str, keys: Keys, client: Callable[[], object] | None
) -> None:
    """Call `dask_mpi.execute`; returns at once on the client's rank, and on the others when the scheduler is closed."""
    import dask_mpi

    from hpc_ds.simulate.dask_nodes import QuietScheduler, RunSecurity

    security = RunSecurity(keys)
    # dask-mpi lets choose the worker's class but not the scheduler's, nor its security.
    module: Any = sys.modules["dask_mpi.execute"]
    module.Scheduler = functools.partial(QuietScheduler, security=security, host=host)
    dask_mpi.execute(
        client or _nothing,
        client_rank=_CLIENT,
        scheduler_rank=_SCHEDULER,
        scheduler_port=0,
        protocol="tls",
        dashboard=settings.dashboard,
        nthreads=settings.processes or 1,
        memory_limit=0,
        worker_class="hpc_ds.simulate.dask_nodes.QuietWorker",
        worker_options={"security": security, "host": host},
        comm=world.comm,
    )


def _nothing() -> None:
    """Stand for the client's function on ranks that are not the client."""


def _keys_for_closing(keys: Keys) -> dict[str, Any]:
    """Return what lets the client with which dask-mpi closes the scheduler in: it knows Dask's configuration only."""
    return {
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.ca-file": keys.certificate,
        "distributed.comm.tls.client.cert": keys.certificate,
        "distributed.comm.tls.client.key": keys.private,
    }
