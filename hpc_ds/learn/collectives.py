"""Tensors between ranks: over MPI, on the tensors' own memory, or over torch.distributed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from hpc_ds.learn.group import Backend, Group, Pending
from hpc_ds.learn.process_group import gloo_group
from hpc_ds.runtime.world import World

if TYPE_CHECKING:
    from mpi4py import MPI


CUDA_AWARE = "HPC_DS_CUDA_AWARE_MPI"
"""Environment variable that, set to 1, says that this MPI reads and writes CUDA memory itself."""

_SWAP = 7
"""Tag of the messages of `swap` over gloo."""


class HostStaging:
    """Pinned memory on the host through which CUDA tensors travel; CPU tensors travel as they are."""

    def __init__(self) -> None:
        self._pinned: dict[tuple[str, torch.dtype], Tensor] = {}

    def out(self, tensor: Tensor, purpose: str) -> Tensor:
        """Return the values of `tensor` on the host; each `purpose` has memory of its own."""
        if tensor.device.type == "cpu":
            return tensor
        return self.space(tensor, purpose).copy_(tensor)

    def space(self, tensor: Tensor, purpose: str) -> Tensor:
        """Return memory on the host for as many numbers; `tensor` itself where it is there already."""
        if tensor.device.type == "cpu":
            return tensor
        key = (purpose, tensor.dtype)
        if key not in self._pinned or self._pinned[key].numel() < tensor.numel():
            self._pinned[key] = torch.empty(tensor.numel(), dtype=tensor.dtype, pin_memory=True)
        return self._pinned[key][: tensor.numel()].view(tensor.shape)


class MpiGroup(Group):
    """Ranks whose tensors travel by MPI: Sendrecv, Alltoall, Allgather, Iallreduce and Bcast through mpi4py."""

    backend: Backend = "mpi"
    can_swap = True

    def __init__(self, world: World, device: torch.device) -> None:
        super().__init__(world, device)
        assert world.comm is not None
        self._comm: MPI.Intracomm = world.comm
        self._aware = os.environ.get(CUDA_AWARE) == "1"
        self._host = HostStaging()

    def all_to_all(self, send: Tensor) -> Tensor:
        """Exchange segments by one Alltoall."""
        received = torch.empty_like(send)
        into = self._space(received, "received")
        self._comm.Alltoall(self._out(send, "sent"), into)
        return self._back(received, into)

    def swap(self, send: Tensor, received: Tensor, partner: int) -> None:
        """Exchange by one Sendrecv."""
        into = self._space(received, "received")
        self._comm.Sendrecv(self._out(send, "sent"), partner, recvbuf=into, source=partner)
        self._back(received, into)

    def all_gather(self, part: Tensor, out: Tensor | None = None) -> Tensor:
        """Join parts by one Allgather."""
        out = part.new_empty(self.size * part.numel()) if out is None else out
        into = self._space(out, "received")
        self._comm.Allgather(self._out(part, "sent"), into)
        return self._back(out, into)

    def start_all_reduce(self, tensor: Tensor) -> Pending:
        """Begin an Iallreduce in place."""
        from mpi4py import MPI

        # Memory of its own for each call: several of them may be under way.
        into = tensor if tensor.device.type == "cpu" or self._aware else HostStaging().out(tensor, "summed")
        request = self._comm.Iallreduce(MPI.IN_PLACE, self._buffer(into))
        return _MpiPending(request, tensor, into)

    def broadcast_(self, tensor: Tensor, src: int = 0) -> None:
        """Send by one Bcast."""
        into = tensor if self._aware else self._host.out(tensor, "sent")
        self._comm.Bcast(self._buffer(into), root=src)
        if into is not tensor:
            tensor.copy_(into)

    def _out(self, tensor: Tensor, purpose: str) -> Any:
        return self._buffer(tensor if self._aware else self._host.out(tensor, purpose))

    def _space(self, tensor: Tensor, purpose: str) -> Any:
        return self._buffer(tensor if self._aware else self._host.space(tensor, purpose))

    def _buffer(self, tensor: Tensor) -> Any:
        """Return what mpi4py understands: an array on the same memory, or a CUDA tensor that is up to date."""
        if tensor.device.type == "cpu":
            return tensor.detach().numpy()
        torch.cuda.current_stream(tensor.device).synchronize()
        return tensor.detach()

    def _back(self, tensor: Tensor, into: Any) -> Tensor:
        if tensor.device.type != "cpu" and not self._aware:
            tensor.copy_(torch.from_numpy(into))
        return tensor


class TorchGroup(Group):
    """Ranks whose tensors travel by torch.distributed: gloo, or NCCL between CUDA devices."""

    def __init__(self, world: World, device: torch.device, backend: Literal["gloo", "nccl"]) -> None:
        super().__init__(world, device)
        self.backend = backend
        self.can_swap = backend == "gloo"  # NCCL would make a communicator for each pair
        self._carrier: Any = gloo_group(world) if backend == "gloo" else self.process_group()
        self._host = HostStaging()

    def all_to_all(self, send: Tensor) -> Tensor:
        """Exchange segments by one alltoall."""
        received = torch.empty_like(send)
        into = self._space(received, "received")
        self._carrier.alltoall_base(into, self._out(send, "sent"), [], []).wait()
        return received if into is received else received.copy_(into)

    def swap(self, send: Tensor, received: Tensor, partner: int) -> None:
        """Exchange by a send and a receive."""
        into = self._space(received, "received")
        under_way = [
            self._carrier.send([self._out(send, "sent")], partner, _SWAP),
            self._carrier.recv([into], partner, _SWAP),
        ]
        for work in under_way:
            work.wait()
        if into is not received:
            received.copy_(into)

    def all_gather(self, part: Tensor, out: Tensor | None = None) -> Tensor:
        """Join parts by one allgather."""
        out = part.new_empty(self.size * part.numel()) if out is None else out
        into = self._space(out, "received")
        self._carrier.allgather([list(into.chunk(self.size))], [self._out(part, "sent")]).wait()
        return out if into is out else out.copy_(into)

    def start_all_reduce(self, tensor: Tensor) -> Pending:
        """Begin an allreduce in place."""
        direct = self.backend == "nccl" or tensor.device.type == "cpu"
        into = tensor if direct else HostStaging().out(tensor, "summed")
        return _TorchPending(self._carrier.allreduce([into]), tensor, into)

    def broadcast_(self, tensor: Tensor, src: int = 0) -> None:
        """Send by one broadcast."""
        options = dist.BroadcastOptions()
        options.rootRank = src
        into = self._out(tensor, "sent")
        self._carrier.broadcast([into], options).wait()
        if into is not tensor:
            tensor.copy_(into)

    def close(self) -> None:
        """Let go of the connections; collective."""
        self.world.barrier()
        self._carrier = None
        super().close()

    def _out(self, tensor: Tensor, purpose: str) -> Tensor:
        return tensor if self.backend == "nccl" else self._host.out(tensor, purpose)

    def _space(self, tensor: Tensor, purpose: str) -> Tensor:
        return tensor if self.backend == "nccl" else self._host.space(tensor, purpose)


class _MpiPending(Pending):
    def __init__(self, request: MPI.Request, tensor: Tensor, into: Tensor) -> None:
        self._request, self._tensor, self._into = request, tensor, into

    def test(self) -> None:
        self._request.Test()

    def wait(self) -> None:
        self._request.Wait()
        if self._into is not self._tensor:
            self._tensor.copy_(self._into)


class _TorchPending(Pending):
    def __init__(self, work: dist.Work, tensor: Tensor, into: Tensor) -> None:
        self._work, self._tensor, self._into = work, tensor, into

    def wait(self) -> None:
        self._work.wait()
        if self._into is not self._tensor:
            self._tensor.copy_(self._into)
