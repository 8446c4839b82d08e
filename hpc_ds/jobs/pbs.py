"""Job scripts for PBS Professional (Miyabi), and the commands that submit them; not tried on such a machine."""

from __future__ import annotations

import re

from hpc_ds.jobs.body import Scheduler, further_directives, mpiexec, script
from hpc_ds.jobs.description import Job
from hpc_ds.jobs.pjm import clock
from hpc_ds.jobs.words import quote

SUBMIT = "qsub"
CANCEL = "qdel"

_ID = re.compile(r"^\s*(\d+(?:\[\])?(?:\.\S+)?)\s*$", re.MULTILINE)


def render(job: Job) -> str:
    """Return the script of a job, all links of its chain and all points of its sweep."""
    return script(job, "PBS", _scheduler(job), _directives(job))


def command(job: Job, path: str, link: int, previous: str) -> list[str]:
    """Return the command that submits a link; `previous` is the id of the link before, empty for the first."""
    after = ["-W", f"depend=afterany:{previous}"] if previous else []
    return [SUBMIT, *after, *(["-v", f"HPC_DS_LINK={link}"] if job.links > 1 else []), path]


def job_id(output: str) -> str | None:
    """Return the id in qsub's answer, None if there is none."""
    found = _ID.search(output)
    return found.group(1) if found else None


def _directives(job: Job) -> list[str]:
    lines = [
        f"-N {job.name[:15]}",
        *([f"-q {job.queue}"] if job.queue else []),
        f"-l select={_chunks(job)}",
        f"-l walltime={clock(job.seconds)}",
        *([f"-W group_list={job.group}"] if job.group else []),
        *([f"-J 0-{job.tasks - 1}"] if job.tasks > 1 else []),
        "-j oe",
        f"-o {quote(f'{job.folder}/')}",
        *further_directives(job),
    ]
    return [f"#PBS {line}" for line in lines]


def _chunks(job: Job) -> str:
    # Where a job has whole nodes (Miyabi) public scripts leave ncpus out; where nodes are shared, PBS gives one core.
    cores = [f"ncpus={job.ranks_per_node * job.threads}"] if job.machine.shared_nodes else []
    threads = [f"ompthreads={job.threads}"] if job.threads > 1 else []
    return ":".join([str(job.nodes), *cores, f"mpiprocs={job.ranks_per_node}", *threads])


def _scheduler(job: Job) -> Scheduler:
    return Scheduler(
        link="${HPC_DS_LINK:-1}",
        task="${PBS_ARRAY_INDEX:-0}",
        end=(),
        launch=mpiexec(job),
        timer=True,
        each_node=(f"mpiexec -n {job.ranks}",),
    )
