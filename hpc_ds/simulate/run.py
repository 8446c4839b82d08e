"""Generate a training set: design first, Dask's workers next, merge last; whatever dies on the way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.folder import RunFolder
from hpc_ds.runtime.world import World, get_world, install_abort_hook
from hpc_ds.simulate import session
from hpc_ds.simulate.dispatch import Tally, together
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.plan import Plan, make_plan
from hpc_ds.simulate.preflight import check_cluster, check_ranks, is_private
from hpc_ds.simulate.settings import GROWABLE, ClusterSettings, Settings, make_settings
from hpc_ds.simulate.summary import Outcome

Tell = Callable[[str], None]

_ROUNDS = 3
"""Times that samples whose rows turn out damaged are computed again before the run gives up."""

_MERGE_SPEED = 2e8
"""Bytes a second that a merge writes at least, by which it is judged whether one would end in time."""


def generate(
    simulator: str,
    *,
    folder: str | os.PathLike[str],
    parameters: str | None = None,
    options: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    cluster: ClusterSettings | None = None,
    retry_failed: bool = False,
    world: World | None = None,
    deadline: Deadline | None = None,
    tell: Tell | None = None,
    **values: Any,
) -> Outcome:
    """Compute an ensemble of simulations into one training set in The Well's layout; collective.

    Parameters
    ----------
    simulator : str
        A built-in name, ``path/to/file.py:name``, ``path/to/solver.toml`` or the name of a plug-in.
    folder : str or Path
        Run folder; what it holds is continued.
    parameters : str, optional
        TOML file of a parameter space that replaces the simulator's own.
    options : mapping, optional
        Options of the simulator, e.g. ``{"resolution": 256}``.
    settings : Settings, optional
        By default made from `values`: ``generate("burgers", folder="data/burgers", samples=1000)``.
    cluster : ClusterSettings, optional
        Who computes.
    retry_failed : bool
        Try samples again that failed in earlier sessions.
    world : World, optional
        The ranks; all ranks of the job by default.
    deadline : Deadline, optional
        When to stop in good order.
    tell : callable, optional
        Told, on rank 0, of estimates and warnings, a line each; by default prints on stderr.

    Returns
    -------
    Outcome
        What the folder now holds, on all ranks. ``state`` is ``stopped`` when the deadline came first: the same call
        continues.

    Raises
    ------
    InputError
        A simulator, a space, a design or settings that cannot be; nothing is written.
    StorageError
        The disk refuses. The same call continues when it is mended.

    Notes
    -----
    Sample i is a pure function of (configuration, seed, i), for an adaptive design also of all earlier generations: the
    bytes of ``data/`` and ``stats.yaml`` depend neither on the number of workers nor on what was killed.
    """
    if world is None:
        world = get_world()
        install_abort_hook(world)
    settings = settings or make_settings(values)
    tell = tell if tell is not None else _teller(world)
    path = Path(os.path.abspath(folder))
    cluster = cluster or ClusterSettings()
    check_cluster(world, cluster)
    if cluster.scheduler is not None and not is_private(cluster.scheduler):
        tell(
            f"warning: --scheduler {cluster.scheduler}: anybody on the way can read this and run code; use tls://"
        )
    plans: list[Plan] = []  # on rank 0 only: a simulator cannot be sent
    config, ranks = world.root_first(_plan, path, simulator, options or {}, parameters, settings, plans)
    check_ranks(world, cluster, simulator, ranks)
    with RunFolder.open(path, "simulate", config, GROWABLE, world, sys.argv, settings.seed) as opened:
        job = world.root_first(session.begin, opened.path, plans, retry_failed, tell)
        return _work(job, opened, cluster, world, deadline or Deadline(None), tell)


def merge_folder(
    folder: str | os.PathLike[str],
    *,
    world: World | None = None,
    keep_shards: bool = False,
    tell: Tell | None = None,
) -> Outcome:
    """Merge what the run folder `folder` holds so far into its training set; collective.

    A run that was stopped stays so: `generate` goes on with it.

    Raises
    ------
    InputError
        No run folder of a simulation, one in use, or one without any sample.
    StorageError
        The disk refuses; what was there is kept.
    """
    world = world or get_world()
    path = Path(os.path.abspath(folder))
    config = world.root_first(session.stored_config, path)
    with RunFolder.open(path, "simulate", config, GROWABLE, world, sys.argv, config["seed"]) as opened:
        job = world.root_first(session.resume, opened.path, config)
        world.root_first(_still_ours, opened)
        damaged = _merge(job, world, keep_shards)
        if damaged and tell is not None:
            tell(f"warning: {damaged} samples were damaged on the disk; hpc-ds simulate computes them again")
        outcome = world.root_first(session.conclude, job, Tally())
        _set_state(opened, outcome, world)
        return outcome


def _work(
    job: Job, opened: RunFolder, cluster: ClusterSettings, world: World, deadline: Deadline, tell: Tell
) -> Outcome:
    """Compute and merge until nothing is missing, or the time is up."""
    total = Tally()
    for _ in range(_ROUNDS):
        total.add(_compute(job, cluster, world, deadline))
        if total.stopped is None and _no_time_to_merge(job, world, deadline):
            total.stopped = "no time left to merge"
        if total.stopped is not None:
            break
        world.root_first(_still_ours, opened)
        damaged = _merge(job, world, job.settings.keep_shards)
        if not damaged:
            break
        tell(f"warning: {damaged} samples were damaged on the disk and are computed again")
        job = replace(job, settled=job.settled - damaged)
    outcome = world.root_first(session.conclude, job, total)
    _set_state(opened, outcome, world)
    return outcome


def _compute(job: Job, cluster: ClusterSettings, world: World, deadline: Deadline) -> Tally:
    """Have all samples settled that are not; collective."""
    from hpc_ds.simulate.campaign import Campaign
    from hpc_ds.simulate.cluster import run_on_cluster
    from hpc_ds.simulate.shares import Council, run_on_shares, schedulers_for

    if job.nothing_to_do:
        return Tally()

    def run(crew: World, council: Council | None) -> Tally | None:
        return run_on_cluster(crew, cluster, job, Campaign(job, deadline, council), deadline)

    schedulers = schedulers_for(cluster, job, world.size)
    if schedulers == 1:
        return world.bcast(run(world, None) or Tally())
    tallies = run_on_shares(world, schedulers, run, deadline)
    return world.bcast(together(tallies))


def _merge(job: Job, world: World, keep_shards: bool) -> int:
    """Merge the training set; return how many samples turned out damaged, which are then to be computed again."""
    from hpc_ds.store.merge import merge

    if not world.root_first(session.has_samples, job):
        return 0
    settings = job.settings
    report = merge(
        job.path,
        world,
        fractions=settings.split,
        samples_per_file=settings.samples_per_file,
        keep_shards=keep_shards,
    )
    if report.damaged:
        world.root_first(session.lose, job, report.damaged)
    return len(report.damaged)


def _no_time_to_merge(job: Job, world: World, deadline: Deadline) -> bool:
    seconds = world.root_first(session.bytes_to_merge, job) / _MERGE_SPEED
    return world.any(deadline.seconds_left() < seconds)


def _plan(
    path: Path,
    simulator: str,
    options: Mapping[str, Any],
    parameters: str | None,
    settings: Settings,
    plans: list[Plan],
) -> tuple[dict[str, Any], int]:
    """Make the plan on rank 0, which keeps it in `plans`; return the configuration and the ranks a sample takes."""
    plans.append(make_plan(path, simulator, options, parameters, settings))
    return plans[0].config, plans[0].simulator.ranks


def _set_state(opened: RunFolder, outcome: Outcome, world: World) -> None:
    """Set the state on all ranks, or raise on all what rank 0 meets."""
    world.root_first(_on_root, opened, outcome)
    if not world.is_root:
        opened.set_state(outcome.state)


def _still_ours(opened: RunFolder) -> None:
    """Refuse to merge in a folder that another process has taken over meanwhile."""
    opened.ensure_held()


def _on_root(opened: RunFolder, outcome: Outcome) -> None:
    opened.set_state(outcome.state, outcome.note)


def _teller(world: World) -> Tell:
    def tell(line: str) -> None:
        if world.is_root:
            print(f"hpc-ds: {line}", file=sys.stderr, flush=True)

    return tell
