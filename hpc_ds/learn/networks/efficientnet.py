"""EfficientNet B0 to B7 for images, with torchvision's names of parameters (Tan & Le 2019)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hpc_ds.learn.networks.batch_norm import BatchNorm2d
from hpc_ds.learn.networks.heads import Head, dense_head


class Options(BaseModel):
    """Options of efficientnet-b0 to efficientnet-b7."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    size: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0"
    """Width, depth and dropout, which the name says."""

    head: Head = "torchvision"
    """torchvision: one linear layer; dense: a normalisation and a hidden layer of 1024 before it."""

    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Probability with which a feature before the last layer is left out; by default the paper's, 0.2 to 0.5."""

    stochastic_depth: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Probability with which a sample skips the last block; it grows from 0 in the first."""


def build(options: Options, inputs: tuple[int, ...], outputs: tuple[int, ...], task: str) -> nn.Module:
    """Return the network for images ``inputs = (channels, height, width)`` and ``outputs[0]`` numbers of each."""
    return EfficientNet(options, inputs[0], outputs[0])


class EfficientNet(nn.Module):
    """A stem, seven stages of inverted bottlenecks with squeeze and excitation, and a last 1 x 1 convolution."""

    head_names = ("classifier",)
    attention_layer = "features.8"

    def __init__(self, options: Options, channels: int, outputs: int) -> None:
        super().__init__()
        scale = _SCALES[options.size]
        widths = [_rounded(width * scale.width) for width in (_STEM, *(stage.width for stage in _STAGES))]
        features = 4 * widths[-1]
        self.features = nn.Sequential(
            _Convolution(channels, widths[0], 3, scale, stride=2),
            *_stages(widths, scale, options.stochastic_depth),
            _Convolution(widths[-1], features, 1, scale),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        dropout = scale.dropout if options.dropout is None else options.dropout
        if options.head == "dense":
            self.classifier = dense_head(features, outputs, dropout, normalise=True)
        else:
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, outputs))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, outputs) of images (n, channels, height, width)."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


class MBConv(nn.Module):
    """Inverted bottleneck: widen, convolve each channel alone, weigh the channels, narrow (Sandler et al. 2018)."""

    def __init__(
        self, channels: int, width: int, stage: _Stage, scale: _Scale, stride: int, skip: float
    ) -> None:
        super().__init__()
        inner = _rounded(channels * stage.expansion)
        widen = [_Convolution(channels, inner, 1, scale)] if inner != channels else []
        self.block = nn.Sequential(
            *widen,
            _Convolution(inner, inner, stage.kernel, scale, stride=stride, groups=inner),
            SqueezeExcitation(inner, max(1, channels // 4)),
            _Convolution(inner, width, 1, scale, activation=False),
        )
        self.stochastic_depth = StochasticDepth(skip)
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        r"""Return (n, width, \*grid / stride)."""
        y = self.block(x)
        return self.stochastic_depth(y) + x if self.residual else y


class SqueezeExcitation(nn.Module):
    """Weigh channels by what their means say (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.SiLU(inplace=True)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with each channel times its weight in 0 ... 1."""
        weights = self.fc2(self.activation(self.fc1(self.avgpool(x))))
        return torch.sigmoid(weights) * x


class StochasticDepth(nn.Module):
    """In training, leave out the branch for a random part of the samples (Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, with samples at 0 and the others scaled so that the mean stays."""
        if not self.training or self.probability == 0.0:
            return x
        kept = 1.0 - self.probability
        mask = x.new_empty((x.shape[0], *[1] * (x.ndim - 1))).bernoulli_(kept)
        return x * mask.div_(kept)


class _Scale(NamedTuple):
    width: float
    depth: float
    dropout: float
    eps: float = 1e-5
    """Of the normalisations, and their momentum: B5 to B7 are other people's weights, trained so."""
    momentum: float = 0.1


_SCALES = {
    "b0": _Scale(1.0, 1.0, 0.2),
    "b1": _Scale(1.0, 1.1, 0.2),
    "b2": _Scale(1.1, 1.2, 0.3),
    "b3": _Scale(1.2, 1.4, 0.3),
    "b4": _Scale(1.4, 1.8, 0.4),
    "b5": _Scale(1.6, 2.2, 0.4, 1e-3, 0.01),
    "b6": _Scale(1.8, 2.6, 0.5, 1e-3, 0.01),
    "b7": _Scale(2.0, 3.1, 0.5, 1e-3, 0.01),
}


class _Stage(NamedTuple):
    expansion: int
    kernel: int
    stride: int
    width: int
    depth: int


_STEM = 32
_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
"""Table 1 of the paper, for B0."""


class _Convolution(nn.Sequential):
    """Convolution, normalisation and, unless told otherwise, SiLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        scale: _Scale,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__(
            nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False),
            BatchNorm2d(width, eps=scale.eps, momentum=scale.momentum),
            *([nn.SiLU(inplace=True)] if activation else []),
        )


def _stages(widths: list[int], scale: _Scale, stochastic_depth: float) -> list[nn.Sequential]:
    depths = [math.ceil(stage.depth * scale.depth) for stage in _STAGES]
    stages, done = [], 0
    for stage, depth, before, width in zip(_STAGES, depths, widths, widths[1:]):
        blocks = []
        for i in range(depth):
            channels, stride = (width, 1) if i else (before, stage.stride)
            skip = stochastic_depth * (done + i) / sum(depths)
            blocks.append(MBConv(channels, width, stage, scale, stride, skip))
        stages.append(nn.Sequential(*blocks))
        done += depth
    return stages


def _rounded(width: float) -> int:
    """Return the multiple of 8 nearest to `width`, but never less than 90 % of it."""
    nearest = max(8, int(width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * width else nearest


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        bound = 1.0 / math.sqrt(module.out_features)
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)
