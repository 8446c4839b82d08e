"""What is done to activations number by number, in place: compiled in single precision on one thread, else by torch.

`z`, `g`, `slope` and `x` are contiguous Tensors (rows, channels) on a CPU that track no gradient; vectors over the
channels come from `tile`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from hpc_ds.learn.networks.kernels import gelu as kernels

_LENGTH = 512  # numbers that a compiled loop takes at once, at least


def tile(vector: Tensor) -> Tensor:
    """Return a vector over the channels (c,) as often in a row as the compiled loops like it, (n c,)."""
    return vector.repeat(-(-_LENGTH // vector.numel()))


def untile(total: Tensor, channels: int) -> Tensor:
    """Return sums over the channels (c,) of sums (n c,)."""
    return total.view(-1, channels).sum(0)


def activate(z: Tensor, shift: Tensor) -> None:
    """Set z to GELU(z + shift)."""
    if _compiled(z):
        kernels.activate(*_flat(z, shift))
    else:
        z.add_(shift[: z.shape[1]])
        z.copy_(functional.gelu(z))


def activate_with_slope(z: Tensor, shift: Tensor, slope: Tensor) -> None:
    """Set z to GELU(z + shift) and `slope` to the derivative there."""
    if _compiled(z):
        kernels.activate_with_slope(*_flat(z, shift, slope))
    else:
        z.add_(shift[: z.shape[1]])
        slope.copy_(_slope(z))
        z.copy_(functional.gelu(z))


def multiply(g: Tensor, slope: Tensor, total: Tensor) -> None:
    """Multiply g by `slope`, and add its sum over the rows to `total`."""
    if _compiled(g):
        kernels.multiply(*_flat(g, slope, total))
    else:
        g.mul_(slope)
        total[: g.shape[1]] += g.sum(0)


def activate_gated(z: Tensor, shift: Tensor, gate: Tensor, x: Tensor) -> None:
    """Set z to GELU(z + shift + gate x)."""
    if _compiled(z):
        kernels.activate_gated(*_flat(z, shift, gate, x))
    else:
        add_gated(z, shift, gate, x)
        z.copy_(functional.gelu(z))


def activate_gated_backward(
    z: Tensor, shift: Tensor, gate: Tensor, x: Tensor, g: Tensor, gx: Tensor, totals: tuple[Tensor, Tensor]
) -> None:
    """Set z and `gx` to the gradients of z and x of `activate_gated`, g being that of its result.

    Those of shift and gate are added to `totals`.
    """
    if _compiled(z):
        kernels.activate_gated_backward(*_flat(z, shift, gate, x, g, gx, *totals))
    else:
        add_gated(z, shift, gate, x)
        z.copy_(_slope(z)).mul_(g)
        add_gated_backward(gate, x, z, gx, totals)


def add_gated(z: Tensor, shift: Tensor, gate: Tensor, x: Tensor) -> None:
    """Add shift + gate x to z."""
    n = z.shape[1]
    z.addcmul_(x, gate[:n]).add_(shift[:n])


def add_gated_backward(gate: Tensor, x: Tensor, g: Tensor, gx: Tensor, totals: tuple[Tensor, Tensor]) -> None:
    """As `activate_gated_backward`, of `add_gated`; the gradient of z is g itself."""
    n = g.shape[1]
    totals[0][:n] += g.sum(0)
    totals[1][:n] += torch.mul(g, x, out=gx).sum(0)
    torch.mul(g, gate[:n], out=gx)


def _compiled(z: Tensor) -> bool:
    return z.dtype == torch.float32 and torch.get_num_threads() == 1


def _flat(*tensors: Tensor) -> list[object]:
    return [tensor.view(-1).numpy() for tensor in tensors]


def _slope(x: Tensor) -> Tensor:
    """Phi(x) + x phi(x)."""
    bell = torch.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))) + x * bell
