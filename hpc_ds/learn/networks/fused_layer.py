"""The loop of a Fourier layer over pieces of its grid, forward and back; see `fourier_block` for what it computes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hpc_ds.learn.networks import elementwise
from hpc_ds.learn.networks.channel_mlp import chunks
from hpc_ds.learn.networks.elementwise import tile, untile
from hpc_ds.learn.networks.waves import Waves, coefficients_to_rows


class FusedLayer:
    r"""One pass over a layer; the Tensors track no gradient.

    Parameters
    ----------
    waves : Waves
    last : bool
        Whether the outer GELUs are left out.
    x : (batch, \*grid, width) Tensor
    b : (batch, 2, *counts, width) Tensor
        Coefficients of the spectral convolution's result.
    bias, skip : (width,) and (width, width) Tensor
    mlp : W1 (hidden, width), b1, W2 (width, hidden), b2 and the gate, or nothing
    """

    def __init__(
        self, waves: Waves, last: bool, x: Tensor, b: Tensor, bias: Tensor, skip: Tensor, *mlp: Tensor
    ) -> None:
        self.last, self.skip, self.shape = last, skip, x.shape
        self.points, self.width = waves.grid[-1], x.shape[-1]
        self.x = x.reshape(-1, self.points, self.width)
        self.rows = coefficients_to_rows(b, waves)
        self.matrix = waves.synthesis[-1]
        self.shift = tile(bias)
        self.has_mlp = bool(mlp)
        if mlp:
            self.w1, b1, self.w2, b2, gate = mlp
            self.shift1, self.shift2, self.gate = tile(b1), tile(b2), tile(gate)

    def forward(self) -> Tensor:
        r"""Return y (batch, \*grid, width)."""
        y = torch.empty_like(self.x)
        for part in self._parts():
            x, out = self.x[part].view(-1, self.width), y[part].view(-1, self.width)
            h = self._mix(part, torch.empty_like(out) if self.has_mlp else out)
            if self.last:
                h += self.shift[: self.width]
            else:
                elementwise.activate(h, self.shift)
            if self.has_mlp:
                self._think(x, h, out)
        return y.view(self.shape)

    def backward(self, g: Tensor) -> list[Tensor]:
        """Return gradients, g being that of y.

        Returns
        -------
        list of Tensor
            Of x, but for what goes through the convolution; of `rows`; of bias and skip; of W1, b1, W2, b2 and gate.
        """
        return _Backward(self, g).run()

    def _parts(self) -> Iterator[slice]:
        return chunks(len(self.x), self.points * self.width)

    def _mix(self, part: slice, out: Tensor) -> Tensor:
        """K x + W x, into `out` (points, width)."""
        rows = self.rows[part]
        torch.bmm(
            self.matrix.expand(len(rows), *self.matrix.shape), rows, out=out.view(len(rows), -1, self.width)
        )
        return out.addmm_(self.x[part].view(-1, self.width), self.skip.t())

    def _think(self, x: Tensor, h: Tensor, out: Tensor) -> None:
        q = h @ self.w1.t()
        elementwise.activate(q, self.shift1)
        torch.mm(q, self.w2.t(), out=out)
        step = elementwise.add_gated if self.last else elementwise.activate_gated
        step(out, self.shift2, self.gate, x)


class _Backward:
    """The way back: what is added up over the pieces."""

    def __init__(self, layer: FusedLayer, g: Tensor) -> None:
        self.layer, self.g = layer, g.reshape(layer.x.shape)
        self.g = self.g.contiguous()
        self.gx, self.g_rows = torch.empty_like(layer.x), torch.empty_like(layer.rows)
        self.g_skip, self.g_shift = torch.zeros_like(layer.skip), torch.zeros_like(layer.shift)
        if layer.has_mlp:
            self.gw1, self.gw2 = torch.zeros_like(layer.w1), torch.zeros_like(layer.w2)
            self.g_shift1, self.g_shift2 = torch.zeros_like(layer.shift1), torch.zeros_like(layer.shift2)
            self.g_gate = torch.zeros_like(layer.gate)

    def run(self) -> list[Tensor]:
        layer, width = self.layer, self.layer.width
        back = layer.matrix.mT
        for part in layer._parts():
            x, g, gx = (t[part].view(-1, width) for t in (layer.x, self.g, self.gx))
            h = layer._mix(part, torch.empty_like(g))
            slope = None if layer.last else torch.empty_like(h)
            if slope is None:
                h += layer.shift[:width]
            else:
                elementwise.activate_with_slope(h, layer.shift, slope)
            gh = self._think(x, h, g, gx) if layer.has_mlp else h.copy_(g)
            if slope is None:
                self.g_shift[:width] += gh.sum(0)
            else:
                elementwise.multiply(gh, slope, self.g_shift)
            self.g_skip.addmm_(gh.t(), x)
            gx.addmm_(gh, layer.skip, beta=1 if layer.has_mlp else 0)
            lines = gh.view(-1, layer.points, width)
            torch.bmm(back.expand(len(lines), *back.shape), lines, out=self.g_rows[part])
        found = [self.gx.view(layer.shape), self.g_rows, untile(self.g_shift, width), self.g_skip]
        if layer.has_mlp:
            of1, of2 = untile(self.g_shift1, len(layer.w1)), untile(self.g_shift2, width)
            found += [self.gw1, of1, self.gw2, of2, untile(self.g_gate, width)]
        return found

    def _think(self, x: Tensor, h: Tensor, g: Tensor, gx: Tensor) -> Tensor:
        """Return the gradient of h in its place, and set gx to what goes past the channel MLP."""
        layer, totals = self.layer, (self.g_shift2, self.g_gate)
        q = h @ layer.w1.t()
        slope = torch.empty_like(q)
        elementwise.activate_with_slope(q, layer.shift1, slope)
        if layer.last:
            z = g
            elementwise.add_gated_backward(layer.gate, x, g, gx, totals)
        else:
            z = q @ layer.w2.t()
            elementwise.activate_gated_backward(z, layer.shift2, layer.gate, x, g, gx, totals)
        self.gw2.addmm_(z.t(), q)
        gq = torch.mm(z, layer.w2, out=q)
        elementwise.multiply(gq, slope, self.g_shift1)
        self.gw1.addmm_(gq.t(), h)
        return torch.mm(gq, layer.w1, out=h)
