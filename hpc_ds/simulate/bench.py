"""Where samples are computed: one after the other, tried again, set aside, and none that would not end in time."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from hpc_ds.runtime.errors import StorageError
from hpc_ds.simulate import logs
from hpc_ds.simulate.orders import FailureKind
from hpc_ds.simulate.program import ProgramError
from hpc_ds.simulate.recording import Recorder, Samples
from hpc_ds.simulate.simulator import Fields, Parameters, Retry, Skip, Stop
from hpc_ds.store.layout import FieldError
from hpc_ds.store.quarantine import FailedSample

_PASSING = (OSError, MemoryError, Retry)
"""What a simulator may raise for a reason that passes."""

_ENGINE = ("hpc_ds.simulate.bench", "hpc_ds.simulate.rank_group")
"""Modules that call simulators: a user need not see them in a traceback."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_PAUSE = 0.2
"""Seconds before a second attempt, twice as many before a third."""

_LINE = 300
_TRACEBACK = 8192

_STDERR = 2


class Bench:
    """Computes and records samples, telling of each.

    Parameters
    ----------
    samples : Samples
        What they are made from.
    recorder : Recorder
        Where they go.
    say : callable
        ``say(name, *values)`` takes an event, which may wait for the next one; with ``now=True`` it passes it on, and
        all that wait.
    log : Path
        File to which standard output and error go.
    run : callable, optional
        ``run(index)`` returns the fields of a sample, or raises what the simulator raised; by default the simulator is
        called here.
    """

    def __init__(
        self,
        samples: Samples,
        recorder: Recorder,
        say: Callable[..., None],
        log: Path,
        run: Callable[[int], Fields] | None = None,
    ) -> None:
        self._samples, self._recorder, self._say, self._log = samples, recorder, say, log
        self._run = run or self._run_alone
        self._simulator = samples.simulator
        self._block = samples.simulator.block if samples.simulator.simulate_block is not None else 1
        self._slowest = 0.0
        self._limited = False
        self._stopped = False
        self._log_start = 0
        self._started = 0.0

    @property
    def block(self) -> int:
        """How many samples the simulator takes at once."""
        return self._block

    def work(
        self,
        aside: Sequence[tuple[int, FailureKind, str, str, int]],
        units: Sequence[list[int]],
        ends_at: float | None,
        expected: float,
        retries: int,
        limited: bool,
    ) -> None:
        """Work off an order.

        Parameters
        ----------
        aside : sequence of (index, kind, message, log, attempts)
            Samples to set aside, because they ended the processes that computed them.
        units : sequence of lists of int
            What to compute at once: samples of one aligned block.
        ends_at : float or None
            When the job ends, in seconds since 1970.
        expected : float
            Seconds that a slow sample takes, 0 if not known.
        retries : int
            How often a sample is tried again that failed for a passing reason.
        limited : bool
            Whether somebody watches how long a sample takes: what comes after the simulation does not count.

        Raises
        ------
        StorageError
            The disk refuses, or that of the simulator is full.
        """
        for index, kind, message, log, attempts in aside:
            self._set_aside(index, kind, message, attempts, log=log)
        self._slowest, self._limited = max(self._slowest, expected), limited
        waiting = deque(units)
        self._stopped = False
        while waiting and not self._stopped and self._fits(ends_at):
            waiting.extendleft(reversed(self._unit(waiting.popleft(), retries)))
        self._say("left", list(itertools.chain.from_iterable(waiting)))
        self._say("end", self._slowest, now=True)

    def _fits(self, ends_at: float | None) -> bool:
        """Return whether one unit more ends in time; the first, of which nothing is known, is worth trying."""
        return ends_at is None or time.time() + self._slowest * self._block <= ends_at

    def _unit(self, unit: list[int], retries: int) -> list[list[int]]:
        """Compute and record a unit; return what has to be computed apart, or is left after `Stop`."""
        for attempt in itertools.count(1):
            began = time.perf_counter()
            try:
                results, seconds = self._compute(unit)
                if len(unit) == 1 and isinstance(results[0], Exception):
                    raise results[0]
            except Stop as stop:
                self._stop(unit[0], stop)
                return [unit[1:]]
            except Exception as error:
                if len(unit) > 1:
                    return [[index] for index in unit]
                if not may_pass(error) or attempt > retries:
                    self._give_up(unit[0], error, attempt)
                    break
                time.sleep(_PAUSE * attempt)
            else:
                apart = self._record(unit, results, seconds, retries)
                self._slowest = max(self._slowest, (time.perf_counter() - began) / self._block)
                return apart
        return []

    def _compute(self, unit: list[int]) -> tuple[Sequence[Fields | Exception], float]:
        """Return the fields of a unit's samples and the seconds that one of its lanes took."""
        self._log_start = _log_position(self._log)
        self._say("start", unit, time.monotonic(), self._log_start, now=True)
        self._started = time.time()
        self._samples.seed_globals(unit[0] // self._block)
        began = time.perf_counter()
        try:
            results: Sequence[Fields | Exception]
            results = self._run_block(unit) if self._simulator.simulate_block else [self._run(unit[0])]
        finally:
            self._say("computed", now=self._limited)
        return results, (time.perf_counter() - began) / self._block

    def _run_alone(self, index: int) -> Fields:
        assert self._simulator.simulate is not None
        return self._simulator.simulate(self._samples.parameters(index), self._samples.rng(index))

    def _run_block(self, unit: list[int]) -> list[Fields | Exception]:
        """Run a full block; lanes that nobody wants get the first sample once more."""
        assert self._simulator.simulate_block is not None
        lanes = [unit[0]] * self._block
        for index in unit:
            lanes[index % self._block] = index
        results = self._simulator.simulate_block(
            [self._samples.parameters(index) for index in lanes],
            [self._samples.rng(index) for index in lanes],
        )
        if len(results) != self._block:
            raise FieldError(f"{len(results)} samples were returned: {self._block} were asked for at once")
        return [results[index % self._block] for index in unit]

    def _record(
        self, unit: list[int], results: Sequence[Fields | Exception], seconds: float, retries: int
    ) -> list[list[int]]:
        """Record what became of each lane; return those to be tried again, each alone."""
        apart = []
        for index, fields in zip(unit, results, strict=True):
            if isinstance(fields, Stop):
                self._stop(index, fields)
            elif not isinstance(fields, Exception):
                self._keep(index, fields, seconds)
            elif retries and may_pass(fields):
                apart.append([index])
            else:
                self._give_up(index, fields, 1)
        return apart

    def _keep(self, index: int, fields: Fields, seconds: float) -> None:
        try:
            self._recorder.record(index, fields, seconds, self._started)
        except FieldError as error:
            self._fail(index, error, 1)
        else:
            self._say("done", index, seconds)

    def _stop(self, index: int, stop: Stop) -> None:
        self._stopped = True
        self._say("failed", index, "stop", _line(stop))

    def _give_up(self, index: int, error: Exception, attempts: int) -> None:
        _check_disk(error)
        self._fail(index, error, attempts)

    def _fail(self, index: int, error: Exception, attempts: int) -> None:
        ctypes.CDLL(None).fflush(None)  # what a library has printed
        log = logs.tail(self._log, self._log_start)
        self._set_aside(index, _kind(error), _line(error), attempts, traceback_of(error), log)

    def _set_aside(
        self, index: int, kind: FailureKind, message: str, attempts: int, trace: str = "", log: str = ""
    ) -> None:
        parameters = self._samples.parameters(index)
        self._recorder.set_aside(FailedSample(index, parameters, kind, message, attempts, trace, log))
        self._say("failed", index, kind, message)


def failed_sample(index: int, parameters: Parameters, error: Exception) -> FailedSample:
    """Return the record of a sample whose simulator raised."""
    return FailedSample(index, parameters, _kind(error), _line(error), 1, traceback_of(error))


def may_pass(error: Exception) -> bool:
    """Tell whether what a simulator raised may have a reason that passes."""
    return isinstance(error, _PASSING)


def traceback_of(error: Exception) -> str:
    """Return the end of an error's traceback, as far as it lies in the simulator."""
    return "".join(traceback.format_exception(type(error), error, _users(error)))[-_TRACEBACK:]


def _check_disk(error: Exception) -> None:
    """Raise StorageError if a simulator met a full disk: no sample is to blame for that."""
    if isinstance(error, OSError) and error.errno in _FULL:
        path = error.filename or "a file of the simulator"
        raise StorageError(error.errno, error.strerror or "full", str(path)) from error


def _kind(error: Exception) -> FailureKind:
    if isinstance(error, FieldError):
        return "invalid"
    if isinstance(error, Skip):
        return "skipped"
    return "gave up" if isinstance(error, Retry) else "raised"


def _users(error: Exception) -> TracebackType | None:
    """Return the part of an error's traceback that lies in the simulator."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in _ENGINE:
        trace = trace.tb_next
    return trace


def _line(error: Exception) -> str:
    """Return what an exception says in one line."""
    own = isinstance(error, FieldError | Skip | Stop | Retry | ProgramError)
    # What they say in later lines is the end of some output, which the record has anyway.
    text = " ".join((str(error).strip().partition("\n")[0] if own else str(error)).split())
    line = text if own and text else f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= _LINE else f"{line[:_LINE]}..."


def _log_position(log: Path) -> int:
    """Return where the next line of the log will stand, which stays below its limit."""
    try:
        position = os.lseek(_STDERR, 0, os.SEEK_CUR)
        if position > logs.LARGEST:
            logs.cut(log)
            position = os.lseek(_STDERR, 0, os.SEEK_END)
    except OSError:  # no file: run by hand
        return 0
    return position
