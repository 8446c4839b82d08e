"""Assemble the report of an infer run."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from hpc_ds.report import corner, eos, exact, figures, ladder, tables, wording
from hpc_ds.report.frame import beside, document, figure, header, provenance, section, unbroken
from hpc_ds.report.reader import Arrays, Model, Run, load
from hpc_ds.report.table import Table
from hpc_ds.report.table import html as as_html


def html(folder: Path) -> str:
    """Return the page for the run in `folder`, from its ``summary.json`` and ``posterior/*.h5``.

    Raises
    ------
    InputError
        If `folder` is no run folder, has no results yet, or holds a damaged file.
    """
    run = load(folder)
    said = wording.verdict(run.summary)
    sections = [
        _best_fit(run),
        eos.shown(run),
        _models(run),
        _closed_form(run),
        _model_by_model(run),
        _sampling(run),
        provenance(run, {"data file": run.data_path}),
    ]
    return document(run, said.headline, header(_question(run), said, _unfinished(run), _facts(run)), sections)


def _question(run: Run) -> str:
    if eos.about_matter(run.summary):
        return eos.question(run)
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


def _facts(run: Run) -> dict[str, str]:
    best, data = run.best.entry, run.summary.get("data", {})
    number = len(run.models)
    trusted = sum(wording.trusted(model.entry) for model in run.models)
    return {
        "Most probable model" if number > 1 else "Model": wording.title(run.best.name),
        "Its log evidence": wording.with_error(best.get("log_evidence"), best.get("log_evidence_error")),
        "Stars" if eos.about_matter(run.summary) else "Data points": wording.count(data.get("n")),
        "Well sampled": f"{trusted} of {number} models" if number > 1 else ("yes" if trusted else "no"),
    }


def _best_fit(run: Run) -> str:
    if not _has_curves(run.best):
        return ""
    return section("fit", f"The data and the best model: {wording.title(run.best.name)}", _fit(run, run.best))


def _models(run: Run) -> str:
    summary, parts = run.summary, []
    if len(run.models) > 1:
        parts.append(
            beside(
                figure(figures.evidence(summary), _EVIDENCE),
                figure(figures.probability(summary), _PROBABILITY),
            )
        )
    parts.append(as_html(tables.evidence(summary)))
    return section("models", "How the models compare" if len(run.models) > 1 else "Evidence", *parts)


def _closed_form(run: Run) -> str:
    """Return what is known exactly; nothing for models that never have a closed form."""
    parts = [*_shown(exact.evidence(run.summary)), *_shown(exact.choice(run.summary))]
    told = [exact.meaning(run.summary), *exact.missing(run.summary)]
    parts += [f"<p>{unbroken(line)}</p>" for line in told if line]
    return section("closed-form", "Beside the closed form", *parts) if parts else ""


def _shown(table: Table | None) -> list[str]:
    return [] if table is None else [as_html(table)]


def _model_by_model(run: Run) -> str:
    parts = [_model(run, model, index) for index, model in enumerate(run.models)]
    return section("parameters", "Model by model" if len(parts) > 1 else "The model", *parts)


def _model(run: Run, model: Model, index: int) -> str:
    best = model is run.best
    parts = []
    if _has_curves(model) and not best:
        parts.append(_fit(run, model, f"fit-{index}"))
    if eos.about_matter(run.summary) and not best:
        parts.append(eos.figures(run, model, str(index)))
    if model.entry.get("parameters"):
        parts.append(as_html(tables.parameters(model.entry)))
    parts += _shown(exact.parameters(run.summary, model.entry))
    names = corner.chosen(model)
    if names:
        parts.append(figure(corner.draw(model, f"pairs-{index}", names), _pairs_caption(names)))
    parts.append(_ladder(model, index))
    share = wording.percent(wording.finite(model.entry.get("probability")))
    aside = ", ".join([share] * (len(run.models) > 1) + [wording.advice(model.entry)])
    title = f"{escape(wording.heading(model.name))}<span>{escape(aside)}</span>"
    body = "".join(parts) or "<p>This model left no posterior file.</p>"
    return f"<details{' open' if best else ''}><summary>{title}</summary><div>{body}</div></details>\n"


def _ladder(model: Model, index: int) -> str:
    parts = []
    if _holds(model.ladder, "rejection"):
        parts.append(figure(ladder.rejection(model, f"rejection-{index}"), _REJECTION))
    if _holds(model.ladder, "beta") and _holds(model.ladder, "barrier"):
        parts.append(figure(ladder.barrier(model, f"barrier-{index}"), _BARRIER))
    return beside(*parts) if parts else ""


def _holds(arrays: Arrays, name: str) -> bool:
    return name in arrays and bool(np.isfinite(arrays[name]).any())


def _sampling(run: Run) -> str:
    parts = []
    if ladder.has_round_trips(run.summary):
        parts.append(figure(ladder.round_trips(run.summary), _ROUND_TRIPS))
    parts += [as_html(tables.diagnostics(run.summary)), as_html(tables.estimators(run.summary))]
    return section("sampling", "How well it was sampled", *parts)


def _has_curves(model: Model) -> bool:
    return {"x", "fit", "residual"} <= model.curves.keys() and {"x", "y"} <= model.data.keys()


def _fit(run: Run, model: Model, key: str = "fit-best") -> str:
    return figure(figures.fit(run, model, key), _fit_caption(model))


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
