"""A layer of a Fourier neural operator: spectral convolution beside a matrix, GELU, and a network at every point.

    h = gelu(K x + b + W x)                     K the spectral convolution
    y = gelu(W2 gelu(W1 h + b1) + b2 + s x)     s a factor for each channel

The last layer of a network leaves out both outer GELUs; without channel MLP y is h. On a CPU all of it is one function
with one pass through memory each way: fields are treated row after row of the grid, in pieces that stay in the cache,
and nothing but x and the coefficients is kept for the way back, where the rest is computed anew.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.nn import functional

from hpc_ds.learn.networks.channel_mlp import ChannelMLP, channel_mlp, is_fusible, plain_gradients
from hpc_ds.learn.networks.fused_layer import FusedLayer
from hpc_ds.learn.networks.spectral import (
    kept_weight,
    mixed_backward,
    paired,
    spectral_convolution,
    stacked,
    unpaired,
)
from hpc_ds.learn.networks.waves import (
    Waves,
    coefficients_to_rows,
    make_waves,
    rows_to_coefficients,
    to_coefficients,
    transposed,
)


class FourierBlock(nn.Module):
    r"""One layer; fields (batch, \*grid, width).

    Parameters
    ----------
    convolution : nn.Module
        Has `modes`, `bias` and `dense_weight()`, as `SpectralConvolution` has.
    width : int
        Channels.
    hidden : int
        Channels within the channel MLP; 0: none.
    last : bool
        Whether the outer GELUs are left out.
    """

    def __init__(self, convolution: nn.Module, width: int, hidden: int, last: bool) -> None:
        super().__init__()
        self.convolution = convolution
        self.skip = nn.Linear(width, width, bias=False)
        self.channel_mlp = ChannelMLP(width, hidden, width) if hidden else None
        self.gate = nn.Parameter(torch.ones(width)) if hidden else None
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        r"""Return y (batch, \*grid, width)."""
        waves = make_waves(x.shape[1:-1], self.convolution.modes, self.convolution.bias)
        weight = kept_weight(self.convolution.dense_weight(), waves)
        tensors = [x, weight, self.convolution.bias, self.skip.weight]
        if self.channel_mlp is not None:
            first, second = self.channel_mlp.first, self.channel_mlp.second
            tensors += [first.weight, first.bias, second.weight, second.bias, self.gate]
        if is_fusible(*tensors) and not waves.has_many:
            return _FourierBlock.apply(waves, self.last, *tensors)
        return fourier_block(waves, self.last, *tensors)


def fourier_block(
    waves: Waves, last: bool, x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor, *mlp: Tensor
) -> Tensor:
    """Return y in torch's operations; `mlp` holds W1, b1, W2, b2 and s, or nothing."""
    h = spectral_convolution(x, weight, bias, waves) + functional.linear(x, skip)
    h = h if last else functional.gelu(h)
    if not mlp:
        return h
    y = channel_mlp(h, *mlp[:4]) + mlp[4] * x
    return y if last else functional.gelu(y)


class _FourierBlock(Function):
    """`fourier_block` by pieces of the grid's rows."""

    @staticmethod
    def forward(ctx: Any, waves: Waves, last: bool, *tensors: Tensor) -> Tensor:
        x, weight, *rest = (tensor.detach() for tensor in tensors)
        a = to_coefficients(x, waves)
        pairs = paired(a)
        b = unpaired(torch.bmm(pairs, stacked(weight)), a.shape)
        ctx.waves, ctx.last = waves, last
        ctx.save_for_backward(*tensors, pairs, b)
        return FusedLayer(waves, last, x, b, *rest).forward()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        *tensors, pairs, b = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(fourier_block, ctx.waves, ctx.last)
            return None, None, *plain_gradients(plain, tensors, g, ctx.needs_input_grad[2:])
        x, weight, *rest = tensors
        back = transposed(ctx.waves)
        gx, g_rows, *g_rest = FusedLayer(ctx.waves, ctx.last, x, b, *rest).backward(g)
        g_b = rows_to_coefficients(g_rows, back, len(x))
        g_a, g_weight = mixed_backward(g_b, pairs, weight, b.shape)
        rows = coefficients_to_rows(g_a, back)
        matrix = back.synthesis[-1]
        gx.view(-1, *gx.shape[-2:]).baddbmm_(matrix.expand(len(rows), *matrix.shape), rows)
        return None, None, gx, g_weight, *g_rest
