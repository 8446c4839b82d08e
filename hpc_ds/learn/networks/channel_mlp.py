"""A network of two layers that treats every point of a grid alike, with GELU between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.nn import functional

from hpc_ds.learn.networks import elementwise
from hpc_ds.learn.networks.tracing import is_autocast, is_traced, is_transformed

CHUNK = 1 << 17
"""Numbers of one activation that are treated at once: what a chunk needs stays in the second-level cache."""


class ChannelMLP(nn.Module):
    """y = W2 gelu(W1 x + b1) + b2 at every point; fields (..., channels).

    Parameters
    ----------
    inputs, hidden, outputs : int
        Channels.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (..., outputs) of x (..., inputs)."""
        arguments = (x, self.first.weight, self.first.bias, self.second.weight, self.second.bias)
        return _ChannelMLP.apply(*arguments) if is_fusible(x, *arguments[1:]) else channel_mlp(*arguments)


def channel_mlp(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Return W2 gelu(W1 x + b1) + b2 over the last axis."""
    return functional.linear(functional.gelu(functional.linear(x, w1, b1)), w2, b2)


def is_fusible(*tensors: Tensor) -> bool:
    """Whether a fused function may run: on a CPU, in one precision, and with numbers instead of symbols.

    Elsewhere the same is written out in torch's operations: on CUDA their kernels are fast already, and autocast,
    tracers and function transforms only know those.
    """
    dtype = tensors[0].dtype
    return (
        dtype in (torch.float32, torch.float64)
        and all(
            type(t) in (Tensor, nn.Parameter) and t.dtype == dtype and t.device.type == "cpu" for t in tensors
        )
        and not (is_traced() or is_transformed() or is_autocast(tensors[0]))
        and tensors[0].numel() > 0
    )


def chunks(rows: int, numbers: int) -> Iterator[slice]:
    """Cut `rows` of so many numbers each into pieces of about `CHUNK` numbers."""
    size = max(1, CHUNK // numbers)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def plain_gradients(
    plain: Callable[..., Tensor], tensors: Sequence[Tensor], g: Tensor, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Return what autograd finds for `plain`, which a fused function stands for, with the graph of second derivatives.

    Parameters
    ----------
    plain : callable
        The function in torch's operations, of all `tensors`.
    g : Tensor
        Gradient of its result.
    wanted : sequence of bool
        Of which tensors the gradient is asked for.
    """
    with torch.enable_grad():
        y = plain(*tensors)
    chosen = [tensor for tensor, asked in zip(tensors, wanted) if asked]
    found = iter(torch.autograd.grad(y, chosen, g, create_graph=True))
    return [next(found) if asked else None for asked in wanted]


class _ChannelMLP(Function):
    """`channel_mlp` by pieces of the rows; what lies between the layers is computed anew on the way back."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        x, w1, b1, w2, b2 = (tensor.detach() for tensor in tensors)
        rows = x.reshape(-1, x.shape[-1])
        y, shift = x.new_empty(len(rows), len(w2)), elementwise.tile(b1)
        for part in chunks(len(rows), len(w1)):
            h = rows[part] @ w1.t()
            elementwise.activate(h, shift)
            torch.addmm(b2, h, w2.t(), out=y[part])
        return y.view(*x.shape[:-1], len(w2))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return tuple(plain_gradients(channel_mlp, ctx.saved_tensors, g, wanted))
        x, w1, b1, w2, _ = ctx.saved_tensors
        rows, above = x.reshape(-1, x.shape[-1]), g.reshape(-1, len(w2)).contiguous()
        shift, gx = elementwise.tile(b1), torch.empty_like(rows) if wanted[0] else None
        gw1, gw2, total = torch.zeros_like(w1), torch.zeros_like(w2), torch.zeros_like(shift)
        for part in chunks(len(rows), len(w1)):
            h = rows[part] @ w1.t()
            slope = torch.empty_like(h)
            elementwise.activate_with_slope(h, shift, slope)
            _add_product(gw2, above[part], h)
            torch.mm(above[part], w2, out=h)
            elementwise.multiply(h, slope, total)
            gw1.addmm_(h.t(), rows[part])
            if gx is not None:
                torch.mm(h, w1, out=gx[part])
        gb1, gb2 = elementwise.untile(total, len(b1)), above.sum(0)
        return None if gx is None else gx.view_as(x), gw1, gb1, gw2, gb2


def _add_product(to: Tensor, g: Tensor, h: Tensor) -> None:
    """Add g^T h (outputs, hidden) to `to`, for g (rows, outputs)."""
    if (
        g.shape[1] == 1
    ):  # a product with a vector adds up row after row; `sum` in a tree, as other products nearly do
        to += (h * g).sum(0)
    else:
        to.addmm_(g.t(), h)
