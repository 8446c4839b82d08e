"""Draw the best, the median and the worst prediction of fields: along a line as curves, else as images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.ensemble.images import Scale, image, scale_of
from hpc_ds.report.training.reader import Shown, Split
from hpc_ds.store.layout import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 3
"""Channels that are drawn."""

_POINTS = 500
"""More points of a curve than a screen can show are thinned to this."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One channel of one sample, brought down to at most two dimensions."""

    title: str
    input: np.ndarray | None
    target: np.ndarray
    prediction: np.ndarray
    spread: np.ndarray | None

    @property
    def difference(self) -> np.ndarray:
        """Prediction less target."""
        return self.prediction - self.target


@dataclass(frozen=True, eq=False)
class Picture:
    """One channel of all samples that are shown."""

    name: str
    input_name: str
    axes: tuple[Axis, ...]
    panels: tuple[Panel, ...]
    cut: str
    """Which slice of a field in space is shown; empty if all of it is."""


def channels(split: Split) -> list[int]:
    """Return which channels of the target are drawn: at most `MOST`, first and last among them."""
    count = split.shown[0].target.shape[0] if split.shown else 0
    return (
        np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(int)).tolist() if count else []
    )


def draw(split: Split, channel: int, card: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Return the figure of one channel of the target and its caption."""
    picture = _picture(split, channel, card)
    paint, caption, height = _WAYS[len(picture.axes)]
    label = f"{picture.name}, predicted and true: {wording.spoken([panel.title for panel in picture.panels])}"
    size = (svg.WIDE[0] if len(picture.axes) == 1 else svg.WIDE[0] + 0.4, height(picture))
    return svg.render(paint, picture, key=key, label=label, size=size), caption(picture)


def _picture(split: Split, channel: int, card: Mapping[str, Any]) -> Picture:
    target_names = split.names or tuple(card.get("targets", {}).get("names", ()))
    name = target_names[channel] if channel < len(target_names) else f"channel {channel + 1}"
    input_names = tuple(card.get("inputs", {}).get("names", ()))
    source = _source(name, input_names)
    grid = split.shown[0].target.shape[1:]
    axes = _axes(card, grid)
    cut = []
    while len(axes) > 2:
        middle = axes[0].size // 2
        cut.append(f"{axes[0].name} = {axes[0].coordinates[middle]:.4g}{_behind(axes[0].units)}")
        axes = axes[1:]
    depth = len(grid) - len(axes)
    panels = tuple(_panel(shown, channel, source, depth) for shown in split.shown)
    label = input_names[source] if source < len(input_names) else "input"
    return Picture(name, label, axes, panels, wording.spoken(cut))


def _source(name: str, inputs: Sequence[str]) -> int:
    """Return the input channel that a reader wants beside this target: the same field, else the first."""
    same = [place for place, one in enumerate(inputs) if one.partition(":")[0] == name.partition(":")[0]]
    return same[-1] if same else 0


def _axes(card: Mapping[str, Any], grid: tuple[int, ...]) -> tuple[Axis, ...]:
    """Return the axes of the grid: as the network's file has them, evenly filled where the grid is another one."""
    told = card.get("axes") or []
    named = (
        [item.get("name", "") for item in told] if len(told) == len(grid) else ["x", "y", "z"][: len(grid)]
    )
    axes = []
    for place, size in enumerate(grid):
        item = told[place] if len(told) == len(grid) else {}
        coordinates = np.asarray(item.get("coordinates", ()), dtype=float)
        if coordinates.size != size:
            known = coordinates.size > 1
            low, high = (
                (float(coordinates[0]), float(coordinates[-1])) if known else (0.0, max(size - 1.0, 1.0))
            )
            coordinates = np.linspace(low, high, size)
        axes.append(Axis(str(named[place]), coordinates, str(item.get("units", ""))))
    return tuple(axes)


def _panel(shown: Shown, channel: int, source: int, depth: int) -> Panel:
    def cut(values: np.ndarray | None, place: int) -> np.ndarray | None:
        if values is None or values.shape[1:] != shown.target.shape[1:] or place >= len(values):
            return None
        found = np.asarray(values[place], dtype=float)
        for _ in range(depth):
            found = found[found.shape[0] // 2]
        return found

    title = shown.place if shown.sample is None else f"{shown.place}: sample {shown.sample}"
    target, prediction = cut(shown.target, channel), cut(shown.prediction, channel)
    assert target is not None and prediction is not None
    return Panel(title, cut(shown.input, source), target, prediction, cut(shown.spread, channel))


# Along a line


def _paint_lines(figure: Figure, picture: Picture) -> None:
    """Draw a column for each sample: the input, target and prediction, their difference."""
    with_input = all(panel.input is not None for panel in picture.panels)
    rows, heights = (3, (0.8, 1.5, 0.8)) if with_input else (2, (1.5, 0.8))
    grid = figure.subplots(
        rows, len(picture.panels), squeeze=False, sharex=True, sharey="row", height_ratios=heights
    )
    across = picture.axes[0]
    every = slice(None, None, max(1, -(-across.size // _POINTS)))
    x = across.coordinates[every]
    for column, panel in enumerate(picture.panels):
        if panel.input is not None and with_input:
            grid[0, column].plot(x, panel.input[every], color=svg.colour("c3"), lw=1.0)
        _compared(grid[-2, column], x, panel, every)
        grid[-1, column].plot(x, panel.difference[every], color=svg.colour("c2"), lw=1.0)
        grid[-1, column].axhline(0, color=svg.colour("muted"), lw=0.7)
        grid[0, column].set_title(panel.title, fontsize=8.5)
        grid[-1, column].set_xlabel(_named(across), fontsize=8.5)
        grid[-1, column].locator_params(axis="x", nbins=3)
    if with_input:
        grid[0, 0].set_ylabel(wording.clipped(f"input {picture.input_name}", 14), fontsize=8.5)
    grid[-2, 0].set_ylabel(wording.clipped(picture.name, 20), fontsize=8.5)
    grid[-1, 0].set_ylabel("difference", fontsize=8.5)
    figure.align_ylabels(grid[:, 0])


def _compared(axes: Axes, x: np.ndarray, panel: Panel, every: slice) -> None:
    axes.plot(x, panel.target[every], color=svg.colour("ink"), lw=1.2)
    axes.plot(x, panel.prediction[every], color=svg.colour("c1"), lw=1.4, ls=(0, (3, 1.5)))
    if panel.spread is not None:
        low, high = (panel.prediction + sign * 2 * panel.spread for sign in (-1, 1))
        axes.fill_between(x, low[every], high[every], color=svg.colour("c1"), alpha=0.2, lw=0)


def _lines_caption(picture: Picture) -> str:
    spread = ", with twice its spread as a band" if any(p.spread is not None for p in picture.panels) else ""
    above = f" Above: {picture.input_name}, an input." if picture.panels[0].input is not None else ""
    return (
        f"{picture.name}: what is true (solid) and what the network says (dashed, blue{spread}); below: prediction "
        f"less truth.{above}"
    )


# In the plane


def _paint_planes(figure: Figure, picture: Picture) -> None:
    """Draw a row for each sample: input, target, prediction, difference; one colour scale for truth and prediction."""
    with_input = all(panel.input is not None for panel in picture.panels)
    names = ["input", "target", "prediction", "difference"][0 if with_input else 1 :]
    grid = figure.subplots(len(picture.panels), len(names), squeeze=False)
    across, up = _oriented(picture.axes)
    groups = _columns(picture, names)
    for place, panel in enumerate(picture.panels):
        for column, name in enumerate(names):
            values = panel.difference if name == "difference" else getattr(panel, name)
            turned = values.T if across is picture.axes[0] else values
            axes = grid[place, column]
            drawn = image(axes, turned, across, up, groups[name])
            axes.set_xticks([])
            axes.set_yticks([])
            if 1 / 4 <= _shape(picture) <= 4:
                axes.set_aspect("equal")
            if place == 0:
                axes.set_title(name, fontsize=8.5)
            if place == len(picture.panels) - 1 and name != "target":
                beside = [grid[row, at] for row in range(len(grid)) for at in _beside(name, names)]
                _colour_bar(figure, drawn, beside, groups[name], _bar_name(name, picture))
        grid[place, 0].set_ylabel(panel.title.replace(": ", "\n"), fontsize=8.5)


def _columns(picture: Picture, names: Sequence[str]) -> dict[str, Scale]:
    both = scale_of([values for panel in picture.panels for values in (panel.target, panel.prediction)])
    found = {"target": both, "prediction": both}
    differences = np.concatenate([panel.difference.ravel() for panel in picture.panels])
    reach = float(np.abs(differences).max()) or 1.0
    found["difference"] = Scale(-reach, reach, "RdBu_r", "neither")
    if "input" in names:
        found["input"] = scale_of([panel.input for panel in picture.panels if panel.input is not None])
    return found


def _beside(name: str, names: Sequence[str]) -> list[int]:
    """Return the columns that the colour bar of this one stands under."""
    place = list(names).index(name)
    return [place - 1, place] if name == "prediction" else [place]


def _bar_name(name: str, picture: Picture) -> str:
    return {"input": picture.input_name, "prediction": picture.name}.get(name, "difference")


def _colour_bar(figure: Figure, drawn: Any, panels: list[Axes], scale: Scale, label: str) -> None:
    wide = len({axes.get_subplotspec().colspan.start for axes in panels})  # type: ignore[union-attr]
    bar = figure.colorbar(
        drawn,
        ax=panels,
        location="bottom",
        extend=scale.extend,
        extendfrac=0.03,
        aspect=12 * wide,
        pad=0.02,
        fraction=0.06,
    )
    bar.set_label(wording.clipped(label, 16 * wide), fontsize=8)
    bar.ax.tick_params(labelsize=7.5, length=2.5)
    bar.ax.locator_params(nbins=3 * wide)
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)


def _planes_caption(picture: Picture) -> str:
    across, up = _oriented(picture.axes)
    ends = " and ".join(
        f"{axis.name} {way} from {axis.coordinates[0]:.3g} to {axis.coordinates[-1]:.3g}{_behind(axis.units)}"
        for axis, way in ((across, "across"), (up, "upwards"))
    ).replace("-", "−")
    cut = f" Of the whole field the slice at {picture.cut}." if picture.cut else ""
    return (
        f"{picture.name}: {ends}; target and prediction have one colour scale, the difference is prediction less "
        f"target.{cut}"
    )


def _oriented(axes: Sequence[Axis]) -> tuple[Axis, Axis]:
    """Return the axis to draw across and the one to draw upwards: x goes across wherever it stands."""
    first, second = axes
    return (second, first) if second.name.lower() in ("x", "lon", "longitude") else (first, second)


def _shape(picture: Picture) -> float:
    """Return height over width of a plane."""
    across, up = (np.ptp(axis.coordinates) or 1.0 for axis in _oriented(picture.axes))
    return float(up / across)


# Sizes and ways


def _line_height(picture: Picture) -> float:
    return 4.1 if all(panel.input is not None for panel in picture.panels) else 3.2


def _plane_height(picture: Picture) -> float:
    columns = 4 if all(panel.input is not None for panel in picture.panels) else 3
    one = 5.0 / columns * float(np.clip(_shape(picture), 0.3, 1.6))
    return min(0.95 + len(picture.panels) * (one + 0.05), 8.0)


_WAYS: Mapping[int, tuple[Any, Any, Any]] = {
    1: (_paint_lines, _lines_caption, _line_height),
    2: (_paint_planes, _planes_caption, _plane_height),
}
"""Dimensions that are left -> how it is drawn, what is said below, how high the figure is."""


def _named(axis: Axis) -> str:
    return f"{axis.name} / {axis.units}" if axis.units else axis.name


def _behind(units: str) -> str:
    return f" {units}" if units else ""
