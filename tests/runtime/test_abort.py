"""One failing rank ends all ranks with its own traceback; a signal to one rank stops all of them together."""

import json
import sys

import pytest

START = """
import json, os, signal, sys, time
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import get_world, install_abort_hook
world = get_world()
install_abort_hook()
"""

ONE_RAISES = """
def simulate():
    if world.rank == 1:
        raise ArithmeticError("negative mass")
simulate()
world.barrier()
time.sleep(600)
"""

ROOT_RAISES = """
def read():
    raise ArithmeticError("no such star")
world.root_first(read)
"""

BAD_INPUT = """
def read():
    raise InputError("data.csv, line 3: text")
try:
    world.root_first(read)
except InputError as error:
    print(f"{world.rank}: {error}", flush=True)
"""

SIGNALLED = """
deadline = Deadline(environ={})
deadline.install_signals()
if world.rank == 1:
    os.kill(os.getpid(), signal.NAME)
rounds = 0
while not deadline.agreed(world):
    rounds += 1
everyone = world.allgather((rounds, deadline.reason()))
if world.is_root:
    print(json.dumps(everyone))
"""


@pytest.fixture
def ranks(mpiexec, repository):
    pytest.importorskip("mpi4py")
    return lambda code, n=2: mpiexec(n, [sys.executable, "-c", START + code], cwd=repository, timeout=60)


def test_an_exception_on_one_rank_ends_all_with_its_traceback(ranks):
    result = ranks(ONE_RAISES)
    assert result.returncode != 0
    assert "rank 1 of 2 failed" in result.stderr and "ArithmeticError: negative mass" in result.stderr
    assert "in simulate" in result.stderr and "rank 0 of 2 failed" not in result.stderr


def test_an_exception_on_the_root_is_printed_once(ranks):
    result = ranks(ROOT_RAISES)
    assert result.returncode != 0
    assert result.stderr.count("ArithmeticError: no such star") == 1 and "rank 0 of 2 failed" in result.stderr


def test_bad_input_met_by_the_root_is_bad_input_on_all_ranks(ranks):
    result = ranks(BAD_INPUT)
    assert result.returncode == 0
    assert sorted(result.stdout.splitlines()) == ["0: data.csv, line 3: text", "1: data.csv, line 3: text"]


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_signal_to_one_rank_stops_all_in_the_same_round(ranks, name):
    result = ranks(SIGNALLED.replace("NAME", name))
    assert result.returncode == 0
    first, second = json.loads(result.stdout)
    assert first == second and first[1] == f"signal {name}"
