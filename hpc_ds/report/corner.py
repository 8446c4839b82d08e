"""The posterior, parameter against parameter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from hpc_ds.report import svg
from hpc_ds.report.neutron_star import naming
from hpc_ds.report.reader import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 6
"""More parameters than this do not fit the page."""

SHOWN = 1200
"""Draws shown as dots; all draws enter the contours and histograms."""

BINS = 40


def chosen(model: Model) -> list[str]:
    """Name the parameters to draw: two or more positions, otherwise the first six parameters that vary.

    What was computed from the parameters is drawn only where the summary names none of them.
    """
    varying = [name for name, values in model.draws.items() if np.ptp(values) > 0]
    varying = [name for name in varying if name in model.entry.get("parameters", {})] or varying
    positions = [name for name in varying if re.fullmatch(r"position\[\d+\]", name)]
    return (positions if len(positions) > 1 else varying)[:MOST]


def draw(model: Model, key: str, names: list[str]) -> str:
    """Draw every pair of ``names`` with contours that hold 50 and 95 % of the draws."""
    values = np.array([model.draws[name].ravel() for name in names])
    side = {1: 3.2, 2: 4.0, 3: 4.6}.get(len(names), 5.1)
    label = f"Posterior of {', '.join(map(spoken_name, names))}, each against each"
    return svg.render(_corner, values, names, key=key, label=label, size=(side, side * 0.92))


def spoken_name(name: str) -> str:
    """Write ``position[2]`` as ``position 2``, and a squared speed of sound as the field does, ``c₂²``."""
    speed = re.fullmatch(r"sound_speed_squared\[(\d+)\]", name)
    if speed:
        return naming.quantity(f"c2_{speed[1]}")
    return re.sub(r"\[(\w+)\]", r" \1", name)


def highest_density_levels(density: np.ndarray, masses: tuple[float, ...] = (0.5, 0.95)) -> list[float]:
    """Return the heights, ascending, above which ``density`` holds the given shares of its sum."""
    heights = np.sort(density, axis=None)[::-1]
    held = np.cumsum(heights) / heights.sum()
    return sorted(float(heights[min(int(np.searchsorted(held, mass)), heights.size - 1)]) for mass in masses)


def _corner(figure: Figure, values: np.ndarray, names: list[str]) -> None:
    number = len(names)
    figure.set_layout_engine(None)
    grid = figure.subplots(number, number, squeeze=False)
    edge = 0.66 / figure.get_figwidth()
    figure.subplots_adjust(left=edge, bottom=edge, right=0.985, top=0.985, wspace=0.08, hspace=0.08)
    limits = [_limits(row) for row in values]
    for row in range(number):
        for column in range(number):
            axes = grid[row, column]
            if column > row:
                axes.remove()
                continue
            if row == column:
                _histogram(axes, values[row], limits[row])
            else:
                _pair(axes, values[column], values[row], limits[column], limits[row])
            _label(axes, names, row, column)


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, (0.001, 0.999))
    margin = 0.1 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _histogram(axes: Axes, values: np.ndarray, limits: tuple[float, float]) -> None:
    heights, edges = np.histogram(values, bins=BINS, range=limits)
    colour = svg.colour("accent")
    axes.stairs(heights, edges, fill=True, color=colour, alpha=0.25, lw=0)
    axes.stairs(heights, edges, color=colour, lw=1)
    low, median, high = np.quantile(values, (0.025, 0.5, 0.975))
    axes.axvline(median, color=svg.colour("ink"), lw=1)
    for side in (low, high):
        axes.axvline(side, color=svg.colour("ink"), lw=0.7, ls=(0, (3, 2)))
    axes.set_xlim(limits)
    axes.set_ylim(0, 1.12 * heights.max(initial=1))
    axes.grid(visible=False)


def _pair(
    axes: Axes, x: np.ndarray, y: np.ndarray, x_limits: tuple[float, float], y_limits: tuple[float, float]
) -> None:
    from scipy.ndimage import gaussian_filter

    every = max(1, x.size // SHOWN)
    axes.plot(
        x[::every], y[::every], ".", ms=1.8, mew=0, alpha=0.35, color=svg.colour("data"), rasterized=True
    )
    density, x_edges, y_edges = np.histogram2d(x, y, bins=BINS, range=(x_limits, y_limits))
    smooth = gaussian_filter(density, 1.6)
    levels = highest_density_levels(smooth) if smooth.any() else []
    if len(levels) == 2 and 0 < levels[0] < levels[1]:
        centres = [(edges[:-1] + edges[1:]) / 2 for edges in (x_edges, y_edges)]
        widths = (1.0, 1.4)
        axes.contour(*centres, smooth.T, levels=levels, colors=svg.colour("accent"), linewidths=widths)
    axes.set_xlim(x_limits)
    axes.set_ylim(y_limits)
    axes.grid(visible=False)


def _label(axes: Axes, names: list[str], row: int, column: int) -> None:
    last = len(names) - 1
    axes.tick_params(labelsize=7.5, length=2.5, labelbottom=row == last, labelleft=column == 0 and row > 0)
    axes.set_xticks(_inner_ticks(*axes.get_xlim(), len(names)))
    if last > 1:
        axes.tick_params(axis="x", labelrotation=40)
    if row == column:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    else:
        axes.set_yticks(_inner_ticks(*axes.get_ylim(), len(names)))
    if row == last:
        axes.set_xlabel(spoken_name(names[column]), fontsize=8.5)
    if column == 0 and row > 0:
        axes.set_ylabel(spoken_name(names[row]), fontsize=8.5)


def _inner_ticks(low: float, high: float, panels: int) -> list[float]:
    """Return round values that keep clear of the edges, where the next panel's labels begin."""
    from matplotlib.ticker import MaxNLocator

    clear = 0.12 * (high - low)
    ticks = MaxNLocator(4 if panels < 5 else 3).tick_values(low, high)
    return [float(tick) for tick in ticks if low + clear <= tick <= high - clear]
