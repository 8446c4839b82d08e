"""Whether there is one MPI for mpi4py and h5py, and h5py can write from all ranks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpc_ds.jobs.doctor.child import Outcome, probe
from hpc_ds.jobs.doctor.finding import Finding
from hpc_ds.jobs.doctor.preload import cure_of
from hpc_ds.jobs.doctor.situation import Situation

MPI, ONE, H5PY = "MPI library", "MPI libraries in one process", "parallel HDF5"

_SET_UP = "bash launch/setup.sh"
_REBUILD = f"module load the cluster's MPI, then {_SET_UP}"


def check_libraries(situation: Situation) -> Iterator[Finding]:
    """Say which MPI mpi4py loads, whether it is the only one, and whether h5py is parallel."""
    answer, outcome = probe("mpi", situation.child_environ)
    yield _mpi(answer, outcome, situation)
    if "h5py" in answer:
        yield _one_library(answer)
        yield _parallel(answer)
    else:
        yield _no_h5py(answer, outcome)


def _mpi(answer: dict[str, Any], outcome: Outcome, situation: Situation) -> Finding:
    if "mpi" in answer:
        return Finding(MPI, "ok", f"{answer['mpi'].partition(', package')[0]}, through mpi4py")
    reason = answer.get("mpi_error", outcome.last_words)
    launcher = situation.which("mpiexec") or situation.which("srun")
    absent = "No module named 'mpi4py'" in reason
    if absent and launcher is None:
        return Finding(MPI, "note", "neither mpi4py nor mpiexec: every command runs, on one rank", _REBUILD)
    if absent:
        return Finding(MPI, "wrong", f"{launcher} is here, but mpi4py is not", "python -m pip install mpi4py")
    if launcher is None:
        return Finding(MPI, "note", f"mpi4py finds no MPI ({reason}), nor is there an mpiexec", _REBUILD)
    return Finding(MPI, "wrong", f"mpi4py cannot be loaded: {reason}", cure_of(reason) or _REBUILD)


def _one_library(answer: dict[str, Any]) -> Finding:
    libraries = answer["libraries"]
    if len(libraries) > 1:
        return Finding(
            ONE,
            "wrong",
            f"mpi4py and h5py load different ones: {', '.join(libraries)}",
            f"python -m pip uninstall -y h5py mpi4py && {_SET_UP}",
        )
    return Finding(ONE, "ok", libraries[0] if libraries else "none")


def _parallel(answer: dict[str, Any]) -> Finding:
    version = answer["h5py"]
    if answer["parallel"]:
        return Finding(H5PY, "ok", f"h5py {version} writes from all ranks")
    if "mpi" not in answer:
        return Finding(H5PY, "ok", f"h5py {version} is serial, and so is this machine")
    found = f"h5py {version} is serial though MPI is here: one rank writes the merged files"
    return Finding(H5PY, "note", found, f"export HDF5_DIR=/path/of/a/parallel/hdf5; {_SET_UP}")


def _no_h5py(answer: dict[str, Any], outcome: Outcome) -> Finding:
    if "h5py_error" in answer:
        reason = answer["h5py_error"]
        return Finding(H5PY, "wrong", f"h5py cannot be loaded: {reason}", cure_of(reason) or _SET_UP)
    return Finding(
        H5PY,
        "wrong",
        f"loading h5py after mpi4py ends the process ({outcome.last_words}): they are built for different MPIs",
        f"python -m pip uninstall -y h5py && python -m pip cache remove h5py; {_SET_UP}",
    )


def recorded_mpiexec(prefix: Path) -> str | None:
    """Return the mpiexec that set-up chose for the environment at `prefix`, None without one."""
    try:
        path = (prefix / "hpc-ds" / "mpiexec").read_text().strip()
    except OSError:
        return None
    return path if path and os.access(path, os.X_OK) else None
