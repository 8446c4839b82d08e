"""Run folders of simulators that misbehave, and pools that are closed whatever happens."""

import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hpc_ds.simulate.orders import Order, Report
from hpc_ds.simulate.pool import Pool
from hpc_ds.store.design_file import write_design
from hpc_ds.store.journal import Journals

ZOO = Path(__file__).with_name("zoo.py")


def _load_zoo() -> ModuleType:
    """Load zoo.py under its name: tests in importlib mode could not import it."""
    spec = importlib.util.spec_from_file_location("zoo", ZOO)
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module
    spec.loader.exec_module(module)
    return module


zoo = _load_zoo()


class Run:
    """A run folder whose samples answer as given."""

    def __init__(self, path: Path, answers: Sequence[str], name: str = "single") -> None:
        self.path, self.answers = path, answers
        path.mkdir()
        recipe = {"reference": f"{ZOO}:{name}", "options": {}, "parameters_file": None, "seed": 3}
        (path / "simulator.json").write_text(
            json.dumps({**recipe, "identity": identity(recipe["reference"])})
        )
        (path / "layout.json").write_text(json.dumps(zoo.LAYOUT.to_dict()))
        write_design(path, {"a": np.arange(len(answers), dtype=float), "what": np.array(answers)})
        self.order = Order(str(path), "test", tuple(range(len(answers))), sample_limit=60.0, retries=0)

    def pool(self, processes: int = 1) -> Pool:
        return Pool(str(self.path), "test", processes)

    def compute(self, **changes: object) -> Report:
        pool = self.pool()
        try:
            return pool.run(replace(self.order, **changes))
        finally:
            pool.close()

    @property
    def journals(self) -> Journals:
        return Journals.read(self.path)

    def crcs(self) -> dict[int, int]:
        return {index: entry.crc for index, entry in self.journals.done.items()}

    def quarantined(self, index: int) -> dict:
        return json.loads((self.path / "failed" / f"{index:06d}.json").read_text())


def identity(reference: str) -> dict:
    from hpc_ds.simulate.simulators import load_simulator

    return dict(load_simulator(reference, {}, None).identity)


@pytest.fixture
def make_run(tmp_path, monkeypatch) -> Callable[..., Run]:
    """Make a run folder: `make_run(["fine", "hangs"], "block")`."""
    monkeypatch.setenv("ZOO", str(tmp_path))
    numbers = itertools.count()
    return lambda answers, name="single": Run(tmp_path / f"run-{next(numbers)}", answers, name)
