"""A communicator that counts what goes through it."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

_PICKLED = ("bcast", "gather", "allgather", "isend")
_BUFFERED = ("Allgatherv", "Allgather", "Alltoall", "Sendrecv", "Allreduce", "Iallreduce", "Bcast")
_BARE = ("Barrier", "Ibarrier")


class CountingComm:
    """An mpi4py communicator that notes its calls and the bytes that this rank hands over.

    Put it in a world's place of the communicator: ``world.comm = CountingComm(world.comm)``. Communicators that are
    made from it count into the same place.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
    calls, sent : Counter, optional
        Where to count; new ones by default.

    Attributes
    ----------
    calls : Counter
        Calls by MPI's name.
    sent : Counter
        Bytes by the same names. Of objects the pickle is counted, and of a broadcast on its root only.
    """

    def __init__(
        self, comm: Any, calls: Counter[str] | None = None, sent: Counter[str] | None = None
    ) -> None:
        self._comm = comm
        self.calls: Counter[str] = Counter() if calls is None else calls
        self.sent: Counter[str] = Counter() if sent is None else sent

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._comm, name)
        if name not in (*_PICKLED, *_BUFFERED, *_BARE):
            return function

        def counted(*values: Any, **options: Any) -> Any:
            self.calls[name] += 1
            self.sent[name] += self._bytes(name, values, options)
            return function(*values, **options)

        return counted

    def Create_group(self, group: Any) -> Any:  # noqa: N802 - MPI's name
        """Make a communicator that counts into the same place."""
        self.calls["Create_group"] += 1
        return CountingComm(self._comm.Create_group(group), self.calls, self.sent)

    def _bytes(self, name: str, values: tuple[Any, ...], options: dict[str, Any]) -> int:
        if name in _BARE:
            return 0
        if name in _PICKLED:
            idle = name == "bcast" and self._comm.Get_rank() != options.get("root", 0)
            return 0 if idle else len(pickle.dumps(values[0]))
        given = values[0] if hasattr(values[0], "__len__") else values[1]  # MPI.IN_PLACE comes first
        return memoryview(given).nbytes
