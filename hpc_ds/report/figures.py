"""The figures of the answer: data, fit, components and residuals; evidence and probability of the models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.reader import Model, Run
from hpc_ds.report.wording import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 600
"""More points than this are drawn as an image inside the figure: smaller than one element a point."""

LOW, LOWER, MEDIAN, UPPER, HIGH = range(5)
"""Rows of the quantile axis of ``/curves``: 2.5, 25, 50, 75 and 97.5 %."""


def fit(run: Run, model: Model, key: str) -> str:
    """Draw data, fit with 50 and 95 % bands, components and residuals of ``model``."""
    parts = "its components and residuals" if has_components(model) else "and its residuals"
    label = f"{run.data_path} with the fit of {wording.title(model.name)}, {parts}"
    axes = str(model.curves.get("x_name", run.axis("x"))), run.axis("y")
    return svg.render(_fit, model, axes, key=key, label=label)


def has_components(model: Model) -> bool:
    """Tell whether the fit is a sum of components that are known one by one."""
    return len(_each_component(model.curves)) > 0


def evidence(summary: Mapping[str, Any], key: str = "evidence") -> str:
    """Draw the log evidence of every model with its error bar."""
    label = "Log evidence of each model with its error bar"
    return svg.render(_evidence, summary["models"], key=key, label=label, size=svg.HALF)


def probability(summary: Mapping[str, Any], key: str = "probability") -> str:
    """Draw the probability of every model as a bar."""
    said = [f"{wording.title(entry['name'])} {wording.percent(_share(entry))}" for entry in summary["models"]]
    label = f"Probability of each model: {', '.join(said)}"
    return svg.render(_probability, summary["models"], key=key, label=label, size=svg.HALF)


def descends(x_name: str) -> bool:
    """Tell whether ``x_name`` is a binding energy, which spectroscopists draw decreasing to the right."""
    return bool(
        re.search(r"(?<![A-Za-z])BE(?![A-Za-z])", x_name) or re.search("binding", x_name, re.IGNORECASE)
    )


def _fit(figure: Figure, model: Model, names: tuple[str, str]) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    curves = thinned(model.curves)
    x, rows = curves["x"], curves["fit"]
    _components(top, x, curves)
    _bands(top, x, rows)
    top.plot(x, rows[MEDIAN], color=svg.colour("ink"), lw=1.2, zorder=4)
    _points(top, np.asarray(model.curves["x"]), model.data)
    _residuals(bottom, model)
    _bands(bottom, x, rows - rows[MEDIAN])
    top.set_ylabel(names[1])
    bottom.set_xlabel(names[0])
    bottom.set_ylabel("residual")
    top.margins(x=0.015)
    low, high = top.get_ylim()
    top.set_ylim(low, high + 0.1 * (high - low))
    if descends(names[0]):
        bottom.invert_xaxis()
    _number_the_peaks(top, x, curves)
    _legend(top)
    figure.align_ylabels((top, bottom))


def thinned(curves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep of long curves what a screen can show: the first, lowest and highest point of each of 300 bins.

    The fit decides which is lowest and highest. Every array keeps its shape except for its last axis, the
    points; short curves come back whole.
    """
    arrays = {
        name: np.asarray(curves[name]) for name in ("x", "fit", "background", "component") if name in curves
    }
    size, median = arrays["x"].size, arrays["fit"][MEDIAN]
    if size <= 900:
        return arrays
    bins = np.array_split(np.arange(size), 300)
    extremes = [part[pick(median[part])] for part in bins for pick in (np.argmin, np.argmax)]
    kept = np.unique([*(part[0] for part in bins), *extremes, size - 1])
    return {
        name: values[..., kept] if values.shape[-1:] == (size,) else values for name, values in arrays.items()
    }


def _bands(axes: Axes, x: np.ndarray, rows: np.ndarray) -> None:
    ink = svg.colour("ink")
    axes.fill_between(x, rows[LOW], rows[HIGH], color=ink, alpha=0.18, lw=0, zorder=3)
    axes.fill_between(x, rows[LOWER], rows[UPPER], color=ink, alpha=0.32, lw=0, zorder=3)


def _components(axes: Axes, x: np.ndarray, curves: Mapping[str, np.ndarray]) -> None:
    background = np.asarray(curves["background"])[MEDIAN] if "background" in curves else np.zeros_like(x)
    if np.any(background):
        axes.plot(x, background, color=svg.colour("muted"), lw=1, ls=(0, (4, 2)), zorder=2)
    for index, rows in enumerate(_each_component(curves)):
        colour = svg.component(index)
        axes.fill_between(x, background, background + rows[MEDIAN], color=colour, alpha=0.12, lw=0, zorder=1)
        axes.fill_between(
            x, background + rows[LOW], background + rows[HIGH], color=colour, alpha=0.25, lw=0, zorder=2
        )
        axes.plot(x, background + rows[MEDIAN], color=colour, lw=1, zorder=2)


def _each_component(curves: Mapping[str, np.ndarray]) -> np.ndarray:
    component = np.asarray(curves.get("component", ()))
    return component if component.ndim == 3 else np.empty((0, 5, 0))


def _points(axes: Axes, x: np.ndarray, data: Mapping[str, np.ndarray]) -> None:
    y, sigma = data["y"], data.get("sigma")
    many, colour = x.size > MANY, svg.colour("data")
    if sigma is not None and sigma.shape == y.shape and np.ptp(sigma) > 0 and np.all(np.isfinite(sigma)):
        axes.vlines(x, y - sigma, y + sigma, color=colour, lw=0.6, alpha=0.6, zorder=2.5, rasterized=many)
    axes.plot(x, y, ".", color=colour, ms=3.2, mew=0, zorder=2.6, rasterized=many)


