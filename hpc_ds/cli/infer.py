"""The verb `infer`: posteriors, evidence and model choice; and what it shares with studies that are one sampling."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds.cli.app import Config, OutOrFile, Time, app, is_set, seconds, setting, teller
from hpc_ds.infer.settings import GROWABLE, Settings, make_settings
from hpc_ds.runtime.errors import EXIT_AGAIN, InputError

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
def infer(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="spectrum, linear, neutron-star, or path/to/file.py:name of your own.")
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Measurements: CSV, text, NPZ or HDF5 (file.h5:/group). neutron-star: stars.toml, or observed."
        ),
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
    segments: Annotated[
        str | None,
        typer.Option(
            help="neutron-star: numbers of segments of the equation of state, e.g. 3,4,5,7 or 3:5. "
            "(default: 3,4,5,7)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(
            help="neutron-star: each squared speed of sound is uniform from delta to 1 - delta. (default: 0.02)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    least_maximum_mass: Annotated[
        float | None,
        typer.Option(
            help="neutron-star: solar masses that an equation of state must reach; 0 for no cut. (default: 1.97)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    causal: Annotated[
        bool | None,
        typer.Option(
            "--causal/--no-causal",
            help="neutron-star: leave out equations of state with sound faster than light somewhere inside a segment. "
            "(default: no)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    density_ratio: Annotated[
        float | None,
        typer.Option(
            help="neutron-star: energy density at the upper end of the segments, in units of that at the lower end, "
            "nuclear density. (default: 8)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    stars: Annotated[
        str | None,
        typer.Option(
            help="neutron-star: only these, e.g. 'J0030+0451,J0740+6620'. (default: all)",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="neutron-star observed: only stars measured by pulse profile, mass, quiescent or burster; "
            "several with commas. (default: all)",
            rich_help_panel=_MODEL,
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
    sample_to_report(*agreed(world, _read_order, model, data, config, context.params), world)


def sampling_options(values: dict[str, Any]) -> dict[str, Any]:
    """Return those of the command line's values that are settings of the sampler and were given."""
    return {name: value for name, value in values.items() if name in Settings.model_fields and is_set(value)}


def _read_order(
    model: str, data: str | None, config: str | None, params: dict[str, Any]
) -> tuple[Request, Settings, str, float | None]:
    """Return what flags and file ask for: models, settings, the run folder, the time limit."""
    from hpc_ds.infer.request import build_request
    from hpc_ds.runtime.options import read_options

    known = [name for name in params if name not in ("model", "data", "config")]
    given = read_options(config, known, tables=("prior",), switches=("causal",)) if config else {}
    given |= {name: value for name, value in params.items() if name in known and is_set(value)}
    folder = str(given.pop("out", ""))
    limit = seconds(given.pop("time", None))
    settings = make_settings({name: given.pop(name) for name in list(given) if name in Settings.model_fields})
    request = build_request(model, data, given)
    if not folder:
        raise InputError("--out: a run folder is needed, e.g. --out runs/first")
    return request, settings, folder, limit


def sample_to_report(
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
