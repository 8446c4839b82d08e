"""Fourier neural operators whose spectral weights are Tucker tensors: a small core and a factor for each axis.

Kossaifi et al., Multi-Grid Tensorized Fourier Neural Operator (arXiv 2310.00120).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pydantic import Field
from scipy.optimize import brentq
from torch import Tensor, nn

from hpc_ds.learn.networks import fno
from hpc_ds.learn.networks.spectral import kept_weight, spectral_convolution
from hpc_ds.learn.networks.waves import make_waves, wave_counts


class Options(fno.Options):
    """Options of tfno."""

    rank: float = Field(default=0.1, gt=0.0, le=1.0)
    """Size of the factorised spectral weights, in sizes of dense ones."""


def build(
    options: Options, inputs: tuple[int, ...], outputs: tuple[int, ...], task: str, axes: Sequence[Any] = ()
) -> nn.Module:
    """Return the network; see `fno.build`."""
    return fno.build_with(partial(TuckerConvolution, rank=options.rank), options, inputs, outputs, task, axes)


class TuckerConvolution(nn.Module):
    """A spectral convolution by factorised weights.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    modes : (d,) int
        Waves kept along each axis, both signs counted.
    rank : float
        Numbers of the factorised weight over those of a dense one, about.

    Attributes
    ----------
    core : (2, *ranks) Parameter
        Real and imaginary part; axes are those of the waves, inputs, outputs.
    factors : of each axis (2, length, rank) Parameter
    """

    def __init__(self, inputs: int, outputs: int, modes: Sequence[int], rank: float = 0.1) -> None:
        super().__init__()
        self.modes = tuple(modes)
        shape = (*wave_counts(modes), inputs, outputs)
        ranks = tucker_ranks(shape, rank)
        spread = math.sqrt(2.0 / (inputs + outputs))
        # The product of a core and n factors of this spread, summed over the ranks, has the spread of dense weights.
        each = (spread / math.sqrt(math.prod(ranks))) ** (1.0 / (len(shape) + 1)) * math.sqrt(0.5)
        self.core = nn.Parameter(torch.randn(2, *ranks) * each)
        self.factors = nn.ParameterList(
            [nn.Parameter(torch.randn(2, length, r) * each) for length, r in zip(shape, ranks)]
        )
        self.bias = nn.Parameter(torch.randn(outputs) * spread)

    def dense_weight(self) -> Tensor:
        """Return the weight (*counts, 2, inputs, outputs)."""
        return tucker_product(self.core, list(self.factors)).movedim(0, len(self.modes)).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the convolution of x (batch, \*grid, inputs), (batch, \*grid, outputs)."""
        waves = make_waves(x.shape[1:-1], self.modes, self.core)
        return spectral_convolution(x, kept_weight(self.dense_weight(), waves), self.bias, waves)


def tucker_ranks(shape: Sequence[int], rank: float) -> tuple[int, ...]:
    """Return a rank for each axis, in proportion to the shape.

    Core and factors together then have about `rank` times the numbers of a dense tensor.
    """
    size, squares = math.prod(shape), sum(length**2 for length in shape)
    part = brentq(lambda s: size * s ** len(shape) + squares * s - rank * size, 0.0, max(rank, 1.0))
    return tuple(max(round(length * part), 1) for length in shape)


def tucker_product(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Return the complex tensor (2, *lengths) of a core (2, *ranks) and factors (2, length, rank) of each axis."""
    re, im = core
    for axis in reversed(range(len(factors))):
        a, b = factors[axis]
        re, im = re.movedim(axis, -1), im.movedim(axis, -1)
        re, im = re @ a.mT - im @ b.mT, re @ b.mT + im @ a.mT
        re, im = re.movedim(-1, axis), im.movedim(-1, axis)
    return torch.stack([re, im])
