"""Draw the fits and the errors of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.noise_copies import wording as words
from hpc_ds.report.noise_copies.reader import Comparison, Entry
from hpc_ds.report.training.drawing import legend_above, logarithmic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOME = 5
"""Seeds whose fits are drawn one by one."""

_PLAIN, _NOISY = "c1", "c2"


def together(study: Comparison, one: Entry, role: str, key: str) -> tuple[str, str]:
    """Draw the fits of all seeds of a variant: quartiles, median, and a few of them; return figure and caption."""
    name = words.treatment(one)
    label = f"Fits of {words.network(one)} with {name}, over all seeds"
    drawn = svg.render(_together, study, one, role, key=key, label=label, size=svg.HALF)
    return drawn, (
        f"{name[:1].upper()}{name[1:]}: the function (black), the median of the fits at each x (thick), the middle "
        f"half of them (band) and {SOME} of the {study.summary['seeds']} (thin)."
    )


def single(study: Comparison, plain: Entry, noisy: Entry, key: str = "seeds") -> tuple[str, str]:
    """Draw three seeds: those at the quartiles of the error without noise; return figure and caption."""
    seeds = at_quartiles(plain)
    label = "The points and two fits of three seeds"
    size = (svg.WIDE[0], 2.5)
    drawn = svg.render(_single, study, plain, noisy, seeds, key=key, label=label, size=size)
    numbers = wording.spoken([str(seed) for seed in seeds])
    return drawn, (
        f"Seeds {numbers}, at the lower quartile, the median and the upper quartile of the test error without noise: "
        f"their points, the function (black), and the fits with {words.treatment(plain)} and with "
        f"{words.treatment(noisy)}."
    )


def at_quartiles(one: Entry) -> list[int]:
    """Return the numbers of the seeds at the quartiles of a variant's test error."""
    order = np.argsort(one["errors"]["test"], kind="stable")
    return [int(order[round(share * (len(order) - 1))]) for share in (0.25, 0.5, 0.75)]


def errors(entries: Sequence[Entry], names: Sequence[str], key: str, label: str) -> str:
    """Draw every seed's test error as a dot, a row for each variant, with the medians."""
    size = (svg.WIDE[0], 0.75 + 0.29 * len(entries))
    return svg.render(_errors, entries, names, key=key, label=label, size=size)


def train_against_test(plain: Entry, noisy: Entry, key: str = "over-fit") -> tuple[str, str]:
    """Draw the test error against the training error of two variants, a dot a seed; return figure and caption."""
    label = "Test error against training error of every seed"
    drawn = svg.render(_train_against_test, plain, noisy, key=key, label=label, size=svg.HALF)
    return drawn, (
        f"Error at the {'given points'} against error everywhere, a dot for each seed. On the line a network is as "
        "good between its points as at them; the farther above it, the more it follows the points alone."
    )


def strengths(plain: Entry, rows: Sequence[Entry], key: str = "strength") -> tuple[str, str]:
    """Draw the test error against the strength of the noise; return figure and caption."""
    label = "Test error against the noise on x"
    drawn = svg.render(_strengths, plain, rows, key=key, label=label, size=svg.HALF)
    return drawn, (
        f"Median and quartiles of the test error against the standard deviation s of the noise, "
        f"{words.treatment(rows[0])}; the band is training without noise."
    )


def _together(figure: Figure, study: Comparison, one: Entry, role: str) -> None:
    axes = figure.subplots()
    x, fits = study.curves["x"], study.prediction(one)
    low, middle, high = np.quantile(fits, (0.25, 0.5, 0.75), axis=0)
    axes.fill_between(x, low, high, color=svg.colour(role), alpha=0.25, lw=0)
    for fit in fits[:SOME]:
        axes.plot(x, fit, color=svg.colour(role), lw=0.5, alpha=0.7)
    axes.plot(x, middle, color=svg.colour(role), lw=1.8)
    _function(axes, study)


