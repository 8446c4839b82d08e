"""What tests of learning share: small training sets, merged from shards as a simulation leaves them."""

from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.world import World
from hpc_ds.store.design_file import write_design
from hpc_ds.store.layout import Axis, Boundary, Column, Field, Layout, axis
from hpc_ds.store.merge import merge
from hpc_ds.store.shard import ShardWriter
from hpc_ds.store.split import split_codes

PHASES = ("linear", "nonlinear", "saturated")


class Flow:
    """A set of every kind of field on a periodic plane, and the sample that belongs to a design index."""

    fields = (
        Field("u"),
        Field("velocity", 1),
        Field("bed", dims=("x",), time_varying=False),
        Field("mask", time_varying=False),
        Field("energy", dims=()),
    )

    def __init__(self, nx=6, ny=6, nt=5):
        self.layout = Layout(
            "flow",
            (axis("x", 0.0, 1.0, nx, "m", endpoint=False), axis("y", 0.0, 1.0, ny, "m", endpoint=False)),
            Axis("time", np.linspace(0.0, 1.0, nt), "s"),
            self.fields,
            (Boundary("PERIODIC", ("x",)),),
            (Column("nu"), Column("phase", choices=PHASES), Column("count")),
        )

    def sample(self, index):
        rng = np.random.default_rng(index)
        return {
            field.name: (3.0 + rng.normal(size=self.layout.shape(field.name))).astype(np.float32)
            for field in self.fields
        }

    def columns(self, indices):
        indices = np.asarray(indices)
        phases = np.array([PHASES[index % 3] for index in indices], dtype=object)
        return {"nu": 0.1 * (indices + 1), "phase": phases, "count": indices % 4}

    def write(self, folder, samples=40, per_file=None, merged=True):
        """Write a run's folder; return the design indices of its training samples."""
        folder = Path(folder)
        folder.mkdir(exist_ok=True)
        write_json(folder / "layout.json", self.layout.to_dict())
        write_design(folder, self.columns(np.arange(samples)), {"seed": 1})
        with ShardWriter(folder, "s0", self.layout) as writer:
            for index in range(samples):
                writer.append(index, self.sample(index), 0.1)
        if merged:
            merge(folder, World(), samples_per_file=per_file)
        return np.flatnonzero(split_codes(np.arange(samples)) == 0)


@pytest.fixture(scope="session")
def flow():
    """Return a layout with every kind of field."""
    return Flow()


@pytest.fixture(scope="session")
def flow_set(flow, tmp_path_factory):
    """Return the folder of a merged set of 40 samples in several files, and its training samples' design indices."""
    folder = tmp_path_factory.mktemp("flow")
    return folder, flow.write(folder, per_file=7)
