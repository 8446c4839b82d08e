"""A trained network between its normalisations: physical units in, physical units out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hpc_ds.learn.dataset import Dataset
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.source import GridAxis

_LOG_VARIANCE = 20.0
"""Bound of a predicted log-variance, as in the loss that taught it."""


@dataclass(frozen=True, eq=False)
class Card:
    """What a trained network is, apart from its weights."""

    reference: str
    """A built-in name, a plug-in's, or ``path/to/file.py:name``."""
    options: Mapping[str, Any]
    task: str
    """``fields``, ``scalars`` or ``classify``."""
    input_shape: tuple[int, ...]
    r"""(channels, \*grid), or (features,) without a grid."""
    target_shape: tuple[int, ...]
    r"""(channels, \*grid), (numbers,) or (classes,)."""
    input_names: tuple[str, ...]
    """Of the channels."""
    target_names: tuple[str, ...]
    """Of the channels, the numbers or the classes."""
    axes: tuple[GridAxis, ...] = ()
    selection: Mapping[str, Any] = field(default_factory=dict)
    """What of a training set is input and what is target, as plain data."""
    spread: bool = False
    """Whether the network gives, after the values, as many logarithms of their variances."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of what the network itself gives for one sample."""
        return ((2 if self.spread else 1) * self.target_shape[0], *self.target_shape[1:])


class Predictor(nn.Module):
    r"""A network between its normalisations: physical units in, physical units out.

    Parameters
    ----------
    card : Card
    network : Module
        (n, \*input_shape) -> (n, \*card.output_shape), in normalised units; for classes logits.
    input, target : Normaliser

    Attributes
    ----------
    metrics : dict of str to dict
        What the network reached, by split, where the file says it.
    identity : str
        SHA-256 of the weights where it was read from a file; else empty.
    """

    def __init__(self, card: Card, network: nn.Module, input: Normaliser, target: Normaliser) -> None:
        super().__init__()
        self.card = card
        self.network, self.input, self.target = network, input, target
        self.metrics: Mapping[str, Any] = {}
        self.identity = ""

    @property
    def grid_free(self) -> bool:
        """Whether the network takes other grids than the one it was trained on."""
        return bool(getattr(self.network, "grid_free", False))

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        real = (tensor.dtype for tensor in self.network.parameters() if tensor.is_floating_point())
        return next(real, torch.float32)

    def forward(self, inputs: Tensor) -> Tensor:
        r"""Return predictions in physical units; for classes their probabilities.

        Parameters
        ----------
        inputs : (n, \*input_shape) tensor
            In physical units; another grid is taken by networks that are free of it.

        Returns
        -------
        (n, \*target_shape) tensor

        Raises
        ------
        ValueError
            Inputs of another shape.
        """
        return self.with_spread(inputs)[0]

    def with_spread(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what `forward` does, and the standard deviations that the network gives, None where it gives none."""
        self._check(tuple(inputs.shape[1:]))
        outputs = self.network(self.input(inputs.to(self.dtype)))
        if self.card.task == "classify":
            return outputs.softmax(dim=1), None
        if not self.card.spread:
            return self.target.inverse(outputs), None
        values, log_variance = outputs.chunk(2, dim=1)
        sd = torch.exp(0.5 * log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE))
        return self.target.inverse(values), sd * self._scale(sd)

    def _scale(self, like: Tensor) -> Tensor:
        r"""Return the spread of the targets, to multiply (n, \*target_shape) with."""
        std = self.target.std if len(self.target.std) else self.target.std.new_ones(1)
        return std.to(like.dtype).view(-1, *(1,) * (like.ndim - 2))

    def _check(self, shape: tuple[int, ...]) -> None:
        problem = misfit(self, shape)
        if problem:
            raise ValueError(problem)


def misfit(predictor: Predictor, shape: tuple[int, ...]) -> str:
    """Say why samples of that shape do not fit the network; empty where they do."""
    wanted = predictor.card.input_shape
    fits = len(shape) == len(wanted) and shape[:1] == wanted[:1]
    if fits and (shape == wanted or predictor.grid_free):
        return ""
    free = " (any grid)" if predictor.grid_free and len(wanted) > 1 else ""
    return f"samples of shape {_told(shape)}, but the network takes {_told(wanted)}{free}"


def describe(
    reference: str,
    options: Mapping[str, Any],
    dataset: Dataset,
    spread: bool = False,
) -> Card:
    """Return the card of a network that is trained on `dataset`."""
    return Card(
        reference,
        dict(options),
        dataset.task,
        tuple(dataset.input_shape),
        tuple(dataset.target_shape),
        tuple(dataset.input_names),
        tuple(dataset.target_names),
        tuple(dataset.axes),
        dataset.selection.to_dict(),
        spread,
    )


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "()"
