"""Submission: from a job to its scripts, the commands that submit them, and the scheduler's answer."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hpc_ds.jobs import local, pbs, pjm, slurm
from hpc_ds.jobs.body import counted, doubts
from hpc_ds.jobs.cost import cost
from hpc_ds.jobs.description import Job
from hpc_ds.jobs.words import joined
from hpc_ds.runtime import atomic
from hpc_ds.runtime.errors import InputError, StorageError

_DIALECTS: dict[str, ModuleType] = {"slurm": slurm, "pjm": pjm, "pbs": pbs, "local": local}
_SCRIPT = "job.sh"


@dataclass(frozen=True)
class Series:
    """A script, and how often it is submitted: once for each link."""

    script: Path
    text: str
    links: int


def series(job: Job) -> list[Series]:
    """Return the scripts of a job, to be submitted one after the other.

    Raises
    ------
    InputError
        hpc-ds writes no scripts for the machine's scheduler.
    """
    dialect = _dialect(job)
    if dialect is pjm and job.sweep and job.links > 1:  # PJM has no steps of bulk jobs
        tasks = range(job.tasks)
        return [Series(job.folder / f"job-{task}.sh", pjm.render(job, task), job.links) for task in tasks]
    links = 1 if dialect is local else job.links
    return [Series(job.folder / _SCRIPT, dialect.render(job), links)]


def preview(job: Job) -> str:
    """Return scripts, commands, cost and what is not verified, as --dry-run prints them."""
    dialect, parts = _dialect(job), []
    for one in series(job):
        commands = [
            joined(dialect.command(job, str(one.script), link, "" if link == 1 else f"ID-OF-LINK-{link - 1}"))
            for link in range(1, one.links + 1)
        ]
        parts += [f"# {one.script}", one.text, *(f"submit: {line}" for line in commands)]
    parts += [
        layout(job),
        *cost(job).lines(),
        *sharing(job),
        *(f"not verified: {doubt}" for doubt in doubts(job)),
    ]
    return "\n".join(parts)


def submit(job: Job) -> list[str]:
    """Write the scripts into the job's folder, submit them and return the ids, link by link.

    Raises
    ------
    InputError
        The scheduler's command is not on this machine, or it refuses: its words are passed on. Links that were
        submitted before the refused one are cancelled.
    StorageError
        The scripts cannot be written.
    """
    dialect, planned = _dialect(job), series(job)
    _check_command(job, dialect)
    ids: list[str] = []
    made = _make_folder(job.folder)
    try:
        _write(job, planned)
        for one in planned:
            _submit_links(job, dialect, one, ids)
    except (InputError, StorageError, KeyboardInterrupt):
        _cancel(dialect, ids)
        if not ids:
            shutil.rmtree(job.folder, ignore_errors=True)
            _prune(job.folder, made)
        raise
    record = {
        "format": 1,
        "machine": job.machine.name,
        "ids": ids,
        "command": job.command,
        "out": job.points[0].out,
    }
    atomic.write_json(job.folder / "submission.json", record)
    return ids


def layout(job: Job) -> str:
    """Return the line that says how the ranks lie on the nodes, and what of a node each has."""
    machine, ranks = job.machine, job.ranks_per_node
    words = [
        f"layout: {job.nodes} x {counted(ranks, 'rank')}, {job.ranks} in all, of {counted(job.threads, 'thread')}"
    ]
    if machine.cores is not None:
        words.append(f"on {machine.cores} cores in {counted(machine.domains, 'memory domain')} a node")
        if machine.cores // machine.domains % job.threads:
            words.append("some ranks straddle two of them, which is slow")
    if machine.memory is not None:
        words.append(f"{machine.memory / ranks:.3g} GiB a rank at most")
    return ", ".join(words)


def sharing(job: Job) -> list[str]:
    """Return the line that says how the points of a sweep are shared among its jobs, none without a sweep."""
    number = len(job.points)
    if not job.sweep:
        return []
    if job.tasks == number:
        at_once = f", at most {job.at_once} at a time" if job.at_once else ""
        return [f"sweep: {number} points, a job each{at_once}"]
    each = -(-number // job.tasks)
    return [
        f"sweep: {number} points in {job.tasks} jobs, up to {each} in turn in each; what --time does not suffice for "
        "goes on when the same command is given again"
    ]


def what_next(job: Job, ids: Sequence[str]) -> list[str]:
    """Return what the user can do now, a line each."""
    all_ids = " ".join(ids)
    queue = {"slurm": f"squeue -j {','.join(ids)}", "pjm": "pjstat", "pbs": f"qstat {all_ids}"}
    outs = [point.out for point in job.points if point.out]
    lines = [f"submitted: {all_ids} ({job.name} on {job.machine.name})"]
    lines += [f"waiting or running: {queue[job.machine.dialect]}"] if job.machine.dialect in queue else []
    lines += (
        [f"how far: hpc-ds status {joined([outs[0]])}{' (and its neighbours)' if len(outs) > 1 else ''}"]
        if outs
        else []
    )
    lines += [f"script and logs: {job.folder}"]
    whole = {*ids} if job.machine.dialect != "pjm" else {one.partition("_")[0] for one in ids}
    return [*lines, f"to give it up: {_dialect(job).CANCEL} {' '.join(sorted(whole))}"]


def new_folder(out: str | None, name: str, workdir: Path) -> Path:
    """Return a folder for a submission that does not exist yet: ``OUT.jobs/1``, ``OUT.jobs/2`` and so on.

    It lies beside the run folder, which takes no other files, and is ``NAME.jobs`` where the command names none.
    """
    parent = workdir / f"{(out or name).rstrip('/')}.jobs"
    number = 1
    while os.path.exists(parent / str(number)):
        number += 1
    return parent / str(number)


def _dialect(job: Job) -> ModuleType:
    found = _DIALECTS.get(job.machine.dialect)
    if found is None:
        raise InputError(
            f"--machine '{job.machine.name}': hpc-ds writes no {job.machine.dialect.upper()} scripts; "
            "take that of a like machine from jobscripts/ and change its directives"
        )
    return found


def _check_command(job: Job, dialect: ModuleType) -> None:
    program = getattr(dialect, "SUBMIT", None)
    if program is not None and shutil.which(program) is None:
        raise InputError(
            f"{program}: not found, so nothing can be submitted to {job.machine.name} from here; "
            "give the command on its login node, or --dry-run to see the script"
        )


def _make_folder(folder: Path) -> Path:
    """Make the job's folder and return the outermost one that was not there before."""
    made = next((above for above in reversed(folder.parents) if not os.path.exists(above)), folder)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        _prune(folder, made)
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another --out-logs") from None
    return made


