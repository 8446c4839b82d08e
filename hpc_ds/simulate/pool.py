"""The compute processes of a worker: started early, watched while they work, replaced when they die."""

from __future__ import annotations

import os
import platform
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from hpc_ds.simulate import logs
from hpc_ds.simulate.child import Child, Ending
from hpc_ds.simulate.orders import Failure, FailureKind, Order, Report
from hpc_ds.simulate.shift import Shift, trouble
from hpc_ds.store.journal import Journals

T = TypeVar("T")

_STARTS = 10
"""Times that a process may be killed from outside while it starts."""

_START_LIMIT = 900.0
"""Seconds that a start may take; ten thousand processes that import from one file system are slow."""

_PATIENCE = 2.0
"""Seconds that processes get to close their files at the end."""


class Pool:
    """Compute processes for one session of a run.

    They are started at once, and `run` waits for them: meanwhile the caller can do something else.

    Parameters
    ----------
    folder : str
        Absolute path of the run folder.
    session : str
        Name of the session.
    processes : int
        How many samples are computed at the same time.
    """

    def __init__(self, folder: str, session: str, processes: int) -> None:
        if processes < 1:
            raise ValueError(f"number of processes is {processes}: it must be at least 1")
        self.folder, self.session, self.processes = folder, session, processes
        self._name = f"{platform.node()}-{os.getpid()}"
        self._starter = _Starter()
        self._closed, self._unclosed = False, processes
        self._desks = [_Desk(self._start) for _ in range(processes)]
        self._free: queue.SimpleQueue[_Desk] = queue.SimpleQueue()
        for desk in self._desks:
            self._free.put(desk)

    def run(self, order: Order) -> Report:
        """Have an order worked off by one of the processes; to be called by as many threads as there are processes.

        Raises
        ------
        InputError, StorageError, RuntimeError
            What all samples share: a simulator that cannot be loaded, a full disk, processes that cannot start.
        """
        desk = self._free.get()
        try:
            report = Shift(order, desk, self._settled).run()
        except BaseException:
            desk.kill()  # what it would still say belongs to an order that nobody waits for
            desk.clear()
            raise
        finally:
            self._free.put(desk)
        report.worker = self._name
        return report

    def close(self) -> None:
        """Let all processes close their files and end; those that are still busy after 2 s are killed."""
        self._closed = True
        until = time.monotonic() + _PATIENCE
        for desk in self._desks:
            desk.hang_up()
        for desk in self._desks_by(until):
            desk.close(until)
        for desk in self._desks:
            desk.kill()
        for desk in self._desks_by(time.monotonic() + _PATIENCE):
            desk.clear()
        self._starter.close()

    def _desks_by(self, until: float) -> Iterator[_Desk]:
        """Yield the desks that no `run` uses any more at the moment `until`."""
        while self._unclosed:
            try:
                desk = self._free.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            self._unclosed -= 1
            yield desk

    def _start(self) -> Future[Child]:
        if self._closed:
            raise RuntimeError(f"{self._name}: the compute processes are being closed")
        return self._starter.call(lambda: Child(self.folder, self.session))

    def _settled(self, name: str) -> tuple[dict[int, float], list[Failure]]:
        journals = Journals.read_one(self.folder, name)
        done = {index: entry.seconds for index, entry in journals.done.items()}
        failed = [
            Failure(item.index, cast(FailureKind, item.kind), item.message)
            for item in journals.failed.values()
        ]
        return done, failed


class _Desk:
    """A place for one compute process."""

    def __init__(self, start: Callable[[], Future[Child]]) -> None:
        self.slowest = 0.0
        self._start = start
        self._child: Future[Child] | None = start()

    def child(self) -> Child:
        for _ in range(_STARTS):
            if self._child is None:
                self._child = self._start()
            try:
                child = self._child.result()
            except BaseException:
                self._child = None
                raise
            if child.block is not None and not child.has_ended():
                return child
            if child.block is None and self._becomes_ready(child):
                return child
            self.clear()
        raise RuntimeError(
            f"{_STARTS} compute processes in a row were killed from outside while they started"
        )

    def _becomes_ready(self, child: Child) -> bool:
        """Wait for a process that was started; False if it was killed from outside."""
        match child.next_event(time.monotonic() + _START_LIMIT):
            case ["ready", block]:
                child.block = block
                return True
            case ["gone"]:
                ending = self.clear()
                if ending.kind == "killed":
                    return False
                last = logs.tail(child.log).rpartition("\n")[2]
                raise RuntimeError(f"a compute process cannot start: {last or ending.message}")
            case ["broken", *what]:
                self.clear()
                raise trouble(what)
        child.kill()
        self.clear()
        raise RuntimeError(f"a compute process was not ready after {_START_LIMIT:g} s")

    def clear(self) -> Ending:
        child, self._child = self._child, None
        return child.result().bury() if child is not None else Ending("exited", "ended already")

    def kill(self) -> None:
        """Kill the process that is here; whoever follows it buries it."""
        child = self._present()
        if child is not None:
            child.kill()

    def hang_up(self) -> None:
        """Tell the process that is here that no more commands come."""
        child = self._present()
        if child is not None:
            child.hang_up()

    def close(self, until: float) -> None:
        """Bury the process that is here, killing it at the moment `until`."""
        child = self._present()
        if child is not None:
            child.wait(until)
            self.clear()

    def _present(self) -> Child | None:
        future = self._child
        try:
            return future.result() if future is not None else None
        except Exception:  # it could not be started: `child` tells
            self._child = None
            return None


class _Starter:
    """Starts processes in one thread that lives as long as this process: they end with the thread that started them."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="hpc-ds-starter", daemon=True).start()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Have `function` called in the thread."""
        future: Future[T] = Future()
        self._calls.put((future, function))
        return future

    def close(self) -> None:
        """End the thread; processes that it started and that still live end with it."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
