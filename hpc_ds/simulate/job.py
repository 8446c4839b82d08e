"""One session of a run: what the client needs to know, written to the run folder or sent to whoever is the client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpc_ds.simulate.settings import Settings


@dataclass(frozen=True)
class Job:
    """What a session has to do; the same on all ranks."""

    folder: str
    """Absolute path of the run folder."""
    session: str
    """Name of the session, which no other one has or had."""
    name: str
    """The simulator's name."""
    settings: Settings
    block: int
    """Samples that the simulator computes at once."""
    ranks: int
    """MPI ranks that compute one sample together."""
    settled: int
    """Samples that earlier sessions settled."""
    target: int
    """Samples that the set is to have."""

    @property
    def path(self) -> Path:
        """The run folder."""
        return Path(self.folder)

    @property
    def nothing_to_do(self) -> bool:
        """Whether all samples are settled."""
        return self.settled >= self.target
