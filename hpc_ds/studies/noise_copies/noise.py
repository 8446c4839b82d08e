"""The random numbers that disturb a training: each unit's own, whatever it is trained together with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hpc_ds.runtime.random import name_key, stream
from hpc_ds.studies.noise_copies.network import STANDARD, STILL, Jitter
from hpc_ds.studies.noise_copies.problem import POINTS
from hpc_ds.studies.noise_copies.variants import Network, Variant

TOGETHER = 100
"""Steps whose numbers are drawn at once; part of what the numbers are."""

_KEY = name_key("noise-copies.noise")


class Noise:
    """What disturbs the trainings of one variant, step by step.

    Parameters
    ----------
    variant : Variant
        What is trained.
    seed : int
        The run's seed.
    units : list of int
        Numbers of the trainings.
    """

    def __init__(self, variant: Variant, seed: int, units: Sequence[int]) -> None:
        self._network, self._treatment = variant.network, variant.treatment
        self._seed, self._units, self._name = seed, units, name_key(variant.name)
        self._chunk = -1
        self._numbers = torch.empty(0)
        if self._treatment.kind == "copies":
            self._numbers = self._drawn(0, (self._treatment.copies, POINTS))

    def at(self, step: int) -> Jitter:
        """Return the disturbance of a step, counted from 0; cheapest in the order of steps.

        Fixed copies take turns: every step sees all points once, each in the same copy.
        """
        kind = self._treatment.kind
        if kind == "none":
            return STILL
        if kind == "copies":
            return Jitter(inputs=self._numbers[step % self._treatment.copies])
        chunk, row = divmod(step, TOGETHER)
        if chunk != self._chunk:
            self._chunk, self._numbers = chunk, self._drawn(chunk, (TOGETHER, self._per_step()))
        return self._told(self._numbers[row])

    def _per_step(self) -> int:
        kind = self._treatment.kind
        if kind in ("fresh", "dropout"):
            return POINTS * (1 if kind == "fresh" else self._network.widths[1])
        return sum(_jittered(self._network, kind))

    def _told(self, numbers: Tensor) -> Jitter:
        """Give one step's numbers, (units, numbers), their meaning."""
        kind, network = self._treatment.kind, self._network
        if kind == "fresh":
            return Jitter(inputs=numbers)
        if kind == "dropout":
            return Jitter(kept=numbers.view(len(self._units), POINTS, network.widths[1]))
        parts = numbers.split(_jittered(network, kind), dim=1)
        if kind == "bias":
            return Jitter(shifts=parts)
        layers = len(parts) // 2
        factors = (part.view(-1, *shape) for part, shape in zip(parts[layers:], network.shapes, strict=False))
        return Jitter(shifts=parts[:layers], factors=tuple(factors))

    def _drawn(self, chunk: int, shape: tuple[int, int]) -> Tensor:
        """Draw each unit's numbers and put the units second, (shape[0], units, shape[1])."""
        numbers = np.empty((shape[0], len(self._units), shape[1]))
        for place, unit in enumerate(self._units):
            rng = stream(self._seed, _KEY, self._name, unit, chunk)
            if self._treatment.kind == "dropout":
                left = 1.0 - self._treatment.amount
                numbers[:, place] = (rng.random(shape) < left) / left
            else:
                numbers[:, place] = STANDARD * self._treatment.amount * rng.standard_normal(shape)
        return torch.from_numpy(numbers)


def _jittered(network: Network, kind: str) -> list[int]:
    """Return how many numbers each layer's shift takes, then each layer's factors."""
    shapes = network.shapes if kind == "all-layers" else network.shapes[:1]
    shifts = [fan_in for _, fan_in in shapes]
    return shifts if kind == "bias" else shifts + [out * fan_in for out, fan_in in shapes]
