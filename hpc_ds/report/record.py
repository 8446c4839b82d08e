"""Read what every run folder says of itself, whichever engine wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_ds.runtime.errors import InputError

FORMAT = 1
"""The version of ``summary.json`` that the report understands."""

_MARKS = ("state.json", "provenance.json", "config.toml")
"""A folder that holds one of these is a run folder."""


@dataclass(frozen=True)
class Record:
    """What all runs leave behind."""

    folder: Path
    summary: Mapping[str, Any]
    """``summary.json``; empty where there is none yet."""
    config: str
    """The resolved configuration, as the TOML text that lies in the folder."""
    provenance: Mapping[str, Any]
    state: str
    """``running``, ``stopped``, ``done``, ``failed``, or empty where the folder does not say."""
    note: str
    """Why the state is what it is, in the engine's words."""


def read_record(folder: str | Path, kind: str) -> Record:
    """Read what is common to all runs from `folder`, which must be one of the engine `kind`.

    Raises
    ------
    InputError
        `folder` is no run folder, is another engine's, or holds a damaged file.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; a report is made from the folder given to --out")
    summary = read_json(path / "summary.json")
    if summary is None and not any((path / name).exists() for name in _MARKS):
        raise InputError(f"{path}: no run folder (it holds no config.toml, state.json or summary.json)")
    if summary is not None:
        _check(path / "summary.json", summary, kind)
    state = read_json(path / "state.json")
    state = state if isinstance(state, dict) else {}
    return Record(
        folder=path,
        summary=summary or {},
        config=read_text(path / "config.toml"),
        provenance=read_json(path / "provenance.json") or {},
        state=str(state.get("state") or ""),
        note=str(state.get("note") or ""),
    )


def finished_study(folder: str | Path) -> Record:
    """Read what is common to all runs from `folder`, which must be a study's that came to its end.

    Raises
    ------
    InputError
        As of `read_record`, or the study is not finished.
    """
    record = read_record(folder, "study")
    if not record.summary:
        raise InputError(
            f"{record.folder}: the study is not finished (state: {record.state or 'unknown'}); run the same command "
            "again to finish it"
        )
    return record


def kind_of(folder: str | Path) -> str:
    """Return the engine that wrote the run in `folder`; empty where the folder does not say.

    Raises
    ------
    InputError
        A file that would say it is damaged.
    """
    for name in ("summary.json", "state.json"):
        found = read_json(Path(folder) / name)
        if isinstance(found, dict) and found.get("kind"):
            return str(found["kind"])
    return ""


def read_json(file: Path) -> Any:
    """Return the content of a JSON file, None where there is none (InputError where it is damaged)."""
    text = read_text(file)
    if not text:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{file}: line {error.lineno} is no valid JSON ({error.msg})") from error


def read_text(file: Path) -> str:
    """Return the text of a file, empty where there is none (InputError where it cannot be read)."""
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error


def _check(file: Path, summary: Any, kind: str) -> None:
    found = summary.get("kind") if isinstance(summary, dict) else None
    if found != kind:
        raise InputError(f"{file}: kind is {found!r}; this report is for {kind!r} runs")
    if summary.get("format") != FORMAT:
        raise InputError(f"{file}: format {summary.get('format')!r}; this version reads {FORMAT}")
