"""Job scripts for a machine without a scheduler: run in the background, link after link."""

from __future__ import annotations

import re

from hpc_ds.jobs.body import Scheduler, mpiexec, script
from hpc_ds.jobs.description import Job
from hpc_ds.jobs.words import quote

CANCEL = "kill"


def render(job: Job) -> str:
    """Return the script of a job; links and points follow each other."""
    return script(job, "shell", _scheduler(job))


def command(job: Job, path: str, link: int, previous: str) -> list[str]:
    """Return the command that starts all links in the background and prints the id of their process."""
    links = (
        f'for link in $(seq {job.chain}); do bash {quote(path)} "$link" || code=$?; done; exit "${{code:-0}}"'
    )
    log = quote(f"{job.folder}/{job.name}.out")
    return ["bash", "-c", f"setsid bash -c {quote(links)} >>{log} 2>&1 </dev/null & echo $!"]


def job_id(output: str) -> str | None:
    """Return the id of the process, None if there is none."""
    found = re.fullmatch(r"\s*(\d+)\s*", output)
    return found.group(1) if found else None


def _scheduler(job: Job) -> Scheduler:
    launch = () if job.ranks == 1 else mpiexec(job)
    return Scheduler(link="${1:-1}", task="0", end=(), launch=launch, timer=True, each_node=())
