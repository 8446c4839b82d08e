"""Run folders as the learn engine writes them, of networks that were never trained: their errors are made up."""

import json

import h5py
import numpy as np
import pytest
import tomli_w

from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.world import World
from hpc_ds.store.design_file import write_design
from hpc_ds.store.layout import Column, Field, Layout, axis
from hpc_ds.store.merge import merge
from hpc_ds.store.shard import ShardWriter

PROVENANCE = {
    "format": 1,
    "kind": "learn",
    "versions": {"hpc_ds": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"},
    "host": "cn1042",
    "ranks": 4,
    "git": "0123abcd",
    "command": ["hpc-ds", "learn", "fno", "data/burgers", "--out", "runs/fno"],
    "seed": 1,
    "started": "2025-01-01T12:00:00+00:00",
    "sessions": [{"ranks": 4}],
}
GRIDS = {1: (128,), 2: (40, 32), 3: (12, 10, 14)}
COLUMNS = (Column("viscosity"), Column("amplitude"))
CLASSES = ("quiet", "onset", "crash")


class FakeTraining:
    """Writes one run folder of a training, whole or stopped at any point."""

    def __init__(self, folder, network="fno", task="fields", epochs=20, seed=3, **settings):
        self.folder, self.network, self.task, self.epochs = folder, network, task, epochs
        self.rng = np.random.default_rng(seed)
        self.data = folder / "burgers"
        folder.mkdir(parents=True)
        config = {
            "network": network, "data": {"path": str(self.data), "content": "0f"}, "epochs": epochs,
            "reduction": "reproducible", "lanes": 8, "batch": 32, "members": 1,
        }  # fmt: skip
        self.text("config.toml", tomli_w.dumps(config | settings))
        self.write("provenance.json", PROVENANCE)
        self.state("running")

    # What a training leaves

    def history(self, done=None, troubles=(), folder="."):
        done = self.epochs if done is None else done
        decay = np.exp(-0.15 * np.arange(1, done + 1))
        epochs = [
            {
                "epoch": place + 1,
                "learning_rate": 1e-3 * (1 + np.cos(np.pi * place / self.epochs)) / 2 + 1e-6,
                "train_loss": float(0.5 * decay[place]),
                "gradient_norm": float(3 * decay[place] + 0.1),
                "seconds": 1.5,
                "valid": {name: float(value(decay[place])) for name, value in self.metrics.items()},
            }
            for place in range(done)
        ]
        steps = {"loss": (0.5 * np.repeat(decay, 10) * self.rng.uniform(0.8, 1.2, 10 * done)).tolist()}
        table = {
            "format": 1,
            "epochs": epochs,
            "steps": steps,
            "troubles": list(troubles),
            "best_epoch": max(1, self.epochs - 2),
        }
        write_json(self.folder / folder / "history.json", table)
        return self

    def fields(self, ndim=1, channels=1, samples=60, parameters=True):
        grid = GRIDS[ndim]
        error = np.sort(self.rng.lognormal(-5, 0.8, samples))[self.rng.permutation(samples)]
        error[0], self.error = error.min() / 2, error
        rank = np.argsort(error)
        places = {"best": rank[0], "median": rank[(samples - 1) // 2], "worst": rank[-1]}
        with h5py.File(self.folder / "evaluation.h5", "w") as file:
            for split in ("valid", "test"):
                group = self._split(
                    file, split, error, [f"u:{-1 - c}" for c in range(channels)], "relative L2"
                )
                for place, row in places.items():
                    target = self._field(grid, channels, row)
                    group[f"{place}/input"] = self._field(grid, 1, row + 1)
                    group[f"{place}/target"] = target
                    group[f"{place}/prediction"] = target + 3 * error[row] * self._field(
                        grid, channels, row + 7
                    )
        self._card([f"u:{-1 - c}" for c in range(channels)], (1, *grid), (channels, *grid))
        if parameters:
            self._training_set(error)
        return self

    def scalars(self, names=("drag", "lift"), samples=80, spread=True):
        true = self.rng.normal(2, 1, (samples, len(names)))
        sd = self.rng.uniform(0.05, 0.4, true.shape)
        said = true + sd * self.rng.normal(size=true.shape)
        with h5py.File(self.folder / "evaluation.h5", "w") as file:
            group = self._split(file, "valid", np.sqrt(((said - true) ** 2).mean(axis=1)), names, "error/sd")
            group["target"], group["prediction"] = true, said
            if spread:
                group["spread"] = sd
        self._card(names, (4,), (len(names),))
        return self

    def classes(self, samples=300):
        label = self.rng.choice(len(CLASSES), samples, p=(0.7, 0.2, 0.1))
        logits = self.rng.normal(size=(samples, len(CLASSES)))
        logits[np.arange(samples), label] += 2.0
        probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        with h5py.File(self.folder / "evaluation.h5", "w") as file:
            error = -np.log(probability[np.arange(samples), label])
            group = self._split(file, "test", error, CLASSES, "-log p")
            group["label"], group["probability"] = label, probability
        self._card(CLASSES, (1, 32, 32), (len(CLASSES),))
        return self

    def finish(self, state="done", note=None, metrics=None, **more):
        told = metrics or {
            name: {key: value(0.01) for key, value in self.metrics.items()} for name in ("valid", "test")
        }
        summary = {
            "format": 1, "kind": "learn", "network": self.network, "parameters": 287425, "task": self.task,
            "epochs": self.epochs, "best_epoch": max(1, self.epochs - 2), "train_loss": 0.02,
            "metrics": told, "seconds": 95.4,
        }  # fmt: skip
        self.write("summary.json", summary | more)
        self.state(state, note)
        return self.folder

    # Helpers

    @property
    def metrics(self):
        """Metrics that become better as the loss falls."""
        return {
            "fields": {"relative_l2": lambda loss: 0.55 * loss + 0.01, "rmse": lambda loss: 2 * loss},
            "scalars": {"rmse": lambda loss: loss + 0.02, "r2": lambda loss: 0.97 - loss},
            "classify": {
                "cross_entropy": lambda loss: loss + 0.2,
                "accuracy": lambda loss: 0.88 - 0.5 * loss,
            },
        }[self.task]

    def state(self, state, note=None):
        self.write("state.json", {"format": 1, "kind": "learn", "state": state, "note": note})

    def write(self, name, data):
        self.text(name, json.dumps(data))

    def text(self, name, text):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8")

    def _training_set(self, error):
        """Write the set whose samples have these errors: they go with the viscosity."""
        run, samples = self.folder / "burgers", error.size
        layout = Layout("burgers", (axis("x", 0, 1, 4),), axis("time", 0, 1, 1), (Field("u"),), (), COLUMNS)
        run.mkdir()
        write_json(run / "layout.json", layout.to_dict())
        columns = {
            "viscosity": 10 ** (np.log10(error) + self.rng.normal(0, 0.1, samples)),
            "amplitude": self.rng.uniform(0.5, 2, samples),
        }
        write_design(run, columns, {})
        with ShardWriter(run, "one", layout) as writer:
            for index in range(samples):
                writer.append(index, layout.checked({"u": np.zeros((1, 4))}), 1.0, 0.0)
        merge(run, World(), fractions=(0.0, 0.0, 1.0))

    def _split(self, file, name, error, names, metric, units=""):
        group = file.create_group(name)
        group.attrs.update({"task": self.task, "names": list(names), "metric": metric, "units": units})
        group["error"] = error
        group["sample"] = 1000 + np.arange(error.size)
        return group

    def _field(self, grid, channels, number):
        axes = np.meshgrid(*(np.linspace(0, 1, size, endpoint=False) for size in grid), indexing="ij")
        waves = [np.sin(2 * np.pi * ((1 + number % 3) * axes[0] + c + number / 9)) for c in range(channels)]
        return np.stack([wave * np.prod([np.cos(np.pi * a) for a in axes[1:]], axis=0) for wave in waves])

    def _card(self, names, inputs, targets):
        grid = inputs[1:]
        axes = [
            {"name": name, "coordinates": (np.arange(size) / size).tolist(), "periodic": True, "units": "m"}
            for name, size in zip("xyz", grid, strict=False)
        ]  # fmt: skip
        card = {
            "format": 1, "reference": self.network, "options": {"width": 64, "modes": 16}, "task": self.task,
            "inputs": {"shape": inputs, "names": ["u:0"] if grid else list("abcd")[: inputs[0]]},
            "targets": {"shape": targets, "names": list(names)}, "axes": axes, "parameters": 287425,
        }  # fmt: skip
        self.write("network/network.json", card)


@pytest.fixture
def fake_training(tmp_path):
    """Return a function that makes a `FakeTraining` on a new folder: ``fake_training(network, task)``."""

    def make(network="fno", task="fields", folder="run", **more):
        return FakeTraining(tmp_path / folder, network, task, **more)

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return finished run folders by kind, not to be changed."""
    base = tmp_path_factory.mktemp("trainings")
    return {
        "line": FakeTraining(base / "line").history().fields(1).finish(),
        "plane": FakeTraining(base / "plane").history().fields(2, channels=2).finish(),
        "space": FakeTraining(base / "space").history().fields(3).finish(),
        "scalars": FakeTraining(base / "scalars", "mlp", "scalars").history().scalars().finish(),
        "classes": FakeTraining(base / "classes", "resnet18", "classify").history().classes().finish(),
    }
