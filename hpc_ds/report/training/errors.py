"""The errors of a split, sample by sample: how they are spread, and what they go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.training import wording as words
from hpc_ds.report.training.drawing import dots, filled, is_wide, logarithmic, whole_numbers
from hpc_ds.report.training.reader import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 5
"""Samples below which a distribution says nothing."""

MOST = 6
"""Parameters against which errors are drawn."""

CLEAR = 0.3
"""A rank correlation weaker than this is not said to explain anything."""

_BINS = 30


def known(split: Split) -> np.ndarray:
    """Return the errors (n,) that are numbers."""
    return split.error[np.isfinite(split.error)]


def histogram(split: Split, key: str = "errors") -> tuple[str, str]:
    """Draw how often errors have which size; return figure and caption."""
    values = known(split)
    label = f"How many {split.name} samples have which error"
    drawn = svg.render(_histogram, split, values, key=key, label=label, size=svg.HALF)
    median, high = np.quantile(values, (0.5, 0.95))
    told = (
        f"{words.opening(words.metric_name(split.metric))} of the {wording.count(values.size)} {split.name} samples"
        f"{f' in {split.units}' if split.units else ''}: half of them up to {wording.quantity(median)} (line), 95 % up "
        f"to {wording.quantity(high)} (dashed), the largest {wording.quantity(values.max())}."
    )
    return drawn, told


def ranked(split: Split, key: str = "ranked") -> tuple[str, str]:
    """Draw the errors from the smallest to the largest; return figure and caption."""
    values = np.sort(known(split))
    label = f"Errors of the {split.name} samples from the smallest to the largest"
    drawn = svg.render(_ranked, split, values, key=key, label=label, size=svg.HALF)
    tail = values[-max(1, values.size // 10) :].sum() / values.sum() if values.sum() > 0 else 0.0
    return drawn, (
        "The same, from the smallest to the largest: the worst tenth of the samples makes "
        f"{100 * tail:.0f} % of the sum."
    )


def against_parameters(split: Split, key: str = "against") -> tuple[str, str] | None:
    """Draw the error against each parameter that varies; None where there is none."""
    varying = {name: values for name, values in split.parameters.items() if _varies(values)}
    if not varying or known(split).size < FEWEST:
        return None
    strength = {name: abs(_rank_correlation(values, split.error)) for name, values in varying.items()}
    chosen = sorted(varying, key=lambda name: -strength[name])[:MOST]
    rows = -(-len(chosen) // 3)
    label = f"Error against {wording.spoken(chosen)}"
    size = (svg.WIDE[0], 0.5 + 1.75 * rows)
    drawn = svg.render(_against, split, chosen, key=key, label=label, size=size)
    first = chosen[0]
    told = f"{wording.fraction(_rank_correlation(varying[first], split.error))}, with {first}"
    said = (
        f"The error goes most with {first}: rank correlation {told.split(',')[0]}."
        if strength[first] >= CLEAR
        else f"No parameter explains the error: the strongest rank correlation is {told}."
    )
    left = f" The {len(chosen)} strongest of {len(varying)} parameters." if len(varying) > MOST else ""
    return drawn, said + left


def _varies(values: np.ndarray) -> bool:
    return values.dtype.kind in "iuf" and bool(np.isfinite(values).all()) and float(np.ptp(values)) > 0.0


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.stats import rankdata

    good = np.isfinite(y)
    if good.sum() < 2 or np.ptp(x[good]) == 0.0 or np.ptp(y[good]) == 0.0:
        return 0.0
    return float(np.corrcoef(rankdata(x[good]), rankdata(y[good]))[0, 1])


def _histogram(figure: Figure, split: Split, values: np.ndarray) -> None:
    axes = figure.subplots()
    log = is_wide(values)
    low, high = (float(values.min()), float(values.max()))
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    number = int(np.clip(np.sqrt(values.size), 6, _BINS)) + 1
    edges = np.geomspace(low, high, number) if log else np.linspace(low, high, number)
    heights, _ = np.histogram(values, edges)
    filled(axes, heights, edges)
    median, most = np.quantile(values, (0.5, 0.95))
    axes.axvline(median, color=svg.colour("ink"), lw=1.2)
    axes.axvline(most, color=svg.colour("ink"), lw=0.8, ls=(0, (3, 2)))
    if log:
        logarithmic(axes, "x", [values])
    axes.set_ylim(0, 1.1 * max(heights.max(), 1))
    axes.set_xlabel(wording.clipped(words.error_name(split), 44))
    axes.set_ylabel("samples")
    axes.grid(visible=False, axis="x")
    whole_numbers(axes.yaxis)


def _ranked(figure: Figure, split: Split, values: np.ndarray) -> None:
    axes = figure.subplots()
    share = 100 * (1 + np.arange(values.size)) / values.size
    every = np.unique(np.linspace(0, values.size - 1, min(values.size, 500)).astype(int))
    axes.plot(share[every], values[every], color=svg.colour("c1"), lw=1.3)
    if is_wide(values):
        logarithmic(axes, "y", [values])
    else:
        axes.set_ylim(bottom=min(0.0, float(values.min())))
    axes.set_xlim(0, 100)
    axes.set_xlabel("samples / %")
    axes.set_ylabel(wording.clipped(words.error_name(split), 32))


def _against(figure: Figure, split: Split, chosen: list[str]) -> None:
    columns = min(3, len(chosen))
    grid = figure.subplots(-(-len(chosen) // columns), columns, squeeze=False, sharey=True)
    good = np.isfinite(split.error)
    for axes, name in zip(grid.flat, chosen, strict=False):
        x, y = split.parameters[name][good], split.error[good]
        dots(axes, x, y)
        if is_wide(x) and x.max() > 100 * x.min():
            logarithmic(axes, "x", [x])
        else:
            axes.locator_params(axis="x", nbins=3)
        axes.set_xlabel(wording.clipped(name, 22), fontsize=8.5)
    for axes in grid.flat[len(chosen) :]:
        axes.remove()
    if is_wide(split.error[good]):
        logarithmic(grid[0, 0], "y", [split.error[good]])
    for row in grid:
        row[0].set_ylabel(wording.clipped(words.error_name(split), 24), fontsize=8.5)
