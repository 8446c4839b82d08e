"""A Dask scheduler that runs already, started by somebody else: this process is its client."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.simulate.cluster import Cluster
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.launchers.ranks import Ranks, attend, farewell
from hpc_ds.simulate.settings import ClusterSettings

if TYPE_CHECKING:
    from distributed import Client

_ANSWER = 15.0
"""Seconds within which the scheduler must answer."""


def launch(
    world: World, settings: ClusterSettings, job: Job, work: Callable[[Cluster], None], deadline: Deadline
) -> None:
    """Connect rank 0 to the scheduler and call ``work(cluster)`` there; the other ranks idle; collective.

    A ``tls://`` address takes keys from Dask's own configuration (``distributed.comm.tls``). Scheduler and workers
    stay when the work is over.

    Raises
    ------
    InputError
        On all ranks: it does not answer.
    """
    held: list[Client] = []  # on rank 0 only: it cannot be sent
    with ExitStack() as stack:
        world.root_first(_connect, world, settings.scheduler, job, held, stack)
        if held:
            _lead(world, held[0], job, work, deadline)
        else:
            attend(world, deadline, None)
            farewell(world)


def _lead(
    world: World, client: Client, job: Job, work: Callable[[Cluster], None], deadline: Deadline
) -> None:
    from hpc_ds.simulate.remote import Remote

    ranks, remote = Ranks(world, deadline, None), Remote(client, job)

    def slots() -> int:
        ranks.hear()
        return remote.slots()

    try:
        work(Cluster(client, slots, remote.trouble, remote.dashboard()))
    finally:
        ranks.dismiss()
        remote.close()
        ranks.wait()


def _connect(world: World, address: str, job: Job, held: list[Client], stack: ExitStack) -> None:
    _check(address)
    from hpc_ds.simulate.dask_settings import dask_set_up

    (job.path / "logs").mkdir(exist_ok=True)
    stack.enter_context(dask_set_up(job.path / "logs" / "client.log"))
    from hpc_ds.simulate.dask_nodes import QuietClient

    try:
        held.append(QuietClient(address, timeout=_ANSWER, set_as_default=False))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there ({why}); for tls:// the keys must stand in Dask's "
            "configuration (distributed.comm.tls)"
        ) from None
    if world.size > 1:
        print(
            f"hpc-ds: ranks 1 to {world.size - 1} idle: the workers of {address} compute",
            file=sys.stderr,
            flush=True,
        )


def _check(address: str) -> None:
    scheme, colon, place = address.partition("://")
    if not colon:
        scheme, place = "tcp", address
    if scheme not in ("tcp", "tls") or not place.rpartition(":")[2].isdigit():
        raise InputError(f"--scheduler {address}: an address like tcp://10.0.0.1:8786 or tls://... is needed")
