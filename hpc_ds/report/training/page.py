"""Assemble the report of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from hpc_ds.report import wording
from hpc_ds.report.frame import beside, document, figure, header, provenance, section
from hpc_ds.report.table import Table
from hpc_ds.report.table import html as as_html
from hpc_ds.report.training import classes, curves, errors, pictures, scalars, tables
from hpc_ds.report.training import wording as words
from hpc_ds.report.training.reader import Split, Training, load


def html(folder: Path) -> str:
    """Return the page for the training in `folder`, finished or not.

    Raises
    ------
    InputError
        If `folder` is no run folder, is another engine's, or holds a damaged file.
    """
    run = load(folder)
    said = words.verdict(run)
    sections = [
        _reached(run),
        _predictions(run),
        _errors(run),
        _honesty(run),
        _learning(run),
        _network(run),
        provenance(replace(run, provenance=_latest(run))),
    ]
    return document(run, said.headline, header(_title(run), said, (), _facts(run)), sections)


def _title(run: Training) -> str:
    return f"{run.network} trained on {run.data}" if run.data else f"{run.network}, a trained network"


def _facts(run: Training) -> dict[str, str]:
    parameters = run.summary.get("parameters", run.card.get("parameters"))
    best = words.best_epoch(run)
    by = f", by {words.kept_by(run)}" if words.kept_by(run) else ""
    kept = f" (epoch {wording.count(best)} kept{by})" if best is not None else ""
    members = max(len(run.members), int(wording.finite(run.settings.get("members")) or 1))
    each = f" each of {members} networks" if members > 1 else ""
    return {
        "Parameters": f"{wording.count(parameters)}{each}",
        "Epochs": f"{wording.count(words.done_epochs(run))} of {wording.count(words.asked_epochs(run))}{kept}",
        "Training took": f"{words.took(run)} on {_ranks(run)}",
        "Gradients": _reduction(run),
    }


def _ranks(run: Training) -> str:
    """Say on how many ranks the sessions ran, one after the other."""
    sessions = run.provenance.get("sessions") or [run.provenance]
    numbers = [number for number, _ in groupby(one.get("ranks") for one in sessions)]
    return ", then ".join("1 rank" if one == 1 else f"{wording.count(one)} ranks" for one in numbers)


def _latest(run: Training) -> Mapping[str, Any]:
    """Return the provenance with the ranks of all sessions, and the command that was given last."""
    sessions = run.provenance.get("sessions") or [{}]
    command = sessions[-1].get("command") or run.provenance.get("command", "")
    return {**run.provenance, "command": command, "ranks": _ranks(run)}


def _reduction(run: Training) -> str:
    kind = run.settings.get("reduction")
    if kind == "reproducible":
        return f"reproducible, {wording.count(run.settings.get('lanes'))} lanes"
    return {"fast": "fast: the same to rounding", "sharded": "sharded: the same to rounding"}.get(
        str(kind), "–"
    )


def _reached(run: Training) -> str:
    parts = _shown(tables.metrics(run))
    split = run.best
    found = classes.judged(split) if split is not None else None
    if split is not None and found is not None:
        if len(found.names) <= classes.MOST:
            parts.append(figure(*classes.matrix(found)))
        parts.append(as_html(classes.by_class(found)))
    elif split is not None and scalars.has_pairs(split):
        count = min(split.arrays["target"].shape[1], scalars.MOST)
        parts.append(
            beside(
                *(figure(*scalars.against_truth(split, place, f"pairs-{place}")) for place in range(count))
            )
        )
    return section("reached", "How well it predicts", *parts) if parts else ""


def _predictions(run: Training) -> str:
    split = run.best
    if split is None or not _drawable(split):
        return ""
    parts = _shown(tables.shown(split))
    for place in pictures.channels(split):
        parts.append(figure(*pictures.draw(split, place, run.card, f"field-{place}")))
    left = split.shown[0].target.shape[0] - len(pictures.channels(split))
    if left > 0:
        parts.append(f"<p>Not drawn: {left} more of its channels.</p>")
    return section("predictions", "Best, median and worst prediction", *parts)


def _drawable(split: Split) -> bool:
    return bool(split.shown) and 2 <= split.shown[0].target.ndim <= 4


def _errors(run: Training) -> str:
    split = run.best
    if split is None or errors.known(split).size < errors.FEWEST:
        return ""
    parts = [beside(figure(*errors.histogram(split)), figure(*errors.ranked(split)))]
    found = errors.against_parameters(split)
    if found is not None:
        parts.append(figure(*found))
    return section("errors", "Errors, sample by sample", *parts)


def _honesty(run: Training) -> str:
    """Return what tells whether the network knows how wrong it may be."""
    parts, split = list[str](), run.best
    found = classes.judged(split) if split is not None else None
    if found is not None:
        parts.append(beside(figure(*classes.reliability(found)), figure(*classes.certainty(found))))
    if split is not None:
        drawn = scalars.spread_against_error(split)
        parts += [figure(*drawn)] if drawn is not None else []
        parts += _shown(scalars.coverage(split))
    parts += _shown(tables.members(run))
    return section("honesty", "How far to trust it", *parts) if parts else ""


def _learning(run: Training) -> str:
    drawn = [figure(*found) for found in curves.figures(run)]
    return section("learning", "How it learnt", beside(*drawn)) if drawn else ""


def _network(run: Training) -> str:
    parts = [*_shown(tables.channels(run)), *_shown(tables.options(run)), *_use(run)]
    return section("network", "The network, and how to use it", *parts) if parts else ""


def _use(run: Training) -> list[str]:
    if not run.card:
        return []
    folder = str(run.folder)
    shape = (run.card.get("inputs") or {}).get("shape") or []
    told = ", ".join(["n", *map(str, shape)])
    load = ("hpc_ds.learn.prediction", "load_run") if run.members else ("hpc_ds.learn", "load_network")
    call = "prediction, spread = network.with_spread" if run.members else "prediction = network"
    lines = [
        "import torch",
        f"from {load[0]} import {load[1]}",
        "",
        f"network = {load[1]}({folder!r})",
        f"{call}(torch.as_tensor(inputs))    # inputs ({told}), all in physical units",
    ]
    return [
        "<h3>How to use it</h3>\n<p>On new data, from the command line:</p>\n",
        f"<pre><code>{escape(f'hpc-ds predict {folder} new_inputs.h5')}</code></pre>\n",
        "<p>In Python:</p>\n",
        f"<pre><code>{escape(chr(10).join(lines))}</code></pre>\n",
    ]


def _shown(table: Table | None) -> list[str]:
    return [] if table is None else [as_html(table)]
