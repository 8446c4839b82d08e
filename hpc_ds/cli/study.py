"""The verb `run`: published work, from the command line to the report."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds.cli.app import Time, app, seconds, teller
from hpc_ds.cli.infer import (
    CheckpointEvery,
    Copies,
    DrawsOption,
    Seed,
    Tuning,
    sample_to_report,
    sampling_options,
)
from hpc_ds.infer.settings import make_settings
from hpc_ds.runtime.errors import EXIT_AGAIN, EXIT_FAILURE, InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.studies import SCALES, STUDIES, default_folder

if TYPE_CHECKING:
    from hpc_ds.infer.request import Request
    from hpc_ds.runtime.folder import State
    from hpc_ds.runtime.world import World


@app.command()
def run(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="A study's name: see hpc-ds studies.")],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Run folder. (default: runs/STUDY, at full scale runs/STUDY-full)"),
    ] = None,
    scale: Annotated[
        str, typer.Option(help="quick: minutes on two cores; full: the published size.")
    ] = "quick",
    time: Time = None,
    seed: Seed = None,
    draws: DrawsOption = None,
    tuning: Tuning = None,
    copies: Copies = None,
    checkpoint_every: CheckpointEvery = None,
) -> None:
    """Run the whole chain of a study, to report.html."""
    from hpc_ds.runtime.world import get_world

    if study not in STUDIES:
        raise InputError(f"study '{study}': {unknown(study, STUDIES)}")
    if scale not in SCALES:
        raise InputError(f"--scale '{scale}': {' or '.join(SCALES)} is needed")
    given, limit = sampling_options(context.params), seconds(time)
    module = importlib.import_module(STUDIES[study].module)
    out = out or default_folder(study, scale)
    if hasattr(module, "chain"):
        _check_chain_options(study, given)
        _chain_to_report(study, module, scale, 0 if seed is None else seed, out, limit, get_world())
    else:
        settings = make_settings(module.settings(scale) | given)
        sample_to_report(_request(study, module), settings, out, limit, get_world())


def _check_chain_options(study: str, given: dict[str, Any]) -> None:
    """Refuse what only a study that is one sampling can take."""
    for name in given:
        if name != "seed":
            flag = name.replace("_", "-")
            raise InputError(f"--{flag}: the study {study} has several stages; --scale gives their sizes")


def _chain_to_report(
    study: str, module: Any, scale: str, seed: int, out: str, limit: float | None, world: World
) -> None:
    """Run all stages, then build the report; exit code 75 if the deadline came first."""
    from hpc_ds.runtime.deadline import Deadline
    from hpc_ds.runtime.folder import RunFolder

    if seed < 0:
        raise InputError(f"--seed {seed}: 0 or more is needed")
    config = {"study": study, "scale": scale, "seed": seed, **module.options(scale)}
    with (
        Deadline(limit) as deadline,
        RunFolder.open(out, "study", config, frozenset(), world, sys.argv, seed) as folder,
    ):
        done = module.chain(folder.path, scale, seed, world, deadline, teller(world))
        reason = deadline.reason()
        if not done:
            world.root_first(folder.set_state, *_unfinished(folder.path, reason))
            told = "the same command goes on from here" if reason else f"see hpc-ds status {out}"
            teller(world)(f"stopped: {reason or 'a stage did not end well'}; {told}")
            world.barrier()
            raise typer.Exit(EXIT_AGAIN if reason else EXIT_FAILURE)
        world.root_first(folder.set_state, "done")
        world.root_first(_conclude, folder.path)


def _unfinished(folder: Path, reason: str | None) -> tuple[State, str]:
    """Return the state of a study whose stages are not all done: without a deadline, giving it again would not help."""
    return ("stopped", reason) if reason else ("failed", f"a stage in {folder} did not end well")


def _conclude(folder: Path) -> None:
    """Build the pages of all stages that have one, then the study's, which leads to them."""
    from hpc_ds.report import PAGES, build
    from hpc_ds.report.record import kind_of

    for stage in sorted(folder.iterdir()):
        if kind_of(stage) in PAGES:
            build(stage)
    typer.echo(f"report: {build(folder)}")


def _request(study: str, module: Any) -> Request:
    from hpc_ds.infer.request import Request

    table = module.data()
    data = {"path": table.path, "n": int(table.x.size), "x_name": table.x_name, "y_name": table.y_name}
    extra = {"model": study, "study": STUDIES[study].title, "data": data}
    return Request(module.models(), {"study": study}, extra)
