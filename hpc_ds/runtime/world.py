"""The world of ranks: one alone without MPI, or all ranks of an MPI launcher, behind the same few calls."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from hpc_ds.runtime.errors import EXIT_FAILURE, InputError

if TYPE_CHECKING:
    import numpy as np
    from mpi4py import MPI
    from numpy.typing import NDArray

T = TypeVar("T")

_PRINTED = 0.2
"""Seconds that the launcher gets to forward a rank's last words before the rank aborts."""

_ROOT_SPEAKS = 1.5
"""Seconds that a rank which only repeats the error of rank 0 leaves to rank 0 to print it."""

_GLANCE = 0.01
"""Seconds between looks at ranks that are waited for with patience."""

_POST = 1701
"""Tag of the messages of `post`, which no other message of the package carries."""

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_MARKS = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "PMI_FD", "MPI_LOCALNRANKS", "PALS_RANKID")
_LAUNCHER_PREFIXES = ("OMPI_", "PMIX_", "PMI_", "PALS_", "HYDI_", "HYDRA_", "MPI_LOCAL", "PRTE_", "MV2_COMM_")
_LAUNCHER_STEP = ("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")
_KEPT = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")


class World:
    """A world of one rank; `get_world` returns its MPI sibling with the same methods under a launcher.

    Attributes
    ----------
    rank, size : int
        This process's number and how many there are.
    comm : mpi4py.MPI.Intracomm or None
        The communicator, None in a world without MPI.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.size = 1
        self.comm: MPI.Intracomm | None = None
        self._box: list[tuple[int, Any]] = []

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0, the one that writes and speaks."""
        return self.rank == 0

    def bcast(self, value: T) -> T:
        """Return rank 0's `value` on all ranks."""
        return value

    def gather(self, value: T) -> list[T] | None:
        """Return the values of all ranks, in their order, on rank 0 and None elsewhere."""
        return [value]

    def allgather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order, on all ranks."""
        return [value]

    def allgather_floats(
        self, send: NDArray[np.float64], counts: Sequence[int], out: NDArray[np.float64]
    ) -> None:
        """Join the ranks' numbers in the order of ranks; made for a thousand calls a second.

        Parameters
        ----------
        send : (counts[rank],) contiguous float64
            This rank's numbers.
        counts : (size,) list of int
            How many numbers each rank sends, the same list everywhere; may hold zeros.
        out : (sum(counts),) contiguous float64
            Overwritten by the numbers of all ranks.
        """
        out[:] = send

    def post(self, message: Any, rank: int) -> None:
        """Send a small `message` to `rank`, which finds it when it next calls `poll`; returns at once.

        Raises
        ------
        ValueError
            There is no such rank.
        """
        checked_ranks([rank], self.size)
        self._box.append((self.rank, message))

    def poll(self) -> list[tuple[int, Any]]:
        """Return the messages that were posted to this rank meanwhile, each with the rank that sent it.

        One rank's messages come in the order in which it posted them. Returns at once.
        """
        messages, self._box = self._box, []
        return messages

    def any(self, flag: bool) -> bool:
        """Return on all ranks whether `flag` is true on one of them."""
        return bool(flag)

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def all_arrive(self, seconds: float) -> bool:
        """Wait for all ranks like `barrier`, but at most `seconds`; return whether they came.

        After False this rank can only `abort`: the others may wait in another call.
        """
        return True

    def split(self, ranks: Sequence[int]) -> World | None:
        """Return the world of the given ranks, renumbered in that order; None on the other ranks.

        Collective over `ranks` only: the others need not call it. Several overlapping worlds must be made in
        the same order on the ranks that share them. The caller frees the result.

        Raises
        ------
        ValueError
            A rank that does not exist, or the same rank twice.
        """
        return World() if self.rank in checked_ranks(ranks, self.size) else None

    def free(self) -> None:
        """Free the communicator of a world that `split` made (collective over it); otherwise do nothing."""

    def abort(self, code: int = EXIT_FAILURE) -> NoReturn:
        """End all ranks of the job at once, whatever they wait for; does not return."""
        sys.stdout.flush()
        sys.stderr.flush()
        raise SystemExit(code)

    def root_first(self, function: Callable[..., T], *args: Any) -> T:
        """Call ``function(*args)`` on rank 0 only and return its result on all ranks.

        An exception on rank 0 is raised on all ranks: with its own type where it can be pickled (`InputError`
        can), as `RuntimeError` on the other ranks otherwise.
        """
        return function(*args)


def get_world() -> World:
    """Return the world of all ranks that this process was launched with, made at the first call.

    mpi4py is imported, and MPI thereby initialised, only if an MPI launcher started this process with more
    than one rank. The world is that of ``MPI.COMM_WORLD``: nothing is to be freed.

    Raises
    ------
    InputError
        Launched as several ranks that cannot talk: mpi4py is missing or belongs to another MPI.
    """
    return _adopted[-1] if _adopted else _the_world()


def adopt(world: World) -> None:
    """Let `get_world` return this world from now on: that of a launcher which only one engine knows."""
    _adopted.append(world)


def install_abort_hook(world: World | None = None) -> None:
    """Let an uncaught exception on one rank end all ranks within seconds.

    That rank's traceback is printed on stderr. Does nothing in a world of one rank. `SystemExit` is no
    exception in this sense: all ranks must exit alike.
    """
    chosen = world or get_world()
    if chosen.size > 1:
        sys.excepthook = lambda kind, error, trace: fail(chosen, error)


def fail(world: World, error: BaseException) -> NoReturn:
    """Print the traceback of `error` with the number of the rank, then abort all ranks; does not return.

    An error that `World.root_first` brought here from rank 0 is left to rank 0 to print, so that a thousand
    ranks do not repeat it.
    """
    if getattr(error, "raised_on_rank", world.rank) != world.rank:
        time.sleep(_ROOT_SPEAKS)
    else:
        lines = "".join(traceback.format_exception(error))
        sys.stdout.flush()
        sys.stderr.write(f"hpc-ds: rank {world.rank} of {world.size} failed and ends all ranks:\n{lines}")
        sys.stderr.flush()
        time.sleep(_PRINTED)
    world.abort(EXIT_FAILURE)


def launched_ranks(environ: Mapping[str, str]) -> int | None:
    """Return how many ranks an MPI launcher started this process with, judging by its environment.

    Returns
    -------
    int or None
        The number; 0 if launched but the launcher does not tell; None if no launcher was at work.

    Raises
    ------
    InputError
        ``srun`` started several tasks without an MPI plugin: they cannot find each other.
    """
    for variable in _SIZES:
        if environ.get(variable, "").isdigit():
            return int(environ[variable])
    step = environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS", "")
    in_step = "SLURM_STEP_ID" in environ and "SLURM_PROCID" in environ and step.isdigit()
    if any(variable in environ for variable in _MARKS):
        return int(step) if in_step else 0
    if in_step and int(step) > 1:
        raise InputError(
            f"srun started {step} tasks without an MPI plugin, so they cannot talk: "
            "use srun --mpi=pmix (or another of srun --mpi=list), or srun -n 1"
        )
    return None


def without_launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `environ` for a child that is no rank: without the MPI launcher's variables.

    A child that inherits them may join, and on its death end, the job of its parent.
    """
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (name.startswith(_LAUNCHER_PREFIXES) or name in _LAUNCHER_STEP)
    }


