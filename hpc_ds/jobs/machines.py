"""Machines: what hpc-ds knows of a cluster before it writes a job script for it, one TOML table each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hpc_ds.runtime.deadline import parse_duration
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.options import checked
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.toml import read_toml

Dialect = Literal["slurm", "pjm", "pbs", "nqsv", "local"]

_FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
_VARIABLE = "HPC_DS_MACHINES"


class Queue(BaseModel):
    """A queue: partition of SLURM, resource group of PJM."""

    model_config = _FROZEN

    fewest: int = Field(default=1, ge=1)
    """Smallest number of nodes."""

    limits: tuple[tuple[int, str], ...] = ()
    """Pairs of a number of nodes and the longest time of jobs up to that size, ascending; none: unknown."""

    cost: float = Field(default=1.0, gt=0.0)
    """What a node-hour is charged as."""

    @field_validator("limits")
    @classmethod
    def _are_durations(cls, limits: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
        for _, time in limits:
            try:
                parse_duration(time)
            except InputError as error:
                raise ValueError(str(error)) from None
        return tuple(sorted(limits, key=lambda pair: pair[0]))

    def most_nodes(self) -> int | None:
        """Return the largest number of nodes, None where it is not known."""
        return self.limits[-1][0] if self.limits else None

    def longest(self, nodes: int) -> str | None:
        """Return the longest time of a job of `nodes` nodes, None where it is not known."""
        return next((time for most, time in self.limits if nodes <= most), None)


class Group(BaseModel):
    """What a group (project, account) may use."""

    model_config = _FROZEN

    nodes: int | None = Field(default=None, ge=1)
    """Most nodes of a job."""

    queues: tuple[str, ...] = ()
    """Queues it may use; none: all."""


class Machine(BaseModel):
    """A machine and its limits; what is None or empty is not known, and not checked."""

    model_config = _FROZEN

    name: str
    """The name for --machine."""

    title: str = ""
    """What it is, in a few words."""

    dialect: Dialect
    """Which scheduler's language its job scripts are in."""

    launcher: Literal["srun", "mpiexec"] = "mpiexec"
    """What starts the ranks."""

    launcher_options: tuple[str, ...] = ()
    """More words for the launcher; {logs} is the job's folder."""

    mpi: str = ""
    """srun's --mpi plugin, pmix or pmi2; empty: the site's default."""

    cores: int | None = Field(default=None, ge=1)
    """Cores of a node."""

    architecture: str = ""
    """Processors of the compute nodes, as uname -m says; login nodes may have others."""

    domains: int = Field(default=1, ge=1)
    """Memory domains (NUMA nodes, CMG) of a node."""

    memory: float | None = Field(default=None, gt=0.0)
    """Memory of a node in GiB."""

    nodes: int | None = Field(default=None, ge=1)
    """Nodes of the whole machine."""

    shared_nodes: bool = False
    """PBS: nodes are shared with other jobs, so that each job must ask for its cores (ncpus)."""

    queue: str = ""
    """The queue where none is asked for."""

    queues: dict[str, Queue] = {}
    """Queues by name; none: any name is taken."""

    groups: dict[str, Group] = {}
    """Limits of groups by name; other groups have none that is known."""

    group_required: bool = False
    """Whether jobs without a group are refused."""

    groups_refused: tuple[str, ...] = ()
    """Groups that cannot submit."""

    max_submitted: int | None = Field(default=None, ge=1)
    """Most jobs that a user may have submitted at a time."""

    volumes: str = ""
    """Regular expression of the volumes that a job must name to see them (LLIO)."""

    home_mounted: bool = True
    """Whether compute nodes see the home folder."""

    staging: Literal["tar", "dir_transfer"] = "tar"
    """How --stage-venv brings Python to the nodes: a tar file to local storage, or Fugaku's dir_transfer."""

    local_storage: str = "${TMPDIR:-/tmp}"
    """Where a compute node has storage of its own; a shell expression."""

    step_end: str = ""
    """PJM: dependency statement that deletes the rest of a chain that is done; {previous} is the last link."""

    directives: tuple[str, ...] = ()
    """More directives of each script; {threads}, {nodes} and {ranks} are filled in."""

    module_lines: tuple[str, ...] = ()
    """Modules that every job loads."""

    setup: tuple[str, ...] = ()
    """Shell lines that every job runs first."""

    environment: dict[str, str] = {}
    """Variables that every job exports."""

    sources: dict[str, str] = {}
    """How sure each entry is and where it is from: sure, seen or unverified, then words."""

    @field_validator("directives")
    @classmethod
    def _can_be_filled_in(cls, directives: tuple[str, ...]) -> tuple[str, ...]:
        for text in directives:
            try:
                text.format(threads=1, nodes=1, ranks=1)
            except (KeyError, IndexError, ValueError):
                raise ValueError(f"{text!r}: braces take threads, nodes or ranks") from None
        return directives

    @field_validator("volumes")
    @classmethod
    def _is_an_expression(cls, volumes: str) -> str:
        try:
            re.compile(volumes)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return volumes

    def doubts(self, *entries: str) -> list[str]:
        """Return, of `entries` such as ``queues.small``, those that are not sure, each with its source."""
        found = [(entry, self.sources.get(entry, "")) for entry in entries]
        return [f"{entry}: {source}" for entry, source in found if source and not source.startswith("sure")]


def machine(name: str) -> Machine:
    """Return the machine of that name.

    Raises
    ------
    InputError
        No machine has this name (the nearest ones are named), or the user's file of machines is wrong.
    """
    found = machines()
    if name not in found:
        raise InputError(f"--machine '{name}': unknown; {unknown(name, found, 'machines')}")
    return found[name]


def machines() -> dict[str, Machine]:
    """Return all machines by name: the built-in ones, and the user's, which go first where names are equal.

    A user's table with ``like = "slurm"`` begins as a copy of that machine.

    Raises
    ------
    InputError
        The user's file is missing though HPC_DS_MACHINES names it, is no TOML, or has a wrong entry.
    """
    found = dict(_built_in())
    path = user_file()
    if path is not None:
        for name, table in read_toml(path, _VARIABLE if os.environ.get(_VARIABLE) else "").items():
            found[name] = _own(path, name, table, found)
    return found


def user_file() -> Path | None:
    """Return the user's file of machines: that of HPC_DS_MACHINES, or the one in ~/.config if it exists."""
    named = os.environ.get(_VARIABLE, "")
    if named:
        return Path(named)
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    usual = folder / "hpc-ds" / "machines.toml"
    return usual if usual.is_file() else None


@cache
def _built_in() -> dict[str, Machine]:
    table = read_toml(str(files("hpc_ds.jobs") / "machines.toml"))
    return {name: Machine(name=name, **entries) for name, entries in table.items()}


def _own(path: Path, name: str, table: Any, known: dict[str, Machine]) -> Machine:
    if not isinstance(table, dict):
        raise InputError(f"{path}: {name} = {table!r}: a table [{name}] of a machine is needed")
    entries = dict(table)
    model = entries.pop("like", None)
    if model is not None and model not in known:
        raise InputError(
            f"{path}: {name}.like = {model!r}: unknown; {unknown(str(model), known, 'machines')}"
        )
    inherited = dict(_entries(known[model])) if model is not None else {}
    return checked(Machine, {**inherited, **entries, "name": name}, prefix=f"{path}: {name}.")


def _entries(like: Machine) -> Iterator[tuple[str, Any]]:
    """Entries that a copy inherits: not the sources, which speak of the other machine."""
    for key, value in like.model_dump().items():
        if key not in ("name", "title", "sources"):
            yield key, value
