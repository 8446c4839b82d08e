"""How long samples took, what that depends on, and how fast the run as a whole went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.ensemble import scales
from hpc_ds.report.ensemble import wording as words
from hpc_ds.report.ensemble.parameters import Parameter
from hpc_ds.report.ensemble.reader import Ensemble

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 5
"""Samples below which a distribution or a correlation says nothing."""

CLEAR = 0.3
"""A rank correlation weaker than this is not said to explain anything."""

_UNITS = ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h"), (np.inf, 86400.0, "d"))
_WIDE = 20.0
_DOTS = 3000
_BINS = 30
_PAUSE = 60.0
"""Seconds without a line in the progress that count as a pause: a running session writes one with every report."""


@dataclass(frozen=True, eq=False)
class Dependence:
    """The parameter with which the run time goes most."""

    parameter: Parameter
    correlation: float
    """Spearman's, of the ranks."""
    indices: np.ndarray
    """Samples whose run time is known."""


def known(run: Ensemble) -> np.ndarray:
    """Return the run times (n,) in seconds, in the order of the design."""
    values = np.array([run.seconds[index] for index in sorted(run.seconds)], dtype=float)
    return values[np.isfinite(values) & (values > 0.0)]


def histogram(run: Ensemble, key: str = "run-times") -> str:
    """Draw the distribution of the run times."""
    label = "How many samples took how long"
    return svg.render(_histogram, known(run), key=key, label=label, size=svg.HALF)


def histogram_caption(run: Ensemble) -> str:
    """Say the median, the 95th percentile and the longest run time."""
    values = known(run)
    median, high = np.quantile(values, (0.5, 0.95))
    return (
        f"How long the samples took: half of them up to {words.seconds(median)} (line), 95 % up to "
        f"{words.seconds(high)} (dashed), the longest {words.seconds(values.max())}."
    )


def dependence(run: Ensemble) -> Dependence | None:
    """Return the varied parameter with the strongest rank correlation to the run time; None if too little is known."""
    indices = np.array(sorted(index for index, value in run.seconds.items() if value > 0.0), dtype=int)
    numeric = [item for item in run.parameters if item.varies and not item.words]
    if indices.size < FEWEST or not numeric or np.ptp([run.seconds[index] for index in indices]) == 0.0:
        return None
    indices = indices[indices < numeric[0].values.size]
    seconds = np.array([run.seconds[index] for index in indices])
    found = [Dependence(item, _rank_correlation(item.values[indices], seconds), indices) for item in numeric]
    return max(found, key=lambda one: abs(one.correlation))


def against(run: Ensemble, found: Dependence, key: str = "run-time-against") -> str:
    """Draw the run time against the parameter of `found`."""
    label = f"Run time of each sample against {found.parameter.name}"
    return svg.render(_against, run, found, key=key, label=label, size=svg.HALF)


def against_caption(run: Ensemble, found: Dependence) -> str:
    """Say how strongly the run time goes with the parameter."""
    strength = wording.fraction(found.correlation)
    name = found.parameter.name
    if abs(found.correlation) < CLEAR:
        return (
            f"No parameter explains the run time: the strongest rank correlation is {strength}, with {name}."
        )
    return f"The run time goes most with {name}: rank correlation {strength}."


@dataclass(frozen=True, eq=False)
class Rate:
    """How many samples were settled in each stretch of time."""

    edges: np.ndarray
    """(b + 1,) seconds of work since the first line, pauses left out."""
    rate: np.ndarray
    """(b,) samples a second."""
    pauses: tuple[float, ...]
    """When work was interrupted, on the same clock."""


