"""Job scripts for SLURM, and the commands that submit them."""

from __future__ import annotations

import re

from hpc_ds.jobs.body import Scheduler, further_directives, launcher_options, mpiexec, script
from hpc_ds.jobs.description import Job
from hpc_ds.jobs.sweep import is_ours
from hpc_ds.jobs.words import quote

SUBMIT = "sbatch"
CANCEL = "scancel"

_ID = re.compile(r"^(\d+)(?:;\S+)?$", re.MULTILINE)
_SENTENCE = re.compile(r"Submitted batch job (\d+)")


def render(job: Job) -> str:
    """Return the script of a job, all links of its chain and all points of its sweep."""
    return script(job, "SLURM", _scheduler(job), _directives(job))


def command(job: Job, path: str, link: int, previous: str) -> list[str]:
    """Return the command that submits a link; `previous` is the id of the link before, empty for the first."""
    after = [f"--dependency=afterany:{previous}"] if previous else []
    return [SUBMIT, "--parsable", *after, path, *([str(link)] if job.links > 1 else [])]


def job_id(output: str) -> str | None:
    """Return the id in sbatch's answer, None if there is none."""
    found = _ID.search(output) or _SENTENCE.search(output)
    return found.group(1) if found else None


def clock(seconds: float) -> str:
    """Write a time limit as SLURM reads it, ``1-12:00:00``."""
    hours, rest = divmod(int(seconds), 3600)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"


def _directives(job: Job) -> list[str]:
    log = "%x.%A_%a.out" if job.sweep else "%x.%j.out"
    lines = [
        f"--job-name={job.name}",
        f"--nodes={job.nodes}",
        f"--ntasks-per-node={job.ranks_per_node}",
        f"--cpus-per-task={job.threads}",
        # A core with two hardware threads is one CPU: otherwise two ranks would share it, and half the node idle.
        "--threads-per-core=1",
        f"--time={clock(job.seconds)}",
        *([f"--partition={job.queue}"] if job.queue else []),
        *([f"--account={job.group}"] if job.group else []),
        *([f"--array=0-{job.tasks - 1}{f'%{job.at_once}' if job.at_once else ''}"] if job.sweep else []),
        f'--output="{str(job.folder).replace("%", "%%")}/{log}"',
        # A job that starts again, after a node died or by requeue, adds to its log; the default would empty it.
        "--open-mode=append",
        "--requeue",
        # To the batch shell alone (B:), which knows what to tell the ranks.
        f"--signal=B:USR1@{job.told_before}",
        *further_directives(job),
    ]
    return [f"#SBATCH {line}" for line in lines]


def _scheduler(job: Job) -> Scheduler:
    return Scheduler(
        link="$((${SLURM_RESTART_COUNT:-0} + 1))" if job.requeue else "${1:-1}",
        task="${SLURM_ARRAY_TASK_ID:-0}",
        end=(
            "# SLURM before 23.02 does not export SLURM_JOB_END_TIME; squeue knows it.",
            "end=${SLURM_JOB_END_TIME:-}",
            '[ -n "$end" ] || end=$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null)',
            # Not in one: `date -d ""` is midnight.
            'case $end in *-*) end=$(date -d "$end" +%s 2>/dev/null) ;; *[!0-9]*) end= ;; esac',
        ),
        launch=_launch(job),
        timer=False,
        each_node=(f"srun --ntasks={job.nodes} --ntasks-per-node=1 --cpus-per-task=1",),
        before=_before(job),
        after=_after(job),
    )


def _launch(job: Job) -> tuple[str, ...]:
    if job.machine.launcher == "mpiexec":
        return mpiexec(job)
    return (
        "srun",
        f"--ntasks={job.ranks}",
        f"--ntasks-per-node={job.ranks_per_node}",
        f"--cpus-per-task={job.threads}",
        *([f"--mpi={quote(job.machine.mpi)}"] if job.machine.mpi else []),
        "--cpu-bind=cores",
        # Ranks that stop in good order leave one by one with code 75: the first must not end the others. Ranks left
        # behind by one that died are ended after a minute; those of another program may rightly work on alone.
        "--kill-on-bad-exit=0",
        *(("--wait=60",) if any(is_ours([word]) for word in job.command) else ()),
        *launcher_options(job),
    )


def _before(job: Job) -> tuple[str, ...]:
    if job.machine.launcher != "srun":
        return ()
    lines = [
        "# Since SLURM 22.05 srun takes no --cpus-per-task from sbatch; steps of the program's own need it too.",
        f"export SRUN_CPUS_PER_TASK={job.threads}",
    ]
    if job.machine.mpi:
        plugin = quote(job.machine.mpi)
        lines += [
            "# With a plugin that the MPI library does not speak, every rank would believe to be alone.",
            f"if ! srun --mpi=list 2>&1 | grep -qw {plugin}; then",
            f'    say "srun has no MPI plugin {plugin} here (srun --mpi=list): name another in your machine\'s table"',
            "    exit 2",
            "fi",
        ]
    return tuple(lines)


def _after(job: Job) -> tuple[str, ...]:
    if not job.requeue:
        return ()
    return (
        'if [ "$code" = 75 ] && [ "$link" -lt "$links" ] && scontrol requeue "$SLURM_JOB_ID"; then',
        '    say "requeued: link $((link + 1)) of $links goes on"',
        "    exit 75",
        "fi",
    )
