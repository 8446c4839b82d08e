"""What stands behind the trunk of a network for images: one linear layer, or a hidden one before it."""

from __future__ import annotations

from typing import Literal

from torch import nn

from hpc_ds.learn.networks.batch_norm import BatchNorm1d

Head = Literal["torchvision", "dense"]
"""torchvision: one linear layer, named as in torchvision; dense: a hidden layer of 1024 before it."""

HIDDEN = 1024
"""Width of the dense head's hidden layer."""


def last_layers(kind: Head, features: int, outputs: int, dropout: float) -> tuple[nn.Module, nn.Module]:
    """Return what the pooled `features` go through, and then the layer or layers that torchvision calls ``fc``."""
    if kind == "dense":
        return nn.Identity(), dense_head(features, outputs, dropout, normalise=False)
    return nn.Dropout(dropout), nn.Linear(features, outputs)


def dense_head(features: int, outputs: int, dropout: float, normalise: bool) -> nn.Sequential:
    """Return [normalisation ->] linear(1024) -> ReLU -> dropout -> linear, for pooled `features`.

    With 3 outputs, EfficientNet-B4 with the normalisation has 19,520,098 numbers and Inception-v3 without it
    23,904,035, as counted by Keras: running means and variances included, and 7 of B4's normalisation of its input.
    """
    normalisation = [BatchNorm1d(features)] if normalise else []
    return nn.Sequential(
        *normalisation,
        nn.Linear(features, HIDDEN),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, outputs),
    )
