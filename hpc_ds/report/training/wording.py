"""Say in plain words what a training reached, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpc_ds.report.training.reader import Split, Training
from hpc_ds.report.wording import Verdict, count, finite, quantity
from hpc_ds.runtime.amounts import duration_text

METRICS = {
    "loss": "loss",
    "relative_l2": "relative L2 error",
    "relative L2": "relative L2 error",
    "error/sd": "error over the spread of the target",
    "-log p": "surprise, −log p",
    "h1": "relative H1 error",
    "rmse": "root mean square error",
    "mae": "mean absolute error",
    "vrmse": "RMSE over the spread of the target (VRMSE)",
    "latitude_rmse": "RMSE weighted by latitude",
    "msle": "mean squared logarithmic error",
    "acc": "anomaly correlation",
    "nll": "negative log likelihood",
    "crps": "continuous ranked probability score",
    "coverage_68": "truth within the 68 % band",
    "coverage_90": "truth within the 90 % band",
    "coverage_95": "truth within the 95 % band",
    "sharpness": "mean spread",
    "r2": "R²",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1 score",
    "auc": "area under the ROC curve",
    "brier": "Brier score",
    "cross_entropy": "cross entropy",
    "calibration_error": "expected calibration error",
}
"""How metrics and errors are told; any other name is told as it stands."""

_HEADLINES = {"classify": "accuracy", "scalars": "r2", "fields": "relative_l2"}
"""What a reader wants to know first, by task."""

_SHARES = frozenset({"accuracy", "balanced_accuracy", "coverage_68", "coverage_90", "coverage_95"})
_BETWEEN = ("coverage_", "sharpness")
"""Metrics whose best is neither the smallest nor the largest."""

_MORE = ("accuracy", "r2", "f1", "acc", "auc", "recall", "precision")
_AGAIN = "run the same command again"


def verdict(run: Training) -> Verdict:
    """Say what the network reached, and what to know before using it."""
    return Verdict(_headline(run), tuple(_notes(run)))


def metric_name(key: str) -> str:
    """Tell a metric: ``relative_l2`` is "relative L2 error", ``precision_at_recall=0.8`` "precision at recall 0.8"."""
    return METRICS.get(key) or key.replace("_", " ").replace("=", " ")


def opening(text: str) -> str:
    """Begin a sentence with `text`."""
    return text[:1].upper() + text[1:]


def metric_value(key: str, value: Any) -> str:
    """Write a metric's value: a share of right answers in per cent, other numbers to four digits."""
    number = finite(value)
    if number is not None and key in _SHARES:
        return f"{100 * number:.1f} %"
    return quantity(number)


def error_name(split: Split) -> str:
    """Tell what the error of a sample is, with its units."""
    name = metric_name(split.metric)
    return f"{name} / {split.units}" if split.units else name


def samples(number: int) -> str:
    """Write a number of samples."""
    return f"{count(number)} {'sample' if number == 1 else 'samples'}"


def main_metric(run: Training) -> tuple[str, str, Any] | None:
    """Return split, key and value of the number that says most: that of the task, else the first."""
    for split, values in run.metrics.items():
        named = _HEADLINES.get(str(run.summary.get("task") or run.card.get("task")), "")
        key = named if named in values else str(next(iter(values)))
        return split, key, values[key]
    return None


def direction(key: str) -> int:
    """Return 1 where more of a metric is better, -1 where less is, 0 where the best is a value between."""
    name = key.partition("=")[0]
    return 0 if name.startswith(_BETWEEN) else 1 if name.endswith(_MORE) else -1


def best_epoch(run: Training) -> int | None:
    """Return the epoch with the best validation, whose network is kept; None without one."""
    known = (run.summary.get("best_epoch"), run.history.get("best_epoch"))
    return next((int(number) for number in map(finite, known) if number is not None), None)


def kept_by(run: Training) -> str:
    """Tell the metric that chose the epoch that is kept, the first of the validation; empty where none is known."""
    first = next((str(key) for one in run.epochs for key in one.get("valid") or {}), "")
    return metric_name(first)