def _residuals(axes: Axes, model: Model) -> None:
    x, residual = np.asarray(model.curves["x"]), np.asarray(model.curves["residual"])
    colour, many = svg.colour("data"), residual.size > MANY
    axes.plot(x, residual, ".", color=colour, ms=3, mew=0, zorder=2.6, rasterized=many)
    axes.axhline(0, color=svg.colour("ink"), lw=0.8, zorder=4)
    noise = noise_level(model)
    if noise is not None:
        for side in (-2, 2):
            axes.plot(
                x, side * np.broadcast_to(noise, x.shape), color=svg.colour("muted"), lw=0.8, ls=(0, (4, 2))
            )
    reach = 1.15 * max(np.max(np.abs(residual)), 0 if noise is None else 2.2 * np.max(noise), 1e-300)
    axes.set_ylim(-reach, reach)


def noise_level(model: Model) -> np.ndarray | None:
    """Return the standard deviation of the noise at each point, shape (points,) or (), or None where unknown.

    It is the posterior median where the noise was estimated, otherwise what the data file stated.
    """
    estimated = wording.finite(model.entry.get("parameters", {}).get("noise", {}).get("50%"))
    if estimated is not None:
        return np.asarray(estimated)
    sigma = model.data.get("sigma")
    return sigma if sigma is not None and sigma.size and np.all(np.isfinite(sigma)) else None


def _number_the_peaks(axes: Axes, x: np.ndarray, curves: Mapping[str, np.ndarray]) -> None:
    """Write each peak's number at the top edge above its apex, a step lower where two would overlap."""
    low, high = axes.get_xlim()
    components = _each_component(curves)
    apexes = sorted((float(x[np.argmax(rows[MEDIAN])]), index) for index, rows in enumerate(components))
    previous, step = -np.inf, 0
    for apex, index in apexes:
        step = (step + 1) % 3 if abs(apex - previous) < 0.035 * abs(high - low) else 0
        colour = svg.component(index)
        axes.axvline(apex, color=colour, lw=0.6, alpha=0.45, ls=(0, (1, 2)), zorder=1)
        axes.annotate(
            str(index + 1),
            (apex, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -2 - 10 * step),
            textcoords="offset points",
            ha="center",
            va="top",
            color=colour,
            fontweight="bold",
            zorder=6,
        )
        previous = apex


def _legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ink = svg.colour("ink")
    handles: Sequence[Any] = (
        Line2D([], [], marker=".", ls="", color=svg.colour("data"), label="data"),
        Line2D([], [], color=ink, lw=1.2, label="fit"),
        Patch(color=ink, alpha=0.5, lw=0, label="50 %"),
        Patch(color=ink, alpha=0.18, lw=0, label="95 %"),
    )
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        borderaxespad=0,
        columnspacing=1.4,
        handlelength=1.4,
    )


def _evidence(figure: Figure, models: Sequence[Entry]) -> None:
    axes = figure.subplots()
    known = [
        (place, entry)
        for place, entry in enumerate(models)
        if wording.finite(entry["log_evidence"]) is not None
    ]
    places = [place for place, _ in known]
    values = np.array([entry["log_evidence"] for _, entry in known], float)
    errors = [wording.finite(entry.get("log_evidence_error")) or 0.0 for _, entry in known]
    if _counted(models):
        axes.plot(places, values, color=svg.colour("grid"), lw=1.4, zorder=1)
    axes.errorbar(
        places, values, errors, fmt="o", ms=4.5, color=svg.colour("accent"), elinewidth=1.4, zorder=3
    )
    top = values.max(initial=-np.inf)
    for place, value, error in zip(places, values, errors, strict=True):
        gap = top - value
        text = "highest" if gap == 0 else wording.fraction(-gap, 2 if gap < 1 else 1 if gap < 10 else 0)
        axes.annotate(
            text, (place, value + error), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    axes.margins(x=0.12, y=0.16)
    _name_models(axes.xaxis, models)
    axes.set_ylabel("log evidence")
    axes.grid(visible=False, axis="x")


def _probability(figure: Figure, models: Sequence[Entry]) -> None:
    axes = figure.subplots()
    shares = np.array([_share(entry) or 0.0 for entry in models])
    colours = [svg.colour("accent") if share == shares.max() else svg.colour("data") for share in shares]
    axes.barh(range(len(models)), 100 * shares, height=0.62, color=colours, zorder=2)
    for place, entry in enumerate(models):
        text = wording.percent(_share(entry))
        axes.annotate(
            text,
            (100 * shares[place], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    prior = np.array([wording.finite(entry.get("prior_probability")) or np.nan for entry in models])
    if np.all(np.isfinite(prior)) and np.ptp(prior) > 1e-9:
        axes.plot(100 * prior, range(len(models)), "|", ms=14, mew=1.4, color=svg.colour("ink"), zorder=3)
    axes.set_xlim(0, 118)
    axes.set_xticks(range(0, 101, 25))
    axes.set_xlabel("probability / %")
    axes.invert_yaxis()
    _name_models(axes.yaxis, models)
    axes.grid(visible=False, axis="y")


def _name_models(axis: Any, models: Sequence[Entry]) -> None:
    names = [wording.clipped(entry["name"]) for entry in models]
    if _counted(models):
        axis.set_label_text("number of peaks K")
        names = [str(wording.peaks(name)) for name in names]
    axis.set_ticks(range(len(models)), names)
    if axis.axis_name == "x" and max(map(len, names)) > 8:
        axis.set_tick_params(labelrotation=20)


def _counted(models: Sequence[Entry]) -> bool:
    return all(wording.peaks(entry["name"]) is not None for entry in models)


def _share(entry: Entry) -> float | None:
    return wording.finite(entry.get("probability"))
