"""How the design covers the space of the parameters, and where in it samples failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.ensemble.parameters import Parameter
from hpc_ds.report.ensemble.reader import Ensemble
from hpc_ds.report.ensemble.scales import Scale, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 6
"""More parameters than this do not fit the page."""

_DOTS = 4000
"""Done samples shown as dots; all of them enter the histograms."""
_AS_IMAGE = 6000
"""More dots than this, over all panels, are drawn as images inside the figure."""


@dataclass(frozen=True, eq=False)
class Marks:
    """What became of each sample of the design, as masks (n,)."""

    done: np.ndarray
    failed: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Samples that were not computed yet."""
        return ~(self.done | self.failed)


def draw(run: Ensemble, key: str = "coverage") -> str:
    """Draw every pair of the first `MOST` varied parameters, and each alone on the diagonal."""
    chosen = varied(run)[:MOST]
    marks = fates(run, chosen[0].values.size)
    height = {1: 2.3, 2: 3.9, 3: 4.4}.get(len(chosen), 4.8)
    label = f"Values of {wording.spoken([item.name for item in chosen])} in the design, each against each"
    return svg.render(_pairs, chosen, marks, key=key, label=label, size=(svg.WIDE[0], height))


def varied(run: Ensemble) -> list[Parameter]:
    """Return the parameters in which samples differ."""
    return [item for item in run.parameters if item.varies]


def fates(run: Ensemble, size: int) -> Marks:
    """Say of each of the `size` samples of the design what became of it."""
    done, failed = np.zeros(size, bool), np.zeros(size, bool)
    done[[index for index in run.done if index < size]] = True
    failed[[item.index for item in run.failures if item.index < size]] = True
    return Marks(done, failed)


def caption(run: Ensemble) -> str:
    """Explain the figure that `draw` draws."""
    names = varied(run)
    marks = fates(run, names[0].values.size)
    first = f"The first {MOST} of {len(names)} varied parameters: " if len(names) > MOST else ""
    what = "each parameter against each other, and each alone on the diagonal" if len(names) > 1 else ""
    told = [text for text in (f"{first}{what}".strip(), *_colours(marks, len(names) > 1)) if text]
    if len(names) > 1 and any(item.discrete for item in names[:MOST]):
        told.append("Whole numbers and words are spread a little, so that no dot hides another")
    told = [text[:1].upper() + text[1:] for text in told]
    return f"{'. '.join(told)}."


def _colours(marks: Marks, pairs: bool) -> list[str]:
    told = ["filled: samples that are done, outline: all of the design"]
    if marks.failed.any():
        told.append("crosses: samples that failed" if pairs else "orange: samples that failed")
    if marks.missing.any() and pairs:
        told.append("grey: samples not computed yet")
    shown = np.count_nonzero(marks.done)
    if shown > _DOTS and pairs:
        told.append(f"{wording.count(_DOTS)} of the {wording.count(shown)} done samples are shown as dots")
    return told


def _pairs(figure: Figure, chosen: Sequence[Parameter], marks: Marks) -> None:
    number = len(chosen)
    figure.set_layout_engine(None)
    grid = figure.subplots(number, number, squeeze=False)
    left, bottom = 0.72 / figure.get_figwidth(), (0.72 if number > 2 else 0.5) / figure.get_figheight()
    top = 0.985 if number > 1 else 0.88
    figure.subplots_adjust(left=left, bottom=bottom, right=0.985, top=top, wspace=0.08, hspace=0.08)
    scales = [scale_of(item, number) for item in chosen]
    as_image = marks.done.size * number * (number - 1) / 2 > _AS_IMAGE
    for row in range(number):
        for column in range(number):
            axes = grid[row, column]
            if column > row:
                axes.remove()
                continue
            if row == column:
                _histogram(axes, scales[row], marks)
            else:
                _pair(axes, scales[column], scales[row], marks, as_image)
            _label(axes, chosen, scales, row, column)
    figure.align_xlabels(grid[-1])
    _legend(figure, marks)


