"""Run folders as the simulate engine writes them, of fields that need no solver."""

import json

import numpy as np
import pytest
import tomli_w

from hpc_ds.runtime.world import World
from hpc_ds.store.design_file import write_design
from hpc_ds.store.journal import Journal
from hpc_ds.store.layout import Boundary, Column, Field, Layout, axis
from hpc_ds.store.merge import merge
from hpc_ds.store.quarantine import FailedSample, write_failure
from hpc_ds.store.shard import ShardWriter

BURGERS = Layout(
    "burgers",
    (axis("x", 0, 1, 128, "m", endpoint=False),),
    axis("time", 0, 1, 11, "s"),
    (Field("u", units="m/s"),),
    (Boundary("PERIODIC", ("x",)),),
    (
        Column("viscosity", "m2/s"),
        Column("amplitude"),
        Column("modes"),
        Column("forcing", choices=("none", "white")),
    ),
    attributes={"title": "Viscous Burgers equation"},
)
LORENZ = Layout(
    "lorenz96",
    (axis("site", 0, 39, 40),),
    axis("time", 0, 5, 101),
    (Field("X"),),
    columns=(Column("F"),),
)
VORTEX = Layout(
    "navier_stokes",
    (axis("x", 0, 1, 48, "m", endpoint=False), axis("y", 0, 1, 48, "m", endpoint=False)),
    axis("time", 0, 2, 9, "s"),
    (
        Field("vorticity", units="1/s"),
        Field("velocity", rank=1, units="m/s"),
        Field("energy", dims=(), units="J"),
        Field("drag", dims=(), time_varying=False),
        Field("mask", time_varying=False),
        Field("profile", time_varying=False, dims=("y",)),
    ),
    columns=(Column("viscosity", "m2/s"), Column("wavenumber")),
)
SPACES = {
    "burgers": {
        "viscosity": {"distribution": "log_uniform(0.01, 1)", "units": "m2/s"},
        "amplitude": {"bounds": [0.5, 2.0]},
        "modes": {"integer": [1, 4]},
        "forcing": {"choices": ["none", "white"]},
    },
    "lorenz96": {"F": {"distribution": "uniform(4, 12)"}},
    "navier_stokes": {
        "viscosity": {"bounds": [1e-4, 1e-2], "scale": "log", "units": "m2/s"},
        "wavenumber": {"integer": [1, 3]},
    },
}


def burgers(p):
    x, t = BURGERS.axes[0].coordinates, BURGERS.times.coordinates[:, None]
    phase = 2 * np.pi * p["modes"] * (x - 0.3 * p["amplitude"] * t)
    return {"u": p["amplitude"] * np.exp(-4 * p["viscosity"] * t) * np.sin(phase + 0.6 * t * np.sin(phase))}


def lorenz96(p):
    site, t = LORENZ.axes[0].coordinates, LORENZ.times.coordinates[:, None]
    wave = np.sin(2 * np.pi * (8 * site / 40 - 0.4 * t)) + 0.5 * np.sin(2 * np.pi * (3 * site / 40 + 0.9 * t))
    return {"X": 2.3 + p["F"] / 3 * wave}


def vortex(p):
    x, y = np.meshgrid(*(one.coordinates for one in VORTEX.axes), indexing="ij")
    t = VORTEX.times.coordinates[:, None, None]
    k, decay = 2 * np.pi * p["wavenumber"], np.exp(-80 * p["viscosity"] * t)
    u = decay * np.cos(k * (x - 0.1 * t)) * np.sin(k * y)
    v = -decay * np.sin(k * (x - 0.1 * t)) * np.cos(k * y)
    return {
        "vorticity": -2 * k * decay * np.cos(k * (x - 0.1 * t)) * np.cos(k * y),
        "velocity": np.stack([u, v], axis=-1),
        "energy": (u**2 + v**2).mean(axis=(1, 2)),
        "drag": np.array(p["viscosity"] * 100),
        "mask": np.hypot(x - 0.5, y - 0.5) * p["wavenumber"],
        "profile": y[0] * (1 - y[0]) * p["wavenumber"],
    }


KINDS = {"burgers": (BURGERS, burgers), "lorenz96": (LORENZ, lorenz96), "navier_stokes": (VORTEX, vortex)}


