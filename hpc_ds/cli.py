"""The command `hpc-ds`: one short function a verb."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds import __version__
from hpc_ds.infer.settings import GROWABLE, Settings
from hpc_ds.runtime.errors import (
    EXIT_AGAIN,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_FAILURE,
    InputError,
    StorageError,
)
from hpc_ds.studies import STUDIES

if TYPE_CHECKING:
    from hpc_ds.infer.model import Model
    from hpc_ds.runtime.world import World

app = typer.Typer(
    name="hpc-ds",
    help="Data-driven science on a supercomputer and, unchanged, on a laptop. Parallel: mpiexec -n N hpc-ds ...",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# typer carries its own click since 0.29 and used the package before: the class is found through typer's own.
_USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

_SAMPLING = "Sampling"
_MODEL = "Model"


def _setting(name: str, *flags: str) -> Any:
    """Return the command-line option of a setting; its help is the setting's docstring."""
    field = Settings.model_fields[name]
    text = " ".join((field.description or "").split())
    shown = f" [default: {field.default}]" if field.default not in (None, ()) else ""
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)), help=text + shown, rich_help_panel=_SAMPLING
    )


Out = Annotated[str, typer.Option("--out", "-o", help="Run folder: everything the run writes lies there.")]
Config = Annotated[
    str | None, typer.Option(help="TOML file of these options; flags win (hpc-ds init infer).")
]
Time = Annotated[
    str | None, typer.Option(help="Stop in good order after this long, e.g. 90, 5m, 2:00:00; exit code 75.")
]
Seed = Annotated[int | None, _setting("seed")]
DrawsOption = Annotated[int | None, _setting("draws")]
Tune = Annotated[int | None, _setting("tune")]
Sweeps = Annotated[int | None, _setting("sweeps")]
Copies = Annotated[int | None, _setting("copies")]
Replicas = Annotated[int | None, _setting("replicas")]
Moves = Annotated[list[str] | None, _setting("moves", "--move")]
CheckpointEvery = Annotated[float | None, _setting("checkpoint_every")]


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"hpc-ds {__version__}")
        raise typer.Exit


@app.command()
def studies() -> None:
    """List what `hpc-ds run` can run, with the reference figures of each."""
    for name, card in STUDIES.items():
        typer.echo(f"{name}: {card.title}\n  {card.source}")
        for line in card.reference:
            typer.echo(f"  {line}")


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
    tune: Tune = None,
    copies: Copies = None,
    checkpoint_every: CheckpointEvery = None,
) -> None:
    """Run the whole chain of a study, to report.html."""
    if study not in STUDIES:
        raise InputError(f"study '{study}': unknown; known are {', '.join(STUDIES)}")
    if scale not in ("quick", "full"):
        raise InputError(f"--scale '{scale}': quick or full is needed")
    import importlib

    module = importlib.import_module(STUDIES[study].module)
    table = module.data()
    values = module.settings(scale) | _sampling_options(context.params)
    extra = {
        "model": study,
        "study": STUDIES[study].title,
        "data": {"path": table.path, "n": int(table.x.size), "x_name": table.x_name, "y_name": table.y_name},
    }
    _sample_to_report(module.models(), values, out, {"study": study}, extra, [], time)