def _single(figure: Figure, study: Comparison, plain: Entry, noisy: Entry, seeds: Sequence[int]) -> None:
    grid = figure.subplots(1, len(seeds), sharey=True)
    x = study.curves["x"]
    for axes, seed in zip(grid, seeds, strict=True):
        for one, role in ((plain, _PLAIN), (noisy, _NOISY)):
            label = words.treatment(one)
            axes.plot(x, study.prediction(one)[seed], color=svg.colour(role), lw=1.3, label=label)
        _function(axes, study)
        axes.plot(
            study.curves["points"][seed], study.curves["values"][seed], "o", ms=2.6, color=svg.colour("ink")
        )
        axes.set_title(f"seed {seed}", fontsize=8.5, loc="right")
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for axes in grid[1:]:
        axes.set_ylabel("")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles[:2], labels[:2], loc="outside upper left", ncols=2, handlelength=1.4)


def _function(axes: Axes, study: Comparison) -> None:
    axes.plot(study.curves["x"], study.curves["truth"], color=svg.colour("ink"), lw=0.9, zorder=4)
    axes.set(xlim=(0, 1), ylim=(-0.25, 1.05), xlabel="x", ylabel="y")


def _errors(figure: Figure, entries: Sequence[Entry], names: Sequence[str]) -> None:
    axes = figure.subplots()
    values = [np.array(one["errors"]["test"], float) for one in entries]
    for row, (one, known) in enumerate(zip(entries, values, strict=True)):
        role = _PLAIN if one["treatment"] == "none" else _NOISY
        # By rank, so that the picture is the same each time and equal errors lie apart.
        places = row + 0.5 * (np.arange(known.size) % 5 - 2) / 5
        axes.plot(np.sort(known), places, ".", ms=4, mew=0, alpha=0.6, color=svg.colour(role))
        axes.plot([np.median(known)] * 2, [row - 0.38, row + 0.38], color=svg.colour("ink"), lw=1.8, zorder=4)
    logarithmic(axes, "x", values)
    axes.set_yticks(range(len(entries)), names)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_xlabel("root mean square error against the function")
    axes.grid(visible=False, axis="y")


def _train_against_test(figure: Figure, plain: Entry, noisy: Entry) -> None:
    axes = figure.subplots()
    pairs = []
    for one, role in ((plain, _PLAIN), (noisy, _NOISY)):
        train, test = (np.array(one["errors"][which], float) for which in ("train", "test"))
        pairs += [(train, test)]
        name = words.treatment(one)
        axes.plot(train, test, ".", ms=5, mew=0, alpha=0.7, color=svg.colour(role), label=name)
    logarithmic(axes, "x", [train for train, _ in pairs])
    logarithmic(axes, "y", [test for _, test in pairs])
    low, high = axes.get_xlim()
    span = axes.get_ylim()
    axes.plot([low, high], [low, high], color=svg.colour("muted"), lw=0.8, ls=(0, (3, 2)))
    axes.set(xlim=(low, high), ylim=span, xlabel="training error", ylabel="test error")
    legend_above(axes, 2)


def _strengths(figure: Figure, plain: Entry, rows: Sequence[Entry]) -> None:
    axes = figure.subplots()
    ordered = sorted(rows, key=lambda one: one["amount"])
    amounts = np.array([one["amount"] for one in ordered])
    low, middle, high = (
        np.array([one["test"][which] for one in ordered]) for which in ("25%", "median", "75%")
    )
    axes.axhspan(plain["test"]["25%"], plain["test"]["75%"], color=svg.colour(_PLAIN), alpha=0.15, lw=0)
    axes.axhline(plain["test"]["median"], color=svg.colour(_PLAIN), lw=1.2)
    axes.errorbar(
        amounts, middle, (middle - low, high - middle), fmt="o", ms=4, color=svg.colour(_NOISY), lw=1.2
    )
    axes.set_xscale("log")
    axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="noise s on x", ylabel="test error")
