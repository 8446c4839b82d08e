"""When to stop: time limits and signals, and the ranks' common decision about them."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

MARGIN = 60.0
"""Seconds before the end of the job at which work stops, so that saving is over when the scheduler kills."""

_JOB_ENDS = ("HPC_DS_DEADLINE", "SLURM_JOB_END_TIME")
_SIGNALS = ("SIGUSR1", "SIGTERM", "SIGXCPU", "SIGINT")
_ONCE_MORE = b"\nhpc-ds: stopping at the next safe point; interrupt again to stop at once\n"
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WITH_UNITS = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


class Deadline:
    """The end of the allotted time, whichever source sets it first, or a signal that asks to stop.

    Parameters
    ----------
    seconds : float or None
        Time that the user grants, counted from now (``--time``).
    margin : float
        Seconds kept free before the end of the job that HPC_DS_DEADLINE or SLURM_JOB_END_TIME (both in
        seconds since 1970) announce. It is not taken from `seconds`.
    environ : mapping, optional
        Where these variables are looked up; the process's environment by default.

    Raises
    ------
    InputError
        A variable that is no time, or `seconds` not above 0.
    """

    def __init__(
        self, seconds: float | None = None, margin: float = MARGIN, environ: Mapping[str, str] | None = None
    ) -> None:
        self._stop: str | None = None
        self._agreed = False
        self._interrupted = False
        self._previous: dict[int, Any] = {}
        self._ends = _ends(seconds, margin, os.environ if environ is None else environ)

    def seconds_left(self) -> float:
        """Return the seconds until work should stop: negative when overdue, infinite without a limit."""
        return min((end for end, _ in self._ends), default=float("inf")) - time.monotonic()

    def reason(self) -> str | None:
        """Return why this rank should stop now, in a few words, or None if it should go on."""
        if self._stop is None and self.seconds_left() <= 0:
            self._stop = min(self._ends)[1]
        return self._stop

    def stop(self, reason: str) -> None:
        """Ask to stop at the next safe point, for a reason of the caller's own; the first reason stays."""
        self._stop = self._stop or reason

    def agreed(self, world: World) -> bool:
        """Return on all ranks whether one of them should stop; collective.

        From then on it stays true, and `reason` is that of the first rank that had one, on all ranks.
        """
        if not self._agreed and world.any(self.reason() is not None):
            self._agreed = True
            self._stop = next(reason for reason in world.allgather(self._stop) if reason)
        return self._agreed

    def install_signals(self) -> None:
        """Let SIGUSR1, SIGTERM, SIGXCPU and the first SIGINT ask to stop.

        A second SIGINT raises KeyboardInterrupt. Only the main thread can do this; elsewhere nothing is
        installed.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None:
                self._previous.setdefault(number, signal.signal(number, self._on_signal))

    def restore_signals(self) -> None:
        """Put back what the signals did before `install_signals`."""
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __enter__(self) -> Deadline:
        self.install_signals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore_signals()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            with suppress(OSError):  # not print: the signal may have come in the middle of one
                os.write(2, _ONCE_MORE)
        self.stop(f"signal {signal.Signals(number).name}")


def parse_duration(text: str) -> float:
    """Return the seconds that `text` means.

    ``90`` is seconds, ``5m``, ``1h30m``, ``1.5h`` and ``2d`` carry units, ``30:00`` is minutes and seconds,
    ``2:00:00`` hours too, and ``1-12:00:00`` days too (as PJM and SLURM write them).

    Raises
    ------
    InputError
        Anything else, and a duration of zero.
    """
    cleaned = text.strip().lower()
    seconds = _seconds(cleaned)
    if seconds is None or not 0 < seconds < float("inf"):
        raise InputError(
            f"duration {text!r}: expected more than 0, like 90 (seconds), 5m, 1h30m, 2:00:00 or 1-12:00:00"
        )
    return seconds


def _seconds(text: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if _WITH_UNITS.fullmatch(text):
        return sum(float(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"[\d.]+[dhms]", text))
    clock = _CLOCK.fullmatch(text)
    if clock is None or (clock.group(1) and clock.group(2) is None):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
    if seconds > 59 or (clock.group(2) and minutes > 59):
        return None
    return 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds


def _ends(seconds: float | None, margin: float, environ: Mapping[str, str]) -> list[tuple[float, str]]:
    """Ends on the monotonic clock, which no one sets back, each with its name."""
    now = time.monotonic()
    ends = []
    if seconds is not None:
        if not seconds > 0:
            raise InputError(f"time limit is {seconds} s: it must be above 0")
        ends.append((now + seconds, f"time limit of {seconds:g} s"))
    for name in _JOB_ENDS:
        if environ.get(name, "").strip():
            remaining = _epoch(name, environ[name]) - time.time()
            ends.append((now + remaining - margin, f"end of the job ({name})"))
    return ends


def _epoch(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise InputError(
            f"{name}={text!r}: expected the end of the job in seconds since 1970, e.g. 1767225600"
        )
    return value
