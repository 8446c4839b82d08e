"""Fourier neural operators in 1, 2 and 3 dimensions: maps between fields that take grids of any size.

Li et al. (arXiv 2010.08895); with channel MLPs and a lifting of two layers as Kossaifi et al. (arXiv 2310.00120) have
them. What a weight means does not depend on the resolution, so that a network trained on one grid predicts on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from hpc_ds.learn.networks.channel_mlp import ChannelMLP
from hpc_ds.learn.networks.fourier_block import FourierBlock
from hpc_ds.learn.networks.spectral import SpectralConvolution
from hpc_ds.runtime.errors import InputError

_USUAL_MODES = {1: 32, 2: 16, 3: 8}  # along each axis, by the number of axes


class Options(BaseModel):
    """Options of fno."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    modes: tuple[int, ...] = ()
    """Waves kept along each axis, both signs counted, e.g. 16 or 32,16; by default 32 in 1, 16 in 2 and 8 in 3
    dimensions, or what the grid holds."""

    width: int = Field(default=32, ge=1)
    """Channels between the layers."""

    layers: int = Field(default=4, ge=1)
    """Fourier layers."""

    lifting: float = Field(default=2.0, ge=0.0)
    """Hidden channels of the network that brings inputs to the width, in widths; 0 is a linear map."""

    projection: float = Field(default=2.0, ge=0.0)
    """Hidden channels of the network that brings the width to the outputs, in widths; 0 is a linear map."""

    channel_mlp: float = Field(default=0.5, ge=0.0)
    """Hidden channels of the network at every point within a layer, in widths; 0 leaves it out, as the first paper on
    FNOs did."""

    positions: bool = True
    """Give the network each point's place in [0, 1) as further inputs."""

    padding: tuple[float, ...] = ()
    """Zeros at either end of axes that are not periodic, in lengths of the axis, e.g. 0.1, or one number for each axis
    whatever it is."""

    @field_validator("modes", "padding", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        return (value,) if isinstance(value, int | float) else value

    @field_validator("modes")
    @classmethod
    def _waves(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(modes < 1 for modes in value):
            raise ValueError("1 or more along each axis are needed, such as 16,16")
        return value

    @field_validator("padding")
    @classmethod
    def _lengths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.0 <= length <= 1.0 for length in value):
            raise ValueError("parts of an axis, from 0 to 1, are needed, such as 0.1")
        return value


def build(
    options: Options, inputs: tuple[int, ...], outputs: tuple[int, ...], task: str, axes: Sequence[Any] = ()
) -> nn.Module:
    r"""Return the network from fields `inputs` to fields `outputs`, (channels, \*grid) each on one grid.

    Raises
    ------
    InputError
        No fields on one grid of 1 to 3 dimensions, or more modes than the grid holds.
    """
    return build_with(SpectralConvolution, options, inputs, outputs, task, axes)


def build_with(
    convolution: Callable[[int, int, tuple[int, ...]], nn.Module],
    options: Options,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    task: str,
    axes: Sequence[Any] = (),
) -> FNO:
    """Return a network whose layers convolve by ``convolution(inputs, outputs, modes)``; see `build`."""
    grid = inputs[1:]
    if task != "fields" or grid != outputs[1:] or not 1 <= len(grid) <= 3:
        raise InputError(f"needs fields on one grid of 1 to 3 dimensions; found {inputs} to {outputs}")
    modes, padding = _modes(options, grid), _padding(options, len(grid), axes)
    return FNO(inputs[0], outputs[0], modes, options, padding, convolution)


class FNO(nn.Module):
    """A Fourier neural operator.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    modes : (d,) int
        Waves along each axis, both signs counted.
    options : Options
    padding : (d,) float
        Zeros at either end of each axis, in lengths of the axis.
    convolution : callable
        Makes a spectral convolution of inputs, outputs and modes.
    """

    grid_free = True
    """Its weights know waves, not points."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        modes: Sequence[int],
        options: Options,
        padding: Sequence[float] = (),
        convolution: Callable[[int, int, tuple[int, ...]], nn.Module] = SpectralConvolution,
    ) -> None:
        super().__init__()
        width, modes = options.width, tuple(modes)
        self.padding = tuple(padding) or (0.0,) * len(modes)
        self.positions = options.positions
        self.lifting = _pointwise(inputs + len(modes) * options.positions, options.lifting * width, width)
        hidden = round(options.channel_mlp * width)
        self.blocks = nn.Sequential(
            *(
                FourierBlock(
                    convolution(width, width, modes), width, hidden, last=layer == options.layers - 1
                )
                for layer in range(options.layers)
            )
        )
        self.projection = _pointwise(width, options.projection * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the outputs (batch, outputs, \*grid) of x (batch, inputs, \*grid), on any grid."""
        grid = tuple(map(int, x.shape[2:]))  # of jit's tracer Tensors
        ends = [round(part * n) for part, n in zip(self.padding, grid)]
        fields = x.movedim(1, -1)
        if self.positions:
            places = positions(grid, x)
            fields = torch.cat([fields, places.expand(x.shape[0], *places.shape)], -1)
        fields = self.lifting(fields)
        if any(ends):
            fields = functional.pad(fields, [0, 0, *(end for end in reversed(ends) for _ in range(2))])
        fields = self.blocks(fields)
        for axis, end in enumerate(ends, 1):
            fields = fields.narrow(axis, end, fields.shape[axis] - 2 * end)
        return self.projection(fields).movedim(-1, 1).contiguous()


def positions(grid: Sequence[int], like: Tensor) -> Tensor:
    r"""Return each point's place along each axis in [0, 1), (\*grid, d)."""
    ticks = [torch.arange(n, device=like.device, dtype=like.dtype) / n for n in grid]
    return torch.stack(torch.meshgrid(*ticks, indexing="ij"), -1)


def _pointwise(inputs: int, hidden: float, outputs: int) -> nn.Module:
    return ChannelMLP(inputs, int(hidden), outputs) if int(hidden) else nn.Linear(inputs, outputs)


def _modes(options: Options, grid: Sequence[int]) -> tuple[int, ...]:
    if not options.modes:
        return tuple(min(_USUAL_MODES[len(grid)], n) for n in grid)
    modes = options.modes * len(grid) if len(options.modes) == 1 else options.modes
    if len(modes) != len(grid):
        raise InputError(f"option modes: {len(modes)} numbers for {len(grid)} axes of the grid {grid}")
    for m, n in zip(modes, grid):
        if m > n:
            raise InputError(f"option modes: {m} waves along an axis of {n} points; it holds {n}")
    return modes


def _padding(options: Options, dimensions: int, axes: Sequence[Any]) -> tuple[float, ...]:
    if len(options.padding) <= 1:
        length = options.padding[0] if options.padding else 0.0
        periodic = [axis.periodic for axis in axes] or [False] * dimensions
        return tuple(0.0 if is_periodic else length for is_periodic in periodic)
    if len(options.padding) != dimensions:
        raise InputError(f"option padding: {len(options.padding)} numbers for {dimensions} axes")
    return options.padding
