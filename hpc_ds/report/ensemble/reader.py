"""Read what a simulation run left in its folder, finished or not."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_ds.report.ensemble.parameters import Parameter, read_parameters
from hpc_ds.report.record import Record, read_json, read_record
from hpc_ds.runtime.errors import InputError

if TYPE_CHECKING:
    from hpc_ds.store.design_file import Design
    from hpc_ds.store.journal import Journals
    from hpc_ds.store.layout import Layout
    from hpc_ds.store.sources import Sources


@dataclass(frozen=True)
class Failed:
    """A sample that was set aside."""

    index: int
    kind: str
    message: str
    parameters: Mapping[str, Any]
    """Empty where nothing says them."""


class Split(NamedTuple):
    """The data files of train, valid or test."""

    name: str
    samples: int
    files: tuple[Path, ...]
    size: int
    """Bytes on disk."""


@dataclass(frozen=True)
class Ensemble(Record):
    """Everything the report shows; what is missing in a run that was stopped early is empty."""

    settings: Mapping[str, Any]
    """``config.toml`` as tables."""
    alive: bool
    """Whether a process is at work in the folder."""
    layout: Layout | None
    design: Design | None
    sources: Sources | None
    """Where the samples lie that can be read; None where ``data/`` cannot be understood."""
    seconds: Mapping[int, float]
    """How long each sample was computed, as far as the journals know."""
    done: frozenset[int]
    failures: tuple[Failed, ...]
    """In the order of the design."""
    contradictions: int
    """Samples that were computed twice, with different results."""
    progress: tuple[Mapping[str, Any], ...]
    """Lines of ``progress.jsonl``."""
    splits: tuple[Split, ...]
    statistics: Mapping[str, Mapping[str, Any]]
    """``stats.yaml``: statistic -> field -> number or array; empty where there is none."""
    troubles: tuple[str, ...]
    """What could not be read, a line each."""

    @property
    def simulator(self) -> str:
        """Name of the simulator, as short as can be: of ``/path/file.py:name`` only the name."""
        named = self.layout.name if self.layout is not None else self.settings.get("simulator")
        return str(self.summary.get("simulator") or named or "simulator").rpartition(":")[2]

    @property
    def title(self) -> str:
        """What the simulator calls itself."""
        told = self.layout.attributes.get("title") if self.layout is not None else None
        return str(self.summary.get("title") or told or self.simulator)

    @property
    def asked(self) -> int:
        """How many samples the set is to have."""
        known = (self.summary.get("samples"), self.settings.get("samples"), self.design and self.design.n)
        return next((int(number) for number in known if number), len(self.done) + len(self.failures))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters in the order in which they were declared, with their values in the design."""
        return read_parameters(self.design, self.layout, self.settings)


def load(folder: str | Path) -> Ensemble:
    """Read the simulation run in `folder`, which may be running.

    Raises
    ------
    InputError
        `folder` is no run folder, is another engine's, or holds a damaged file.
    """
    # Imported here: h5py may be built on MPI, which a mere import of the report must not start.
    from hpc_ds.runtime.lock import is_held
    from hpc_ds.runtime.progress import read_progress
    from hpc_ds.store.journal import Journals

    record = read_record(folder, "simulate")
    path, troubles = record.folder, list[str]()
    journals = Journals.read(path)
    sources = _tried(troubles, _sources, path, journals)
    merged = frozenset(sources.rows) if sources is not None else frozenset[int]()
    done = merged | frozenset(journals.done)
    return Ensemble(
        **vars(record),
        settings=_settings(record),
        alive=is_held(path),
        layout=_layout(path),
        design=_tried(troubles, _design, path),
        sources=sources,
        seconds={index: entry.seconds for index, entry in journals.done.items()},
        done=done,
        failures=_failures(path, journals, record.summary, done),
        contradictions=len(journals.contradictions),
        progress=tuple(read_progress(path / "progress.jsonl")),
        splits=_splits(sources),
        statistics=_tried(troubles, _statistics, path) or {},
        troubles=tuple(troubles),
    )


def _tried(troubles: list[str], read: Any, *arguments: Any) -> Any:
    """Return what `read` returns; a part that cannot be read is told and left out of the page."""
    try:
        return read(*arguments)
    except (InputError, OSError) as error:
        troubles.append(str(error).splitlines()[0])
        return None


def _settings(record: Record) -> dict[str, Any]:
    try:
        return tomllib.loads(record.config)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{record.folder / 'config.toml'}: damaged ({error})") from error


def _layout(path: Path) -> Layout | None:
    from hpc_ds.store.layout import Layout

    file = path / "layout.json"
    data = read_json(file)
    try:
        return None if data is None else Layout.from_dict(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{file}: damaged, no layout of a training set ({error!r})") from error


def _design(path: Path) -> Design | None:
    from hpc_ds.store.design_file import FILE, read_design

    return read_design(path) if (path / FILE).exists() else None


def _sources(path: Path, journals: Journals) -> Sources:
    from hpc_ds.store.sources import find_sources

    return find_sources(path, journals)


def _statistics(path: Path) -> Mapping[str, Mapping[str, Any]]:
    from hpc_ds.store.training_set import read_statistics

    return read_statistics(path / "stats.yaml") if (path / "stats.yaml").exists() else {}


def _failures(
    path: Path, journals: Journals, summary: Mapping[str, Any], done: frozenset[int]
) -> tuple[Failed, ...]:
    """Join what the journals, the quarantine and, where both are gone, the summary say of failed samples."""
    from hpc_ds.store.quarantine import read_failures

    quarantined = {sample.index: sample for sample in read_failures(path)}
    found = {
        sample.index: Failed(sample.index, sample.kind, sample.message, sample.parameters)
        for sample in quarantined.values()
    }
    for index, line in journals.failed.items():
        parameters = quarantined[index].parameters if index in quarantined else {}
        found[index] = Failed(index, line.kind, line.message, parameters)
    if not (found or journals.done):
        told = [item for item in summary.get("failures", ()) if isinstance(item, dict) and "index" in item]
        found = {
            int(item["index"]): Failed(
                int(item["index"]), str(item.get("kind", "")), str(item.get("message", "")), {}
            )
            for item in told
        }
    return tuple(found[index] for index in sorted(found.keys() - done))


def _splits(sources: Sources | None) -> tuple[Split, ...]:
    from hpc_ds.store.split import SPLITS

    if sources is None or not sources.files:
        return ()
    counts = [0] * len(sources.files)
    for row in sources.rows.values():
        counts[row.file] += 1
    splits = []
    for name in SPLITS:
        places = [place for place, file in enumerate(sources.files) if file.parent.name == name]
        files = tuple(sources.files[place] for place in places)
        size = sum(file.stat().st_size for file in files)
        splits.append(Split(name, sum(counts[place] for place in places), files, size))
    return tuple(splits)
