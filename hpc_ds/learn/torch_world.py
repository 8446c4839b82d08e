"""A world of ranks without MPI: torchrun's, srun's without an MPI plugin, or any that tells each its number."""

from __future__ import annotations

import atexit
import os
import pickle
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hpc_ds.learn.rendezvous import choose_interface, ends_towards, host, interfaces
from hpc_ds.runtime.errors import EXIT_FAILURE, InputError
from hpc_ds.runtime.world import SharedWorld, World, checked_ranks, launched_ranks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_LOOK = 0.5
"""Seconds between looks at whether a rank has ended the job."""

_FOR_EVER = timedelta(days=365)
"""How long ranks wait for others that have more to do; one that is gone ends all through the store."""

_FAREWELL = 30.0
"""Seconds that rank 0, on which the store lives, waits at the end for the others to be through with it."""

_MEETING = timedelta(minutes=5)
"""How long ranks wait at the start for those that come up later."""

_ENDED = "ended"
_LEFT = "left"
_HOST = "host"
_ONE_HOST = "one_host"
_SEEN = "seen"
_TORCH = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_FIRST_PORT, _PORTS = 20000, 12000
"""Ports from which a job takes one by its number where nothing names it: below those that systems hand out."""


@dataclass(frozen=True)
class Launch:
    """What a launcher told this process: its number, how many there are, and where rank 0 is to be found.

    `serves` tells whether rank 0 must open the store itself; torchrun's agent has done so. `attempt` counts how
    often that agent has started the ranks anew beside the same store.
    """

    rank: int
    size: int
    address: str
    port: int
    serves: bool
    attempt: int = 0


def find_launch(environ: Mapping[str, str]) -> Launch | None:
    """Return what the environment says of a launcher that is not MPI's; None if it is MPI's or there is none.

    Raises
    ------
    InputError
        A variable is missing or no number.
    """
    if "TORCHELASTIC_RUN_ID" in environ:
        return _of_torch(environ)
    in_step = "SLURM_STEP_ID" in environ and "SLURM_PROCID" in environ
    by_mpi = launched_ranks({name: value for name, value in environ.items() if name != "SLURM_PROCID"})
    if by_mpi is not None:
        return None
    if "RANK" in environ and "WORLD_SIZE" in environ:
        return _of_torch(environ)
    return _of_slurm(environ) if in_step else None


