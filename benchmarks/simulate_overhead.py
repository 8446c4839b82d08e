"""Measure what `hpc-ds simulate` adds to the simulations themselves: see benchmarks/README.md.

The same samples (a sleep, then an array) are computed in turn by hpc-ds, by dask-mpi used the usual way, and by a
static split over plain MPI ranks. Ratios of medians count: machines are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SHAPE = (16, 128, 128)
"""Times and grid of a sample: 1 MiB of float32."""

ARRAY = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)

SIMULATOR = """
import time

import numpy as np

from hpc_ds.simulate import declare

ARRAY = np.random.default_rng(0).normal(size=(16, 128, 128)).astype(np.float32)
SIDE = {"low": 0.0, "high": 1.0, "size": 128}


@declare(
    parameters={"a": {"bounds": [0.0, 1.0]}}, axes={"x": SIDE, "y": SIDE}, times=list(range(16)), fields={"u": {}}
)
def simulate(parameters, rng):
    time.sleep(SECONDS)
    return {"u": ARRAY}
"""


def simulate(seconds: float) -> np.ndarray:
    time.sleep(seconds)
    return ARRAY


# --- the contestants: each computes all samples and returns when the work itself began and ended --------------------


def run_hpc_ds(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    source = folder / "sleeper.py"
    source.write_text(SIMULATOR.replace("SECONDS", str(options.seconds)))
    out = folder / "out"
    command = [
        "hpc-ds",
        "simulate",
        f"{source}:simulate",
        "--samples",
        str(options.samples),
        "--out",
        str(out),
    ]
    wall = launched(options, [*command, "--keep-shards"])
    seconds = json.loads((out / "summary.json").read_text())["seconds"]["session"]["wall"]
    return {"wall": wall, "work": seconds, "between": between(out)}


def run_role(name: str) -> Callable[[argparse.Namespace, Path], dict[str, float]]:
    def run(options: argparse.Namespace, folder: Path) -> dict[str, float]:
        command = [sys.executable, __file__, "--role", name, "--folder", str(folder)]
        wall = launched(
            options, [*command, "--samples", str(options.samples), "--seconds", str(options.seconds)]
        )
        return {"wall": wall, **json.loads((folder / "work.json").read_text())}

    return run


def static(options: argparse.Namespace) -> None:
    """Each rank computes its share and writes it into a file of its own, flushed after every sample."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    mine = range(comm.rank, options.samples, comm.size)
    with h5py.File(options.folder / f"rank{comm.rank}.h5", "w") as file:
        data = file.create_dataset("u", (len(mine), *SHAPE), "f4")
        comm.Barrier()
        start = time.time()
        for row, _ in enumerate(mine):
            data[row] = simulate(options.seconds)
            file.flush()
        ends = comm.gather(time.time())
    if comm.rank == 0:
        told(options, start, max(ends))


def dask_returned(options: argparse.Namespace) -> None:
    """Workers return their results to the client, which writes them into one file."""
    from distributed import as_completed

    client = dask_mpi_client(options)
    with h5py.File(options.folder / "all.h5", "w") as file:
        data = file.create_dataset("u", (options.samples, *SHAPE), "f4")
        start = time.time()
        futures = client.map(
            lambda index: (index, simulate(options.seconds)), range(options.samples), pure=False
        )
        for _, (index, values) in as_completed(futures, with_results=True):
            data[index] = values
        file.flush()
        told(options, start, time.time())


def dask_written(options: argparse.Namespace) -> None:
    """Workers write their results into files of their own, flushed after every sample."""
    from distributed import as_completed

    client = dask_mpi_client(options)
    folder, samples, seconds = options.folder, options.samples, options.seconds

    def compute(index: int) -> float:
        from distributed import get_worker

        worker = get_worker()
        if not hasattr(worker, "benchmark_file"):
            worker.benchmark_file = h5py.File(folder / f"worker-{os.getpid()}.h5", "w")
            worker.benchmark_file.create_dataset("u", (samples, *SHAPE), "f4")
            worker.benchmark_rows = 0
        worker.benchmark_file["u"][worker.benchmark_rows] = simulate(seconds)
        worker.benchmark_file.flush()
        worker.benchmark_rows += 1
        return time.time()

    start = time.time()
    futures = client.map(compute, range(samples), pure=False)
    told(options, start, max(end for _, end in as_completed(futures, with_results=True)))


