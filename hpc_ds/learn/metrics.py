"""How good predictions are: numbers by name, exact over ranks because each is made of one record a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpc_ds.learn import calibration, classification, recorders, scores
from hpc_ds.learn.recorders import Batch, Recorder
from hpc_ds.learn.scores import GridAxis
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

Values = NDArray[np.float64]
Records = Mapping[str, Values]
"""(samples, ...) float64 by name, in the order of the samples."""

_VALUES = ("fields", "scalars")

_SQUARED = {"squared_error": recorders.squared_error}
_TARGET_MOMENTS = {"target_mean": recorders.target_mean, "target_variance": recorders.target_variance}
_NORMS = {"norms": recorders.norms}
_CLASSES: dict[str, Recorder] = {
    "probability": lambda batch: batch.prediction,
    "label": lambda batch: batch.target,
}


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are."""

    name: str
    needs: Mapping[str, Recorder]
    """What is recorded of each sample, by name: equal names are equal functions."""
    reduce: Callable[[Records], float]
    """Makes the number of the records of all samples."""
    smaller_is_better: bool | None = True
    """None where the best is a value between: a coverage."""
    unit: str = ""
    """``target`` for that of the targets; empty for none."""
    details: Mapping[str, Callable[[Records], Values]] = field(default_factory=dict)
    """The same by target or class, tables and curves."""
    of_spread: bool = False
    """Whether it is about the spread that comes with a prediction."""


def make_metrics(
    task: str,
    names: Sequence[str] = (),
    axes: Sequence[GridAxis] = (),
    spread: bool = False,
    climatology: Values | None = None,
) -> list[Metric]:
    r"""Return the metrics of those names; the first tells which of two networks is better.

    Parameters
    ----------
    task : {"fields", "scalars", "classify"}
        What is predicted.
    names : sequence of str
        Fields and scalars: relative_l2, rmse, mae, r2, msle; with a spread: nll, crps, coverage_68, coverage_90,
        coverage_95, sharpness. Fields alone: vrmse, h1, latitude_rmse, acc. Classes: cross_entropy, accuracy,
        balanced_accuracy, precision, recall, f1, auc, brier, calibration_error and, of two classes,
        precision_at_recall=R. None: the task's usual ones.
    axes : sequence of GridAxis
        The grid, for h1, latitude_rmse and acc.
    spread : bool
        Whether predictions come with one; then the usual ones include those about it.
    climatology : (channels, \*grid) float64, optional
        For acc: `hpc_ds.learn.evaluation.climatology`.

    Raises
    ------
    InputError
        An unknown name, one that is not of this task, or one that lacks what it needs.
    """
    request = _Request(task, axes, spread, climatology)
    return [_make(name, request) for name in names or _usual(request)]


@dataclass(frozen=True, eq=False)
class _Request:
    task: str
    axes: Sequence[GridAxis]
    spread: bool
    climatology: Values | None
    name: str = ""
    number: float | None = None


def sample_error(task: str) -> tuple[str, Mapping[str, Recorder], Callable[[Records], Values]]:
    """Return by what samples are ranked: its name, what it needs, and the function that makes it, (n,).

    Fields have their relative L2 error; scalars the root of the mean over the targets of (error/sd of the target)^2;
    classes -log of the probability of the right one.
    """
    if task == "fields":
        return "relative L2", _NORMS, _relative_l2
    if task == "scalars":
        return "error/sd", _SQUARED | _TARGET_MOMENTS, _standardised_error
    return "-log p", _CLASSES, lambda records: classification.surprise(*_classes(records))


# Numbers of the records of all samples


def _mean(name: str) -> Callable[[Records], float]:
    return lambda records: float(records[name].mean())


def _relative_l2(records: Records) -> Values:
    """Return ||error|| / ||target|| of each sample; targets that have died away count as a part of the usual norm."""
    error, target = records["norms"].T
    least = scores.RELATIVE_TO_LEAST * np.sqrt(np.mean(np.square(target)))
    size = np.maximum(target, least)
    return error / np.where(size > 0.0, size, 1.0)


def _by_target(name: str) -> Mapping[str, Callable[[Records], Values]]:
    return {"by_target": lambda records: records[name].mean(0)}


def _rmse_by_target(records: Records) -> Values:
    return np.sqrt(records["squared_error"].mean(0))


def _r2_by_target(records: Records) -> Values:
    """Return 1 - residual/total sum of squares, (D,); of a constant target 1 where it is met, else 0."""
    residual, total = records["squared_error"].mean(0), _target_variances(records)
    constant = np.where(residual == 0.0, 1.0, 0.0)
    return np.where(total > 0.0, 1.0 - residual / np.where(total > 0.0, total, 1.0), constant)


def _target_variances(records: Records) -> Values:
    """Return the variance of each target over all samples and points, (D,)."""
    means = records["target_mean"]
    return records["target_variance"].mean(0) + np.square(means - means.mean(0)).mean(0)


