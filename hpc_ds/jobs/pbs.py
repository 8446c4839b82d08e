"""Job scripts for PBS Professional (Miyabi), and the commands that submit them; not tried on such a machine."""

from __future__ import annotations

import re

from hpc_ds.jobs.body import Scheduler, body, headline, launcher_options
from hpc_ds.jobs.description import Job
from hpc_ds.jobs.pjm import clock

SUBMIT = "qsub"
CANCEL = "qdel"

_ID = re.compile(r"^\s*(\d+(?:\[\])?(?:\.\S+)?)\s*$", re.MULTILINE)


def render(job: Job) -> str:
    """Return the script of a job, all links of its chain and all points of its sweep."""
    parts = [["#!/bin/bash", *headline(job, "PBS"), *_directives(job)], body(job, _scheduler(job))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def command(job: Job, script: str, link: int, previous: str) -> list[str]:
    """Return the command that submits a link; `previous` is the id of the link before, empty for the first."""
    after = ["-W", f"depend=afterany:{previous}"] if previous else []
    return [SUBMIT, *after, *(["-v", f"HPC_DS_LINK={link}"] if job.links > 1 else []), script]


def job_id(output: str) -> str | None:
    """Return the id in qsub's answer, None if there is none."""
    found = _ID.search(output)
    return found.group(1) if found else None


def _directives(job: Job) -> list[str]:
    threads = f":ompthreads={job.threads}" if job.threads > 1 else ""
    lines = [
        f"-N {job.name[:15]}",
        *([f"-q {job.queue}"] if job.queue else []),
        f"-l select={job.nodes}:mpiprocs={job.ranks_per_node}{threads}",
        f"-l walltime={clock(job.seconds)}",
        *([f"-W group_list={job.group}"] if job.group else []),
        *([f"-J 0-{job.tasks - 1}"] if job.tasks > 1 else []),
        "-j oe",
        f"-o {job.folder}/",
        *(
            text.format(threads=job.threads, nodes=job.nodes, ranks=job.ranks)
            for text in job.machine.directives
        ),
        *job.directives,
    ]
    return [f"#PBS {line}" for line in lines]


def _scheduler(job: Job) -> Scheduler:
    return Scheduler(
        link="${HPC_DS_LINK:-1}",
        task="${PBS_ARRAY_INDEX:-0}",
        end=(),
        launch=("mpiexec", "-n", str(job.ranks), *launcher_options(job)),
        timer=True,
        each_node=(f"mpiexec -n {job.ranks}",),
    )
