"""Assemble the report: one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hpc_ds.report import corner, exact, figures, ladder, style, tables, wording
from hpc_ds.report.reader import Arrays, Model, Run, load
from hpc_ds.report.table import Table
from hpc_ds.report.table import html as as_html
from hpc_ds.runtime.atomic import write_text

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def build(folder: str | Path) -> Path:
    """Write ``report.html`` into the run folder ``folder`` and return its path.

    Only what the run left there is read: ``summary.json``, ``config.toml``, ``provenance.json``,
    ``state.json`` and ``posterior/*.h5``. The page replaces an older one in one step, so that a reader never
    meets half of it.

    Raises
    ------
    hpc_ds.runtime.errors.InputError
        If ``folder`` is no run folder, has no results yet, or holds a damaged file.
    """
    run = load(folder)
    path = run.folder / "report.html"
    write_text(path, html(run))
    return path


def html(run: Run) -> str:
    """Return the page for ``run`` as text."""
    said = wording.verdict(run.summary)
    sections = [
        _best_fit(run),
        _models(run),
        _closed_form(run),
        _model_by_model(run),
        _sampling(run),
        _provenance(run),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(said.headline)}</title>\n<style>\n{style.sheet()}</style>\n</head>\n<body>\n"
        f"{_header(run, said)}\n<main>\n{''.join(sections)}</main>\n{_footer(run)}\n</body>\n</html>\n"
    )


def _header(run: Run, said: wording.Verdict) -> str:
    notes = [*_unfinished(run), *said.notes]
    items = "".join(f"<li>{_unbroken(note)}</li>" for note in notes)
    return (
        f"<header>\n<h1>{escape(_question(run))}</h1>\n"
        f'<p class="verdict">{_unbroken(said.headline)}</p>\n'
        f"{f'<ul class=notes>{items}</ul>' if items else ''}{_facts(run)}</header>"
    )


def _unbroken(text: str) -> str:
    """Escape ``text`` and keep "4 (41 %)" on one line."""
    return re.sub(r" (?=\(|%)", "&nbsp;", escape(text))


def _question(run: Run) -> str:
    file = Path(run.data_path).name
    counted = all(wording.peaks(model.name) is not None for model in run.models)
    if len(run.models) > 1:
        return f"How many peaks are there in {file}?" if counted else f"Which model describes {file}?"
    return f"{file}, described by {wording.title(run.models[0].name)}"


def _unfinished(run: Run) -> list[str]:
    told = {
        "running": "This run is still going on, or was killed: the numbers are those of its last results.",
        "stopped": "This run stopped before its end: run the same command again to finish it.",
        "failed": "This run failed before its end: the numbers are those of its last results.",
    }
    if run.state not in told:
        return []
    return [f"{told[run.state]} ({run.note})" if run.note else told[run.state]]


def _facts(run: Run) -> str:
    best, data = run.best.entry, run.summary.get("data", {})
    number = len(run.models)
    trusted = sum(wording.trusted(model.entry) for model in run.models)
    facts = {
        "Most probable model" if number > 1 else "Model": wording.title(run.best.name),
        "Its log evidence": wording.with_error(best.get("log_evidence"), best.get("log_evidence_error")),
        "Data points": wording.count(data.get("n")),
        "Well sampled": f"{trusted} of {number} models" if number > 1 else ("yes" if trusted else "no"),
    }
    cells = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items()
    )
    return f'<dl class="facts">{cells}</dl>\n'


def _best_fit(run: Run) -> str:
    if not _has_curves(run.best):
        return ""
    return _section(
        "fit", f"The data and the best model: {wording.title(run.best.name)}", _fit(run, run.best)
    )


def _models(run: Run) -> str:
    summary, parts = run.summary, []
    if len(run.models) > 1:
        parts.append(
            '<div class="two">'
            + _figure(figures.evidence(summary), _EVIDENCE)
            + _figure(figures.probability(summary), _PROBABILITY)
            + "</div>"
        )
    parts.append(as_html(tables.evidence(summary)))
    return _section("models", "How the models compare" if len(run.models) > 1 else "Evidence", *parts)


def _closed_form(run: Run) -> str:
    """Return what is known exactly; nothing for models that never have a closed form."""
    parts = [*_shown(exact.evidence(run.summary)), *_shown(exact.choice(run.summary))]
    told = [exact.meaning(run.summary), *exact.missing(run.summary)]
    parts += [f"<p>{_unbroken(line)}</p>" for line in told if line]
    return _section("closed-form", "Beside the closed form", *parts) if parts else ""


def _shown(table: Table | None) -> list[str]:
    return [] if table is None else [as_html(table)]


def _model_by_model(run: Run) -> str:
    parts = [_model(run, model, index) for index, model in enumerate(run.models)]
    return _section("parameters", "Model by model" if len(parts) > 1 else "The model", *parts)


def _model(run: Run, model: Model, index: int) -> str:
    best = model is run.best
    parts = []
    if _has_curves(model) and not best:
        parts.append(_fit(run, model, f"fit-{index}"))
    if model.entry.get("parameters"):
        parts.append(as_html(tables.parameters(model.entry)))
    parts += _shown(exact.parameters(run.summary, model.entry))
    names = corner.chosen(model)
    if names:
        parts.append(_figure(corner.draw(model, f"pairs-{index}", names), _pairs_caption(names)))
    parts.append(_ladder(model, index))
    share = wording.percent(wording.finite(model.entry.get("probability")))
    aside = ", ".join([share] * (len(run.models) > 1) + [wording.advice(model.entry)])
    title = f"{escape(wording.heading(model.name))}<span>{escape(aside)}</span>"
    body = "".join(parts) or "<p>This model left no posterior file.</p>"
    return f"<details{' open' if best else ''}><summary>{title}</summary><div>{body}</div></details>\n"


def _ladder(model: Model, index: int) -> str:
    parts = []
    if _holds(model.ladder, "rejection"):
        parts.append(_figure(ladder.rejection(model, f"rejection-{index}"), _REJECTION))
    if _holds(model.ladder, "beta") and _holds(model.ladder, "barrier"):
        parts.append(_figure(ladder.barrier(model, f"barrier-{index}"), _BARRIER))
    return f'<div class="two">{"".join(parts)}</div>' if parts else ""


def _holds(arrays: Arrays, name: str) -> bool:
    return name in arrays and bool(np.isfinite(arrays[name]).any())


def _sampling(run: Run) -> str:
    parts = []
    if ladder.has_round_trips(run.summary):
        parts.append(_figure(ladder.round_trips(run.summary), _ROUND_TRIPS))
    parts += [as_html(tables.diagnostics(run.summary)), as_html(tables.estimators(run.summary))]
    return _section("sampling", "How well it was sampled", *parts)


def _provenance(run: Run) -> str:
    facts = {"data file": run.data_path, **_told(run.provenance)}
    items = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items() if value
    )
    config = (
        f"<details><summary>Configuration</summary><div><pre>{escape(run.config)}</pre></div></details>"
        if run.config
        else ""
    )
    return _section("provenance", "Where it comes from", f'<dl class="provenance">{items}</dl>', config)


def _told(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Write the items of the provenance that a reader needs to do it again, in that order."""
    command, versions = provenance.get("command", ""), provenance.get("versions", {})
    sessions = provenance.get("sessions", [])
    later = [
        f"{item.get('started')} on {item.get('host')}, {item.get('ranks')} ranks" for item in sessions[1:]
    ]
    return {
        "command": command if isinstance(command, str) else shlex.join(map(str, command)),
        "seed": _known(provenance.get("seed")),
        "started": _known(provenance.get("started")),
        "continued": "; ".join(later),
        "host": _known(provenance.get("host")),
        "ranks": _known(provenance.get("ranks")),
        "git revision": _known(provenance.get("git")),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }


def _known(value: Any) -> str:
    return "" if value is None else str(value)


def _footer(run: Run) -> str:
    version = run.provenance.get("versions", {}).get("hpc_ds", "")
    return f"<footer>Written by hpc-ds {escape(str(version))}.</footer>"


def _has_curves(model: Model) -> bool:
    return {"x", "fit", "residual"} <= model.curves.keys() and {"x", "y"} <= model.data.keys()


def _fit(run: Run, model: Model, key: str = "fit-best") -> str:
    return _figure(figures.fit(run, model, key), _fit_caption(model))


def _fit_caption(model: Model) -> str:
    noise = (
        " Dashed lines in the residuals: twice the noise." if figures.noise_level(model) is not None else ""
    )
    components = (
        ", the coloured areas the components alone, on top of the background"
        if figures.has_components(model)
        else ""
    )
    return (
        "Dots are the data, the line is the median of the fit with its 50 and 95 % bands (where none is "
        f"seen, it is thinner than the line){components}.{noise}"
    )


def _pairs_caption(names: list[str]) -> str:
    if len(names) == 1:
        return f"Posterior of {corner.spoken_name(names[0])}: median (line) and 95 % interval (dashed)."
    return (
        "Each pair of parameters against each other: the lines hold 50 and 95 % of the draws; on the "
        "diagonal each alone, with its median (line) and 95 % interval (dashed)."
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>\n"


def _section(name: str, heading: str, *parts: str) -> str:
    return f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n{"".join(parts)}</section>\n'


_EVIDENCE = (
    "The log evidence of each model with its standard error (often smaller than the dot), and how far it "
    "lies below the highest: 3 less is 20 times less probable."
)
_PROBABILITY = (
    "The probability of each model, weighed against the other models tried here only; a line, if drawn, "
    "marks the probability before the data."
)
_REJECTION = "Share of swaps refused between neighbouring temperatures: a well-tuned ladder is level."
_BARRIER = (
    "How the difficulty of passing from the prior (β\u00a0=\u00a00) to the posterior (β\u00a0=\u00a01) adds "
    "up along the ladder."
)
_ROUND_TRIPS = (
    "How often a replica went from the prior to the posterior and back: the bar is what was measured, the "
    "line what the barrier allows in theory."
)
