"""An external program as a simulator, described in a TOML file: command, input templates, output, exit codes."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.options import checked
from hpc_ds.runtime.parent import end_with_parent
from hpc_ds.runtime.user_code import source_hash
from hpc_ds.runtime.world import without_launcher
from hpc_ds.simulate.declarations import SECTIONS, layout_of, read_sections, space_of
from hpc_ds.simulate.outputs import Output, Reader
from hpc_ds.simulate.parameters import SPACE_KEYS, ParameterSpace, sample_of
from hpc_ds.simulate.scratch import new_scratch
from hpc_ds.simulate.simulator import Fields, Parameters, Retry, Simulator, Skip, Stop
from hpc_ds.simulate.spaces import with_space
from hpc_ds.simulate.templates import check_template, filled, places_of

PLACES = ("input", "workdir", "here", "seed")
"""What a template or command can name beside parameters: the first input file, the working directory, the folder of the
TOML file, and a number of the sample's own for the program's random numbers."""

_SECTIONS = tuple(key for key in SECTIONS if key not in ("block", "ranks"))
_TAIL = 2000


class ProgramError(RuntimeError):
    """A program ended with a code that is none of success; the message has the end of what it said."""


class ExitCodes(BaseModel):
    """What a program's exit codes mean; any other one is a failed sample."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    success: list[int] = [0]
    """The program did its work."""
    retry: list[int] = []
    """It failed for a passing reason (a licence, a network): it is run again."""
    skip: list[int] = []
    """There is no answer for these parameters: the sample is set aside."""
    fail: list[int] = []
    """Something is wrong that all samples share: the run ends."""


