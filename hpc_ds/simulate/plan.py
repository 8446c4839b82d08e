"""From what a user asks for to a run: simulator and design are made and checked before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpc_ds.runtime.amounts import size_text
from hpc_ds.runtime.atomic import plain, write_bytes, write_json
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import read_config
from hpc_ds.simulate.adaptive import design_hash, is_adaptive, make_adaptive
from hpc_ds.simulate.design import Columns, can_grow, is_table, make_design, refusal
from hpc_ds.simulate.settings import Settings
from hpc_ds.simulate.simulator import Simulator
from hpc_ds.simulate.simulators import load_simulator
from hpc_ds.store.design_file import FILE as DESIGN
from hpc_ds.store.design_file import read_design, write_design
from hpc_ds.store.layout import Layout
from hpc_ds.store.well import check_columns, row_bytes

SIMULATOR = "simulator.json"
LAYOUT = "layout.json"
PARAMETERS = "parameters.toml"


DEFAULT_SAMPLES = 100
"""Of a design that does not say itself how many samples it has."""


@dataclass(frozen=True)
class Plan:
    """A run before it begins: nothing has been written yet."""

    reference: str
    """Built-in name, or the absolute ``path:name`` of the user's."""
    options: dict[str, Any]
    """Options as they were given."""
    parameters: bytes | None
    """Content of the user's parameter file."""
    simulator: Simulator
    layout: Layout
    """The simulator's, with the columns of the space that is used."""
    design: Columns | None
    """Parameters of all samples; None for an adaptive design, which grows while it runs."""
    settings: Settings
    """With the number of samples that the design has."""
    asked: int
    """How many were asked for; constraints may leave fewer of a factorial design."""

    @property
    def config(self) -> dict[str, Any]:
        """What makes a run another one."""
        text = json.dumps(self.layout.to_dict(), sort_keys=True).encode()
        return {
            "simulator": self.simulator.name,
            "options": {**self.options, **self.simulator.options},
            "identity": {**self.simulator.identity, "design": design_hash(self.settings.design)},
            "space": self.simulator.space.to_dict(),
            "layout": {
                "fields": {item.name: list(self.layout.shape(item.name)) for item in self.layout.fields},
                "sha256": hashlib.sha256(text).hexdigest(),
            },
            **self.settings.model_dump(),
            "design": named(self.settings.design),
        }

    def write(self, folder: Path) -> None:
        """Write what workers read into the run folder, the design first (`StorageError` if the disk refuses)."""
        if self.parameters is not None:
            write_bytes(folder / PARAMETERS, self.parameters)
        if self.design is not None:
            attrs = {"kind": named(self.settings.design), "seed": self.settings.seed, "asked": self.asked}
            write_design(folder, self.design, attrs, self.settings.samples)
        write_json(folder / LAYOUT, self.layout.to_dict())
        write_json(
            folder / SIMULATOR,
            {
                "reference": self.reference,
                "options": self.options,
                "parameters_file": None if self.parameters is None else PARAMETERS,
                "identity": dict(self.simulator.identity),
                "seed": self.settings.seed,
            },
        )


def make_plan(
    folder: Path, reference: str, options: Mapping[str, Any], parameters: str | None, settings: Settings
) -> Plan:
    """Load the simulator, make the design, and check both against what lies in the run folder; writes nothing.

    Parameters
    ----------
    folder : Path
        The run folder, which need not exist.
    reference : str
        A built-in name, ``path/to/file.py:name``, ``path/to/solver.toml`` or the name of a plug-in.
    options : mapping
        The simulator's options, e.g. ``{"resolution": 128}``.
    parameters : str or None
        File of a parameter space that replaces the simulator's own.
    settings : Settings
        Of the run.

    Raises
    ------
    InputError
        One line naming what is wrong.
    """
    content = None if parameters is None else _content(parameters)
    simulator = load_simulator(reference, options, parameters)
    layout = replace(simulator.layout, columns=simulator.space.columns)
    _check_watch(settings, layout)
    _check_plain(simulator, options)
    if settings.samples is not None:
        _check_memory(simulator, settings.samples)
        _check_space(folder, layout, settings.samples)
    asked = settings.samples or _asked_earlier(folder) or DEFAULT_SAMPLES
    design, samples = _design(simulator, settings, asked)
    _check_growth(folder, settings, samples)
    settings = settings.model_copy(update={"samples": samples})
    if design is not None:
        check_columns(layout, design)
        _check_same_design(folder, design, settings)
    _check_space(folder, layout, samples)
    return Plan(_absolute(reference), dict(options), content, simulator, layout, design, settings, asked)


