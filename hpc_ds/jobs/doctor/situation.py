"""Where and how runs are to go: what every check of the doctor is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hpc_ds.runtime.threads import available_cores, cores_per_rank
from hpc_ds.runtime.world import World, without_launcher

_RANKS_HERE = ("SLURM_NTASKS_PER_NODE", "PJM_PROC_BY_NODE")
_SUBMIT = {"SLURM": "sbatch", "PJM": "pjsub", "PBS": "qsub"}
_JOB = {"SLURM": "SLURM_JOB_ID", "PJM": "PJM_JOBID", "PBS": "PBS_JOBID"}


@dataclass(frozen=True)
class Situation:
    """One machine, seen from the process that runs the doctor."""

    folder: Path = Path(".")
    """Where runs are to write; need not exist yet."""
    wanted_ranks: int | None = None
    """Ranks that the user will start on a machine; None takes the scheduler's word, or one."""
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def ranks(self) -> int:
        """How many ranks a machine will get."""
        told = [self.environ[name] for name in _RANKS_HERE if self.environ.get(name, "").isdigit()]
        return self.wanted_ranks or (int(told[0]) if told else 1)

    @property
    def cores(self) -> int:
        """How many cores this process may use."""
        # Within a task of SLURM the second would be the task's share, not the machine's.
        return available_cores() if "SLURM_CPUS_PER_TASK" in os.environ else cores_per_rank(World())

    @property
    def scheduler(self) -> str | None:
        """SLURM, PJM or PBS: whose job this is, or whose commands are here; None without any."""
        inside = [name for name, variable in _JOB.items() if variable in self.environ]
        at_hand = [name for name, command in _SUBMIT.items() if self.which(command)]
        return next(iter(inside + at_hand), None)

    @property
    def in_job(self) -> bool:
        """Whether this process belongs to a job."""
        return any(variable in self.environ for variable in _JOB.values())

    @property
    def on_login_node(self) -> bool:
        """Whether jobs are submitted from here: programs of many ranks do not belong here."""
        return self.scheduler is not None and not self.in_job

    @cached_property
    def child_environ(self) -> dict[str, str]:
        """The environment of a child that is no rank."""
        return without_launcher(self.environ)

    @property
    def existing_folder(self) -> Path:
        """`folder`, or the nearest one above it that exists."""
        path = self.folder.absolute()
        return next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))

    def which(self, command: str) -> str | None:
        """Return the path of a command, None where there is no such command."""
        return shutil.which(command, path=self.environ.get("PATH", os.defpath))
