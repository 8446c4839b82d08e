"""Measure the claims on merging and reading training sets: see benchmarks/README.md.

Everything is compared in one run, in turn, and judged by ratios of medians: machines are shared.
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
from pathlib import Path

import numpy as np

from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.world import World, get_world
from hpc_ds.store import writers
from hpc_ds.store.design_file import write_design
from hpc_ds.store.layout import Axis, Column, Field, Layout, axis
from hpc_ds.store.merge import merge
from hpc_ds.store.shard import ShardWriter
from hpc_ds.store.training_set import TrainingSet

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = 5
BLOCK = 4 * 2**20


# --- merge: against one plain file a rank ---------------------------------------------------------------------------


def merge_layout() -> Layout:
    """One mebibyte a sample."""
    grid = (axis("x", 0.0, 1.0, 128, endpoint=False), axis("y", 0.0, 1.0, 128, endpoint=False))
    return Layout("bench", grid, Axis("time", np.arange(16.0)), (Field("u"),), (), (Column("a"),))


def write_run(folder: Path, layout: Layout, samples: int, shards: int) -> None:
    """Write what a run leaves before its merge."""
    folder.mkdir(parents=True)
    write_json(folder / "layout.json", layout.to_dict())
    write_design(folder, {"a": np.arange(float(samples))}, {})
    rng = np.random.default_rng(1)
    fields = {item.name: rng.random(layout.shape(item.name), np.float32) for item in layout.fields}
    for number in range(shards):
        with ShardWriter(folder, f"bench-{number}", layout) as writer:
            for index in range(number, samples, shards):
                for values in fields.values():
                    values.flat[0] = index
                writer.append(index, fields, 0.0)


def merge_section(ranks: list[int], mebibytes: int, place: str | None, mpiexec: str) -> None:
    print(f"\nmerge: {mebibytes} samples of 1 MiB, seconds (speed relative to one plain file a rank)")
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        folder = Path(scratch) / "run"
        write_run(folder, merge_layout(), mebibytes, 4)
        for sync in (False, True):
            for size in ranks:
                kinds = ["plain", "posix"] if size == 1 else ["plain", *("posix", "mpiio", "hdf5")]
                seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
                for _ in range(ROUNDS):
                    for kind in kinds:
                        seconds[kind].append(timed(size, kind, folder, mebibytes, sync, mpiexec))
                medians = {kind: statistics.median(values) for kind, values in seconds.items()}
                shown = ", ".join(
                    f"{kind} {value:.2f} ({medians['plain'] / value:.2f})" for kind, value in medians.items()
                )
                print(f"  {'on the disk' if sync else 'page cache'}, {size} ranks: {shown}", flush=True)


def timed(size: int, kind: str, folder: Path, mebibytes: int, sync: bool, mpiexec: str) -> float:
    """Return the seconds that one merge, or one writing of plain files, takes inside the ranks."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    launcher = [] if size == 1 else [*mpiexec.split(), "-n", str(size)]
    command = [
        *launcher,
        sys.executable,
        __file__,
        "--worker",
        kind,
        str(folder),
        str(mebibytes),
        str(int(sync)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return float(json.loads(result.stdout.splitlines()[-1]))


def worker(kind: str, folder: Path, mebibytes: int, sync: bool) -> None:
    world = get_world()
    if not sync:
        forget_sync()
    block = np.random.default_rng(world.rank).random(BLOCK // 4, np.float32)
    world.barrier()
    start = time.perf_counter()
    if kind == "plain":
        write_plain(world, folder, mebibytes * 2**20 // world.size, block, sync)
    else:
        merge(folder, world, keep_shards=True, writer=kind)
    world.barrier()
    seconds = time.perf_counter() - start
    if world.is_root:
        print(json.dumps(seconds))
    (folder / f"plain-{world.rank}").unlink(missing_ok=True)


def write_plain(world: World, folder: Path, count: int, block: np.ndarray, sync: bool) -> None:
    with open(folder / f"plain-{world.rank}", "wb", buffering=0) as file:
        for _ in range(count // block.nbytes):
            file.write(block.data)
        if sync:
            os.fsync(file.fileno())


def forget_sync() -> None:
    """Leave the bytes in the page cache."""
    os.fsync = lambda descriptor: None

    def close(self: writers.Writer) -> None:
        for file in self._open:
            file.Close()

    writers._MpiIO.close = close


# --- read: against WellDataset --------------------------------------------------------------------------------------


def read_layout() -> Layout:
    """Two fields and a scalar; three quarters of a mebibyte a window of five times."""
    grid = (axis("x", 0.0, 1.0, 64, endpoint=False), axis("y", 0.0, 1.0, 64, endpoint=False))
    fields = (Field("u"), Field("v", 1), Field("score", dims=(), time_varying=False))
    return Layout("bench", grid, Axis("time", np.arange(30.0)), fields, (), (Column("a"),))


def read_section(place: str | None) -> None:
    package = Path(sys.prefix) / "hpc-ds" / "the_well"
    if not package.is_dir():
        print("\nread: skipped, launch/setup.sh --dev installs The Well's package")
        return
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        folder = Path(scratch) / "run"
        write_run(folder, read_layout(), 128, 1)
        merge(folder, World())
        environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{REPOSITORY}"}
        command = [sys.executable, __file__, "--reader", str(folder)]
        subprocess.run(command, env=environment, check=True)


def reader(folder: str) -> None:
    import torch
    from the_well.data import WellDataset

    torch.set_num_threads(1)
    print("\nread: random windows of 4 + 1 times of 64 x 64, three channels; milliseconds a window")
    options = {"return_grid": False, "boundary_return_type": None}
    theirs = WellDataset(path=folder, well_split_name="train", n_steps_input=4, n_steps_output=1, **options)
    with TrainingSet(folder) as data:
        windows = data.windows(4, 1)
        chosen = np.random.default_rng(0).integers(len(windows), size=400).tolist()
        for place in chosen:
            sample, window = theirs[place], windows[place]
            for key in ("input_fields", "output_fields", "constant_scalars"):
                assert np.array_equal(sample[key].numpy(), window[key])
        kinds = {"WellDataset": theirs.__getitem__, "TrainingSet.windows": windows.__getitem__}
        seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, read in kinds.items():
                start = time.perf_counter()
                for place in chosen:
                    read(place)
                seconds[kind].append((time.perf_counter() - start) / len(chosen))
    medians = {kind: 1e3 * statistics.median(values) for kind, values in seconds.items()}
    ratio = medians["WellDataset"] / medians["TrainingSet.windows"]
    print("  " + ", ".join(f"{kind} {value:.3f}" for kind, value in medians.items()), end="")
    print(f": {ratio:.1f} times faster (same fields and scalars, checked)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=["merge", "read", []], default=[])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--folder", help="where the scratch files lie, e.g. on a parallel file system")
    parser.add_argument("--mpiexec", default="mpiexec --oversubscribe")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, folder, mebibytes, sync = arguments.worker
        worker(kind, Path(folder), int(mebibytes), sync == "1")
    elif arguments.reader:
        reader(arguments.reader)
    else:
        if "merge" in arguments.sections or not arguments.sections:
            merge_section(arguments.ranks, arguments.mebibytes, arguments.folder, arguments.mpiexec)
        if "read" in arguments.sections or not arguments.sections:
            read_section(arguments.folder)


if __name__ == "__main__":
    main()
