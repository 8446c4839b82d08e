"""Lay out a parameter along the axis of a figure: linear, logarithmic, in whole numbers or in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_ds.report import wording
from hpc_ds.report.ensemble.parameters import Parameter

_BINS = 24


@dataclass(frozen=True, eq=False)
class Scale:
    """A parameter along an axis: logarithms of it where it belongs on a logarithmic one."""

    values: np.ndarray
    low: float
    high: float
    ticks: list[float]
    names: list[str]
    edges: np.ndarray
    """Of the bins of a histogram."""
    step: float = 0.0
    """Distance between neighbouring values of a parameter that has few; 0 of any other."""

    def placed(self, direction: int) -> np.ndarray:
        """Return where to draw the dots: those of equal values side by side, differently in each direction.

        The shifts are a sequence of low discrepancy (M. Roberts 2018, R2), so that they look the same every time.
        """
        golden = (0.7548776662466927, 0.5698402909980532)[direction]
        shifts = np.modf(0.5 + golden * np.arange(self.values.size))[0] - 0.5
        return self.values + 0.5 * self.step * shifts


def scale_of(item: Parameter, panels: int) -> Scale:
    """Lay out `item` along an axis of one of `panels` panels that stand side by side."""
    most = 4 if panels < 5 else 3
    if item.discrete and not item.log:
        return _in_steps(item, most)
    values = np.log10(item.values) if item.log else item.values
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high, int(np.clip(np.sqrt(values.size), 6, _BINS)) + 1)
    margin = 0.05 * (high - low)
    low, high = low - margin, high + margin
    if item.log:
        ticks = log_ticks(10**low, 10**high, most)
        places = [float(np.log10(tick)) for tick in ticks]
        return Scale(values, low, high, places, [power(tick) for tick in ticks], edges)
    places = _linear_ticks(low, high, most)
    return Scale(values, low, high, places, [_plain(place) for place in places], edges)


def _in_steps(item: Parameter, most: int) -> Scale:
    low, high = item.values.min() - 0.5, item.values.max() + 0.5
    distinct = np.unique(item.values)
    step = float(np.diff(distinct).min()) if distinct.size > 1 else 1.0
    most = 8 if item.words else most
    ticks = distinct[:: -(-distinct.size // most)].tolist()
    names = [wording.clipped(item.words[int(tick)], 9) if item.words else _plain(tick) for tick in ticks]
    edges = np.arange(low, high + 0.5)
    return Scale(item.values, low - 0.1, high + 0.1, ticks, names, edges, step)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round values of a logarithmic axis: powers of ten, or 1, 2 and 5 times them."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), tuple(map(float, range(1, 10)))):
        ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 2:
            break
    return inside[:: max(1, -(-len(inside) // most))]


def power(value: float) -> str:
    """Write a tick of a logarithmic axis: 0.01, 1, 300, and beyond that powers of ten."""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    if -3 <= exponent <= 3:
        return f"{value:g}"
    factor = value / 10.0**exponent
    return (
        wording.power_of_ten(exponent)
        if abs(factor - 1) < 1e-6
        else f"{factor:.0f}·{wording.power_of_ten(exponent)}"
    )


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values that keep clear of the edges, where the next panel's labels begin."""
    from matplotlib.ticker import MaxNLocator

    clear = 0.08 * (high - low)
    ticks = MaxNLocator(most).tick_values(low, high)
    return [float(tick) for tick in ticks if low + clear <= tick <= high - clear]


def _plain(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")
