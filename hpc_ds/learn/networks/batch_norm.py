"""Batch normalisation that also takes a batch of a single value."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class _SingleValue:
    """Normalise a single value per channel by the running statistics, and leave those as they are.

    A lane may hold one sample only, and a small image ends as one point: the value's deviation from its own mean would
    be 0 whatever it is, which torch refuses.
    """

    def forward(self: Any, input: Tensor) -> Tensor:
        if not self.training or input.numel() > input.shape[1]:
            return super().forward(input)  # type: ignore[misc]
        return nn.functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


class BatchNorm1d(_SingleValue, nn.BatchNorm1d):
    """Of (n, channels) or (n, channels, grid)."""


class BatchNorm2d(_SingleValue, nn.BatchNorm2d):
    r"""Of (n, channels, \*grid) in two dimensions."""


class BatchNorm3d(_SingleValue, nn.BatchNorm3d):
    r"""Of (n, channels, \*grid) in three dimensions."""
