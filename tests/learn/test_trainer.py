"""The training loop: what it learns, validates, keeps, repeats and stops at."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hpc_ds.learn.activations import blocks, recomputed
from hpc_ds.learn.evaluation import evaluate
from hpc_ds.learn.step import seed_torch


@pytest.fixture(scope="module")
def toy():
    """Return the module toy_training.py, which tests in importlib mode cannot import."""
    spec = importlib.util.spec_from_file_location("toy_training", Path(__file__).with_name("toy_training.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train(toy, tmp_path_factory):
    """Run a training in a folder of its own: `train(epochs=2)` returns (trainer, result, folder)."""

    def run(**options):
        folder = tmp_path_factory.mktemp("training")
        trainer = toy.make_trainer(folder, **options)
        return trainer, trainer.run(), folder

    return run


def test_loss_falls_and_history_says_so(train):
    trainer, result, folder = train(epochs=12)
    losses = [epoch.train_loss for epoch in result.history.epochs]
    assert result.state == "done" and result.note == "" and len(losses) == 12
    assert losses[-1] < 0.2 * losses[0]
    written = json.loads((folder / "history.json").read_text())
    assert [epoch["train_loss"] for epoch in written["epochs"]] == losses
    assert len(written["steps"]["loss"]) == 12 * 6
    assert set(written["epochs"][0]["valid"]) == {metric.name for metric in trainer.metrics}


def test_same_seed_same_bits_and_another_seed_others(toy, train):
    first, again, other = (toy.answer(*train(seed=seed)[:2]) for seed in (5, 5, 6))
    assert first == again and first[0] != other[0]


def test_kept_weights_are_those_of_the_best_epoch(train):
    trainer, result, _ = train(epochs=6, learning_rate=0.05, schedule="constant", ema=None)
    errors = [epoch.valid["relative_l2"] for epoch in result.history.epochs]
    assert result.best_epoch == 1 + int(np.argmin(errors))
    found = evaluate(trainer.predictor.with_spread, trainer.valid, trainer.group, 16, trainer.metrics)
    assert found.metrics["relative_l2"] == min(errors)
    assert not trainer.predictor.training


def test_mean_of_the_weights_is_what_is_kept(train):
    trainer, result, _ = train(ema=0.9)
    found = evaluate(trainer.predictor.with_spread, trainer.valid, trainer.group, 16, trainer.metrics)
    assert found.metrics == result.history.epochs[result.best_epoch - 1].valid


def test_without_validation_the_last_weights_are_kept(toy, tmp_path):
    trainer = toy.make_trainer(tmp_path, ema=None)
    trainer.valid = None
    result = trainer.run()
    assert result.best_epoch is None and result.history.epochs[-1].valid == {}
    arrays, _ = trainer.snapshots.load()
    state = trainer.predictor.network.state_dict()
    assert all(np.array_equal(state[name].numpy(), arrays[f"network/{name}"]) for name in state)


def test_patience_ends_the_training(train):
    _, result, _ = train(epochs=50, patience=2, learning_rate=0.1, schedule="constant", ema=None)
    assert result.state == "done" and result.note == "no better validation in 2 epochs"
    assert len(result.history.epochs) == result.best_epoch + 2 < 50


def test_float64_computes_in_float64(toy, train):
    trainer, _, _ = train(precision="float64", epochs=1)
    network = trainer.predictor.network
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    weight = network[0].weight.detach()
    assert not torch.equal(weight.float().double(), weight)


def test_bfloat16_learns_nearly_the_same(train):
    losses = [
        train(precision=name, epochs=3)[1].history.epochs[-1].train_loss for name in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)


def test_frozen_layers_stay_as_they_are_with_their_statistics(toy, tmp_path):
    network = toy.make_network()
    network[1].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network[1].state_dict().items()}
    trainer = toy.make_trainer(tmp_path, network=network, epochs=1, ema=None)
    trainer.run()
    after = trainer.predictor.network[1].state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_weights_of_the_network_before_any_step_do_not_matter_for_the_noise():
    seed_torch(1, 0, 3, 4, 2)
    first = torch.rand(3)
    torch.rand(5)
    seed_torch(1, 0, 3, 4, 2)
    assert torch.equal(torch.rand(3), first)
    seed_torch(1, 0, 3, 4, 1)
    assert not torch.equal(torch.rand(3), first)


# ---- one step by hand -------------------------------------------------------------------------------------------


def test_a_step_is_clipped_gradient_descent_on_the_mean_loss(toy, tmp_path):
    options = {"optimiser": "sgd", "weight_decay": 0.0, "schedule": "constant", "warmup": 0, "clip": 0.05}
    torch.manual_seed(2)
    network = nn.Conv1d(2, 1, 1)
    by_hand = nn.Conv1d(2, 1, 1)
    by_hand.load_state_dict(network.state_dict())
    trainer = toy.make_trainer(
        tmp_path, network=network, epochs=1, batch=90, ema=None, learning_rate=0.5, **options
    )
    trainer.valid = None
    result = trainer.run()
    data = np.load(tmp_path / "data.npz")
    x, y = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"][:, None]) - 3.0
    loss = (by_hand(x) - y).square().flatten(1).mean(1).mean()
    loss.backward()
    loss = float(loss.detach())
    norm = torch.nn.utils.get_total_norm([p.grad for p in by_hand.parameters()])
    assert norm > 0.05
    for parameter, moved in zip(by_hand.parameters(), network.parameters()):
        assert torch.allclose(parameter - 0.5 * 0.05 / norm * parameter.grad, moved, atol=1e-6)
    epoch = result.history.epochs[0]
    assert epoch.train_loss == pytest.approx(loss, rel=1e-6)
    assert epoch.gradient_norm == pytest.approx(float(norm), rel=1e-5)


# ---- activation checkpoints -------------------------------------------------------------------------------------


def test_activation_checkpoints_change_no_bit(toy, train):
    plain, lean = (toy.answer(*train(activation_checkpoints=on)[:2]) for on in (False, True))
    assert plain == lean


def test_blocks_are_the_members_of_the_outermost_lists(toy):
    network = toy.make_network()
    assert blocks(network) == [network[0], network[1], network[3], network[4]]
    outer = nn.ModuleDict({"layers": nn.ModuleList([network, nn.GELU()])})
    assert blocks(nn.Sequential(outer)) == [outer]


def test_fewer_activations_are_kept(toy):
    network, x = toy.make_network(), torch.randn(4, 2, 12)
    held = []

    def count():
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(x)
        return total

    held.append(count())
    with recomputed(network):
        held.append(count())
    held.append(count())
    assert held[1] < 0.7 * held[0] and held[2] == held[0]
