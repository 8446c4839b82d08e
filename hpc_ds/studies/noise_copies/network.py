"""Many small networks of one shape as one: their parameters side by side, computed in batched products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpc_ds.runtime.random import name_key, stream
from hpc_ds.studies.noise_copies.variants import Network

STANDARD = 12.0**0.5
"""Uniform places on [0, 1] times this have the standard deviation 1, with which networks begin well."""

_ACTIVATIONS = {
    "leaky-relu": torch.nn.functional.leaky_relu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}
_KEY = name_key("noise-copies.weights")


@dataclass(frozen=True, eq=False)
class Jitter:
    """How one step of all networks is disturbed; None where it is not.

    Amounts are those of standardised inputs: `STANDARD` times those of x.
    """

    inputs: Tensor | None = None
    """Added to each point's input, (networks, points)."""
    shifts: tuple[Tensor, ...] = ()
    """Added to what enters layer l, the same for all points, (networks, inputs of l): the bias moves by W times it."""
    factors: tuple[Tensor, ...] = ()
    """Layer l's weights are multiplied by 1 plus this, (networks, outputs, inputs)."""
    kept: Tensor | None = None
    """What the first hidden layer's outputs are multiplied by, (networks, points, units)."""


STILL = Jitter()
"""Nothing is disturbed."""


def initial(network: Network, seed: int, units: Sequence[int]) -> Tensor:
    """Return first parameters (units, parameters): uniform up to 1/sqrt(inputs of the layer).

    Those of one unit and network are the same in every variant.
    """
    bounds = np.repeat([fan_in**-0.5 for _, fan_in in network.shapes for _ in range(2)], network.sizes)
    key = name_key(network.name)
    rows = [stream(seed, _KEY, key, unit).uniform(-1.0, 1.0, network.parameters) for unit in units]
    return torch.from_numpy(bounds * np.array(rows))


def forward(network: Network, parameters: Tensor, x: Tensor, jitter: Jitter = STILL) -> Tensor:
    """Return each network's answers (networks, points) to its own x, (networks, points).

    Gradients flow through W where the bias moves by W dx, so that this is the same as moving the inputs by dx.
    """
    parts = parameters.split(network.sizes, dim=1)
    activation = _ACTIVATIONS[network.activation]
    h = STANDARD * (x - 0.5)
    h = (h if jitter.inputs is None else h + jitter.inputs)[..., None]
    last = len(network.shapes) - 1
    for layer, (out, fan_in) in enumerate(network.shapes):
        weight, bias = parts[2 * layer].view(-1, out, fan_in), parts[2 * layer + 1]
        if layer < len(jitter.shifts):
            bias = bias + torch.bmm(weight, jitter.shifts[layer][:, :, None])[:, :, 0]
        if layer < len(jitter.factors):
            weight = weight * (1.0 + jitter.factors[layer])
        h = torch.baddbmm(bias[:, None, :], h, weight.transpose(1, 2))
        if layer < last:
            h = activation(h)
        if layer == 0 and jitter.kept is not None:
            h = h * jitter.kept
    return h[..., 0]
