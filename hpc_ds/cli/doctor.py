"""The verb that finds what on this machine will stop or spoil runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpc_ds.cli.app import app
from hpc_ds.runtime.errors import EXIT_FAILURE

if TYPE_CHECKING:
    from hpc_ds.jobs.doctor import Finding


@app.command()
def doctor(
    out: Annotated[
        str, typer.Option("--out", "-o", help="Where runs are to go; its file system is tried.")
    ] = ".",
    ranks: Annotated[
        int | None,
        typer.Option(min=1, help="Ranks that a machine will get (default: what the scheduler says, or 1)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Find what on this machine will stop or spoil runs, and say how to mend it; exit code 1 if something will.

    Safe on login nodes: MPI is tried in a child process. mpiexec -n N hpc-ds doctor tries all ranks together.
    """
    from hpc_ds.jobs.doctor import Finding, Situation, diagnose, launched_world, leads, worst

    situation = Situation(Path(out), ranks)
    world = launched_world()
    if isinstance(world, Finding):
        speaks = leads(situation.environ)
        findings = [world, *diagnose(situation)] if speaks else [world]
    else:
        findings = diagnose(situation, world)
        speaks = world.is_root
    if speaks:
        _print(findings, as_json=json)
    if not isinstance(world, Finding):
        world.barrier()
    if worst(findings) == "wrong":
        raise typer.Exit(EXIT_FAILURE)


def _print(findings: list[Finding], *, as_json: bool) -> None:
    if not as_json:
        from hpc_ds.jobs.doctor.table import show

        show(findings)
        return
    import json
    import platform
    from dataclasses import asdict

    from hpc_ds.jobs.doctor import worst

    report = {"format": 1, "host": platform.node(), "state": worst(findings)}
    typer.echo(json.dumps(report | {"findings": [asdict(each) for each in findings]}, indent=1))
