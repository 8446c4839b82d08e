"""Job scripts for PJM (Fujitsu Technical Computing Suite), and the commands that submit them."""

from __future__ import annotations

import re

from hpc_ds.jobs.body import Scheduler, further_directives, mpiexec, script
from hpc_ds.jobs.description import Job

SUBMIT = "pjsub"
CANCEL = "pjdel"

_BARE_ID = re.compile(r"^\s*(\d+(?:_\d+)?)\s*$", re.MULTILINE)
_SENTENCE = re.compile(r"pjsub Job (\d+(?:_\d+)?)(?:\[\S*\])? submitted")


def render(job: Job, task: int | None = None) -> str:
    """Return the script of a job; `task` of a sweep stands in it where each task has a chain of its own."""
    return script(job, "PJM", _scheduler(job, task), _directives(job))


def command(job: Job, path: str, link: int, previous: str) -> list[str]:
    """Return the command that submits a link; `previous` is the id of the link before, empty for the first."""
    return [SUBMIT, "-z", "jid", *_model(job, link, previous), path]


def job_id(output: str) -> str | None:
    """Return the id in pjsub's answer, bare as with -z jid or in its sentence, None if there is none."""
    found = _BARE_ID.search(output) or _SENTENCE.search(output)
    return found.group(1) if found else None


def clock(seconds: float) -> str:
    """Write a time limit as PJM reads it, ``36:00:00``."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"


def _model(job: Job, link: int, previous: str) -> list[str]:
    if job.links == 1:
        return ["--bulk", "--sparam", f"0-{job.tasks - 1}"] if job.sweep else []
    if not previous:
        return ["--step", "--sparam", f"sn={link}"]
    # The statement's condition deletes: a chain that is done (exit code 0) takes its later links along.
    condition = job.machine.step_end.replace("{previous}", str(link - 1))
    parts = [f"jid={previous.partition('_')[0]}", f"sn={link}", *([f"sd={condition}"] if condition else [])]
    return ["--step", "--sparam", ",".join(parts)]


def _directives(job: Job) -> list[str]:
    alone = not job.sweep and job.links == 1
    lines = [
        f"-N {job.name}",
        *([f'-L "rscgrp={job.queue}"'] if job.queue else []),
        f'-L "node={job.nodes}"',
        f'-L "elapse={clock(job.seconds)}"',
        f'--mpi "max-proc-per-node={job.ranks_per_node}"',
        *([f"-g {job.group}"] if job.group else []),
        *([f"-x PJM_LLIO_GFSCACHE={':'.join(job.volumes)}"] if job.volumes else []),
        *([f'--llio "{job.llio}"'] if job.llio else []),
        "-j",
        # %J tells the links of a chain and the tasks of a sweep apart, %j would send them all to one file.
        f'-o "{job.folder}/%n.{"%j" if alone else "%J"}.out"',
        "-S",
        *further_directives(job),
    ]
    return [f"#PJM {line}" for line in lines]


def _scheduler(job: Job, task: int | None) -> Scheduler:
    return Scheduler(
        link="${PJM_STEPNUM:-1}",
        task=str(task) if task is not None else "${PJM_BULKNUM:-0}",
        end=(),  # no variable of PJM tells the limit
        launch=mpiexec(job),
        timer=True,
        each_node=(f"mpiexec -n {job.ranks}",),
    )
