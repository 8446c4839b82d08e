"""The sharded reduction: parameters, gradients and the optimiser's state split over the ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from hpc_ds.learn.flat import MovingBuffers, trainable
from hpc_ds.learn.group import Group
from hpc_ds.learn.reduction import Pieces, Reducer, cut
from hpc_ds.runtime.errors import InputError


class ShardedReducer(Reducer):
    """Fully sharded data parallelism by torch's `fully_shard`.

    A rank holds its part of every parameter, of its gradient and of the optimiser's state; the whole of a block
    (an entry of a Sequential or ModuleList) is on a rank only while it computes with it. All ranks must take
    part in every forward and backward pass: a rank without samples joins with zeros, whose gradient is zero.

    Parameters are changed in place into torch's DTensor, so the optimiser must be made afterwards.
    """

    def __init__(self, network: nn.Module, group: Group, accumulate: int) -> None:
        self._factor = _shard(network, group) if group.size > 1 else 1.0
        self.network = network
        self._group = group
        self._accumulate = accumulate
        self._keys = range(group.rank * accumulate, (group.rank + 1) * accumulate)
        self._buffers = MovingBuffers(network)
        self._movement = torch.zeros(self._buffers.size, dtype=torch.float64, device=group.device)
        self._seen: Tensor | None = None
        self._left: int | None = None
        network.register_forward_pre_hook(self._look)

    def pieces(self, batch: NDArray[np.int64]) -> Pieces:
        """Return this rank's share of neighbouring samples."""
        every = cut(batch, self._group.size, self._accumulate)
        return [(key, every[key]) for key in self._keys]

    @contextmanager
    def piece(self, key: int, share: float) -> Iterator[None]:
        """Count the passes, which all ranks must make alike."""
        self._begin()
        self._buffers.rewind()
        yield
        self._buffers.collect(self._movement, share, key == 0)
        assert self._left is not None
        self._left -= 1

    def finish(self) -> float:
        """Make the passes that are missing here, and join the moving buffers."""
        self._begin()
        while self._left:
            with self.piece(-1, 0.0):
                self._join_with_zeros()
        self._left = None
        self._group.all_reduce_(self._movement)
        self._buffers.finish(self._movement)
        return self._norm(self._summed())

    def state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Gather the whole state on rank 0; the others return empty dictionaries."""
        if self._group.size == 1:
            return super().state(optimiser)
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        network, moments = get_state_dict(self.network, optimiser, options=options)
        return {"network": network, "optimiser": moments}

    def load_state(self, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Take this rank's parts of a whole state that all ranks give."""
        if self._group.size == 1:
            super().load_state(optimiser, state)
            return
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

        options = StateDictOptions(full_state_dict=True)
        set_state_dict(
            self.network,
            optimiser,
            model_state_dict=state["network"],
            optim_state_dict=state["optimiser"],
            options=options,
        )

    def _begin(self) -> None:
        if self._left is not None:
            return
        self._left = self._accumulate
        self._movement.zero_()
        self._buffers.begin()
        for parameter in trainable(self.network):
            parameter.grad = None

    def _look(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._seen is None:
            # Two samples: BatchNorm refuses one of a single value.
            self._seen = torch.zeros_like(inputs[0][:1]).repeat_interleave(2, 0)

    def _join_with_zeros(self) -> None:
        if self._seen is None:
            raise InputError(
                f"rank {self._group.rank} has had no sample yet: there are fewer than ranks; "
                "use fewer ranks or --reduction fast"
            )
        output = self.network(self._seen)
        output.backward(torch.zeros_like(output))

    def _summed(self) -> list[Tensor]:
        """Return this rank's parts of the gradients, turned from torch's mean over ranks into the sum."""
        local = [_local(p.grad) for p in trainable(self.network) if p.grad is not None]
        if self._factor != 1.0:
            torch._foreach_mul_(local, self._factor)
        return local

    def _norm(self, local: list[Tensor]) -> float:
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in local]
        square = torch.stack(norms).square().sum() if norms else self._movement.new_zeros(())
        self._group.all_reduce_(square)
        return float(square.sqrt())


def _shard(network: nn.Module, group: Group) -> float:
    """Shard `network` in place; return what a gradient must be multiplied by to be the sum over ranks."""
    fully_shard = _fully_shard()
    mesh = DeviceMesh.from_group(group.process_group(), group.device.type)
    for block in _blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    # Releases of torch differ in whether gradients are averaged over gloo (pytorch issue 162338): try it out.
    probe = nn.Linear(1, 1, bias=False, device=group.device)
    fully_shard(probe, mesh=mesh)
    probe(torch.ones(1, 1, device=group.device)).sum().backward()
    found = _local(probe.weight.grad).sum()
    group.all_reduce_(found)
    return group.size / float(found)


def _fully_shard() -> Any:
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise InputError(
            f"--reduction sharded: torch {torch.__version__} has no fully_shard; torch 2.6 or later has, "
            "--reduction fast works here"
        ) from error
    return fully_shard


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Return what is gathered at a time: the entries of the outermost sequences and lists of modules."""
    if isinstance(network, nn.Sequential | nn.ModuleList):
        return [entry for entry in network if any(True for _ in entry.parameters())]
    return [block for child in network.children() for block in _blocks(child)]


def _local(gradient: Any) -> Tensor:
    return gradient.to_local() if hasattr(gradient, "to_local") else gradient
