"""The figures of the sampling: where swaps fail, how the barrier grows, how often replicas go round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.reader import Model
from hpc_ds.report.wording import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def rejection(model: Model, key: str) -> str:
    """Draw the rejection rate of each pair of neighbours in the ladder."""
    label = f"Share of refused swaps of each pair of neighbouring temperatures, {wording.title(model.name)}"
    return svg.render(
        _rejection, np.atleast_2d(model.ladder["rejection"]), key=key, label=label, size=svg.HALF
    )


def barrier(model: Model, key: str) -> str:
    """Draw the cumulative communication barrier against the inverse temperature."""
    label = f"Cumulative barrier against inverse temperature, {wording.title(model.name)}"
    beta, height = (np.atleast_2d(model.ladder[name]) for name in ("beta", "barrier"))
    return svg.render(_barrier, beta, height, key=key, label=label, size=svg.HALF)


def round_trips(summary: Mapping[str, Any], key: str = "round-trips") -> str:
    """Draw the measured rate of round trips of every model beside the rate that theory allows."""
    models = [entry for entry in summary["models"] if _rates(entry)]
    height = 1.1 + 0.3 * len(models)
    label = "Round trips of each model, measured and in theory"
    return svg.render(_round_trips, models, key=key, label=label, size=(svg.WIDE[0], height))


def has_round_trips(summary: Mapping[str, Any]) -> bool:
    """Tell whether any model states its rate of round trips."""
    return any(_rates(entry) for entry in summary["models"])


def _rates(entry: Entry) -> tuple[float, float] | None:
    known = entry.get("diagnostics", {})
    measured, theory = (
        wording.finite(known.get(key)) for key in ("round_trip_rate", "round_trip_rate_theory")
    )
    return None if measured is None or theory is None else (measured, theory)


def _rejection(figure: Figure, rates: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    alone = len(rates) == 1
    for row in rates:
        known = row[np.isfinite(row)]
        axes.plot(
            1 + np.arange(known.size),
            known,
            "o-",
            ms=3.2,
            lw=1,
            color=svg.colour("accent"),
            alpha=1 if alone else 0.5,
        )
    mean = np.nanmean(rates)
    axes.axhline(mean, color=svg.colour("muted"), lw=0.9, ls=(0, (4, 2)))
    axes.text(1, 0.94, f"mean {mean:.2f} (dashed)", transform=axes.transAxes, ha="right", fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_xlabel("pair of neighbours, hot to cold")
    axes.set_ylabel("swaps refused")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _barrier(figure: Figure, beta: np.ndarray, height: np.ndarray) -> None:
    axes = figure.subplots()
    for row, rise in zip(beta, height, strict=True):
        known = np.isfinite(row) & np.isfinite(rise)
        axes.plot(
            row[known],
            rise[known],
            "o-",
            ms=3.2,
            lw=1,
            color=svg.colour("accent"),
            alpha=1 if len(beta) == 1 else 0.5,
        )
    smallest = np.min(beta[beta > 0], initial=1.0)
    if smallest < 0.1:
        _stretch(axes, smallest)
    axes.set_xlim(left=0 if smallest >= 0.1 else -smallest / 2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("inverse temperature β")
    axes.set_ylabel("cumulative barrier Λ")


def _stretch(axes: Axes, smallest: float) -> None:
    """Show β on a logarithmic axis that still has a place for β = 0, with at most five powers of ten."""
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.4)
    exponents = list(range(int(np.ceil(np.log10(smallest))), 1))
    kept = exponents[:: -max(1, -(-len(exponents) // 5))][::-1]
    axes.set_xticks([0.0, *(10.0**power for power in kept)], ["0", *map(wording.power_of_ten, kept)])
    axes.minorticks_off()


def _round_trips(figure: Figure, models: Sequence[Entry]) -> None:
    axes = figure.subplots()
    rates = np.array([_rates(entry) for entry in models], float)
    places = np.arange(len(models))
    axes.barh(places, 1000 * rates[:, 0], height=0.55, color=svg.colour("accent"), zorder=2)
    axes.plot(1000 * rates[:, 1], places, "|", ms=16, mew=1.6, color=svg.colour("ink"), zorder=3)
    axes.set_yticks(places, [wording.clipped(wording.title(entry["name"])) for entry in models])
    axes.invert_yaxis()
    axes.set_xlim(0, 1080 * rates.max())
    axes.set_xlabel("round trips in 1000 scans (line: in theory)")
    axes.grid(visible=False, axis="y")