class Program(BaseModel):
    """How an external program is run for one sample."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    command: list[str] = Field(min_length=1)
    """The program and its arguments, with places such as {input} or {viscosity}. No shell reads it."""

    inputs: dict[str, str] = {}
    """Files that are written for each sample: name in the working directory = template beside this file."""

    links: list[str] = []
    """Files beside this one that the working directory gets links to, e.g. a mesh."""

    stdin: str | None = None
    """One of the inputs that the program reads from its standard input."""

    output: dict[str, Output] = Field(min_length=1)
    """Where each field is found."""

    exit: ExitCodes = ExitCodes()
    """What exit codes mean."""

    environment: dict[str, str] = {}
    """Variables that the program sees beside those that there are."""

    scratch: str | None = None
    """Folder of the working directories, one a sample, e.g. $SCRATCH; by default $TMPDIR or /tmp."""

    keep: Literal["never", "failed", "always"] = "never"
    """Whose working directories are kept, to look at."""


def load_program(path: str, options: Mapping[str, Any], parameters_file: str | None) -> Simulator:
    """Return the simulator that a TOML file describes.

    Parameters
    ----------
    path : str
        The file: the keys of `Program`, ``[parameters.NAME]`` and ``constraints``, ``[axes.NAME]``, ``[times]``,
        ``[fields.NAME]``, ``[boundaries.NAME]``.
    options : mapping
        Must be empty: a program has none.
    parameters_file : str or None
        TOML file of parameters in place of those in the file.

    Raises
    ------
    InputError
        One line that names the file, the key, what was found and what would be right.
    """
    if options:
        raise InputError(
            f"{path}: option '{next(iter(options))}'; a program has none, write it into the file"
        )
    said = read_sections(path, (*Program.model_fields, *_SECTIONS))
    sections = {key: value for key, value in said.items() if key in SECTIONS}
    program = checked(
        Program, {key: value for key, value in said.items() if key not in SECTIONS}, f"{path}: "
    )
    for needed in ("parameters", "fields"):
        if needed not in sections:
            raise InputError(f"{path}: no [{needed}.NAME]; at least one is needed")
    space = space_of(sections, path)
    layout = layout_of(Path(path).stem, sections, space.columns, path)
    runner = _runner(path, program, space, [item.name for item in layout.fields])
    made = Simulator(name=layout.name, space=space, layout=layout, simulate=runner, identity=runner.identity)
    if parameters_file is None:
        return made
    return with_space(made, read_sections(parameters_file, SPACE_KEYS), parameters_file)


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs a program for one sample: ``runner(parameters, rng)``."""

    path: str
    program: Program
    templates: Mapping[str, str]
    """Texts by the name of the file in the working directory."""
    readers: tuple[Reader, ...]
    identity: Mapping[str, str]

    @property
    def here(self) -> Path:
        """The folder of the TOML file."""
        return Path(self.path).resolve().parent

    def __call__(self, parameters: Parameters, rng: np.random.Generator) -> Fields:
        """Return the fields that the program makes of these parameters.

        Raises
        ------
        Retry, Skip, Stop
            The program's exit code says so, or (Retry) it was killed from outside.
        ProgramError
            It ended in another way, with the end of its output.
        OutputError
            Its output is not as announced.
        """
        with new_scratch(_scratch(self.program, self.here), self.program.keep) as workdir:
            values = self._values(parameters, rng, workdir)
            self._prepare(values, workdir)
            self._check_code(self._run(values, workdir), workdir)
            return {reader.name: reader(workdir) for reader in self.readers}

    def _values(self, parameters: Parameters, rng: np.random.Generator, workdir: Path) -> dict[str, Any]:
        first = next(iter(self.templates), "")
        own = {"input": str(workdir / first), "workdir": str(workdir), "here": str(self.here)}
        return {**own, "seed": int(rng.integers(2**31)), **parameters}

    def _prepare(self, values: Mapping[str, Any], workdir: Path) -> None:
        for name, text in self.templates.items():
            target = workdir / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(filled(text, values), encoding="utf-8", newline="")
        for name in self.program.links:
            (workdir / Path(name).name).symlink_to(self.here / name)

    def _run(self, values: Mapping[str, Any], workdir: Path) -> int:
        """Run the program; return its exit code, or minus the number of the signal that ended it."""
        program = self.program
        command = [filled(word, values) for word in program.command]
        if os.sep in command[0]:
            command[0] = str(self.here / command[0])
        stdin = os.devnull if program.stdin is None else workdir / program.stdin
        with (
            open(stdin, "rb") as given,
            open(workdir / STDOUT, "wb") as out,
            open(workdir / STDERR, "wb") as err,
        ):
            # It stays in this process's group, which dies as a whole at a time-out, and ends with this process too.
            process = subprocess.Popen(
                command,
                cwd=workdir,
                stdin=given,
                stdout=out,
                stderr=err,
                env={**without_launcher(os.environ), **program.environment},
                preexec_fn=partial(end_with_parent, os.getpid()),
            )
            return process.wait()

    def _check_code(self, code: int, workdir: Path) -> None:
        codes = self.program.exit
        if code in codes.success:
            return
        told = _ending(self.program.command[0], code, workdir)
        if code in codes.retry or code == -signal.SIGKILL:
            raise Retry(told)
        if code in codes.skip:
            raise Skip(told)
        if code in codes.fail:
            raise Stop(told)
        raise ProgramError(told)


STDOUT, STDERR = "stdout.txt", "stderr.txt"
"""Files in the working directory that hold what the program said."""


def _runner(path: str, program: Program, space: ParameterSpace, fields: list[str]) -> Runner:
    here = Path(path).resolve().parent
    for name in fields:
        if name not in program.output:
            raise InputError(f"{path}: no [output.{name}]; field '{name}' must be found somewhere")
    for name in program.output:
        if name not in fields:
            raise InputError(f"{path}: [output.{name}]: no field '{name}'; declared are {', '.join(fields)}")
    templates = {name: _template(path, here, source) for name, source in program.inputs.items()}
    _check_names(path, program, here)
    _check_places(path, program, templates, space)
    _check_command(path, program.command[0], here)
    identity = {
        "sha256": source_hash(path),
        "templates": hashlib.sha256("\0".join(templates.values()).encode()).hexdigest(),
        "files": _files_hash(path, program, here),
    }
    readers = tuple(Reader(name, program.output[name]) for name in fields)
    return Runner(path, program, templates, readers, identity)


def _template(path: str, here: Path, source: str) -> str:
    try:
        return (here / source).read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: inputs: {here / source}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: inputs: {here / source}: a text file is needed") from None


