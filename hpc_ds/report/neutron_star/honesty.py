"""Draw whether error bars are honest: ranks and coverage over mock truths, and two ways to the same posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.neutron_star import drawing, naming, trust
from hpc_ds.report.neutron_star.reader import Study
from hpc_ds.report.wording import finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 5
_PAIR = (svg.HALF[0], 3.4)  # of two figures side by side
_RADIUS = "radius[1.4]"

Quantity = Mapping[str, Any]


def ranks(study: Study, key: str = "ranks") -> tuple[str, str] | None:
    """Draw a histogram of the truths' ranks for each quantity; None where there are none."""
    part = study.part("calibration")
    known = [one for one in trust.quantities(part) if one.get("histogram")]
    if not known:
        return None
    rows = -(-len(known) // _COLUMNS)
    label = "Histograms of the rank of each truth in its posterior, a panel for each quantity"
    drawn = svg.render(_ranks, known, key=key, label=label, size=(svg.WIDE[0], 0.45 + 0.95 * rows))
    return drawn, (
        f"Where {wording.count(part.get('truths'))} true values lie in their exact posteriors: all ranks are equally "
        "likely where these are right. The band holds 95 % of such counts. A hump would mean error bars that are too "
        "wide, a bowl too narrow ones, a slope a bias."
    )


def coverage(study: Study, key: str = "coverage") -> tuple[str, str] | None:
    """Draw how often bands hold the truth; None where nothing is known of it."""
    exact, network = study.part("calibration"), trust.network_calibration(study)
    if not trust.quantities(exact) and not trust.quantities(network):
        return None
    named = trust.quantities(exact) or trust.quantities(network)
    label = "Share of mock truths inside the bands of the exact posterior and of the networks"
    size = (svg.WIDE[0], 0.85 + 0.235 * len(named))
    drawn = svg.render(_coverage, exact, network, named, key=key, label=label, size=size)
    told = ["Share of mock truths inside the bands; grey, what chance allows (two standard errors)."]
    if trust.quantities(exact):
        told.append("Blue: the central bands of the exact posterior.")
    if trust.quantities(network):
        told.append("Orange: the networks' mean ± 1 and ± 2 standard deviations of their bootstrap.")
    return drawn, " ".join(told)


def truths(study: Study, key: str = "truths") -> tuple[str, str] | None:
    """Draw the exact posterior of R(1.4) against the truth; None where the arrays are not there."""
    found = study.calibrated.get("weights", {})
    at = _column(found)
    if at is None:
        return None
    true, mean, sd = (np.asarray(found[name])[:, at] for name in ("truth", "mean", "sd"))
    label = "Posterior of the radius at 1.4 solar masses against the true radius, of each mock truth"
    drawn = svg.render(_truths, true, mean, sd, key=key, label=label, size=_PAIR)
    inside = float((np.abs(true - mean) <= sd).mean())
    return drawn, (
        f"R(1.4) of {wording.count(true.size)} mock truths: mean and standard deviation of the exact posterior by "
        f"weights. {trust.share(inside)} lie within one standard deviation."
    )


def two_ways(study: Study, key: str = "two-ways") -> tuple[str, str] | None:
    """Draw weights against replica exchange; None where the second was not done or its arrays are not there."""
    weights, exchange = study.calibrated.get("weights", {}), study.calibrated.get("exchange", {})
    if _column(weights) is None or not {"mean", "error"} <= exchange.keys():
        return None
    both = slice(len(exchange["mean"]))
    apart = (weights["mean"][both] - exchange["mean"]) / weights["sd"][both]
    names = [str(name) for name in weights["quantity"]]
    label = (
        "Difference of posterior means by weights and by replica exchange, in posterior standard deviations"
    )
    drawn = svg.render(_two_ways, apart, names, key=key, label=label, size=_PAIR)
    return drawn, (
        f"Posterior means by weights less those by replica exchange, a dot for each of {wording.count(len(apart))} "
        "truths, in posterior standard deviations."
    )


def _ranks(figure: Figure, known: Sequence[Quantity]) -> None:
    rows = -(-len(known) // _COLUMNS)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
    top = 1.15 * max(max(one["histogram"]) for one in known)
    for axes, one in zip(grid.flat, known, strict=False):
        counts = np.asarray(one["histogram"], float)
        expected = counts.sum() / counts.size
        spread = 1.96 * np.sqrt(expected * (1.0 - 1.0 / counts.size))
        axes.axhspan(expected - spread, expected + spread, color=svg.colour(drawing.PRIOR), alpha=0.22, lw=0)
        axes.axhline(expected, color=svg.colour("muted"), lw=0.7)
        edges = np.linspace(0, 1, counts.size + 1)
        axes.stairs(counts, edges, baseline=None, color=svg.colour(drawing.POSTERIOR), lw=1.5)
        axes.set_title(naming.quantity(str(one["name"])), fontsize=8, pad=2)
        axes.set(xlim=(0, 1), xticks=[0, 1], ylim=(0, top))
        axes.grid(visible=False)
        axes.tick_params(labelsize=7, length=2)
    for axes in grid.flat[len(known) :]:
        axes.set_visible(False)
    figure.supxlabel("rank of the truth in its posterior", fontsize=8.5)
    figure.supylabel("truths", fontsize=8.5)


def _coverage(figure: Figure, exact: Quantity, network: Quantity, named: Sequence[Quantity]) -> None:
    panels = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.1})
    names = [str(one["name"]) for one in named]
    for level, axes in enumerate(panels):
        for part, role, shift, marker in (
            (exact, drawing.POSTERIOR, -0.16, "o"),
            (network, drawing.NETWORK, 0.16, "s"),
        ):
            shares = [_share(trust.find(part, name), level) for name in names]
            axes.plot(
                shares,
                np.arange(len(names)) + shift,
                marker,
                ms=4.2,
                mew=0,
                color=svg.colour(role),
                clip_on=False,
            )
        right, error = trust.nominal(exact, network, level)
        if right is not None and error is not None:
            axes.axvspan(
                right - 2 * error,
                min(1.0, right + 2 * error),
                color=svg.colour(drawing.PRIOR),
                alpha=0.25,
                lw=0,
            )
            axes.axvline(right, color=svg.colour("muted"), lw=0.9)
        axes.set_xlim(0, 1)
        axes.set_xticks(np.linspace(0, 1, 5), ["0", "25", "50", "75", "100"])
        axes.set_xlabel(("bands of 68 %", "bands of 95 %")[level] + ": truths inside / %", fontsize=8.5)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(names)), [naming.quantity(name) for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    entries = [
        drawing.line_key(role, label, marker=marker, ms=4.5, lw=0)
        for part, role, label, marker in (
            (exact, drawing.POSTERIOR, "exact posterior", "o"),
            (network, drawing.NETWORK, "networks", "s"),
        )
        if trust.quantities(part)
    ]
    drawing.key_above(panels[0], entries)


def _share(one: Quantity, level: int) -> float:
    shares = one.get("coverage") or []
    found = finite(shares[level]) if level < len(shares) else None
    return np.nan if found is None else found


def _truths(figure: Figure, true: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> None:
    axes = figure.subplots()
    colour = svg.colour(drawing.POSTERIOR)
    axes.errorbar(true, mean, sd, fmt=".", ms=3.5, mew=0, lw=0, elinewidth=0.5, alpha=0.6, color=colour)
    low, high = float(min(true.min(), mean.min())), float(max(true.max(), mean.max()))
    axes.plot([low, high], [low, high], color=svg.colour("ink"), lw=0.8)
    axes.set(xlabel="true R(1.4) / km", ylabel="posterior mean / km")


def _two_ways(figure: Figure, apart: np.ndarray, names: Sequence[str]) -> None:
    axes, colour = figure.subplots(), svg.colour(drawing.POSTERIOR)
    for place in range(len(names)):
        values = np.sort(apart[:, place])
        shift = 0.6 * (np.arange(values.size) % 5 - 2) / 5
        axes.plot(values, place + shift, "o", ms=5, mew=0, alpha=0.55, color=colour)
    axes.axvline(0, color=svg.colour("ink"), lw=0.8)
    reach = 1.15 * max(0.1, float(np.nanmax(np.abs(apart))))
    axes.set(xlim=(-reach, reach), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), [naming.quantity(name) for name in names])
    axes.set_xlabel("difference / posterior standard deviations")
    axes.grid(visible=False, axis="y")


def _column(found: Mapping[str, np.ndarray]) -> int | None:
    """Return the column of R(1.4) in the arrays of a calibration."""
    if not {"quantity", "truth", "mean", "sd"} <= found.keys():
        return None
    names = [str(name) for name in found["quantity"]]
    return names.index(_RADIUS) if _RADIUS in names else None
