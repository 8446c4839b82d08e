"""A group of ranks that compute one sample of an MPI simulator together, and agree on what became of it."""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from hpc_ds.runtime.errors import EXIT_FAILURE, StorageError
from hpc_ds.runtime.world import World
from hpc_ds.simulate.bench import failed_sample, may_pass, traceback_of
from hpc_ds.simulate.recording import Samples
from hpc_ds.simulate.simulator import Fields, Parameters, Stop
from hpc_ds.store.journal import Journal
from hpc_ds.store.quarantine import FailedSample, write_failure

if TYPE_CHECKING:
    from mpi4py import MPI

PATIENCE = 60.0
"""Seconds that a rank on which a sample failed waits for the others of its group, which may never come; twice the
longest sample so far if that is more."""

_ABORTING = 5.0
"""Seconds that the launcher gets to end all ranks before this one ends itself: some miss it when two speak at once."""

_FORWARDED = 0.2
"""Seconds that the launcher gets to forward a rank's last words."""

_LONGEST_PAUSE = 0.005
"""Seconds between looks at what is waited for long: waiting ranks leave the processor to others."""


class RankGroup:
    """Some consecutive ranks, the first of which decides what they compute.

    The simulator gets a communicator of its own, so that nothing that it leaves undone is taken for a message of the
    engine's; after a sample that failed it gets a new one. MPI is called from the caller's thread only.

    Parameters
    ----------
    world : World
        The ranks of the job.
    members : sequence of int
        Those of the group; making one is collective over them.
    folder : Path
        The run folder.
    name : str
        Unique among all groups of all sessions.
    samples : Samples
        With a simulator whose `simulate` takes ``(parameters, rng, comm)``.

    Attributes
    ----------
    rank : int
        This rank's number in the group.
    """

    def __init__(
        self, world: World, members: Sequence[int], folder: Path, name: str, samples: Samples
    ) -> None:
        inner = world.split(members)
        assert inner is not None and inner.comm is not None, "only members make a group"
        self.rank = inner.rank
        self._world, self._inner, self._comm = world, inner, inner.comm
        self._mpi = sys.modules["mpi4py.MPI"]
        self._folder, self._name, self._samples = folder, name, samples
        self._lent: MPI.Intracomm = self._comm.Dup()
        self._longest = 0.0

    def compute(self, index: int) -> Fields:
        """Have all ranks compute a sample and return its fields; on the first rank, while the others `follow`.

        Raises
        ------
        Exception
            What the simulator raised on one of the ranks: `Stop` if one of them did, else that of the lowest rank. If
            the others do not come, because they wait for that rank in the simulator, the job is ended.
        """
        call = (index, self._samples.parameters(index))
        self._say(call)
        return self._simulate(*call)

    def follow(self, look: Callable[[], object]) -> None:
        """Compute what the first rank says until it says `dismiss`; calls `look` while there is nothing to do."""
        while (call := self._hear(look)) is not None:
            self._samples.seed_globals(call[0])
            try:
                self._simulate(*call)
            except Exception:
                continue

    def dismiss(self) -> None:
        """Have the other ranks return from `follow`; on the first rank."""
        self._say(None)

    def free(self) -> None:
        """Free the communicators; collective."""
        self._lent.Free()
        self._inner.free()

    def _say(self, call: tuple[int, Parameters] | None) -> None:
        self._comm.Ibarrier().Wait()
        self._comm.bcast(call)

    def _hear(self, look: Callable[[], object]) -> tuple[int, Parameters] | None:
        # Before the broadcast, in which a rank would wait at full speed, a barrier at which it can doze.
        _completed(self._comm.Ibarrier(), look=look)
        return self._comm.bcast(None)

    def _simulate(self, index: int, parameters: Parameters) -> Fields:
        assert self._samples.simulator.simulate is not None
        began = time.monotonic()
        fields, error = None, None
        try:
            fields = self._samples.simulator.simulate(parameters, self._samples.rng(index), self._lent)
        except Exception as raised:
            error = raised
        except SystemExit as left:
            error = RuntimeError(f"the simulator ended its process with exit code {left.code}")
        if self._any_failed(index, parameters, error):
            error = self._share(error)
            self._renew()
            raise error
        self._longest = max(self._longest, time.monotonic() - began)
        return fields if fields is not None else {}

    def _any_failed(self, index: int, parameters: Parameters, error: Exception | None) -> bool:
        """Tell on all ranks whether the sample failed on one of them; end the job if they do not come together."""
        failed = array("i", [error is not None])
        agreement = self._comm.Iallreduce(self._mpi.IN_PLACE, failed, self._mpi.MAX)
        patience = None if error is None else max(PATIENCE, 2 * self._longest)
        if not _completed(agreement, patience):
            assert error is not None
            self._give_up(index, parameters, error)
        return bool(failed[0])

    def _share(self, error: Exception | None) -> Exception:
        """Return the error that counts; what another rank raised carries its traceback as a note."""
        own = None if error is None else _Parcel.of(error, self.rank)
        parcels = [parcel for parcel in self._comm.allgather(own) if parcel is not None]
        first = min(parcels, key=lambda parcel: (not parcel.stop, parcel.rank))
        return error if first is own and error is not None else first.open()

    def _renew(self) -> None:
        """Replace the simulator's communicator, in which messages may wait that nobody received."""
        self._lent.Free()
        self._lent = self._comm.Dup()

    def _give_up(self, index: int, parameters: Parameters, error: Exception) -> None:
        """Set the sample aside and end the job: MPI has no way to call ranks back from where they wait."""
        again = may_pass(error) or isinstance(error, Stop)
        if not again:
            set_aside(self._folder, f"{self._name}-{self.rank}", failed_sample(index, parameters, error))
        fate = "is tried again" if again else "is set aside"
        end_job(
            self._world,
            f"sample {index} failed on this rank while the others of its group wait for it in the simulator: the job "
            f"ends; after the next start the sample {fate}\n{traceback_of(error)}",
        )


