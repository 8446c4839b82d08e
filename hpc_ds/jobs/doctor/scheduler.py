"""Which scheduler is here, whether this is a job, and what SLURM and PJM do not tell by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpc_ds.jobs.doctor.child import run
from hpc_ds.jobs.doctor.finding import Finding
from hpc_ds.jobs.doctor.situation import Situation

NAME, PLUGIN, LIMIT, SHARE, VOLUMES = (
    "scheduler",
    "srun's MPI plug-in",
    "end of the job",
    "cores of srun's tasks",
    "volumes of the job",
)

_ANSWER = 20.0
_PLUGINS = ("pmix", "pmi2", "cray_shasta")
_END_OF_SLURM = 'export HPC_DS_DEADLINE=$(date -d "$(squeue -h -j $SLURM_JOB_ID -o %e)" +%s)'
_END_OF_OTHERS = (
    "export HPC_DS_DEADLINE=$(( $(date +%s) + 3600 ))   # 3600: the seconds that the job asked for"
)


def check_scheduler(situation: Situation) -> Iterator[Finding]:
    """Say where this is, and look at what the scheduler found here leaves out."""
    name = situation.scheduler
    if name is None:
        yield Finding(NAME, "ok", "none")
        return
    where = "inside a job" if situation.in_job else "outside of jobs: a login node"
    yield Finding(NAME, "ok", f"{name}, {where}")
    if name == "SLURM":
        yield from _slurm(situation)
    if name == "PJM":
        yield from _volumes(situation)
    if situation.in_job:
        yield _limit(situation)


def plugins(situation: Situation) -> list[str] | None:
    """Return the MPI plug-ins of srun; None where it does not answer."""
    outcome = run(["srun", "--mpi=list"], situation.environ, _ANSWER)
    if outcome.code != 0:
        return None
    # One a line, among sentences; until SLURM 21 the lines began with "srun: ", and went to stderr.
    return re.findall(r"(?m)^(?:srun:)?\s*(\w+)\s*$", outcome.out + "\n" + outcome.err)


def chosen_plugin(situation: Situation) -> str | None:
    """Return the plug-in that a job should name: pmix, or the next best; None where there is none."""
    found = plugins(situation) or []
    return next((plugin for plugin in _PLUGINS if plugin in found), None)


def _slurm(situation: Situation) -> Iterator[Finding]:
    if situation.which("srun") is None:
        return
    found = plugins(situation)
    if found is None:
        yield Finding(
            PLUGIN, "note", "srun --mpi=list does not answer", "sinfo   # is SLURM configured here?"
        )
    elif "pmix" in found:
        yield Finding(PLUGIN, "ok", f"pmix: start ranks with srun --mpi=pmix (there are {', '.join(found)})")
    else:
        told = (
            f"no pmix among {', '.join(found) or 'none'}: Open MPI cannot start under srun, MPICH can by pmi2"
        )
        yield Finding(
            PLUGIN, "note", told, "use mpiexec in the job, or srun --mpi=pmi2 with MPICH or Intel MPI"
        )
    share = situation.environ.get("SLURM_CPUS_PER_TASK", "1")
    if situation.in_job and share != "1" and "SRUN_CPUS_PER_TASK" not in situation.environ:
        told = f"srun does not pass on the {share} cores a task that the job has (SLURM 22.05 and later)"
        yield Finding(SHARE, "note", told, "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK")


def _volumes(situation: Situation) -> Iterator[Finding]:
    """On Fugaku a job sees a volume outside of the home only if the job names it."""
    volume = re.match(r"/vol\d{4}", str(situation.folder.absolute()))
    if volume is None:
        return
    named = situation.environ.get("PJM_LLIO_GFSCACHE", "").split(":")
    if volume.group() in named:
        yield Finding(VOLUMES, "ok", f"{volume.group()} is named in PJM_LLIO_GFSCACHE")
    else:
        told = f"{situation.folder}: a job sees {volume.group()} only if it names it"
        yield Finding(
            VOLUMES, "note", told, f"#PJM -x PJM_LLIO_GFSCACHE={volume.group()}   (in the job script)"
        )


def _limit(situation: Situation) -> Finding:
    told = [name for name in ("HPC_DS_DEADLINE", "SLURM_JOB_END_TIME") if situation.environ.get(name)]
    if told:
        return Finding(LIMIT, "ok", f"known from {told[0]}")
    cure = _END_OF_SLURM if situation.scheduler == "SLURM" else _END_OF_OTHERS
    return Finding(
        LIMIT, "note", "not known: runs will be killed at the limit instead of stopping before", cure
    )
