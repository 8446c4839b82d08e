"""Compare what trained Fourier neural operators reach: ours, and neuraloperator's in the same CPU time; see README.md.

Each set is learned by `hpc_ds.learn.train` with a number of epochs that fills the budget, and then by neuraloperator's
FNO of the same modes and width, in a plain loop over tensors in memory: its loss (LpLoss), AdamW, the same batch, the
same kind of schedule over as many epochs as its own steps allow. Its normalisation is by channel, as ours.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
from torch import Tensor

from hpc_ds.learn.plan import make_plan
from hpc_ds.learn.run import train
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.allocator import keep_freed_memory

BATCH = 20
RATE = 3e-3
SETTINGS = {
    "batch": BATCH,
    "reduction": "fast",
    "schedule": "one-cycle",
    "learning_rate": RATE,
    "weight_decay": 1e-4,
}
MODES = {1: (32,), 2: (12, 12)}
WIDTH = {1: 64, 2: 32}
PAPER = "nu = 0.1, our generator, 256 points"

Pair = tuple[Tensor, Tensor]


def burgers_set(folder: Path) -> Path:
    """Make the set of Li et al. (2021): 1,000 and 100 samples, about, with nu = 0.1 on 256 points."""
    space = folder / "space.toml"
    space.write_text("[parameters]\nviscosity = 0.1\n")
    words = [
        "--parameters",
        space,
        "--samples",
        "1100",
        "--split",
        "0.909,0,0.091",
        "--out",
        folder / "burgers",
    ]
    command = [
        sys.executable,
        "-c",
        "from hpc_ds.cli import main; main()",
        "simulate",
        "burgers",
        *map(str, words),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder / "burgers"


def sets(data: Path | None, folder: Path) -> list[tuple[str, Path, dict[str, Any]]]:
    """Name, place and selection of each set."""
    found = [(f"Burgers, {PAPER}", burgers_set(folder), {"input": "u:0", "target": "u:-1"})]
    if data is not None:
        real = data / "pde_neuralop"
        found.append(("Darcy, neuraloperator's files, 16 x 16", real / "darcy_train_16.npz", {}))
        with (
            np.load(real / "burgers_train_16.npz") as train_set,
            np.load(real / "burgers_test_16.npz") as test_set,
        ):
            last = folder / "burgers16.npz"
            arrays = {"x_train": train_set["x"], "y_train": train_set["y"][:, -1]}
            np.savez(last, **arrays, x_test=test_set["x"], y_test=test_set["y"][:, -1])
        found.append(("Burgers, neuraloperator's files, 16 points, last time", last, {}))
    return found


def modes_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(modes, points) for modes, points in zip(MODES[len(shape) - 1], shape[1:]))


def ours(data: Path, selection: dict[str, Any], seconds: float, folder: Path) -> tuple[float, int, float]:
    """Relative L2 error on test, epochs and CPU seconds of `hpc_ds.learn.train`."""

    def run(epochs: int, name: str) -> tuple[float, float]:
        plan = make_plan("fno", data, {}, make_settings(selection))
        shape = plan.card.input_shape
        options = {"modes": list(modes_of(shape)), "width": WIDTH[len(shape) - 1]}
        start = time.process_time()
        words = {**SETTINGS, **selection, "epochs": epochs}
        told = train("fno", data, folder=folder / name, options=options, tell=lambda line: None, **words)
        return told.metrics["test"]["relative_l2"], time.process_time() - start

    run(1, "warm")
    first, second = run(1, "one")[1], run(4, "four")[1]
    epochs = max(1, int((seconds - first) / ((second - first) / 3.0)))
    error, spent = run(epochs, "whole")
    return error, epochs, spent


def tensors(data: Path, selection: dict[str, Any]) -> tuple[Pair, Pair]:
    """Train and test as tensors."""
    splits = make_plan("fno", data, {}, make_settings(selection)).splits
    found = []
    for split in ("train", "test"):
        dataset = splits[split]
        inputs = np.empty((len(dataset), *dataset.input_shape), np.float32)
        targets = np.empty((len(dataset), *dataset.target_shape), np.float32)
        dataset.read(np.arange(len(dataset)), inputs, targets)
        found.append((torch.from_numpy(inputs), torch.from_numpy(targets)))
    return found[0], found[1]


def theirs(train_pair: Pair, test_pair: Pair, seconds: float) -> tuple[float, int, float]:
    """The same of neuraloperator's FNO."""
    from neuralop.losses import LpLoss
    from neuralop.models import FNO

    torch.manual_seed(1)
    x, y = train_pair
    dims = tuple(range(2, x.ndim))
    mean_x, std_x = x.mean((0, *dims), keepdim=True), x.std((0, *dims), keepdim=True)
    mean_y, std_y = y.mean((0, *dims), keepdim=True), y.std((0, *dims), keepdim=True)
    network = FNO(
        n_modes=modes_of(tuple(x.shape[1:])),
        in_channels=x.shape[1],
        out_channels=y.shape[1],
        hidden_channels=WIDTH[len(dims)],
    )
    loss = LpLoss(d=len(dims), p=2)

    def epoch(optimiser: Any, rate: Any) -> None:
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            said = network((x[rows] - mean_x) / std_x) * std_y + mean_y
            (loss(said, y[rows]) / len(rows)).backward()
            optimiser.step()
            rate.step()

    def optimised(steps: int) -> tuple[Any, Any]:
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=SETTINGS["weight_decay"])
        return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps + 1)

    per_epoch = -(-len(x) // BATCH)
    state = copy.deepcopy(network.state_dict())
    parts = optimised(2 * per_epoch)
    epoch(*parts)
    start = time.process_time()
    epoch(*parts)
    epochs = max(1, int(seconds / (time.process_time() - start)))
    network.load_state_dict(state)
    parts = optimised(epochs * per_epoch)
    start = time.process_time()
    for _ in range(epochs):
        epoch(*parts)
    spent = time.process_time() - start
    with torch.no_grad():
        said = network((test_pair[0] - mean_x) / std_x) * std_y + mean_y
        error = (said - test_pair[1]).flatten(1).norm(dim=1) / test_pair[1].flatten(1).norm(dim=1)
    return float(error.mean()), epochs, spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="CPU seconds of each training")
    parser.add_argument("--peer", help="folder that pip install --target FOLDER neuraloperator filled")
    parser.add_argument("--data", type=Path, help="folder of real data; default: $HPC_DS_DATA")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of sets, from 0")
    asked = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    if asked.peer:
        sys.path.append(asked.peer)
    data = asked.data or (Path(os.environ["HPC_DS_DATA"]) if os.environ.get("HPC_DS_DATA") else None)
    print(f"relative L2 error on test after {asked.seconds:g} CPU s of one thread, batch {BATCH}, one seed")
    print(f"{'':54}{'ours':>10}{'epochs':>8}{'CPU s':>8}{'neuraloperator':>16}{'epochs':>8}{'CPU s':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, place, selection) in enumerate(sets(data, Path(scratch))):
            if asked.only and number not in asked.only:
                continue
            error, epochs, spent = ours(place, selection, asked.seconds, Path(scratch, f"runs{number}"))
            line = f"{name:54}{error:10.5f}{epochs:8d}{spent:8.0f}"
            if asked.peer:
                error, epochs, spent = theirs(*tensors(place, selection), asked.seconds)
                line += f"{error:16.5f}{epochs:8d}{spent:8.0f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
