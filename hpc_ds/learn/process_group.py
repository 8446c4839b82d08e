"""Groups of torch.distributed for the ranks of a world, made when something needs them."""

from __future__ import annotations

import torch.distributed as dist

from hpc_ds.learn.rendezvous import PATIENCE, open_store
from hpc_ds.learn.torch_world import TorchWorld
from hpc_ds.runtime.world import World


def gloo_group(world: World) -> dist.ProcessGroupGloo:
    """Return a group of gloo of the ranks of `world`; collective over them.

    It is made directly, and not by `torch.distributed.new_group`, whose groups must be made in step on all
    processes that share a default group: groups of ranks that train side by side are not in step.
    """
    if isinstance(world, TorchWorld):
        return world.group
    return dist.ProcessGroupGloo(open_store(world), world.rank, world.size, timeout=PATIENCE)


def default_group(world: World, backend: str) -> tuple[dist.ProcessGroup, bool]:
    """Return torch's default group of the ranks of `world`, and whether it was made here; collective.

    Raises
    ------
    RuntimeError
        torch.distributed is initialised already, and with other ranks.
    """
    if not dist.is_initialized():
        store = open_store(world)
        dist.init_process_group(
            backend, store=store, rank=world.rank, world_size=world.size, timeout=PATIENCE
        )
        return dist.group.WORLD, True
    if world.any((dist.get_rank(), dist.get_world_size()) != (world.rank, world.size)):
        raise RuntimeError("torch.distributed is initialised already, with other ranks than these")
    return dist.group.WORLD, False