@app.command()
def infer(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="spectrum, linear, or path/to/file.py:name of your own.")],
    data: Annotated[
        str | None, typer.Argument(help="Measurements: CSV, text, NPZ or HDF5 (file.h5:/group).")
    ] = None,
    out: Out = "",
    config: Config = None,
    time: Time = None,
    peaks: Annotated[
        str | None,
        typer.Option(
            help="spectrum: numbers of peaks, e.g. 1:6 (both ends) or 2,3. [default: 1:6]",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="spectrum: gaussian, lorentzian or pseudo-voigt. [default: gaussian]", rich_help_panel=_MODEL
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            help="spectrum: none, constant, linear, exponential or shirley. [default: none]",
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
            help="estimate, given (third column), poisson (spectrum), or a standard deviation. "
            "[default: given if the file has a third column, else estimate]",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    priors: Annotated[
        str | None,
        typer.Option(
            help="spectrum: scaled from the data, or nagata2012. [default: scaled]", rich_help_panel=_MODEL
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
    tune: Tune = None,
    sweeps: Sweeps = None,
    copies: Copies = None,
    replicas: Replicas = None,
    moves: Moves = None,
    checkpoint_every: CheckpointEvery = None,
) -> None:
    """Sample posteriors and weigh models by their evidence, for your own data."""
    from hpc_ds.infer.request import build_request, read_config

    known = [name for name in context.params if name not in ("model", "data", "config")]
    given = read_config(config, known) if config else {}
    given |= {name: value for name, value in context.params.items() if name in known and _is_set(value)}
    folder = str(given.pop("out", ""))
    if not folder:
        raise InputError("--out: a run folder is needed, e.g. --out runs/first")
    limit = given.pop("time", None)
    values = {name: given.pop(name) for name in list(given) if name in Settings.model_fields}
    request = build_request(model, data, given)
    _sample_to_report(request.models, values, folder, request.config, request.extra, request.warnings, limit)


@app.command()
def report(folder: Annotated[str, typer.Argument(help="A run folder.")]) -> None:
    """Write report.html of a finished run anew."""
    from hpc_ds.report import build

    typer.echo(f"report: {build(folder)}")


@app.command()
def status(folder: Annotated[str, typer.Argument(help="A run folder, running or not.")]) -> None:
    """Say how far a run is; works on a login node."""
    from hpc_ds.runtime.folder import read_state
    from hpc_ds.runtime.progress import read_progress

    state = read_state(folder)
    alive = ", alive" if state.get("alive") else ""
    typer.echo(f"{folder}: {state['state']}{alive}")
    lines = read_progress(os.path.join(folder, "progress.jsonl"))
    if lines:
        last = lines[-1]
        typer.echo(f"{last['label']}: {last['done']} of {last['total']} scans, {last.get('phase', '')}")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A finished run folder.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
) -> None:
    """Lay the evidence and the parameters of two finished runs side by side."""
    from hpc_ds.report.compare import compare_runs

    typer.echo(compare_runs(first, second))


@app.command()
def init(engine: Annotated[str, typer.Argument(help="infer")]) -> None:
    """Print a commented configuration to start from: hpc-ds init infer > spectrum.toml."""
    if engine != "infer":
        raise InputError(f"hpc-ds init {engine}: only infer has a configuration")
    command = typer.main.get_command(app).commands["infer"]  # type: ignore[attr-defined]
    typer.echo("# hpc-ds infer spectrum data.csv --config this-file.toml --out runs/first")
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name not in ("config", "help"):
            typer.echo(
                f"\n# {parameter.help}\n# {parameter.name.replace('_', '-')} = {_example(parameter.name)}"
            )


def _example(name: str) -> str:
    examples = {
        "out": '"runs/first"', "time": '"2:00:00"', "peaks": '"1:6"', "shape": '"gaussian"', "background": '"linear"',
        "terms": '["x", "1 + x"]', "noise": '"estimate"', "priors": '"scaled"',
        "prior": '{ position = "normal(1.5, 0.447)" }', "moves": '["conditional", "metropolis", "permute"]',
        "replicas": "24",
    }  # fmt: skip
    return examples.get(name) or str(Settings.model_fields[name].default)


def _is_set(value: Any) -> bool:
    return value is not None and value not in ("", [], ())


def _sampling_options(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in Settings.model_fields and _is_set(value)}


def _sample_to_report(
    models: Sequence[Model],
    values: dict[str, Any],
    out: str,
    config: dict[str, Any],
    extra: dict[str, Any],
    warnings: Sequence[str],
    time: str | None,
) -> None:
    """Sample, then print the answer and build the report; exit code 75 if the deadline came first."""
    from hpc_ds.infer.run import estimate_line, sample
    from hpc_ds.infer.settings import make_settings
    from hpc_ds.runtime.deadline import Deadline, parse_duration
    from hpc_ds.runtime.folder import RunFolder
    from hpc_ds.runtime.world import get_world

    settings = make_settings(values)
    world = get_world()
    tell = _teller(world)
    limit = parse_duration(str(time)) if time is not None else None
    whole = {**config, **settings.model_dump()}
    growable = GROWABLE | {"data.path"}
    for line in warnings:
        tell(f"warning: {line}")
    with (
        Deadline(limit) as deadline,
        RunFolder.open(out, "infer", whole, growable, world, sys.argv, settings.seed) as folder,
    ):
        tell(estimate_line(models, settings, world))
        results = sample(
            models, settings=settings, folder=folder, world=world, deadline=deadline, extra=extra, warn=tell
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


def _teller(world: World) -> Callable[[str], None]:
    """Return a function that prints a line on stderr, on rank 0 only."""

    def tell(line: str) -> None:
        if world.is_root:
            typer.echo(f"hpc-ds: {line}", err=True)

    return tell


def main() -> None:
    """Run the command; on any error of one rank all ranks end."""
    from hpc_ds.runtime.threads import limit_threads

    limit_threads(1)
    sys.exit(_guarded())


def _guarded() -> int:
    """Run the command and return its exit code."""
    try:
        return int(app(standalone_mode=False) or EXIT_DONE)
    except typer.Exit as stop:
        return stop.exit_code
    except _USAGE_ERROR as error:
        if _is_root():
            error.show()
        return error.exit_code
    except InputError as error:
        if _is_root():
            typer.echo(f"hpc-ds: error: {error}", err=True)
        return EXIT_BAD_INPUT
    except StorageError as error:
        if _is_root():
            typer.echo(f"hpc-ds: error: {error}", err=True)
        return EXIT_FAILURE
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        _fail(error)
        return EXIT_FAILURE


def _is_root() -> bool:
    from hpc_ds.runtime.world import launched_ranks

    if launched_ranks(os.environ) in (None, 1):
        return True
    from hpc_ds.runtime.world import get_world

    return get_world().is_root


def _fail(error: Exception) -> None:
    from hpc_ds.runtime.world import fail, get_world

    world = get_world()
    if world.size == 1:
        raise error
    fail(world, error)
