"""The command that a job is to run, read before submission: no job waits in a queue only to refuse its options."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hpc_ds.cli.app import app
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.studies import SCALES, STUDIES, default_folder

if TYPE_CHECKING:
    from hpc_ds.jobs.description import Job

_FILES = ("config", "data", "parameters", "weights", "run", "folder", "first", "second")
"""Arguments and options of all verbs that name something to be read."""

_NAMES_OR_FILES = ("model", "network", "simulator", "design")
"""Those that are a name of ours or a file: file.py:name, solver.toml, table.csv."""

_NO_FILES = ("observed",)
"""Data of infer that come with the package."""


def find_command(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command by a name that a job finds too; of a study, with the run folder that it takes by itself.

    Raises
    ------
    InputError
        There is no such program here.
    """
    program = command[0]
    if shutil.which(program) is not None:
        return _with_folder(tuple(command))
    beside = Path(sys.executable).parent / program
    if program and "/" not in program and beside.exists():
        return _with_folder((str(beside), *command[1:]))
    raise InputError(
        f"command '{program}': not found here; name a program on the PATH or by its path, after --"
    )


def check_command(job: Job) -> None:
    """Let hpc-ds itself read each command of the job, all points of a sweep.

    Raises
    ------
    InputError
        A verb, an option or a study that does not exist, a value that cannot be, a swept key that is no option.
    """
    from hpc_ds.jobs.sweep import is_ours

    if not is_ours(job.command):
        return
    for axis in job.sweep:
        _check_key(job.command, axis.key)
    for point in job.points:
        _read(point.command[1:])


def missing_files(job: Job) -> list[str]:
    """Return a line for each file that the commands of the job are to read and that is not here.

    Another job on which this one depends, by a directive of the user's, may make them yet: then there are none.
    """
    from hpc_ds.jobs.sweep import is_ours

    if not is_ours(job.command) or any("depend" in text for text in job.directives):
        return []
    named = (text for point in job.points for text in _named_files(_read(point.command[1:])))
    verb = job.command[1]
    return [
        f"command 'hpc-ds {verb}': no file or folder {text} here; the job runs in this folder"
        for text in dict.fromkeys(named)
        if not os.path.exists(text)
    ]


def _with_folder(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command, of a study with its default run folder: the script must know it."""
    from hpc_ds.jobs.sweep import is_ours, out_of

    if not is_ours(command) or command[1:2] != ("run",) or out_of(command) is not None:
        return command
    study = next((word for word in command[2:] if word in STUDIES), None)
    if study is None:
        return command
    full = any(word in (SCALES[1], f"--scale={SCALES[1]}") for word in command)
    return (*command, "--out", default_folder(study, SCALES[full]))


def _check_key(command: Sequence[str], swept: str) -> None:
    if any(f"{{{swept}}}" in word for word in command):
        return
    verb = _verb(command[1:])
    known = [flag.removeprefix("--") for one in verb.params for flag in one.opts if flag.startswith("--")]
    key = swept.partition(".")[0].replace("_", "-")
    if key not in known:
        raise InputError(
            f"--sweep {swept}: hpc-ds {command[1]} has no such option; {unknown(key, known, 'options')}"
        )


def _verb(words: Sequence[str]) -> Any:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    if not words:
        raise InputError(f"command 'hpc-ds': no verb; {unknown('', verbs, 'verbs')}")
    if words[0] not in verbs:
        raise InputError(f"command 'hpc-ds {words[0]}': no such verb; {unknown(words[0], verbs, 'verbs')}")
    return verbs[words[0]]


def _read(words: Sequence[str]) -> Mapping[str, Any]:
    """Return what a command of hpc-ds gives, by the names of its verb's parameters; nothing where it asks for help."""
    verb = _verb(words)
    try:
        given: dict[str, Any] = verb.make_context(f"hpc-ds {words[0]}", list(words[1:])).params
    except typer.Exit:  # --help
        return {}
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        told = " ".join(error.format_message().split())
        raise InputError(f"command 'hpc-ds {words[0]}': {told}") from None
    if words[0] == "run" and given["study"] not in STUDIES:
        raise InputError(f"study '{given['study']}': {unknown(given['study'], STUDIES)}")
    return given


def _named_files(given: Mapping[str, Any]) -> Iterator[str]:
    for name in _FILES:
        text = given.get(name)
        if isinstance(text, str) and text not in _NO_FILES:
            file, _, within = text.rpartition(":")  # file.h5:/group
            yield file if file and within.startswith("/") else text
    for name in _NAMES_OR_FILES:
        text = given.get(name)
        if isinstance(text, str) and (".py:" in text or text.endswith((".toml", ".csv"))):
            yield text.rpartition(":")[0] or text
