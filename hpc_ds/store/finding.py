"""What a check of a training set finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a training set (error), or looks odd (warning)."""

    severity: Severity
    place: str
    """File below the folder, and data set inside it where there is one: ``data/train/a.h5: t0_fields/u``."""
    message: str
    """One line: what was found, and what would be right."""

    def __str__(self) -> str:
        return f"{self.severity}: {self.place}: {self.message}"


def listed(numbers: Iterable[int], most: int = 5) -> str:
    """Return the first few of some numbers, and how many more there are."""
    chosen = sorted(numbers)
    more = f" and {len(chosen) - most} more" if len(chosen) > most else ""
    return ", ".join(map(str, chosen[:most])) + more
