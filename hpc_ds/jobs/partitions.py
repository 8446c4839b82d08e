"""What a SLURM cluster says of its own partitions: limits that sbatch does not check, and cores of nodes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

from hpc_ds.jobs.machines import Machine, Queue
from hpc_ds.runtime.deadline import parse_duration
from hpc_ds.runtime.errors import InputError

PATIENCE = 10.0
"""Seconds that the controller has for its answer; without one the table alone counts."""

_UNLIMITED = "36500d"
_MANY = 10**9


def informed(machine: Machine, queue: str) -> Machine:
    """Return `machine` with the partitions, and the cores of the nodes of `queue`, that the cluster itself tells.

    What the machine's table says goes first. Where there is no SLURM, or no answer, `machine` comes back as it is.
    """
    if machine.dialect != "slurm":
        return machine
    found: dict[str, object] = {}
    if not machine.queues:
        partitions = _answer(["scontrol", "show", "partition", "--oneliner"])
        if not partitions:  # who does not answer is not asked again: each question may take all of PATIENCE
            return machine
        found["queues"], default = read_partitions(partitions)
        found["queue"] = machine.queue or default
    if machine.cores is None:
        asked = queue or str(found.get("queue", machine.queue))
        nodes = _answer(["sinfo", "-h", "-o", "%X %Y", *(["-p", asked] if asked else [])])
        found["cores"] = read_cores(nodes)
    return machine.model_copy(update=found)


def read_partitions(text: str) -> tuple[dict[str, Queue], str]:
    """Return the partitions of ``scontrol show partition --oneliner``, and the default one's name or nothing."""
    queues, default = {}, ""
    for line in text.splitlines():
        entries = dict(re.findall(r"(\w+)=(\S*)", line))
        name = entries.get("PartitionName", "")
        if not name:
            continue
        most = min(_number(entries.get("MaxNodes", "")), _number(entries.get("TotalNodes", "")))
        queues[name] = Queue(fewest=_fewest(entries), limits=((most, _time(entries.get("MaxTime", ""))),))
        if entries.get("Default") == "YES":
            default = name
    return queues, default


def read_cores(text: str) -> int | None:
    """Return the cores of the smallest node of ``sinfo -o '%X %Y'`` (sockets, cores of each), None without one."""
    pairs = re.findall(r"^(\d+)\+?\s+(\d+)\+?\s*$", text, re.MULTILINE)
    return min((int(sockets) * int(cores) for sockets, cores in pairs), default=None)


def _answer(command: Sequence[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE
        )
    except (subprocess.TimeoutExpired, OSError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _number(text: str) -> int:
    return int(text) if text.isdigit() and int(text) > 0 else _MANY


def _fewest(entries: dict[str, str]) -> int:
    text = entries.get("MinNodes", "")
    return int(text) if text.isdigit() and int(text) > 0 else 1


def _time(text: str) -> str:
    try:
        parse_duration(text)
    except InputError:
        return _UNLIMITED
    return text
