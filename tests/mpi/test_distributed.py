"""What carries tensors between ranks does what it says, over MPI and over gloo."""

import pytest
import torch

from hpc_ds.learn import rendezvous
from hpc_ds.learn.distributed import join, learn_world
from hpc_ds.learn.threading import set_threads
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import get_world

pytestmark = pytest.mark.mpi


@pytest.fixture
def world():
    return learn_world()


@pytest.fixture(params=["mpi", "gloo"])
def group(request, world):
    with join(world, comm=request.param, device="cpu") as joined:
        yield joined


def test_the_world_under_an_mpi_launcher_is_mpis(world):
    assert world is get_world()


def test_auto_is_mpi_on_cpu_and_needs_no_torch_distributed(world):
    with join(world, device="cpu") as group:
        assert group.backend == ("mpi" if world.size > 1 else "none")
        assert (group.rank, group.size) == (world.rank, world.size)
    assert not torch.distributed.is_initialized()


def test_segments_change_places(group):
    k = 5
    send = torch.arange(float(group.size * k)) + 100.0 * group.rank
    received = group.all_to_all(send).view(group.size, k)
    mine = torch.arange(float(k)) + k * group.rank
    assert torch.equal(received, torch.stack([mine + 100.0 * rank for rank in range(group.size)]))


def test_parts_are_joined_in_the_order_of_ranks(group):
    expected = torch.arange(group.size).repeat_interleave(3)
    part = torch.full((3,), group.rank)
    assert torch.equal(group.all_gather(part), expected)
    out = torch.empty_like(expected)
    assert group.all_gather(part, out=out) is out and torch.equal(out, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_sums_are_in_place_and_of_a_slice_too(dtype, group):
    tensor = torch.full((7,), group.rank + 1, dtype=dtype)
    group.all_reduce_(tensor[2:5])
    total = group.size * (group.size + 1) // 2
    assert tensor.tolist() == [group.rank + 1] * 2 + [total] * 3 + [group.rank + 1] * 2


def test_several_sums_under_way_do_not_mix(group):
    tensors = [torch.full((1000,), float(number * (group.rank + 1))) for number in range(5)]
    pending = [group.start_all_reduce(tensor) for tensor in tensors]
    for one in pending:
        one.test()
    for one in pending:
        one.wait()
    total = group.size * (group.size + 1) / 2
    assert all(torch.equal(t, torch.full((1000,), number * total)) for number, t in enumerate(tensors))


def test_one_rank_tells_all(group):
    for source in range(group.size):
        tensor = torch.full((4,), float(group.rank))
        group.broadcast_(tensor, src=source)
        assert tensor.tolist() == [float(source)] * 4


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_groups_side_by_side_and_within_each_other(comm, world):
    part = world.split([rank for rank in range(world.size) if rank % 2 == world.rank % 2])
    with join(world, comm=comm, device="cpu") as whole, join(part, comm=comm, device="cpu") as half:
        one = torch.ones(1)
        half.all_reduce_(one)
        assert one.item() == part.size
        whole.all_reduce_(one)
        assert one.item() == sum(size for size in world.allgather(part.size))
    part.free()


def test_ranks_of_one_host_are_numbered_and_meet_on_its_loopback(world, monkeypatch):
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert rendezvous.local_rank(world) == (world.rank, world.size)
    if world.size > 1:
        with join(world, comm="gloo", device="cpu"):
            name = rendezvous.os.environ["GLOO_SOCKET_IFNAME"]
            assert rendezvous.interfaces()[name] == "127.0.0.1"


def test_ranks_of_several_hosts_do_not_meet_on_a_loopback(world, monkeypatch):
    if set(rendezvous.interfaces().values()) == {"127.0.0.1"} or world.size == 1:
        pytest.skip("needs two ranks and a network interface beside the loopback")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(rendezvous, "host", lambda: f"node{world.rank}")
    assert rendezvous.local_rank(world) == (0, 1)
    with join(world, comm="gloo", device="cpu") as group:
        name = rendezvous.os.environ["GLOO_SOCKET_IFNAME"]
        assert not rendezvous.interfaces()[name].startswith("127.")
        one = torch.ones(1)
        group.all_reduce_(one)
        assert one.item() == world.size


def test_an_interface_that_one_rank_has_not_is_refused_on_all(world, monkeypatch):
    if world.size == 1:
        pytest.skip("needs two ranks")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    if world.rank == world.size - 1:
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none0")
    with pytest.raises(InputError, match=r"GLOO_SOCKET_IFNAME=none0: .* has no such interface"):
        join(world, comm="gloo", device="cpu")


def test_nccl_without_cuda_is_refused(world):
    if world.size == 1:
        pytest.skip("needs two ranks")
    with pytest.raises(InputError, match="--comm nccl: it needs CUDA devices"):
        join(world, comm="nccl", device="cpu")


def test_the_warning_of_too_many_threads_is_the_same_on_all_ranks(world):
    before = torch.get_num_threads()
    warnings = world.allgather(set_threads(999, world))
    torch.set_num_threads(before)
    assert len(set(warnings)) == 1 and f"999 threads on each of {world.size} ranks" in warnings[0]
