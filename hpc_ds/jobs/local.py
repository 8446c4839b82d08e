"""Job scripts for a machine without a scheduler: run in the background, link after link."""

from __future__ import annotations

import re

from hpc_ds.jobs.body import Scheduler, body, headline, launcher_options
from hpc_ds.jobs.description import Job
from hpc_ds.jobs.words import quote

CANCEL = "kill"


def render(job: Job) -> str:
    """Return the script of a job; links and points follow each other."""
    parts = [["#!/bin/bash", *headline(job, "shell")], body(job, _scheduler(job))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def command(job: Job, script: str, link: int, previous: str) -> list[str]:
    """Return the command that starts all links in the background and prints the id of their process."""
    links = f'for link in $(seq {job.chain}); do bash {quote(script)} "$link" || code=$?; done; exit "${{code:-0}}"'
    log = quote(f"{job.folder}/{job.name}.out")
    return ["bash", "-c", f"setsid bash -c {quote(links)} >>{log} 2>&1 </dev/null & echo $!"]


def job_id(output: str) -> str | None:
    """Return the id of the process, None if there is none."""
    found = re.fullmatch(r"\s*(\d+)\s*", output)
    return found.group(1) if found else None


def _scheduler(job: Job) -> Scheduler:
    launch = () if job.ranks == 1 else ("mpiexec", "-n", str(job.ranks), *launcher_options(job))
    return Scheduler(link="${1:-1}", task="0", end=(), launch=launch, timer=True, each_node=())