def done_epochs(run: Training) -> int:
    """Return how many epochs are done."""
    return int(run.epochs[-1]["epoch"]) if run.epochs else 0


def asked_epochs(run: Training) -> int:
    """Return how many epochs were asked for."""
    known = (run.settings.get("epochs"), run.summary.get("epochs"))
    return next((int(number) for number in map(finite, known) if number is not None), done_epochs(run))


def seconds(run: Training) -> float | None:
    """Return how long the training took, where that is known."""
    told = finite(run.summary.get("seconds"))
    if told is not None:
        return told
    known = [finite(one.get("seconds")) for one in run.epochs]
    return sum(one for one in known if one is not None) if any(known) else None


def _headline(run: Training) -> str:
    if run.state in ("", "done"):
        return _reached(run) or f"{run.network}, trained for {count(done_epochs(run))} epochs."
    far = f"{count(done_epochs(run))} of {count(asked_epochs(run))} epochs of {run.network}"
    if run.state == "running" and run.alive:
        return f"{far} so far: this training is going on."
    opening = {"running": "Killed", "failed": "Ended by an error"}.get(run.state, "Stopped")
    return f"{opening} after {far}: {_advice(run) if run.state == 'failed' else _AGAIN}."


def _advice(run: Training) -> str:
    """Say what helps against an error, whose kind the note begins with: some come again with the same command."""
    kind, _, what = run.note.partition(": ")
    if kind == "InputError":
        return f"mend the input (see below), then {_AGAIN}; if it is refused as other data, give a new --out"
    if kind != "TrainingFailure":
        return _AGAIN
    clip = "--clip" if finite(run.settings.get("clip")) is None else "a smaller --clip"
    slower = f"a lower --learning-rate or {clip}"
    if "was rolled back" in what:
        anew = f"begin in a new --out with {slower}"
    elif "began without" in what:
        anew = f"begin in a new --out with {slower}, or with --on-trouble roll-back"
    else:
        anew = f"continue with --on-trouble roll-back, or begin in a new --out with {slower}"
    data = "; if the sample named below is at fault, mend the data" if "sample" in what else ""
    return f"the same command would fail again; {anew}{data}"


def _reached(run: Training) -> str:
    found = main_metric(run)
    if found is None:
        return ""
    split, key, value = found
    sizes = [one.error.size for one in run.splits if one.name == split]
    what = f"{count(sizes[0])} {split} samples" if sizes and sizes[0] != 1 else f"the {split} samples"
    return f"{run.network}: {metric_name(key)} {metric_value(key, value)} on {what}."


def _notes(run: Training) -> list[str]:
    notes = list(run.troubles)
    if run.note and run.state in ("stopped", "failed"):
        notes.append(f"It {'stopped' if run.state == 'stopped' else 'failed'} because: {run.note}")
    notes += [roll_back(item) for item in run.history.get("troubles") or []]
    done, asked = done_epochs(run), asked_epochs(run)
    if run.state == "done" and 0 < done < asked:
        why = f": {run.note}" if run.note else ""
        notes.append(f"It ended after {count(done)} of {count(asked)} epochs{why}.")
    return notes


def roll_back(item: Mapping[str, Any]) -> str:
    """Say when and why a training went back to the beginning of an epoch."""
    step = f" (step {count(item['step'])})" if finite(item.get("step")) is not None else ""
    what = str(item.get("what") or "the loss was no number, or exploded").rstrip(".")
    factor = finite(item.get("factor"))
    slower = f", with {quantity(factor)} of the learning rate" if factor is not None else ""
    back = "The training went back to the beginning of the epoch"
    return f"In epoch {count(item.get('epoch'))}{step}: {what}. {back}{slower}."


def took(run: Training) -> str:
    """Write how long the training took."""
    number = seconds(run)
    return "–" if number is None else duration_text(number) if number >= 10 else f"{number:.1f} s"
