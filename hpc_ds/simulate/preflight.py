"""Whether the cluster that the user asks for can be, found out before a run folder is touched."""

from __future__ import annotations

import socket

from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.simulate.addresses import address_of
from hpc_ds.simulate.settings import ClusterSettings

_ANSWER = 10.0
"""Seconds within which a scheduler must take a connection."""


def check_cluster(world: World, settings: ClusterSettings) -> None:
    """Refuse a launcher that has too few ranks, an interface that is not there, a dashboard that cannot be; collective.

    Raises
    ------
    InputError
        On all ranks.
    """
    if settings.scheduler is not None:
        world.root_first(_check_scheduler, settings.scheduler)
        return
    world.root_first(_check_launcher, world, settings)
    if settings.interface is not None:
        agreed(world, address_of, settings.interface)


def check_ranks(world: World, settings: ClusterSettings, simulator: str, ranks: int) -> None:
    """Refuse what an MPI simulator whose samples take so many ranks cannot run on.

    Raises
    ------
    InputError
        On all ranks.
    """
    if ranks > 1:
        from hpc_ds.simulate.launchers import groups

        groups.check(world, settings, simulator, ranks)


def is_private(address: str) -> bool:
    """Return whether what goes to a scheduler is encrypted or stays on this machine."""
    host = address.partition("://")[2].rpartition(":")[0].strip("[]")
    return address.startswith("tls://") or host in ("localhost", "::1") or host.startswith("127.")


def _check_scheduler(address: str) -> None:
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    if scheme not in ("tls", "tcp") or not host or not port.isdigit():
        raise InputError(f"--scheduler {address}: an address such as tls://10.0.0.1:8786 is needed")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--scheduler {address}: does not answer ({error}); is it running?") from None


def _check_launcher(world: World, settings: ClusterSettings) -> None:
    from hpc_ds.simulate.launchers import plain, supervised

    supervised.check_dashboard(settings)
    if settings.launcher == "dask-mpi":
        plain.check(world)
    if settings.launcher == "local" and world.size > 1:
        raise InputError(
            f"--launcher local: started as {world.size} ranks; leave mpiexec away, or take --launcher supervised"
        )
