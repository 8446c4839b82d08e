"""The verb `submit`: job scripts, chains and sweeps on clusters."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds.cli.app import app
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.studies import STUDIES

if TYPE_CHECKING:
    from hpc_ds.jobs.description import Job
    from hpc_ds.jobs.machines import Machine
    from hpc_ds.jobs.sweep import Axis

_JOB = "Job"
_SCRIPT = "Script"


@app.command(context_settings={"allow_interspersed_args": False})
def submit(
    command: Annotated[
        list[str] | None, typer.Argument(help="After --: the command that all ranks run.")
    ] = None,
    machine: Annotated[
        str, typer.Option(help="fugaku, wisteria-o, slurm, ... or one of your own table; needed.")
    ] = "",
    time: Annotated[
        str,
        typer.Option(
            help="Time limit of a job, e.g. 30m, 6:00:00 or 1-12:00:00; needed.", rich_help_panel=_JOB
        ),
    ] = "",
    nodes: Annotated[int, typer.Option(help="Nodes of a job.", rich_help_panel=_JOB)] = 1,
    queue: Annotated[
        str,
        typer.Option(
            "--queue",
            "--partition",
            "--rscgrp",
            help="Partition, resource group or queue.",
            rich_help_panel=_JOB,
        ),
    ] = "",
    group: Annotated[
        str,
        typer.Option(
            "--group", "--account", help="Project that pays: group or account.", rich_help_panel=_JOB
        ),
    ] = "",
    ranks_per_node: Annotated[
        int | None, typer.Option(help="Ranks on a node. (default: one a core)", rich_help_panel=_JOB)
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of a rank.", rich_help_panel=_JOB)] = 1,
    name: Annotated[
        str, typer.Option(help="Name of the job. (default: the run folder's)", rich_help_panel=_JOB)
    ] = "",
    chain: Annotated[
        int, typer.Option(help="Jobs that follow each other until the run is done.", rich_help_panel=_JOB)
    ] = 1,
    requeue: Annotated[
        bool,
        typer.Option(
            "--requeue", help="SLURM: requeue one job instead of a chain of jobs.", rich_help_panel=_JOB
        ),
    ] = False,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="key=a,b,c: a run for each value of an option; repeat it for all combinations.",
            rich_help_panel=_JOB,
        ),
    ] = None,
    at_once: Annotated[
        int | None, typer.Option(help="Most jobs of a sweep at a time.", rich_help_panel=_JOB)
    ] = None,
    notice: Annotated[
        float | None,
        typer.Option(
            help="Seconds before the limit at which ranks are told to stop. (default: 120)",
            rich_help_panel=_JOB,
        ),
    ] = None,
    out_logs: Annotated[
        str,
        typer.Option(
            help="Folder for script and logs. (default: beside the run folder, OUT.jobs/1)",
            rich_help_panel=_SCRIPT,
        ),
    ] = "",
    venv: Annotated[
        str | None,
        typer.Option(
            help="Virtual environment to activate; '' for none. (default: this command's)",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    stage_venv: Annotated[
        bool,
        typer.Option(
            "--stage-venv", help="Bring it to the nodes' own storage first.", rich_help_panel=_SCRIPT
        ),
    ] = False,
    module: Annotated[
        list[str] | None, typer.Option(help="Module to load; repeat it.", rich_help_panel=_SCRIPT)
    ] = None,
    setup: Annotated[
        list[str] | None, typer.Option(help="Shell line to run first; repeat it.", rich_help_panel=_SCRIPT)
    ] = None,
    directive: Annotated[
        list[str] | None,
        typer.Option(
            help="More of the scheduler's options, e.g. --directive=--qos=high; repeat it.",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            help="Fugaku: volume the job needs, e.g. /vol0004. (default: those of its paths)",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    llio: Annotated[
        str, typer.Option(help="Fugaku: sizes, e.g. localtmp-size=10Gi.", rich_help_panel=_SCRIPT)
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print script, command and cost; submit nothing.")
    ] = False,
) -> None:
    """Write a job script, submit it, and let further jobs go on until the run is done."""
    from hpc_ds.jobs import submission, words
    from hpc_ds.jobs.machines import machine as find_machine
    from hpc_ds.jobs.partitions import informed
    from hpc_ds.jobs.sweep import read_axes

    # Options that typer would call missing may stand behind a false dash, which makes them words of the command.
    words.refuse_dashes([*(command or []), *(sweep or [])])
    _check_needed(command, machine, time)
    where = informed(find_machine(machine), queue)
    axes = read_axes(sweep or [])
    values: dict[str, Any] = {
        "command": _with_folder(_found(command or [])),
        "machine": where,
        "nodes": nodes,
        "queue": queue,
        "group": group,
        "threads": threads,
        "chain": chain,
        "requeue": requeue,
        "sweep": axes,
        "at_once": at_once,
        "notice": notice,
        "stage_venv": stage_venv,
        "modules": tuple(module or ()),
        "setup": tuple(setup or ()),
        "directives": tuple(directive or ()),
        "llio": llio,
        "venv": _own_venv() if venv is None else venv,
    }
    job = _job(values, time, ranks_per_node, name, out_logs, volume)
    _check_program(job, axes)
    lines = [submission.preview(job)] if dry_run else submission.what_next(job, submission.submit(job))
    for line in _warnings(job):  # after what may refuse the job: a refusal is one line
        typer.echo(f"hpc-ds: warning: {line}", err=True)
    for line in lines:
        typer.echo(line)


def _check_needed(command: list[str] | None, machine: str, time: str) -> None:
    for flag, given, example in (("--machine", machine, "slurm"), ("--time", time, "6:00:00")):
        if not given:
            raise InputError(f"{flag}: is needed, e.g. {flag} {example}")
    if not command:
        raise InputError("no command: give it after --, e.g. -- hpc-ds run spectrum --out runs/spectrum")


def _job(
    values: dict[str, Any],
    time: str,
    ranks_per_node: int | None,
    name: str,
    out_logs: str,
    volume: list[str] | None,
) -> Job:
    """Return the checked job: what was not said is taken from the machine, the command and this place."""
    from hpc_ds.jobs import submission
    from hpc_ds.jobs.description import make_job, span
    from hpc_ds.jobs.sweep import out_of

    workdir, where = Path.cwd(), values["machine"]
    out = out_of(values["command"])
    values |= {"workdir": workdir, "seconds": span(time), "name": name or _name(values["command"], out)}
    values["folder"] = (
        Path(os.path.abspath(out_logs)) if out_logs else submission.new_folder(out, values["name"], workdir)
    )
    if ranks_per_node is None:
        ranks_per_node = max(1, (where.cores or 1) // max(1, values["threads"]))
    values["ranks_per_node"] = ranks_per_node
    values["volumes"] = tuple(volume or _volumes(where, [*values["command"], str(workdir), values["venv"]]))
    return make_job(values)


def _found(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command, its program by a name that a job finds too."""
    program = command[0]
    if shutil.which(program) is not None:
        return tuple(command)
    beside = Path(sys.executable).with_name(program)
    if "/" not in program and beside.exists():
        return (str(beside), *command[1:])
    raise InputError(
        f"command '{program}': not found here; name a program on the PATH or by its path, after --"
    )