def _write(job: Job, planned: Sequence[Series]) -> None:
    for one in planned:
        atomic.write_text(one.script, one.text)
        one.script.chmod(0o755)
    if job.stage_venv and job.machine.staging == "tar":
        _pack(job)


def _prune(folder: Path, made: Path) -> None:
    """Remove the folders around `folder`, up to `made`, that nothing else has come into."""
    with contextlib.suppress(OSError):
        for above in itertools.takewhile(lambda each: each.is_relative_to(made), folder.parents):
            above.rmdir()


def _pack(job: Job) -> None:
    archive = job.folder / "venv.tar"
    packed = subprocess.run(
        ["tar", "-cf", str(archive), "-C", str(job.workdir / job.venv), "."], capture_output=True, text=True
    )
    if packed.returncode != 0:
        raise StorageError(0, packed.stderr.strip() or "tar failed", str(archive))


def _submit_links(job: Job, dialect: ModuleType, one: Series, ids: list[str]) -> None:
    """Submit a script once for each link, and add their ids to `ids` as they come."""
    previous = ""
    for link in range(1, one.links + 1):
        previous = _submit(dialect, dialect.command(job, str(one.script), link, previous))
        ids.append(previous)


def _submit(dialect: ModuleType, command: Sequence[str]) -> str:
    """Submit one link and return its id."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise InputError(f"{command[0]}: cannot be run ({error.strerror})") from None
    said = " ".join((answer.stderr or answer.stdout).split())
    if answer.returncode != 0:
        raise InputError(f"{command[0]} refuses (exit code {answer.returncode}): {said or 'without a word'}")
    read: Callable[[str], str | None] = dialect.job_id
    found = read(answer.stdout) or read(answer.stderr)
    if found is None:
        raise InputError(f"{command[0]} gave no job id; it said: {said or 'nothing'}")
    return found


def _cancel(dialect: ModuleType, ids: Sequence[str]) -> None:
    if ids:
        subprocess.run([dialect.CANCEL, *ids], capture_output=True, stdin=subprocess.DEVNULL)
