"""Measure what the scaling model needs, count messages, and scale the engines on the cores there are.

    python benchmarks/scaling.py latency              # a message between two processes, through mpi4py
    python benchmarks/scaling.py root                 # what rank 0 does for each ladder, what a gradient costs to add
    python benchmarks/scaling.py orders               # what an order and a joining worker cost Dask's scheduler
    python benchmarks/scaling.py counts --ranks 8 16 64
    python benchmarks/scaling.py strong --ranks 1 2   # the same work on more ranks: CPU and wall time
    python benchmarks/scaling.py weak --ranks 1 2     # work that grows with the ranks

Machines are shared: the least of several goes counts, ranks are run in turn, and ratios are what to read.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]


def launch(ranks: int, *words: object) -> dict[str, Any]:
    """Return what rank 0 of such a job printed as JSON."""
    command = [str(REPOSITORY / "launch" / "mpi.sh"), "-n", str(ranks), sys.executable, __file__]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    output = subprocess.run([*command, *map(str, words)], check=True, **pipes).stdout
    return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


def least(function: Callable[[], object], goes: int = 5, times: int = 1, clock=time.process_time) -> float:
    found = []
    for _ in range(goes):
        begun = clock()
        for _ in range(times):
            function()
        found.append((clock() - begun) / times)
    return min(found)


# --- latency ----------------------------------------------------------------------------------------------------------


def latency(options: argparse.Namespace) -> None:
    if not options.worker:
        found = launch(2, "latency", "--worker")
        print(f"half a round trip of 8 bytes: {found['small'] * 1e6:.2f} us")
        print(f"16 MiB: {found['bandwidth'] / 1e9:.2f} GB/s")
        print(f"a call on the rank alone (Allreduce of 4 bytes on COMM_SELF): {found['call'] * 1e6:.2f} us")
        print(f"Sendrecv of 8 bytes: {found['swap'] * 1e6:.2f} us")
        return
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    other = 1 - comm.rank

    def round_trip(buffer: np.ndarray, received: np.ndarray) -> None:
        if comm.rank == 0:
            comm.Send(buffer, other)
            comm.Recv(received, other)
        else:
            comm.Recv(received, other)
            comm.Send(buffer, other)

    def timed(size: int, times: int) -> float:
        buffer, received = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        comm.Barrier()
        return least(lambda: round_trip(buffer, received), 10, times, time.perf_counter) / 2

    one, back = np.zeros(1), np.zeros(1)
    flag = np.zeros(1, np.int32)
    small, large = timed(8, 1000), timed(16 << 20, 4)
    comm.Barrier()
    swap = least(lambda: comm.Sendrecv(one, other, recvbuf=back, source=other), 10, 1000, time.perf_counter)
    call = least(lambda: MPI.COMM_SELF.Allreduce(MPI.IN_PLACE, flag, MPI.MAX), 10, 1000)
    if comm.rank == 0:
        print(json.dumps({"small": small, "bandwidth": (16 << 20) / large, "call": call, "swap": swap}))


# --- what rank 0 and an update cost -----------------------------------------------------------------------------------


def root(_: argparse.Namespace) -> None:
    import torch

    from hpc_ds.infer import ensemble as ensembles
    from hpc_ds.infer.plan import Load, share
    from hpc_ds.infer.settings import Settings

    model, settings = spectrum(), Settings(replicas=24)
    one = ensembles.begin(model, 0, 0, settings)
    print(f"begin a ladder: {least(lambda: ensembles.begin(model, 0, 0, settings), 5, 10) * 1e3:.2f} ms")
    print(f"adapt a ladder: {least(lambda: ensembles.adapt(one, model, settings, True), 5, 20) * 1e3:.3f} ms")
    parcel = least(lambda: pickle.loads(pickle.dumps(one)), 5, 20)
    print(f"pack and unpack a ladder: {parcel * 1e3:.3f} ms, {len(pickle.dumps(one))} bytes")
    loads, ranks = [Load(24, 1.0)] * 4000, 100_000
    placed = least(lambda: share(loads, ranks), 2)
    print(
        f"place 4000 ladders on 100000 ranks: {placed:.2f} s, {placed / (ranks + 4000) * 1e6:.2f} us a rank or ladder"
    )
    torch.set_num_threads(1)
    a, b = torch.zeros(1_200_000), torch.ones(1_200_000)
    print(f"add gradients: {4 * 1_200_000 / least(lambda: torch.add(a, b, out=a), 5, 20) / 1e9:.2f} GB/s")
    weights = torch.nn.Parameter(torch.zeros(1_200_000))
    weights.grad = torch.ones_like(weights)
    adam = torch.optim.AdamW([weights])
    print(f"AdamW: {least(adam.step, 5, 5) / 1_200_000 * 1e9:.2f} ns a parameter")


def spectrum():
    from hpc_ds.infer.models.spectrum import SpectrumOptions, spectrum_models
    from hpc_ds.physics.spectra import nagata2012
    from hpc_ds.store.table import Table

    x, y, _ = nagata2012()
    table = Table(x=x, y=y, sigma=None, x_name="x", y_name="y", path="published")
    return spectrum_models(table, SpectrumOptions(peaks=(3,), priors="nagata2012"))[0]


# --- Dask's scheduler -------------------------------------------------------------------------------------------------


def orders(options: argparse.Namespace) -> None:
    """Time the process of scheduler and client, which is what limits, by its own CPU time."""
    if not options.worker:
        for ranks in options.ranks:
            found = launch(ranks, "orders", "--worker")
            print(
                f"{ranks} ranks: {found['order'] * 1e3:.2f} ms an order of scheduler and client, "
                f"{found['join'] * 1e3:.0f} ms a worker that joins (CPU time of rank 0)"
            )
        return
    import operator
    import tempfile

    from hpc_ds.runtime.deadline import Deadline
    from hpc_ds.runtime.world import get_world
    from hpc_ds.simulate.cluster import run_on_cluster
    from hpc_ds.simulate.job import Job
    from hpc_ds.simulate.settings import ClusterSettings

    world = get_world()
    folder = world.bcast(tempfile.mkdtemp())
    job = Job(folder, "session", "none", None, 1, 1, 0, 1)
    begun = time.process_time()

    def drive(cluster) -> tuple[float, float]:
        ready = time.process_time()
        while cluster.slots() < world.size:
            time.sleep(0.01)
        joined = (time.process_time() - ready) / world.size
        start = time.process_time()
        futures = [
            cluster.client.submit(operator.mul, i, i, pure=False, key=f"order-{i}") for i in range(1000)
        ]
        for future in futures:
            future.result()
        return (time.process_time() - start) / 1000, joined

    answer = run_on_cluster(world, ClusterSettings(processes=1), job, drive, Deadline(None, environ={}))
    if world.is_root:
        print(json.dumps({"order": answer[0], "join": answer[1], "all": time.process_time() - begun}))


# --- counts -----------------------------------------------------------------------------------------------------------


def counts(options: argparse.Namespace) -> None:
    if not options.worker:
        for ranks in options.ranks:
            for engine in options.engines:
                found = launch(ranks, "counts", "--worker", "--engine", engine)
                verdict = (
                    "as the model says"
                    if found["counted"] == found["expected"]
                    else f"model: {found['expected']}"
                )
                print(f"{ranks:3d} ranks, {engine}: {found['counted']} ({verdict})")
        return
    from hpc_ds.jobs.scaling.counting import CountingComm
    from hpc_ds.runtime.world import get_world

    world = get_world()
    world.comm = comm = CountingComm(world.comm)
    counted, expected = (count_infer if options.engine == "infer" else count_learn)(world, comm)
    every = [each for each in world.allgather((counted, expected))]
    if world.is_root:
        worst = next((each for each in every if each[0] != each[1]), every[0])
        print(json.dumps({"counted": worst[0], "expected": worst[1]}))


def count_infer(world, comm) -> tuple[dict[str, int], dict[str, int]]:
    """A ladder of two levels a rank, cut over all of them; calls and the bytes of the exchanges."""
    from hpc_ds.infer import priors as laws
    from hpc_ds.infer import sampler as module
    from hpc_ds.infer.archive import Memory
    from hpc_ds.infer.model import Model
    from hpc_ds.infer.settings import Settings, tuning_rounds
    from hpc_ds.jobs.scaling.counts import Phase, exchange_bytes, infer_calls
    from hpc_ds.runtime.deadline import Deadline

    module._SEGMENT_SECONDS = 0.0
    model = Model("m", {"a": laws.normal(0.0, 1.0)}, lambda theta, data: -float(theta @ theta), form="python")
    settings = Settings(draws=20, tuning=16, replicas=2 * world.size, sweeps=1, checkpoint_every=1e9)
    module.Sampler([model], settings, world, Memory(), Deadline(environ={})).run()
    phases = [Phase(n, n, 1) for n in (*tuning_rounds(16), 20)]
    expected = dict(infer_calls(phases, 1)) | {"bytes exchanged": exchange_bytes(2) * 36}
    return dict(comm.calls) | {"bytes exchanged": comm.sent["Allgatherv"]}, expected


def count_learn(world, comm) -> tuple[dict[str, int], dict[str, int]]:
    """Four steps of the reproducible reduction with a lane a rank."""
    import torch
    from torch import nn

    from hpc_ds.jobs.scaling import counts as model
    from hpc_ds.learn.distributed import join
    from hpc_ds.learn.reduction import make_reducer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, lanes = nn.Linear(40, 50), world.size
    x, y = torch.randn(lanes, 40), torch.randn(lanes, 50)
    with join(world, comm="mpi", device="cpu") as group:
        reducer = make_reducer("reproducible", network, group, lanes=lanes)
        comm.calls.clear(), comm.sent.clear()
        for _ in range(4):
            for key, samples in reducer.pieces(np.arange(lanes)):
                with reducer.piece(key, len(samples) / lanes):
                    (network(x[samples]) - y[samples]).square().sum().backward()
            reducer.finish()
        counted = dict(comm.calls) | {"bytes": sum(comm.sent.values())}
    length = model.flat_length((2000, 50), 0, world.size)
    expected = dict(model.reproducible_calls(4, world.size))
    return counted, expected | {"bytes": 4 * model.reproducible_bytes(length, world.size)}


# --- strong and weak scaling ------------------------------------------------------------------------------------------


def scale(options: argparse.Namespace) -> None:
    if options.worker:
        scale_worker(options)
        return
    weak = options.what == "weak"
    print(
        f"{options.what} scaling, least of {options.rounds} rounds in turn; {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for engine in options.engines:
        found: dict[int, list[dict[str, float]]] = {ranks: [] for ranks in options.ranks}
        for _ in range(options.rounds):
            for ranks in options.ranks:
                words = ["--worker", "--engine", engine, "--work", ranks if weak else 1]
                found[ranks].append(launch(ranks, options.what, *words))
        first = least_of(found[options.ranks[0]])
        for ranks in options.ranks:
            one, grown = least_of(found[ranks]), ranks if weak else 1
            efficiency = first["wall"] / one["wall"] * grown / ranks
            print(
                f"  {engine} {ranks} ranks: wall {one['wall']:.2f} s, efficiency {efficiency:.2f}; CPU of all ranks "
                f"{one['cpu']:.2f} s, {one['cpu'] / first['cpu'] / grown:.2f} times that of one rank a unit of work",
                flush=True,
            )


def least_of(every: list[dict[str, float]]) -> dict[str, float]:
    return {key: min(one[key] for one in every) for key in ("wall", "cpu")}


def scale_worker(options: argparse.Namespace) -> None:
    from hpc_ds.runtime.world import get_world

    world = get_world()
    work = (infer_work if options.engine == "infer" else learn_work)(world, options.work)
    work(0.1)
    world.barrier()
    wall, cpu = time.perf_counter(), time.process_time()
    work(1.0)
    cpu = time.process_time() - cpu
    world.barrier()
    wall = time.perf_counter() - wall
    total = sum(world.allgather(cpu))
    if world.is_root:
        print(json.dumps({"wall": wall, "cpu": total}))


def infer_work(world, times: int) -> Callable[[float], None]:
    """Sample three peaks: one ladder of 24, cut over the ranks (strong), or as many ladders as ranks (weak)."""
    from hpc_ds.infer.archive import Memory
    from hpc_ds.infer.sampler import Sampler
    from hpc_ds.infer.settings import Settings
    from hpc_ds.runtime.deadline import Deadline

    model = spectrum()

    def work(share: float) -> None:
        settings = Settings(draws=int(4000 * share), tuning=100, replicas=24, copies=times)
        Sampler([model], settings, world, Memory(), Deadline(environ={})).run()

    return work


def learn_work(world, times: int) -> Callable[[float], None]:
    """Make steps of the reproducible reduction: 16 samples in all (strong), or 16 a rank (weak)."""
    import torch

    from hpc_ds.learn.distributed import join
    from hpc_ds.learn.networks import build_network
    from hpc_ds.learn.reduction import make_reducer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_network("fno", {"width": 16, "modes": 12}, (1, 64, 64), (1, 64, 64), "fields")
    batch = 16 * times
    x = torch.randn(batch, 1, 64, 64)
    group = join(world, device="cpu")
    reducer = make_reducer("reproducible", network, group, lanes=batch // 4)
    optimiser = torch.optim.AdamW(network.parameters())

    def work(share: float) -> None:
        for _ in range(max(1, int(20 * share))):
            for key, samples in reducer.pieces(np.arange(batch)):
                with reducer.piece(key, len(samples) / batch):
                    (network(x[samples]) - x[samples]).square().mean().backward()
            reducer.finish()
            optimiser.step()

    return work


WHAT = {"latency": latency, "root": root, "orders": orders, "counts": counts, "strong": scale, "weak": scale}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--engines", nargs="+", choices=["infer", "learn"], default=["infer", "learn"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--engine", default="infer", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    WHAT[options.what](options)


if __name__ == "__main__":
    main()
