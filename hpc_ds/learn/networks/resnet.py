"""Residual networks for images, with torchvision's names of parameters (He et al. 2016)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hpc_ds.learn.networks.batch_norm import BatchNorm2d
from hpc_ds.learn.networks.heads import Head, last_layers


class Options(BaseModel):
    """Options of resnet18, resnet34, resnet50, resnet101 and resnet152."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    layers: Literal[18, 34, 50, 101, 152] = 18
    """Layers with weights, which the name says."""

    stem: Literal["torchvision", "small"] = "torchvision"
    """torchvision: a 7 x 7 convolution and a pooling quarter the image; small: a 3 x 3 convolution keeps its size, for
    images of some 32 points."""

    head: Head = "torchvision"
    """torchvision: one linear layer; dense: a hidden layer of 1024 before it."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability with which a feature before the last layer is left out."""


def build(options: Options, inputs: tuple[int, ...], outputs: tuple[int, ...], task: str) -> nn.Module:
    """Return the network for images ``inputs = (channels, height, width)`` and ``outputs[0]`` numbers of each."""
    return ResNet(options, inputs[0], outputs[0])


class ResNet(nn.Module):
    """Four stages of residual blocks, each at half the resolution of the one before.

    Where a bottleneck halves it, its 3 x 3 convolution does (torchvision's variant, not the paper's).
    """

    head_names = ("fc",)
    attention_layer = "layer4"

    def __init__(self, options: Options, channels: int, outputs: int) -> None:
        super().__init__()
        block, depths = _STAGES[options.layers]
        self.conv1, self.maxpool = _stem(options.stem, channels)
        self.bn1 = BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(block, 64, 64, depths[0], 1)
        self.layer2 = _stage(block, 64 * block.expansion, 128, depths[1], 2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, depths[2], 2)
        self.layer4 = _stage(block, 256 * block.expansion, 512, depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout, self.fc = last_layers(options.head, 512 * block.expansion, outputs, options.dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, outputs) of images (n, channels, height, width)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, width, 3, stride)
        self.bn1 = BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return (n, width, \*grid / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1 that narrow and widen, beside the identity."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, width, 1)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = _convolution(width, 4 * width, 1)
        self.bn3 = BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return (n, 4 width, \*grid / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


_Block = type[BasicBlock] | type[Bottleneck]

_STAGES: dict[int, tuple[_Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
"""Blocks of the four stages, by layers with weights (Table 1 of the paper)."""


def _stem(kind: str, channels: int) -> tuple[nn.Conv2d, nn.Module]:
    if kind == "small":
        return _convolution(channels, 64, 3), nn.Identity()
    return _convolution(channels, 64, 7, 2), nn.MaxPool2d(3, stride=2, padding=1)


def _stage(block: _Block, channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    rest = [block(width * block.expansion, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(block(channels, width, stride), *rest)


def _convolution(channels: int, width: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)


def _shortcut(channels: int, width: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == width:
        return None
    return nn.Sequential(_convolution(channels, width, 1, stride), BatchNorm2d(width))
