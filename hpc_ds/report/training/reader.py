"""Read what a training left in its folder, finished or not."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.report.record import Record, read_json, read_record
from hpc_ds.report.wording import finite
from hpc_ds.runtime.errors import InputError

if TYPE_CHECKING:
    import h5py

SPLITS = ("test", "valid", "train")
"""In the order in which a reader wants them: what the network never saw comes first."""

PLACES = ("best", "median", "worst")
"""Samples that are shown, by their error."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One sample's fields."""

    place: str
    """``best``, ``median`` or ``worst``."""
    sample: int | None
    error: float | None
    input: np.ndarray | None
    """(channels, *grid); None where the inputs are no fields."""
    target: np.ndarray
    """(channels, *grid), as the prediction."""
    prediction: np.ndarray
    spread: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Split:
    """What was found on one part of the data."""

    name: str
    task: str
    metric: str
    """What the error of a sample is."""
    units: str
    """Of that error; empty for a ratio."""
    names: tuple[str, ...]
    """Of the target's channels, of the numbers or of the classes."""
    sample: np.ndarray
    """(n,) sample numbers."""
    error: np.ndarray
    """(n,) float64."""
    arrays: Mapping[str, np.ndarray]
    """target, prediction and spread (n, D), or label (n,) and probability (n, C)."""
    parameters: Mapping[str, np.ndarray]
    """(n,) each, where the training set has any and is still there."""
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Member:
    """One network of an ensemble."""

    name: str
    history: Mapping[str, Any]


@dataclass(frozen=True)
class Training(Record):
    """Everything the report shows; what is missing in a run that was stopped early is empty."""

    settings: Mapping[str, Any]
    """``config.toml`` as tables."""
    alive: bool
    """Whether a process is at work in the folder."""
    history: Mapping[str, Any]
    """``history.json``; empty where there is none."""
    card: Mapping[str, Any]
    """``network/network.json``, of an ensemble that of its first member."""
    splits: tuple[Split, ...]
    """What ``evaluation.h5`` holds, test first."""
    members: tuple[Member, ...]
    progress: tuple[Mapping[str, Any], ...]
    """Lines of ``progress.jsonl``."""
    troubles: tuple[str, ...]
    """What could not be read, a line each."""

    @property
    def network(self) -> str:
        """Name of the network, as short as can be: of ``/path/file.py:name`` only the name."""
        named = self.summary.get("network") or self.card.get("reference") or self.settings.get("network")
        return str(named or "network").rpartition(":")[2]

    @property
    def data(self) -> str:
        """Name of what it was trained on."""
        return _data_path(self.settings).name

    @property
    def epochs(self) -> list[Mapping[str, Any]]:
        """What each epoch left, in order; of an ensemble those of the first member where it has none itself."""
        found = self.history.get("epochs") or (
            self.members[0].history.get("epochs") if self.members else None
        )
        return [one for one in found or [] if finite(one.get("epoch")) is not None]

    @property
    def best(self) -> Split | None:
        """The split that tells most: test where there is one."""
        return self.splits[0] if self.splits else None

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Metrics by split, test first."""
        told = self.summary.get("metrics") or self.card.get("metrics") or {}
        known = {name: told[name] for name in SPLITS if isinstance(told.get(name), dict)}
        return {name: values for name, values in known.items() if values}


def load(folder: str | Path) -> Training:
    """Read the training in `folder`, which may be running.

    Raises
    ------
    InputError
        `folder` is no run folder, is another engine's, or holds a damaged file.
    """
    from hpc_ds.runtime.lock import is_held
    from hpc_ds.runtime.progress import read_progress

    record = read_record(folder, "learn")
    path, troubles = record.folder, list[str]()
    settings = _settings(record)
    return Training(
        **vars(record),
        settings=settings,
        alive=is_held(path),
        history=_table(path / "history.json"),
        card=_card(path),
        splits=_tried(troubles, _splits, path / "evaluation.h5", _data_path(settings)) or (),
        members=_members(path),
        progress=tuple(read_progress(path / "progress.jsonl")),
        troubles=tuple(troubles),
    )


def _tried(troubles: list[str], read: Any, *arguments: Any) -> Any:
    """Return what `read` returns; a part that cannot be read is told and left out of the page."""
    try:
        return read(*arguments)
    except (InputError, OSError, KeyError, ValueError) as error:
        troubles.append(f"{arguments[0]}: {' '.join(str(error).split())}")
        return None


def _settings(record: Record) -> dict[str, Any]:
    try:
        return tomllib.loads(record.config)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{record.folder / 'config.toml'}: damaged ({error})") from error


def _table(file: Path) -> Mapping[str, Any]:
    found = read_json(file)
    return found if isinstance(found, dict) else {}


def _card(path: Path) -> Mapping[str, Any]:
    """Return the network's card; of an ensemble that of its first member."""
    first = next(iter(sorted(path.glob("members/*/network/network.json"))), path / "network" / "network.json")
    return _table(first)


