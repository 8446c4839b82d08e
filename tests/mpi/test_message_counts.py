"""What the engines hand to MPI is what the scaling model counts: calls and bytes, on this number of ranks."""

from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from hpc_ds.jobs.scaling import counts
from hpc_ds.jobs.scaling.counting import CountingComm
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import get_world

pytestmark = pytest.mark.mpi


@pytest.fixture
def world():
    return get_world()


@contextmanager
def counted(world):
    """Count in `world` for a while; yields the counting communicator, in a world of one rank one without calls."""
    comm = world.comm
    counting = CountingComm(comm)
    if comm is None:
        yield counting
        return
    world.comm = counting
    try:
        yield counting
    finally:
        world.comm = comm


# ---- replica exchange --------------------------------------------------------------------------------------------

# Eight: no replica's middle lies where 2, 3 or 4 equal shares meet, where rounding of a measured cost would decide.
LEVELS, PARAMETERS, DRAWS, TUNING = 8, 3, 40, 48


@pytest.fixture
def run(world, monkeypatch):
    """One ladder, cut into stretches, which looks at the clock after every scan; returns what was counted."""
    from hpc_ds.infer import priors as laws
    from hpc_ds.infer import sampler as module
    from hpc_ds.infer.archive import Memory
    from hpc_ds.infer.model import Model
    from hpc_ds.infer.settings import Settings

    monkeypatch.setattr(module, "_SEGMENT_SECONDS", 0.0)
    prior = {"a": laws.normal(0.0, 1.0), "b": laws.normal(0.0, 1.0), "c": laws.uniform(0.0, 1.0)}
    model = Model("m", prior, lambda theta, data: -float(theta @ theta), form="python")

    def sample(draws=DRAWS):
        settings = Settings(draws=draws, tuning=TUNING, replicas=LEVELS, sweeps=1, checkpoint_every=1e9)
        with counted(world) as comm:
            sampler = module.Sampler([model], settings, world, Memory(), Deadline(environ={}))
            assert sampler.run()
        return comm

    return sample


def own_replicas(world) -> int:
    from hpc_ds.infer.plan import Load, share

    return sum(p.stop - p.start for p in share([Load(LEVELS, 1.0)], world.size) if p.rank == world.rank)


def test_calls_of_replica_exchange_are_those_of_the_model(world, run):
    from hpc_ds.infer.settings import tuning_rounds

    found = run().calls
    if world.size == 1:
        assert not found
        return
    phases = [counts.Phase(n, segments=n, checkpoints=1) for n in (*tuning_rounds(TUNING), DRAWS)]
    assert found == counts.infer_calls(phases, pieces=1)


def test_an_exchange_carries_the_own_log_likelihoods_and_nothing_else(world, run):
    sent = run().sent["Allgatherv"]
    scans = TUNING + DRAWS
    assert sent == (counts.exchange_bytes(own_replicas(world)) * scans if world.size > 1 else 0)


def test_more_draws_cost_as_many_bytes_as_the_model_says(world, run):
    """Draws and states are pickled: what is beside the arrays does not grow with the draws."""
    few, many = (run(draws).sent["gather"] for draws in (DRAWS, 11 * DRAWS))
    grown = sum(world.allgather(many - few))
    expected = 10 * DRAWS * counts.draw_bytes(LEVELS, PARAMETERS)
    if (
        world.size > 1
    ):  # twice: within the ladder to its first holder, with the row numbers, and then to the scribe
        rows = 8 * 10 * DRAWS
        assert grown == pytest.approx(2 * (expected + rows), rel=0.01, abs=64 * world.size)


# ---- training ----------------------------------------------------------------------------------------------------


def gradient_steps(world, kind, steps, counting=True, by_halves=True):
    """Return what was counted in so many steps, the network's last norm, and the length of the flat vector."""
    import torch
    from torch import nn

    from hpc_ds.learn.distributed import join
    from hpc_ds.learn.reduction import make_reducer

    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(10, 33), nn.GELU(), nn.Linear(33, 3))
    x, y = torch.randn(16, 10), torch.randn(16, 3)
    norms = []
    with counted(world) as comm, join(world, comm="mpi" if world.size > 1 else "auto", device="cpu") as group:
        group.can_swap = by_halves and group.can_swap
        reducer = make_reducer(kind, network, group, lanes=16)
        before, sent = comm.calls.copy(), comm.sent.copy()
        for _ in range(steps):
            for key, samples in reducer.pieces(np.arange(16)):
                with reducer.piece(key, len(samples) / 16):
                    ((network(x[samples]) - y[samples]).square().sum() / 16).backward()
            norms.append(reducer.finish())
        calls = Counter(comm.calls)
        calls.subtract(before)
        bytes_ = Counter(comm.sent)
        bytes_.subtract(sent)
    gradients = b"".join(p.grad.numpy().tobytes() for p in network.parameters())
    return +calls, +bytes_, norms, gradients


SIZES = (330, 33, 99, 3)


@pytest.mark.parametrize("steps", [1, 5])
def test_the_reproducible_sum_sends_what_the_model_says(world, steps):
    if world.size & (world.size - 1):
        pytest.skip("such a number of ranks cannot share a binary tree")
    calls, sent, _, _ = gradient_steps(world, "reproducible", steps)
    assert calls == counts.reproducible_calls(steps, world.size)
    length = counts.flat_length(SIZES, 0, world.size)
    assert sum(sent.values()) == steps * counts.reproducible_bytes(length, world.size)


def test_the_sum_by_halves_has_the_bits_of_the_sum_at_once(world):
    if world.size & (world.size - 1):
        pytest.skip("such a number of ranks cannot share a binary tree")
    by_halves = gradient_steps(world, "reproducible", 1)
    at_once = gradient_steps(world, "reproducible", 1, by_halves=False)
    assert by_halves[2:] == at_once[2:]
    if world.size > 1:
        assert at_once[0] == {"Alltoall": 1, "Allgather": 1}


def test_the_fast_sum_makes_one_call_a_bucket(world):
    calls, sent, _, _ = gradient_steps(world, "fast", 3)
    assert calls == counts.fast_calls(3, world.size, buckets=1, tail=0)
    length = counts.flat_length(SIZES, 0, 1)
    assert sum(sent.values()) == (3 * 4 * length if world.size > 1 else 0)


# ---- ensembles ---------------------------------------------------------------------------------------------------


def test_a_cluster_costs_two_messages_a_rank(world, mpi_tmp_path):
    from hpc_ds.simulate.cluster import run_on_cluster
    from hpc_ds.simulate.job import Job
    from hpc_ds.simulate.settings import ClusterSettings

    job = Job(str(mpi_tmp_path), "session", "none", None, 1, 1, 0, 1)
    with counted(world) as comm:
        run_on_cluster(
            world, ClusterSettings(processes=1), job, lambda cluster: None, Deadline(None, environ={})
        )
    expected = counts.cluster_posts(world.size, world.rank) if world.size > 1 else 0
    assert comm.calls["isend"] == expected
