"""A loss that is NaN or explodes is recognised at its step, told with its sample, and got over where it can be."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hpc_ds.learn.recovery import RECENT, ROLL_BACKS, TrainingFailure, Watch, explosion, not_finite
from hpc_ds.runtime.world import World


@pytest.fixture(scope="module")
def toy():
    """Return the module toy_training.py, which tests in importlib mode cannot import."""
    spec = importlib.util.spec_from_file_location("toy_training", Path(__file__).with_name("toy_training.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the rule ---------------------------------------------------------------------------------------------------


def watch(*losses):
    made = Watch()
    made.add(losses)
    return made


def test_loss_that_explodes_is_found():
    assert watch(*[1.0] * 20).first_explosion([1.1, 0.9, 2e3, 1e9]) == 2


@pytest.mark.parametrize(
    "before, after",
    [
        ([1.0] * 20, [999.0, 5.0]),  # not a thousand times
        ([1.0] * 5, [1e9, 1e9]),  # no beginning to compare with
        ([1.0] * 10 + [1e-9] * RECENT, [1e-5, 1e-4]),  # a spike near convergence, far below the beginning
        ([1.0] * 20 + [1e7], [1e6]),  # falling
    ],
)
def test_what_is_no_explosion(before, after):
    assert watch(*before).first_explosion(after) is None


def test_finding_does_not_depend_on_how_often_one_looks():
    rng = np.random.default_rng(3)
    losses = list(np.exp(rng.normal(size=300) + np.arange(300) * 0.06))
    losses[250] *= 1e4
    whole = Watch().first_explosion(losses)
    for cut in (1, 100, 249, 250, 251):
        first = watch(*losses[:cut]).first_explosion(losses[cut:]) if cut <= whole else None
        assert first is None or first + cut == whole
    assert whole == 250


def test_explosion_names_the_step_and_the_sample_with_the_largest_loss():
    losses = np.array([1.0, 2.0, 1e5, 9.0])
    found = explosion(watch(*[1.0] * 9), losses, np.array([4, 8, 15, 16]), range(0, 4, 2), epoch=3)
    assert str(found).startswith("epoch 3, step 2: the loss is 5e+04, 5.0e+04 times that of recent steps; ")
    assert str(found).endswith("largest of sample 15 (train): 1e+05")


def said(losses, alone=None):
    samples = np.array([40, 30, 20])
    return not_finite(
        World(), np.array(losses), samples, range(3), lambda place: (alone or {}).get(place, (1.0, 1.0))
    )


def test_sample_is_named():
    nan, inf = np.nan, np.inf
    assert said([1.0, nan, 2.0]) == "the loss of sample 30 (train) is nan"
    assert said([1.0, 2.0, inf]) == "the loss of sample 20 (train) is infinite"
    assert said([nan, nan, nan], {0: (nan, nan)}) == "the loss of sample 40 (train) is nan"
    assert said([nan, 1.0, nan]) == "the loss of samples 20, 40 (train) is nan"
    assert said([1.0, 2.0, 3.0], {1: (1.0, inf)}).startswith(
        "the gradient of sample 30 (train) is not finite"
    )
    assert "samples 40, 30, 20 (train) together" in said([1.0, 2.0, 3.0])


# ---- trainings --------------------------------------------------------------------------------------------------


def test_poisoned_sample_stops_the_training_and_the_last_snapshot_stays(toy, tmp_path):
    late = int(toy.make_trainer(tmp_path).order.epoch(1)[70])  # the fifth of steps of 16 samples
    toy.write_data(tmp_path / "data.npz", poison=late)
    assert toy.make_trainer(tmp_path, deadline=toy.AfterLooks(0)).run().state == "stopped"
    snapshot = next((tmp_path / "snapshots").iterdir()).read_bytes()
    with pytest.raises(
        TrainingFailure, match=rf"^epoch 1, step 5: the loss of sample {late} \(train\) is nan$"
    ):
        toy.make_trainer(tmp_path).run()
    assert [path.read_bytes() for path in (tmp_path / "snapshots").iterdir()] == [snapshot]


def test_poisoned_sample_is_rolled_back_so_often_and_then_stops(toy, tmp_path):
    toy.write_data(tmp_path / "data.npz", poison=17)
    lines = []
    with pytest.raises(
        TrainingFailure, match=r"sample 17 \(train\) is nan; it was rolled back 5 times before"
    ):
        toy.make_trainer(tmp_path, on_trouble="roll-back", tell=lines.append).run()
    assert len(lines) == ROLL_BACKS
    assert lines[1].endswith("is nan; back to the beginning of the epoch with 0.25 of the learning rate")


class InfiniteGradient(nn.Module):
    """The root of a number, whose derivative at 0 is infinite while its value is not."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return 3.0 + (self.scale * x[:, :1].square().amax((1, 2), keepdim=True)).sqrt().expand_as(x[:, :1])


def test_sample_whose_gradient_alone_is_infinite_is_named(toy, tmp_path):
    toy.write_data(tmp_path / "data.npz")
    arrays = dict(np.load(tmp_path / "data.npz"))
    arrays["x_train"][23, 0] = 0.0
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(
        TrainingFailure, match=r"the gradient of sample 23 \(train\) is not finite, though its loss"
    ):
        toy.make_trainer(tmp_path, network=InfiniteGradient()).run()


class Unstable(nn.Module):
    """Gives values that explode when a weight has become too large, which half the learning rate avoids."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return (x[:, :1] + self.weight) * (1e6 if self.weight > 0.95 else 1.0)


def unstable(toy, folder, **options):
    made = {"ema": None, "clip": None, "optimiser": "sgd", "weight_decay": 0.0, "schedule": "constant"}
    # The target's mean is 3 above the input's: the weight climbs towards it by steps in proportion to the rate.
    settings = {**made, "warmup": 0, "learning_rate": 0.02, "epochs": 2, **options}
    return toy.make_trainer(folder, network=Unstable(), on_trouble="roll-back", **settings)


def make_far_data(toy, folder):
    toy.write_data(folder / "data.npz")
    arrays = dict(np.load(folder / "data.npz"))
    for split in ("train", "valid"):
        arrays[f"y_{split}"] = arrays[f"x_{split}"][:, 0] + 4.2
    np.savez(folder / "data.npz", **arrays)


def test_training_that_explodes_goes_on_with_half_the_learning_rate(toy, tmp_path):
    make_far_data(toy, tmp_path)
    lines = []
    trainer = unstable(toy, tmp_path, tell=lines.append)
    result = trainer.run()
    assert result.state == "done" and len(lines) == len(result.history.troubles) >= 1
    assert "times that of recent steps; largest of sample" in lines[0]
    first = result.history.troubles[0]
    assert first["factor"] == 0.5 and first["step"] > 1 and first["epoch"] == 2
    assert result.history.epochs[-1].learning_rate == pytest.approx(0.02 * 0.5 ** len(lines))
    assert json.loads((tmp_path / "history.json").read_text())["troubles"] == result.history.troubles


def test_roll_back_is_the_same_however_the_training_is_cut(toy, tmp_path):
    answers = []
    for name, looks in (("whole", 10**9), ("cut", 1)):
        (tmp_path / name).mkdir()
        make_far_data(toy, tmp_path / name)
        sessions, state = 0, "stopped"
        while state == "stopped":
            sessions += 1
            deadline = toy.AfterLooks(looks * (sessions % 3))
            trainer = unstable(toy, tmp_path / name, deadline=deadline if name == "cut" else None)
            result = trainer.run()
            state = result.state
        answers.append(toy.answer(trainer, result))
    assert answers[0] == answers[1] and answers[0][1]["troubles"]
