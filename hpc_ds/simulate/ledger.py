"""What a run folder knows of its samples: which are done, which were set aside, which are still to be computed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from hpc_ds.simulate.orders import Failure
from hpc_ds.store import quarantine
from hpc_ds.store.design_file import read_design
from hpc_ds.store.journal import Entry, FailureRecord, Journal, Journals
from hpc_ds.store.sources import Sources, find_sources, note_damage


class FolderLedger:
    """The journals and the merged files of a run folder, read together.

    Parameters
    ----------
    folder : Path
        The run folder.
    session : str
        Names the journal of the client itself, which is made when something is to be written.

    Raises
    ------
    InputError
        ``data/`` holds something that a merge did not write, or a damaged file.
    """

    def __init__(self, folder: Path, session: str) -> None:
        self._folder = folder
        self._journals = Journals.read(folder)
        self._merged = frozenset(find_sources(folder, self._journals).rows)
        self._own = Journal(folder, f"{session}-client-{uuid.uuid4().hex[:8]}")

    def refresh(self) -> set[int]:
        """Read what was journalled meanwhile and return all samples that are settled: done or set aside."""
        self._journals.refresh()
        return self.done | self.failed.keys()

    @property
    def done(self) -> set[int]:
        """Samples that are in a shard or in the merged files."""
        return self._journals.done.keys() | self._merged

    @property
    def failed(self) -> dict[int, FailureRecord]:
        """Samples that were set aside."""
        return {index: record for index, record in self._journals.failed.items() if index not in self._merged}

    @property
    def entries(self) -> Mapping[int, Entry]:
        """What the journals say of done samples, those that are merged by now included."""
        return self._journals.done

    @property
    def contradictions(self) -> set[int]:
        """Samples that were computed twice with different results."""
        return self._journals.contradictions

    def sources(self) -> Sources:
        """Read what was journalled meanwhile and return where each done sample lies."""
        self._journals.refresh()
        return find_sources(self._folder, self._journals)

    def set_aside(self, failure: Failure) -> None:
        """Journal and quarantine a sample whose workers died."""
        parameters = read_design(self._folder).row(failure.index)
        sample = quarantine.FailedSample(failure.index, parameters, failure.kind, failure.message)
        quarantine.write_failure(self._folder, sample)
        self._own.failed(failure.index, failure.kind, failure.message, sample.attempts)

    def withdraw_failures(self) -> int:
        """Let all samples that were set aside be computed again; return how many."""
        failed = list(self.failed.values())
        for record in failed:
            self._own.again(record)
            quarantine.remove_failure(self._folder, record.index)
        self._journals.refresh()
        return len(failed)

    def withdraw_gone(self) -> int:
        """Let samples be computed again whose shards are gone and that are not merged; return how many."""
        there = {path.stem for path in (self._folder / "shards").glob("*.h5")}
        touched: set[int] = set()
        while gone := [
            entry
            for index, entry in self._journals.done.items()
            if entry.shard not in there and index not in self._merged
        ]:  # one that was computed more than once has other rows, which may be gone too
            for entry in gone:
                self._own.lost(entry)
            touched |= {entry.index for entry in gone}
            self._journals.refresh()
        return len(touched - self._journals.done.keys())

    def lose(self, indices: Iterable[int]) -> None:
        """Let samples be computed again whose rows are damaged, in shards and in the merged files."""
        damaged = set(indices)
        note_damage(find_sources(self._folder, self._journals), damaged)
        self._merged -= damaged
        for index in damaged:
            while index in self._journals.done:  # it may have been computed more than once
                self._own.lost(self._journals.done[index])
                self._journals.refresh()

    def tidy(self) -> int:
        """Remove the records in quarantine of samples that are done by now; return how many."""
        paths = (self._folder / quarantine.FOLDER).glob("*.json")
        kept = {int(path.stem) for path in paths if path.stem.isdecimal()}
        stale = kept & self.done
        for index in stale:
            quarantine.remove_failure(self._folder, index)
        return len(stale)

    def close(self) -> None:
        """Let go of the client's own journal."""
        self._own.close()
