"""From an exception to an exit code: said in one line, once, and all ranks leave together."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from hpc_ds.runtime.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILURE, InputError, StorageError
from hpc_ds.runtime.world import World, fail, get_world

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

PATIENCE = 3.0
"""Seconds that a rank which met an error waits for the others to meet it too before it ends them."""

INTERRUPTED = 130
"""Exit code after an interrupt, as shells report it."""


def guarded(command: Callable[[], int | None]) -> int:
    """Call `command` and return the exit code that its return value or exception means.

    `InputError` and `StorageError` are told in one line by rank 0. Where the other ranks do not meet them too, they
    are ended. Any other exception keeps its traceback and, in a world of several ranks, ends them all.
    """
    try:
        return command() or EXIT_DONE
    except InputError as error:
        return _leave(error, EXIT_BAD_INPUT)
    except StorageError as error:
        return _leave(error, EXIT_FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        full = _full_disk(error)
        if full is not None:
            return _leave(full, EXIT_FAILURE)
        world = get_world()
        if world.size == 1:
            raise
        fail(world, error)


def _full_disk(error: Exception) -> StorageError | None:
    """Return the error of a full disk that a library met, such as a compiler that keeps what it compiled."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    return StorageError(error.errno, error.strerror or "full", str(error.filename or "a cache"))


def _leave(error: Exception, code: int) -> int:
    """Say `error` and wait for the other ranks, or end them."""
    line = f"hpc-ds: error: {' '.join(str(error).split())}"
    try:
        world = get_world()
    except InputError:  # MPI itself is what is wrong, and no rank knows of the others
        world = World()
    if world.is_root:
        print(line, file=sys.stderr, flush=True)
    if not world.all_arrive(PATIENCE):
        if not world.is_root:
            print(f"{line} (rank {world.rank} of {world.size})", file=sys.stderr, flush=True)
        world.abort(code)
    return code
