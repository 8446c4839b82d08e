"""Designs that learn are asked once for each generation, whatever is known later, and told of sound samples only."""

import json

import numpy as np
import pytest

from hpc_ds.runtime.errors import StorageError
from hpc_ds.simulate.generations import begin_design, generations
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.orders import Failure
from hpc_ds.simulate.recording import Samples
from hpc_ds.simulate.settings import Settings
from hpc_ds.simulate.simulators import load_simulator
from hpc_ds.store.design_file import read_design
from hpc_ds.store.shard import ShardWriter

SOLVER = """
from hpc_ds.simulate import declare

@declare(parameters={"a": {"bounds": [0, 1]}}, axes={"x": [0.0, 0.5, 1.0]}, fields={"u": {"time_varying": False}})
def simulate(parameters, rng):
    return {"u": [parameters["a"]] * 3}
"""

LEARNER = """
import os
import numpy as np

class Learner:
    def __init__(self, space):
        self.known = []

    def ask(self, generation, n, rng):
        with open(os.path.join(os.path.dirname(__file__), "asked"), "a") as file:
            file.write(f"{generation}\\n")
        return {"a": (0.001 * sum(len(one) for one in self.known) + 0.1 * generation + 0.01 * np.arange(n))}

    def tell(self, columns, values):
        self.known.append(values)
"""


class Folder:
    """A run folder in which this process computes."""

    def __init__(self, path):
        self.path = path / "set"
        self.path.mkdir()
        (path / "solver.py").write_text(SOLVER)
        (path / "learner.py").write_text(LEARNER)
        reference = f"{path}/solver.py:simulate"
        made = load_simulator(reference)
        recipe = {"reference": reference, "options": {}, "parameters_file": None, "seed": 1}
        (self.path / "simulator.json").write_text(json.dumps({**recipe, "identity": dict(made.identity)}))
        (self.path / "layout.json").write_text(json.dumps(made.layout.to_dict()))
        self.asked = path / "asked"
        self.settings = Settings(design=f"{path}/learner.py:Learner", generation=4, seed=1)
        self.sessions = 0

    def job(self, target):
        self.sessions += 1
        return Job(str(self.path), f"s{self.sessions}", "solver", self.settings, 1, 1, 0, target)

    def work(self, target, failing=(), damage=(), retry_failed=False):
        """Settle all samples; `damage` lists those whose rows are damaged each time that they are written."""
        job = self.job(target)
        begin_design(job)
        ledger = FolderLedger(self.path, job.session)
        if retry_failed:
            ledger.withdraw_failures()
        yielded = []
        damage = list(damage)
        for number, indices in enumerate(generations(job, ledger)):
            yielded.append(indices)
            samples = Samples(self.path)
            writer = ShardWriter(self.path, f"{job.session}-{number}", samples.layout)
            for index in indices:
                if index in failing:
                    ledger.set_aside(Failure(index, "raised", "no"))
                    continue
                fields = samples.layout.checked(samples.simulator.simulate(samples.parameters(index), None))
                writer.append(index, fields, 1.0, 0.0)
            writer.close()
            for index in set(indices) & set(damage):
                damage.remove(index)
                self.damage(ledger, index)
        ledger.close()
        return yielded

    def damage(self, ledger, index):
        ledger.refresh()
        path = self.path / "shards" / f"{ledger.entries[index].shard}.h5"
        data = path.read_bytes()
        row = np.full(3, read_design(self.path).row(index)["a"], np.float32).tobytes()
        assert row in data
        path.write_bytes(data.replace(row, bytes(12)))

    @property
    def design(self):
        return list(read_design(self.path).columns["a"])

    def times_asked(self):
        return self.asked.read_text().split()


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def twin(tmp_path):
    (tmp_path / "twin").mkdir()
    return Folder(tmp_path / "twin")


def test_each_generation_is_asked_for_once(folder):
    assert folder.work(6) == [[0, 1, 2, 3], [4, 5]]
    assert folder.times_asked() == ["0", "1"]
    assert folder.work(10) == [[], [6, 7], [8, 9]]
    assert folder.times_asked() == ["0", "1", "2"]


def test_a_grown_design_is_that_of_one_go(folder, twin):
    folder.work(6)
    folder.work(10)
    twin.work(10)
    assert folder.design == twin.design


def test_failures_that_are_mended_do_not_change_what_was_asked(folder):
    folder.work(6, failing=[1])
    before = folder.design
    assert folder.work(6, retry_failed=True) == [[1], []]
    assert folder.work(10) == [[], [6, 7], [8, 9]]
    assert folder.design[:6] == before
    assert np.allclose(folder.design[4:8], 0.103 + 0.01 * np.arange(4)), (
        "chosen with what was known at first: 3"
    )


def test_a_session_that_ended_between_the_two_files_goes_on(folder, twin):
    folder.work(4)
    job = folder.job(6)
    ledger = FolderLedger(folder.path, job.session)
    design = (folder.path / "design.h5").read_bytes()
    steps = generations(job, ledger)
    next(steps), next(steps)
    (folder.path / "design.h5").write_bytes(design)
    folder.work(6)
    twin.work(6)
    assert folder.design == twin.design
    assert folder.times_asked() == twin.times_asked() == ["0", "1"]


def test_a_damaged_row_is_computed_again_before_the_design_is_told(folder, twin):
    assert folder.work(6, damage=[2]) == [[0, 1, 2, 3], [2], [4, 5]]
    twin.work(6)
    assert folder.design == twin.design


def test_a_shard_that_vanishes_is_computed_again_before_the_design_is_told(folder):
    job = folder.job(4)
    begin_design(job)
    ledger = FolderLedger(folder.path, job.session)
    steps = generations(job, ledger)
    samples = None
    for name in ("one", "two"):
        indices = next(steps)
        assert indices == [0, 1, 2, 3]
        samples = samples or Samples(folder.path)
        writer = ShardWriter(folder.path, name, samples.layout)
        for index in indices:
            writer.append(
                index, samples.layout.checked(samples.simulator.simulate({"a": 0.5}, None)), 1.0, 0.0
            )
        writer.close()
        if name == "one":
            next((folder.path / "shards").glob("*.h5")).unlink()
    assert list(steps) == []
    ledger.close()


def test_a_disk_that_damages_each_time_ends_the_run(folder):
    with pytest.raises(StorageError, match="again and again"):
        folder.work(6, damage=[2] * 9)
