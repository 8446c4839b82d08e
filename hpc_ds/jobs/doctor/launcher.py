"""Whether mpiexec or srun and the MPI library belong together: tried with a few ranks."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hpc_ds.jobs.doctor.child import Outcome, probe_command, run
from hpc_ds.jobs.doctor.finding import Finding
from hpc_ds.jobs.doctor.libraries import recorded_mpiexec
from hpc_ds.jobs.doctor.situation import Situation

NAME = "MPI launcher"

SECONDS = 60.0
"""Time limit of the trial."""

_MOST_RANKS = 4
_FAMILIES = {
    "Open MPI": ("Open MPI", "OpenRTE", "PRRTE", "prterun"),
    "Intel MPI": ("Intel(R) MPI",),
    "MPICH": ("HYDRA", "MPICH"),
}
_ROOT_FLAGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
_ALLOW_ROOT = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"


def check_launcher(situation: Situation, seconds: float = SECONDS) -> Iterator[Finding]:
    """Start a few ranks in a child process and say whether they find each other."""
    ranks = max(2, min(situation.ranks, _MOST_RANKS))
    command = _srun(situation) if situation.in_job else None
    mpiexec = situation.which("mpiexec") or situation.which("mpirun")
    if command is None and mpiexec is None:
        yield _no_launcher(situation)
        return
    command = command or [str(mpiexec), *_options(family_of(str(mpiexec), situation))]
    yield _try(command, ranks, situation, seconds)


def family_of(mpiexec: str, situation: Situation) -> str:
    """Return Open MPI, Intel MPI, MPICH, or the first words that `mpiexec --version` says of itself."""
    said = run([mpiexec, "--version"], situation.child_environ, seconds=20.0)
    text = said.out + said.err
    known = (name for name, marks in _FAMILIES.items() if any(mark in text for mark in marks))
    return next(known, text.strip().partition("\n")[0][:60] or "an unknown MPI")


def _try(command: list[str], ranks: int, situation: Situation, seconds: float) -> Finding:
    environ = situation.child_environ
    full = [*command, "-n", str(ranks), *probe_command("rank")]
    outcome = _run_ranks(full, environ, seconds)
    if "run as root" in outcome.err + outcome.out and not outcome.answers:
        outcome = _run_ranks(full, environ | _ROOT_FLAGS, seconds)
        if _sizes(outcome) == [ranks] * ranks:
            found = f"{command[0]} refuses to start ranks as root (launch/mpi.sh allows it)"
            return Finding(NAME, "note", found, _ALLOW_ROOT)
    return _judged(outcome, command, ranks, situation)


def _run_ranks(command: list[str], environ: dict[str, str], seconds: float) -> Outcome:
    """Run `command`, and read also what its ranks said into files: Fujitsu's mpiexec sends nothing to the terminal.

    These files lie below the working folder, which the machines of a job must share: it is made in the current one.
    """
    try:
        scratch = tempfile.TemporaryDirectory(dir=os.getcwd(), prefix=".doctor-", ignore_cleanup_errors=True)
    except OSError:
        return run(command, environ, seconds)
    with scratch as folder:
        outcome = run(command, environ, seconds, folder)
        said = [
            path.read_text(errors="replace")
            for path in sorted(Path(folder).rglob("stdout*"))
            if path.is_file()
        ]
    return replace(outcome, out="\n".join([outcome.out, *said]))


def _judged(outcome: Outcome, command: list[str], ranks: int, situation: Situation) -> Finding:
    sizes, launcher = _sizes(outcome), command[0]
    if sizes == [ranks] * ranks:
        return Finding(NAME, "ok", f"{launcher}: {ranks} ranks find each other")
    if sizes and set(sizes) == {1}:
        vendor = outcome.answers[0]["vendor"]
        found = f"{launcher} starts {ranks} singletons: it belongs to another MPI than mpi4py's, which is {vendor}"
        return Finding(NAME, "wrong", found, _other_launcher(launcher))
    if situation.on_login_node:
        found = f"{launcher} starts no ranks here ({outcome.last_words}); a login node may forbid it"
        return Finding(NAME, "note", found, _in_a_job(situation))
    if sizes:
        found = f"{launcher}: {len(sizes)} of {ranks} ranks answered, of {max(sizes)}"
        return Finding(NAME, "wrong", found, _other_launcher(launcher))
    return Finding(
        NAME, "wrong", f"{launcher} starts no ranks: {outcome.last_words}", _other_launcher(launcher)
    )


def _sizes(outcome: Outcome) -> list[int]:
    return [int(answer["size"]) for answer in outcome.answers if "size" in answer]


def _no_launcher(situation: Situation) -> Finding:
    recorded = recorded_mpiexec(Path(sys.prefix))
    if situation.on_login_node:
        return Finding(NAME, "ok", "none here; a job has one")
    if recorded:
        return Finding(NAME, "note", "no mpiexec on the PATH", f"export PATH={Path(recorded).parent}:$PATH")
    return Finding(NAME, "note", "no mpiexec on the PATH: one rank only", "module load the cluster's MPI")


def _other_launcher(launcher: str) -> str:
    """Return the command that brings launcher and library together."""
    recorded = recorded_mpiexec(Path(sys.prefix))
    if Path(launcher).name == "srun":
        return "srun --mpi=list   # then srun --mpi= one of these: pmix for Open MPI, pmi2 for MPICH and Intel MPI"
    if recorded and Path(recorded).resolve() != Path(launcher).resolve():
        return f"{recorded} -n N hpc-ds ...   # or launch/mpi.sh -n N hpc-ds ..."
    return "bash launch/setup.sh   # with the MPI module loaded whose mpiexec jobs will use"


def _in_a_job(situation: Situation) -> str:
    return (
        "pjsub --interact, then mpiexec -n 2 hpc-ds doctor"
        if situation.scheduler == "PJM"
        else ("srun --mpi=pmix -n 2 hpc-ds doctor")
    )


def _srun(situation: Situation) -> list[str] | None:
    """Return srun with its plug-in inside a job of SLURM; None elsewhere."""
    if situation.scheduler != "SLURM" or situation.which("srun") is None:
        return None
    from hpc_ds.jobs.doctor.scheduler import chosen_plugin

    plugin = chosen_plugin(situation)
    return ["srun", *([f"--mpi={plugin}"] if plugin else []), "--overlap", "--overcommit"]


def _options(family: str) -> list[str]:
    return ["--bind-to", "none", "--oversubscribe"] if family == "Open MPI" else []