def _standardised_error(records: Records) -> Values:
    variance = _target_variances(records)
    return np.sqrt((records["squared_error"] / np.where(variance > 0.0, variance, 1.0)).mean(1))


def _classes(records: Records) -> tuple[Values, NDArray[np.int64]]:
    return records["probability"], records["label"].astype(np.int64)


def _confusion(records: Records) -> Values:
    return classification.confusion(*_classes(records))


# The metrics


def _value(
    name: str, record: Recorder, unit: str = "", of_spread: bool = False, better: bool | None = True
) -> Metric:
    return Metric(name, {name: record}, _mean(name), better, unit, _by_target(name), of_spread)


def _rmse(request: _Request) -> Metric:
    details = {"by_target": _rmse_by_target}
    return Metric(
        "rmse",
        _SQUARED,
        lambda records: float(np.sqrt(records["squared_error"].mean())),
        True,
        "target",
        details,
    )


def _r2(request: _Request) -> Metric:
    details = {"by_target": _r2_by_target}
    return Metric(
        "r2",
        _SQUARED | _TARGET_MOMENTS,
        lambda records: float(_r2_by_target(records).mean()),
        False,
        "",
        details,
    )


def _h1(request: _Request) -> Metric:
    gradient = scores.Gradient(request.axes)

    def record(batch: Batch) -> Tensor:
        return scores.relative_h1(batch.prediction, batch.target, gradient.to(batch.target.device))

    return Metric("h1", {"h1": record}, _mean("h1"))


def _latitude_rmse(request: _Request) -> Metric:
    weights = _weights(request)

    def record(batch: Batch) -> Tensor:
        return recorders.over_grid(
            weights.to(batch.target.device) * (batch.prediction - batch.target).square()
        ).sqrt()

    return _value("latitude_rmse", record, "target")


def _acc(request: _Request) -> Metric:
    """Return WeatherBench's anomaly correlation: one ratio over all samples, by channel, then their mean.

    Anomalies are taken from the climatology, and from each its mean over all samples and points, unweighted; products
    are weighted by latitude where there is one (score.py of pangeo-data/WeatherBench).
    """
    if request.climatology is None:
        raise InputError("metric acc: needs a climatology")
    mean = torch.from_numpy(np.ascontiguousarray(request.climatology, dtype=np.float64))
    on_sphere = scores.latitude_weights(request.axes) is not None
    weights = _weights(request) if on_sphere else torch.ones((), dtype=torch.float64)

    def record(batch: Batch) -> Tensor:
        f, a = (part - mean.to(part.device) for part in (batch.prediction, batch.target))
        w = weights.to(f.device)
        parts = (f, a, w * f, w * a, w * f * a, w * f * f, w * a * a)
        return torch.stack([recorders.over_grid(part) for part in parts], dim=2)

    def by_target(records: Records) -> Values:
        f, a, wf, wa, wfa, wff, waa = np.moveaxis(records["anomaly"].mean(0), 1, 0)
        covariance = wfa - a * wf - f * wa + f * a
        return covariance / np.sqrt((wff - 2.0 * f * wf + f * f) * (waa - 2.0 * a * wa + a * a))

    def reduce(records: Records) -> float:
        return float(by_target(records).mean())

    return Metric("acc", {"anomaly": record}, reduce, False, "", {"by_target": by_target})


def _weights(request: _Request) -> Tensor:
    weights = scores.latitude_weights(request.axes)
    if weights is None:
        found = ", ".join(axis.name for axis in request.axes) or "none"
        raise InputError(
            f"metric {request.name}: needs an axis lat, latitude or colatitude; axes are {found}"
        )
    return torch.from_numpy(weights)


def _coverage(i: int) -> Callable[[_Request], Metric]:
    def by_target(records: Records) -> Values:
        return records["inside"][:, :, i].mean(0)

    def reduce(records: Records) -> float:
        return float(by_target(records).mean())

    details = {"by_target": by_target}
    return lambda request: Metric(
        request.name, {"inside": recorders.inside}, reduce, None, "", details, of_spread=True
    )


def _of_classes(
    function: Callable[[Values, NDArray[np.int64]], float], smaller_is_better: bool, unit: str = ""
) -> Callable[[_Request], Metric]:
    return lambda request: Metric(
        request.name, _CLASSES, lambda records: function(*_classes(records)), smaller_is_better, unit
    )


def _by_class(function: Callable[[Values, NDArray[np.int64]], Values]) -> Callable[[_Request], Metric]:
    """Return the metric that is the mean of `function` over the classes where it has a value."""

    def by_class(records: Records) -> Values:
        return function(*_classes(records))

    def reduce(records: Records) -> float:
        values = by_class(records)
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size else float("nan")

    return lambda request: Metric(request.name, _CLASSES, reduce, False, "", {"by_class": by_class})


def _of_confusion(function: Callable[[Values], Values]) -> Callable[[_Request], Metric]:
    return _by_class(lambda probability, label: function(classification.confusion(probability, label)))


def _accuracy(request: _Request) -> Metric:
    return Metric(
        "accuracy",
        _CLASSES,
        lambda records: classification.accuracy(*_classes(records)),
        False,
        "",
        {"confusion": _confusion},
    )


