"""A Dask cluster for one session of a run: brought up, used and taken down whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.settings import ClusterSettings

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

_LOOK = 0.01
"""Seconds between looks for the first worker."""


class Cluster:
    """A cluster as its client sees it.

    Parameters
    ----------
    client : distributed.Client
        Synchronous; to be used from the thread that was given the cluster.
    slots : callable
        Returns how many compute processes there are.
    trouble : callable
        Returns why no more workers come, None while some may.
    dashboard : str or None
        Address of Dask's dashboard.

    Attributes
    ----------
    client, dashboard
        As given.
    """

    def __init__(
        self,
        client: Client,
        slots: Callable[[], int],
        trouble: Callable[[], str | None] = lambda: None,
        dashboard: str | None = None,
    ) -> None:
        self.client, self.dashboard = client, dashboard
        self._slots, self._trouble = slots, trouble

    def slots(self) -> int:
        """Return how many compute processes there are now: 0 while all workers are being replaced.

        Call this or `trouble` every second or so: they also hear what the other ranks have to say, such as that a
        signal asked one of them to stop, of which the deadline then knows.
        """
        return self._slots()

    def trouble(self) -> str | None:
        """Return in one line why no worker is left and none will come, or None."""
        return self._trouble()


def run_on_cluster(
    world: World,
    settings: ClusterSettings,
    job: Job,
    drive: Callable[[Cluster], T],
    deadline: Deadline,
) -> T | None:
    """Bring up a Dask cluster, call ``drive(cluster)`` on rank 0 and take all down, whatever happened; collective.

    `drive` is called in the main thread of rank 0 as soon as there is a first worker (or trouble, or the deadline),
    whatever the launcher. Rank 0 returns within about five seconds after it: workers let their compute processes
    close their files and end, and are killed if they do not. For MPI simulators it is another thread, as the main one
    computes, and samples that are under way are finished first.

    Parameters
    ----------
    world : World
        The ranks. Each supervises a worker, or is one, as the launcher has it.
    settings : ClusterSettings
        Launcher, interface, processes.
    job : Job
        Folder, session and simulator of the run, the same on all ranks; ``simulator.json`` stands in the folder.
    drive : callable
        Uses the cluster; called on rank 0 only. It must not call MPI: the other ranks are at work.
    deadline : Deadline
        Of this rank. A reason to stop on any rank becomes one on rank 0.

    Returns
    -------
    T or None
        What `drive` returned on rank 0, None on the others.

    Raises
    ------
    InputError
        On all ranks, before work starts: settings that cannot be, a scheduler that does not answer.
    Exception
        What `drive` raised, on all ranks as in `World.root_first`: after the cluster was taken down.
    """
    outcome: Outcome[T] = Outcome(drive, deadline)
    _launcher(world, settings, job)(world, settings, job, outcome, deadline)
    world.root_first(outcome.check)
    return outcome.value


class Outcome(Generic[T]):
    """Calls `drive` once and keeps what came of it, so that nothing that it raises skips the end of the cluster.

    Attributes
    ----------
    value : T or None
        What `drive` returned.
    error : BaseException or None
        What it raised.
    """

    def __init__(self, drive: Callable[[Cluster], T], deadline: Deadline) -> None:
        self._drive, self._deadline = drive, deadline
        self.value: T | None = None
        self.error: BaseException | None = None

    def __call__(self, cluster: Cluster) -> None:
        """Wait for the first worker and call `drive`; does not raise."""
        try:
            while not (cluster.slots() or cluster.trouble() or self._deadline.reason()):
                time.sleep(_LOOK)
            self.value = self._drive(cluster)
        except BaseException as error:
            self.error = error

    def check(self) -> None:
        """Raise what `drive` raised."""
        if self.error is not None:
            raise self.error


Launch = Callable[[World, ClusterSettings, Job, Outcome, Deadline], None]


def _launcher(world: World, settings: ClusterSettings, job: Job) -> Launch:
    """Return who brings the cluster up (Dask is not imported before it is needed)."""
    if job.ranks > 1:
        from hpc_ds.simulate.launchers.groups import launch
    elif settings.scheduler is not None:
        from hpc_ds.simulate.launchers.existing import launch
    elif settings.launcher == "dask-mpi":
        from hpc_ds.simulate.launchers.plain import launch
    elif settings.launcher == "local" and world.size > 1:
        raise InputError(
            f"--launcher local: started as {world.size} ranks; leave mpiexec away, or take --launcher supervised"
        )
    else:
        from hpc_ds.simulate.launchers.supervised import launch
    return launch
