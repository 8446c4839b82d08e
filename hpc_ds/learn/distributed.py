"""Ranks that train together: the world that a launcher made, and what carries tensors between its ranks."""

from __future__ import annotations

import functools
import os
from typing import Literal

import torch

from hpc_ds.learn.collectives import MpiGroup, TorchGroup
from hpc_ds.learn.group import Group as Group
from hpc_ds.learn.rendezvous import local_rank
from hpc_ds.learn.torch_world import TorchWorld, find_launch
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World, adopt, get_world

Comm = Literal["auto", "mpi", "gloo", "nccl"]
Device = Literal["auto", "cpu", "cuda"]


@functools.cache
def learn_world() -> World:
    """Return the world of all ranks that this process was launched with, made at the first call.

    Known are MPI launchers (`hpc_ds.runtime.world.get_world`), torchrun, anything that sets RANK, WORLD_SIZE,
    MASTER_ADDR and MASTER_PORT, and srun without an MPI plugin; otherwise this process is alone.

    Raises
    ------
    InputError
        Several ranks were launched that cannot find each other.
    """
    launch = find_launch(os.environ)
    if launch is None:
        return get_world()
    world = World() if launch.size == 1 else TorchWorld.start(launch)
    adopt(world)
    return world


def join(world: World, comm: Comm = "auto", device: Device = "auto") -> Group:
    """Return the group of the ranks of `world` for training; collective.

    Parameters
    ----------
    world : World
        All ranks, or some of them that `World.split` chose.
    comm : {"auto", "mpi", "gloo", "nccl"}
        What carries tensors. "auto": nccl where every rank has a CUDA device of its own, else mpi under an MPI
        launcher, else gloo. MPI and gloo carry CUDA tensors through pinned memory of the host, unless
        HPC_DS_CUDA_AWARE_MPI=1 says that MPI need not.
    device : {"auto", "cpu", "cuda"}
        "auto": CUDA if every rank has it. Rank r of a host takes device r modulo the number of its devices.

    Raises
    ------
    InputError
        What was asked for is not there on one of the ranks.
    """
    on, shared = _choose_device(world, device)
    if world.size == 1:
        return Group(world, on)
    backend = _choose_backend(world, comm, on, shared)
    return MpiGroup(world, on) if backend == "mpi" else TorchGroup(world, on, backend)


def check_devices(world: World, comm: Comm = "auto", device: Device = "auto") -> None:
    """Refuse what `join` would, without making a group; collective (`InputError` on all ranks)."""
    on, shared = _choose_device(world, device)
    if world.size > 1:
        _choose_backend(world, comm, on, shared)


def _choose_device(world: World, wanted: Device) -> tuple[torch.device, bool]:
    """Return this rank's device, and whether one of the ranks shares its CUDA device with another one."""
    number, neighbours = local_rank(world)
    found = torch.cuda.device_count() if wanted != "cpu" and torch.cuda.is_available() else 0
    agreed(world, _check_cuda, wanted, found, world.rank)
    if world.any(found == 0):
        return torch.device("cpu"), False
    device = torch.device("cuda", number % found)
    torch.cuda.set_device(device)
    return device, world.any(neighbours > found)


def _check_cuda(wanted: Device, found: int, rank: int) -> None:
    if wanted == "cuda" and found == 0:
        raise InputError(
            f"--device cuda: torch {torch.__version__} sees no CUDA device on rank {rank}; --device cpu works"
        )


def _choose_backend(
    world: World, comm: Comm, device: torch.device, shared: bool
) -> Literal["mpi", "gloo", "nccl"]:
    has_nccl = device.type == "cuda" and torch.distributed.is_nccl_available() and not shared
    if comm == "auto":
        return "nccl" if has_nccl else "mpi" if world.comm is not None else "gloo"
    if comm == "mpi" and world.comm is None:
        raise InputError("--comm mpi: no MPI launcher started these ranks; --comm gloo works, or mpiexec")
    if comm == "gloo" and not torch.distributed.is_gloo_available():
        raise InputError(
            f"--comm gloo: torch {torch.__version__} was built without it; --comm mpi works under mpiexec"
        )
    if comm == "nccl" and not has_nccl:
        why = "ranks share a CUDA device" if shared else "it needs CUDA devices and a torch built with NCCL"
        raise InputError(f"--comm nccl: {why}; --comm auto takes what there is")
    return comm
