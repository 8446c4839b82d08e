"""The lock of a run folder: one process at a time, known by machine, pid and start time, alive by heartbeat.

The heartbeat is the modification time of the lock file, because a time can be set on a full disk too.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hpc_ds.runtime.atomic import is_leftover, temporary_beside
from hpc_ds.runtime.errors import InputError, StorageError

NAME = ".lock"

BEAT = 5.0
"""Seconds between two heartbeats."""

STALE = 60.0
"""Seconds without a heartbeat after which a process on another machine counts as dead."""

_GUARD = ".lock.takeover"
_POLL = 0.25


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as the lock file tells it."""

    host: str
    machine: str
    """Host name, boot and process-id space together: only if all agree does a pid mean the same process."""
    pid: int
    started: str | None
    """When the kernel started that pid; tells a process from a later one with the same pid."""
    token: str

    @classmethod
    def this_process(cls) -> Holder:
        """Return the record of the calling process, with a token of its own."""
        host, pid = platform.node(), os.getpid()
        return cls(host, _machine(host), pid, _start_time(pid), uuid.uuid4().hex)


class FolderLock:
    """A lock that this process holds; made by `acquire`."""

    def __init__(self, folder: Path, holder: Holder, beat: float) -> None:
        self.path = folder / NAME
        self.lost = False
        """Whether another process took the lock over, because it saw no heartbeat for too long."""
        self._holder = holder
        self._beat = beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="hpc_ds-heartbeat", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, folder: str | os.PathLike[str], beat: float = BEAT, stale: float = STALE) -> FolderLock:
        """Take the lock of `folder` and keep its heart beating in the background.

        The lock of a dead process is taken over, which is said on stderr. Whether a process on another
        machine is dead shows by its heartbeat: if the last one is younger than `stale` seconds, this call
        watches for the next one.

        Raises
        ------
        InputError
            A living process holds the lock.
        StorageError
            The lock cannot be written.
        """
        directory, mine = Path(folder), Holder.this_process()
        path = directory / NAME
        while not _create(path, mine):
            holder = read_holder(path)
            if holder is None:
                continue
            if _is_alive(path, holder, stale):
                raise InputError(
                    f"{directory}: in use by process {holder.pid} on {holder.host}; "
                    "wait for it, or choose another folder"
                )
            if _take_over(directory, holder, mine):
                _say(f"{directory}: taken over from process {holder.pid} on {holder.host}, which is dead")
                break
            time.sleep(_POLL)
        return cls(directory, mine, beat)

    def release(self) -> None:
        """Stop the heartbeat and remove the lock if it is still this process's; may be called twice."""
        self._stop.set()
        if self._holder.pid != os.getpid():  # a forked child
            return
        self._thread.join()
        if not self.lost and read_holder(self.path) == self._holder:
            with suppress(OSError):
                self.path.unlink()

    def _keep_beating(self) -> None:
        while not self._stop.wait(self._beat):
            try:
                if read_holder(self.path) != self._holder:
                    self.lost = True
                    return
                os.utime(self.path)
            except OSError:  # a file system that is away for a moment; the next beat tries again
                continue


def read_holder(path: Path) -> Holder | None:
    """Return who holds the lock file `path`, None if there is none, an unknown holder if it is damaged."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (PermissionError, ValueError, TypeError):
        return Holder("an unknown host", "", 0, None, "")


def is_held(folder: str | os.PathLike[str], stale: float = STALE) -> bool:
    """Tell, without waiting, whether a process that seems alive holds the lock of `folder`."""
    path = Path(folder) / NAME
    holder = read_holder(path)
    if holder is None:
        return False
    if holder.machine == _machine(platform.node()):
        return _process_lives(holder)
    return _age(path) < stale


def is_lock_file(path: Path) -> bool:
    """Tell whether `path` is named like a file that this module writes."""
    return path.name in (NAME, _GUARD) or is_leftover(path)


def _is_alive(path: Path, holder: Holder, stale: float) -> bool:
    if holder.machine == _machine(platform.node()):
        return _process_lives(holder)
    first = _beat_time(path)
    end = time.monotonic() + stale - max(0.0, _age(path))
    if time.monotonic() < end:
        _say(f"{path.parent}: locked by {holder.host}, watching up to {stale:.0f} s for a sign of life")
    while time.monotonic() < end:
        time.sleep(_POLL)
        if _beat_time(path) != first:  # it beats, is gone, or has changed hands
            return True
    return False


def _process_lives(holder: Holder) -> bool:
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return holder.started is None or _start_time(holder.pid) == holder.started


def _take_over(directory: Path, dead: Holder, mine: Holder) -> bool:
    """Replace the lock of `dead` by `mine`, unless another process was faster.

    Only the one who makes the guard file may do so, so that the lock of a living process is never taken.
    """
    guard, lock = directory / _GUARD, directory / NAME
    if not _create(guard, mine):
        other = read_holder(guard)
        if other is not None and not _is_alive(guard, other, STALE):
            guard.unlink(missing_ok=True)
        return False
    try:
        if read_holder(lock) != dead:
            return False
        temporary = _write_beside(lock, mine)
        os.replace(temporary, lock)
        return True
    finally:
        guard.unlink(missing_ok=True)


def _create(path: Path, holder: Holder) -> bool:
    """Make `path` with its content in one step; False if it exists."""
    if os.path.lexists(path):
        return False
    temporary = _write_beside(path, holder)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        # NFS may report a link that it made after all, when its first answer was lost.
        return os.stat(temporary).st_nlink == 2
    except OSError:
        return _create_without_links(path, temporary)
    finally:
        temporary.unlink(missing_ok=True)


def _create_without_links(path: Path, temporary: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with open(descriptor, "wb") as file:
        file.write(temporary.read_bytes())
    return True


def _write_beside(path: Path, holder: Holder) -> Path:
    temporary = temporary_beside(path)
    try:
        temporary.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StorageError(error.errno or 0, error.strerror or str(error), str(path)) from error
    return temporary


def _age(path: Path) -> float:
    return time.time() - (_beat_time(path) or 0.0)


def _beat_time(path: Path) -> float | None:
    try:
        with open(path, "rb") as file:  # opening makes NFS ask the server instead of its cache
            return os.fstat(file.fileno()).st_mtime
    except PermissionError:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _machine(host: str) -> str:
    return f"{host} {_first_line('/proc/sys/kernel/random/boot_id')} {_link('/proc/self/ns/pid')}"


def _start_time(pid: int) -> str | None:
    """Clock ticks from boot to the start of `pid` (field 22 of proc(5) stat); None if dead or unknown."""
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").split("\n")[0]
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _say(line: str) -> None:
    print(f"hpc-ds: {line}", file=sys.stderr, flush=True)
