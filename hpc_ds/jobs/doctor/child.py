"""Commands that the doctor tries in a child process, with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROBE_SECONDS = 90.0
"""Time limit of a probe: torch from a parallel file system that is busy takes half a minute to import."""


@dataclass(frozen=True)
class Outcome:
    """How a child ended and what it said."""

    code: int | None
    """Exit code, negative for a signal; None when it was ended at its time limit or could not start."""
    out: str
    err: str

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The lines of JSON among what it printed; a launcher may have mixed others in."""
        found = []
        for line in self.out.splitlines():
            with contextlib.suppress(ValueError):
                value = json.loads(line[max(0, line.find("{")) :])
                found += [value] if isinstance(value, dict) else []
        return found

    @property
    def last_words(self) -> str:
        """One line that says how it ended badly."""
        lines = [line.strip(" -*\t") for line in (self.err or self.out).splitlines()]
        said = next((line for line in reversed(lines) if line), "it said nothing")
        if self.code is None:
            return said
        how = f"signal {signal.Signals(-self.code).name}" if self.code < 0 else f"exit code {self.code}"
        return f"{how}: {said}"


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    seconds: float = PROBE_SECONDS,
    folder: str | None = None,
) -> Outcome:
    """Run `command` in a process group of its own, in `folder`; past `seconds` the group is killed. Raises nothing."""
    pipes: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    try:
        child = subprocess.Popen(
            command,
            env=dict(environ),
            cwd=folder,
            start_new_session=True,
            text=True,
            errors="replace",
            **pipes,
        )
    except OSError as error:
        return Outcome(None, "", f"{command[0]}: {error.strerror}")
    with child:
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            out, _ = child.communicate()
            return Outcome(None, out, f"no answer within {seconds:g} s")
    return Outcome(child.returncode, out, err)


def probe_command(what: str) -> list[str]:
    """Return the command that runs one of the probes of `hpc_ds.jobs.doctor.probe`."""
    return [sys.executable, "-m", "hpc_ds.jobs.doctor.probe", what]


def probe(
    what: str, environ: Mapping[str, str], seconds: float = PROBE_SECONDS
) -> tuple[dict[str, Any], Outcome]:
    """Run a probe and return its answers in one dictionary, with how it ended."""
    outcome = run(probe_command(what), environ, seconds)
    joined: dict[str, Any] = {}
    for answer in outcome.answers:
        joined |= answer
    return joined, outcome
