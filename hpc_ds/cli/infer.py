"""The verbs `run` and `infer`: posteriors, evidence and model choice."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds.cli.app import Config, Out, OutOrFile, Time, app, is_set, seconds, setting, teller
from hpc_ds.infer.settings import GROWABLE, Settings, make_settings
from hpc_ds.runtime.errors import EXIT_AGAIN, InputError
from hpc_ds.studies import STUDIES

if TYPE_CHECKING:
    from hpc_ds.infer.request import Request
    from hpc_ds.runtime.world import World

_SAMPLING = "Sampling"
_MODEL = "Model"


def _setting(name: str, *flags: str) -> Any:
    return setting(Settings, name, _SAMPLING, *flags)


Seed = Annotated[int | None, _setting("seed")]
DrawsOption = Annotated[int | None, _setting("draws")]
Tuning = Annotated[int | None, _setting("tuning")]
Sweeps = Annotated[int | None, _setting("sweeps")]
Copies = Annotated[int | None, _setting("copies")]
Replicas = Annotated[int | None, _setting("replicas")]
Moves = Annotated[list[str] | None, _setting("moves", "--move")]
CheckpointEvery = Annotated[float | None, _setting("checkpoint_every")]


@app.command()
def run(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="A study's name: see hpc-ds studies.")],
    out: Out,
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
        raise InputError(f"study '{study}': unknown; known are {', '.join(STUDIES)}")
    if scale not in ("quick", "full"):
        raise InputError(f"--scale '{scale}': quick or full is needed")
    module = importlib.import_module(STUDIES[study].module)
    settings = make_settings(module.settings(scale) | _sampling_options(context.params))
    _sample_to_report(_study_request(study, module), settings, out, seconds(time), get_world())


@app.command()
def infer(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="spectrum, linear, or path/to/file.py:name of your own.")],
    data: Annotated[
        str | None, typer.Argument(help="Measurements: CSV, text, NPZ or HDF5 (file.h5:/group).")
    ] = None,
    out: OutOrFile = None,
    config: Config = None,
    time: Time = None,
    peaks: Annotated[
        str | None,
        typer.Option(
            help="spectrum: numbers of peaks, e.g. 1:6 (both ends) or 2,3. (default: 1:6)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="spectrum: gaussian, lorentzian or pseudo-voigt. (default: gaussian)", rich_help_panel=_MODEL
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            help="spectrum: none, constant, linear, exponential or shirley. (default: none)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    terms: Annotated[
        list[str] | None,
        typer.Option(
            help="linear: a sum of regressors to compare, e.g. '1 + x'; repeat it.", rich_help_panel=_MODEL
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="estimate, given (third column), a standard deviation; spectrum also: counting, poisson. "
            "(default: given if the file has a third column, else estimate)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    priors: Annotated[
        str | None,
        typer.Option(
            help="spectrum: scaled from the data, or nagata2012. (default: scaled)", rich_help_panel=_MODEL
        ),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            help="One prior, e.g. 'position=normal(1.5, 0.447)'; repeat it.", rich_help_panel=_MODEL
        ),
    ] = None,
    seed: Seed = None,
    draws: DrawsOption = None,
    tuning: Tuning = None,
    sweeps: Sweeps = None,
    copies: Copies = None,
    replicas: Replicas = None,
    moves: Moves = None,
    checkpoint_every: CheckpointEvery = None,
) -> None:
    """Sample posteriors and weigh models by their evidence, for your own data."""
    from hpc_ds.runtime.agreement import agreed
    from hpc_ds.runtime.world import get_world

    world = get_world()
    _sample_to_report(*agreed(world, _read_order, model, data, config, context.params), world)


def _sampling_options(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in Settings.model_fields and is_set(value)}


def _study_request(study: str, module: Any) -> Request:
    from hpc_ds.infer.request import Request

    table = module.data()
    data = {"path": table.path, "n": int(table.x.size), "x_name": table.x_name, "y_name": table.y_name}
    extra = {"model": study, "study": STUDIES[study].title, "data": data}
    return Request(module.models(), {"study": study}, extra)


def _read_order(
    model: str, data: str | None, config: str | None, params: dict[str, Any]
) -> tuple[Request, Settings, str, float | None]:
    """Return what flags and file ask for: models, settings, the run folder, the time limit."""
    from hpc_ds.infer.request import build_request
    from hpc_ds.runtime.options import read_options

    known = [name for name in params if name not in ("model", "data", "config")]
    given = read_options(config, known, tables=("prior",)) if config else {}
    given |= {name: value for name, value in params.items() if name in known and is_set(value)}
    folder = str(given.pop("out", ""))
    if not folder:
        raise InputError("--out: a run folder is needed, e.g. --out runs/first")
    limit = seconds(given.pop("time", None))
    settings = make_settings({name: given.pop(name) for name in list(given) if name in Settings.model_fields})
    return build_request(model, data, given), settings, folder, limit


def _sample_to_report(
    request: Request, settings: Settings, out: str, limit: float | None, world: World
) -> None:
    """Sample, then print the answer and build the report; exit code 75 if the deadline came first."""
    from hpc_ds.infer.preflight import check_models
    from hpc_ds.infer.run import check_growth, estimate_line, sample
    from hpc_ds.runtime.deadline import Deadline
    from hpc_ds.runtime.folder import RunFolder

    models, tell = request.models, teller(world)
    check_models(models, settings, world)
    world.root_first(check_growth, out, settings)
    whole = {**request.config, **settings.model_dump()}
    with (
        Deadline(limit) as deadline,
        RunFolder.open(
            out, "infer", whole, GROWABLE | {"data.path"}, world, sys.argv, settings.seed
        ) as folder,
    ):
        for line in request.warnings:
            tell(f"warning: {line}")
        tell(estimate_line(models, settings, world))
        results = sample(
            models,
            settings=settings,
            folder=folder,
            world=world,
            deadline=deadline,
            extra=request.extra,
            warn=lambda line: tell(f"warning: {line}"),
        )
        if folder.state == "stopped":
            tell(f"stopped: {deadline.reason()}; the same command goes on from here")
            world.barrier()
            raise typer.Exit(EXIT_AGAIN)
        world.root_first(_conclude, results.summary() if results is not None else None, str(folder.path))


def _conclude(summary: dict[str, Any] | None, folder: str) -> None:
    from rich.console import Console

    from hpc_ds.report import build
    from hpc_ds.report.tables import terminal

    page = build(folder)
    if summary is not None:
        Console().print(terminal(summary))
    typer.echo(f"report: {page}")
