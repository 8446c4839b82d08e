"""U-Net for fields on grids of one, two or three dimensions and of any size (Ronneberger et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from hpc_ds.learn.networks.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from hpc_ds.learn.networks.mlp import ACTIVATIONS, Activation
from hpc_ds.runtime.errors import InputError


class Options(BaseModel):
    """Options of unet."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    width: int = Field(default=32, ge=1)
    """Channels on the finest grid; each coarser one has twice as many."""

    depth: int = Field(default=4, ge=1, le=10)
    """How often the grid is halved."""

    normalisation: Literal["group", "batch", "none"] = "group"
    """After each convolution: group (of at most 8 channels, of each sample alone), batch or none."""

    activation: Activation = "gelu"
    """relu, gelu, silu or tanh."""

    boundary: Literal["auto", "periodic", "zeros"] = "auto"
    """What lies beyond the grid: auto goes round along axes that the data call periodic, and is zeros along others."""


def build(
    options: Options,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    task: str,
    axes: Sequence[Any] = (),
) -> nn.Module:
    """Return the network from ``inputs = (channels, *grid)`` to ``outputs = (channels, *grid)``.

    Raises
    ------
    InputError
        Inputs and outputs do not share a grid, or it has too few points to be halved so often.
    """
    grid = inputs[1:]
    if outputs[1:] != grid:
        raise InputError(f"needs inputs and targets on one grid; found {inputs} to {outputs}")
    if min(grid) < 2**options.depth:
        fits = int(math.log2(min(grid)))
        raise InputError(
            f"option depth {options.depth}: needs {2**options.depth} points along each axis, found {min(grid)}"
            + (f"; depth {fits} fits" if fits else "")
        )
    return UNet(options, inputs[0], outputs[0], _periodic(options.boundary, len(grid), axes))


class UNet(nn.Module):
    """Down to coarser grids and up again, each level with what came down at its own resolution.

    A grid that cannot be halved so often is extended on both sides and cut afterwards; the network takes other
    resolutions than that it was trained on.
    """

    grid_free = True
    """It takes other grids; what it has learned is a matter of points, not of lengths."""

    def __init__(self, options: Options, channels: int, outputs: int, periodic: tuple[bool, ...]) -> None:
        super().__init__()
        widths = [options.width * 2**level for level in range(options.depth + 1)]
        convolution, pool, transposed, _ = _LAYERS[len(periodic)]
        self.periodic = periodic
        self.multiple = 2**options.depth
        self.down = nn.ModuleList(
            _Level(options, before, width, periodic) for before, width in zip((channels, *widths), widths)
        )
        self.pool = pool(2)
        self.enlarge = nn.ModuleList(transposed(2 * width, width, 2, stride=2) for width in widths[-2::-1])
        self.up = nn.ModuleList(_Level(options, 2 * width, width, periodic) for width in widths[-2::-1])
        self.last = convolution(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return (n, outputs, \*grid) of (n, channels, \*grid)."""
        grid = x.shape[2:]
        before = [(-size % self.multiple) // 2 for size in grid]
        x = self._extended(x, before)
        passed = []
        for level in self.down[:-1]:
            x = level(x)
            passed.append(x)
            x = self.pool(x)
        x = self.down[-1](x)
        for enlarge, level in zip(self.enlarge, self.up):
            x = level(torch.cat((enlarge(x), passed.pop()), 1))
        x = self.last(x)
        for axis, (start, size) in enumerate(zip(before, grid), 2):
            x = x.narrow(axis, start, size)
        return x

    def _extended(self, x: Tensor, before: Sequence[int]) -> Tensor:
        after = [-size % self.multiple - start for size, start in zip(x.shape[2:], before)]
        for periodic, mode in ((True, "circular"), (False, "constant")):
            widths = [
                (low, high) if self.periodic[axis] is periodic else (0, 0)
                for axis, (low, high) in enumerate(zip(before, after))
            ]
            x = _padded(x, widths, mode)
        return x


class _Level(nn.Module):
    """Two convolutions of three points along each axis, each normalised and activated."""

    def __init__(self, options: Options, channels: int, width: int, periodic: tuple[bool, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolved(options, channels, width, periodic), *_convolved(options, width, width, periodic)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class _GoRound(nn.Module):
    """Extend by a point on both sides of each periodic axis."""

    def __init__(self, periodic: tuple[bool, ...]) -> None:
        super().__init__()
        self.widths = [(int(goes_round),) * 2 for goes_round in periodic]

    def forward(self, x: Tensor) -> Tensor:
        return _padded(x, self.widths, "circular")


_LAYERS: dict[int, tuple[Any, Any, Any, Any]] = {
    1: (nn.Conv1d, nn.MaxPool1d, nn.ConvTranspose1d, BatchNorm1d),
    2: (nn.Conv2d, nn.MaxPool2d, nn.ConvTranspose2d, BatchNorm2d),
    3: (nn.Conv3d, nn.MaxPool3d, nn.ConvTranspose3d, BatchNorm3d),
}


def _convolved(options: Options, channels: int, width: int, periodic: tuple[bool, ...]) -> list[nn.Module]:
    convolution, _, _, batch_norm = _LAYERS[len(periodic)]
    padding = tuple(int(not goes_round) for goes_round in periodic)
    bare = options.normalisation == "none"
    layers: list[nn.Module] = [_GoRound(periodic)] if any(periodic) else []
    layers.append(convolution(channels, width, 3, padding=padding, bias=bare))
    if options.normalisation == "batch":
        layers.append(batch_norm(width))
    elif not bare:
        layers.append(nn.GroupNorm(math.gcd(8, width), width))
    return [*layers, ACTIVATIONS[options.activation]()]


def _padded(x: Tensor, widths: Sequence[tuple[int, int]], mode: str) -> Tensor:
    if not any(map(any, widths)):
        return x
    # torch counts axes from the last.
    return functional.pad(x, [width for pair in reversed(widths) for width in pair], mode)


def _periodic(boundary: str, dimensions: int, axes: Sequence[Any]) -> tuple[bool, ...]:
    if boundary != "auto" or len(axes) != dimensions:
        return (boundary == "periodic",) * dimensions
    return tuple(bool(getattr(axis, "periodic", False)) for axis in axes)
