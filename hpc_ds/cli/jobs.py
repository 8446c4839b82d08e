"""The verb `hpc-ds submit`: job scripts, chains and sweeps on clusters."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds.cli.app import app
from hpc_ds.cli.job_command import check_command, find_command, missing_files
from hpc_ds.jobs.description import Job
from hpc_ds.runtime.errors import EXIT_FAILURE, InputError

if TYPE_CHECKING:
    from hpc_ds.jobs.machines import Machine

_JOB = "Job"
_SCRIPT = "Script"


def _option(field: str, *flags: str, default: str = "", panel: str = _JOB) -> Any:
    """Return the option of a field of the job; its help is the field's docstring."""
    text = " ".join((Job.model_fields[field].description or "").split())
    return typer.Option(
        *flags, help=f"{text} (default: {default})" if default else text, rich_help_panel=panel
    )


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
    nodes: Annotated[int, _option("nodes")] = 1,
    queue: Annotated[str, _option("queue", "--queue", "--partition", "--rscgrp")] = "",
    group: Annotated[str, _option("group", "--group", "--account")] = "",
    ranks_per_node: Annotated[int | None, _option("ranks_per_node", default="one a core")] = None,
    threads: Annotated[int, _option("threads")] = 1,
    name: Annotated[str, _option("name", default="the run folder's")] = "",
    chain: Annotated[int, _option("chain")] = 1,
    requeue: Annotated[bool, _option("requeue", "--requeue")] = False,
    sweep: Annotated[list[str] | None, _option("sweep")] = None,
    at_once: Annotated[int | None, _option("at_once")] = None,
    notice: Annotated[float | None, _option("notice", default="120")] = None,
    out_logs: Annotated[
        str,
        typer.Option(
            help="Folder for script and logs. (default: beside the run folder, OUT.jobs/1)",
            rich_help_panel=_SCRIPT,
        ),
    ] = "",
    venv: Annotated[str | None, _option("venv", default="this command's", panel=_SCRIPT)] = None,
    stage_venv: Annotated[bool, _option("stage_venv", "--stage-venv", panel=_SCRIPT)] = False,
    module: Annotated[list[str] | None, _option("modules", "--module", panel=_SCRIPT)] = None,
    setup: Annotated[list[str] | None, _option("setup", panel=_SCRIPT)] = None,
    directive: Annotated[list[str] | None, _option("directives", "--directive", panel=_SCRIPT)] = None,
    volume: Annotated[list[str] | None, _option("volumes", "--volume", panel=_SCRIPT)] = None,
    llio: Annotated[str, _option("llio", panel=_SCRIPT)] = "",
    check: Annotated[
        str,
        typer.Option(
            help="Look through a job script of anybody's for what schedulers pass over in silence; submit nothing."
        ),
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

    if check:
        raise typer.Exit(_look_through(Path(check)))
    # Options that typer would call missing may stand behind a false dash, which makes them words of the command.
    words.refuse_dashes([*(command or []), *(sweep or [])])
    _check_needed(command, machine, time)
    where = informed(find_machine(machine), queue)
    values: dict[str, Any] = {
        "command": find_command(command or []),
        "machine": where,
        "nodes": nodes,
        "queue": queue,
        "group": group,
        "threads": threads,
        "chain": chain,
        "requeue": requeue,
        "sweep": read_axes(sweep or []),
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
    check_command(job)
    missing = missing_files(job)
    if missing and not dry_run:
        raise InputError(missing[0])
    lines = [submission.preview(job)] if dry_run else submission.what_next(job, submission.submit(job))
    for line in [*missing, *_warnings(job)]:  # after what may refuse the job: a refusal is one line
        typer.echo(f"hpc-ds: warning: {line}", err=True)
    for line in lines:
        typer.echo(line)


def _look_through(path: Path) -> int:
    """Print what is wrong with a script and return the exit code."""
    from hpc_ds.jobs.lint import lint

    try:
        problems = lint(path.read_bytes().decode(errors="replace"))
    except OSError as error:
        raise InputError(f"--check {path}: cannot be read ({error.strerror})") from None
    for problem in problems:
        typer.echo(f"{path}, {problem}")
    if not problems:
        typer.echo(f"{path}: nothing found")
    return EXIT_FAILURE if problems else 0


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
    paths = [*values["command"], str(workdir), values["venv"]]
    values["volumes"] = tuple(sorted({*_volumes(where, paths), *(volume or ())}))
    return make_job(values)


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


def _volumes(where: Machine, paths: Sequence[str]) -> set[str]:
    """Return the machine's volumes on which the job's paths lie, links followed."""
    if not where.volumes:
        return set()
    found = set()
    for path in paths:
        match = re.match(where.volumes, os.path.realpath(path.partition("=")[2] or path)) if path else None
        if match:
            found.add(match.group(0))
    return found


def _warnings(job: Job) -> Iterator[str]:
    where, home = job.machine, str(Path.home())
    if where.cores is None and job.ranks_per_node == 1 and where.dialect != "local":
        yield f"{where.name}'s cores are not known, so one rank a node; give --ranks-per-node"
    if where.volumes and not job.volumes:
        yield "no path of the job lies on a volume of the machine; name those it needs with --volume"
    yield from _of_environment(job)
    if not where.home_mounted and home != "/" and f"{job.workdir}/".startswith(f"{home}/"):
        yield f"compute nodes of {where.name} do not see {home}; submit from where they do, e.g. /work"
    if job.chain > 1 and any(point.out is None for point in job.points):
        yield "the command names no --out: a chain then knows only by exit codes whether it is done"
    yield from _of_script(job)


def _of_environment(job: Job) -> Iterator[str]:
    """Say that the environment is not what compute nodes need: the likeliest mistakes where they differ from here."""
    from hpc_ds.jobs.architecture import architecture

    if job.venv and not os.path.exists(os.path.join(job.venv, "bin", "activate")):
        yield f"--venv {job.venv}: no virtual environment here (bin/activate)"
    wanted = job.machine.architecture
    found = architecture(Path(job.venv) / "bin" / "python") if job.venv else None
    if wanted and found not in (None, wanted):
        yield (
            f"{job.venv} is for {found}, compute nodes of {job.machine.name} are {wanted}: "
            "make an environment on one of them and name it with --venv"
        )
    loaded = os.environ.get("LOADEDMODULES", "")
    if loaded and job.machine.dialect in ("pjm", "pbs") and not (job.modules or job.setup):
        yield f"modules that are loaded here ({loaded}) do not reach the job; name those it needs with --module"


def _of_script(job: Job) -> Iterator[str]:
    """Say what our lint finds: in a script of ours only words of the user's, or of the machine's table."""
    from hpc_ds.jobs.lint import lint
    from hpc_ds.jobs.submission import series

    one = series(job)[0]
    yield from (f"{one.script.name}, {problem}" for problem in lint(one.text))
