"""The supervisor of a Dask worker: starts it, replaces it when it dies, ends it, and never dies with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from hpc_ds.runtime.world import without_launcher
from hpc_ds.simulate.dask_worker import READY, SIGNALS

COMMAND = (sys.executable, "-u", "-P", "-X", "faulthandler", "-m", "hpc_ds.simulate.dask_worker")

ATTEMPTS = 5
"""Starts in a row that may fail, none of which joined the scheduler, before the supervisor gives up."""

_LOOK = 0.03
_YOUNG = 5.0
"""Seconds below which a worker died young: the next one is started after a pause."""

_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_JOINING = 900.0
"""Seconds that a worker gets to join; ten thousand processes that import from one file system are slow."""

_ENDING = 4.5
"""Seconds that a worker gets to end: its compute processes are given 2 s to close their files and 2 s to be killed."""

_LAST_LINES = 30


@dataclass(frozen=True)
class Plan:
    """What a worker prepares."""

    folder: str
    """The run folder."""
    session: str
    processes: int
    """Compute processes."""
    name: str
    """Beginning of the worker's name."""


@dataclass(frozen=True, repr=False)
class Invitation:
    """Whom a worker joins, and how; secret."""

    scheduler: str
    host: str
    """Address that the worker binds to."""
    certificate: str
    private: str


class Supervisor:
    """Keeps one Dask worker alive, from a thread of its own, until `stop`.

    The first worker is started at once and prepares itself; it joins a scheduler after `introduce`.

    Parameters
    ----------
    plan : Plan
        For the worker.
    command : sequence of str, optional
        What to start instead; for tests.

    Attributes
    ----------
    trouble : str or None
        Why no worker can be started, in one line: `ATTEMPTS` of them ended before they had joined.
    pid : int or None
        Process id of the worker.
    started : int
        How many workers there were.
    """

    def __init__(self, plan: Plan, command: Sequence[str] | None = None) -> None:
        self.trouble: str | None = None
        self.started = 0
        self._plan, self._command = plan, list(command or COMMAND)
        self._invitation: Invitation | None = None
        self._worker: _Worker | None = None
        self._failures, self._deaths, self._next_start = 0, 0, 0.0
        self._stopping, self._wake = False, threading.Event()
        # Children end with the thread that started them, so that one thread starts them all and stays.
        self._thread = threading.Thread(target=self._watch, name="hpc-ds-supervisor", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Process id of the worker that there is now."""
        worker = self._worker
        return worker.process.pid if worker is not None else None

    def introduce(self, invitation: Invitation) -> None:
        """Have this worker and its successors join a scheduler."""
        self._invitation = invitation
        self._wake.set()

    def stop(self) -> None:
        """Tell the worker to end and wait until it has; one that does not is killed after about four seconds."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _watch(self) -> None:
        # A signal to the whole process group must not hit a worker before it can ignore it: it inherits this.
        signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in SIGNALS])
        try:
            while not self._stopping:
                self._look()
                self._wake.wait(_LOOK)
                self._wake.clear()
        finally:
            if self._worker is not None:
                self._worker.end()

    def _look(self) -> None:
        worker = self._worker
        if worker is None:
            if self.trouble is None and time.monotonic() >= self._next_start:
                self._start()
            return
        worker.listen()
        if self._invitation is not None:
            worker.invite(self._invitation)
        if worker.ready_at is None and time.monotonic() - worker.born_at > _JOINING:
            worker.process.kill()
        if worker.process.poll() is not None:
            self._worker = None
            self._mourn(worker)

    def _start(self) -> None:
        self.started += 1
        name = f"{self._plan.name}.{self.started}"  # Dask takes a while to forget the name of a dead worker
        try:
            self._worker = _Worker(self._command, {**asdict(self._plan), "name": name})
        except OSError as error:
            self._fail(f"{self._command[0]}: {error.strerror}")

    def _mourn(self, worker: _Worker) -> None:
        """Note how a worker ended, and when the next one is started."""
        last = worker.close()
        self._note(worker, last)
        if worker.ready_at is None:
            self._fail(last[-1] if last else f"the worker ended, {_ending(worker.process.returncode)}")
            return
        self._failures = 0
        lived = time.monotonic() - worker.ready_at
        self._deaths = self._deaths + 1 if lived < _YOUNG else 0
        self._next_start = time.monotonic() + _PAUSES[min(self._deaths, len(_PAUSES) - 1)]

    def _fail(self, why: str) -> None:
        self._failures += 1
        self._next_start = time.monotonic() + _PAUSES[min(self._failures - 1, len(_PAUSES) - 1)]
        if self._failures >= ATTEMPTS:
            self.trouble = why

    def _note(self, worker: _Worker, last: Sequence[str]) -> None:
        moment = time.strftime("%Y-%m-%d %H:%M:%S")
        what = f"{moment} worker {self._plan.name}.{self.started} ended, {_ending(worker.process.returncode)}"
        path = Path(self._plan.folder, "logs", f"worker-{self._plan.session}-{self._plan.name}.log")
        with suppress(OSError):  # a log is no reason to stop
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as file:
                file.write("\n".join([what, *(f"    {line}" for line in last)]) + "\n")


class _Worker:
    """One worker process and the pipes to it; used by the supervisor's thread only."""

    def __init__(self, command: Sequence[str], plan: dict[str, object]) -> None:
        self.process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=without_launcher(os.environ),
            process_group=0,  # an interrupt from the terminal is for the client
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._input, self._output, self._errors = self.process.stdin, self.process.stdout, self.process.stderr
        os.set_blocking(self._output.fileno(), False)
        os.set_blocking(self._errors.fileno(), False)
        self.born_at = time.monotonic()
        self.ready_at: float | None = None
        self._invited = False
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._torn = ""
        self._send({**plan, "parent": os.getpid()})

    def invite(self, invitation: Invitation) -> None:
        """Hand the invitation over, once."""
        if not self._invited:
            self._invited = True
            self._send(asdict(invitation))

    def listen(self) -> None:
        """Take what the worker said since."""
        if self.ready_at is None and READY.encode() in _read(self._output):
            self.ready_at = time.monotonic()
        *lines, self._torn = (self._torn + _read(self._errors).decode(errors="replace")).split("\n")
        self._said.extend(line for line in lines if line.strip())

    def end(self) -> None:
        """End the input, which means end; then kill."""
        with suppress(OSError):
            self._input.close()
        end = time.monotonic() + _ENDING
        while self.process.poll() is None and time.monotonic() < end:
            self.listen()
            time.sleep(_LOOK / 3)
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> list[str]:
        """Close the pipes of a worker that has ended; returns the last lines that it wrote."""
        self.listen()
        for pipe in (self._input, self._output, self._errors):
            with suppress(OSError):
                pipe.close()
        return [*self._said, *filter(None, [self._torn.strip()])]

    def _send(self, message: dict[str, object]) -> None:
        with suppress(BrokenPipeError):  # its end shows
            self._input.write(json.dumps(message).encode() + b"\n")


def _read(pipe: IO[bytes]) -> bytes:
    data = b""
    with suppress(OSError, ValueError):
        while part := pipe.read(1 << 16):
            data += part
    return data


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
