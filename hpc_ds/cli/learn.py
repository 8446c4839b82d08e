"""The verbs `learn`, `predict` and `export`: networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from hpc_ds.cli.app import Config, OutOrFile, Time, app, is_set, named_values, seconds, takes, teller
from hpc_ds.learn.settings import Device, Settings, make_settings
from hpc_ds.runtime.errors import EXIT_AGAIN, EXIT_FAILURE, InputError

if TYPE_CHECKING:
    from hpc_ds.learn.outcome import Outcome
    from hpc_ds.runtime.world import World

_PANELS = {
    "What is learned": (
        "input",
        "target",
        "window",
        "task",
        "loss",
        "metrics",
        "normalise",
        "augment",
        "sampling",
        "hard_ratio",
    ),
    "Training": (
        "epochs",
        "batch",
        "seed",
        "optimiser",
        "learning_rate",
        "weight_decay",
        "schedule",
        "warmup",
        "step_every",
        "step_factor",
        "clip",
        "ema",
        "patience",
        "weights",
        "freeze",
        "members",
        "bootstrap",
        "on_trouble",
        "snapshot_every",
    ),
    "Ranks and devices": (
        "lanes",
        "reduction",
        "accumulate",
        "precision",
        "activation_checkpoints",
        "device",
        "threads",
        "comm",
        "prefetch",
    ),
}
_SWITCHES = ("normalise", "bootstrap", "activation_checkpoints")


@app.command()
@takes(Settings, _PANELS)
def learn(
    network: Annotated[
        str,
        typer.Argument(
            help="fno, tfno, unet, resnet18, efficientnet-b4, inception-v3, mlp, ... or file.py:name."
        ),
    ],
    data: Annotated[str, typer.Argument(help="A training set's folder, or an HDF5 or NPZ file of arrays.")],
    out: OutOrFile = None,
    config: Config = None,
    time: Time = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the network, e.g. width=64 or modes=16; repeat it.")
    ] = None,
    **given: Any,
) -> None:
    """Train a network on a training set, the same on any number of ranks."""
    from hpc_ds.learn.distributed import learn_world
    from hpc_ds.learn.recovery import TrainingFailure
    from hpc_ds.learn.run import train
    from hpc_ds.runtime.agreement import agreed
    from hpc_ds.runtime.deadline import Deadline

    world = learn_world()
    tell = teller(world)
    flags = {"out": out, "time": time, "option": option, **given}
    asked, limit = agreed(world, _read_order, config, flags)
    try:
        with Deadline(limit) as deadline:
            outcome = train(network, data, world=world, deadline=deadline, tell=tell, **asked)
    except TrainingFailure as failure:
        tell(f"error: {failure}")
        world.barrier()
        raise typer.Exit(EXIT_FAILURE) from None
    _finish(outcome, world)


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="Folder of a training, or of an ensemble's.")],
    data: Annotated[str, typer.Argument(help="A training set's folder, or an HDF5 or NPZ file of inputs.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="HDF5 file; by default in RUN/predictions.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, valid or test; default: test of a training set and of the run's own data, all of other files."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples that are predicted together.")] = 32,
    rollout: Annotated[
        int, typer.Option(help="How often the network is applied to what it said before; 0 for once.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Threads a rank; part of the result's bits.")] = 1,
) -> None:
    """Apply a trained network to new data; works under mpiexec too."""
    from hpc_ds.learn import prediction
    from hpc_ds.learn.distributed import learn_world

    world = learn_world()
    path = prediction.predict(
        run,
        data,
        out=out,
        split=split,
        batch=batch,
        rollout=rollout,
        world=world,
        device=_device(device),
        threads=threads,
        tell=teller(world),
    )
    world.root_first(typer.echo, f"prediction: {path}")


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="Folder of a training, or of an ensemble's.")],
    file: Annotated[str, typer.Argument(help="The file to write: name.pt2 (torch.export) or name.onnx.")],
) -> None:
    """Write a trained network for other programs, its normalisation included."""
    from hpc_ds.learn.export import export_network

    typer.echo(f"export: {export_network(run, file)}")


def _device(text: str) -> Literal["auto", "cpu", "cuda"]:
    for device in get_args(Device):
        if text == device:
            return device
    raise InputError(f"--device '{text}': auto, cpu or cuda")


def _read_order(config: str | None, flags: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """Return the arguments of `train` that flags and file ask for, and the time limit."""
    from hpc_ds.runtime.options import read_options

    given = read_options(config, list(flags), ("option",), _SWITCHES) if config else {}
    given |= {name: value for name, value in flags.items() if is_set(value)}
    folder = str(given.pop("out", ""))
    if not folder:
        raise InputError("--out: a run folder is needed, e.g. --out runs/first")
    limit = seconds(given.pop("time", None))
    options = named_values(given.pop("option", {}))
    return {"folder": folder, "options": options, "settings": make_settings(given)}, limit


def _finish(outcome: Outcome, world: World) -> None:
    """Print what came of it and leave with the exit code that says so."""
    world.root_first(_conclude, outcome)
    if outcome.state == "stopped":
        world.barrier()
        raise typer.Exit(EXIT_AGAIN)


def _conclude(outcome: Outcome) -> None:
    from hpc_ds.report import build

    for line in outcome.lines():
        typer.echo(line)
    typer.echo(f"report: {build(outcome.folder)}")
