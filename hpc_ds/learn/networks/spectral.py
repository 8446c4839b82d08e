"""Convolution by Fourier coefficients: each wave's channels are mixed by a matrix of their own, higher waves dropped.

Li et al., Fourier Neural Operator for Parametric Partial Differential Equations (arXiv 2010.08895), equation 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hpc_ds.learn.networks.tracing import is_autocast
from hpc_ds.learn.networks.waves import Waves, from_coefficients, make_waves, to_coefficients, wave_counts


class SpectralConvolution(nn.Module):
    """A convolution on periodic grids of any size, in 1, 2 or 3 dimensions.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    modes : (d,) int
        Waves kept along each axis, both signs counted: of the last, whose negative ones follow, m // 2 + 1 are stored.
    bias : bool
        Add a number to each channel.

    Attributes
    ----------
    weight : (*counts, 2, inputs, outputs) Parameter
        A matrix for each wave from the lowest, real and imaginary part: real numbers, so that whatever handles
        parameters can handle these.
    """

    def __init__(self, inputs: int, outputs: int, modes: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        self.modes = tuple(modes)
        spread = math.sqrt(2.0 / (inputs + outputs))
        shape = (*wave_counts(modes), 2, inputs, outputs)
        self.weight = nn.Parameter(torch.randn(shape) * (spread * math.sqrt(0.5)))
        self.bias = nn.Parameter(torch.randn(outputs) * spread) if bias else None

    def dense_weight(self) -> Tensor:
        """Return the weight (*counts, 2, inputs, outputs)."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the convolution of x (batch, \*grid, inputs), (batch, \*grid, outputs)."""
        waves = make_waves(x.shape[1:-1], self.modes, self.weight)
        return spectral_convolution(x, kept_weight(self.dense_weight(), waves), self.bias, waves)


def spectral_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, waves: Waves) -> Tensor:
    r"""Return the convolution of x (batch, \*grid, inputs) by weight (*counts, 2, inputs, outputs)."""
    with _full_precision(x):
        y = from_coefficients(mixed(to_coefficients(x.to(weight.dtype), waves), weight), waves)
        return y if bias is None else y + bias


def kept_weight(weight: Tensor, waves: Waves) -> Tensor:
    """Return the part of a weight whose waves the grid can hold."""
    return weight if waves.counts == weight.shape[: len(waves.kept)] else weight[waves.kept]


def mixed(a: Tensor, weight: Tensor) -> Tensor:
    """Return coefficients a (batch, 2, *counts, inputs) times a complex matrix each, (batch, 2, *counts, outputs)."""
    return unpaired(torch.bmm(paired(a), stacked(weight)), a.shape)


def stacked(weight: Tensor) -> Tensor:
    """Return the weight as one real matrix for each wave, (waves, 2 inputs, outputs)."""
    return weight.reshape(-1, 2 * weight.shape[-2], weight.shape[-1])


def paired(a: Tensor) -> Tensor:
    """Return rows that give, times `stacked` weights, real and imaginary parts: (waves, 2 batch, 2 inputs).

    (a + i b)(W + i V) has the real part (a, -b) (W, V) and the imaginary part (b, a) (W, V).
    """
    re, im = _by_wave(a)
    rows = torch.stack([torch.stack([re, -im], 2), torch.stack([im, re], 2)], 1)
    return rows.reshape(re.shape[0], 2 * re.shape[1], 2 * re.shape[2])


def unpaired(product: Tensor, shape: Sequence[int]) -> Tensor:
    """Return products (waves, 2 batch, outputs) as coefficients (batch, 2, *counts, outputs); `shape` of the inputs."""
    batch, channels = shape[0], product.shape[-1]
    parts = product.reshape(-1, 2, batch, channels).permute(2, 1, 0, 3)
    return parts.reshape(batch, 2, *shape[2:-1], channels)


def mixed_backward(g: Tensor, rows: Tensor, weight: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the gradients of a and the weight of `mixed`.

    Parameters
    ----------
    g : (batch, 2, *counts, outputs) Tensor
        Gradient of the result.
    rows : (waves, 2 batch, 2 inputs) Tensor
        `paired` of a.
    shape : sequence of int
        Of a.
    """
    re, im = _by_wave(g)
    above = torch.stack([re, im], 1).view(re.shape[0], 2 * re.shape[1], re.shape[2])
    g_weight = torch.bmm(rows.mT, above).view(weight.shape)
    parts = torch.bmm(above, stacked(weight).mT).view(-1, 2, shape[0], 2, shape[-1])
    g_re = parts[:, 0, :, 0] + parts[:, 1, :, 1]
    g_im = parts[:, 1, :, 0] - parts[:, 0, :, 1]
    return torch.stack([g_re, g_im]).permute(2, 0, 1, 3).reshape(shape), g_weight


def _full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Leave autocast: coefficients of eight bits would lose the small ones beside the large."""
    return torch.autocast(x.device.type, enabled=False) if is_autocast(x) else nullcontext()


def _by_wave(a: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts, (waves, batch, channels) each."""
    flat = a.reshape(a.shape[0], 2, -1, a.shape[-1])
    return flat[:, 0].transpose(0, 1), flat[:, 1].transpose(0, 1)
