"""A running mean of a network's weights, which is smoother than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_RISE = 10.0


class WeightMean:
    """Exponential moving average of a module's parameters and floating-point buffers (BatchNorm's too).

    After update t = 1, 2, ... the mean is d m + (1 - d) w with d = min(decay, (1 + t) / (10 + t)), so that the first
    weights are soon forgotten. Whole-number buffers are those of the module. Of parameters that are split over ranks
    each rank has the mean of its part.

    Parameters
    ----------
    module : Module
        Whose weights.
    decay : float
        Between 0 and 1.

    Attributes
    ----------
    updates : int
        How often `update` was called.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.updates = 0
        self._mean = [tensor.clone() for tensor in self._weights()]

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's weights of now into the mean."""
        self.updates += 1
        share = 1.0 - min(self._decay, (1.0 + self.updates) / (_RISE + self.updates))
        weights = self._weights()
        moving = [i for i, weight in enumerate(weights) if weight.is_floating_point() or weight.is_complex()]
        torch._foreach_lerp_([self._mean[i] for i in moving], [weights[i] for i in moving], share)
        for i in set(range(len(weights))) - set(moving):
            self._mean[i].copy_(weights[i])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the module has the mean as its weights; afterwards its own again, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def begin(self, updates: int) -> None:
        """Take the module's weights of now as the mean after so many updates."""
        self.updates = updates
        for mean, weight in zip(self._mean, self._weights()):
            mean.copy_(weight)

    @torch.no_grad()
    def _exchange(self) -> None:
        for mean, weight in zip(self._mean, self._weights()):
            own = weight.clone()
            weight.copy_(mean)
            mean.copy_(own)

    def _weights(self) -> list[Tensor]:
        return [_local(tensor.detach()) for tensor in self._module.state_dict().values()]


def _local(tensor: Tensor) -> Tensor:
    """Return this rank's part of a tensor that is split over ranks, on the same memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