class TorchWorld(SharedWorld):
    """Several ranks that talk through gloo; the same answers and errors as the world of an MPI launcher.

    A thread of its own watches for the end of the job, so that a rank which fails takes all others with it,
    whatever they wait for, within seconds.
    """

    def __init__(self, ranks: Sequence[int], rank: int, job: dist.Store, name: str) -> None:
        super().__init__()
        self.rank, self.size = rank, len(ranks)
        self._ranks = list(ranks)
        self._job, self._name = job, name
        self._store = dist.PrefixStore(f"world/{name}", job)
        within = dist.PrefixStore("gloo", self._store)
        self.group = dist.ProcessGroupGloo(within, self.rank, self.size, timeout=_FOR_EVER)
        self._meetings = 0
        self._read = 0
        self._splits: Counter[tuple[int, ...]] = Counter()

    @classmethod
    def start(cls, launch: Launch) -> TorchWorld:
        """Return the world of all ranks, once they have all come; called once in a process.

        Raises
        ------
        InputError
            They did not come within five minutes, or the port is taken.
        """
        store = _meet(launch)
        _name_interface(launch, store)
        watch = _Watch(_connect(launch, is_server=False))
        watch.start()
        world = cls(range(launch.size), launch.rank, store, "all")
        atexit.register(_leave, launch, store, watch)
        return world

    def bcast(self, value: T) -> T:
        """Return rank 0's `value` on all ranks."""
        parcel = _packed(value) if self.is_root else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(parcel)])
        self.group.broadcast([length], dist.BroadcastOptions()).wait()
        parcel.resize_(int(length))
        self.group.broadcast([parcel], dist.BroadcastOptions()).wait()
        return value if self.is_root else _unpacked(parcel)

    def gather(self, value: T) -> list[T] | None:
        """Return the values of all ranks on rank 0 and None elsewhere."""
        every = self.allgather(value)
        return every if self.is_root else None

    def allgather(self, value: T) -> list[T]:
        """Return the values of all ranks."""
        parcel = _packed(value)
        lengths = [int(length) for length in self._joined(torch.tensor([len(parcel)]))]
        padded = torch.zeros(max(lengths), dtype=torch.uint8)
        padded[: len(parcel)] = parcel
        return [_unpacked(part[:length]) for part, length in zip(self._joined(padded), lengths)]

    def allgather_floats(
        self, send: NDArray[np.float64], counts: Sequence[int], out: NDArray[np.float64]
    ) -> None:
        """Join the ranks' numbers in the order of ranks."""
        mine = torch.zeros(max(1, *counts), dtype=torch.float64)
        mine[: len(send)] = torch.from_numpy(send)
        parts = [part[:count] for part, count in zip(self._joined(mine), counts)]
        torch.cat(parts, out=torch.from_numpy(out))

    def post(self, message: Any, rank: int) -> None:
        """Leave a message for `rank` in the store."""
        checked_ranks([rank], self.size)
        number = self._store.add(f"letters/{rank}", 1)
        self._store.set(f"letter/{rank}/{number}", pickle.dumps((self.rank, message)))

    def poll(self) -> list[tuple[int, Any]]:
        """Fetch the messages that the store holds for this rank."""
        waiting = range(self._read + 1, self._store.add(f"letters/{self.rank}", 0) + 1)
        self._read = waiting.stop - 1
        return [pickle.loads(self._store.get(f"letter/{self.rank}/{number}")) for number in waiting]

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true on one of the ranks."""
        return any(part.item() for part in self._joined(torch.tensor([flag])))

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.group.barrier(dist.BarrierOptions()).wait()

    def all_arrive(self, seconds: float) -> bool:
        """Wait for all ranks, at most `seconds`."""
        self._meetings += 1
        key, end = f"arrived/{self._meetings}", time.monotonic() + seconds
        here = self._store.add(key, 1)
        while here < self.size:
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK / 10)
            here = self._store.add(key, 0)
        return True

    def split(self, ranks: Sequence[int]) -> World | None:
        """Return the world of the given ranks, renumbered in that order; None on the other ranks."""
        chosen = tuple(checked_ranks(ranks, self.size))
        if self.rank not in chosen:
            return None
        self._splits[chosen] += 1
        everywhere = [self._ranks[rank] for rank in chosen]
        name = f"{self._name}/{'-'.join(map(str, chosen))}:{self._splits[chosen]}"
        return TorchWorld(everywhere, chosen.index(self.rank), self._job, name)

    def abort(self, code: int = EXIT_FAILURE) -> NoReturn:
        """End all ranks through the store, which each of them watches."""
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            self._job.set(_ENDED, str(code))
            time.sleep(2.5 * _LOOK)  # the store may live in this process: let the others read it first
        finally:
            os._exit(code)

    def _joined(self, mine: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, which have one shape."""
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        self.group.allgather([parts], [mine]).wait()
        return parts


class _Watch(threading.Thread):
    """Ends this process when another rank has ended the job, or when rank 0 and its store are gone."""

    def __init__(self, store: dist.Store) -> None:
        super().__init__(name="hpc-ds watch", daemon=True)
        self._store = store  # a connection of its own: in the other one a call may wait for a long time
        self._left = threading.Event()

    def run(self) -> None:
        while not self._left.wait(_LOOK):
            try:
                code = int(self._store.get(_ENDED)) if self._store.check([_ENDED]) else None
            except RuntimeError:
                code = EXIT_FAILURE
            if code is not None and not self._left.is_set():
                os._exit(code)

    def leave(self) -> None:
        self._left.set()
        self.join()


