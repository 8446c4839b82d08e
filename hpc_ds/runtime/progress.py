"""How far the work is: a bar on a terminal, a line a minute elsewhere, `progress.jsonl` for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from hpc_ds.runtime.amounts import duration_text
from hpc_ds.runtime.atomic import finite, plain
from hpc_ds.runtime.world import World

_BAR_EVERY = 0.1
_LOG_EVERY = 1.0
_LINE_EVERY = 60.0


class Progress:
    """Progress of one piece of work; rank 0 shows it, the other ranks do nothing.

    Parameters
    ----------
    world : World
        Whose rank 0 speaks.
    path_jsonl : str, Path or None
        File that is appended to, at most a line a second: time (seconds since 1970), label, done, total and
        the fields. None for no file.
    total : int or None
        How much there is to do; None if not known.
    label : str
        What is being done.
    done : int
        What earlier sessions have done, left out of the estimate of the time left.
    """

    def __init__(
        self,
        world: World,
        path_jsonl: str | os.PathLike[str] | None,
        total: int | None,
        label: str,
        done: int = 0,
    ) -> None:
        self._active = world.is_root
        self._total, self._done, self._fields = total, done, dict[str, Any]()
        if self._active:
            self._log = _Log(path_jsonl, label) if path_jsonl is not None else None
            self._face = _face(total, label, done)

    def update(self, done: int, **fields: Any) -> None:
        """Tell that `done` of the total is done; cheap, so call it at any rate.

        `fields` are figures worth watching: shown beside the bar and recorded in the file.
        """
        if self._active:
            self._done, self._fields = done, fields
            self._face.show(done, fields)
            if self._log is not None:
                self._log.add(done, self._total, fields)

    def close(self) -> None:
        """Show and record the last figures and take the bar away; may be called twice."""
        if self._active:
            self._active = False
            self._face.close(self._done, self._fields)
            if self._log is not None:
                self._log.close(self._done, self._total, self._fields)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_progress(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the lines of a `progress.jsonl`, oldest first.

    Lines torn by a kill are left out; a file that does not exist has no lines.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = (_parsed(line) for line in text.splitlines())
    return [line for line in lines if line is not None]


class _Face(Protocol):
    def show(self, done: int, fields: dict[str, Any]) -> None: ...

    def close(self, done: int, fields: dict[str, Any]) -> None: ...


class _Lines:
    """A plain line a minute on stderr, for logs and terminals of batch jobs."""

    def __init__(self, total: int | None, label: str, done: int) -> None:
        self._total, self._label, self._first = total, label, done
        self._start = self._last = time.monotonic()
        self._shown: int | None = None

    def show(self, done: int, fields: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY:
            self._last = now
            self._print(done, fields)

    def close(self, done: int, fields: dict[str, Any]) -> None:
        if done != self._shown:
            self._print(done, fields)

    def _print(self, done: int, fields: dict[str, Any]) -> None:
        self._shown = done
        parts = [f"{self._label}: {_amount(done, self._total)}", *self._time_left(done), *_figures(fields)]
        print(", ".join(parts), file=sys.stderr, flush=True)

    def _time_left(self, done: int) -> list[str]:
        fresh = done - self._first
        if self._total is None or fresh <= 0 or done >= self._total:
            return []
        elapsed = time.monotonic() - self._start
        return [f"{duration_text(elapsed / fresh * (self._total - done))} left"]


class _Bar:
    """A moving bar with the time left, on a terminal."""

    def __init__(self, total: int | None, label: str, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=Console(stderr=True),
        )
        self._task = self._rich.add_task(label, total=total, completed=done, figures="")
        self._last = 0.0
        self._rich.start()

    def show(self, done: int, fields: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last >= _BAR_EVERY:
            self._last = now
            self._rich.update(self._task, completed=done, figures=", ".join(_figures(fields)))

    def close(self, done: int, fields: dict[str, Any]) -> None:
        self._rich.update(self._task, completed=done, figures=", ".join(_figures(fields)))
        self._rich.stop()


class _Log:
    """The file of progress lines, which never stops the work: a full disk is told once and left alone."""

    def __init__(self, path: str | os.PathLike[str], label: str) -> None:
        self._path, self._label = Path(path), label
        self._last = float("-inf")
        self._written: int | None = None
        self._torn = not _ends_with_newline(self._path)
        self._told = False

    def add(self, done: int, total: int | None, fields: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last >= _LOG_EVERY:
            self._last = now
            self._write(done, total, fields)

    def close(self, done: int, total: int | None, fields: dict[str, Any]) -> None:
        if done != self._written:
            self._write(done, total, fields)

    def _write(self, done: int, total: int | None, fields: dict[str, Any]) -> None:
        record = {**fields, "time": time.time(), "label": self._label, "done": done, "total": total}
        line = ("\n" if self._torn else "") + json.dumps(finite(plain(record))) + "\n"
        try:
            with open(self._path, "ab", buffering=0) as file:
                self._torn = file.write(line.encode("utf-8")) != len(line)
            self._written = done
        except OSError as error:
            self._torn = True
            if not self._told:
                self._told = True
                print(
                    f"hpc-ds: warning: {self._path}: {error.strerror}; the work goes on",
                    file=sys.stderr,
                    flush=True,
                )


def _face(total: int | None, label: str, done: int) -> _Face:
    return _Bar(total, label, done) if sys.stderr.isatty() else _Lines(total, label, done)


def _amount(done: int, total: int | None) -> str:
    return f"{done} of {total} ({100 * done // total} %)" if total else f"{done}"


def _figures(fields: dict[str, Any]) -> list[str]:
    return [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in fields.items()
    ]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _ends_with_newline(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:
        return True
