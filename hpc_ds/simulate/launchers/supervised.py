"""A worker under each rank, which is replaced when it dies; rank 0 has the scheduler and the client too."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.threads import cores_per_rank
from hpc_ds.runtime.world import World
from hpc_ds.simulate.addresses import agree_on_addresses
from hpc_ds.simulate.cluster import Cluster
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.keys import Keys, make_keys
from hpc_ds.simulate.launchers.ranks import Ranks, attend, farewell
from hpc_ds.simulate.settings import ClusterSettings
from hpc_ds.simulate.supervisor import Invitation, Plan, Supervisor

if TYPE_CHECKING:
    from hpc_ds.simulate.scheduler import SchedulerThread


def launch(
    world: World, settings: ClusterSettings, job: Job, work: Callable[[Cluster], None], deadline: Deadline
) -> None:
    """Bring up scheduler and workers, call ``work(cluster)`` on rank 0, take all down; collective.

    The workers are children of the ranks, not ranks, so that the MPI launcher does not see one die. Without MPI this
    process supervises one worker that has a compute process for each core.

    Raises
    ------
    InputError
        On all ranks: no such interface, no way between hosts, a dashboard without bokeh.
    """
    world.root_first(check_dashboard, settings)
    host = agree_on_addresses(world, settings.interface)
    processes = settings.processes or (1 if world.size > 1 else cores_per_rank(world))
    supervisor = Supervisor(Plan(job.folder, job.session, processes, f"rank{world.rank}"))
    try:
        held: list[SchedulerThread] = []  # on rank 0 only: it cannot be sent
        address, keys = world.root_first(open_scheduler, host, settings, job, held)
        supervisor.introduce(Invitation(address, host, keys.certificate, keys.private))
        if held:
            _lead(world, held[0], supervisor, work, deadline)
        else:
            attend(world, deadline, supervisor)
    finally:
        supervisor.stop()
    if not world.is_root:
        farewell(world)


def check_dashboard(settings: ClusterSettings) -> None:
    """Refuse a dashboard that cannot be served."""
    if settings.dashboard and importlib.util.find_spec("bokeh") is None:
        raise InputError("--dashboard: needs bokeh, which is not installed: pip install bokeh")


def open_scheduler(
    host: str,
    settings: ClusterSettings,
    job: Job,
    held: list[SchedulerThread],
    silent_workers: bool = False,
) -> tuple[str, Keys]:
    """Do rank 0's part: start a scheduler, handed out through `held`, and return its address and keys."""
    from hpc_ds.simulate.scheduler import SchedulerThread

    logs = job.path / "logs"
    logs.mkdir(exist_ok=True)
    keys = make_keys()
    log = logs / "scheduler.log"
    held.append(SchedulerThread(host, keys, settings.dashboard, log, silent_workers))
    return held[0].address, keys


def _lead(
    world: World,
    scheduler: SchedulerThread,
    supervisor: Supervisor,
    work: Callable[[Cluster], None],
    deadline: Deadline,
) -> None:
    """Work, then have all ranks end their workers at the same time."""
    from hpc_ds.simulate.dask_settings import hush_dask

    ranks = Ranks(world, deadline, supervisor)

    def slots() -> int:
        ranks.hear()
        return scheduler.threads()

    try:
        work(Cluster(scheduler.client, slots, ranks.trouble, scheduler.dashboard))
    finally:
        hush_dask()
        ranks.dismiss()
        supervisor.stop()
        ranks.wait()
        scheduler.close()  # last: workers that it sent away would be replaced
