"""Where ranks meet for torch.distributed: a store on rank 0, and a network interface that the others reach."""

from __future__ import annotations

import fcntl
import os
import platform
import socket
import struct
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for the others in a collective call before it takes them for dead."""

_INTERFACE = "GLOO_SOCKET_IFNAME"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SIOCGIFADDR = 0x8915
"""Linux's request for an interface's IPv4 address, of <bits/ioctls.h>."""

_KNOCK = 3.0
"""Seconds that rank 0 has to answer at one of its addresses."""


def open_store(world: World) -> dist.Store:
    """Return a store that all ranks of `world` share, on a free port of rank 0; collective.

    Sets GLOO_SOCKET_IFNAME, which gloo reads, to the interface through which this rank reaches rank 0: left to
    itself gloo takes the address that the host's name has, which is 127.0.1.1 on many machines, and then the
    ranks of several hosts wait for each other for ever. A value that the user has set stays and is checked.

    Raises
    ------
    InputError
        Rank 0 cannot be reached, or the interface that the user named is not there or is a loopback.
    """
    one_host = len(set(world.allgather(host()))) == 1
    store, port, addresses = None, 0, ["127.0.0.1"]
    if world.is_root:
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=PATIENCE, wait_for_workers=False)
        port = store.port
        addresses = ["127.0.0.1"] if one_host else _own_addresses(os.environ)
    port, addresses = world.bcast((port, addresses))
    address = agreed(world, _reachable, addresses, port)
    own, _ = agreed(world, ends_towards, address, port)
    interface = agreed(world, choose_interface, os.environ, interfaces(), own, one_host)
    if interface is not None:
        os.environ[_INTERFACE] = interface
    if store is None:
        store = dist.TCPStore(address, port, is_master=False, timeout=PATIENCE, wait_for_workers=False)
    return store


def host() -> str:
    """Return what tells this machine from others: containers of one machine may differ in name only."""
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    return f"{platform.node()} {boot}"


def local_rank(world: World) -> tuple[int, int]:
    """Return this rank's number among those of its host, and how many these are; collective."""
    hosts = world.allgather(host())
    return hosts[: world.rank].count(hosts[world.rank]), hosts.count(hosts[world.rank])


def interfaces() -> dict[str, str]:
    """Return the IPv4 address of each network interface that has one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # no IPv4 address
            found[name] = socket.inet_ntoa(answer[20:24])
    return found


def ends_towards(address: str, port: int) -> tuple[str, str]:
    """Return the IP addresses of both ends of a connection from here to a listening port.

    Raises
    ------
    InputError
        There is no connection.
    """
    try:
        with socket.create_connection((address, port), timeout=_KNOCK) as line:
            return str(line.getsockname()[0]), str(line.getpeername()[0])
    except OSError as error:
        raise InputError(
            f"{platform.node()} cannot reach {address}, port {port} ({error.strerror})"
        ) from error


def choose_interface(
    environ: Mapping[str, str], addresses: Mapping[str, str], own: str, one_host: bool
) -> str | None:
    """Return the interface that gloo should listen on; None to leave it to gloo (no IPv4 here).

    Parameters
    ----------
    environ : mapping
        Where the user may have named it.
    addresses : mapping of str to str
        This machine's interfaces and their addresses.
    own : str
        The address of this machine that takes part in its connections with the other ranks.
    one_host : bool
        Whether all ranks are on one machine.

    Raises
    ------
    InputError
        The interface that the user named is not there, or is a loopback although there are several hosts.
    """
    if environ.get(_INTERFACE):
        for name in environ[_INTERFACE].split(","):
            _check_interface(name, addresses, one_host)
        return environ[_INTERFACE]
    return next((name for name, address in addresses.items() if address == own), None)


def _check_interface(name: str, addresses: Mapping[str, str], one_host: bool) -> None:
    if name not in addresses:
        raise InputError(
            f"{_INTERFACE}={name}: {platform.node()} has no such interface with an IPv4 address; "
            f"it has {', '.join(addresses)}"
        )
    if not one_host and addresses[name].startswith("127."):
        raise InputError(
            f"{_INTERFACE}={name}: its address {addresses[name]} cannot be reached from other hosts; "
            f"{platform.node()} has {', '.join(addresses)}"
        )


def _own_addresses(environ: Mapping[str, str]) -> list[str]:
    """Return where other hosts may find this one, the likeliest first."""
    named = environ.get("MASTER_ADDR", "")
    try:
        of_name = [str(found[4][0]) for found in socket.getaddrinfo(platform.node(), None, socket.AF_INET)]
    except OSError:
        of_name = []
    every = [address for address in [*of_name, *interfaces().values()] if not address.startswith("127.")]
    return list(dict.fromkeys([named, *every] if named else every)) or [platform.node()]


def _reachable(addresses: Sequence[str], port: int) -> str:
    for address in addresses:
        try:
            socket.create_connection((address, port), timeout=_KNOCK).close()
            return address
        except OSError:
            continue
    raise InputError(
        f"{platform.node()} cannot reach rank 0 at {' or '.join(addresses)}, port {port}: "
        "name an address of rank 0's host that can be reached in MASTER_ADDR"
    )
