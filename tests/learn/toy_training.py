"""A small training with BatchNorm, dropout and roll-backs for tests; as a program, one to be killed."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hpc_ds.learn.dataset import open_dataset
from hpc_ds.learn.distributed import join, learn_world
from hpc_ds.learn.feeder import Feeder
from hpc_ds.learn.losses import make_loss
from hpc_ds.learn.metrics import make_metrics
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.order import Order
from hpc_ds.learn.predictor import Predictor, describe
from hpc_ds.learn.recovery import TrainingFailure
from hpc_ds.learn.settings import Settings
from hpc_ds.learn.trainer import Trainer
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.snapshot import Snapshots

OPTIONS = {
    "input": "x::",
    "epochs": 4,
    "batch": 16,
    "lanes": 4,
    "warmup": 3,
    "clip": 1.0,
    "ema": 0.9,
    "learning_rate": 1e-2,
}
TRAIN, VALID, POINTS = 90, 40, 12


class AfterLooks:
    """A deadline that comes after so many looks at the clock."""

    def __init__(self, looks):
        self.looks = looks

    def agreed(self, world):
        self.looks -= 1
        return self.looks < 0

    def reason(self):
        return "after some looks"


def write_data(path, poison=None, value=np.nan, split="train"):
    """Write fields that are a nonlinear function of others; `poison` is a sample one of whose inputs is `value`."""
    rng = np.random.default_rng(1)
    arrays = {}
    for name, count in (("train", TRAIN), ("valid", VALID)):
        x = rng.normal(size=(count, 2, POINTS)).astype(np.float32)
        arrays[f"x_{name}"] = x
        arrays[f"y_{name}"] = np.sin(x[:, 0]) + 0.5 * np.roll(x[:, 1], 1, axis=1) + 3.0
    if poison is not None:
        arrays[f"x_{split}"][poison, 1, 5] = value
    np.savez(path, **arrays)


def make_network(channels=8):
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv1d(2, channels, 3, padding=1, padding_mode="circular", bias=False),
        nn.Sequential(nn.BatchNorm1d(channels), nn.GELU()),
        nn.Dropout(0.2),
        nn.Sequential(nn.Conv1d(channels, channels, 3, padding=1), nn.GELU()),
        nn.Conv1d(channels, 1, 1),
    )


def make_trainer(folder, *, network=None, deadline=None, tell=None, group=None, **options):
    """Return a trainer on ``folder/data.npz``, which is written if it is not there."""
    folder = Path(folder)
    group = group or join(learn_world(), device=options.pop("device", "cpu"))
    settings = Settings(**{**OPTIONS, **options})
    data = folder / "data.npz"
    if group.rank == 0 and not data.exists():
        write_data(data)
    group.world.barrier()
    train, valid = (open_dataset(data, split, settings) for split in ("train", "valid"))
    normalisers = Normaliser(np.zeros(2), np.ones(2)), Normaliser(np.full(1, 3.0), np.ones(1))
    dtype = torch.float64 if settings.precision == "float64" else torch.float32
    predictor = Predictor(describe("toy", {}, train), network or make_network(), *normalisers)
    predictor.network.to(dtype)
    predictor.to(group.device)
    world = group.world
    return Trainer(
        predictor,
        train,
        valid,
        Order(len(train), settings),
        Feeder(train, group.device, settings.prefetch, dtype=dtype),
        make_loss("l2", "fields"),
        make_metrics("fields"),
        settings,
        group,
        Snapshots(folder / "snapshots", warn=lambda line: None),
        folder / "history.json",
        lambda total, done: Progress(world, None, total, "training", done),
        deadline or Deadline(None),
        tell or (lambda line: None),
    )


def answer(trainer, result):
    """Return what must not depend on ranks or interruptions: hashes of the kept weights, and the history."""
    history = result.history.to_plain()
    for epoch in history["epochs"]:
        del epoch["seconds"]
    state = trainer.predictor.state_dict()
    return {name: digest(tensor) for name, tensor in state.items()}, history, result.best_epoch


def digest(tensor):
    return hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest()


def main(folder, options):
    """Train, with a safe point and a snapshot after every step, and write the answer."""
    import hpc_ds.learn.pace

    hpc_ds.learn.pace.EVERY = 0.0
    torch.set_num_threads(1)
    trainer = make_trainer(folder, snapshot_every=0.0, **options)
    try:
        result = trainer.run()
    except TrainingFailure as failure:
        sys.exit(str(failure) if trainer.group.rank == 0 else 1)
    if trainer.group.rank == 0:
        (Path(folder) / "answer.json").write_text(json.dumps(answer(trainer, result)))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
