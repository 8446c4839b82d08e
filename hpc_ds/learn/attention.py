"""Where a convolutional network looks: gradient-weighted class activation maps (Selvaraju et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_ds.learn.networks import told
from hpc_ds.runtime.errors import InputError


def grad_cam(
    network: nn.Module,
    inputs: Tensor,
    layer: str | None = None,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    upsample: bool = True,
    signed: bool = False,
    block: int = 32,
) -> Tensor:
    r"""Return maps (n, \*grid) of how much each place speaks for an output (Grad-CAM, equations 1 and 2).

    With A_k the channels of a layer's output, y the output asked for and Z the places of the layer's grid, the map is
    the positive part of ``sum_k alpha_k A_k``, where ``alpha_k`` is the mean of ``dy/dA_k`` over the Z places. Behind
    a mean over the grid and one linear layer this is the class activation map over Z. The values are as they come,
    comparable between samples; nothing of the network is changed.

    Parameters
    ----------
    network : nn.Module
        Takes (n, channels, \*grid), in one, two or three dimensions.
    inputs : Tensor
        (n, channels, \*grid), as the network takes them: normalised.
    layer : str, optional
        A convolution, or any part that gives (n, channels, \*grid), by its name, e.g. ``layer4.1.conv2`` or ``layer4``;
        by default the network's `attention_layer`, or else its last convolution.
    target : int, sequence of int or Tensor, optional
        Which output, one for all or one a sample: the class, the scalar, the channel of fields (its mean over the
        grid); by default the greatest output, the class that is predicted.
    upsample : bool
        Bring the maps to the inputs' grid, linearly; otherwise they stay on the layer's.
    signed : bool
        Keep what speaks against it, below 0.
    block : int
        Samples computed at once.

    Raises
    ------
    InputError
        In one line: no such layer (which there are), one without a map or without influence, or no such output.
    """
    name = layer or _default_layer(network)
    module = _layer_of(network, name)
    like = next(network.parameters())
    inputs = inputs.to(like.device, like.dtype)
    which = _targets(target, inputs)
    maps = []
    with _evaluating(network):
        for start in range(0, len(inputs), block):
            part = slice(start, start + block)
            maps.append(_maps(network, module, name, inputs[part], None if which is None else which[part]))
    found = torch.cat(maps) if signed else torch.cat(maps).clamp(min=0.0)
    return _upsampled(found, inputs.shape[2:]) if upsample else found


def convolutions(network: nn.Module) -> list[str]:
    """Return the names of a network's convolutional layers, in the order of their definition."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    ]


_LISTED = 24
"""Names of layers that a message can hold."""


def _default_layer(network: nn.Module) -> str:
    declared = getattr(network, "attention_layer", None)
    if declared is not None:
        return str(declared)
    names = convolutions(network)
    if not names:
        raise InputError(
            "attention: the network has no convolutional layer; name the layer whose maps are wanted"
        )
    return names[-1]


def _layer_of(network: nn.Module, name: str) -> nn.Module:
    modules = dict(network.named_modules())
    if name in modules:
        return modules[name]
    names = convolutions(network)
    near = get_close_matches(name, modules, n=1)
    question = f"did you mean '{near[0]}'? " if near else ""
    shown = names if len(names) <= _LISTED else [*names[:3], f"{len(names) - 6} more", *names[-3:]]
    raise InputError(f"attention: layer '{name}': {question}convolutions are {', '.join(shown)}")


def _targets(target: int | Sequence[int] | Tensor | None, inputs: Tensor) -> Tensor | None:
    if target is None:
        return None
    which = torch.as_tensor(target, dtype=torch.int64, device=inputs.device)
    if which.ndim == 0:
        return which.expand(len(inputs))
    if which.shape != (len(inputs),):
        raise InputError(
            f"attention: {told(which.shape)} targets for {len(inputs)} samples; one each is needed"
        )
    return which


def _maps(network: nn.Module, module: nn.Module, name: str, inputs: Tensor, which: Tensor | None) -> Tensor:
    """Return sum_k alpha_k A_k, (n, *the layer's grid)."""
    with torch.enable_grad(), _leaf_behind(module) as leaves:
        scores = _scores(network(inputs), which)
        if not leaves:
            raise InputError(f"attention: layer '{name}' takes no part in the network's outputs")
        activation = leaves[-1]
        if activation.ndim < 3 or len(activation) != len(inputs):
            raise InputError(
                f"attention: layer '{name}' gives {told(activation.shape)}, no channels on a grid"
            )
        gradient = None
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores.sum(), activation, allow_unused=True)
    if gradient is None:
        raise InputError(f"attention: layer '{name}' has no influence on the network's outputs")
    alpha = gradient.flatten(2).mean(2)
    return torch.einsum("nk,nk...->n...", alpha, activation.detach())


def _scores(outputs: Any, which: Tensor | None) -> Tensor:
    """Return the output asked for of each sample, (n,)."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        raise InputError("attention: the network's outputs are needed as one tensor (n, outputs)")
    outputs = outputs.flatten(2).mean(2) if outputs.ndim > 2 else outputs
    if which is None:
        which = outputs.argmax(1)
    elif which.numel() and not 0 <= int(which.min()) <= int(which.max()) < outputs.shape[1]:
        wrong = which[(which < 0) | (which >= outputs.shape[1])]
        raise InputError(f"attention: target {int(wrong[0])}: the outputs are 0 ... {outputs.shape[1] - 1}")
    return outputs.gather(1, which[:, None])[:, 0]


@contextmanager
def _leaf_behind(module: nn.Module) -> Iterator[list[Tensor]]:
    """Cut the graph behind a module: what it gives becomes a variable of its own, whatever is frozen before it."""
    leaves: list[Tensor] = []

    def cut(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return None
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # the next layer may work in place

    handle = module.register_forward_hook(cut)
    try:
        yield leaves
    finally:
        handle.remove()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluate, and leave every part in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _upsampled(maps: Tensor, grid: Sequence[int]) -> Tensor:
    if maps.shape[1:] == tuple(grid):
        return maps
    if maps.ndim - 1 != len(grid) or len(grid) not in _MODES:
        raise InputError(
            f"attention: maps of {told(maps.shape[1:])} do not fit inputs of {told(grid)}; leave them"
        )
    return functional.interpolate(maps[:, None], size=tuple(grid), mode=_MODES[len(grid)])[:, 0]


_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