def dask_mpi_client(options: argparse.Namespace) -> Any:
    """Become client, scheduler or worker; only the client comes back."""
    import dask_mpi
    from distributed import Client
    from mpi4py import MPI

    dask_mpi.initialize(interface="lo", nthreads=1, local_directory=str(options.folder), dashboard=False)
    client = Client()
    client.wait_for_workers(MPI.COMM_WORLD.size - 2)
    return client


ROLES = {"static": static, "dask-returned": dask_returned, "dask-written": dask_written}

CONTESTANTS: dict[str, tuple[str, Callable[[argparse.Namespace, Path], dict[str, float]]]] = {
    "hpc-ds": ("hpc-ds simulate", run_hpc_ds),
    "dask-returned": ("dask-mpi, results to the client", run_role("dask-returned")),
    "dask-written": ("dask-mpi, workers write", run_role("dask-written")),
    "static": ("plain MPI, static split", run_role("static")),
}

# --- common ---------------------------------------------------------------------------------------------------------


def launched(options: argparse.Namespace, command: list[str]) -> float:
    """Run a command on all ranks and return how many seconds that took."""
    start = time.perf_counter()
    done = subprocess.run(
        [*options.mpiexec.split(), "-n", str(options.ranks), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    # dask-mpi is known to end with tracebacks: what counts is that the results are there.
    if done.returncode and "hpc-ds" in command[0]:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - start


def told(options: argparse.Namespace, start: float, end: float) -> None:
    (options.folder / "work.json").write_text(json.dumps({"work": end - start}))


def between(out: Path) -> float:
    """Return the mean seconds from the end of one simulation to the beginning of the next in the same process."""
    from hpc_ds.store.journal import Journals

    processes = defaultdict(list)
    for entry in Journals.read(out).done.values():
        processes[entry.shard.rpartition(".")[0]].append((entry.started, entry.seconds))
    gaps: list[float] = []
    for samples in map(sorted, processes.values()):
        gaps += [later - began - seconds for (began, seconds), (later, _) in pairwise(samples)]
    return statistics.mean(gaps)


def touch_memory(folder: Path, mebibytes: int) -> None:
    """Write and remove a file, so that all contestants find page cache that the machine has handed out before.

    A virtual machine gets memory from its host page by page at first touch: ten times the cost of a write.
    """
    with open(folder / "touched", "wb", buffering=0) as file:
        for _ in range(mebibytes):
            file.write(ARRAY.tobytes())
    (folder / "touched").unlink()


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in options.only}
    for _ in range(options.rounds):
        for name in options.only:
            folder = Path(tempfile.mkdtemp(prefix="overhead-", dir=options.scratch))
            try:
                touch_memory(folder, 2 * options.samples)
                for key, value in CONTESTANTS[name][1](options, folder).items():
                    found[name][key].append(value)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            os.sync()
    return found


def report(options: argparse.Namespace, found: dict[str, dict[str, list[float]]]) -> None:
    ideal = options.samples * options.seconds / options.ranks
    print(
        f"{options.samples} samples of {1e3 * options.seconds:g} ms and {ARRAY.nbytes / 2**20:g} MiB on "
        f"{options.ranks} ranks, {options.rounds} rounds in turn, medians; {ideal:.2f} s if nothing cost anything"
    )
    print(f"{'':34s}{'whole s':>9s}{'work s':>9s}{'ms a sample':>13s}{'hpc-ds / this':>15s}")
    ours = statistics.median(found["hpc-ds"]["work"]) if "hpc-ds" in found else float("nan")
    for name, values in found.items():
        wall, work = (statistics.median(values[key]) for key in ("wall", "work"))
        extra = 1e3 * (work - ideal) * options.ranks / options.samples
        print(f"{CONTESTANTS[name][0]:34s}{wall:9.2f}{work:9.2f}{extra:13.2f}{ours / work:15.2f}")
    if "hpc-ds" in found:
        gap = 1e3 * statistics.median(found["hpc-ds"]["between"])
        print(f"hpc-ds, from the end of a simulation to the beginning of the next: {gap:.2f} ms on average")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=0.02, help="of one simulation")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--mpiexec", default="launch/mpi.sh", help="launcher and its options")
    parser.add_argument("--scratch", type=Path, help="where files are written; default: $TMPDIR or /tmp")
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        ROLES[options.role](options)
    else:
        report(options, measure(options))


if __name__ == "__main__":
    main()