def _check_names(path: str, program: Program, here: Path) -> None:
    """Refuse files that would lie outside the working directory or that are not there."""
    for key, names in (
        ("inputs", list(program.inputs)),
        ("output", [one.file for one in program.output.values()]),
    ):
        for name in names:
            if Path(name).is_absolute() or ".." in Path(name).parts or not Path(name).name:
                raise InputError(f"{path}: {key}: '{name}'; a name in the working directory is needed")
    if program.stdin is not None and program.stdin not in program.inputs:
        raise InputError(
            f"{path}: stdin = '{program.stdin}'; one of inputs is needed: {', '.join(program.inputs)}"
        )
    for name in program.links:
        if not (here / name).exists():
            raise InputError(f"{path}: links: {here / name}: no such file")
    scratch = _scratch(program, here)
    if scratch is not None and not os.access(scratch, os.W_OK):
        raise InputError(f"{path}: scratch: {scratch}; a folder that can be written is needed")


def _check_places(path: str, program: Program, templates: Mapping[str, str], space: ParameterSpace) -> None:
    for name in space.names:
        if name in PLACES:
            raise InputError(
                f"{path}: parameter '{name}': {', '.join(PLACES)} mean something else in templates"
            )
    known = [*space.names, *PLACES]
    example = {**dict.fromkeys(PLACES, ""), "seed": 0}
    example |= sample_of(space.from_unit(np.full((1, space.dimension), 0.5)), 0)
    texts = {f"{path}, command": "\n".join(program.command)}
    texts |= {source: templates[name] for name, source in program.inputs.items()}
    for where, text in texts.items():
        check_template(text, known, where, example)
    used = set().union(*(places_of(text) for text in texts.values()))
    used |= {name for item in space.variables for name in item.needs}
    for name in space.names:
        if name not in used:
            raise InputError(
                f"{path}: parameter '{name}' does not reach the program; "
                f"write {{{name}}} into a template or the command"
            )


def _files_hash(path: str, program: Program, here: Path) -> str:
    """Return a hash of all files that a program's description names, beside the templates."""
    digest = hashlib.sha256()
    named = dict.fromkeys([*program.links, *_own_files(program, here)])
    for name in named:
        for file in _files_in(here / name):
            inside = file.relative_to(here / name).as_posix() if file != here / name else ""
            digest.update(f"{name}\0{inside}\0{_file_hash(path, file)}\n".encode())
    return digest.hexdigest()


def _own_files(program: Program, here: Path) -> list[str]:
    """Names of files in the command and the environment: the user's program, a script, a table."""
    words = [word for word in program.command if places_of(word) <= {"here"}]
    told = [filled(word, {"here": str(here)}) for word in words] + list(program.environment.values())
    paths = [text.rpartition("=")[2] for text in told]  # --table={here}/table.dat
    return [
        os.path.relpath(here / one, here) if (here / one).resolve().is_relative_to(here) else one
        for one in paths
        if os.sep in one and (here / one).is_file()
    ]


def _files_in(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _file_hash(path: str, file: Path) -> str:
    if file.suffix == ".py":  # with what it imports from beside it
        return source_hash(file)
    try:
        with open(file, "rb") as opened:  # a mesh may be larger than the memory
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {file}: {error.strerror}") from None


def _scratch(program: Program, here: Path) -> str | None:
    return None if program.scratch is None else str(here / os.path.expandvars(program.scratch))


def _check_command(path: str, name: str, here: Path) -> None:
    if not places_of(name) <= {"here"}:
        return
    name = filled(name, {"here": str(here)})
    there = here / name if os.sep in name else shutil.which(name)
    if there is None or not os.access(there, os.X_OK) or Path(there).is_dir():
        raise InputError(
            f"{path}: command: '{name}' is no program that can be run; check the path and chmod +x"
        )


def _ending(name: str, code: int, workdir: Path) -> str:
    """Say in a first line how the program ended and its last words; then the end of its output."""
    how = f"exit code {code}" if code >= 0 else f"ended by {_signal_name(-code)}"
    tails = [_tail(workdir / file) for file in (STDERR, STDOUT)]
    said = next((tail for tail in tails if tail), "")
    last = said.splitlines()[-1] if said else "nothing was said"
    return f"{Path(name).name}: {how}: {last}" + (f"\n{said}" if "\n" in said else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return file.read().decode("utf-8", errors="replace").strip()
