"""Which network addresses the processes of a cluster bind to: one interface, and only loopback where that will do."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

LOOPBACK = "127.0.0.1"

_FAST = ("ib", "hsn", "tofu", "opa", "bond")
"""Beginnings of the names of interfaces that are faster than others: InfiniBand, Slingshot, Tofu, Omni-Path, bonds."""

_VIRTUAL = ("docker", "virbr", "veth", "br-", "cni", "podman", "tun", "tap")
_PATIENCE = 2.0
"""Seconds within which a host must answer on an address."""


class Interface(NamedTuple):
    """A network interface's name and its address."""

    name: str
    address: str


def agree_on_addresses(world: World, interface: str | None) -> str:
    """Return the address that this rank's processes bind to; collective.

    That of `interface`. Without one, loopback if all ranks share one network stack. Else rank 0 listens for a moment on
    each of its addresses, fast networks first, and takes the first that all hosts reach; each host takes the
    address from which it reached it.

    Raises
    ------
    InputError
        On all ranks: a rank has no such interface, or no address of rank 0 is reached from everywhere.
    """
    if interface is not None:
        return agreed(world, address_of, interface)
    stacks = world.allgather(_network_stack())
    if len(set(stacks)) == 1:
        return LOOPBACK
    first_of_host = stacks.index(stacks[world.rank]) == world.rank
    with _listening(interfaces() if world.is_root else []) as doors:
        offered = world.bcast(doors)
        own = [_reached_from(door) if first_of_host else None for door in offered]
        answers = world.allgather(own)
    asked = {stack: answers[stacks.index(stack)] for stack in stacks}
    for number, _ in enumerate(offered):
        if all(answer[number] for answer in asked.values()):
            return asked[stacks[world.rank]][number] or LOOPBACK
    hosts = ", ".join(sorted({stack.split("/")[0] for stack in stacks}))
    raise InputError(
        f"no address of rank 0 ({', '.join(host for host, _ in offered) or 'it has none'}) is reached from all of "
        f"{hosts}: name the network between them, e.g. --interface ib0"
    )


def address_of(interface: str) -> str:
    """Return the address of this machine's interface of that name.

    Raises
    ------
    InputError
        There is none, naming those that there are.
    """
    there = interfaces(loopback=True)
    for name, address in there:
        if name == interface:
            return address
    names = ", ".join(dict.fromkeys(name for name, _ in there))
    raise InputError(f"--interface {interface}: {platform.node()} has no such interface; there are {names}")


def interfaces(loopback: bool = False) -> list[Interface]:
    """Return the interfaces that are up and have an address: fast networks first, virtual ones last, IPv4 first."""
    import psutil

    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = [
        (family != socket.AF_INET, _rank_of(name), Interface(name, entry.address))
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if name in up and (family := entry.family) in (socket.AF_INET, socket.AF_INET6)
        if not entry.address.startswith("fe80")
        and (loopback or not entry.address.startswith(("127.", "::1")))
    ]
    return [interface for _, _, interface in sorted(found, key=lambda item: item[:2])]


def _rank_of(name: str) -> int:
    return 0 if name.startswith(_FAST) else 2 if name.startswith(_VIRTUAL) else 1


def _network_stack() -> str:
    """Name what processes share that reach each other over loopback: a kernel and in it a network namespace."""
    marks = [platform.node()]
    with suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            marks.append(file.read().strip())
        marks.append(os.readlink("/proc/self/ns/net"))
    return "/".join(marks)


@contextmanager
def _listening(candidates: list[Interface]) -> Iterator[list[tuple[str, int]]]:
    """Listen on each of these addresses, saying nothing to anyone; gives host and port of each."""
    with ExitStack() as stack:
        doors = []
        for _, address in candidates:
            with suppress(OSError):
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                listener.bind((address, 0))
                listener.listen(socket.SOMAXCONN)
                doors.append((address, listener.getsockname()[1]))
        yield doors


def _reached_from(door: tuple[str, int]) -> str | None:
    """Return the own address from which `door` is reached, None if it is not."""
    try:
        with socket.create_connection(door, timeout=_PATIENCE) as connection:
            return connection.getsockname()[0]
    except OSError:
        return None
