"""How the network learnt: losses, the metric, the learning rate and the gradient, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report import svg, wording
from hpc_ds.report.training import wording as words
from hpc_ds.report.training.drawing import legend_above, logarithmic, whole_numbers
from hpc_ds.report.training.reader import Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEPS = 400
"""Losses of steps are averaged to at most so many points."""

_SAME = {
    "relative-l2": "relative_l2",
    "h1": "h1",
    "msle": "msle",
    "cross-entropy": "cross_entropy",
}
"""Losses that are metrics as well, so that training and validation belong into one figure."""

_BY_TASK = {"fields": "relative-l2", "classify": "cross-entropy"}
"""Losses of a task that was given none."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity over the epochs."""

    name: str
    epoch: np.ndarray
    value: np.ndarray
    role: str


def figures(run: Training) -> list[tuple[str, str]]:
    """Return figure and caption of each panel for which there is anything to draw."""
    makers: tuple[Callable[[Training], tuple[str, str] | None], ...] = (_losses, _metric, _rate, _gradient)
    return [found for found in (make(run) for make in makers) if found is not None]


def curve(run: Training, name: str, *keys: str, role: str = "c1") -> Curve | None:
    """Return what the epochs say under ``keys``; None where it is nowhere a number."""
    return _curve(run.epochs, name, keys, role)


def _curve(epochs: Any, name: str, keys: tuple[str, ...], role: str) -> Curve | None:
    found = [(float(one["epoch"]), _inner(one, keys)) for one in epochs]
    known = [(epoch, value) for epoch, value in found if value is not None]
    if not known:
        return None
    pairs = np.array(known)
    return Curve(name, pairs[:, 0], pairs[:, 1], role)