class SharedWorld(World):
    """Several ranks: what follows from `bcast`, whatever carries it."""

    def root_first(self, function: Callable[..., T], *args: Any) -> T:
        """Call the function on rank 0 only; its result or its error is that of all ranks."""
        if self.is_root:
            return self._root_acts(function, args)
        result, error = pickle.loads(self.bcast(b""))
        if error is not None:
            error.raised_on_rank = 0
            raise error
        return result

    def _root_acts(self, function: Callable[..., T], args: tuple[Any, ...]) -> T:
        try:
            result = function(*args)
            parcel = pickle.dumps((result, None))
        except BaseException as error:  # the others wait: whatever it is, they must hear of it
            self.bcast(_error_parcel(error))
            raise
        self.bcast(parcel)
        return result


class _MpiWorld(SharedWorld):
    """Several ranks over an mpi4py communicator."""

    comm: MPI.Intracomm

    def __init__(self, comm: MPI.Intracomm, owned: bool) -> None:
        from mpi4py import MPI

        super().__init__()
        self.comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        self._owned = owned
        self._mpi = MPI
        self._flag = array("i", [0])
        self._posted: list[MPI.Request] = []

    def bcast(self, value: T) -> T:
        return self.comm.bcast(value)

    def gather(self, value: T) -> list[T] | None:
        return self.comm.gather(value)

    def allgather(self, value: T) -> list[T]:
        return self.comm.allgather(value)

    def allgather_floats(
        self, send: NDArray[np.float64], counts: Sequence[int], out: NDArray[np.float64]
    ) -> None:
        self.comm.Allgatherv(send, [out, counts, self._mpi.DOUBLE])

    def post(self, message: Any, rank: int) -> None:
        checked_ranks([rank], self.size)
        self._posted.append(self.comm.isend(message, rank, tag=_POST))

    def poll(self) -> list[tuple[int, Any]]:
        # A request keeps what it sends alive until the other rank has taken it.
        self._posted = [request for request in self._posted if not request.Test()]
        status = self._mpi.Status()
        messages = []
        while (parcel := self.comm.improbe(tag=_POST, status=status)) is not None:
            messages.append((status.Get_source(), parcel.recv()))
        return messages

    def any(self, flag: bool) -> bool:
        self._flag[0] = bool(flag)
        self.comm.Allreduce(self._mpi.IN_PLACE, self._flag, self._mpi.MAX)
        return bool(self._flag[0])

    def barrier(self) -> None:
        self.comm.Barrier()

    def all_arrive(self, seconds: float) -> bool:
        arrival = self.comm.Ibarrier()
        end = time.monotonic() + seconds
        while not arrival.Test():
            if time.monotonic() > end:
                return False
            time.sleep(_GLANCE)
        return True

    def split(self, ranks: Sequence[int]) -> World | None:
        if self.rank not in checked_ranks(ranks, self.size):
            return None
        everyone = self.comm.Get_group()
        chosen = everyone.Incl(list(ranks))
        comm = self.comm.Create_group(chosen)
        chosen.Free()
        everyone.Free()
        return _MpiWorld(comm, owned=True)

    def free(self) -> None:
        if self._owned:
            self.comm.Free()
            self._owned = False

    def abort(self, code: int = EXIT_FAILURE) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(code)


