"""Numbers that were predicted, against what is true, and whether the stated spread is honest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.table import Cell, Table
from hpc_ds.report.training.drawing import dots, is_wide, logarithmic
from hpc_ds.report.training.reader import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 6
"""Numbers that are drawn."""

_BARS = 400
"""More samples than this have no error bars of their own."""

LEVELS = (0.5, 0.68, 0.9, 0.95)
"""Shares of the truth that bands of a normal law are to hold."""

_HONEST = 0.05
"""A coverage further than this from what is stated is marked."""


def has_pairs(split: Split) -> bool:
    """Tell whether the file has predictions of numbers beside the truth."""
    pairs = [split.arrays.get(name) for name in ("target", "prediction")]
    return all(one is not None and one.ndim == 2 and one.shape[1] > 0 for one in pairs)


def against_truth(split: Split, place: int, key: str) -> tuple[str, str]:
    """Draw one predicted number against the true one; return figure and caption."""
    true, said = (split.arrays[name][:, place].astype(float) for name in ("target", "prediction"))
    name = split.names[place] if place < len(split.names) else f"number {place + 1}"
    spread = _spread(split, place)
    label = f"{name}, predicted against true, of the {split.name} samples"
    drawn = svg.render(_scatter, name, true, said, spread, key=key, label=label, size=svg.HALF)
    rest = said - true
    variance = float(np.var(true))
    r2 = f", R² = {wording.fraction(1 - float(np.mean(rest**2)) / variance, 3)}" if variance > 0 else ""
    bars = " Bars: one spread up and down." if spread is not None and true.size <= _BARS else ""
    return drawn, f"{name}: root mean square error {wording.quantity(np.sqrt(np.mean(rest**2)))}{r2}.{bars}"


def coverage(split: Split) -> Table | None:
    """Tabulate how often the truth lies within the band that a normal law of the stated spread gives."""
    if not has_pairs(split) or split.arrays.get("spread") is None:
        return None
    from scipy.stats import norm

    columns = range(split.arrays["target"].shape[1])
    rows = []
    for place in list(columns)[: 4 * MOST]:
        spread = _spread(split, place)
        if spread is None:
            return None
        apart = np.abs(split.arrays["prediction"][:, place] - split.arrays["target"][:, place])
        shares = [float(np.mean(apart <= norm.ppf(0.5 + level / 2) * spread)) for level in LEVELS]
        name = split.names[place] if place < len(split.names) else f"number {place + 1}"
        cells = [
            Cell(f"{100 * share:.1f} %", warn=abs(share - level) > _HONEST)
            for share, level in zip(shares, LEVELS, strict=True)
        ]
        rows.append((Cell(name), *cells))
    header = ("", *(f"{100 * level:.0f} % band" for level in LEVELS))
    return Table("How often the truth lies within the stated band", header, tuple(rows))


def spread_against_error(split: Split, key: str = "spread") -> tuple[str, str] | None:
    """Draw the error of each sample against the spread that was stated; None where there is none."""
    spread = split.arrays.get("spread")
    if spread is None or len(spread) != split.error.size or spread.ndim > 2:
        return None
    if has_pairs(split) and spread.ndim == 2:
        error = np.sqrt(np.mean((split.arrays["prediction"] - split.arrays["target"]) ** 2, axis=1))
        spread = np.sqrt(np.mean(spread**2, axis=1))
        name = "root mean square error"
    else:
        error, spread, name = split.error, spread.reshape(len(spread), -1).mean(axis=1), "error"
    good = np.isfinite(error) & np.isfinite(spread) & (spread > 0) & (error > 0)
    if good.sum() < 5:
        return None
    label = "Error of each sample against the stated spread"
    size = (svg.WIDE[0], 2.6)
    drawn = svg.render(_calibration, spread[good], error[good], name, key=key, label=label, size=size)
    ratio = float(np.sqrt(np.mean(error[good] ** 2) / np.mean(spread[good] ** 2)))
    return drawn, (
        f"Error against the stated spread, sample by sample: the errors' rms is {wording.fraction(ratio)} of the "
        "spreads' (line: as large)."
    )


def _spread(split: Split, place: int) -> np.ndarray | None:
    spread = split.arrays.get("spread")
    if spread is None or spread.shape != split.arrays["target"].shape:
        return None
    return spread[:, place].astype(float)


def _scatter(
    figure: Figure, name: str, true: np.ndarray, said: np.ndarray, spread: np.ndarray | None
) -> None:
    axes = figure.subplots()
    low, high = float(min(true.min(), said.min())), float(max(true.max(), said.max()))
    margin = 0.05 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=svg.colour("ink"), lw=0.9)
    if spread is not None and true.size <= _BARS:
        axes.vlines(true, said - spread, said + spread, color=svg.colour("c1"), lw=0.7, alpha=0.5)
    dots(axes, true, said)
    axes.set(xlim=ends, ylim=ends)
    axes.set_xlabel(wording.clipped(f"{name}, true", 40))
    axes.set_ylabel(wording.clipped(f"{name}, predicted", 30))


def _calibration(figure: Figure, spread: np.ndarray, error: np.ndarray, name: str) -> None:
    axes = figure.subplots()
    joined = np.concatenate([spread, error])
    ends = (0.0 if not is_wide(joined) else float(joined.min()), float(joined.max()))
    axes.plot(ends, ends, color=svg.colour("ink"), lw=0.9)
    dots(axes, spread, error)
    if is_wide(joined):
        logarithmic(axes, "x", [spread])
        logarithmic(axes, "y", [error])
    axes.set_xlabel("stated spread")
    axes.set_ylabel(name)