class FakeEnsemble:
    """Writes one run folder of a simulation, whole or stopped at any point."""

    def __init__(self, folder, name="burgers", samples=40, seed=7):
        self.folder, self.name, self.samples = folder, name, samples
        self.layout, self.solve = KINDS[name]
        self.rng = np.random.default_rng(seed)
        self.columns = self._draw()
        folder.mkdir(parents=True)
        self.write("layout.json", self.layout.to_dict())
        write_design(folder, self.columns, {"kind": "sobol", "seed": seed})
        config = {
            "simulator": name,
            "samples": samples,
            "design": "sobol",
            "seed": seed,
            "split": [0.6, 0.2, 0.2],
        }
        self.text(
            "config.toml", tomli_w.dumps(config | {"space": {"parameters": SPACES[name], "constraints": []}})
        )
        self.write("provenance.json", PROVENANCE)
        self.state("running")

    def run(self, done=None, failed=None, state="done", merged=True, summary=True, change=None):
        """Compute samples, set some aside (index -> (kind, message)), and end in `state`."""
        failed = failed or {}
        done = [i for i in range(self.samples) if i not in failed] if done is None else list(done)
        self._compute(done, change)
        self._set_aside(failed)
        self._progress(len(done) + len(failed))
        report = merge(self.folder, World(), fractions=(0.6, 0.2, 0.2)) if merged and done else None
        if summary:
            self.write("summary.json", self._summary(done, failed, report))
        self.state(state)
        return self.folder

    def state(self, state, note=None):
        self.write("state.json", {"format": 1, "kind": "simulate", "state": state, "note": note})

    def parameters(self, index):
        return {name: values[index].item() for name, values in self.columns.items()}

    def write(self, name, data):
        self.text(name, json.dumps(data))

    def text(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")

    def _draw(self):
        n, rng = self.samples, self.rng
        if self.name == "lorenz96":
            return {"F": rng.uniform(4, 12, n)}
        if self.name == "navier_stokes":
            return {"viscosity": 10 ** rng.uniform(-4, -2, n), "wavenumber": rng.integers(1, 4, n)}
        return {
            "viscosity": 10 ** rng.uniform(-2, 0, n),
            "amplitude": rng.uniform(0.5, 2, n),
            "modes": rng.integers(1, 5, n),
            "forcing": np.array(["none", "white"])[rng.integers(0, 2, n)],
        }

    def _seconds(self, index):
        """Run time falls with the first parameter."""
        return float(
            0.02 * self.columns[next(iter(self.columns))][index] ** -0.5 * self.rng.uniform(0.8, 1.2)
        )

    def _compute(self, indices, change):
        if not len(indices):
            return
        with ShardWriter(self.folder, "s1-host-1", self.layout) as writer:
            for index in indices:
                fields = self.solve(self.parameters(index))
                if change is not None:
                    change(index, fields)
                writer.append(index, self.layout.checked(fields), self._seconds(index), 1.7e9 + index)

    def _set_aside(self, failed):
        journal = Journal(self.folder, "s1-host-2")
        for index, (kind, message) in failed.items():
            journal.failed(index, kind, message, 1)
            write_failure(
                self.folder,
                FailedSample(index, self.parameters(index), kind, message, host="cn1", time=1.7e9),
            )
        journal.close()

    def _progress(self, settled):
        lines = []
        for place in range(settled and 30):
            pause = 3600 if place > 20 else 0
            done = round(settled * (place + 1) / 30)
            lines.append(
                {"time": 1.7e9 + 2 * place + pause, "label": self.name, "done": done, "total": self.samples}
            )
        self.text("progress.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def _summary(self, done, failed, report):
        kinds = [kind for kind, _ in failed.values()]
        return {
            "format": 1,
            "kind": "simulate",
            "simulator": self.name,
            "title": self.layout.attributes.get("title", self.name),
            "samples": self.samples,
            "done": len(done),
            "failed": len(failed),
            "missing": self.samples - len(done) - len(failed),
            "failure_kinds": {kind: kinds.count(kind) for kind in kinds},
            "failures": [{"index": i, "kind": kind, "message": text} for i, (kind, text) in failed.items()],
            "design": {"kind": "sobol", "seed": 7},
            **({"splits": report.counts, "bytes": report.bytes} if report else {}),
        }


PROVENANCE = {
    "format": 1,
    "kind": "simulate",
    "versions": {"hpc_ds": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"},
    "host": "cn1042",
    "ranks": 64,
    "git": "0123abcd",
    "command": ["hpc-ds", "simulate", "burgers", "--samples", "40", "--out", "data/burgers"],
    "seed": 7,
    "started": "2025-01-01T12:00:00+00:00",
    "sessions": [{"ranks": 64}, {"started": "2025-01-02T08:00:00+00:00", "host": "cn7", "ranks": 32}],
}
FAILED = {
    3: ("raised", "ValueError: step size too large"),
    11: ("raised", "ValueError: step size too large"),
    17: ("timeout", "ran longer than 30 s"),
}


@pytest.fixture
def fake_ensemble(tmp_path):
    """Return a function that makes a `FakeEnsemble` on a new folder: ``fake_ensemble(name, samples)``."""

    def make(name="burgers", samples=40, folder="run", seed=7):
        return FakeEnsemble(tmp_path / folder, name, samples, seed)

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return run folders by name of the simulator, 40 samples of which three failed, not to be changed."""
    base = tmp_path_factory.mktemp("ensembles")
    return {name: FakeEnsemble(base / name, name).run(failed=FAILED) for name in KINDS}
