"""Whether there are more threads than cores, and torch fits the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpc_ds.jobs.doctor.child import probe
from hpc_ds.jobs.doctor.finding import Finding, counted
from hpc_ds.jobs.doctor.preload import cure_of
from hpc_ds.jobs.doctor.situation import Situation

NAME, TORCH = "threads", "torch"

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

_ACCELERATORS = ("/dev/nvidia0", "/dev/kfd")


def check_threads(situation: Situation) -> Iterator[Finding]:
    """Say whether the threads of the ranks of a machine fit its cores."""
    ranks, cores = situation.ranks, situation.cores
    threads = {name: thread_number(situation.environ.get(name, "")) for name in VARIABLES}
    largest = max(threads, key=threads.__getitem__)
    most = threads[largest]
    if ranks * most <= cores:
        yield Finding(
            NAME,
            "ok",
            f"{counted(ranks, 'rank')} of {counted(most, 'thread')} on {counted(cores, 'core')}",
        )
    elif most > 1:
        found = f"{largest}={most} with {counted(ranks, 'rank')} is {ranks * most} threads on {counted(cores, 'core')}"
        fitting = max(1, cores // ranks)
        excess = [f"{name}={fitting}" for name, number in threads.items() if number > fitting]
        yield Finding(NAME, "note", found, f"export {' '.join(excess)}")
    else:
        found = f"{ranks} ranks on {counted(cores, 'core')} take turns: it works, and is no faster"
        yield Finding(NAME, "note", found, f"launch/mpi.sh -n {cores} hpc-ds ...")


def check_torch(situation: Situation, accelerators: tuple[str, ...] = _ACCELERATORS) -> Iterator[Finding]:
    """Say what torch was built for, what it sees, and whether its threads are too many."""
    answer, outcome = probe("torch", situation.child_environ)
    if "torch" not in answer:
        yield _no_torch(answer.get("torch_error", outcome.last_words))
        return
    devices = [path for path in accelerators if Path(path).exists()]
    told = f"{answer['torch']}, built for {answer['built_for']}"
    surplus = answer["threads"] * situation.ranks > situation.cores and answer["threads"] > 1
    if devices and answer["built_for"] == "CPU":
        found = f"{told}, though {devices[0]} is here: training will not use it"
        cure = "HPC_DS_TORCH_INDEX=https://download.pytorch.org/whl/cu126 bash launch/setup.sh"
        yield Finding(TORCH, "note", found, cure)
    elif devices and answer["devices"] == 0:
        yield Finding(
            TORCH, "note", f"{told}, but sees no device: the driver may be too old for it", "nvidia-smi"
        )
    elif surplus:
        found = f"{told}; {answer['threads']} threads in each of {situation.ranks} ranks on {situation.cores} cores"
        fitting = max(1, situation.cores // situation.ranks)
        yield Finding(TORCH, "note", found, f"export OMP_NUM_THREADS={fitting}")
    else:
        sees = f", sees {counted(answer['devices'], 'device')}" if answer["built_for"] != "CPU" else ""
        yield Finding(TORCH, "ok", told + sees)


def thread_number(text: str) -> int:
    """Return the number of threads that the value of such a variable means; one where it says none."""
    # OpenMP takes a list, of which the first number is that of the outermost threads.
    first = text.partition(",")[0].strip()
    return int(first) if first.isdigit() else 1


def _no_torch(reason: str) -> Finding:
    if "No module named 'torch'" in reason:
        return Finding(TORCH, "note", "not here: hpc-ds learn needs it", "python -m pip install torch")
    return Finding(TORCH, "wrong", f"cannot be loaded: {reason}", cure_of(reason) or "bash launch/setup.sh")
