"""The ranks that train together, and what they can do with tensors."""

from __future__ import annotations

from types import TracebackType
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from hpc_ds.learn.process_group import default_group
from hpc_ds.runtime.world import World

Backend = Literal["none", "mpi", "gloo", "nccl"]


class Pending:
    """A collective call under way."""

    def test(self) -> None:
        """Let it go on a little."""

    def wait(self) -> None:
        """Return when it is over and its tensor can be read."""


class Group:
    """The ranks of a world, each with its device; this base class is the group of one rank.

    Attributes
    ----------
    world : World
    rank, size : int
    device : torch.device
        Where this rank computes.
    backend : {"none", "mpi", "gloo", "nccl"}
        What carries the tensors.
    can_swap : bool
        Whether there is `swap`.
    """

    backend: Backend = "none"
    can_swap = False

    def __init__(self, world: World, device: torch.device) -> None:
        self.world, self.device = world, device
        self.rank, self.size = world.rank, world.size
        self._default: tuple[dist.ProcessGroup, bool] | None = None

    def all_to_all(self, send: Tensor) -> Tensor:
        """Return, one after the other, the segments that all ranks hold for this one.

        Parameters
        ----------
        send : (size * k,) contiguous Tensor
            Segment r is for rank r.
        """
        return send

    def swap(self, send: Tensor, received: Tensor, partner: int) -> None:
        """Send the contiguous `send` to rank `partner`, and overwrite `received` by what it sends; both call this."""
        raise NotImplementedError(f"{self.backend} carries no messages between two ranks")

    def all_gather(self, part: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the parts (k,) of all ranks one after the other, in `out` (size * k,) if it is given."""
        return part if out is None else out.copy_(part)

    def all_reduce_(self, tensor: Tensor) -> None:
        """Overwrite the contiguous `tensor` by its sum over all ranks, in an order of additions of the backend's."""
        self.start_all_reduce(tensor).wait()

    def start_all_reduce(self, tensor: Tensor) -> Pending:
        """Begin `all_reduce_` and return at once; the tensor must be left alone until it is over."""
        return Pending()

    def broadcast_(self, tensor: Tensor, src: int = 0) -> None:
        """Overwrite the contiguous `tensor` by that of rank `src`."""

    def process_group(self) -> dist.ProcessGroup:
        """Return torch's default group, of these ranks and for their devices; made at the first call; collective."""
        if self._default is None:
            self._default = default_group(self.world, "nccl" if self.device.type == "cuda" else "gloo")
        return self._default[0]

    def close(self) -> None:
        """Leave torch.distributed, where the group entered it; collective."""
        if self._default is not None:
            self.world.barrier()
            if self._default[1]:
                dist.destroy_process_group()
            self._default = None

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Other ranks may be elsewhere when this one has failed: they must not be waited for.
        if kind is None:
            self.close()