def _inner(record: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return wording.finite(value)


def _losses(run: Training) -> tuple[str, str] | None:
    same = _loss_as_metric(run)
    train = curve(run, "training", "train_loss")
    valid = curve(run, "validation", "valid", same, role="c2") if same else None
    curves = [one for one in (train, valid) if one is not None]
    if train is None:
        return None
    faint = [one for member in run.members for one in _of_member(member.history, same)]
    steps, name = _steps(run), words.metric_name(same or "loss")
    drawn = svg.render(
        _paint, run, curves, name, True, faint, steps, key="loss", label="Loss over the epochs", size=svg.HALF
    )
    told = [f"Loss{f' ({name})' if same else ''} over the epochs"]
    told += ["grey: that of the steps"] if steps is not None else []
    told += ["strong: the first network of the ensemble; faint: the others"] if faint else []
    return drawn, f"{'; '.join(told)}.{_marks(run)}"


def _metric(run: Training) -> tuple[str, str] | None:
    key = _metric_key(run)
    found = curve(run, "validation", "valid", key, role="c2") if key else None
    if found is None or key is None:
        return None
    name = words.metric_name(key)
    log = bool(found.value.min() > 0) and words.direction(key) < 0
    drawn = svg.render(
        _paint,
        run,
        [found],
        name,
        log,
        [],
        None,
        key="metric",
        label=f"{name} over the epochs",
        size=svg.HALF,
    )
    told = f"{words.opening(name)} of the validation{_whose(run)}: {_reached(key, found)}."
    return drawn, told + _marks(run)


def _reached(key: str, found: Curve) -> str:
    """Say the best value of a metric and its epoch; the last where neither more nor less is better."""
    way = words.direction(key)
    at = int(np.argmax(way * found.value)) if way else -1
    place = f"{words.metric_value(key, found.value[at])} in epoch {wording.count(found.epoch[at])}"
    return f"at its best {place}" if way else f"{place}, the last"


def _rate(run: Training) -> tuple[str, str] | None:
    found = curve(run, "learning rate", "learning_rate", role="c3")
    if found is None:
        return None
    drawn = svg.render(
        _paint, run, [found], "learning rate", bool((found.value > 0).all()), [], None,
        key="rate", label="Learning rate over the epochs", size=svg.HALF,
    )  # fmt: skip
    return (
        drawn,
        f"Learning rate over the epochs{_whose(run)}: {wording.quantity(found.value[-1])} at the end.",
    )


def _gradient(run: Training) -> tuple[str, str] | None:
    found = curve(run, "norm of the gradient", "gradient_norm", role="c7")
    if found is None:
        return None
    drawn = svg.render(
        _paint, run, [found], "norm of the gradient", bool((found.value > 0).all()), [], None,
        key="gradient", label="Norm of the gradient over the epochs", size=svg.HALF,
    )  # fmt: skip
    clip = wording.finite(run.settings.get("clip"))
    told = f"; longer ones than {wording.quantity(clip)} were shortened" if clip is not None else ""
    return drawn, f"Norm of the gradient, of an epoch's steps{_whose(run)}{told}."


def _whose(run: Training) -> str:
    """Say of whom a curve is where that is not plain: each network of an ensemble has its own."""
    return ", of the first network of the ensemble" if run.members else ""


def _paint(
    figure: Figure,
    run: Training,
    curves: list[Curve],
    name: str,
    log: bool,
    faint: list[Curve],
    steps: Curve | None,
) -> None:
    axes = figure.subplots()
    if steps is not None:
        axes.plot(steps.epoch, steps.value, color=svg.colour("data"), lw=0.7, alpha=0.6)
    for one in faint:
        axes.plot(one.epoch, one.value, color=svg.colour(one.role), lw=0.7, alpha=0.3)
    for one in curves:
        marker = "o" if one.epoch.size < 8 else ""
        axes.plot(
            one.epoch, one.value, color=svg.colour(one.role), lw=1.3, marker=marker, ms=3, label=one.name
        )
    shown = [one.value for one in (*curves, *faint, *([steps] if steps is not None else []))]
    if log and all((one > 0).all() for one in shown):
        logarithmic(axes, "y", shown)
    _mark(axes, run)
    axes.set_xlabel("epoch")
    axes.set_ylabel(wording.clipped(name, 34))
    whole_numbers(axes.xaxis)
    if len(curves) > 1:
        legend_above(axes, len(curves))


def _mark(axes: Axes, run: Training) -> None:
    """Mark the epoch that is kept, and where the training went back."""
    best = words.best_epoch(run)
    if best is not None:
        axes.axvline(best, color=svg.colour("muted"), lw=0.8, ls=(0, (3, 2)))
    for item in run.history.get("troubles") or []:
        epoch = wording.finite(item.get("epoch"))
        if epoch is not None:
            axes.axvline(epoch, color=svg.colour("warn"), lw=1.0)


def _marks(run: Training) -> str:
    told = []
    if words.best_epoch(run) is not None:
        by = f", chosen by {words.kept_by(run)}" if words.kept_by(run) else ""
        told.append(f"dashed: epoch {words.best_epoch(run)}, whose network is kept{by}")
    if run.history.get("troubles"):
        told.append("orange: where the training went back to the beginning of an epoch")
    return f" {words.opening('; '.join(told))}." if told else ""


def _steps(run: Training) -> Curve | None:
    """Return the losses of the steps, averaged to what a figure can show, over the epochs that they belong to."""
    told = (run.history.get("steps") or {}).get("loss") or []
    values = np.array([one if wording.finite(one) is not None else np.nan for one in told], dtype=float)
    if values.size < 3 or not run.epochs:
        return None
    places = np.linspace(0, words.done_epochs(run), values.size + 1)[1:]
    parts = np.array_split(np.arange(values.size), min(_STEPS, values.size))
    known = [part[np.isfinite(values[part])] for part in parts]
    known = [part for part in known if part.size]
    if not known:
        return None
    means = np.array([[places[part].mean(), values[part].mean()] for part in known])
    return Curve("steps", means[:, 0], means[:, 1], "data")


def _of_member(history: Mapping[str, Any], same: str | None) -> list[Curve]:
    epochs = [one for one in history.get("epochs") or [] if wording.finite(one.get("epoch")) is not None]
    known = [_curve(epochs, "training", ("train_loss",), "c1")]
    known += [_curve(epochs, "validation", ("valid", same), "c2")] if same else []
    return [one for one in known if one is not None]


def _loss_as_metric(run: Training) -> str | None:
    """Return the metric of the validation that the loss is; None where it is none."""
    task = str(run.summary.get("task") or run.card.get("task") or "fields")
    loss = str(run.settings.get("loss") or _BY_TASK.get(task, ""))
    key = _SAME.get(loss)
    return key if any(key in (one.get("valid") or {}) for one in run.epochs) else None


def _metric_key(run: Training) -> str | None:
    """Return the metric of the validation to draw: that of the headline, else the first that is not drawn yet."""
    drawn = _loss_as_metric(run)
    known = list(dict.fromkeys(key for one in run.epochs for key in one.get("valid") or {} if key != drawn))
    main = words.main_metric(run)
    return main[1] if main is not None and main[1] in known else next(iter(known), None)
