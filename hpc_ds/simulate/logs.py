"""The log file of a compute process: what a simulator prints, kept short."""

from __future__ import annotations

import os
from pathlib import Path

LARGEST = 2**20
"""Bytes above which a log is cut."""

_KEPT = 2**16
_TAIL = 4096


def log_path(folder: str | os.PathLike[str], name: str) -> Path:
    """Return where the compute process `name` of a run folder logs."""
    return Path(folder) / "logs" / f"{name}.log"


def tail(path: Path, start: int = 0) -> str:
    """Return the last 4 KiB that were logged since position `start`; empty if there is no such log."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that was cut meanwhile is shorter than where the sample began: all of it may be the sample's.
            begin = start if start <= size else 0
            file.seek(max(begin, size - _TAIL))
            return file.read(_TAIL).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def cut(path: Path) -> None:
    """Keep the last 64 KiB of a log above `LARGEST`; whoever appends to it may go on meanwhile."""
    try:
        if os.stat(path).st_size <= LARGEST:
            return
        with open(path, "r+b") as file:
            file.seek(-_KEPT, os.SEEK_END)
            kept = file.read(_KEPT)
            file.truncate(0)
        with open(path, "ab") as file:
            file.write(kept)
    except OSError:
        return  # a log is no reason to stop


def remove_if_empty(path: Path) -> None:
    """Remove a log in which nothing stands."""
    try:
        if not os.stat(path).st_size:
            path.unlink()
    except OSError:
        return
