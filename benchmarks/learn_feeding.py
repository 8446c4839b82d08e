"""Measure what a training step costs that is fed from disk, against one fed from memory: see benchmarks/README.md.

Both kinds of feeding take turns in one process, and are judged by ratios: machines are shared.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from hpc_ds.learn.dataset import Dataset, open_dataset
from hpc_ds.learn.feeder import Feeder
from hpc_ds.learn.order import Order
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.world import World
from hpc_ds.store.design_file import write_design
from hpc_ds.store.layout import Axis, Field, Layout, axis
from hpc_ds.store.merge import merge
from hpc_ds.store.shard import ShardWriter

LANES = 8
Pairs = list[tuple[Tensor, Tensor]]
Step = Callable[[Pairs], None]


# --- sets ----------------------------------------------------------------------------------------------------------


def write_set(folder: Path, samples: int, times: int, *points: int) -> Path:
    """Write a training set of random fields on a line or a plane."""
    folder.mkdir()
    grid = tuple(axis(name, 0.0, 1.0, size, endpoint=False) for name, size in zip("xy", points))
    layout = Layout("bench", grid, Axis("time", np.arange(float(times))), (Field("u"),))
    write_json(folder / "layout.json", layout.to_dict())
    write_design(folder, {"a": np.arange(float(samples))}, {})
    rng = np.random.default_rng(1)
    with ShardWriter(folder, "s", layout) as writer:
        for index in range(samples):
            writer.append(index, {"u": rng.random(layout.shape("u"), np.float32)}, 0.0)
    merge(folder, World(), fractions=(1.0, 0.0, 0.0))
    return folder


def pack(folder: Path) -> Path:
    """Compress the files of a set in chunks of one time each."""
    for path in folder.glob("data/*/*.h5"):
        with h5py.File(path, "r+") as file:
            group = file["t0_fields"]
            values, attrs = group["u"][()], dict(group["u"].attrs)
            del group["u"]
            chunks = (1, 1, *values.shape[2:])
            group.create_dataset("u", data=values, chunks=chunks, compression="gzip", compression_opts=1)
            group["u"].attrs.update(attrs)
    return folder


# --- steps ---------------------------------------------------------------------------------------------------------


def pretended(seconds: float) -> Step:
    """Return a step that computes for about so long, whatever it is fed."""
    matrix = torch.randn(256, 256)

    def once() -> float:
        start = time.perf_counter()
        matrix @ matrix
        return time.perf_counter() - start

    count = max(1, round(seconds / min(once() for _ in range(50))))

    def step(pairs: Pairs) -> None:
        for x, _ in pairs:
            x.sum()
        for _ in range(count):
            matrix @ matrix

    return step


def network(dataset: Dataset, width: int) -> Step:
    """Return a step of a small convolutional network: forward, backward and AdamW."""
    convolution = nn.Conv1d if len(dataset.input_shape) == 2 else nn.Conv2d
    sizes = [dataset.input_shape[0], width, width, dataset.target_shape[0]]
    layers: list[nn.Module] = []
    for channels, following in itertools.pairwise(sizes):
        layers += [convolution(channels, following, 5, padding=2), nn.GELU()]
    model = nn.Sequential(*layers[:-1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(pairs: Pairs) -> None:
        optimiser.zero_grad()
        for x, y in pairs:
            (model(x) - y).square().mean().backward()
        optimiser.step()

    return step


# --- feeding -------------------------------------------------------------------------------------------------------


def from_memory(inputs: Tensor, targets: Tensor, plan: list[list[np.ndarray]]) -> Iterator[Pairs]:
    """Gather each piece from tensors that hold the whole set."""
    for pieces in plan:
        chosen = [torch.from_numpy(piece) for piece in pieces]
        yield [(inputs[piece], targets[piece]) for piece in chosen]


def timed(batches: Iterator[Pairs], step: Step) -> tuple[float, float]:
    """Return seconds by the wall and of the processor, over all steps."""
    wall, processor = time.perf_counter(), time.process_time()
    for pairs in batches:
        step(pairs)
    return time.perf_counter() - wall, time.process_time() - processor


def compare(
    title: str, dataset: Dataset, step: Step, batch: int, steps: int, prefetch: int, rounds: int
) -> None:
    everything = np.arange(len(dataset))
    inputs = torch.empty((len(dataset), *dataset.input_shape))
    targets = torch.empty((len(dataset), *dataset.target_shape))
    dataset.read(everything, inputs.numpy(), targets.numpy())
    settings = make_settings({"batch": batch, "lanes": LANES})
    order = Order(len(dataset), settings)
    feeder = Feeder(dataset, "cpu", prefetch)
    alone: list[float] = []
    ratios: dict[str, list[float]] = {"wall": [], "processor": []}
    for turn in range(rounds + 1):
        samples = np.resize(order.epoch(turn), steps * batch)
        plan = [np.array_split(each, LANES) for each in np.split(samples, steps)]
        memory = timed(from_memory(inputs, targets, plan), step)
        disk = timed(feeder.batches(plan, turn), step)
        if turn:  # the first one warms up
            alone.append(memory[1] / steps * 1e3)
            for kind, one, other in zip(ratios, disk, memory):
                ratios[kind].append(one / other)
    shown = ", ".join(
        f"{kind} {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
        for kind, values in ratios.items()
    )
    print(f"  {title}: {statistics.median(alone):.1f} ms a step from memory; from disk: {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50, help="steps in a turn")
    parser.add_argument("--rounds", type=int, default=7, help="turns that count")
    parser.add_argument("--prefetch", type=int, default=4, help="steps read ahead")
    parser.add_argument("--place", help="folder for the sets; by default that for temporary files")
    given = parser.parse_args()
    torch.set_num_threads(1)
    turns = (given.steps, given.prefetch, given.rounds)
    print(
        f"a step fed from disk relative to one fed from memory: medians of {given.rounds} turns of "
        f"{given.steps} steps, {given.prefetch} read ahead"
    )
    with tempfile.TemporaryDirectory(dir=given.place) as scratch:
        line = write_set(Path(scratch, "line"), 1000, 11, 256)
        plane = write_set(Path(scratch, "plane"), 60, 40, 64, 64)
        packed = pack(write_set(Path(scratch, "packed"), 60, 40, 64, 64))
        windows = make_settings({"input": "u", "target": "u", "window": "4,1"})
        ends = make_settings({"input": "u:0", "target": "u:-1"})
        for title, folder, settings, batch, width in (
            ("1,000 lines of 256 points, first to last of 11 times, batch 32", line, ends, 32, 32),
            ("random windows of 4 + 1 of 40 times on 64 x 64 points, batch 16", plane, windows, 16, 8),
            ("the same, compressed", packed, windows, 16, 8),
        ):
            print(title)
            dataset = open_dataset(folder, "train", settings)
            compare("20 ms of matrix products", dataset, pretended(0.02), batch, *turns)
            compare("small network", dataset, network(dataset, width), batch, *turns)


if __name__ == "__main__":
    main()
