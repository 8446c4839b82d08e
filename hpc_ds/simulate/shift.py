"""Working off one order with a compute process that may hang, crash or be killed at any moment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.simulate import logs
from hpc_ds.simulate.child import Child, Ending
from hpc_ds.simulate.dispatch import Halt
from hpc_ds.simulate.orders import Failure, FailureKind, Order, Report

_IN_VAIN = 5
"""Processes that may end without having begun anything before the order is given back as an error."""


class Desk(Protocol):
    """A place for one compute process, which is replaced when it dies."""

    slowest: float
    """Seconds of the slowest sample that was seen here."""

    def child(self) -> Child:
        """Return a process that is ready; start one if there is none."""
        ...

    def clear(self) -> Ending:
        """Bury the process that is here."""
        ...


class Shift:
    """Works off an order at a desk.

    Parameters
    ----------
    order : Order
        What is to be done.
    desk : Desk
        Where; nobody else uses it meanwhile.
    settled : callable
        ``settled(name)`` returns what the compute process of that name has journalled: seconds of each sample that is
        done, and the failures.
    """

    def __init__(
        self,
        order: Order,
        desk: Desk,
        settled: Callable[[str], tuple[dict[int, float], list[Failure]]],
    ) -> None:
        self.report = Report()
        self._order, self._desk, self._settled = order, desk, settled
        self._open: dict[int, bool] = dict.fromkeys(order.indices, False)
        """Samples that are not accounted for, and whether each is to be computed alone."""
        self._set_aside: dict[int, tuple[FailureKind, str, str, int]] = {}
        """Those among them of which a record is to be written: kind, message, log, attempts."""
        self._deaths: Counter[int] = Counter()
        self._current: list[int] = []
        self._until = math.inf
        self._log_start = 0
        self._progressed = False

    def run(self) -> Report:
        """Return the report when all samples of the order are accounted for.

        Raises
        ------
        InputError, StorageError, Halt
            What all samples share: a simulator that cannot be loaded, a full disk, a process that cannot start.
        """
        in_vain = 0
        while self._open:
            child = self._child()
            self._progressed = False
            self._command(child)
            if self._follow(child):
                break
            in_vain = 0 if self._progressed else in_vain + 1
            if in_vain >= _IN_VAIN:
                raise _halt(f"{in_vain} compute processes ended before they began a sample", child.log)
        return self.report

    def _child(self) -> Child:
        try:
            return self._desk.child()
        except Halt:
            raise
        except RuntimeError as error:
            raise Halt(f"{error}; what was printed lies in {self._order.folder}/logs") from error

    def _command(self, child: Child) -> None:
        assert child.block is not None
        waiting = {index: alone for index, alone in self._open.items() if index not in self._set_aside}
        aside = [[index, *record] for index, record in self._set_aside.items()]
        order = self._order
        slow = max(order.expected, self._desk.slowest)
        limited = order.sample_limit is not None
        child.send([aside, units(waiting, child.block), order.ends_at, slow, order.retries, limited])

    def _follow(self, child: Child) -> bool:
        """Book events until the work is done (True) or the process has died (False)."""
        self._idle()
        while True:
            match child.next_event(self._until):
                case None:
                    child.kill()
                    self._after_death(child, timed_out=True)
                    return False
                case ["gone"]:
                    self._after_death(child, timed_out=False)
                    return False
                case ["start", indices, began, log_start]:
                    self._begin(indices, began, log_start, child.block or 1)
                case ["computed"]:
                    self._until = math.inf
                case ["done", index, seconds]:
                    self._done(index, seconds)
                case ["failed", index, kind, message]:
                    self._failed(Failure(index, kind, message))
                case ["left", indices]:
                    self._left(indices)
                case ["end", slowest]:
                    self._desk.slowest = max(self._desk.slowest, slowest)
                    return True
                case ["broken", *what]:
                    raise trouble(what, child.log)

    def _idle(self) -> None:
        self._current, self._until = [], math.inf

    def _begin(self, indices: list[int], began: float, log_start: int, lanes: int) -> None:
        self._progressed = True
        self._current, self._log_start = indices, log_start
        if self._order.sample_limit is not None:
            self._until = began + lanes * self._order.sample_limit

    def _done(self, index: int, seconds: float) -> None:
        if self._forget(index):
            self.report.done.append((index, seconds))

    def _failed(self, failure: Failure) -> None:
        if self._forget(failure.index):
            self.report.failed.append(failure)

    def _left(self, indices: Iterable[int]) -> None:
        self.report.left += [index for index in indices if self._forget(index)]

    def _forget(self, index: int) -> bool:
        self._progressed = True
        self._set_aside.pop(index, None)
        return self._open.pop(index, None) is not None

    def _after_death(self, child: Child, timed_out: bool) -> None:
        ending = self._desk.clear()
        log = logs.tail(child.log, self._log_start)
        # It may have journalled a sample and died before it said so: that one must not be computed twice.
        done, failures = self._settled(child.name)
        for index, seconds in done.items():
            self._done(index, seconds)
        for failure in failures:
            self._failed(failure)
        lost = [index for index in self._current if index in self._open]
        if len(lost) > 1:
            self._open.update(dict.fromkeys(lost, True))
        elif lost:
            self._lose(lost[0], ending, timed_out, log)

    def _lose(self, index: int, ending: Ending, timed_out: bool, log: str) -> None:
        """Have a sample that took its process along tried again, alone, or set aside."""
        self._deaths[index] += 1
        self._open[index] = True
        attempts = self._deaths[index]
        if timed_out:
            message = f"ran past its limit of {self._order.sample_limit:g} s"
            self._set_aside[index] = ("timeout", message, log, attempts)
        elif attempts > self._order.retries:
            self._set_aside[index] = (ending.kind, ending.message, log, attempts)


def units(indices: dict[int, bool], block: int) -> list[list[int]]:
    """Cut samples into what a simulator computes at once: those of one aligned block, but each alone that must be.

    Parameters
    ----------
    indices : dict of int to bool
        Design indices, and whether each is to be computed alone.
    block : int
        How many the simulator takes at once.
    """
    together: dict[tuple[int, int], list[int]] = {}
    for index, alone in indices.items():
        together.setdefault((index // block, index if alone else -1), []).append(index)
    return list(together.values())


def trouble(what: Sequence[Any], log: Path | None = None) -> Exception:
    """Return the error that a compute process told of, which concerns all samples; `log` is the file it printed to."""
    match what:
        case ["input", message]:
            return InputError(message)
        case ["storage", number, reason, path]:
            return StorageError(number, reason, path)
        case [_, message]:
            return Halt(f"a compute process broke: {message}{_seen_in(log)}")
    return Halt(f"a compute process said {list(what)}{_seen_in(log)}")


def _halt(what: str, log: Path) -> Halt:
    """Return the error of processes that end without a word, but perhaps with one in their log."""
    last = logs.tail(log).rpartition("\n")[2]
    return Halt(f"{what}{f': {last}' if last else ''}{_seen_in(log)}")


def _seen_in(log: Path | None) -> str:
    return f" (see {log})" if log is not None and log.exists() else ""
