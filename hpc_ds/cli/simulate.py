"""The verbs `simulate`, `merge` and `check`: training sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpc_ds.cli.app import Config, OutOrFile, Time, app, is_set, named_values, seconds, setting, teller
from hpc_ds.runtime.errors import EXIT_AGAIN, EXIT_FAILURE, EXIT_PARTLY, InputError
from hpc_ds.simulate.settings import ClusterSettings, Settings, make_cluster_settings, make_settings

if TYPE_CHECKING:
    from hpc_ds.runtime.world import World
    from hpc_ds.simulate.summary import Outcome

_SET = "Training set"
_CLUSTER = "Who computes"
_TABLES = ("option",)
_SWITCHES = ("keep_shards", "dashboard", "retry_failed")


def _setting(name: str, **more: Any) -> Any:
    return setting(Settings, name, _SET, **more)


def _cluster(name: str) -> Any:
    return setting(ClusterSettings, name, _CLUSTER)


@app.command()
def simulate(
    context: typer.Context,
    simulator: Annotated[
        str,
        typer.Argument(
            help="burgers, navier-stokes, darcy, lorenz96, lorenz96-two-level, file.py:name or solver.toml."
        ),
    ],
    out: OutOrFile = None,
    config: Config = None,
    time: Time = None,
    samples: Annotated[int | None, _setting("samples")] = None,
    design: Annotated[str | None, _setting("design")] = None,
    seed: Annotated[int | None, _setting("seed")] = None,
    parameters: Annotated[
        str | None,
        typer.Option(
            help="TOML file of the parameter space, instead of the simulator's own.", rich_help_panel=_SET
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the simulator, e.g. resolution=256; repeat it.", rich_help_panel=_SET),
    ] = None,
    generation: Annotated[int | None, _setting("generation")] = None,
    watch: Annotated[str | None, _setting("watch")] = None,
    split: Annotated[str | None, _setting("split")] = None,
    samples_per_file: Annotated[int | None, _setting("samples_per_file")] = None,
    sample_limit: Annotated[str | None, _setting("sample_limit")] = None,
    retries: Annotated[int | None, _setting("retries")] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try samples again that failed before.", rich_help_panel=_SET),
    ] = False,
    keep_shards: Annotated[bool, setting(Settings, "keep_shards", _SET, "--keep-shards")] = False,
    launcher: Annotated[str | None, _cluster("launcher")] = None,
    scheduler: Annotated[str | None, _cluster("scheduler")] = None,
    schedulers: Annotated[int | None, _cluster("schedulers")] = None,
    processes: Annotated[int | None, _cluster("processes")] = None,
    interface: Annotated[str | None, _cluster("interface")] = None,
    dashboard: Annotated[bool, setting(ClusterSettings, "dashboard", _CLUSTER, "--dashboard")] = False,
) -> None:
    """Run a physics ensemble into one training set that The Well's reader opens."""
    from hpc_ds.runtime.agreement import agreed
    from hpc_ds.runtime.deadline import Deadline
    from hpc_ds.runtime.world import get_world
    from hpc_ds.simulate.dispatch import Halt
    from hpc_ds.simulate.run import generate

    world = get_world()
    tell = teller(world)
    given, limit = agreed(world, _read_order, config, context.params)
    try:
        with Deadline(limit) as deadline:
            outcome = generate(simulator, world=world, deadline=deadline, tell=tell, **given)
    except Halt as halt:
        tell(f"error: {halt}")
        world.barrier()
        raise typer.Exit(EXIT_FAILURE) from None
    _finish(outcome, world)


@app.command()
def merge(
    folder: Annotated[str, typer.Argument(help="Run folder of a simulation.")],
    keep_shards: Annotated[bool, setting(Settings, "keep_shards", _SET, "--keep-shards")] = False,
) -> None:
    """Merge what a stopped simulation has into a training set; works under mpiexec too."""
    from hpc_ds.runtime.world import get_world
    from hpc_ds.simulate.run import merge_folder

    world = get_world()
    tell = teller(world)
    world.root_first(_conclude, merge_folder(folder, world=world, keep_shards=keep_shards, tell=tell))


@app.command()
def check(
    folder: Annotated[str, typer.Argument(help="A training set: ours, or any in The Well's layout.")],
) -> None:
    """Check a training set: The Well's rules, checksums, completeness, statistics."""
    from hpc_ds.runtime.world import get_world

    if get_world().root_first(_check, folder):
        raise typer.Exit(EXIT_FAILURE)


def _read_order(config: str | None, params: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """Return the arguments of `generate` that flags and file ask for, and the time limit."""
    from hpc_ds.runtime.options import read_options

    known = [name for name in params if name not in ("simulator", "config")]
    given = read_options(config, known, _TABLES, _SWITCHES) if config else {}
    given |= {
        name: value
        for name, value in params.items()
        if name in known and is_set(value) and value is not False
    }
    folder = str(given.pop("out", ""))
    if not folder:
        raise InputError("--out: a run folder is needed, e.g. --out data/first")
    limit = seconds(given.pop("time", None))
    return {
        "folder": folder,
        "parameters": given.pop("parameters", None),
        "options": named_values(given.pop("option", {})),
        "retry_failed": given.pop("retry_failed", False),
        "cluster": make_cluster_settings(_taken(given, ClusterSettings)),
        "settings": make_settings(given),
    }, limit


def _taken(given: dict[str, Any], model: type[ClusterSettings]) -> dict[str, Any]:
    return {name: given.pop(name) for name in list(given) if name in model.model_fields}


def _finish(outcome: Outcome, world: World) -> None:
    """Print what came of it and leave with the exit code that says so."""
    world.root_first(_conclude, outcome)
    if outcome.state == "stopped":
        world.barrier()
        raise typer.Exit(EXIT_AGAIN)
    if outcome.failed:
        raise typer.Exit(EXIT_PARTLY)


def _conclude(outcome: Outcome) -> None:
    from hpc_ds.report import build

    for line in outcome.lines():
        typer.echo(line)
    typer.echo(f"report: {build(outcome.folder)}")


def _check(folder: str) -> int:
    """Print what is found and return how many errors there are."""
    from hpc_ds.store.check import check as check_folder

    findings = check_folder(folder)
    for finding in findings:
        typer.echo(str(finding))
    errors = sum(finding.severity == "error" for finding in findings)
    typer.echo(f"{folder}: {_counted(errors, 'error')}, {_counted(len(findings) - errors, 'warning')}")
    return errors


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