class _Parcel(NamedTuple):
    """An error on its way to other ranks."""

    rank: int
    stop: bool
    text: str
    traceback: str
    pickled: bytes

    @classmethod
    def of(cls, error: Exception, rank: int) -> _Parcel:
        try:
            pickled = pickle.dumps(error)
        except Exception:  # whatever a class of the user's does
            pickled = b""
        text = f"{type(error).__name__}: {error}"
        return cls(rank, isinstance(error, Stop), text, traceback_of(error), pickled)

    def open(self) -> Exception:
        """Return the error, or one that says the same where it cannot be had."""
        try:
            error = pickle.loads(self.pickled)
        except Exception:
            error = RuntimeError(self.text)
        error.add_note(f"raised on rank {self.rank} of the group:\n{self.traceback}")
        return error


def set_aside(folder: Path, name: str, sample: FailedSample) -> None:
    """Put a sample in quarantine from a rank that is about to end the job; `name` names a journal of its own."""
    try:
        write_failure(folder, sample)
        journal = Journal(folder, name)
        journal.failed(sample.index, sample.kind, sample.message, sample.attempts)
        journal.close()
    except StorageError as error:
        print(f"hpc-ds: {error}", file=sys.stderr, flush=True)


def end_job(world: World, line: str) -> NoReturn:
    """Say why and end all ranks; may be called from any thread."""
    print(f"hpc-ds: rank {world.rank} of {world.size}: {line.rstrip()}", file=sys.stderr, flush=True)
    time.sleep(_FORWARDED)
    faulthandler.dump_traceback_later(_ABORTING, exit=True, file=open(os.devnull))  # noqa: SIM115
    mpi = sys.modules["mpi4py.MPI"]
    if threading.current_thread() is threading.main_thread() or mpi.Query_thread() == mpi.THREAD_MULTIPLE:
        world.abort()
    os._exit(EXIT_FAILURE)  # the launcher ends the others


def _completed(
    request: MPI.Request, seconds: float | None = None, look: Callable[[], object] | None = None
) -> bool:
    """Wait for a request, more and more calmly; return False if it is not complete after so many seconds."""
    began, pause = time.monotonic(), 0.0
    while not request.Test():
        if seconds is not None and time.monotonic() - began > seconds:
            return False
        if look is not None:
            look()
        time.sleep(pause)
        pause = min(1.2 * pause + 2e-6, _LONGEST_PAUSE)
    return True
