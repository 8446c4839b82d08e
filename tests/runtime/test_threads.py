"""Cores are shared out among the ranks of a machine, and the user's own settings win."""

import os
import sys
import types

import pytest

from hpc_ds.runtime import threads
from hpc_ds.runtime.world import World


class FakeWorld(World):
    """A world in which the other ranks answer what they are told to."""

    def __init__(self, *others):
        super().__init__()
        self.others = others

    def allgather(self, value):
        return [value, *((value[0] if host is None else host, mask) for host, mask in self.others)]


@pytest.fixture
def machine(monkeypatch):
    """Eight free cores, no quota, no SLURM."""
    monkeypatch.setattr(threads, "_core_mask", lambda: 0xFF)
    monkeypatch.setattr(threads, "_quota", lambda: float("inf"))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)


def test_one_rank_has_all_cores(machine):
    assert threads.cores_per_rank(World()) == 8


def test_unbound_ranks_share_the_cores_of_their_machine(machine):
    assert threads.cores_per_rank(FakeWorld((None, 0xFF), (None, 0xFF), ("elsewhere", 0xFF))) == 2


def test_bound_ranks_keep_their_own_cores(machine, monkeypatch):
    monkeypatch.setattr(threads, "_core_mask", lambda: 0x0F)
    assert threads.cores_per_rank(FakeWorld((None, 0xF0))) == 4


def test_more_ranks_than_cores_still_have_one_each(machine):
    assert threads.cores_per_rank(FakeWorld(*[(None, 0xFF)] * 20)) == 1


def test_container_quota_is_shared_too(machine, monkeypatch):
    monkeypatch.setattr(threads, "_quota", lambda: 4.0)
    assert threads.cores_per_rank(FakeWorld((None, 0xFF))) == 2


def test_slurm_allotment_is_a_limit(machine, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert threads.cores_per_rank(World()) == 3


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", float("inf")), ("150000 100000", 1.5), ("", float("inf"))]
)
def test_quota_is_read_from_the_control_group(text, cores, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
    assert threads._quota() == cores


def test_limit_leaves_the_users_settings_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in threads._VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    threads.limit_threads(2)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("7", "2")
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_torch_is_told_only_if_it_is_there(monkeypatch):
    told = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(set_num_threads=told.append))
    threads.limit_threads(3)
    assert told == [3]


def test_zero_threads_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        threads.limit_threads(0)
