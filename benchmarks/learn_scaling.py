"""Measure the claims on training over several ranks: see benchmarks/README.md.

Ranks are launched by launch/mpi.sh, in turn; the best of the rounds counts, because everything else that the machine
does only adds to it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hpc_ds.learn.distributed import Group, join, learn_world
from hpc_ds.learn.networks import build_network
from hpc_ds.learn.reduction import check_ranks, make_reducer
from hpc_ds.learn.threading import set_threads
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import install_abort_hook

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = 5
BATCH = 32
SHAPES = {"fno": ((1, 64, 64), (1, 64, 64), "fields"), "resnet18": ((1, 64, 64), (4,), "classify")}
OPTIONS = {"fno": {"width": 32, "modes": 12}, "resnet18": {}}
COLUMNS = ("reproducible", "fast", "ddp")
Step = Callable[[], None]


# --- the parent: launches, in turn, and prints ------------------------------------------------------------------------


def launch(ranks: int, network: str, comm: str, steps: int) -> dict[str, dict[str, float]]:
    """Return what rank 0 of such a job measured."""
    worker = [
        sys.executable,
        __file__,
        "--worker",
        "--networks",
        network,
        "--comm",
        comm,
        "--steps",
        str(steps),
    ]
    command = [str(REPOSITORY / "launch" / "mpi.sh"), "-n", str(ranks), *worker]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    output = subprocess.run(command, check=True, **pipes).stdout
    return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


def measure(network: str, ranks: list[int], rounds: int, steps: int) -> None:
    jobs = [(number, comm) for number in ranks for comm in (("mpi", "gloo") if number > 1 else ("mpi",))]
    found: dict[tuple[int, str], list[dict[str, dict[str, float]]]] = {job: [] for job in jobs}
    for _ in range(rounds):
        for job in jobs:
            found[job].append(launch(job[0], network, job[1], steps))
    best = {
        (*job, kind): min(one[kind]["seconds"] for one in every if kind in one)
        for job, every in found.items()
        for kind in COLUMNS
        if kind in every[0]
    }
    one = {kind: best[1, "mpi", "fast" if kind == "ddp" else kind] for kind in COLUMNS}
    parameters = found[jobs[0]][0]["network"]["parameters"]
    print(f"\n{network}: {parameters:,.0f} parameters, batch {BATCH}, milliseconds a step, best of {rounds}")
    print(
        "ranks comm  " + "".join(f"{kind:>14} {'speed-up':>9}" for kind in COLUMNS) + "   reproducible/fast"
    )
    for job in jobs:
        cells = [
            f"{best[*job, kind] * 1e3:14.1f} {one[kind] / best[*job, kind]:9.2f}"
            if (*job, kind) in best
            else " " * 24
            for kind in COLUMNS
        ]
        ratio = (
            f"{best[*job, 'reproducible'] / best[*job, 'fast']:20.3f}"
            if (*job, "reproducible") in best
            else ""
        )
        print(f"{job[0]:5d} {job[1]:5s} " + "".join(cells) + ratio)
    for job in jobs:
        if job[0] > 1:
            for kind in ("reproducible", "fast"):
                if kind in found[job][0]:
                    calls = {k: v for k, v in found[job][0][kind].items() if k != "seconds"}
                    print(f"  {job[0]} ranks, {job[1]}, {kind}: " + report_of_calls(calls))


def report_of_calls(calls: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:.1f}" for name, number in calls.items()) + " a step"


# --- a rank -----------------------------------------------------------------------------------------------------------


class Counting:
    """Counts what a group is asked to carry."""

    def __init__(self, group: Group) -> None:
        self.calls: Counter[str] = Counter()
        for name in ("swap", "all_to_all", "all_gather", "start_all_reduce"):
            setattr(group, name, self._counted(name, getattr(group, name)))

    def _counted(self, name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(tensor: Tensor, *args: object, **options: object) -> object:
            self.calls[name] += 1
            self.calls["MB"] += tensor.numel() * tensor.element_size() / 1e6
            return function(tensor, *args, **options)

        return call


def our_step(kind: str, network: str, group: Group) -> Step:
    made, x, y = problem(network)
    reducer = make_reducer(kind, made, group, lanes=8)
    optimiser = torch.optim.AdamW(made.parameters())
    batch = np.arange(BATCH)

    def step() -> None:
        for key, samples in reducer.pieces(batch):
            with reducer.piece(key, len(samples) / BATCH):
                torch.manual_seed(key)
                loss(reducer.network(x[samples]), y[samples]).backward()
        reducer.finish()
        optimiser.step()

    return step


def ddp_step(network: str, group: Group) -> Step:
    """The same with torch's own DistributedDataParallel, which goes over gloo."""
    made, x, y = problem(network)
    wrapped = nn.parallel.DistributedDataParallel(
        made, process_group=group.process_group(), gradient_as_bucket_view=True
    )
    optimiser = torch.optim.AdamW(made.parameters())
    mine = np.array_split(np.arange(BATCH), group.size)[group.rank]

    def step() -> None:
        optimiser.zero_grad(set_to_none=False)
        (loss(wrapped(x[mine]), y[mine]) * group.size).backward()
        gradients = [p.grad for p in made.parameters() if p.grad is not None]
        torch.nn.utils.get_total_norm(gradients)
        optimiser.step()

    return step


def problem(network: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    inputs, outputs, task = SHAPES[network]
    made = build_network(network, OPTIONS[network], inputs, outputs, task)
    y = torch.arange(BATCH) % outputs[0] if task == "classify" else torch.randn(BATCH, *outputs)
    return made, torch.randn(BATCH, *inputs), y


def loss(prediction: Tensor, target: Tensor) -> Tensor:
    if target.dtype == torch.int64:
        return nn.functional.cross_entropy(prediction, target, reduction="sum") / BATCH
    return (prediction - target).square().flatten(1).mean(1).sum() / BATCH


def seconds(step: Step, group: Group, steps: int) -> float:
    """Return the wall time of a step after two to warm up, in the best of three goes."""
    step(), step()
    found = []
    for _ in range(3):
        group.world.barrier()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        group.world.barrier()
        found.append((time.perf_counter() - start) / steps)
    return min(found)


def work(network: str, comm: str, steps: int) -> None:
    world = learn_world()
    install_abort_hook(world)
    set_threads(1, world)
    results: dict[str, dict[str, float]] = {
        "network": {"parameters": sum(p.numel() for p in problem(network)[0].parameters())}
    }
    with join(world, comm=comm if world.size > 1 else "auto", device="cpu") as group:
        counting = Counting(group)
        for kind in ("reproducible", "fast"):
            try:
                check_ranks(kind, 8, world.size)
            except InputError:
                continue
            step = our_step(kind, network, group)
            step()
            counting.calls.clear()
            step()
            per_step = dict(counting.calls)
            results[kind] = {**per_step, "seconds": seconds(step, group, steps)}
        if comm == "gloo":
            results["ddp"] = {"seconds": seconds(ddp_step(network, group), group, steps)}
    if world.is_root:
        print(json.dumps(results), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=[*SHAPES], default=[*SHAPES])
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2], help="the first must be 1")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--comm", default="mpi", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.networks[0], options.comm, options.steps)
        return
    for network in options.networks:
        measure(network, options.ranks, options.rounds, options.steps)


if __name__ == "__main__":
    main()
