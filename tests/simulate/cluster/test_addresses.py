"""Processes bind to loopback where that will do, else to the interface that is asked for or found."""

import threading

import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.simulate import addresses
from hpc_ds.simulate.addresses import LOOPBACK, address_of, agree_on_addresses, interfaces


class Pair(World):
    """Two ranks that are two threads."""

    def __init__(self, rank, shared, meeting):
        super().__init__()
        self.rank, self.size, self._shared, self._meeting = rank, 2, shared, meeting

    def allgather(self, value):
        self._shared[self.rank] = value
        self._meeting.wait()
        values = list(self._shared)
        self._meeting.wait()
        return values

    def bcast(self, value):
        return self.allgather(value)[0]


def on_two_hosts(monkeypatch, function):
    """Call `function(world)` on two ranks that believe they are on two hosts."""
    shared, meeting, results = [None, None], threading.Barrier(2, timeout=20), [None, None]
    monkeypatch.setattr(addresses, "_network_stack", lambda: threading.current_thread().name)

    def run(rank):
        try:
            results[rank] = function(Pair(rank, shared, meeting))
        except InputError as error:
            results[rank] = str(error)

    threads = [threading.Thread(target=run, args=(rank,), name=f"host{rank}/x") for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_one_machine_needs_loopback_only():
    assert agree_on_addresses(World(), None) == LOOPBACK


def test_an_interface_that_is_asked_for_is_taken_on_one_machine_too():
    assert agree_on_addresses(World(), "lo") == LOOPBACK
    with pytest.raises(InputError, match="no-such-thing"):
        agree_on_addresses(World(), "no-such-thing")


def test_an_interface_has_its_address_and_a_wrong_one_names_those_that_there_are():
    assert address_of("lo") == LOOPBACK
    with pytest.raises(InputError, match=r"--interface ib7: .* has no such interface; there are .*lo"):
        address_of("ib7")


def test_between_hosts_the_interface_that_is_asked_for_is_taken(monkeypatch):
    assert on_two_hosts(monkeypatch, lambda world: agree_on_addresses(world, "lo")) == [LOOPBACK] * 2


def test_between_hosts_the_first_address_that_all_reach_is_taken(monkeypatch):
    # 192.0.2.1 is nobody's (RFC 5737), so that rank 0 cannot listen there; the second is this machine's.
    offers = [addresses.Interface("ib0", "192.0.2.1"), addresses.Interface("eth0", LOOPBACK)]
    monkeypatch.setattr(addresses, "interfaces", lambda: offers)
    assert on_two_hosts(monkeypatch, lambda world: agree_on_addresses(world, None)) == [LOOPBACK] * 2


def test_hosts_that_do_not_reach_each_other_are_told(monkeypatch):
    monkeypatch.setattr(addresses, "interfaces", lambda: [])
    for text in on_two_hosts(monkeypatch, lambda world: agree_on_addresses(world, None)):
        assert "no address of rank 0 (it has none) is reached from all of host0, host1" in text
        assert "--interface ib0" in text


def test_loopback_is_no_address_between_hosts():
    assert all(not address.startswith("127.") for _, address in interfaces())
    assert addresses._rank_of("ib0") < addresses._rank_of("eth0") < addresses._rank_of("docker0")
