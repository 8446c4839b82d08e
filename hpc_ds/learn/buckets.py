"""The fast reduction: gradients are summed over ranks bucket by bucket while earlier layers compute theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpc_ds.learn.flat import Layout, MovingBuffers, trainable
from hpc_ds.learn.group import Group, Pending
from hpc_ds.learn.reduction import Pieces, Reducer, cut

SMALLEST, LARGEST, BUCKETS = 2**20, 25 * 2**20, 8
"""Bytes of gradients that travel together: an eighth of them all, so that most are under way before the backward pass
ends, but enough for the interconnect's full speed, and no more than are worth waiting for."""

_RANDOM = ("dropout", "droppath", "stochasticdepth")


class FastReducer(Reducer):
    """Each rank's share of a batch, with gradients that travel as soon as they are ready.

    Gradients are views of one flat vector, cut into buckets in the order in which the backward pass comes to
    them. In the rank's last piece each bucket's all-reduce begins when its gradients are there; what has not
    begun by then, on a rank without samples for instance, begins in `finish`. All ranks begin the buckets in
    the same order, so they match whatever each of them had to compute.
    """

    def __init__(self, network: nn.Module, group: Group, lanes: int, accumulate: int) -> None:
        self.network = network
        self._group = group
        self._parts = lanes if lanes_matter(network) else group.size
        self._accumulate = accumulate
        self._keys = _share(self._parts, group, accumulate)
        self._buffers = MovingBuffers(network)
        self._layout = Layout(trainable(network), self._buffers.size, 1)
        self._sum = self._layout.new()
        self._buckets = _buckets(self._layout)
        # Over the host, a CUDA gradient would have to be waited for in the middle of the backward pass.
        self._early = group.size > 1 and (self._layout.device.type == "cpu" or group.backend == "nccl")
        self._missing: list[int] = []
        self._pending: list[Pending] = []
        self._is_open = self._is_last = False
        if self._early:
            self._watch()

    def pieces(self, batch: NDArray[np.int64]) -> Pieces:
        """Return this rank's share: lanes where they matter, else neighbouring samples."""
        every = cut(batch, self._parts, self._accumulate)
        return [(key, every[key]) for key in self._keys]

    @contextmanager
    def piece(self, key: int, share: float) -> Iterator[None]:
        """Let gradients travel within the rank's last piece."""
        self._open()
        self._buffers.rewind()
        self._is_last = key == self._keys[-1]
        yield
        self._is_last = False
        self._buffers.collect(self._sum.flat[self._layout.tail], share, key == 0)

    def finish(self) -> float:
        """Wait for the gradients under way, and send what has not begun."""
        self._open()
        self._start(len(self._buckets))
        tail = self._sum.flat[self._layout.tail]
        if len(tail):
            self._pending.append(self._group.start_all_reduce(tail))
        for pending in self._pending:
            pending.wait()
        self._pending.clear()
        self._buffers.finish(tail)
        self._is_open = False
        return self._layout.norm(self._sum.flat)

    def _open(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        self._sum.flat.zero_()
        self._buffers.begin()
        self._missing = [len(members) for members, _ in self._buckets]
        for parameter, view in zip(self._layout.parameters, self._sum.views):
            parameter.grad = view

    def _watch(self) -> None:
        for number, (members, _) in enumerate(self._buckets):
            for parameter in members:
                parameter.register_post_accumulate_grad_hook(self._arrival(number))

    def _arrival(self, bucket: int):  # type: ignore[no-untyped-def]
        def arrived(_: Tensor) -> None:
            if not self._is_last:
                return
            self._missing[bucket] -= 1
            for pending in self._pending:
                pending.test()
            if self._missing[bucket] == 0:
                self._start(next((n for n, left in enumerate(self._missing) if left), len(self._missing)))

        return arrived

    def _start(self, end: int) -> None:
        """Begin the all-reduce of the buckets before number `end`, in their order."""
        for _, place in self._buckets[len(self._pending) : end]:
            self._pending.append(self._group.start_all_reduce(self._sum.flat[place]))


def lanes_matter(network: nn.Module) -> bool:
    """Return whether a sample's gradient depends on which samples are computed with it, or on random numbers.

    Then pieces must be the lanes for the fast reduction to agree with the reproducible one to rounding. Known
    are torch's normalisations over a batch, dropout in its layers, and modules whose name tells of either.
    """
    return any(_mixes(module) or _draws(module) for module in network.modules())


def _mixes(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._NormBase) and (
        module.track_running_stats or isinstance(module, nn.modules.batchnorm._BatchNorm)
    )


def _draws(module: nn.Module) -> bool:
    name = type(module).__name__.lower().replace("_", "")
    named = any(word in name for word in _RANDOM) and getattr(module, "p", 1) != 0
    return named or (isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout > 0)


def _share(parts: int, group: Group, accumulate: int) -> range:
    """Return the keys of this rank's pieces: neighbouring parts, as many as the others have or one more or less."""
    first, last = (number * parts // group.size for number in (group.rank, group.rank + 1))
    return range(first * accumulate, last * accumulate)


def _buckets(layout: Layout) -> list[tuple[list[nn.Parameter], slice]]:
    """Return the parameters of each bucket, and its place in the flat vector."""
    width = torch.finfo(layout.dtype).bits // 8
    most = min(max(layout.gradients.stop * width // BUCKETS, SMALLEST), LARGEST)
    found: list[tuple[list[nn.Parameter], slice]] = []
    ends = [*layout.offsets[1:], layout.gradients.stop]
    for parameter, start, end in zip(layout.parameters, layout.offsets, ends):
        if found and (end - found[-1][1].start) * width <= most:
            found[-1] = ([*found[-1][0], parameter], slice(found[-1][1].start, end))
        else:
            found.append(([parameter], slice(start, end)))
    return found
