"""The world of ranks gives the same answers on any number of ranks."""

import json
import os
import signal

import numpy as np
import pytest

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import RunFolder, read_state
from hpc_ds.runtime.progress import Progress, read_progress
from hpc_ds.runtime.threads import available_cores, cores_per_rank
from hpc_ds.runtime.world import get_world

pytestmark = pytest.mark.mpi


@pytest.fixture
def world():
    return get_world()


def test_every_rank_has_its_number(world):
    assert world.allgather(world.rank) == list(range(world.size))
    assert world.is_root == (world.rank == 0)


def test_values_travel(world):
    assert world.bcast({"from": world.rank}) == {"from": 0}
    gathered = world.gather(world.rank**2)
    assert gathered == ([rank**2 for rank in range(world.size)] if world.is_root else None)
    world.barrier()


def test_one_rank_that_says_yes_is_enough(world):
    for speaker in range(world.size):
        assert world.any(world.rank == speaker) is True
    assert world.any(False) is False


def test_floats_of_unequal_counts_are_joined_in_order(world):
    counts = [3 * rank % 4 for rank in range(world.size)]
    whole = np.random.default_rng(0).random(sum(counts))
    begin = sum(counts[: world.rank])
    out = np.full(len(whole), np.nan)
    world.allgather_floats(whole[begin : begin + counts[world.rank]], counts, out)
    assert np.array_equal(out, whole)


def test_the_root_goes_first_and_all_have_its_result(world):
    calls = []

    def function(value):
        calls.append(value)
        return value + world.rank

    assert world.root_first(function, 5) == 5
    assert calls == ([5] if world.is_root else [])


def test_an_error_of_the_root_is_raised_on_all_ranks(world):
    def refuse():
        raise InputError("data.csv: empty")

    with pytest.raises(InputError, match=r"data\.csv: empty"):
        world.root_first(refuse)


def test_a_result_or_error_that_cannot_be_sent_is_an_error_on_all_ranks(world):
    class LocalError(Exception):
        pass

    def fail():
        raise LocalError("local")

    with pytest.raises(LocalError if world.is_root else RuntimeError, match="local"):
        world.root_first(fail)
    if world.size > 1:
        with pytest.raises(Exception, match=r"pickle|Can't get local"):
            world.root_first(lambda: lambda: None)


def test_posted_messages_are_found_in_order_by_whom_they_are_for(world):
    for number in range(3):
        world.post((world.rank, number), (world.rank + 1) % world.size)
    sender = (world.rank - 1) % world.size
    found = []
    while len(found) < 3:
        found += world.poll()
    assert found == [(sender, (sender, number)) for number in range(3)]
    world.barrier()
    assert world.poll() == []


def test_sub_worlds_are_renumbered_and_only_their_members_take_part(world):
    even = list(range(0, world.size, 2))[::-1]
    part = world.split(even) if world.rank in even else None
    if part is not None:
        assert (part.rank, part.size) == (even.index(world.rank), len(even))
        assert part.allgather(world.rank) == even
        part.free()
        part.free()
    world.barrier()


def test_all_ranks_may_call_split_and_outsiders_get_none(world):
    part = world.split([world.size - 1])
    assert (part is None) == (world.rank != world.size - 1)
    if part is not None:
        part.free()


def test_worlds_can_be_split_often_without_running_out(world):
    for _ in range(300):
        part = world.split(range(world.size))
        assert part.any(part.rank == 0)
        part.free()


def test_cores_are_shared_out_without_overlap(world):
    total = sum(world.allgather(cores_per_rank(world)))
    assert total <= max(available_cores(), world.size)


def test_a_signal_to_one_rank_is_a_decision_of_all(world):
    with Deadline(environ={}) as deadline:
        assert not deadline.agreed(world)
        world.barrier()
        if world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        assert deadline.agreed(world) and deadline.agreed(world)
        assert deadline.reason() == "signal SIGUSR1"


def test_reasons_differ_but_the_first_rank_that_has_one_is_heard(world):
    deadline = Deadline(environ={})
    deadline.stop(f"rank {world.rank}")
    assert deadline.agreed(world) and deadline.reason() == "rank 0"


def test_a_run_folder_is_made_once_for_all_ranks(world, mpi_tmp_path):
    path = mpi_tmp_path / "run"
    with RunFolder.open(path, "infer", {"draws": 1}, {"draws"}, world, ["hpc-ds"], 1) as run:
        assert run.path == path and run.previous_state is None
        run.set_state("done")
        assert run.state == "done"
    world.barrier()
    assert read_state(path)["state"] == "done"
    assert json.loads((path / "provenance.json").read_text())["ranks"] == world.size


def test_a_folder_is_refused_on_all_ranks_alike(world, mpi_tmp_path):
    path = mpi_tmp_path / "run"
    RunFolder.open(path, "infer", {"seed": 1}, set(), world, ["hpc-ds"], 1).close()
    with pytest.raises(InputError, match="seed is 1 there and 2 here"):
        RunFolder.open(path, "infer", {"seed": 2}, set(), world, ["hpc-ds"], 1)


def test_progress_is_recorded_by_the_root_alone(world, mpi_tmp_path):
    path = mpi_tmp_path / "progress.jsonl"
    with Progress(world, path, 10, "x") as shown:
        shown.update(10)
    world.barrier()
    assert len(read_progress(path)) == 1
