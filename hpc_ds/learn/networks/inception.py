"""Inception-v3 for images, with torchvision's names of parameters (Szegedy et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from hpc_ds.learn.networks.batch_norm import BatchNorm2d
from hpc_ds.learn.networks.heads import Head, last_layers
from hpc_ds.runtime.errors import InputError

SMALLEST = 75
"""Points along a side below which the trunk has nothing left to convolve."""


class Options(BaseModel):
    """Options of inception-v3."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    head: Head = "torchvision"
    """torchvision: one linear layer; dense: a hidden layer of 1024 before it."""

    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Probability with which a feature before the last layer is left out."""

    aux_logits: bool = False
    """Keep torchvision's auxiliary classifier, so that its file is read as a whole; it is not trained."""

    imagenet_scale: bool = False
    """Scale the inputs, of mean 0 and spread 1, to what torchvision's ImageNet weights were trained on."""


def build(options: Options, inputs: tuple[int, ...], outputs: tuple[int, ...], task: str) -> nn.Module:
    """Return the network for images ``inputs = (channels, height, width)`` and ``outputs[0]`` numbers of each.

    Raises
    ------
    InputError
        Images that are too small.
    """
    if min(inputs[1:]) < SMALLEST:
        raise InputError(
            f"takes images of {SMALLEST} x {SMALLEST} points or more, these have {inputs[1]} x {inputs[2]}"
        )
    return Inception3(options, inputs[0], outputs[0])


class Inception3(nn.Module):
    """A stem of convolutions and eleven blocks whose branches see at several scales."""

    head_names = ("fc", "AuxLogits")
    attention_layer = "Mixed_7c"

    def __init__(self, options: Options, channels: int, outputs: int) -> None:
        super().__init__()
        self.scale = _Scale(channels) if options.imagenet_scale else nn.Identity()
        self.Conv2d_1a_3x3 = _Convolution(channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = Mixed(192, _block_a(32))
        self.Mixed_5c = Mixed(256, _block_a(64))
        self.Mixed_5d = Mixed(288, _block_a(64))
        self.Mixed_6a = Mixed(288, _BLOCK_B)
        self.Mixed_6b = Mixed(768, _block_c(128))
        self.Mixed_6c = Mixed(768, _block_c(160))
        self.Mixed_6d = Mixed(768, _block_c(160))
        self.Mixed_6e = Mixed(768, _block_c(192))
        self.AuxLogits = Auxiliary(768, outputs) if options.aux_logits else None
        self.Mixed_7a = Mixed(768, _BLOCK_D)
        self.Mixed_7b = Mixed(1280, _BLOCK_E)
        self.Mixed_7c = Mixed(2048, _BLOCK_E)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout, self.fc = last_layers(options.head, 2048, outputs, options.dropout)
        for name, module in self.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.001 if name == "AuxLogits.fc" else 0.1)
        if self.AuxLogits is not None:
            self.AuxLogits.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, outputs) of images (n, channels, height, width)."""
        return self._outputs(self._middle(images))

    def with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the auxiliary classifier's, both (n, outputs); for option `aux_logits`."""
        if self.AuxLogits is None:
            raise InputError("inception-v3: built without the option aux_logits")
        middle = self._middle(images)
        return self._outputs(middle), self.AuxLogits(middle)

    def _middle(self, images: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(self.scale(images))))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))
        return self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))

    def _outputs(self, x: Tensor) -> Tensor:
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return self.fc(self.dropout(self.avgpool(x)).flatten(1))


class Mixed(nn.Module):
    """Branches beside each other, whose channels are put together."""

    def __init__(self, channels: int, branches: Sequence[_Branch]) -> None:
        super().__init__()
        self.branches = branches
        for branch in branches:
            width = channels
            for step in branch.steps:
                self.add_module(
                    step.name, _Convolution(width, step.width, step.kernel, step.stride, step.padding)
                )
                width = step.width
            for step in branch.fork:
                self.add_module(step.name, _Convolution(width, step.width, step.kernel, padding=step.padding))

    def forward(self, x: Tensor) -> Tensor:
        r"""Return (n, all branches' channels, \*grid)."""
        found = []
        for branch in self.branches:
            y = _pooled(x, branch.pool)
            for step in branch.steps:
                y = self.get_submodule(step.name)(y)
            found += [self.get_submodule(step.name)(y) for step in branch.fork] or [y]
        return torch.cat(found, 1)


