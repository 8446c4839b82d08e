"""What a classifier took for what, and whether its probabilities are honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.table import Cell, Table
from hpc_ds.report.training.drawing import filled, legend_above
from hpc_ds.report.training.reader import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 16
"""More classes than this are not drawn as a matrix."""

BINS = 15
"""Of the reliability diagram."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Answers beside the truth."""

    names: tuple[str, ...]
    label: np.ndarray
    """(n,) true classes."""
    answer: np.ndarray
    """(n,) the most probable class."""
    certainty: np.ndarray
    """(n,) its probability."""

    @property
    def right(self) -> np.ndarray:
        """(n,) whether the answer is the truth."""
        return self.answer == self.label


def judged(split: Split) -> Judged | None:
    """Return what the file has of classes; None where it has nothing of them."""
    label, probability = split.arrays.get("label"), split.arrays.get("probability")
    if label is None or probability is None or probability.ndim != 2 or not label.size:
        return None
    count = probability.shape[1]
    names = split.names if len(split.names) == count else tuple(str(place) for place in range(count))
    return Judged(names, label.astype(int), probability.argmax(axis=1), probability.max(axis=1))


def confusion(found: Judged) -> np.ndarray:
    """Return how many samples of each true class (rows) were taken for which (columns)."""
    count = len(found.names)
    return np.bincount(count * found.label + found.answer, minlength=count * count).reshape(count, count)


def matrix(found: Judged, key: str = "confusion") -> tuple[str, str]:
    """Draw the confusion matrix; return figure and caption."""
    height = float(np.clip(1.1 + 0.36 * len(found.names), 1.8, 5.2))
    label = "Which class was taken for which"
    drawn = svg.render(_matrix, found, key=key, label=label, size=(svg.WIDE[0], height))
    right, total = int(found.right.sum()), found.label.size
    return drawn, (
        f"Rows: what is true; columns: what the network says; numbers of samples, shaded by their share of the row. "
        f"Right: {wording.count(right)} of {wording.count(total)} ({100 * right / total:.1f} %)."
    )


def by_class(found: Judged) -> Table:
    """Tabulate samples, precision, recall and F1 of each class."""
    table = confusion(found)
    rows = []
    for place, name in enumerate(found.names):
        true, said, both = table[place].sum(), table[:, place].sum(), table[place, place]
        precision, recall = (both / total if total else None for total in (said, true))
        f1 = 2 * both / (true + said) if true + said else None
        shares = [
            Cell(wording.fraction(one, 3), warn=one is not None and one < 0.5)
            for one in (precision, recall, f1)
        ]
        rows.append((Cell(name), Cell(wording.count(true)), *shares))
    return Table("Class by class", ("class", "samples", "precision", "recall", "F1"), tuple(rows))


def reliability(found: Judged, key: str = "reliability") -> tuple[str, str]:
    """Draw how often answers of each certainty are right; return figure and caption."""
    label = "How often answers of each stated probability are right"
    drawn = svg.render(_reliability, found, key=key, label=label, size=svg.HALF)
    share, right, weight = _bins(found)
    gap = float(np.sum(weight * np.abs(share - right)))
    return drawn, (
        "How often an answer is right, against the probability that the network gives it (line: honest). On average "
        f"they are {100 * gap:.1f} % apart (expected calibration error, {BINS} bins). Grey: how many answers have it."
    )


def certainty(found: Judged, key: str = "certainty") -> tuple[str, str]:
    """Draw how certain right and wrong answers were; return figure and caption."""
    label = "Probabilities of right and of wrong answers"
    drawn = svg.render(_certainty, found, key=key, label=label, size=svg.HALF)
    return drawn, "How certain the network was of its right and of its wrong answers."


def _bins(found: Judged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean certainty, share of right answers and share of all samples of each bin that holds any."""
    place = np.clip(np.ceil(found.certainty * BINS).astype(int) - 1, 0, BINS - 1)  # each bin closed above
    count = np.bincount(place, minlength=BINS)
    there = count > 0
    sums = [np.bincount(place, one, BINS)[there] for one in (found.certainty, found.right.astype(float))]
    return sums[0] / count[there], sums[1] / count[there], count[there] / count.sum()


def _matrix(figure: Figure, found: Judged) -> None:
    axes = figure.subplots()
    table = confusion(found)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    number = len(found.names)
    for row in range(number):
        for column in range(number):
            role = "c1" if row == column else "c2"
            axes.fill(
                [column - 0.5, column + 0.5, column + 0.5, column - 0.5],
                [row - 0.5, row - 0.5, row + 0.5, row + 0.5],
                color=svg.colour(role),
                alpha=float(0.55 * share[row, column]),
                lw=0,
            )
            if table[row, column]:
                axes.text(
                    column, row, wording.count(table[row, column]), ha="center", va="center", fontsize=8
                )
    names = [wording.clipped(name, 12) for name in found.names]
    axes.set_xticks(
        range(number), names, rotation=40 if number > 3 else 0, ha="right" if number > 3 else "center"
    )
    axes.set_yticks(range(number), names)
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5))
    axes.set_xlabel("says")
    axes.set_ylabel("is")
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _reliability(figure: Figure, found: Judged) -> None:
    axes = figure.subplots()
    share, right, _ = _bins(found)
    axes.plot((0, 1), (0, 1), color=svg.colour("ink"), lw=0.9)
    heights, edges = np.histogram(found.certainty, BINS, (0, 1))
    axes.stairs(heights / found.certainty.size, edges, fill=True, color=svg.colour("data"), alpha=0.35, lw=0)
    axes.plot(share, right, "o-", color=svg.colour("c1"), ms=3.5, lw=1.2)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xlabel("stated probability")
    axes.set_ylabel("share of right answers")


def _certainty(figure: Figure, found: Judged) -> None:
    axes = figure.subplots()
    edges = np.linspace(0, 1, 21)
    for role, name, mask in (("c1", "right", found.right), ("c2", "wrong", ~found.right)):
        heights, _ = np.histogram(found.certainty[mask], edges)
        filled(axes, heights, edges, role, f"{name} ({wording.count(mask.sum())})")
    axes.set_xlim(1 / len(found.names) if len(found.names) > 1 else 0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("stated probability of the answer")
    axes.set_ylabel("samples")
    axes.grid(visible=False, axis="x")
    legend_above(axes, 2)
