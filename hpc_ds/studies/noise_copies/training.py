"""Train one variant with several seeds at once, a few steps at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpc_ds.studies.noise_copies import problem
from hpc_ds.studies.noise_copies.network import Jitter, forward, initial
from hpc_ds.studies.noise_copies.noise import Noise
from hpc_ds.studies.noise_copies.variants import Variant

LEARNING_RATE = 1e-2
"""Adam's rate in the first step; it falls along a cosine."""

LAST_SHARE = 0.01
"""The rate of the last step as a share of the first, so that noise of the steps averages out."""

EVERY = 5
"""Every so many points of the fine grid are kept of each prediction."""

_FIRST, _SECOND, _SMALL = 0.9, 0.999, 1e-8


@dataclass(frozen=True, eq=False)
class Trained:
    """What trainings of one variant led to."""

    train: NDArray[np.float64]
    """Root mean square error at the points that were given, without noise, (units,)."""
    test: NDArray[np.float64]
    """Root mean square error on the fine grid, (units,)."""
    spread: NDArray[np.float64]
    """Standard deviation of the values that were given, (units,)."""
    swing: NDArray[np.float64]
    """Largest less smallest answer on the fine grid, (units,)."""
    prediction: NDArray[np.float32]
    """Answers on every `EVERY`-th point of the fine grid, (units, points)."""


class Training:
    """The trainings of some seeds of one variant, side by side; they do not touch each other.

    Parameters
    ----------
    variant : Variant
        What is trained.
    seed : int
        The run's seed.
    units : list of int
        Numbers of the trainings.
    steps : int
        Steps of each.
    """

    def __init__(self, variant: Variant, seed: int, units: Sequence[int], steps: int) -> None:
        self.done, self.steps = 0, steps
        self._network = variant.network
        places = np.array([problem.points(seed, unit) for unit in units])
        self._x, self._y = torch.from_numpy(places), torch.from_numpy(problem.f(places))
        self._noise = Noise(variant, seed, units)
        self._parameters = initial(variant.network, seed, units).requires_grad_()
        self._mean, self._square = (torch.zeros_like(self._parameters.detach()) for _ in range(2))

    def advance(self, steps: int) -> None:
        """Do up to so many more steps."""
        for step in range(self.done, min(self.done + steps, self.steps)):
            gradient = self.gradient(self._noise.at(step))
            self._adam(gradient, step)
            self.done += 1

    def gradient(self, jitter: Jitter) -> Tensor:
        """Return the gradients (units, parameters) of each network's mean squared error under a disturbance."""
        answers = forward(self._network, self._parameters, self._x, jitter)
        loss = ((answers - self._y) ** 2).mean(dim=1).sum()
        return torch.autograd.grad(loss, self._parameters)[0]

    @torch.no_grad()
    def result(self) -> Trained:
        """Measure the networks as they are, undisturbed."""
        grid = problem.fine_grid()
        answers = self._answers(torch.from_numpy(grid).expand(len(self._x), -1))
        error = self._answers(self._x) - self._y.numpy()
        return Trained(
            train=_rms(error),
            test=_rms(answers - problem.f(grid)),
            spread=self._y.numpy().std(axis=1),
            swing=np.ptp(answers, axis=1),
            prediction=answers[:, ::EVERY].astype(np.float32),
        )

    def _answers(self, x: Tensor) -> NDArray[np.float64]:
        return forward(self._network, self._parameters, x).numpy()

    @torch.no_grad()
    def _adam(self, gradient: Tensor, step: int) -> None:
        """Take one step of Adam (Kingma & Ba 2015, algorithm 1); the units' steps are independent of each other."""
        rate = learning_rate(step, self.steps) / (1.0 - _FIRST ** (step + 1))
        self._mean.lerp_(gradient, 1.0 - _FIRST)
        self._square.mul_(_SECOND).addcmul_(gradient, gradient, value=1.0 - _SECOND)
        scale = (self._square / (1.0 - _SECOND ** (step + 1))).sqrt_().add_(_SMALL)
        self._parameters.addcdiv_(self._mean, scale, value=-rate)


def learning_rate(step: int, steps: int) -> float:
    """Return the rate of a step: half a cosine from `LEARNING_RATE` down to `LAST_SHARE` of it."""
    fall = 0.5 * (1.0 + math.cos(math.pi * step / max(steps - 1, 1)))
    return LEARNING_RATE * (LAST_SHARE + (1.0 - LAST_SHARE) * fall)


def _rms(error: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.mean(error**2, axis=1))