class Auxiliary(nn.Module):
    """The classifier at the end of the sixth stage."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = _Convolution(channels, 128, 1)
        self.conv1 = _Convolution(128, 768, 5)
        self.fc = nn.Linear(768, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs)."""
        x = self.conv1(self.conv0(functional.avg_pool2d(x, 5, stride=3)))
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class _Scale(nn.Module):
    """From torchvision's normalisation of ImageNet to that of these weights, (value - 0.5) / 0.5.

    Channels that are no colours take the mean of the three colours' figures.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        if channels != 3:
            mean, spread = mean.mean().expand(channels), spread.mean().expand(channels)
        self.register_buffer("factor", (spread / 0.5).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - 0.5) / 0.5).reshape(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.shift


class _Convolution(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class _Step(NamedTuple):
    """One convolution of a branch; those of stride 1 keep the grid."""

    name: str
    width: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1

    @property
    def padding(self) -> int | tuple[int, int]:
        if self.stride > 1:
            return 0
        return (
            self.kernel // 2 if isinstance(self.kernel, int) else (self.kernel[0] // 2, self.kernel[1] // 2)
        )


class _Branch(NamedTuple):
    steps: tuple[_Step, ...] = ()
    fork: tuple[_Step, ...] = ()
    """Convolutions beside each other after the last step."""
    pool: str = ""
    """What comes first: average keeps the grid, largest halves it."""


_ROW, _COLUMN = (1, 7), (7, 1)

_HALVED = _Branch(pool="largest")


def _block_a(pooled: int) -> tuple[_Branch, ...]:
    """Return Figure 5 of the paper, with 5 x 5 left as it is."""
    return (
        _Branch((_Step("branch1x1", 64),)),
        _Branch((_Step("branch5x5_1", 48), _Step("branch5x5_2", 64, 5))),
        _Branch(
            (_Step("branch3x3dbl_1", 64), _Step("branch3x3dbl_2", 96, 3), _Step("branch3x3dbl_3", 96, 3))
        ),
        _Branch((_Step("branch_pool", pooled),), pool="average"),
    )


_BLOCK_B = (
    _Branch((_Step("branch3x3", 384, 3, 2),)),
    _Branch((_Step("branch3x3dbl_1", 64), _Step("branch3x3dbl_2", 96, 3), _Step("branch3x3dbl_3", 96, 3, 2))),
    _HALVED,
)
"""To half the grid, as in Figure 10."""


def _block_c(width: int) -> tuple[_Branch, ...]:
    """Return Figure 6 of the paper, with n = 7."""
    return (
        _Branch((_Step("branch1x1", 192),)),
        _Branch(
            (
                _Step("branch7x7_1", width),
                _Step("branch7x7_2", width, _ROW),
                _Step("branch7x7_3", 192, _COLUMN),
            )
        ),
        _Branch(
            (
                _Step("branch7x7dbl_1", width),
                _Step("branch7x7dbl_2", width, _COLUMN),
                _Step("branch7x7dbl_3", width, _ROW),
                _Step("branch7x7dbl_4", width, _COLUMN),
                _Step("branch7x7dbl_5", 192, _ROW),
            )
        ),
        _Branch((_Step("branch_pool", 192),), pool="average"),
    )


_BLOCK_D = (
    _Branch((_Step("branch3x3_1", 192), _Step("branch3x3_2", 320, 3, 2))),
    _Branch(
        (
            _Step("branch7x7x3_1", 192),
            _Step("branch7x7x3_2", 192, _ROW),
            _Step("branch7x7x3_3", 192, _COLUMN),
            _Step("branch7x7x3_4", 192, 3, 2),
        )
    ),
    _HALVED,
)
"""To half the grid once more."""

_BLOCK_E = (
    _Branch((_Step("branch1x1", 320),)),
    _Branch(
        (_Step("branch3x3_1", 384),),
        fork=(_Step("branch3x3_2a", 384, (1, 3)), _Step("branch3x3_2b", 384, (3, 1))),
    ),
    _Branch(
        (_Step("branch3x3dbl_1", 448), _Step("branch3x3dbl_2", 384, 3)),
        fork=(_Step("branch3x3dbl_3a", 384, (1, 3)), _Step("branch3x3dbl_3b", 384, (3, 1))),
    ),
    _Branch((_Step("branch_pool", 192),), pool="average"),
)
"""Figure 7 of the paper: many channels on the smallest grid."""


def _pooled(x: Tensor, pool: str) -> Tensor:
    if pool == "average":
        return functional.avg_pool2d(x, 3, stride=1, padding=1)
    return functional.max_pool2d(x, 3, stride=2) if pool == "largest" else x
