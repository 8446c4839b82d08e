"""Activation checkpoints: what a block computed is computed anew on the way back, instead of kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(network: nn.Module) -> Iterator[list[nn.Module]]:
    """Within, keep of each block of `network` only its input between the forward and the backward pass.

    Results are those without, bit for bit: dropout repeats its draw, and BatchNorm's running statistics move once.
    """
    chosen = blocks(network)
    for block in chosen:
        contexts = functools.partial(_contexts, block)
        # On the instance, so that names in the state dict stay.
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)
    try:
        yield chosen
    finally:
        for block in chosen:
            del block.forward


def blocks(network: nn.Module) -> list[nn.Module]:
    """Return the members with parameters of the outermost lists of `network` (``Sequential``, ``ModuleList``)."""
    if isinstance(network, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        found = [child for child in network.children() if any(True for _ in child.parameters())]
    else:
        found = [block for child in network.children() for block in blocks(child)]
    return list(dict.fromkeys(found))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_at_rest(block)


@contextmanager
def _statistics_at_rest(block: nn.Module) -> Iterator[None]:
    """Within, BatchNorm normalises as in training but leaves its running statistics alone."""
    moving = [
        (module, module.momentum, module.num_batches_tracked)
        for module in block.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats
    ]
    for module, _, _ in moving:
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for module, momentum, counter in moving:
            module.momentum, module.num_batches_tracked = momentum, counter
