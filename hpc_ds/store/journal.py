"""Journals: what became of each sample, in lines that only ever are added, one file for each writing process."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hpc_ds.runtime.errors import StorageError

FOLDER = "journal"

# A write of less than a page is taken up by the file systems of clusters as a whole.
_LONGEST_LINE = 4096
# A character takes at most six bytes of JSON.
_LONGEST_MESSAGE = 500


class Entry(NamedTuple):
    """A sample that is done, and the row in which its fields lie."""

    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody needs here
    """Design index."""
    shard: str
    """Name of the file ``shards/NAME.h5`` without its ending."""
    row: int
    crc: int
    """crc32 of the bytes of its fields, in the order of the layout."""
    seconds: float
    """How long it was computed."""
    started: float
    """When that began, in seconds since 1970."""


@dataclass(frozen=True)
class FailureRecord:
    """A sample that failed, and has neither succeeded nor been ordered again since."""

    index: int
    kind: str
    message: str
    """One line."""
    attempts: int
    time: float
    """When it was given up, in seconds since 1970."""
    lines: tuple[str, ...]
    """The journal lines that say so, as ``name:offset``."""


class Journal:
    """The journal of one process: made by its first line, and written by nobody else.

    Each line is one write, is checked by its own crc32, and counts as soon as the method returns, also if the process
    is killed in the next moment.

    Parameters
    ----------
    folder : str or Path
        The run folder, which must exist.
    name : str
        Unique among all processes of all sessions.

    Raises
    ------
    StorageError
        By every method: the line could not be written, and does not count.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str) -> None:
        self.path = Path(folder) / FOLDER / f"{name}.jsonl"
        self._descriptor: int | None = None
        self._torn = False

    def done(self, entry: Entry) -> None:
        """Say that a sample lies in its shard."""
        self._write({"event": "done", **entry._asdict()})

    def failed(self, index: int, kind: str, message: str, attempts: int) -> None:
        """Say that a sample is given up; `message` is cut to its first 500 characters and one line."""
        message = " ".join(encodable(message).split())[:_LONGEST_MESSAGE]
        record = {"index": index, "kind": kind, "message": message, "attempts": attempts}
        self._write({"event": "failed", **record, "time": time.time()})

    def again(self, failure: FailureRecord) -> None:
        """Withdraw a failure, so that the sample is computed once more."""
        # As many lines as the record names: a line of the journal has a limit.
        for line in failure.lines:
            self._write({"event": "again", "index": failure.index, "of": line})

    def lost(self, entry: Entry) -> None:
        """Withdraw a done sample whose row is damaged or gone, so that it is computed once more."""
        self._write({"event": "lost", "index": entry.index, "shard": entry.shard, "row": entry.row})

    def closed(self) -> None:
        """Say that this process ended in good order."""
        if self._descriptor is not None:
            self._write({"event": "closed", "time": time.time()})

    def sync(self) -> None:
        """Force what was written onto the disk."""
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                raise self._refused(error) from error

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _write(self, event: Mapping[str, Any]) -> None:
        line = _line(event)
        if self._torn:
            line = b"\n" + line
        try:
            descriptor = self._opened()
            # What is written into a file without a name is lost, and nobody says so.
            if os.fstat(descriptor).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "the file was removed while it was written")
            written = os.write(descriptor, line)
        except OSError as error:
            raise self._refused(error) from error
        self._torn = written < len(line)
        if self._torn:
            raise StorageError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _opened(self) -> int:
        if self._descriptor is None:
            self.path.parent.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o666)
        return self._descriptor

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(error.errno or errno.EIO, error.strerror or str(error), str(self.path))


