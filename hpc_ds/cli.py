"""The command `hpc-ds`: one short function a verb."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds import __version__
from hpc_ds.infer.settings import GROWABLE, Settings, make_settings
from hpc_ds.runtime.errors import EXIT_AGAIN, EXIT_BAD_INPUT, InputError
from hpc_ds.studies import STUDIES

if TYPE_CHECKING:
    from hpc_ds.infer.request import Request
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
    shown = f" (default: {field.default})" if field.default not in (None, ()) else ""
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)), help=text + shown, rich_help_panel=_SAMPLING
    )


Out = Annotated[str, typer.Option("--out", "-o", help="Run folder: everything the run writes lies there.")]
OutOrFile = Annotated[
    str | None, typer.Option("--out", "-o", help="Run folder: all that the run writes. Here or in --config.")
]
Config = Annotated[
    str | None, typer.Option(help="TOML file of these options; flags win (hpc-ds init infer).")
]
Time = Annotated[
    str | None, typer.Option(help="Stop in good order after this long, e.g. 90, 5m, 2:00:00; exit code 75.")
]
Seed = Annotated[int | None, _setting("seed")]
DrawsOption = Annotated[int | None, _setting("draws")]
Tuning = Annotated[int | None, _setting("tuning")]
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
    _sample_to_report(_study_request(study, module), settings, out, _seconds(time), get_world())


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
    killed = state["state"] == "running" and not state["alive"]
    note = f" ({state['note']})" if state["note"] else ""
    unfinished = killed or state["state"] in ("stopped", "failed")
    cure = "; the same command goes on from here" if unfinished else ""
    typer.echo(f"{folder}: {'killed' if killed else state['state']}{note}{cure}")
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
def init(
    engine: Annotated[str, typer.Argument(help="infer")],
    model: Annotated[str, typer.Argument(help="spectrum, linear, or file.py:name.")] = "spectrum",
) -> None:
    """Print a commented configuration to start from: hpc-ds init infer spectrum > spectrum.toml."""
    from hpc_ds.infer.request import keys_of

    if engine != "infer":
        raise InputError(f"hpc-ds init {engine}: only infer has a configuration")
    command = typer.main.get_command(app).commands["infer"]  # type: ignore[attr-defined]
    known = ("out", "time", *keys_of(model), *Settings.model_fields)
    typer.echo(f"# hpc-ds infer {model} data.csv --config this-file.toml --out runs/first")
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name in known:
            key = parameter.name.replace("_", "-")
            typer.echo(f"\n# {parameter.help}\n# {key} = {_example(parameter.name, model)}")


def _example(name: str, model: str) -> str:
    spectral = model == "spectrum"
    examples = {
        "out": '"runs/first"',
        "time": '"2:00:00"',
        "peaks": '"1:6"',
        "shape": '"gaussian"',
        "background": '"linear"',
        "terms": '["x", "1 + x"]',
        "noise": '"estimate"',
        "priors": '"scaled"',
        "prior": '{ position = "normal(1.5, 0.447)" }' if spectral else '{ slope = "normal(0, 10)" }',
        "moves": '["conditional", "metropolis", "permute"]' if spectral else '["metropolis", "block"]',
        "replicas": "24",
    }
    return examples.get(name) or str(Settings.model_fields[name].default)


def _is_set(value: Any) -> bool:
    return value is not None and value not in ([], ())


def _sampling_options(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in Settings.model_fields and _is_set(value)}


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
    given |= {name: value for name, value in params.items() if name in known and _is_set(value)}
    folder = str(given.pop("out", ""))
    if not folder:
        raise InputError("--out: a run folder is needed, e.g. --out runs/first")
    limit = _seconds(given.pop("time", None))
    settings = make_settings({name: given.pop(name) for name in list(given) if name in Settings.model_fields})
    return build_request(model, data, given), settings, folder, limit


def _seconds(time: Any) -> float | None:
    from hpc_ds.runtime.deadline import parse_duration

    try:
        return None if time is None else parse_duration(str(time))
    except InputError as error:
        raise InputError(f"--time: {error}") from None


def _sample_to_report(
    request: Request, settings: Settings, out: str, limit: float | None, world: World
) -> None:
    """Sample, then print the answer and build the report; exit code 75 if the deadline came first."""
    from hpc_ds.infer.preflight import check_models
    from hpc_ds.infer.run import check_growth, estimate_line, sample
    from hpc_ds.runtime.deadline import Deadline
    from hpc_ds.runtime.folder import RunFolder

    models, tell = request.models, _teller(world)
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


def _teller(world: World) -> Callable[[str], None]:
    """Return a function that prints a line on stderr, on rank 0 only."""

    def tell(line: str) -> None:
        if world.is_root:
            typer.echo(f"hpc-ds: {line}", err=True)

    return tell


def main() -> None:
    """Run the command; on any error of one rank all ranks end."""
    from hpc_ds.runtime.leaving import guarded
    from hpc_ds.runtime.threads import limit_threads

    limit_threads(1)
    sys.exit(guarded(_command))


def _command() -> int:
    """Run the command and return its exit code; what typer finds wrong is bad input like any other."""
    try:
        return int(app(standalone_mode=False) or 0)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return EXIT_BAD_INPUT
        raise InputError(error.format_message()) from None
