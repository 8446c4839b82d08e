"""What tests of training sets share: a layout with every kind of field, and sets of it without a simulator."""

import os
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.atomic import write_json
from hpc_ds.store import well
from hpc_ds.store.design_file import write_design
from hpc_ds.store.layout import Axis, Boundary, Column, Field, Layout, axis
from hpc_ds.store.moments import Moments
from hpc_ds.store.shard import ShardWriter
from hpc_ds.store.split import SPLITS, split_codes

CHOICES = ("upwind", "central", "spectral")


class Zoo:
    """A layout with every kind of field, and the sample that belongs to a design index."""

    def __init__(self, name="zoo", nx=6, ny=4, nt=5):
        fields = (
            Field("energy", dims=()),
            Field("vorticity", units="1/s"),
            Field("velocity", 1, units="m/s"),
            Field("strain", 2, symmetric=True),
            Field("mask", time_varying=False),
            Field("inflow", dims=("y",)),
            Field("bed", dims=("x",), time_varying=False),
            Field("drift", 1, dims=()),
            Field("score", dims=(), time_varying=False),
        )
        self.layout = Layout(
            name,
            (axis("x", 0.0, 1.0, nx, "m", endpoint=False), axis("y", 0.0, 2.0, ny, "m")),
            Axis("time", np.linspace(0.0, 1.0, nt), "s"),
            fields,
            (
                Boundary("PERIODIC", ("x",)),
                Boundary("WALL", ("y",), "low"),
                Boundary("OPEN", ("y",), "high", ("velocity",)),
            ),
            (Column("viscosity", "m2/s"), Column("scheme", choices=CHOICES)),
            attributes={"title": "every kind of field"},
        )

    def sample(self, index):
        rng = np.random.default_rng(index)
        return {
            field.name: rng.normal(size=self.layout.shape(field.name)).astype(np.float32)
            for field in self.layout.fields
        }

    def columns(self, indices):
        return {
            "viscosity": np.array([0.01 * (index + 1) for index in indices]),
            "scheme": np.array([CHOICES[index % 3] for index in indices], dtype=object),
        }

    def crc(self, index):
        crc = 0
        for values in self.sample(index).values():
            crc = zlib.crc32(values.tobytes(), crc)
        return crc

    def write_file(self, path, indices):
        """Write a data file without shards and merge."""
        indices = np.asarray(indices)
        crcs = np.array([self.crc(index) for index in indices], dtype=np.uint32)
        well.create(path, self.layout, well.Rows(indices, crcs, self.columns(indices)))
        targets = well.targets(path, self.layout)
        moments = Moments(self.layout)
        with open(path, "r+b") as file:
            for row, index in enumerate(indices):
                sample = self.sample(index)
                values = {name: well.stored(self.layout, name, field) for name, field in sample.items()}
                for name, block in {**values, well.MOMENTS: moments.of_sample(sample)}.items():
                    file.seek(targets[name].offset + row * targets[name].row_bytes)
                    file.write(np.ascontiguousarray(block).tobytes())

    def write_set(self, folder, indices, per_file=1000):
        """Write the data files of a whole set."""
        indices = np.asarray(indices)
        for code, split in enumerate(SPLITS):
            chosen = indices[split_codes(indices) == code]
            for number, first in enumerate(range(0, len(chosen), per_file)):
                path = Path(folder, "data", well.file_name(self.layout, split, number))
                os.makedirs(path.parent, exist_ok=True)
                self.write_file(path, chosen[first : first + per_file])

    def write_run(self, folder, indices, design=None, shards=2, start=0, max_rows=4):
        """Write what a run leaves before it is merged: layout, design, shards and journals, in any order."""
        folder = Path(folder)
        folder.mkdir(exist_ok=True)
        design = design or max(indices) + 1
        write_json(folder / "layout.json", self.layout.to_dict())
        write_design(folder, self.columns(range(design)), {"seed": 1})
        shuffled = np.random.default_rng(len(indices)).permutation(indices)
        for number in range(shards):
            with ShardWriter(folder, f"s{start}-{number}", self.layout, max_rows=max_rows) as writer:
                for index in shuffled[number::shards].tolist():
                    writer.append(index, self.sample(index), 0.1)

    def hashes(self, folder):
        """Return the sha256 of each file that a merge makes."""
        paths = [*sorted(Path(folder, "data").rglob("*.h5")), Path(folder, "stats.yaml")]
        return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in paths}


class Series(Zoo):
    """A layout without spatial axes: its files have one of a single point."""

    def __init__(self):
        fields = (Field("signal"), Field("trend", time_varying=False), Field("energy", dims=()))
        times = Axis("time", np.linspace(0.0, 1.0, 3), "s")
        columns = (Column("viscosity", "m2/s"), Column("scheme", choices=CHOICES))
        self.layout = Layout("series", (), times, fields, (), columns)


@pytest.fixture(scope="session")
def series():
    """Return a layout without spatial axes."""
    return Series()


@pytest.fixture(scope="session")
def zoo():
    """Return a small layout with every kind of field."""
    return Zoo()
