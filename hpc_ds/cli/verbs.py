"""The verbs that look at runs, finished or running, and the one that gives a configuration to start from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from typing import Annotated

import typer

from hpc_ds.cli.app import app
from hpc_ds.infer.settings import Settings
from hpc_ds.runtime.errors import InputError
from hpc_ds.studies import STUDIES


@app.command()
def studies() -> None:
    """List what `hpc-ds run` can run, with the reference figures of each."""
    for name, card in STUDIES.items():
        typer.echo(f"{name}: {card.title}\n  {card.source}")
        for line in card.reference:
            typer.echo(f"  {line}")


@app.command()
def report(folder: Annotated[str, typer.Argument(help="A run folder.")]) -> None:
    """Write report.html of a finished run anew."""
    from hpc_ds.report import build

    typer.echo(f"report: {build(folder)}")


@app.command()
def status(folder: Annotated[str, typer.Argument(help="A run folder, running or not.")]) -> None:
    """Say how far a run is; works on a login node."""
    for line in _status_lines(folder):
        typer.echo(line)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A finished run folder.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
) -> None:
    """Lay two finished runs of a kind side by side: evidence and parameters, or training sets."""
    from hpc_ds.report.compare import compare_runs

    typer.echo(compare_runs(first, second))


@app.command()
def init(
    engine: Annotated[str, typer.Argument(help="infer, simulate or learn")],
    what: Annotated[
        str | None,
        typer.Argument(
            help="infer: spectrum, linear, or file.py:name. simulate: a simulator's name, file.py:name or solver.toml. "
            "learn: a network's name."
        ),
    ] = None,
) -> None:
    """Print a commented configuration to start from: hpc-ds init infer spectrum > spectrum.toml."""
    if engine == "infer":
        _init_infer(what or "spectrum")
    elif engine == "simulate":
        from hpc_ds.simulate.examples import example

        typer.echo(example(what or "burgers"))
    elif engine == "learn":
        _init_learn(what or "fno")
    else:
        raise InputError(f"hpc-ds init {engine}: infer, simulate and learn have a configuration")


def _init_infer(model: str) -> None:
    from hpc_ds.infer.request import keys_of

    data = "stars.toml" if model == "neutron-star" else "data.csv"
    typer.echo(f"# hpc-ds infer {model} {data} --config this-file.toml --out runs/first")
    known = ("out", "time", *keys_of(model), *Settings.model_fields)
    _print_options("infer", known, lambda name: _example(name, model))
    if model == "neutron-star":
        typer.echo(_STARS)


def _init_learn(network: str) -> None:
    from hpc_ds.learn.settings import EXAMPLES

    typer.echo(f"# hpc-ds learn {network} data/burgers --config this-file.toml --out runs/first")
    known = ("out", "time", "option", *EXAMPLES)
    special = {"out": '"runs/first"', "time": '"2:00:00"', "option": "{ width = 64 }"}
    _print_options("learn", known, lambda name: special.get(name) or EXAMPLES[name])


def _print_options(verb: str, known: Collection[str], example: Callable[[str], str]) -> None:
    """Print the options of a verb as comments of a TOML file, each with its help and an example."""
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name in known:
            key = parameter.name.replace("_", "-")
            typer.echo(f"\n# {parameter.help}\n# {key} = {example(parameter.name)}")


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
        "segments": '"3,4,5,7"',
        "delta": "0.02",
        "least_maximum_mass": "1.97",
        "causal": "true",
        "density_ratio": "8",
        "stars": '"J0030+0451, J0740+6620"',
        "kinds": '"pulse profile, mass"',
    }
    return examples.get(name) or str(Settings.model_fields[name].default)


_STARS = """
# stars.toml is another file: one [[star]] for each, known by numbers with errors (one, or below and above),
# by a grid of likelihoods (columns R / km, M / solar masses, density), or by samples.
#
# [[star]]
# name = "J0000+0000"
# mass = 1.42
# mass_errors = 0.04
# radius = 11.9
# radius_errors = [0.7, 0.9]
#
# [[star]]
# name = "X1"
# grid = "grid.txt"
#
# [[star]]
# name = "X2"
# samples = "samples.txt"
# columns = ["mass", "radius", "weight"]"""


def _status_lines(folder: str) -> list[str]:
    """Return how far a run is; of a study also how far each of its stages is, those begun in the order of begin."""
    from hpc_ds.runtime.folder import read_state
    from hpc_ds.runtime.progress import read_progress

    state = read_state(folder)
    killed = state["state"] == "running" and not state["alive"]
    note = f" ({state['note']})" if state["note"] else ""
    unfinished = killed or state["state"] in ("stopped", "failed")
    cure = "; the same command goes on from here" if unfinished else ""
    lines = [f"{folder}: {'killed' if killed else state['state']}{note}{cure}"]
    if state["kind"] == "study":
        return lines + [f"  {line}" for stage in _stages(folder) for line in _status_lines(stage)]
    summary = os.path.join(folder, "summary.json")
    settled = state["state"] in ("done", "stopped")
    if state["kind"] == "simulate" and settled and os.path.exists(summary):
        return [*lines, _samples(summary)]
    progress = read_progress(os.path.join(folder, "progress.jsonl"))
    if progress:
        last = progress[-1]
        figures = [str(last["phase"])] if last.get("phase") else []
        figures += [f"{last['failed']} failed"] if last.get("failed") else []
        what = {"simulate": "samples", "learn": "steps", "infer": "scans"}.get(state["kind"], "blocks")
        lines.append(", ".join([f"{last['label']}: {last['done']} of {last['total']} {what}", *figures]))
    return lines


def _stages(folder: str) -> list[str]:
    """Return the run folders of a study's stages that have begun."""
    found = [os.path.join(folder, name) for name in os.listdir(folder)]
    begun = [stage for stage in found if os.path.exists(os.path.join(stage, "state.json"))]
    return sorted(begun, key=lambda stage: os.stat(os.path.join(stage, "config.toml")).st_mtime_ns)


def _samples(summary: str) -> str:
    with open(summary, encoding="utf-8") as file:
        found = json.load(file)
    failed = f", {found['failed']} failed" if found["failed"] else ""
    return f"{found['simulator']}: {found['done']} of {found['samples']} samples{failed}"
