"""The verb that predicts how well an engine runs on many ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from hpc_ds.cli.app import app, takes
from hpc_ds.jobs.scaling import infer, learn, simulate
from hpc_ds.jobs.scaling.networks import network as find_network
from hpc_ds.jobs.scaling.prediction import table
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.options import checked

scaling = typer.Typer(
    help="Predict the parallel efficiency of an engine on many ranks, and what limits it (docs: scaling).",
    no_args_is_help=True,
)
app.add_typer(scaling, name="scaling")

_RANKS = "100,1000,10000,100000"
_POWERS = "128,1024,8192,65536,131072"
Net = Annotated[str, typer.Option(help="tofu-d, infiniband or shared-memory.")]
Ranks = Annotated[str, typer.Option(help="Numbers of ranks, e.g. 96,4608.")]
PerNode = Annotated[int | None, typer.Option(help="Ranks of a node; by default one a core.")]
Measure = Annotated[bool, typer.Option("--measure", help="Time a unit of work here first, a few seconds.")]


@scaling.command("infer")
@takes(infer.Sizes, {"Sizes": [*infer.Sizes.model_fields]})
def _infer(
    network: Net = "tofu-d",
    ranks: Ranks = _RANKS,
    ranks_per_node: PerNode = None,
    measure: Measure = False,
    **given: Any,
) -> None:
    """Replica exchange; beside it one Allgather of all energies a scan, with rank 0 as the only writer."""
    _show("infer", infer, network, ranks, ranks_per_node, measure, given, "all energies, one writer")


@scaling.command("simulate")
@takes(simulate.Sizes, {"Sizes": [*simulate.Sizes.model_fields]})
def _simulate(
    network: Net = "tofu-d",
    ranks: Ranks = _RANKS,
    ranks_per_node: PerNode = None,
    measure: Measure = False,
    **given: Any,
) -> None:
    """An ensemble with a Dask scheduler for each 1024 ranks; beside it one for all."""
    _show("simulate", simulate, network, ranks, ranks_per_node, measure, given, "one scheduler")


@scaling.command("learn")
@takes(learn.Sizes, {"Sizes": [*learn.Sizes.model_fields]})
def _learn(
    network: Net = "tofu-d",
    ranks: Ranks = _POWERS,
    ranks_per_node: PerNode = None,
    measure: Measure = False,
    **given: Any,
) -> None:
    """A training; beside it the sum of gradients by one Alltoall and one Allgather."""
    _show("learn", learn, network, ranks, ranks_per_node, measure, given, "Alltoall, Allgather")


def _show(
    engine: str,
    model: Any,
    network: str,
    ranks: str,
    ranks_per_node: int | None,
    measure: bool,
    given: Mapping[str, Any],
    plain_name: str,
) -> None:
    found = find_network(network, ranks_per_node)
    numbers = read_ranks(ranks)
    values = {name: value for name, value in given.items() if value is not None}
    if measure:
        from hpc_ds.jobs.scaling.measure import unit

        values["unit"], what = unit(engine)
        typer.echo(f"measured here: {values['unit']:.3g} s, {what}")
    sizes = checked(model.Sizes, values)
    told = ", ".join(f"{name} {value}" for name, value in sizes.model_dump().items())
    typer.echo(f"{engine} on {network}, {found.ranks_per_node} ranks a node: {told}")
    ours = [model.predict(sizes, found, number) for number in numbers]
    plain = [model.predict_plain(sizes, found, number) for number in numbers]
    for line in table(ours, plain, plain_name):
        typer.echo(line)


def read_ranks(text: str) -> Sequence[int]:
    """Return the numbers of ranks that a user wrote, separated by commas."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise InputError(f"--ranks {text}: write numbers above 0, such as 100,1000")
    return [int(word) for word in words]