def _members(path: Path) -> tuple[Member, ...]:
    folders = sorted(one for one in path.glob("members/*") if one.is_dir())
    return tuple(Member(one.name, _table(one / "history.json")) for one in folders)


def _data_path(settings: Mapping[str, Any]) -> Path:
    told = settings.get("data") or ""
    return Path(str(told.get("path", "") if isinstance(told, Mapping) else told))


def _splits(file: Path, data: Path) -> tuple[Split, ...]:
    if not file.exists():
        return ()
    # Imported here: h5py may be built on MPI, which a mere import of the report must not start.
    import h5py

    with h5py.File(file, "r") as found:
        return tuple(_split(name, found[name], data) for name in SPLITS if name in found)


def _split(name: str, group: h5py.Group, data: Path) -> Split:
    told = dict(group.attrs)
    arrays = {
        key: group[key][()]
        for key in ("target", "prediction", "spread", "label", "probability")
        if key in group
    }
    error = np.asarray(group["error"][()], dtype=np.float64)
    sample = group["sample"][()] if "sample" in group else np.arange(error.size)
    names = tuple(_text(one) for one in np.atleast_1d(told.get("names", ())))
    shown = tuple(_shown(place, group[place], sample, error) for place in PLACES if place in group)
    return Split(
        name,
        _text(told.get("task", "")),
        _text(told.get("metric", "error")),
        _text(told.get("units", "")),
        names,
        sample,
        error,
        arrays,
        _parameters(data, name, error.size),
        shown,
    )


def _parameters(data: Path, split: str, count: int) -> dict[str, np.ndarray]:
    """Return the parameters of the samples by name, (count,) each; nothing where the training set is not at hand.

    Windows are numbered sample by sample, so that all of one have its parameters.
    """
    if not (data / "data" / split).is_dir():
        return {}
    from hpc_ds.store.training_set import TrainingSet

    try:
        with TrainingSet(data, split) as stored:
            known, samples = stored.parameters, len(stored)
    except (InputError, OSError):  # the page is about the network: its data may be gone or changed by now
        return {}
    if not samples or count % samples:
        return {}
    return {name: np.repeat(values, count // samples) for name, values in known.items()}


def _shown(place: str, group: h5py.Group, sample: np.ndarray, error: np.ndarray) -> Shown:
    row = _row(place, error)
    number, own = group.attrs.get("sample"), group.attrs.get("error")
    return Shown(
        place,
        int(number) if number is not None else (int(sample[row]) if row is not None else None),
        float(own) if own is not None else (float(error[row]) if row is not None else None),
        group["input"][()] if "input" in group else None,
        group["target"][()],
        group["prediction"][()],
        group["spread"][()] if "spread" in group else None,
    )


def _row(place: str, error: np.ndarray) -> int | None:
    """Return which sample is the best, the median or the worst one."""
    if not error.size:
        return None
    ranked = np.argsort(error, kind="stable")
    return int(ranked[{"best": 0, "median": (error.size - 1) // 2, "worst": error.size - 1}[place]])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
