"""Draw the fields of a few samples in the way that their dimensions ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.ensemble.images import Scale, image, scale_of
from hpc_ds.report.ensemble.samples import Gallery
from hpc_ds.store.layout import Axis, Field, Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SNAPSHOTS = 4
"""Moments at which a field in the plane is shown."""

CURVES = 5
"""Moments at which a field along a line is drawn as a curve."""

_POINTS = 500
"""More points of a curve than a screen can show are thinned to this."""
_WIDTH = svg.WIDE[0]


@dataclass(frozen=True, eq=False)
class Picture:
    """One field of the samples that are shown, brought down to at most two spatial dimensions."""

    label: str
    """What is drawn, with units, for an axis."""
    told: str
    """The same for a sentence."""
    names: tuple[str, ...]
    """Of the samples."""
    values: tuple[np.ndarray, ...]
    """One array a sample: (times, *grid), or (*grid) of a field that does not vary in time."""
    times: Axis | None
    axes: tuple[Axis, ...]
    cut: str
    """Which slice of a field in space is shown; empty if all of it is."""


def drawable(layout: Layout) -> list[Field]:
    """Return the fields in the order in which a reader wants them: the ones in space and time first."""

    def rank(item: Field) -> tuple[bool, bool]:
        return not layout.dims(item.name), not (item.time_varying and layout.times.size > 1)

    return sorted(layout.fields, key=rank)


def draw(layout: Layout, field: Field, chosen: Gallery, key: str) -> tuple[str, str]:
    """Return the figure of one field and its caption."""
    if field.name in chosen.numbers:
        return _numbers(field, chosen, key)
    picture = _picture(layout, field, chosen)
    paint, caption, height = _WAYS[picture.times is not None, len(picture.axes)]
    label = f"{picture.label} of {wording.spoken(picture.names)}"
    drawn = svg.render(paint, picture, key=key, label=label, size=(_WIDTH, height(picture)))
    return drawn, caption(picture)


def _picture(layout: Layout, field: Field, chosen: Gallery) -> Picture:
    """Take magnitudes of vectors and tensors, and the middle slice of what fills space."""
    moving = field.time_varying and layout.times.size > 1
    axes = tuple(axis for axis in layout.axes if axis.name in layout.dims(field.name))
    values = [shown.values[field.name] for shown in chosen.shown]
    what = field.name
    if field.rank:
        values = [
            np.sqrt(np.square(one, dtype=float).sum(axis=tuple(range(-field.rank, 0)))) for one in values
        ]
        what = f"magnitude of {field.name}"
    if field.time_varying and not moving:
        values = [one[0] for one in values]
    cut = []
    while len(axes) > 2:
        middle = axes[0].size // 2
        values = [one[:, middle] if moving else one[middle] for one in values]
        cut.append(f"{axes[0].name} = {axes[0].coordinates[middle]:.4g}{_behind(axes[0].units)}")
        axes = axes[1:]
    return Picture(
        f"{what} / {field.units}" if field.units else what,
        f"{what} in {field.units}" if field.units else what,
        tuple(shown.title for shown in chosen.shown),
        tuple(values),
        layout.times if moving else None,
        axes,
        wording.spoken(cut),
    )


# One number a sample


def _numbers(field: Field, chosen: Gallery, key: str) -> tuple[str, str]:
    values = chosen.numbers[field.name]
    label = f"How often {field.name} has which value"
    name = f"{field.name} / {field.units}" if field.units else field.name
    marks = [(shown.title, float(shown.values[field.name].item())) for shown in chosen.shown]
    drawn = svg.render(_paint_numbers, values, name, marks, key=key, label=label, size=(_WIDTH, 2.4))
    return drawn, f"{field.name} of the {values.size} samples that were looked at; lines: the samples shown."


def _paint_numbers(figure: Figure, values: np.ndarray, name: str, marks: Sequence[tuple[str, float]]) -> None:
    axes = figure.subplots()
    heights, edges = np.histogram(values, bins=int(np.clip(np.sqrt(values.size), 5, 30)))
    axes.stairs(heights, edges, fill=True, color=svg.colour("data"), alpha=0.4, lw=0)
    for place, (title, value) in enumerate(marks):
        axes.axvline(value, color=svg.component(place), lw=1.4, label=title)
    axes.set_xlabel(name)
    axes.set_ylabel("samples")
    _legend(axes, len(marks))


# Curves


def _paint_series(figure: Figure, picture: Picture) -> None:
    """Draw one curve a sample: a number over time, or a field along a line that does not change."""
    along = picture.times or picture.axes[0]
    axes = figure.subplots()
    every = slice(None, None, max(1, -(-along.size // (4 * _POINTS))))
    for place, (name, values) in enumerate(zip(picture.names, picture.values, strict=True)):
        axes.plot(along.coordinates[every], values[every], color=svg.component(place), lw=1.1, label=name)
    axes.set_xlim(along.coordinates[0], along.coordinates[-1])
    axes.set_xlabel(_named(along))
    axes.set_ylabel(wording.clipped(picture.label, 40))
    _legend(axes, len(picture.names))


def _series_caption(picture: Picture) -> str:
    along = "over time" if picture.times is not None else f"along {picture.axes[0].name}"
    return f"{_opening(picture)} {along}."


# A line in space, and time


def _paint_space_time(figure: Figure, picture: Picture) -> None:
    """Draw space across and time upwards as images, and below them curves at a few moments."""
    times, across = _moving(picture), picture.axes[0]
    scale, number = scale_of(picture.values), len(picture.values)
    grid = figure.subplots(2, number, squeeze=False, sharex=True, sharey="row", height_ratios=(1.35, 1))
    for place, values in enumerate(picture.values):
        top, bottom = grid[:, place]
        shown = image(top, values, across, times, scale)
        top.set_title(picture.names[place], fontsize=8.5)
        _curves(bottom, values, across, _moments(times, CURVES))
        bottom.set_xlabel(_named(across), fontsize=8.5)
        bottom.locator_params(axis="x", nbins=3)
    grid[0, 0].set_ylabel(_named(times))
    grid[1, 0].set_ylabel(wording.clipped(picture.label, 18))
    _colour_bar(figure, shown, list(grid[0]), picture.label, scale, 1.8)


def _curves(axes: Axes, values: np.ndarray, across: Axis, moments: Sequence[int]) -> None:
    every = slice(None, None, max(1, -(-across.size // _POINTS)))
    for place, moment in enumerate(moments):
        strength = 0.25 + 0.75 * place / max(1, len(moments) - 1)
        axes.plot(
            across.coordinates[every], values[moment][every], color=svg.colour("c1"), alpha=strength, lw=0.9
        )


def _space_time_caption(picture: Picture) -> str:
    times = _moving(picture)
    told = _told_times(times, _moments(times, CURVES))
    return (
        f"{_opening(picture)}. Above: {picture.axes[0].name} across, {times.name} upwards, one colour scale for all; "
        f"below: curves at {told}, from faint to strong."
    )


# A plane in space


def _paint_snapshots(figure: Figure, picture: Picture) -> None:
    """Draw a row of snapshots for each sample."""
    times = _moving(picture)
    moments = _moments(times, SNAPSHOTS)
    rows = [[values[moment] for moment in moments] for values in picture.values]
    grid = _paint_planes(figure, picture, rows)
    for place, moment in enumerate(moments):
        grid[0, place].set_title(f"t = {_time(times, moment)}", fontsize=8.5)
    for place, name in enumerate(picture.names):
        grid[place, 0].set_ylabel(name, fontsize=8.5)


def _paint_still(figure: Figure, picture: Picture) -> None:
    """Draw one image a sample."""
    grid = _paint_planes(figure, picture, [list(picture.values)])
    for place, name in enumerate(picture.names):
        grid[0, place].set_title(name, fontsize=8.5)


def _paint_planes(figure: Figure, picture: Picture, rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    scale = scale_of([values for row in rows for values in row])
    across, up = _oriented(picture.axes)
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axes, values in zip(grid.flat, [values for row in rows for values in row], strict=True):
        turned = values.T if across is picture.axes[0] else values
        shown = image(axes, turned, across, up, scale)
        axes.set_xticks([])
        axes.set_yticks([])
        if 1 / 4 <= _shape(picture) <= 4:
            axes.set_aspect("equal")
    _colour_bar(figure, shown, list(grid.flat), picture.label, scale, figure.get_figheight() - 0.4)
    return grid


def _planes_caption(picture: Picture) -> str:
    across, up = _oriented(picture.axes)
    ends = " and ".join(
        f"{axis.name} {way} from {axis.coordinates[0]:.3g} to {axis.coordinates[-1]:.3g}{_behind(axis.units)}"
        for axis, way in ((across, "across"), (up, "upwards"))
    )
    cut = f" Of the whole field the slice at {picture.cut}." if picture.cut else ""
    rows = "; a row for each sample" if picture.times is not None else ""
    return f"{_opening(picture)}: {ends}{rows}, one colour scale for all.{cut}"


def _oriented(axes: Sequence[Axis]) -> tuple[Axis, Axis]:
    """Return the axis to draw across and the one to draw upwards: x goes across wherever it stands."""
    first, second = axes
    return (second, first) if second.name.lower() in ("x", "lon", "longitude") else (first, second)


def _shape(picture: Picture) -> float:
    """Return height over width of a plane."""
    across, up = (np.ptp(axis.coordinates) or 1.0 for axis in _oriented(picture.axes))
    return float(up / across)


# Sizes


def _flat(picture: Picture) -> float:
    return 2.7


def _tall(picture: Picture) -> float:
    return 3.3


def _by_rows(picture: Picture) -> float:
    rows = len(picture.values) if picture.times is not None else 1
    columns = SNAPSHOTS if picture.times is not None else len(picture.values)
    one = 0.8 * _WIDTH / columns * float(np.clip(_shape(picture), 0.3, 1.6))
    return min(0.45 + rows * (one + 0.06), 7.5)


Way = tuple[Callable[..., None], Callable[[Picture], str], Callable[[Picture], float]]

_WAYS: Mapping[tuple[bool, int], Way] = {
    (True, 0): (_paint_series, _series_caption, _flat),
    (False, 1): (_paint_series, _series_caption, _flat),
    (True, 1): (_paint_space_time, _space_time_caption, _tall),
    (True, 2): (_paint_snapshots, _planes_caption, _by_rows),
    (False, 2): (_paint_still, _planes_caption, _by_rows),
}
"""(varies in time, spatial dimensions) -> how it is drawn, what is said below, how high the figure is."""


# Shared by the figures


def _moving(picture: Picture) -> Axis:
    assert picture.times is not None
    return picture.times


def _opening(picture: Picture) -> str:
    """Begin a sentence: a field keeps its own spelling, other words get their capital."""
    return (
        picture.told[:1].upper() + picture.told[1:]
        if picture.told.startswith("magnitude of ")
        else picture.told
    )


def _moments(times: Axis, most: int) -> list[int]:
    """Return the places of at most `most` moments, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, times.size - 1, most).round().astype(int)).tolist()


def _time(times: Axis, moment: int) -> str:
    return f"{times.coordinates[moment]:.3g}{_behind(times.units)}".replace("-", "−")


def _told_times(times: Axis, moments: Sequence[int]) -> str:
    told = [f"{times.coordinates[moment]:.3g}" for moment in moments]
    return f"t = {wording.spoken(told)}{_behind(times.units)}"


def _named(axis: Axis) -> str:
    return f"{axis.name} / {axis.units}" if axis.units else axis.name


def _behind(units: str) -> str:
    return f" {units}" if units else ""


def _legend(axes: Axes, entries: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=entries,
        borderaxespad=0,
        columnspacing=1.2,
        handlelength=1.2,
    )


def _colour_bar(
    figure: Figure, shown: Any, panels: list[Axes], label: str, scale: Scale, height: float
) -> None:
    """Draw the colour scale beside `panels`, which are `height` inches high."""
    bar = figure.colorbar(
        shown, ax=panels, extend=scale.extend, extendfrac=0.03, aspect=10 * height, pad=0.02, fraction=0.05
    )
    bar.set_label(wording.clipped(label, 30), fontsize=8.5)
    bar.ax.tick_params(labelsize=7.5, length=2.5)
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