_adopted: list[World] = []


@functools.cache
def _the_world() -> World:
    ranks = launched_ranks(os.environ)
    return World() if ranks is None or ranks == 1 else _mpi_world(ranks)


def _mpi_world(expected: int) -> World:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"launched by an MPI launcher, but mpi4py cannot be loaded ({reason}): "
            "load the cluster's MPI module and "
            "pip install mpi4py in this environment, or start the command without mpiexec"
        ) from error
    if expected > 1 and MPI.COMM_WORLD.Get_size() == 1:
        raise InputError(
            f"launched as {expected} ranks, but mpi4py sees one: "
            f"the launcher and mpi4py belong to different MPIs (mpi4py uses {MPI.get_vendor()[0]}); "
            "use that MPI's mpiexec, or srun --mpi=pmix"
        )
    return _MpiWorld(MPI.COMM_WORLD, owned=False)


def _error_parcel(error: BaseException) -> bytes:
    try:
        parcel = pickle.dumps((None, error))
        pickle.loads(parcel)
        return parcel
    except Exception:
        return pickle.dumps((None, RuntimeError(f"rank 0 raised {type(error).__name__}: {error}")))


def checked_ranks(ranks: Sequence[int], size: int) -> Sequence[int]:
    """Return numbers of ranks that are different and all there (`ValueError` otherwise)."""
    if len(set(ranks)) != len(ranks) or not all(0 <= rank < size for rank in ranks):
        raise ValueError(f"ranks {list(ranks)}: each must be given once and lie in 0..{size - 1}")
    return ranks
