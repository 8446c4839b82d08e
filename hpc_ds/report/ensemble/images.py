"""Draw a field as an image that is small in bytes: few points, one colour scale, no colour that is not in the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hpc_ds.store.layout import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 112
"""Points along each side of an image; more are averaged."""

SIGNED, UNSIGNED = "RdBu_r", "viridis"
"""Colour maps of fields with and without a sign; both can be read by colour-blind eyes."""

_ONE_SIDED = 0.1
"""A field whose weaker sign is below this share of the stronger one counts as one without a sign."""
_CLIPPED = 0.002
"""Share of the values beyond each end of the colour scale, so that one spike does not wash out all others."""
_SPIKE = 1.4
"""A range of all values that is wider than that of the others by more than this is cut off."""
_SAMPLED = 200_000


@dataclass(frozen=True)
class Scale:
    """Which colours stand for which values."""

    low: float
    high: float
    colours: str
    """Name of the colour map."""
    extend: Literal["neither", "min", "max", "both"]
    """Where values lie beyond the scale."""


def scale_of(values: Sequence[np.ndarray]) -> Scale:
    """Return one colour scale for all of `values`; symmetric about 0 if they have both signs."""
    parts = [part.ravel()[:: max(1, len(values) * part.size // _SAMPLED)] for part in values]
    low, high = (float(end) for end in np.quantile(np.concatenate(parts), (_CLIPPED, 1 - _CLIPPED)))
    least, most = (float(pick([pick(part) for part in values])) for pick in (np.min, np.max))
    if most - least <= _SPIKE * (high - low):
        low, high = least, most
    if least >= 0.0 and low < _ONE_SIDED * high:
        low = 0.0
    signed = low < 0.0 < high and min(-low, high) > _ONE_SIDED * max(-low, high)
    if signed:
        low, high = -max(-low, high), max(-low, high)
    if not low < high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    extend: dict[tuple[bool, bool], Literal["neither", "min", "max", "both"]] = {
        (False, False): "neither",
        (True, False): "min",
        (False, True): "max",
        (True, True): "both",
    }
    return Scale(low, high, SIGNED if signed else UNSIGNED, extend[least < low, most > high])


def image(axes: Axes, values: np.ndarray, across: Axis, up: Axis, scale: Scale) -> Any:
    """Draw `values` (up, across) with matplotlib's own pixels, so that they stay what they are; return the artist."""
    rows, bottom, top = evened(np.asarray(values, float), up.coordinates)
    columns, left, right = evened(rows.T, across.coordinates)
    shown = axes.imshow(
        columns.T,
        origin="lower",
        extent=(left, right, bottom, top),
        aspect="auto",
        interpolation="none",
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
    )
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return shown


def evened(values: np.ndarray, coordinates: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Bring the first axis of `values` to at most `MOST` evenly spaced points.

    Returns
    -------
    values : array
        Means of neighbours where there were too many, the nearest where they were not evenly spaced.
    low, high : float
        The outer edges of the first and the last point.
    """
    size = coordinates.size
    if size > 1 and np.ptp(np.diff(coordinates)) > 0.01 * np.ptp(coordinates) / (size - 1):
        even = np.linspace(coordinates[0], coordinates[-1], min(2 * size, MOST))
        middles = 0.5 * (coordinates[1:] + coordinates[:-1])
        values, coordinates = values[np.searchsorted(middles, even)], even
    elif size > MOST:
        starts = np.linspace(0, size, MOST + 1).astype(int)
        counts = np.diff(starts).reshape(-1, *[1] * (values.ndim - 1))
        values = np.add.reduceat(values, starts[:-1], axis=0) / counts
    half = 0.5 * np.ptp(coordinates) / (coordinates.size - 1) if size > 1 else 0.5
    return values, float(coordinates[0] - half), float(coordinates[-1] + half)
