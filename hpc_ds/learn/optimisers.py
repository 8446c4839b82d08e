"""Optimisers by name, with weight decay where it belongs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hpc_ds.learn.settings import Settings

MOMENTUM = 0.9

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def make_optimiser(network: nn.Module, settings: Settings) -> Optimizer:
    """Return the optimiser of the parameters of `network` that are trained.

    Parameters
    ----------
    network : Module
        Its parameters with ``requires_grad``; others stay as they are.
    settings : Settings
        Which optimiser, its learning rate and weight decay. adamw leaves biases and normalisations alone (Loshchilov
        and Hutter 2019); adam and sgd add the decay to the gradient of every parameter.

    Notes
    -----
    Updates of all tensors in one call (``foreach``) give the bits of the plain loop; torch's fused kernels do not.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "adamw":
        spared = set(spared_from_decay(network))
        trained = _trained(network)
        groups = [
            {"params": [p for name, p in trained if name not in spared], "weight_decay": decay},
            {"params": [p for name, p in trained if name in spared], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, foreach=True)
    parameters = [parameter for _, parameter in _trained(network)]
    if settings.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, foreach=True)
    return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=MOMENTUM, foreach=True)


def spared_from_decay(network: nn.Module) -> list[str]:
    """Return the names of biases, of parameters of normalisations and of those with less than two dimensions."""
    inner = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if isinstance(module, _NORMALISATIONS)
        for name, _ in module.named_parameters(recurse=False)
    }
    return [
        name
        for name, parameter in network.named_parameters()
        if name in inner or parameter.ndim < 2 or "bias" in name.rpartition(".")[2]
    ]


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Let the next steps have this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def parameters_of(optimiser: Optimizer) -> list[Tensor]:
    """Return all tensors that the optimiser moves."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _trained(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in network.named_parameters() if p.requires_grad]