def _of_torch(environ: Mapping[str, str]) -> Launch:
    missing = [name for name in _TORCH if not environ.get(name)]
    if missing and environ.get("WORLD_SIZE") != "1":
        raise InputError(
            f"{missing[0]} is not set although WORLD_SIZE is: start the ranks with torchrun or mpiexec, "
            f"or set {', '.join(_TORCH)}"
        )
    rank, size = _number(environ, "RANK", "0"), _number(environ, "WORLD_SIZE", "1")
    serves = environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    port, attempt = _number(environ, "MASTER_PORT", "0"), _number(environ, "TORCHELASTIC_RESTART_COUNT", "0")
    return Launch(rank, size, environ.get("MASTER_ADDR", ""), port, serves, attempt)


def _of_slurm(environ: Mapping[str, str]) -> Launch | None:
    size = int(environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS") or 1)
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_NODELIST", "")
    job = int(environ.get("SLURM_JOB_ID", "0")) * 61 + int(environ["SLURM_STEP_ID"])
    port = int(environ.get("MASTER_PORT") or _FIRST_PORT + job % _PORTS)
    return Launch(
        int(environ["SLURM_PROCID"]), size, environ.get("MASTER_ADDR") or first_node(nodes), port, True
    )


def first_node(nodes: str) -> str:
    """Return the first host of a list as SLURM writes it: node[003-007,012],login1 begins with node003."""
    found = re.match(r"([^\[,]*)(?:\[([^\]]*)\]([^,\[]*))?", nodes)
    assert found is not None  # every part of it may be empty
    stem, inside, rest = found.groups()
    return stem + (re.split("[-,]", inside)[0] if inside else "") + (rest or "")


def _number(environ: Mapping[str, str], name: str, default: str) -> int:
    text = environ.get(name) or default
    if not text.isdigit():
        raise InputError(f"{name}={text}: it must be a whole number")
    return int(text)


def _meet(launch: Launch) -> dist.Store:
    where = f"rank 0 at {launch.address}, port {launch.port}"
    try:
        return _connect(launch, is_server=launch.serves and launch.rank == 0)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"rank {launch.rank} cannot meet {where} ({reason}): set MASTER_ADDR, MASTER_PORT"
        ) from error


def _connect(launch: Launch, is_server: bool) -> dist.Store:
    store = dist.TCPStore(
        launch.address, launch.port, is_master=is_server, timeout=_MEETING, wait_for_workers=False
    )
    return dist.PrefixStore(f"hpc_ds/{launch.attempt}", store)


def _name_interface(launch: Launch, store: dist.Store) -> None:
    """Let gloo listen where the hosts reach each other, not at the address that the host's name has."""
    store.set(f"{_HOST}/{launch.rank}", host())
    if launch.rank == 0:
        hosts = {store.get(f"{_HOST}/{rank}") for rank in range(launch.size)}
        store.set(_ONE_HOST, "yes" if len(hosts) == 1 else "no")
    one_host = store.get(_ONE_HOST) == b"yes"
    own = "127.0.0.1" if one_host else _own_address(launch, store)
    name = choose_interface(os.environ, interfaces(), own, one_host)
    if name is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = name


def _own_address(launch: Launch, store: dist.Store) -> str:
    """Return this host's address between hosts; that of rank 0's host is what another host sees of it."""
    if store.get(f"{_HOST}/0").decode() == host():
        return store.get(_SEEN).decode()
    own, root = ends_towards(launch.address, launch.port)
    store.set(_SEEN, root)
    return own


def _packed(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)


def _unpacked(parcel: Tensor) -> Any:
    return pickle.loads(parcel.numpy().tobytes())


def _leave(launch: Launch, store: dist.Store, watch: _Watch) -> None:
    """Say good-bye at the end of the process; rank 0, with the store, leaves last."""
    watch.leave()
    try:
        left, end = store.add(_LEFT, 1), time.monotonic() + _FAREWELL
        while launch.rank == 0 and left < launch.size and time.monotonic() < end:
            time.sleep(_LOOK / 10)
            left = store.add(_LEFT, 0)
    except RuntimeError:
        pass  # the store is gone, and with it those who wait for this rank
