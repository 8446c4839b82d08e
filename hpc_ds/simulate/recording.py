"""The samples of a run folder: what each is made from, and where what became of it goes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpc_ds.runtime.atomic import plain
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, philox_key, stream
from hpc_ds.simulate.simulator import Fields, Parameters, Simulator
from hpc_ds.simulate.simulators import load_simulator
from hpc_ds.store.design_file import read_design
from hpc_ds.store.layout import Layout
from hpc_ds.store.quarantine import FailedSample, write_failure
from hpc_ds.store.shard import ShardWriter

_SAMPLE = name_key("sample")
_UNIT = name_key("unit")


class Samples:
    """The simulator of a run and what each of its samples is made from.

    Parameters
    ----------
    folder : str or Path
        The run folder.

    Raises
    ------
    InputError
        There is no such run, its simulator cannot be loaded, or it is no longer the one that the run began with.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        recipe = _read_json(self._folder / "simulator.json")
        self.layout = Layout.from_dict(_read_json(self._folder / "layout.json"))
        self.seed = int(recipe["seed"])
        self.simulator = _load(self._folder, recipe)
        self._design = read_design(self._folder)

    def parameters(self, index: int) -> Parameters:
        """Return the parameters of the sample with this design index."""
        if index >= self._design.n:  # an adaptive design grows while the run goes on
            self._design = read_design(self._folder)
        return self._design.row(index)

    def rng(self, index: int) -> np.random.Generator:
        """Return the sample's own stream of random numbers, from its beginning."""
        return stream(self.seed, _SAMPLE, index)

    def seed_globals(self, unit: int) -> None:
        """Let a simulator that draws from Python's or NumPy's global generator get numbers of this unit's own."""
        word = int(philox_key(self.seed, _UNIT, unit)[0]) & 0xFFFFFFFF
        random.seed(word)
        np.random.seed(word)


class Recorder:
    """Writes what became of samples: a shard row, or a record in quarantine.

    Nothing is created before the first sample.

    Parameters
    ----------
    folder : str or Path
        The run folder.
    name : str
        The process's name in the run, which no other process has or had.
    layout : Layout
        Of the training set.
    """

    def __init__(self, folder: str | Path, name: str, layout: Layout) -> None:
        self._folder, self._layout = Path(folder), layout
        self._writer = ShardWriter(folder, name, layout)

    def record(self, index: int, fields: Fields, seconds: float, started: float) -> None:
        """Check a sample and write it; when this returns, it is journalled.

        Parameters
        ----------
        index : int
            Design index.
        fields : mapping
            What the simulator returned.
        seconds : float
            How long it was computed.
        started : float
            When that began, in seconds since 1970.

        Raises
        ------
        FieldError
            The fields are not the declared ones; nothing was written.
        StorageError
            The disk refuses.
        """
        self._writer.append(index, self._layout.checked(fields), seconds, started)

    def set_aside(self, sample: FailedSample) -> None:
        """Put a sample that failed in quarantine and journal that (StorageError if the disk refuses)."""
        # The file first: a journalled failure can always be looked at.
        write_failure(self._folder, sample)
        self._writer.journal.failed(sample.index, sample.kind, sample.message, sample.attempts)

    def close(self) -> None:
        """Bring what was written to the disk; may be called twice."""
        self._writer.close()


def recorded_simulator(folder: Path) -> Simulator:
    """Return the simulator of a run (`InputError` as in `Samples`)."""
    return _load(folder, _read_json(folder / "simulator.json"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there; is {path.parent} the folder of a simulation, seen by this machine?"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _load(folder: Path, recipe: Mapping[str, Any]) -> Simulator:
    parameters = recipe["parameters_file"]
    simulator = load_simulator(
        recipe["reference"], recipe["options"], None if parameters is None else str(folder / parameters)
    )
    if plain(dict(simulator.identity)) != recipe.get("identity", {}):
        raise InputError(
            f"{recipe['reference']}: has changed since this run began; its samples would not belong together: "
            "put it back, or choose another --out"
        )
    return simulator
