"""The description of a job: what is asked for, checked against the machine before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.jobs.machines import Machine, Queue
from hpc_ds.jobs.sweep import Axis, Point, points
from hpc_ds.jobs.words import plain_text
from hpc_ds.runtime.deadline import parse_duration
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.options import checked
from hpc_ds.runtime.suggest import unknown

NOTICE = 120.0
"""Seconds before the limit at which the ranks are told to stop; SLURM keeps time in steps of a minute."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._@-]{0,62}")


class Job(BaseModel):
    """A job, or a chain or a sweep of them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True
    )

    command: tuple[str, ...] = Field(min_length=1)
    """What the ranks run."""

    machine: Machine
    """Where it runs."""

    workdir: Path
    """The folder in which it runs."""

    folder: Path
    """The job's own folder: script, logs, what became of it."""

    nodes: int = Field(default=1, ge=1)
    """Nodes of a job."""

    seconds: float = Field(gt=0.0)
    """Time limit of a job."""

    queue: str = ""
    """Partition, resource group or queue."""

    group: str = ""
    """Project that pays: group or account."""

    name: str = "hpc-ds"
    """Name of the job."""

    ranks_per_node: int = Field(default=1, ge=1)
    """Ranks on a node."""

    threads: int = Field(default=1, ge=1)
    """Threads of a rank."""

    chain: int = Field(default=1, ge=1, le=1000)
    """Jobs that follow each other until the run is done."""

    requeue: bool = False
    """SLURM: requeue one job, --chain times at most, instead of a chain of jobs."""

    sweep: tuple[Axis, ...] = ()
    """key=a,b,c: a run for each value of an option; repeat it for all combinations."""

    at_once: int | None = Field(default=None, ge=1)
    """Most jobs of a sweep at a time."""

    notice: float | None = Field(default=None, ge=1.0)
    """Seconds before the limit at which ranks are told to stop."""

    venv: str = ""
    """Virtual environment to activate; '' for none."""

    stage_venv: bool = False
    """Bring its packages to the nodes' own storage first; the Python behind it stays where it is."""

    modules: tuple[str, ...] = ()
    """Module to load; repeat it."""

    setup: tuple[str, ...] = ()
    """Shell line to run first; repeat it."""

    directives: tuple[str, ...] = ()
    """More of the scheduler's options, e.g. --directive=--qos=high; repeat it."""

    volumes: tuple[str, ...] = ()
    """Fugaku: volume that the job needs besides those of its paths, e.g. /vol0004; repeat it."""

    llio: str = ""
    """Fugaku: sizes, e.g. localtmp-size=10Gi."""

    @property
    def ranks(self) -> int:
        """Ranks of a job."""
        return self.nodes * self.ranks_per_node

    @cached_property
    def points(self) -> list[Point]:
        """The commands: one, or those of the sweep."""
        return points(self.command, self.sweep)

    @property
    def tasks(self) -> int:
        """Jobs of a sweep that are submitted; where they are fewer than its points, each does several in turn."""
        if self.machine.dialect == "local":
            return 1
        limits = [len(self.points)]
        if (
            self.machine.dialect != "slurm" and self.at_once is not None
        ):  # SLURM holds an array back by itself
            limits.append(self.at_once)
        if self.machine.max_submitted is not None:
            limits.append(max(1, self.machine.max_submitted // self.links))
        return min(limits)

    @property
    def links(self) -> int:
        """Jobs of the chain that are submitted beforehand."""
        return 1 if self.requeue else self.chain

    @property
    def told_before(self) -> int:
        """Seconds before the limit at which the ranks are told: a quarter of a short job at most."""
        wanted = NOTICE if self.notice is None else self.notice
        return max(1, int(min(wanted, self.seconds / 4)))

    @property
    def grace(self) -> int:
        """Seconds before the limit at which work stops without being told; a tenth of a short job at most."""
        return max(1, int(min(60.0, self.seconds / 10)))


def make_job(values: Mapping[str, Any]) -> Job:
    """Return a job that its machine can take.

    Raises
    ------
    InputError
        One line: what is wrong, and what would be right.
    """
    job = checked(Job, {**values, "queue": values.get("queue") or values["machine"].queue})
    written = ((job.queue, "--queue"), (job.group, "--group"), (job.llio, "--llio"), *_volumes(job))
    for text, what in (*written, (str(job.folder), "the job's folder")):
        plain_text(text, what)
    for text in job.directives:
        plain_text(text.replace('"', ""), "--directive")
    if not _NAME.fullmatch(job.name):
        raise InputError(f"--name '{job.name}': a letter, then letters, digits and . _ - @, 63 at most")
    _check_node(job)
    _check_queue(job)
    _check_group(job)
    _check_chain(job)
    _check_fit(job)
    return job


def span(text: str) -> float:
    """Return the seconds of ``--time``.

    Raises
    ------
    InputError
        No duration.
    """
    try:
        return parse_duration(text)
    except InputError as error:
        raise InputError(f"--time: {error}") from None


def _volumes(job: Job) -> Iterator[tuple[str, str]]:
    return ((volume, "--volume") for volume in job.volumes)


def _check_node(job: Job) -> None:
    cores, used = job.machine.cores, job.ranks_per_node * job.threads
    if cores is not None and used > cores:
        raise InputError(
            f"--ranks-per-node {job.ranks_per_node} with --threads {job.threads} need {used} cores: "
            f"a node of {job.machine.name} has {cores}"
        )
    if job.machine.nodes is not None and job.nodes > job.machine.nodes:
        raise InputError(f"--nodes {job.nodes}: {job.machine.name} has {job.machine.nodes}")


def _check_queue(job: Job) -> None:
    machine, name = job.machine, job.queue
    if not machine.queues or not name:
        return
    if name not in machine.queues:
        raise InputError(
            f"--queue '{name}': unknown on {machine.name}; {unknown(name, machine.queues, 'queues')}"
        )
    queue = machine.queues[name]
    most = queue.most_nodes()
    if most is not None and not queue.fewest <= job.nodes <= most:
        raise InputError(
            f"--nodes {job.nodes}: queue {name} of {machine.name} takes {queue.fewest} to {most}{_other(job)}"
        )
    longest = queue.longest(job.nodes)
    if longest is not None and job.seconds > parse_duration(longest):
        raise InputError(
            f"--time: queue {name} of {machine.name} gives jobs of this size at most {longest}; "
            "ask for less and let --chain go on"
        )


def _other(job: Job) -> str:
    """Name a queue that would take that many nodes."""
    fits = [name for name, queue in job.machine.queues.items() if _takes(queue, job.nodes)]
    return f"; --queue {fits[0]} would take them" if fits else ""


def _takes(queue: Queue, nodes: int) -> bool:
    most = queue.most_nodes()
    return most is not None and queue.fewest <= nodes <= most


def _check_group(job: Job) -> None:
    machine = job.machine
    if machine.group_required and not job.group:
        raise InputError(f"--group: {machine.name} takes no job without one; give your project's")
    if job.group in machine.groups_refused:
        raise InputError(f"--group '{job.group}': cannot submit on {machine.name}; give your project's")
    group = machine.groups.get(job.group)
    if group is None:
        return
    if group.nodes is not None and job.nodes > group.nodes:
        raise InputError(f"--nodes {job.nodes}: group {job.group} may use {group.nodes} on {machine.name}")
    if group.queues and job.queue not in group.queues:
        raise InputError(
            f"--queue '{job.queue}': group {job.group} may use {', '.join(group.queues)} on {machine.name}"
        )


def _check_chain(job: Job) -> None:
    most = job.machine.max_submitted
    if most is not None and job.links > most:
        raise InputError(f"--chain {job.chain}: {job.machine.name} takes {most} jobs of a user at a time")
    if not job.requeue:
        return
    if job.machine.dialect != "slurm":
        raise InputError(
            f"--requeue: only SLURM can; without it {job.machine.name} gets its links beforehand"
        )
    if job.sweep:
        raise InputError("--requeue: not with --sweep; leave it out and the links are submitted beforehand")
    if job.chain == 1:
        raise InputError("--requeue: say how often at most, with --chain 5 for instance")


def _check_fit(job: Job) -> None:
    """Refuse options that this job would pass over in silence."""
    if job.seconds < 1.0:
        raise InputError("--time: less than a second, which schedulers read as no limit at all")
    if job.at_once is not None and not job.sweep:
        raise InputError("--at-once: only jobs of a --sweep run side by side")
    if job.stage_venv and not job.venv:
        raise InputError("--stage-venv: there is no virtual environment; name it with --venv")
    for given, flag in ((job.volumes, "--volume"), (job.llio, "--llio")):
        if given and job.machine.dialect != "pjm":
            raise InputError(f"{flag}: for machines with PJM, which {job.machine.name} is not")
