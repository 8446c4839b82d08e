"""All checks in turn: on this machine, and under a launcher on all of them together."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hpc_ds.jobs.doctor.finding import Finding, merged
from hpc_ds.jobs.doctor.host import check_open_files, check_shared_memory
from hpc_ds.jobs.doctor.kernels import check_home, check_kernels
from hpc_ds.jobs.doctor.launcher import check_launcher
from hpc_ds.jobs.doctor.libraries import check_libraries
from hpc_ds.jobs.doctor.packages import check_packages
from hpc_ds.jobs.doctor.preload import check_preload
from hpc_ds.jobs.doctor.ranks import SIZE, check_ranks
from hpc_ds.jobs.doctor.scheduler import check_scheduler
from hpc_ds.jobs.doctor.situation import Situation
from hpc_ds.jobs.doctor.storage import check_storage
from hpc_ds.jobs.doctor.threads import check_threads, check_torch
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World, get_world

Check = Callable[[Situation], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    check_libraries,
    check_launcher,
    check_scheduler,
    check_packages,
    check_preload,
    check_threads,
    check_torch,
    check_kernels,
    check_home,
    check_storage,
    check_shared_memory,
    check_open_files,
)
"""In the order of the report. None of them loads MPI, torch or numba into this process."""

_ON_EACH_MACHINE = tuple(check for check in CHECKS if check not in (check_launcher, check_threads))
"""Under a launcher: the ranks themselves find what the two others would."""

_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")

_AT_A_TIME = 2


def diagnose(situation: Situation, world: World | None = None) -> list[Finding]:
    """Return what is well and what is not; collective over `world`, with the same result on all ranks.

    Parameters
    ----------
    situation : Situation
        Where and how runs are to go.
    world : World, optional
        The ranks of this job. Without it, or with one rank only, this machine alone is looked at, and a few
        ranks are started in a child process to see whether launcher and library belong together.
    """
    if world is None or world.size == 1:
        return examine(situation, CHECKS)
    host = platform.node()
    hosts = world.allgather(host)
    here = replace(situation, wanted_ranks=hosts.count(host))
    together = check_ranks(world, here)
    first_here = hosts.index(host) == world.rank
    found = world.gather((host, examine(here, _ON_EACH_MACHINE)) if first_here else None)
    return world.bcast([*together, *merged([each for each in found or [] if each])])


def launched_world() -> World | Finding:
    """Return the world of the ranks that a launcher started, or what is wrong with it."""
    try:
        return get_world()
    except InputError as error:
        by_srun = "SLURM_STEP_ID" in os.environ
        cure = (
            "srun --mpi=pmix hpc-ds ..."
            if by_srun
            else "hpc-ds doctor   # without launcher: it tries mpiexec"
        )
        return Finding(SIZE, "wrong", str(error), cure)


def leads(environ: Mapping[str, str]) -> bool:
    """Tell whether this is the first of the processes that a launcher started, as its variables say."""
    told = (environ[name] for name in _RANK_VARIABLES if environ.get(name, "").isdigit())
    return int(next(told, "0")) == 0


def examine(situation: Situation, checks: tuple[Check, ...]) -> list[Finding]:
    """Return the findings of the `checks` of one machine; those that start children run side by side."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return [
            finding
            for findings in pool.map(lambda check: _guarded(check, situation), checks)
            for finding in findings
        ]


def _guarded(check: Check, situation: Situation) -> list[Finding]:
    """Run one check; that it cannot be done is a finding too."""
    name = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        return list(check(situation))
    except OSError as error:
        return [Finding(name, "note", f"could not be looked at: {error}")]
