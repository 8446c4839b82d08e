"""Three ways in which ranks write the rows of data files that exist already; all give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.store.well import Target

WriterName = Literal["auto", "posix", "mpiio", "hdf5"]
"""``posix`` writes at the data sets' places in the files with the system's own calls, ``mpiio`` with MPI's, ``hdf5``
with parallel HDF5. ``auto`` takes the first where all ranks share a node, else the second: between nodes MPI-IO knows
how the file system keeps its clients apart."""

# MPI counts in C integers.
_PIECE = 2**30


class Writer(Protocol):
    """Writes blocks of rows. `close`, and for MPI-IO and HDF5 also the making, is collective over the ranks."""

    def write(self, file: int, target: Target, row: int, block: NDArray[Any]) -> None:
        """Write a contiguous block of rows from `row` on into a data set of the given file."""

    def close(self) -> None:
        """Put what this rank wrote on the disk and close the files."""


def choose(name: WriterName, world: World) -> WriterName:
    """Return the writer that ``auto`` stands for; collective.

    Raises
    ------
    InputError
        A writer that does not exist here.
    """
    if name not in get_args(WriterName):
        raise InputError(f"writer '{name}' is not known; there are {', '.join(get_args(WriterName))}")
    if name == "hdf5" and world.size > 1:
        import h5py

        if not h5py.get_config().mpi:
            raise InputError("writer 'hdf5': this h5py has no parallel HDF5; choose posix or mpiio")
    if name != "auto":
        return "posix" if name == "mpiio" and world.comm is None else name
    return "posix" if _on_one_node(world) else "mpiio"


def opened(name: WriterName, world: World, files: Sequence[Path]) -> Writer:
    """Open the files for writing; collective.

    Raises
    ------
    OSError
        On all ranks alike, if one of them cannot open a file.
    """
    kinds: Mapping[str, Any] = {"posix": _Posix, "mpiio": _MpiIO, "hdf5": _Hdf5}
    return kinds[name](world, files)


class _Posix:
    """Positioned writes, into files that are opened when the first row is written."""

    def __init__(self, world: World, files: Sequence[Path]) -> None:
        self._files = files
        self._open: dict[int, int] = {}

    def write(self, file: int, target: Target, row: int, block: NDArray[Any]) -> None:
        if file not in self._open:
            self._open[file] = os.open(self._files[file], os.O_WRONLY | os.O_CLOEXEC)
        rest, position = block.reshape(-1).view(np.uint8).data, target.offset + row * target.row_bytes
        while rest:
            written = os.pwrite(self._open[file], rest, position)
            rest, position = rest[written:], position + written

    def close(self) -> None:
        descriptors, self._open = list(self._open.values()), {}
        try:
            for descriptor in descriptors:
                os.fsync(descriptor)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


class _MpiIO:
    """MPI-IO, independent writes."""

    def __init__(self, world: World, files: Sequence[Path]) -> None:
        from mpi4py import MPI

        comm = world.comm if world.comm is not None else MPI.COMM_SELF
        self._error = MPI.Exception
        self._open = _open_together(
            world,
            files,
            lambda path: MPI.File.Open(comm, str(path), MPI.MODE_WRONLY),
            lambda file: file.Close(),
        )

    def write(self, file: int, target: Target, row: int, block: NDArray[Any]) -> None:
        values, offset = block.reshape(-1).view(np.uint8), target.offset + row * target.row_bytes
        try:
            for start in range(0, values.size, _PIECE):
                self._open[file].Write_at(offset + start, values[start : start + _PIECE])
        except self._error as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        _all_done(step for file in self._open for step in (file.Sync, file.Close))


class _Hdf5:
    """HDF5 itself: parallel where there are ranks, independent transfers."""

    def __init__(self, world: World, files: Sequence[Path]) -> None:
        import h5py

        driver: Mapping[str, Any] = {"driver": "mpio", "comm": world.comm} if world.comm is not None else {}
        self._open = _open_together(
            world, files, lambda path: h5py.File(path, "r+", **driver), lambda file: file.close()
        )

    def write(self, file: int, target: Target, row: int, block: NDArray[Any]) -> None:
        self._open[file][target.path][row : row + len(block)] = block

    def close(self) -> None:
        paths = [file.filename for file in self._open]
        _all_done(step for file in self._open for step in (file.flush, file.close))
        for path in paths:
            _sync(path)


def _open_together(
    world: World, files: Sequence[Path], attempt: Callable[[Path], Any], close: Callable[[Any], None]
) -> list[Any]:
    """Open files with a collective call, or raise on all ranks what the first one met that cannot."""
    # Opening, closing and writing wait for all ranks: nobody may go on alone, nor give up alone.
    _agree(world, _reached(files))
    opened: list[Any] = []
    for number, path in enumerate(files):
        problem = None
        try:
            opened.append(attempt(path))
        except Exception as error:
            problem = error if isinstance(error, OSError) else OSError(str(error))
        try:
            _agree(world, problem)
        except OSError:
            # The last file stays open where it is: to close it would wait for those that do not have it.
            for file in opened[:number]:
                close(file)
            raise
    return opened


def _reached(files: Sequence[Path]) -> OSError | None:
    """Return why this rank cannot write one of the files."""
    for path in files:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        except OSError as error:
            return error
    return None


def _agree(world: World, problem: OSError | None) -> None:
    first = next((each for each in world.allgather(problem) if each is not None), None)
    if first is not None:
        raise first


def _all_done(steps: Iterable[Callable[[], None]]) -> None:
    """Call all of them, for each may be collective, and only then raise the first error."""
    problem: Exception | None = None
    for step in steps:
        try:
            step()
        except Exception as error:
            problem = problem or error
    if problem is not None:
        raise problem if isinstance(problem, OSError) else OSError(str(problem)) from problem


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _on_one_node(world: World) -> bool:
    if world.comm is None:
        return True
    from mpi4py import MPI

    node = world.comm.Split_type(MPI.COMM_TYPE_SHARED)
    alone = node.Get_size() == world.size
    node.Free()
    return not world.any(not alone)