def rate(lines: Sequence[Mapping[str, Any]]) -> Rate | None:
    """Work out the rate from the lines of ``progress.jsonl``; None where they are too few."""
    told = [(wording.finite(line.get("time")), wording.finite(line.get("done"))) for line in lines]
    points = np.array([pair for pair in told if None not in pair], dtype=float).reshape(-1, 2)
    if len(points) < 4:
        return None
    steps, gains = np.diff(points[:, 0]), np.maximum(np.diff(points[:, 1]), 0.0)
    pause = (steps > max(_PAUSE, 20 * float(np.median(steps)))) | (steps < 0.0)
    lengths = np.where(pause, 0.0, steps)
    clock = np.concatenate(([0.0], np.cumsum(lengths)))
    if clock[-1] <= 0.0:
        return None
    total = np.concatenate(([0.0], np.cumsum(np.where(pause, 0.0, gains))))
    edges = np.linspace(0.0, clock[-1], min(40, len(points) // 2) + 1)
    settled = np.interp(edges, clock, total)
    return Rate(edges, np.diff(settled) / np.diff(edges), tuple(clock[:-1][pause]))


def over_time(found: Rate, key: str = "rate") -> str:
    """Draw the rate over the time of work."""
    label = "Samples a second while the run went on"
    return svg.render(_over_time, found, key=key, label=label, size=(svg.WIDE[0], 2.3))


def over_time_caption(found: Rate) -> str:
    """Say the mean rate and what the marks are."""
    mean = float(np.sum(found.rate * np.diff(found.edges)) / found.edges[-1])
    pauses = " Dashed: where the run was interrupted; pauses are left out." if found.pauses else ""
    return f"Samples settled a second, of all workers together: {wording.quantity(mean, mean / 10)} on average.{pauses}"


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.stats import rankdata

    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return 0.0
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def _histogram(figure: Figure, values: np.ndarray) -> None:
    axes = figure.subplots()
    factor, unit = _unit(values)
    scaled = values / factor
    log = scaled.max() > _WIDE * scaled.min()
    placed = np.log10(scaled) if log else scaled
    low, high = placed.min(), placed.max()
    if low == high:
        low, high = 0.9 * low, 1.1 * high
    bins = int(np.clip(np.sqrt(values.size), 6, _BINS))
    heights, edges = np.histogram(placed, np.linspace(low, high, bins + 1))
    axes.stairs(heights, edges, fill=True, color=svg.colour("c1"), alpha=0.35, lw=0)
    axes.stairs(heights, edges, color=svg.colour("c1"), lw=1)
    median, most = np.quantile(placed, (0.5, 0.95))
    axes.axvline(median, color=svg.colour("ink"), lw=1.2)
    axes.axvline(most, color=svg.colour("ink"), lw=0.8, ls=(0, (3, 2)))
    if not log and low < 0.5 * high:
        axes.set_xlim(left=0)
    axes.set_ylim(0, 1.1 * heights.max())
    axes.set_xlabel(f"run time of a sample / {unit}")
    axes.set_ylabel("samples")
    axes.grid(visible=False, axis="x")
    _whole_numbers(axes.yaxis)
    if log:
        _name_logarithms(axes.xaxis, *axes.get_xlim())


def _against(figure: Figure, run: Ensemble, found: Dependence) -> None:
    axes = figure.subplots()
    seconds = np.array([run.seconds[index] for index in found.indices])
    factor, unit = _unit(seconds)
    x, y = found.parameter.values[found.indices], seconds / factor
    log_x, log_y = found.parameter.log, bool(y.max() > _WIDE * y.min())
    every = slice(None, None, max(1, -(-x.size // _DOTS)))
    many = x.size > 1500
    axes.plot(
        (np.log10(x) if log_x else x)[every],
        (np.log10(y) if log_y else y)[every],
        ".",
        ms=5 if x.size < 300 else 2.5,
        mew=0,
        alpha=0.7,
        color=svg.colour("c6" if many else "c1"),  # an image does not follow the scheme: c6 is seen on both
        rasterized=many,
    )
    axes.margins(0.04)
    if not log_y:
        axes.set_ylim(bottom=0, top=1.08 * y.max())
    for axis, log in ((axes.xaxis, log_x), (axes.yaxis, log_y)):
        if log:
            _name_logarithms(axis, *axis.get_view_interval())
    axes.set_xlabel(wording.clipped(found.parameter.label, 40))
    axes.set_ylabel(f"run time / {unit}")


def _over_time(figure: Figure, found: Rate) -> None:
    axes = figure.subplots()
    factor, unit = _unit(found.edges[-1:])
    edges = found.edges / factor
    axes.stairs(found.rate, edges, fill=True, color=svg.colour("c1"), alpha=0.25, lw=0)
    axes.stairs(found.rate, edges, color=svg.colour("c1"), lw=1.2)
    for pause in found.pauses:
        axes.axvline(pause / factor, color=svg.colour("muted"), lw=0.8, ls=(0, (4, 2)))
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(0, 1.1 * max(found.rate.max(), 1e-12))
    axes.set_xlabel(f"time of work / {unit}")
    axes.set_ylabel("samples a second")


def _unit(seconds: np.ndarray) -> tuple[float, str]:
    """Return the unit in which these times are small numbers, and its length in seconds."""
    largest = float(np.max(seconds))
    if largest < 0.2:
        return 0.001, "ms"
    return next((length, name) for limit, length, name in _UNITS if largest < limit)


def _name_logarithms(axis: Any, low: float, high: float) -> None:
    """Write the values beside an axis along which their logarithms are drawn."""
    ticks = scales.log_ticks(10**low, 10**high, 5)
    axis.set_ticks([float(np.log10(tick)) for tick in ticks], [scales.power(tick) for tick in ticks])


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True))
