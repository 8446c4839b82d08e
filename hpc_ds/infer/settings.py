"""What a user can set of the sampler: one source for checks, command line and manual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.runtime.options import checked

GROWABLE = frozenset({"draws", "checkpoint_every"})
"""Settings that may differ when a run is continued."""


class Settings(BaseModel):
    """Settings of replica exchange; the answer depends on all but `checkpoint_every`, never on the ranks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = Field(default=1, ge=0, lt=2**63)
    """Seed of all random streams."""

    draws: int = Field(default=10_000, ge=20)
    """Scans with everything frozen: posterior draws of each copy. May grow when a run is continued."""

    # Not "tune": the mpiexec of Open MPI takes --tune for itself, wherever it stands in the command.
    tuning: int = Field(default=2_000, ge=16)
    """Scans before that, in rounds of doubling length; ladder and step sizes adapt after each round."""

    sweeps: int = Field(default=3, ge=1)
    """Sweeps of local moves between two exchanges."""

    copies: int = Field(default=1, ge=1)
    """Independent ladders of each model; two or more give R-hat between them."""

    replicas: int | None = Field(default=None, ge=2)
    """Temperatures of a ladder, 0 and 1 included; chosen from the communication barrier by default."""

    moves: tuple[str, ...] = ()
    """Local moves of a sweep, in their order; by default what suits the form of the model."""

    checkpoint_every: float = Field(default=60.0, gt=0.0)
    """Seconds between snapshots."""


def make_settings(values: Mapping[str, Any]) -> Settings:
    """Return checked settings.

    Raises
    ------
    InputError
        One line that names the first wrong key, its value and what would be right.
    """
    return checked(Settings, values)


def tuning_rounds(tuning: int) -> list[int]:
    """Return the lengths of the tuning rounds in scans: doubling, `tuning` in all, the last one the longest.

    The rounds but the last adapt; the last is burn-in with everything frozen, an eighth of all.
    """
    burn_in = max(1, tuning // 8)
    rounds: list[int] = []
    left = tuning - burn_in
    length = min(left, 16)
    while left > 0:
        if left < 3 * length:  # no short round at the end: it would adapt to noise
            length = left
        rounds.append(length)
        left -= length
        length *= 2
    return [*rounds, burn_in]
