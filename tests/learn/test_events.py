import importlib.util
import sys
import types

import pytest

from hpc_ds.learn.events import Events

RECORD = {
    "epoch": 3,
    "learning_rate": 1e-3,
    "train_loss": 0.25,
    "note": "text",
    "valid": {"relative_l2": 0.5},
}


class Writer:
    """Stands for TensorBoard's own."""

    made: list["Writer"] = []  # noqa: RUF012 - of each test anew

    def __init__(self, folder):
        self.folder, self.points, self.closed = folder, [], 0
        Writer.made.append(self)

    def add_scalar(self, *point):
        self.points.append(point)

    def flush(self):
        pass

    def close(self):
        self.closed += 1


@pytest.fixture
def tensorboard(monkeypatch):
    """Pretend that TensorBoard is installed; return the writers that are made."""
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: name == "tensorboard")
    Writer.made = []
    return Writer.made


def test_every_number_of_an_epoch_becomes_a_point(tensorboard, tmp_path):
    events = Events(tmp_path / "events")
    events.epoch(RECORD)
    events.close()
    events.close()
    (writer,) = tensorboard
    assert writer.folder == str(tmp_path / "events") and writer.closed == 1
    assert writer.points == [
        ("learning_rate", 1e-3, 3),
        ("train_loss", 0.25, 3),
        ("valid/relative_l2", 0.5, 3),
    ]


def test_without_the_package_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    events = Events(tmp_path / "events")
    events.epoch(RECORD)
    events.close()
    assert not (tmp_path / "events").exists()


def test_full_disk_does_not_end_a_training(tensorboard, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "add_scalar", full)
    events = Events(tmp_path / "events")
    events.epoch(RECORD)
    events.epoch(RECORD)
    events.close()


def test_real_event_files_are_written_where_tensorboard_is(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    events = Events(tmp_path / "events")
    events.epoch(RECORD)
    events.close()
    assert list((tmp_path / "events").glob("events.out.tfevents.*"))
