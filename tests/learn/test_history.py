"""The history keeps what happened, in bounded room, and knows the best epoch."""

import json
import math

import pytest

from hpc_ds.learn.history import MOST_STEPS, Epoch, History, StepLosses


def history(*values, smaller=True):
    made = History()
    for number, value in enumerate(values, 1):
        made.add(Epoch(number, 1e-3, 0.5, 1.0, 0.1, {"error": value}), "error", smaller)
    return made


def test_best_epoch_is_that_of_the_least_error():
    made = history(0.5, 0.3, 0.4, 0.3)
    assert (made.best_epoch, made.best) == (2, 0.3)


def test_best_epoch_is_that_of_the_largest_score():
    assert history(0.5, 0.3, 0.7, smaller=False).best_epoch == 3


def test_nan_is_never_the_best():
    assert history(math.nan, 0.4, math.nan).best_epoch == 2
    assert history(math.nan).best_epoch is None


def test_patience_counts_epochs_since_the_best():
    assert not history(0.5, 0.3, 0.4).is_patience_out(2)
    assert history(0.5, 0.3, 0.4, 0.35).is_patience_out(2)
    assert history(math.nan, math.nan).is_patience_out(2)
    assert not history(0.5, 0.6, 0.7).is_patience_out(None)
    assert not History().is_patience_out(1)


def test_without_validation_there_is_neither_best_nor_patience():
    made = History()
    assert not made.add(Epoch(1, 1e-3, 0.5, 1.0, 0.1), None, True)
    assert made.best_epoch is None and not made.is_patience_out(1)


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_steps_are_means_of_equal_runs_however_they_come(pieces):
    steps, count = StepLosses(), 3 * MOST_STEPS + 5
    losses = [float(step) for step in range(count)]
    for start in range(0, count, pieces):
        steps.extend(losses[start : start + pieces])
    assert steps.every == 4 and len(steps.loss) == count // 4
    assert steps.loss == [4 * i + 1.5 for i in range(count // 4)]
    assert steps.pending == losses[count // 4 * 4 :]


def test_history_comes_back_from_plain_data():
    made = history(0.1 + 0.2, 1 / 3, math.nan)
    made.steps.extend([1.0, 1e-300])
    made.troubles.append({"epoch": 1, "step": 2, "what": "the loss is nan", "factor": 0.5})
    again = History.from_plain(json.loads(json.dumps(made.to_plain())))
    assert repr(again) == repr(made)


def test_file_says_epochs_and_steps(tmp_path):
    made = history(0.25, math.nan)
    made.steps.extend([3.0, 2.0])
    made.write(tmp_path / "history.json")
    data = json.loads((tmp_path / "history.json").read_text())
    assert data["format"] == 1 and data["best_epoch"] == 1
    assert data["steps"] == {"every": 1, "loss": [3.0, 2.0]}
    assert [epoch["valid"]["error"] for epoch in data["epochs"]] == [0.25, None]
    keys = {"epoch", "learning_rate", "train_loss", "gradient_norm", "seconds", "valid"}
    assert set(data["epochs"][0]) == keys
