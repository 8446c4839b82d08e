"""How many threads torch and BLAS use on this rank, and whether the cores suffice for them."""

from __future__ import annotations

from contextlib import suppress

import torch

from hpc_ds.runtime.threads import cores_per_rank, limit_threads
from hpc_ds.runtime.world import World


def set_threads(threads: int, world: World) -> str | None:
    """Let torch and the numerical libraries use `threads` threads on each rank; collective over `world`.

    The number is part of the result's bits, because sums are cut up by threads: it is taken as it is given and
    never from the machine.

    Returns
    -------
    str or None
        A sentence for the user where ranks and threads together are more than the cores; the same on all ranks.
    """
    limit_threads(threads)
    torch.set_num_threads(threads)
    with suppress(RuntimeError):  # refused once parallel work has begun; nothing here runs between operators
        torch.set_num_interop_threads(1)
    cores = min(world.allgather(cores_per_rank(world)))
    if threads <= cores:
        return None
    return (
        f"{threads} threads on each of {world.size} ranks, but a rank has {cores} of the cores: "
        "they will wait for each other; fewer ranks on a machine or --threads "
        f"{cores} would be faster"
    )
