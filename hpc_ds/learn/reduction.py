"""The sum of a step's gradients over all ranks: reproducible, fast, or sharded with the parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hpc_ds.learn.flat import Layout, MovingBuffers, trainable
from hpc_ds.learn.group import Group
from hpc_ds.learn.tree import Partial, TreeSum, split_lanes, sum_over_ranks
from hpc_ds.runtime.errors import InputError

Kind = Literal["reproducible", "fast", "sharded"]
Pieces = list[tuple[int, NDArray[np.int64]]]


class Reducer(ABC):
    """Computes a step's gradient piece by piece on each rank and sums it over pieces and ranks.

    A step is, on all ranks::

        pieces = reducer.pieces(batch)
        for key, samples in pieces:
            if len(samples):
                with reducer.piece(key, len(samples) / len(batch)):
                    loss = ...                      # of reducer.network's output, over the samples / len(batch)
                    loss.backward()
        norm = reducer.finish()

    Gradients need not be set to zero: the first piece of a step begins anew.

    Attributes
    ----------
    network : Module
        What to call.
    """

    network: nn.Module

    @abstractmethod
    def pieces(self, batch: NDArray[np.int64]) -> Pieces:
        """Return this rank's pieces of the whole `batch` as (key of random numbers, samples); some may be empty.

        Empty ones are to be skipped. Nothing is remembered: it may be asked ahead of time, by any thread.
        """

    @abstractmethod
    def piece(self, key: int, share: float) -> AbstractContextManager[None]:
        """Surround forward and backward pass of one piece; pieces come in their order.

        Parameters
        ----------
        key : int
            That of `pieces`.
        share : float
            Samples in the piece by samples in the batch, the weight of its running statistics.
        """

    @abstractmethod
    def finish(self) -> float:
        """End the step: on all ranks each gradient is the sum over all pieces; return their norm; collective.

        Buffers that moved, such as running means, are the mean over pieces. Parameters without a gradient have
        zeros. The norm is the same on all ranks, and infinite or NaN where a gradient is.
        """

    def state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the whole state of network and optimiser, at least on rank 0; collective."""
        return {"network": self.network.state_dict(), "optimiser": optimiser.state_dict()}

    def load_state(self, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Set network and optimiser to what `state` returned, which all ranks give; collective."""
        self.network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])


def make_reducer(kind: Kind, network: nn.Module, group: Group, lanes: int, accumulate: int = 1) -> Reducer:
    """Return the reducer of that kind; collective over `group`.

    Parameters
    ----------
    kind : {"reproducible", "fast", "sharded"}
        "reproducible": each lane's gradient is computed alone, and all are summed in one fixed tree, so that the
        result has the same bits on any number of ranks that can share the lanes. "fast": each rank computes its
        share at once (lane by lane where BatchNorm or dropout make lanes matter), and gradients are summed
        while earlier layers' are computed. "sharded": parameters, gradients and the optimiser's state are
        split over the ranks.
    network : Module
        On the group's device, with the same parameters on all ranks.
    lanes : int
        Pieces of a batch.
    accumulate : int
        Pieces in which each lane, or each rank's share, is computed one after the other.

    Raises
    ------
    InputError
        The ranks cannot share the lanes; torch cannot shard; the network has nothing to train.
    """
    check_ranks(kind, lanes, group.size)
    if kind == "reproducible":
        return ReproducibleReducer(network, group, lanes, accumulate)
    if kind == "fast":
        from hpc_ds.learn.buckets import FastReducer

        return FastReducer(network, group, lanes, accumulate)
    from hpc_ds.learn.sharded import ShardedReducer

    return ShardedReducer(network, group, accumulate)


def check_ranks(kind: Kind, lanes: int, size: int) -> None:
    """Refuse a number of ranks that cannot share the lanes.

    Raises
    ------
    InputError
        It names the numbers that would do.
    """
    leaves = split_lanes(lanes)[1]
    if kind != "reproducible" or leaves % size == 0:
        return
    able = [str(2**power) for power in range(leaves.bit_length())]
    listed = f"{', '.join(able[:-1])} or {able[-1]} ranks" if len(able) > 1 else "1 rank"
    more = f" (--lanes {size} by {size})" if size & (size - 1) == 0 else ""
    raise InputError(
        f"{size} ranks: --lanes {lanes} can be shared by {listed}{more}; --reduction fast takes any number"
    )


def cut(batch: NDArray[np.int64], lanes: int, accumulate: int) -> list[NDArray[np.int64]]:
    """Return the pieces of a batch: `lanes` neighbouring parts by position, each in `accumulate` parts."""
    return [part for lane in np.array_split(batch, lanes) for part in np.array_split(lane, accumulate)]


class ReproducibleReducer(Reducer):
    """Gradients of lanes, summed in the fixed tree of `hpc_ds.learn.tree`.

    A leaf of the tree is an odd number of neighbouring lanes, whose pieces autograd sums one after the other.
    """

    def __init__(self, network: nn.Module, group: Group, lanes: int, accumulate: int) -> None:
        odd, leaves = split_lanes(lanes)
        self.network = network
        self._group = group
        self._lanes, self._accumulate, self._in_leaf = lanes, accumulate, odd * accumulate
        first, last = (number * leaves // group.size for number in (group.rank, group.rank + 1))
        self._leaves = range(first, last)
        self._buffers = MovingBuffers(network)
        self._layout = Layout(trainable(network), self._buffers.size, group.size)
        self._tree = TreeSum(self._layout.new)
        self._movement = torch.zeros(self._buffers.size, dtype=self._layout.dtype, device=self._layout.device)
        self._leaf: int | None = None
        self._result: Partial | None = None

    def pieces(self, batch: NDArray[np.int64]) -> Pieces:
        """Return the pieces of this rank's lanes; the key of a piece is its place in the whole batch."""
        every = cut(batch, self._lanes, self._accumulate)
        keys = range(self._leaves.start * self._in_leaf, self._leaves.stop * self._in_leaf)
        return [(key, every[key]) for key in keys]

    @contextmanager
    def piece(self, key: int, share: float) -> Iterator[None]:
        """Hand the leaf before to the tree where `key` begins another one."""
        self._fill_up_to(key // self._in_leaf)
        self._buffers.rewind()
        yield
        self._buffers.collect(self._movement, share, key == 0)

    def finish(self) -> float:
        """Sum the ranks' branches of the tree."""
        self._fill_up_to(self._leaves.stop)
        self._leaf = None
        self._result = self._tree.total()
        flat = self._result.flat
        sum_over_ranks(flat, self._group)
        for parameter, view in zip(self._layout.parameters, self._result.views):
            parameter.grad = view
        self._buffers.finish(flat[self._layout.tail])
        return self._layout.norm(flat)

    def _begin(self) -> None:
        self._leaf = self._leaves.start
        self._buffers.begin()
        self._forget()
        if self._result is not None:
            self._tree.recycle(self._result)
            self._result = None

    def _forget(self) -> None:
        """Let autograd set gradients rather than add to them: that saves a pass over memory."""
        for parameter in self._layout.parameters:
            parameter.grad = None
        self._movement.zero_()

    def _fill_up_to(self, leaf: int) -> None:
        """Hand what was computed to the tree, leaf by leaf; those without a sample are zeros."""
        if self._leaf is None:
            self._begin()
        assert self._leaf is not None
        while self._leaf < leaf:
            self._tree.add([*_gradients(self._layout.parameters), self._movement])
            self._forget()
            self._leaf += 1


def _gradients(parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
