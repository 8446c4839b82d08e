"""What the figures of the study share: one colour for each answer, bands, keys, labels that keep apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg
from hpc_ds.report.neutron_star.reader import HIGH, LOW, LOWER, UPPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRIOR, POSTERIOR, NETWORK, ALL, PUBLISHED = "data", "c1", "c2", "c3", "c7"
"""Colour of what was known before, of the exact posterior, of the networks, of the posterior given every star, and of
published numbers: the same in every figure."""

WIDE_BAND, NARROW_BAND = 0.16, 0.3
"""Opacity of bands of 95 and of 68 %."""

_LETTER = (0.56, 1.15)  # width and height of a letter, in units of the font size
_CLEAR = 1.5  # points around a label
_FAR = 9.0  # points from which on a line leads from the label to its place
_DISTANCES = (5.0, 10.0, 16.0, 23.0, 31.0, 40.0, 52.0, 66.0)
_DIRECTIONS = tuple(2.0 * math.pi * k / 16 for k in range(16))

Box = tuple[float, float, float, float]
"""Left, bottom, right and top."""


def bands(fill: Callable[..., Any], along: np.ndarray, rows: np.ndarray, role: str) -> None:
    """Fill the 95 and 68 % bands of quantiles (5, n) with `fill`, an axes' ``fill_between`` or ``fill_betweenx``."""
    for low, high, strength in ((LOW, HIGH, WIDE_BAND), (LOWER, UPPER, NARROW_BAND)):
        fill(along, rows[low], rows[high], color=svg.colour(role), alpha=strength, lw=0)


def band_key(role: str, label: str) -> Any:
    """Return the entry of a key for a band."""
    from matplotlib.patches import Patch

    return Patch(color=svg.colour(role), alpha=0.45, lw=0, label=label)


def line_key(role: str, label: str, **style: Any) -> Any:
    """Return the entry of a key for a line or a marker."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=svg.colour(role), label=label, **{"lw": 1.4, **style})


def key_above(axes: Axes, entries: Sequence[Any]) -> None:
    """Write the key above the panel, where it hides nothing."""
    axes.legend(
        handles=list(entries),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(entries),
        borderaxespad=0.1,
        columnspacing=1.1,
        handlelength=1.3,
        handletextpad=0.5,
    )


def label_apart(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    size: float,
    avoid: int = 0,
    mark: str = "",
) -> None:
    """Write a name beside each point so that names cover neither each other nor a point.

    The limits of the axes must be set. The first `avoid` points are not named, only kept clear.
    In the SVG a name is a link to `mark` and itself, for the caller to turn into what it likes.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # where the axes lie is known only when the layout is made
    to_points = 72.0 / figure.dpi
    spots = axes.transData.transform(np.asarray(points, dtype=float)) * to_points
    inside = np.asarray(axes.get_window_extent().extents) * to_points
    boxes: list[Box] = []
    for spot, name in zip(spots[avoid:], names, strict=True):
        width, height = _LETTER[0] * size * len(name), _LETTER[1] * size
        at = _place(spot, width, height, boxes, spots, tuple(inside))
        boxes.append(at)
        text = _write(axes, name, spot, at, size)
        text.set_url(f"{mark}{name}" if mark else None)


def _place(
    spot: np.ndarray, width: float, height: float, boxes: list[Box], spots: np.ndarray, inside: Any
) -> Box:
    """Return the box of least trouble around a spot, the nearest of several."""
    best, least = None, math.inf
    for distance in _DISTANCES:
        for angle in _DIRECTIONS:
            across, up = math.cos(angle), math.sin(angle)
            x = spot[0] + distance * across + 0.5 * width * (across - 1.0)
            y = spot[1] + distance * up + 0.5 * height * (up - 1.0)
            box = (x, y, x + width, y + height)
            trouble = _trouble(box, boxes, spots, inside) + 0.02 * distance
            if trouble < least:
                best, least = box, trouble
    assert best is not None
    return best


def _trouble(box: Box, boxes: list[Box], spots: np.ndarray, inside: Box) -> float:
    """Return how much a label hides there: others' labels, points, or the edge of the panel."""
    left, bottom, right, top = (box[0] - _CLEAR, box[1] - _CLEAR, box[2] + _CLEAR, box[3] + _CLEAR)
    outside = left < inside[0] or bottom < inside[1] or right > inside[2] or top > inside[3]
    covered = sum(left < b[2] and b[0] < right and bottom < b[3] and b[1] < top for b in boxes)
    hidden = np.sum(
        (spots[:, 0] > left) & (spots[:, 0] < right) & (spots[:, 1] > bottom) & (spots[:, 1] < top)
    )
    return 20.0 * outside + 10.0 * covered + 5.0 * float(hidden)


def _write(axes: Axes, name: str, spot: np.ndarray, box: Box, size: float) -> Any:
    nearest = (float(np.clip(spot[0], box[0], box[2])), float(np.clip(spot[1], box[1], box[3])))
    back = axes.transData.inverted()
    scale = axes.figure.dpi / 72.0
    place, end, start = (
        back.transform((x * scale, y * scale))
        for x, y in (((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), nearest, tuple(spot))
    )
    if math.dist(nearest, tuple(spot)) > _FAR:
        (line,) = axes.plot(*zip(start, end, strict=True), color=svg.colour("muted"), lw=0.5, zorder=5)
        line.set_in_layout(False)
    text = axes.text(
        float(place[0]),
        float(place[1]),
        name,
        fontsize=size,
        ha="center",
        va="center",
        color=svg.colour("ink"),
        zorder=7,
    )
    text.set_in_layout(False)
    return text
