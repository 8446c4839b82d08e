"""What travels between the client and a worker: an order for a few samples, and the report of what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FailureKind = Literal["raised", "invalid", "timeout", "exited", "killed", "skipped", "gave up", "stop"]
"""Why a sample failed.

The simulator raised; returned NaN, infinity or a wrong shape; ran past its time limit; ended its process by itself
(exit or a crash signal); was killed from outside (SIGKILL, out of memory) too often; said Skip; said Retry too often;
said Stop, which ends the run.
"""


@dataclass(frozen=True)
class Order:
    """A batch of design indices for one worker.

    Everything else a worker needs (simulator, design, seed) lies in the run folder, and is read once.
    """

    folder: str
    """Absolute path of the run folder."""
    session: str
    """Name of this session of the run; a worker that still holds another session's simulator lets go of it."""
    indices: tuple[int, ...]
    sample_limit: float | None = None
    """Seconds after which one sample is given up."""
    ends_at: float | None = None
    """When the job ends, in seconds since 1970."""
    expected: float = 0.0
    """Seconds that a slow sample takes (about the 99th percentile so far), 0 if not known: none is started that would
    not end in time."""
    retries: int = 2
    """How often a sample that failed for a passing reason is tried again."""


@dataclass(frozen=True)
class Failure:
    """A sample that was set aside."""

    index: int
    kind: FailureKind
    message: str
    """One line."""


@dataclass
class Report:
    """What became of an order; small, for it travels through the scheduler."""

    done: list[tuple[int, float]] = field(default_factory=list)
    """Index and seconds of each sample that is journalled."""
    failed: list[Failure] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    """Samples that were not started, because they would not have ended in time."""
    worker: str = ""
