"""What launchers say, which interface gloo gets, and a world over torch.distributed without MPI."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from hpc_ds.learn.distributed import join
from hpc_ds.learn.rendezvous import choose_interface, interfaces, local_rank
from hpc_ds.learn.threading import set_threads
from hpc_ds.learn.torch_world import find_launch, first_node
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

TORCH = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_ID": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_ID": "77"}


def test_torchrun_is_found_and_its_agent_serves_the_store():
    launch = find_launch({**TORCH, "TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"})
    assert (launch.rank, launch.size, launch.address, launch.port, launch.serves) == (
        1,
        4,
        "node1",
        29500,
        False,
    )


def test_variables_alone_will_do_and_rank_0_serves_the_store():
    assert find_launch(TORCH).serves


def test_an_mpi_launcher_goes_before_such_variables_but_not_before_torchrun():
    mpi = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    assert find_launch({**mpi, **TORCH}) is None
    assert find_launch({**mpi, **TORCH, "TORCHELASTIC_RUN_ID": "1"}).size == 4


def test_srun_without_an_mpi_plugin_is_found():
    launch = find_launch({**SLURM, "SLURM_STEP_NODELIST": "node[003-007,012],login1"})
    assert (launch.rank, launch.size, launch.address, launch.serves) == (3, 8, "node003", True)
    other = find_launch({**SLURM, "SLURM_STEP_ID": "3", "SLURM_STEP_NODELIST": "node1"})
    assert other.port != launch.port


def test_srun_with_an_mpi_plugin_is_left_to_mpi():
    assert find_launch({**SLURM, "PMIX_RANK": "3"}) is None


def test_nothing_is_found_where_nobody_launched():
    assert find_launch({"SLURM_JOB_ID": "5", "PATH": "/bin"}) is None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is not set although WORLD_SIZE is"),
        ({**TORCH, "WORLD_SIZE": "two"}, "WORLD_SIZE=two: it must be a whole number"),
    ],
)
def test_half_a_launch_is_refused_by_name(environ, words):
    with pytest.raises(InputError, match=words):
        find_launch(environ)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a12", "a12"), ("a[01-04]", "a01"), ("a[7,9]-ib,b", "a7-ib"), ("c1,c2", "c1"), ("", "")],
)
def test_the_first_node_of_a_list_of_slurm(nodes, first):
    assert first_node(nodes) == first


def test_gloo_gets_the_interface_that_reaches_the_others():
    here = {"lo": "127.0.0.1", "eth0": "10.0.0.7", "ib0": "10.1.0.7"}
    assert choose_interface({}, here, "127.0.0.1", True) == "lo"
    assert choose_interface({}, here, "10.1.0.7", False) == "ib0"
    assert choose_interface({"GLOO_SOCKET_IFNAME": "eth0"}, here, "10.1.0.7", False) == "eth0"
    assert choose_interface({}, here, "fe80::1", False) is None


def test_an_interface_of_the_users_that_cannot_do_is_refused():
    here = {"lo": "127.0.0.1", "eth0": "10.0.0.7"}
    with pytest.raises(InputError, match=r"GLOO_SOCKET_IFNAME=ib0: .* has no such interface .* lo, eth0"):
        choose_interface({"GLOO_SOCKET_IFNAME": "ib0"}, here, "10.0.0.7", False)
    with pytest.raises(InputError, match=r"its address 127\.0\.0\.1 cannot be reached from other hosts"):
        choose_interface({"GLOO_SOCKET_IFNAME": "lo"}, here, "10.0.0.7", False)
    assert choose_interface({"GLOO_SOCKET_IFNAME": "lo"}, here, "127.0.0.1", True) == "lo"


def test_this_machine_has_a_loopback():
    assert "127.0.0.1" in interfaces().values()


def test_a_world_of_one_needs_nothing():
    with join(World(), device="cpu") as group:
        assert (group.rank, group.size, group.backend, group.device) == (0, 1, "none", torch.device("cpu"))
        tensor = torch.arange(3.0)
        group.all_reduce_(tensor)
        group.broadcast_(tensor)
        assert torch.equal(group.all_gather(group.all_to_all(tensor)), torch.arange(3.0))
    assert not torch.distributed.is_initialized()
    assert local_rank(World()) == (0, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is CUDA")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"--device cuda: torch .* sees no CUDA device on rank 0"):
        join(World(), device="cuda")


def test_threads_are_set_as_told_and_too_many_are_a_warning():
    before = torch.get_num_threads()
    try:
        assert set_threads(1, World()) is None
        assert torch.get_num_threads() == 1
        warning = set_threads(1000, World())
        assert warning.startswith("1000 threads on each of 1 ranks, but a rank has ")
    finally:
        torch.set_num_threads(before)


# ---- ranks without MPI: each a process that knows its number -------------------------------------------------

WORLD = """
import os, signal, sys, time
import numpy as np
from hpc_ds.learn.distributed import learn_world
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import install_abort_hook
world = learn_world()
install_abort_hook(world)
"""

CALLS = """
assert learn_world() is world and world.comm is None
assert (world.rank, world.size) == (int(os.environ["RANK"]), 3)
assert world.bcast(("from", world.rank)) == ("from", 0)
assert world.gather(world.rank ** 2) == ([0, 1, 4] if world.is_root else None)
assert world.allgather(world.rank) == [0, 1, 2]
assert world.any(world.rank == 1) and not world.any(False)
assert world.all_arrive(20.0)
out = np.empty(3)
world.allgather_floats(np.full(world.rank, float(world.rank)), [0, 1, 2], out)
assert out.tolist() == [1.0, 2.0, 2.0]
world.post(("hello", world.rank), (world.rank + 1) % 3)
world.barrier()
assert world.poll() == [((world.rank - 1) % 3, ("hello", (world.rank - 1) % 3))] and world.poll() == []
assert world.root_first(lambda: world.rank + 5) == 5
def refuse():
    raise InputError("data.h5: empty")
