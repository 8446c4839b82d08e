"""What only the ranks together can find: how many they are, their cores, clocks, files and messages."""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hpc_ds
from hpc_ds.jobs.doctor.finding import Finding, State, counted, host_list
from hpc_ds.jobs.doctor.situation import Situation
from hpc_ds.jobs.doctor.storage import NOTED_SKEW, SET_CLOCK, WRONG_SKEW
from hpc_ds.jobs.doctor.threads import VARIABLES, thread_number
from hpc_ds.runtime.provenance import versions
from hpc_ds.runtime.world import World

if TYPE_CHECKING:
    from mpi4py import MPI

SIZE, CORES, CLOCKS, SAME, LATENCY = (
    "ranks",
    "cores of the ranks",
    "clocks of the machines",
    "same software on all ranks",
    "small Allgather",
)

_COUNTS = ("SLURM_STEP_NUM_TASKS", "PJM_MPI_PROC", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_ROUNDS = 8
_CALLS = 50
_SLOW = 1e-3
"""Seconds for an Allgather of one number, above which ranks wait for their turn on a core."""


@dataclass(frozen=True)
class Seat:
    """Where one rank sits."""

    host: str
    cores: frozenset[int]
    """Cores that it may run on."""
    threads: int
    cores_of_host: int


def check_ranks(world: World, situation: Situation) -> list[Finding]:
    """Return what the ranks find together; collective, the same on all ranks."""
    seats = world.allgather(_seat(situation.environ))
    hosts = [seat.host for seat in seats]
    first_ranks = [hosts.index(host) for host in dict.fromkeys(hosts)]
    offsets = clock_offsets(world, first_ranks)
    software = world.allgather((hosts[world.rank], fingerprint(world.rank in first_ranks)))
    return [
        judge_size(world.size, situation.environ),
        judge_cores(seats),
        judge_clocks({hosts[rank]: offset for rank, offset in offsets.items()}),
        judge_software(software),
        judge_latency(*allgather_seconds(world)),
    ]


def judge_size(size: int, environ: Mapping[str, str]) -> Finding:
    """Compare the number of ranks with what the launcher and the scheduler say."""
    told = {name: int(environ[name]) for name in _COUNTS if environ.get(name, "").isdigit()}
    other = next((name for name, number in told.items() if number != size), None)
    if other is None:
        return Finding(SIZE, "ok", f"{size}" + (f", as {next(iter(told))} says" if told else ""))
    found = (
        f"{size}, but {other}={told[other]}: some cores of the job stay idle, or ranks do not find each other"
    )
    return Finding(
        SIZE, "note", found, f"mpiexec -n {told[other]} hpc-ds ...   # or srun --mpi=pmix hpc-ds ..."
    )


def judge_cores(seats: Sequence[Seat]) -> Finding:
    """Say whether each rank has the cores for its threads, given who else may run on them."""
    short = [seat for seat, share in zip(seats, _shares(seats), strict=True) if share + 1e-9 < seat.threads]
    if not short:
        machines = counted(len({seat.host for seat in seats}), "machine")
        most = counted(max(seat.threads for seat in seats), "thread")
        return Finding(CORES, "ok", f"{len(seats)} ranks on {machines}, each with cores for its {most}")
    worst = short[0]
    here = [seat for seat in seats if seat.host == worst.host]
    used = frozenset[int]().union(*(seat.cores for seat in here))
    threads = sum(seat.threads for seat in here)
    where = host_list(seat.host for seat in short)
    found = f"on {where}: {len(here)} ranks with {threads} threads share {len(used)} of {worst.cores_of_host} cores"
    if threads <= worst.cores_of_host:
        per_rank = max(seat.threads for seat in here)
        cure = f"srun --cpus-per-task={per_rank} --cpu-bind=cores ...   # or mpiexec --bind-to none ..."
        return Finding(CORES, "note", f"{found}: they are bound too tightly", cure)
    fitting = max(1, len(used) // len(here))
    if worst.threads > fitting:
        return Finding(CORES, "note", found, f"export {' '.join(f'{name}={fitting}' for name in VARIABLES)}")
    return Finding(
        CORES, "note", f"{found}: they take turns", f"start at most {len(used)} ranks on a machine"
    )


def judge_clocks(offsets: Mapping[str, float]) -> Finding:
    """Say how far the clocks of the machines lie from that of rank 0's; `offsets` in seconds by host name."""
    if len(offsets) < 2:
        return Finding(CLOCKS, "ok", "one machine, one clock")
    host = max(offsets, key=lambda name: abs(offsets[name]))
    skew = offsets[host]
    if abs(skew) <= NOTED_SKEW:
        return Finding(
            CLOCKS, "ok", f"{len(offsets)} machines, at most {abs(skew) * 1e3:.1f} ms apart from rank 0's"
        )
    state: State = "note" if abs(skew) <= WRONG_SKEW else "wrong"
    found = f"{host} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} rank 0's machine"
    return Finding(CLOCKS, state, f"{found}: limits and locks go by the clock", f"ssh {host} {SET_CLOCK}")


def judge_software(software: Sequence[tuple[str, Mapping[str, str]]]) -> Finding:
    """Say whether all ranks have the same interpreter, versions and files of the package.

    Parameters
    ----------
    software : sequence of (str, mapping of str to str)
        Each rank's host and `fingerprint`; a part that a rank leaves out is not compared.
    """
    reference = software[0][1]
    for part in reference:
        other = [
            (host, found) for host, found in software if found.get(part, reference[part]) != reference[part]
        ]
        if other:
            hosts = host_list(host for host, _ in other)
            found = (
                f"{part} is {reference[part]} on {software[0][0]} (rank 0) and {other[0][1][part]} on {hosts}"
            )
            cure = "start all ranks from one environment on a file system that all machines share"
            return Finding(SAME, "wrong", found, cure)
    return Finding(SAME, "ok", f"hpc_ds {reference.get('hpc_ds')}, Python {reference.get('python')}")


def judge_latency(least: float, median: float) -> Finding:
    """Say how long an Allgather of one number takes on the slowest rank, in seconds."""
    told = f"{median * 1e6:.0f} us (at best {least * 1e6:.0f})"
    if median <= _SLOW:
        return Finding(LATENCY, "ok", told)
    cure = "export MPIR_CVAR_ENABLE_HEAVY_YIELD=1 OMPI_MCA_mpi_yield_when_idle=1   # or fewer ranks a machine"
    return Finding(
        LATENCY, "note", f"{told}: ranks wait for their turn on a core, or the network is slow", cure
    )


def clock_offsets(
    world: World, partners: Sequence[int], clock: Callable[[], float] = time.time
) -> dict[int, float]:
    """Return by rank how many seconds the clocks of `partners` are ahead of rank 0's, on all ranks; collective.

    Of several questions to a rank the one that was answered soonest counts; its error is at most half of the time
    that the answer took (Cristian 1989, Distributed Computing 3, 146).
    """
    comm = world.comm
    offsets = dict.fromkeys(partners, 0.0)
    if comm is None:
        return offsets
    for partner in partners:
        if partner != 0 and world.rank == 0:
            offsets[partner] = nearest_offset([_ask(comm, partner, clock) for _ in range(_ROUNDS)])
        elif partner != 0 and world.rank == partner:
            for _ in range(_ROUNDS):
                comm.recv(source=0)
                comm.send(clock(), 0)
    return world.bcast(offsets)


def nearest_offset(answers: Sequence[tuple[float, float, float]]) -> float:
    """Return the offset of a clock from answers (asked, its time, answered), all in seconds."""
    asked, told, answered = min(answers, key=lambda each: each[2] - each[0])
    return told - (asked + answered) / 2


def allgather_seconds(world: World) -> tuple[float, float]:
    """Return the least and the median time of an Allgather of one number, on the slowest rank; collective."""
    import numpy as np

    send, counts, out = np.zeros(1), [1] * world.size, np.empty(world.size)
    taken = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        world.allgather_floats(send, counts, out)
        taken.append(time.perf_counter() - start)
    everyone = world.allgather((min(taken), statistics.median(taken)))
    return max(least for least, _ in everyone), max(median for _, median in everyone)


def fingerprint(with_files: bool, package: Path = Path(hpc_ds.__file__).parent) -> dict[str, str]:
    """Return what software this process runs; with the files of the package, read and hashed, if asked."""
    parts = {name: str(version) for name, version in versions().items()}
    parts["the interpreter"] = sys.executable
    if with_files:
        digest = hashlib.sha256()
        for path in sorted(package.rglob("*.py")):
            digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
        parts["the package's files (sha256)"] = digest.hexdigest()[:12]
    return parts


def _seat(environ: Mapping[str, str]) -> Seat:
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    threads = max(thread_number(environ.get(name, "")) for name in VARIABLES)
    return Seat(platform.node(), frozenset(cores), threads, os.cpu_count() or 1)


def _shares(seats: Sequence[Seat]) -> list[float]:
    """Cores for each rank, when the ranks that may run on a core share it evenly."""
    users = Counter((seat.host, core) for seat in seats for core in seat.cores)
    return [sum(1.0 / users[seat.host, core] for core in seat.cores) for seat in seats]


def _ask(comm: MPI.Intracomm, partner: int, clock: Callable[[], float]) -> tuple[float, float, float]:
    asked = clock()
    comm.send(None, partner)
    told = comm.recv(source=partner)
    return asked, told, clock()
