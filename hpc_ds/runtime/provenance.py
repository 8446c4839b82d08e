"""Where a result comes from: versions, host, ranks, git revision, command and seed of each session."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import hpc_ds

FORMAT = 1

_PACKAGES = ("numpy", "scipy", "numba", "mpi4py", "h5py")
_HEAD = "ref: "


def session(ranks: int, command: Sequence[str], seed: int | None) -> dict[str, Any]:
    """Return the record of this process's session: when, where, with what and how it was started."""
    return {
        "started": now(),
        "command": list(command),
        "seed": seed,
        "ranks": ranks,
        "host": platform.node(),
        "pid": os.getpid(),
        "versions": versions(),
        "git": git_revision(Path(__file__).parents[2]),
    }


def extended(earlier: dict[str, Any] | None, kind: str, latest: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance of a run with the session `latest` added.

    The entries beside ``sessions`` are those of the first session; ``sessions`` holds all of them in order.
    """
    if earlier is None:
        return {"format": FORMAT, "kind": kind, **latest, "sessions": [latest]}
    return {**earlier, "sessions": [*earlier.get("sessions", []), latest]}


def versions() -> dict[str, str | None]:
    """Return the versions of hpc_ds, Python and the packages that shape results, None where absent.

    They are read from the packages' metadata; none is imported.
    """
    own = {"hpc_ds": hpc_ds.__version__, "python": platform.python_version()}
    return {**own, **{name: _version(name) for name in _PACKAGES}}


def git_revision(directory: Path) -> str | None:
    """Return the commit that is checked out in `directory`, None if it is no checkout.

    It is read from git's files, because starting ``git`` would fork a process that may have initialised MPI.
    """
    try:
        git = _git_folder(directory / ".git")
        head = (git / "HEAD").read_text().strip()
        return _resolve(git, head[len(_HEAD) :]) if head.startswith(_HEAD) else head
    except OSError:
        return None


def read(path: Path) -> dict[str, Any] | None:
    """Return the provenance in the file `path`; None if there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        print(
            f"hpc-ds: warning: {path}: damaged, the sessions before this one are lost",
            file=sys.stderr,
            flush=True,
        )
        return None
    return content if isinstance(content, dict) else None


def now() -> str:
    """Return the time in UTC, as ``2026-01-31T12:00:00+00:00``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_folder(path: Path) -> Path:
    """Follow the file that stands for the folder in worktrees and submodules."""
    if path.is_file():
        return path.parent / path.read_text().removeprefix("gitdir:").strip()
    return path


def _resolve(git: Path, reference: str) -> str | None:
    common = git / "commondir"
    root = git / common.read_text().strip() if common.is_file() else git
    for folder in (git, root):
        if (folder / reference).is_file():
            return (folder / reference).read_text().strip()
    packed = root / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {reference}")), None)
