"""Bad input that one rank meets is bad input on all of them, so that no rank waits for one that has left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

T = TypeVar("T")


def agreed(world: World, function: Callable[..., T], *args: Any) -> T:
    """Call ``function(*args)`` on all ranks and return each rank's own result; collective.

    Use `World.root_first` where rank 0's result will do for all.

    Raises
    ------
    InputError
        One rank met it: on all ranks that of the first such rank.
    """
    result: list[T] = []
    problem = None
    try:
        result.append(function(*args))
    except InputError as error:
        problem = str(error)
    first = next((text for text in world.allgather(problem) if text is not None), None)
    if first is not None:
        raise InputError(first)
    return result[0]


def raise_together(world: World, error: Exception | None) -> None:
    """Raise on all ranks what the first of them met that met something; rank 0 tells it; collective.

    Where no rank met anything this costs one number a rank. An error that cannot be pickled must not be given.
    """
    if not world.any(error is not None):
        return
    found: Any = next(each for each in world.allgather(error) if each is not None)
    if not world.is_root:
        found.raised_on_rank = 0
    elif hasattr(found, "raised_on_rank"):
        del found.raised_on_rank
    raise found
