"""What the figures of a training share: logarithmic axes with readable numbers, legends, dots that scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg
from hpc_ds.report.ensemble.scales import log_ticks, power

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 800
"""More dots than this are drawn as an image within the figure."""

_NARROW = 2.5
"""Values whose largest is less than this many times the smallest have too few round numbers for a logarithmic axis."""

_WIDE = 20.0
"""Positive values whose largest is this many times the smallest belong on a logarithmic axis."""


def is_wide(values: np.ndarray) -> bool:
    """Tell whether `values` belong on a logarithmic axis."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0.0 and known.max() > _WIDE * known.min())


def logarithmic(axes: Axes, which: str, values: Sequence[np.ndarray]) -> None:
    """Make the axis `which` ("x" or "y") logarithmic over the positive numbers among `values`, with plain labels.

    It stays linear where they differ little.
    """
    joined = np.concatenate([np.ravel(one) for one in values])
    known = joined[np.isfinite(joined) & (joined > 0.0)]
    if not known.size or known.max() < _NARROW * known.min():
        return
    low, high = float(known.min()), float(known.max())
    margin = max((high / low) ** 0.05, 1.05)
    low, high = low / margin, high * margin
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    ticks = log_ticks(low, high, 5)
    axis.set_ticks(ticks, [power(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


def whole_numbers(axis: Any) -> None:
    """Let an axis count in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True))


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, role: str = "c1", **style: Any) -> None:
    """Draw dots; many of them as an image, which does not follow the reader's light or dark scheme."""
    many = x.size > MANY
    colour = svg.colour("c6" if many else role)  # c6 is seen on both
    size = 5 if x.size < 200 else 2.6
    axes.plot(x, y, ".", ms=size, mew=0, alpha=0.75, color=colour, rasterized=many, **style)


def filled(
    axes: Axes, heights: np.ndarray, edges: np.ndarray, role: str = "c1", label: str | None = None
) -> None:
    """Draw a histogram."""
    axes.stairs(heights, edges, fill=True, color=svg.colour(role), alpha=0.3, lw=0)
    axes.stairs(heights, edges, color=svg.colour(role), lw=1.1, label=label)


def legend_above(axes: Axes, entries: int) -> None:
    """Write the legend above the panel, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=entries,
        borderaxespad=0,
        columnspacing=1.2,
        handlelength=1.4,
    )