def _with_folder(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command, of a study with the run folder that it takes by itself: the script must know it."""
    from hpc_ds.jobs.sweep import is_ours, out_of
    from hpc_ds.studies import SCALES, STUDIES, default_folder

    if not is_ours(command) or command[1:2] != ("run",) or out_of(command) is not None:
        return command
    study = next((word for word in command[2:] if word in STUDIES), None)
    if study is None:
        return command
    full = any(word in (SCALES[1], f"--scale={SCALES[1]}") for word in command)
    return (*command, "--out", default_folder(study, SCALES[full]))


def _own_venv() -> str:
    return sys.prefix if sys.prefix != sys.base_prefix else ""


def _name(command: Sequence[str], out: str | None) -> str:
    word = (
        Path(out).name
        if out
        else "-".join(Path(word).stem for word in command[:2] if not word.startswith("-"))
    )
    clean = re.sub(r"[^A-Za-z0-9._@-]+", "-", re.sub(r"\{[^}]*\}", "", word)).strip("-.")
    return (clean if clean[:1].isalpha() else f"run-{clean}")[:63].rstrip("-.")


def _volumes(where: Machine, paths: Sequence[str]) -> list[str]:
    """Return the machine's volumes on which the job's paths lie, links followed."""
    if not where.volumes:
        return []
    found = set()
    for path in paths:
        match = re.match(where.volumes, os.path.realpath(path.partition("=")[2] or path)) if path else None
        if match:
            found.add(match.group(0))
    return sorted(found)


def _warnings(job: Job) -> list[str]:
    lines = []
    if job.machine.cores is None and job.ranks_per_node == 1 and job.machine.dialect != "local":
        lines.append(f"{job.machine.name}'s cores are not known, so one rank a node; give --ranks-per-node")
    if job.machine.volumes and not job.volumes:
        lines.append("no path of the job lies on a volume of the machine; name those it needs with --volume")
    lines += _other_processors(job)
    home = str(Path.home())
    if not job.machine.home_mounted and home != "/" and f"{job.workdir}/".startswith(f"{home}/"):
        lines.append(
            f"compute nodes of {job.machine.name} do not see {home}; submit from where they do, e.g. /work"
        )
    if job.chain > 1 and any(point.out is None for point in job.points):
        lines.append("the command names no --out: a chain then knows only by exit codes whether it is done")
    return lines


def _other_processors(job: Job) -> list[str]:
    """Say that Python was built for the login node's processors: the likeliest mistake where the two differ."""
    from hpc_ds.jobs.architecture import architecture

    wanted, python = job.machine.architecture, Path(job.venv) / "bin" / "python"
    found = architecture(python) if job.venv else None
    if not wanted or found in (None, wanted):
        return []
    return [
        f"{job.venv} is for {found}, compute nodes of {job.machine.name} are {wanted}: "
        "make an environment on one of them and name it with --venv"
    ]


def _check_program(job: Job, axes: Sequence[Axis]) -> None:
    """Let hpc-ds itself read each command of the job, so that no job waits in a queue only to refuse its options."""
    from hpc_ds.jobs.sweep import is_ours

    if not is_ours(job.command):
        return
    for axis in axes:
        _check_key(job.command, axis)
    for point in job.points:
        _parse(point.command[1:])


def _check_key(command: Sequence[str], axis: Axis) -> None:
    if any(f"{{{axis.key}}}" in word for word in command):
        return
    verb = _verb(command[1:])
    known = [flag.removeprefix("--") for one in verb.params for flag in one.opts if flag.startswith("--")]
    key = axis.key.partition(".")[0].replace("_", "-")
    if key not in known:
        raise InputError(
            f"--sweep {axis.key}: hpc-ds {command[1]} has no such option; {unknown(key, known, 'options')}"
        )


def _verb(words: Sequence[str]) -> Any:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    word = words[0] if words else ""
    if word not in verbs:
        raise InputError(f"command 'hpc-ds {word}': no such verb; {unknown(word, verbs, 'verbs')}")
    return verbs[word]


def _parse(words: Sequence[str]) -> None:
    verb = _verb(words)
    try:
        given = verb.make_context(f"hpc-ds {words[0]}", list(words[1:])).params
    except typer.Exit:  # --help
        return
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        told = " ".join(error.format_message().split())
        raise InputError(f"command 'hpc-ds {words[0]}': {told}") from None
    if words[0] == "run" and given["study"] not in STUDIES:
        raise InputError(f"study '{given['study']}': {unknown(given['study'], STUDIES)}")
