"""A training that is stopped anywhere goes on to the same bits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import hpc_ds.learn.pace
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.snapshot import Snapshots


@pytest.fixture(scope="module")
def toy():
    """Return the module toy_training.py, which tests in importlib mode cannot import."""
    spec = importlib.util.spec_from_file_location("toy_training", Path(__file__).with_name("toy_training.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def every_step_is_a_safe_point(monkeypatch):
    monkeypatch.setattr(hpc_ds.learn.pace, "EVERY", 0.0)


def run(toy, folder, looks=None, **options):
    trainer = toy.make_trainer(folder, deadline=None if looks is None else toy.AfterLooks(looks), **options)
    return trainer, trainer.run()


def run_cut(toy, folder, lengths, **options):
    """Train in sessions of so many steps, in turn; return the answer and the number of sessions."""
    folder.mkdir(exist_ok=True)
    sessions, state = 0, "stopped"
    while state == "stopped":
        trainer, result = run(toy, folder, lengths[sessions % len(lengths)], **options)
        state, sessions = result.state, sessions + 1
    return toy.answer(trainer, result), sessions


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimiser": "sgd", "ema": None, "schedule": "one-cycle", "patience": 1},
        {"optimiser": "adam", "precision": "float64", "accumulate": 2, "reduction": "fast"},
        {"activation_checkpoints": True, "precision": "bfloat16", "on_trouble": "roll-back"},
    ],
    ids=["adamw", "sgd", "float64", "bfloat16"],
)
def test_training_cut_at_many_steps_ends_like_the_uncut_one(toy, tmp_path, options):
    whole = toy.answer(*run(toy, tmp_path, **options))
    cut, sessions = run_cut(toy, tmp_path / "cut", [0, 1, 3, 2], **options)
    assert sessions > 5
    for part, expected in zip(cut, whole):
        assert part == expected


def test_finished_training_given_again_has_nothing_to_do(toy, tmp_path):
    first = toy.answer(*run(toy, tmp_path))
    snapshots = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    trainer, result = run(toy, tmp_path)
    assert toy.answer(trainer, result) == first and result.state == "done"
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == snapshots


def test_training_grows_to_what_a_single_run_gives(toy, tmp_path):
    options = {"schedule": "constant"}
    whole = toy.answer(*run(toy, tmp_path, **options, epochs=5))
    grown = tmp_path / "grown"
    grown.mkdir()
    for epochs in (1, 3, 5):
        trainer, result = run(toy, grown, **options, epochs=epochs)
    assert toy.answer(trainer, result) == whole


def test_stopped_training_says_why_and_has_the_best_weights_so_far(toy, tmp_path):
    trainer, result = run(toy, tmp_path, looks=8)
    assert (result.state, result.note, result.best_epoch) == ("stopped", "after some looks", 1)
    assert len(result.history.epochs) == 1
    arrays, meta = Snapshots(tmp_path / "snapshots").load()
    assert (meta["epoch"], meta["step"]) == (2, 3)
    state = trainer.predictor.network.state_dict()
    assert all(np.array_equal(arrays[f"best/{name}"], tensor.numpy()) for name, tensor in state.items())


def test_damaged_snapshot_is_passed_over(toy, tmp_path):
    whole = toy.answer(*run(toy, tmp_path))
    cut = tmp_path / "cut"
    cut.mkdir()
    for _ in range(2):
        run(toy, cut, looks=4)
    newest = max((cut / "snapshots").iterdir(), key=lambda path: int(path.stem.partition("-")[2]))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert toy.answer(*run(toy, cut)) == whole


def test_snapshot_of_a_later_format_is_refused(toy, tmp_path):
    run(toy, tmp_path, looks=1)
    snapshots = Snapshots(tmp_path / "snapshots")
    arrays, meta = snapshots.load()
    snapshots.save(arrays, {**meta, "format": 99})
    with pytest.raises(InputError, match="format 99, this version reads up to 1: update hpc_ds"):
        run(toy, tmp_path)


def test_disk_that_refuses_is_told_and_the_training_goes_on_when_it_is_mended(toy, tmp_path, monkeypatch):
    whole = toy.answer(*run(toy, tmp_path))
    cut = tmp_path / "cut"
    cut.mkdir()
    run(toy, cut, looks=4)

    def full(*arguments):
        raise StorageError(28, "No space left on device", "snapshot")

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(Snapshots, "save", full)
        run(toy, cut, looks=3)
    assert toy.answer(*run(toy, cut)) == whole


def test_harder_samples_are_drawn_alike_after_a_stop(toy, tmp_path):
    """The order of an epoch depends on the losses of the one before, which a snapshot must hold."""
    seen = []

    class ByLoss:
        length = 48

        def epoch(self, epoch, losses=None):
            order = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")[: self.length]
            seen.append((epoch, order.tolist()))
            return order

    def make(folder, looks=None):
        deadline = None if looks is None else toy.AfterLooks(looks)
        trainer = toy.make_trainer(folder, deadline=deadline)
        trainer.order = ByLoss()
        return trainer

    whole = make(tmp_path)
    expected, orders = toy.answer(whole, whole.run()), dict(seen)
    cut = tmp_path / "cut"
    cut.mkdir()
    state = "stopped"
    while state == "stopped":
        trainer = make(cut, 2)
        result = trainer.run()
        state = result.state
    assert toy.answer(trainer, result) == expected
    assert all(orders[epoch] == order for epoch, order in seen)
    assert len({tuple(order) for order in orders.values()}) == len(orders)