def _design(simulator: Simulator, settings: Settings, default: int) -> tuple[Columns | None, int]:
    """Return the design and its number of samples, `default` where neither the user nor a table says how many."""
    if is_adaptive(settings.design):
        make_adaptive(settings.design, simulator.space)  # what is wrong with it is told before work starts
        return None, settings.samples or default
    samples = settings.samples or (None if is_table(settings.design) else default)
    columns = make_design(simulator.space, settings.design, samples, settings.seed)
    return columns, len(next(iter(columns.values()))) if columns else samples or default


def _content(parameters: str) -> bytes:
    try:
        content = Path(parameters).read_bytes()
    except OSError as error:
        raise InputError(f"--parameters {parameters}: {error.strerror}") from None
    if not content.strip():
        raise InputError(
            f"--parameters {parameters}: empty; leave --parameters away, or see hpc-ds init simulate"
        )
    return content


def _asked_earlier(folder: Path) -> int | None:
    """Return how many samples the folder's design was made for, None of a new folder."""
    if (folder / DESIGN).exists():
        asked = read_design(folder).attrs.get("asked")
        if isinstance(asked, int):
            return asked
    return _earlier_samples(folder)


def _earlier_samples(folder: Path) -> int | None:
    found = read_config(folder).get("samples") if (folder / "config.toml").exists() else None
    return found if isinstance(found, int) else None


def _check_growth(folder: Path, settings: Settings, samples: int) -> None:
    """Refuse fewer samples than the folder is for, or more than its design can give."""
    earlier = _earlier_samples(folder)
    if earlier is None or samples == earlier:
        return
    if samples < earlier:
        raise InputError(
            f"--samples {samples}: the set in {folder} is of {earlier} samples, which can only grow; "
            "give as many or choose another folder"
        )
    if not can_grow(settings.design) and not is_adaptive(settings.design):
        raise InputError(f"{folder}: {refusal(settings.design, earlier, samples)}")


def _check_plain(simulator: Simulator, options: Mapping[str, Any]) -> None:
    for name, value in {**options, **simulator.options}.items():
        try:
            plain(value)
        except TypeError:
            raise InputError(
                f"--option {name} = {value!r}: a text, a number, true or false, or a list of these is needed"
            ) from None


def named(design: str) -> str:
    """Return a design by its name; of the user's own file without the folder, for that may be said in several ways."""
    return os.path.basename(design)


def _check_same_design(folder: Path, design: Columns, settings: Settings) -> None:
    """Refuse a design whose first samples are not those of the folder: a table that was edited, another SciPy."""
    if not (folder / DESIGN).exists():
        return
    stored = read_design(folder)
    if (stored.attrs.get("kind"), stored.attrs.get("seed")) != (named(settings.design), settings.seed):
        return  # another configuration, which is told by its name
    for name, values in stored.columns.items():
        if name in design and not np.array_equal(values, design[name][: stored.n]):
            row = int(np.flatnonzero(values != design[name][: stored.n])[0])
            raise InputError(
                f"{folder}: sample {row} was computed with {name} = {values[row]}, and the design now says "
                f"{design[name][row]}; choose another folder"
            )


def _check_memory(simulator: Simulator, samples: int) -> None:
    """Refuse a design that this machine cannot hold: it is made and kept whole."""
    needed = 4 * 8 * samples * max(1, len(simulator.space.names))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(
            f"--samples {samples}: their parameters need {size_text(needed)} of memory, and this machine has "
            f"{size_text(there)}; make several smaller sets"
        )


def _check_space(folder: Path, layout: Layout, samples: int) -> None:
    """Refuse a set that the disk has no room for."""
    place = folder
    while not place.exists():
        place = place.parent
    whole = row_bytes(layout) * samples
    here = sum(512 * item.stat().st_blocks for item in folder.rglob("*.h5")) if folder.is_dir() else 0
    disk = shutil.disk_usage(place)
    # What is not there yet, and the merged set beside all that it is made from.
    needed = max(0, whole - here) + whole
    if disk.total and needed > disk.free:
        raise InputError(
            f"{folder}: {samples} samples of {size_text(row_bytes(layout))} need {size_text(needed)} while they are "
            f"merged, and {size_text(disk.free)} are free; choose another place or fewer samples"
        )


def _check_watch(settings: Settings, layout: Layout) -> None:
    names = [item.name for item in layout.fields]
    if settings.watch is not None and settings.watch not in names:
        raise InputError(f"--watch {settings.watch}: no field of {layout.name}; there are {', '.join(names)}")


def _absolute(reference: str) -> str:
    """Make the path in a reference absolute: workers may stand in another folder."""
    path, colon, name = reference.rpartition(":")
    if colon:
        return f"{os.path.abspath(path)}:{name}"
    return os.path.abspath(reference) if reference.endswith(".toml") else reference
