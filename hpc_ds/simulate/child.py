"""One compute process as its babysitter sees it: commands go in, events come out, and it ends in some way."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import re
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.world import without_launcher
from hpc_ds.simulate import logs

Event = list[Any]
"""A name and what belongs to it, as compute.py says it; ``["gone"]`` after the last one of a process that ended."""

_LOOK = 0.5
"""Seconds between looks at whether a silent process lives: one that it started itself may hold its pipe open."""

_CUT_EVERY = 10.0
_CLOSING = 5.0
"""Seconds that a process which closed its pipe gets to end."""

_KILLING = 10.0
"""Seconds that the kernel gets to end a killed process; one that waits for a dead file system may never end."""

_CRASHES = {"SIGSEGV", "SIGABRT", "SIGFPE", "SIGBUS", "SIGILL", "SIGTRAP", "SIGSYS"}

_numbers = itertools.count()


@dataclass(frozen=True)
class Ending:
    """How a compute process ended: by itself (exit, crash) or killed from outside."""

    kind: Literal["exited", "killed"]
    message: str


class Child:
    """A compute process, just started. Start it from a thread that lives as long as this process.

    Parameters
    ----------
    folder : str
        The run folder.
    session : str
        Name of the session of the run.

    Raises
    ------
    InputError
        There is no such folder.
    StorageError
        Its log cannot be created.
    """

    def __init__(self, folder: str, session: str) -> None:
        self.name, log = _claim_name(folder, session)
        self.log = logs.log_path(folder, self.name)
        with open(log, "ab", closefd=True) as stderr:
            self._process = subprocess.Popen(
                _command(folder, session, self.name),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=without_launcher(os.environ),
                # What the simulator starts dies with it; and an interrupt from the terminal is for the client.
                process_group=0,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._commands, self._pipe = self._process.stdin, self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        self._events: deque[Event] = deque()
        self._torn = b""
        self._last_cut = time.monotonic()
        self.block: int | None = None
        """How many samples its simulator takes at once; None until it is ready."""

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, command: Sequence[Any]) -> None:
        """Send a command; to a process that ended it does nothing, its end shows in the events."""
        with suppress(BrokenPipeError, ValueError):
            data = memoryview(json.dumps(command).encode() + b"\n")
            while data:
                data = data[self._commands.write(data) or 0 :]

    def next_event(self, until: float = math.inf) -> Event | None:
        """Return the next event, or None if there is none until the moment `until` of ``time.monotonic()``."""
        while not self._events:
            left = max(0.0, until - time.monotonic())
            if self._poll.poll(1000 * min(left, _LOOK)):
                self._read()
            elif left == 0.0:
                return None
            elif _has_ended(self.pid):
                self._read()
                self._events.append(["gone"])
            else:
                self._keep_log_short()
        return self._events.popleft()

    def has_ended(self) -> bool:
        """Return whether the process has ended; it still waits for `bury`."""
        return _has_ended(self.pid)

    def kill(self) -> None:
        """Kill the process and all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def bury(self) -> Ending:
        """Wait until the process has ended, killing it if it does not, and let go of all that belongs to it."""
        by_itself = _ends_within(self.pid, _CLOSING)
        self.kill()  # what it started may live on
        known = _ends_within(self.pid, _KILLING)
        code = self._process.wait() if known else -signal.SIGKILL
        self._commands.close()
        self._pipe.close()
        logs.remove_if_empty(self.log)
        return _ending(code) if by_itself else Ending("exited", "closed its connection to the engine")

    def hang_up(self) -> None:
        """Say that no more commands come: the process closes its files and ends."""
        with suppress(OSError):
            self._commands.close()

    def wait(self, until: float) -> None:
        """Wait for the process to end until the moment `until`, then kill it."""
        if not _ends_within(self.pid, max(0.0, until - time.monotonic())):
            self.kill()

    def _read(self) -> None:
        """Take all that is in the pipe."""
        while True:
            data = self._pipe.read(1 << 16)
            if data is None:
                return
            if not data:
                self._events.append(["gone"])
                return
            *lines, self._torn = (self._torn + data).split(b"\n")
            self._events.extend(event for line in lines if (event := _parsed(line)))

    def _keep_log_short(self) -> None:
        if time.monotonic() - self._last_cut > _CUT_EVERY:
            self._last_cut = time.monotonic()
            logs.cut(self.log)


def _claim_name(folder: str, session: str) -> tuple[str, int]:
    """Return a name that no compute process of the run has, and the descriptor of its new log."""
    host = re.sub(r"[^A-Za-z0-9]+", "_", platform.node().partition(".")[0])
    try:
        Path(folder, "logs").mkdir(exist_ok=True)
        while True:
            name = f"{session}-{host}-{os.getpid()}-{next(_numbers)}"
            if Path(folder, "journal", f"{name}.jsonl").exists():
                continue
            with suppress(FileExistsError):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
                return name, os.open(logs.log_path(folder, name), flags, 0o666)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: there is no such run folder, or this machine does not see it") from None
    except OSError as error:
        raise StorageError(error.errno or 0, error.strerror or str(error), f"{folder}/logs") from error


def _command(folder: str, session: str, name: str) -> list[str]:
    # -P: a file of the user's that is called like a module of the library must not take its place.
    options = ["-u", "-P", "-X", "faulthandler", "-m", "hpc_ds.simulate.compute"]
    return [sys.executable, *options, folder, session, name, str(os.getpid())]


def _parsed(line: bytes) -> Event | None:
    """Return an event, None for a line that something printed before the process took its standard output away."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, list) and event else None


def _has_ended(pid: int) -> bool:
    """Tell whether a child has ended without reaping it: until then no other group of processes gets its number."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _ends_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    pause = 0.0005
    while not _has_ended(pid):
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return True


def _ending(code: int) -> Ending:
    if code >= 0:
        return Ending("exited", f"the simulator ended its process with exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name in _CRASHES:
        return Ending("exited", f"the simulator crashed its process ({name})")
    hint = ": out of memory?" if name == "SIGKILL" else ""
    return Ending("killed", f"the process was killed from outside ({name}{hint})")