class Journals:
    """All journals of a run folder, read together; the result does not depend on the order of reading.

    Attributes
    ----------
    done : dict of int to Entry
        The done samples. Of a sample that was computed twice, the first in the order of shard and row counts.
    failed : dict of int to FailureRecord
        Samples that failed, were not ordered again, and are not done.
    contradictions : set of int
        Samples that were computed twice with different results: the simulator uses more than its parameters and its
        random numbers.
    damaged : int
        Lines that were passed over, because they are torn or their checksum is wrong.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.done: dict[int, Entry] = {}
        self.failed: dict[int, FailureRecord] = {}
        self.contradictions: set[int] = set()
        self.damaged = 0
        self._offsets: dict[str, int] = {}
        self._spare: dict[int, set[Entry]] = {}
        self._lost: set[tuple[str, int]] = set()
        self._failures: dict[int, dict[str, FailureRecord]] = {}
        self._withdrawn: set[str] = set()

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Journals:
        """Read all journals of a run folder; none is fine."""
        journals = cls(folder)
        journals.refresh()
        return journals

    @classmethod
    def read_one(cls, folder: str | os.PathLike[str], name: str) -> Journals:
        """Read the journal of one process only; none is fine."""
        journals = cls(folder)
        with suppress(FileNotFoundError):
            journals._read(f"{name}.jsonl")
        return journals

    def refresh(self) -> int:
        """Read what was added since the last call, and return the number of new lines.

        Costs one look at each file's size, and no more for those that have not grown. A last line without its end is
        left for the next call.
        """
        try:
            with os.scandir(self.folder / FOLDER) as found:
                sizes = {item.name: item.stat().st_size for item in found if item.name.endswith(".jsonl")}
        except FileNotFoundError:
            return 0
        grown = [name for name, size in sizes.items() if size > self._offsets.get(name, 0)]
        return sum(self._read(name) for name in grown)

    def _read(self, name: str) -> int:
        start = self._offsets.get(name, 0)
        with open(self.folder / FOLDER / name, "rb") as file:
            file.seek(start)
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        for line in lines:
            self._take(line, f"{name.removesuffix('.jsonl')}:{start}")
            start += len(line)
        self._offsets[name] = start
        return len(lines)

    def _take(self, line: bytes, place: str) -> None:
        event = _event(line)
        try:
            if event is not None:
                _TAKE[event.pop("event")](self, place, event)
                return
        except (KeyError, TypeError):
            pass
        self.damaged += 1

    def _take_done(self, _place: str, event: dict[str, Any]) -> None:
        # A name that a million entries share is kept once.
        entry = Entry(**{**event, "shard": sys.intern(event["shard"])})
        if (entry.shard, entry.row) in self._lost:
            return
        known = self.done.get(entry.index)
        if known is not None:
            if known.crc != entry.crc:
                self.contradictions.add(entry.index)
            first, second = sorted((known, entry), key=_by_place)
            self._spare.setdefault(entry.index, set()).add(second)
            entry = first
        self.done[entry.index] = entry
        self.failed.pop(entry.index, None)

    def _take_lost(self, _place: str, event: dict[str, Any]) -> None:
        index, place = event["index"], (event["shard"], event["row"])
        self._lost.add(place)
        rows = self._spare.pop(index, set()) | ({self.done.pop(index)} if index in self.done else set())
        left = sorted((entry for entry in rows if (entry.shard, entry.row) != place), key=_by_place)
        if left:
            self.done[index] = left[0]
        if left[1:]:
            self._spare[index] = set(left[1:])
        self._settle(index)

    def _take_failed(self, place: str, event: dict[str, Any]) -> None:
        record = FailureRecord(lines=(place,), **event)
        self._failures.setdefault(record.index, {})[place] = record
        self._settle(record.index)

    def _take_again(self, _place: str, event: dict[str, Any]) -> None:
        self._withdrawn.add(event["of"])
        self._settle(event["index"])

    def _settle(self, index: int) -> None:
        """Decide whether a sample counts as failed: the last failure that was not withdrawn speaks."""
        known = self._failures.get(index, {})
        left = sorted(known.keys() - self._withdrawn, key=lambda place: (known[place].time, place))
        self.failed.pop(index, None)
        if left and index not in self.done:
            last = known[left[-1]]
            self.failed[index] = FailureRecord(
                index, last.kind, last.message, last.attempts, last.time, tuple(left)
            )


_TAKE = {
    "done": Journals._take_done,
    "lost": Journals._take_lost,
    "failed": Journals._take_failed,
    "again": Journals._take_again,
    "closed": lambda _journals, _place, _event: None,
}


def encodable(text: str) -> str:
    r"""Return `text` with escapes such as ``\udc80`` for what UTF-8 cannot express: halves of surrogate pairs."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _by_place(entry: Entry) -> tuple[str, int]:
    return entry.shard, entry.row


def _line(event: Mapping[str, Any]) -> bytes:
    """Return an event as a line: crc32 in eight hexadecimal digits, a blank, JSON."""
    text = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    line = b"%08x %s\n" % (zlib.crc32(text), text)
    if len(line) >= _LONGEST_LINE:
        raise ValueError(f"a journal line of {len(line)} bytes: {_LONGEST_LINE} are too many")
    return line


def _event(line: bytes) -> dict[str, Any] | None:
    """Return the event that a line holds, None if it is damaged."""
    text = line[9:].rstrip(b"\n")
    if line[:9] != b"%08x " % zlib.crc32(text):
        return None
    event = json.loads(text)
    return event if isinstance(event, dict) else None