def _calibration_error(request: _Request) -> Metric:
    def curve(records: Records) -> Values:
        found = calibration.reliability(*_classes(records))
        return np.stack([found.confidence, found.accuracy, found.count.astype(np.float64)], axis=1)

    def reduce(records: Records) -> float:
        return calibration.reliability(*_classes(records)).expected_error

    return Metric("calibration_error", _CLASSES, reduce, True, "", {"reliability": curve})


def _precision_at_recall(request: _Request) -> Metric:
    wanted = request.number
    if wanted is None or not 0.0 < wanted <= 1.0:
        raise InputError(
            "metric precision_at_recall: needs a recall between 0 and 1, as precision_at_recall=0.79"
        )

    def reduce(records: Records) -> float:
        probability, label = _classes(records)
        if probability.shape[1] != 2:
            raise InputError(f"metric precision_at_recall: is of two classes, found {probability.shape[1]}")
        return classification.precision_at_recall(probability[:, 1], label == 1, wanted)

    return Metric(f"precision_at_recall={wanted:g}", _CLASSES, reduce, False)


@dataclass(frozen=True)
class _Kind:
    tasks: tuple[str, ...]
    build: Callable[[_Request], Metric]


_KINDS = {
    "relative_l2": _Kind(
        _VALUES, lambda r: Metric("relative_l2", _NORMS, lambda records: float(_relative_l2(records).mean()))
    ),
    "rmse": _Kind(_VALUES, _rmse),
    "mae": _Kind(_VALUES, lambda r: _value("mae", recorders.absolute_error, "target")),
    "r2": _Kind(_VALUES, _r2),
    "msle": _Kind(_VALUES, lambda r: _value("msle", recorders.squared_log_error)),
    "vrmse": _Kind(("fields",), lambda r: _value("vrmse", recorders.vrmse)),
    "h1": _Kind(("fields",), _h1),
    "latitude_rmse": _Kind(("fields",), _latitude_rmse),
    "acc": _Kind(("fields",), _acc),
    "nll": _Kind(_VALUES, lambda r: _value("nll", recorders.nll, "nat", of_spread=True)),
    "crps": _Kind(_VALUES, lambda r: _value("crps", recorders.crps, "target", of_spread=True)),
    "coverage_68": _Kind(_VALUES, _coverage(0)),
    "coverage_90": _Kind(_VALUES, _coverage(1)),
    "coverage_95": _Kind(_VALUES, _coverage(2)),
    "sharpness": _Kind(
        _VALUES, lambda r: _value("sharpness", recorders.mean_spread, "target", of_spread=True, better=None)
    ),
    "cross_entropy": _Kind(
        ("classify",),
        _of_classes(lambda p, label: float(classification.surprise(p, label).mean()), True, "nat"),
    ),
    "accuracy": _Kind(("classify",), _accuracy),
    "balanced_accuracy": _Kind(("classify",), _of_confusion(classification.recall)),
    "precision": _Kind(("classify",), _of_confusion(classification.precision)),
    "recall": _Kind(("classify",), _of_confusion(classification.recall)),
    "f1": _Kind(("classify",), _of_confusion(classification.f1)),
    "auc": _Kind(("classify",), _by_class(classification.roc_areas)),
    "brier": _Kind(("classify",), _of_classes(classification.brier, True)),
    "calibration_error": _Kind(("classify",), _calibration_error),
    "precision_at_recall": _Kind(("classify",), _precision_at_recall),
}
_USUAL = {
    "fields": ("relative_l2", "rmse", "mae", "vrmse"),
    "scalars": ("rmse", "mae", "r2"),
    "classify": (
        "cross_entropy",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
        "auc",
        "brier",
        "calibration_error",
    ),
}
_USUAL_OF_SPREAD = ("nll", "crps", "coverage_68", "coverage_90", "coverage_95", "sharpness")


def _usual(request: _Request) -> tuple[str, ...]:
    names = _USUAL[request.task]
    if request.task == "fields" and scores.latitude_weights(request.axes) is not None:
        names += ("latitude_rmse",)
    return names + _USUAL_OF_SPREAD if request.spread and request.task != "classify" else names


def _make(text: str, request: _Request) -> Metric:
    word, equals, rest = text.partition("=")
    of_task = [name for name, kind in _KINDS.items() if request.task in kind.tasks]
    if word not in of_task:
        why = "unknown" if word not in _KINDS else f"not for {request.task}"
        raise InputError(f"metric {word!r}: {why}; {unknown(word, of_task, 'metrics')}")
    try:
        number = float(rest) if equals else None
    except ValueError:
        raise InputError(f"metric {text!r}: a number is needed after the =") from None
    metric = _KINDS[word].build(
        _Request(request.task, request.axes, request.spread, request.climatology, word, number)
    )
    if metric.of_spread and not request.spread:
        raise InputError(f"metric {word}: needs predictions with a spread: --loss gaussian, or --members")
    return metric