try:
    world.root_first(refuse)
except InputError as error:
    assert str(error) == "data.h5: empty"
else:
    raise AssertionError
for _ in range(3):
    part = world.split([0, 2])
    assert (part is None) == (world.rank == 1)
    if part is not None:
        assert part.allgather(world.rank) == [0, 2] and part.rank == world.rank // 2
        again = part.split([1])
        assert (again is None) == (part.rank == 0)
        turned = part.split([1, 0])
        assert turned.allgather(world.rank) == [2, 0] and turned.rank == 1 - part.rank
        part.barrier()
        part.free()
if world.rank == 1:
    time.sleep(1.0)
print("rank", world.rank, "is through")
"""

SUMS = """
import torch
from hpc_ds.learn.distributed import join
for _ in range(2):
    with join(world, device="cpu") as group:
        assert group.backend == "gloo"
        tensor = torch.full((5,), float(world.rank + 1))
        group.all_reduce_(tensor)
        assert tensor.tolist() == [6.0] * 5
part = world.split([1, 2])
if part is not None:
    with join(part, device="cpu") as group:
        assert group.all_gather(torch.tensor([world.rank])).tolist() == [1, 2]
        tensor = torch.tensor([float(world.rank)])
        group.broadcast_(tensor, src=1)
        assert tensor.item() == 2.0
try:
    join(world, comm="mpi", device="cpu")
except InputError as error:
    assert "no MPI launcher started these ranks" in str(error)
print("rank", world.rank, "is through")
"""


@pytest.fixture
def start(plain_environment):
    """Start ranks of a script, each a plain process; those that live on are killed at the end."""
    children = []

    def run(script: str, ranks: int = 3) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for rank in range(ranks):
            told = {"RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environ = {**plain_environment, **{name: str(value) for name, value in told.items()}}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            children.append(subprocess.Popen([sys.executable, "-c", WORLD + script], env=environ, **pipes))
        return children

    yield run
    for child in children:
        child.kill()
        child.communicate()


def ends(children: list[subprocess.Popen], seconds: float = 60.0) -> list[tuple[int, str, str]]:
    outputs = [child.communicate(timeout=seconds) for child in children]
    return [(child.returncode, *output) for child, output in zip(children, outputs)]


@pytest.mark.parametrize("script", [CALLS, SUMS], ids=["calls", "sums"])
def test_ranks_without_mpi_do_all_that_a_world_does(script, start):
    for rank, (code, out, err) in enumerate(ends(start(script))):
        assert (code, out) == (0, f"rank {rank} is through\n"), err


@pytest.mark.parametrize("rank", [0, 1])
def test_an_exception_on_one_rank_ends_all_of_them(rank, start):
    children = start(f"world.barrier()\nif world.rank == {rank}: 1 / 0\ntime.sleep(600)")
    found = ends(children)
    assert [code for code, _, _ in found] == [1, 1, 1]
    assert f"rank {rank} of 3 failed and ends all ranks" in found[rank][2]


@pytest.mark.parametrize("rank", [0, 1])
def test_no_rank_waits_for_one_that_was_killed(rank, start):
    children = start(
        "world.barrier()\nprint('here', flush=True)\nwhile True: world.barrier(); time.sleep(0.05)"
    )
    for child in children:
        assert child.stdout.readline() == "here\n"
    time.sleep(0.2)
    os.kill(children[rank].pid, signal.SIGKILL)
    assert all(code != 0 for code, _, _ in ends(children))


def test_ranks_that_leave_alike_leave_with_their_code(start):
    assert [code for code, _, _ in ends(start("world.barrier()\nsys.exit(75)"))] == [75, 75, 75]


def test_all_arrive_gives_up_on_those_that_do_not_come(start):
    script = "came = world.rank < 2 and world.all_arrive(0.5)\nworld.barrier()\nprint(came)"
    assert [out for _, out, _ in ends(start(script))] == ["False\n"] * 3
