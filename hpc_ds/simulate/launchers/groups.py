"""MPI simulators: the ranks themselves compute, in groups, and the first rank of each is a Dask worker too.

MPI is called by main threads only; Dask's worker, on rank 0 also scheduler and client, have threads of their own. A
rank cannot be killed and replaced: one that is lost ends the job, and the next start resumes.
"""

from __future__ import annotations

import math
import sys
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.simulate import started, tasks
from hpc_ds.simulate.addresses import agree_on_addresses
from hpc_ds.simulate.cluster import Cluster
from hpc_ds.simulate.group_desk import GroupDesk
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.launchers.ranks import Attendance, Ranks, attend, farewell
from hpc_ds.simulate.launchers.supervised import check_dashboard, open_scheduler
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.rank_group import RankGroup
from hpc_ds.simulate.recording import Samples
from hpc_ds.simulate.settings import ClusterSettings

if TYPE_CHECKING:
    from hpc_ds.simulate.scheduler import SchedulerThread
    from hpc_ds.simulate.worker_thread import WorkerThread

_SILENCE = 5.0
"""Seconds after the end of the client's work at which rank 0 says what it still waits for."""


def launch(
    world: World, settings: ClusterSettings, job: Job, work: Callable[[Cluster], None], deadline: Deadline
) -> None:
    """Cut the ranks into groups of ``job.ranks`` that compute a sample each, and call ``work(cluster)``; collective.

    `work` is called in a thread of rank 0, whose main thread computes with its group. Ranks that make no whole group
    idle. Samples that are under way when `work` is over are finished: they cannot be interrupted.

    Raises
    ------
    InputError
        On all ranks: too few of them, a simulator that cannot be loaded, and as `supervised.launch`.
    """
    check(world, settings, job.name, job.ranks)
    members = _members(world, job.ranks)
    samples = agreed(world, _load, job, members)
    deaths = world.root_first(_deaths, job)
    host = agree_on_addresses(world, settings.interface)
    held: list[SchedulerThread] = []  # on rank 0 only: it cannot be sent
    address, keys = world.root_first(open_scheduler, host, settings, job, held, True)
    if samples is None:
        attend(world, deadline, None)
        farewell(world)
        return
    number = world.rank // job.ranks
    name = f"{job.session}-group{number}-{uuid.uuid4().hex[:8]}"
    group = RankGroup(world, members, job.path, name, samples)
    if group.rank > 0:
        _follow(world, group, deadline)
        return
    from hpc_ds.simulate.worker_thread import WorkerThread

    desk = GroupDesk(world, group, job.path, name, samples, deaths)
    tasks.install(job.folder, job.session, desk)
    log = None if held else job.path / "logs" / f"rank{world.rank}.log"
    with WorkerThread(address, keys, host, f"group{number}", log) as worker:
        if held:
            _lead(world, held[0], worker, group, desk, work, deadline)
            started.tidy(job.path)
        else:
            _serve(world, worker, group, desk, deadline)


def check(world: World, settings: ClusterSettings, name: str, ranks: int) -> None:
    """Refuse what an MPI simulator of that name, which takes so many ranks, cannot run on."""
    if settings.scheduler is not None:
        raise InputError(
            f"--scheduler {settings.scheduler}: {name} is an MPI simulator, which runs on the ranks of this job: leave "
            "--scheduler away"
        )
    if world.size < ranks:
        raise InputError(
            f"{name}: computes a sample on {ranks} MPI ranks, found {world.size}: start it with mpiexec -n {ranks} or "
            f"a multiple of {ranks}"
        )
    check_dashboard(settings)


def _lead(
    world: World,
    scheduler: SchedulerThread,
    worker: WorkerThread,
    group: RankGroup,
    desk: GroupDesk,
    work: Callable[[Cluster], None],
    deadline: Deadline,
) -> None:
    """Compute while the client works in a thread, then have all ranks end."""
    from hpc_ds.simulate.dask_settings import hush_dask

    ranks = Ranks(world, deadline, None)
    cluster = Cluster(scheduler.client, scheduler.threads, dashboard=scheduler.dashboard)
    patience = threading.Timer(_SILENCE, _say_what_is_waited_for)
    patience.daemon = True

    def be_client() -> None:
        work(cluster)
        patience.start()

    client = threading.Thread(target=be_client, name="hpc-ds-client", daemon=True)

    def over() -> bool:
        worker.check()
        ranks.hear()
        return not client.is_alive()

    client.start()
    desk.serve(over)
    hush_dask()
    ranks.dismiss()
    worker.close()
    group.free()
    ranks.wait(math.inf)
    patience.cancel()
    scheduler.close()


def _serve(world: World, worker: WorkerThread, group: RankGroup, desk: GroupDesk, deadline: Deadline) -> None:
    """Compute what comes in until rank 0 says that all is over."""
    attendance = Attendance(world, deadline, None)

    def over() -> bool:
        worker.check()
        return attendance.over()

    desk.serve(over)
    worker.close()
    group.free()
    farewell(world)


def _follow(world: World, group: RankGroup, deadline: Deadline) -> None:
    """Compute what the first rank of the group says."""
    attendance = Attendance(world, deadline, None)
    group.follow(attendance.over)
    attendance.wait()
    group.free()
    farewell(world)


def _members(world: World, ranks: int) -> range:
    """Return the ranks of this rank's group, none if it is left over."""
    left_over = world.size % ranks
    if left_over and world.is_root:
        which = f"rank {world.size - 1} idles" if left_over == 1 else f"the last {left_over} ranks idle"
        print(
            f"hpc-ds: {which}: {world.size} is no multiple of the {ranks} ranks that compute a sample",
            file=sys.stderr,
            flush=True,
        )
    first = world.rank - world.rank % ranks
    return range(first, first + ranks) if first + ranks <= world.size else range(0)


def _load(job: Job, members: range) -> Samples | None:
    if not members:
        return None
    samples = Samples(job.folder)
    if samples.simulator.warm_up is not None:
        samples.simulator.warm_up()
    return samples


def _deaths(job: Job) -> dict[int, started.Deaths]:
    """Return which samples that are not settled were under way when jobs ended."""
    found = started.deaths(job.path)
    if found:
        settled = FolderLedger(job.path, job.session).refresh()
        for index in settled.intersection(found):
            started.forget(job.path, index)
            del found[index]
    return found


def _say_what_is_waited_for() -> None:
    print(
        "hpc-ds: waiting for samples that are under way: an MPI simulator cannot be interrupted",
        file=sys.stderr,
        flush=True,
    )