def _histogram(axes: Axes, scale: Scale, marks: Marks) -> None:
    everything, edges = np.histogram(scale.values, scale.edges)
    done, _ = np.histogram(scale.values[marks.done], scale.edges)
    axes.stairs(done, edges, fill=True, color=svg.colour("c1"), alpha=0.35, lw=0)
    axes.stairs(everything, edges, color=svg.colour("c1"), lw=1)
    if marks.failed.any():
        failed, _ = np.histogram(scale.values[marks.failed], scale.edges)
        axes.stairs(failed, edges, fill=True, color=svg.colour("c2"), alpha=0.9, lw=0)
    axes.set_xlim(scale.low, scale.high)
    axes.set_ylim(0, 1.12 * everything.max(initial=1))
    axes.grid(visible=False)


def _pair(axes: Axes, x: Scale, y: Scale, marks: Marks, as_image: bool) -> None:
    across, up = x.placed(0), y.placed(1)
    done, missing = (_thinned(np.flatnonzero(mask)) for mask in (marks.done, marks.missing))
    size = 5.0 if done.size < 100 else 3.8 if done.size < 500 else 2.4
    style: dict[str, Any] = {"ls": "", "mew": 0, "rasterized": as_image}
    axes.plot(across[missing], up[missing], ".", ms=0.8 * size, color=svg.colour("data"), alpha=0.6, **style)
    # An image does not follow the reader's light or dark scheme; c6 can be seen on both.
    colour = svg.colour("c6" if as_image else "c1")
    axes.plot(across[done], up[done], ".", ms=size, color=colour, alpha=0.75, **style)
    failed = np.flatnonzero(marks.failed)
    size, width = (4.0, 1.1) if failed.size < 50 else (2.6, 0.8)
    axes.plot(
        across[failed],
        up[failed],
        "x",
        color=svg.colour("c2"),
        zorder=4,
        rasterized=failed.size > 400,
        ls="",
        ms=size,
        mew=width,
    )
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)
    axes.grid(visible=False)


def _thinned(indices: np.ndarray) -> np.ndarray:
    return indices[:: max(1, -(-indices.size // _DOTS))]


def _label(axes: Axes, chosen: Sequence[Parameter], scales: Sequence[Scale], row: int, column: int) -> None:
    last = len(chosen) - 1
    axes.tick_params(labelsize=7.5, length=2.5, labelbottom=row == last, labelleft=column == 0 and row > 0)
    axes.set_xticks(scales[column].ticks, scales[column].names if row == last else None)
    turned = last > 1 or bool(chosen[column].words)
    if row == last and turned:
        axes.tick_params(axis="x", labelrotation=40)
    if row == column:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    else:
        axes.set_yticks(scales[row].ticks, scales[row].names if column == 0 else None)
    if row == last:
        axes.set_xlabel(_name(chosen[column], last), fontsize=8.5)
    if column == 0 and row > 0:
        axes.set_ylabel(_name(chosen[row], last), fontsize=8.5)


def _name(item: Parameter, last: int) -> str:
    room = (60, 24, 18, 15, 13, 11)[last]
    return item.label if len(item.label) <= room else wording.clipped(item.name, room)


def _legend(figure: Figure, marks: Marks) -> None:
    from matplotlib.lines import Line2D

    kinds = (
        ("done", marks.done, ".", "c1", 7.0),
        ("failed", marks.failed, "x", "c2", 4.5),
        ("not computed yet", marks.missing, ".", "data", 7.0),
    )
    handles = [
        Line2D(
            [],
            [],
            ls="",
            marker=marker,
            ms=size,
            color=svg.colour(role),
            label=f"{name} ({wording.count(mask.sum())})",
        )
        for name, mask, marker, role, size in kinds
        if mask.any()
    ]
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.99, 0.99), handletextpad=0.3)
