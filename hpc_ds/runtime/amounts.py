"""Amounts in words, for people."""

from __future__ import annotations


def size_text(count: float) -> str:
    """Return a number of bytes with a unit, such as ``1.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """Return a duration in the two units that matter, like ``45 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = max(0, round(seconds))
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"
