"""What training makes small: losses by name, one number a sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hpc_ds.learn import scores
from hpc_ds.learn.scores import GridAxis
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

Score = Callable[[Tensor, Tensor], Tensor]

_DEFAULTS = {"fields": "relative-l2", "scalars": "l2", "classify": "cross-entropy"}
_VALUES = ("fields", "scalars")
_TASK_WORDS = {"fields": "fields", "scalars": "scalars", "classify": "classes"}
_RANGES = {"delta": "above 0 is needed", "gamma": "0 or more is needed", "alpha": "0 to 1 is needed"}
_LOG_VARIANCE = 20.0
"""Bound of a predicted log-variance in normalised units, beyond which its exponential serves nobody."""


class Loss(nn.Module):
    """A loss of each sample: ``loss(prediction, target)``, (n,).

    Parameters
    ----------
    name : str
        What it is called.
    score : callable
        Scores of (prediction, target), (n,).
    normaliser : nn.Module, optional
        Its ``inverse`` brings both to physical units before they are scored.
    outputs : int
        Numbers that the network returns for each number of the target.
    """

    def __init__(
        self, name: str, score: Score, normaliser: nn.Module | None = None, outputs: int = 1
    ) -> None:
        super().__init__()
        self.name = name
        self.score = score
        self.normaliser = normaliser
        self.outputs = outputs

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        r"""Return the loss of each sample, (n,), in float32 or, if it came so, in float64.

        Parameters
        ----------
        prediction : (n, channels, \*grid), (n, D) or (n, classes)
            What the network returned; twice the channels where mean and log-variance are learned.
        target : (n, channels, \*grid) or (n, D), normalised, or (n,) int64 labels
            What is right.

        Raises
        ------
        ValueError
            The shapes do not belong together.
        """
        _check_shapes(self.name, prediction, target, self.outputs)
        if prediction.dtype in (torch.bfloat16, torch.float16):
            prediction = prediction.float()
        if self.normaliser is not None:
            prediction, target = self.normaliser.inverse(prediction), self.normaliser.inverse(target)
        return self.score(prediction, target)


def make_loss(
    name: str | None,
    task: str,
    axes: Sequence[GridAxis] = (),
    normaliser: nn.Module | None = None,
    class_counts: ArrayLike | None = None,
) -> Loss:
    """Return the loss called `name`; bring it to the device of the network.

    Parameters
    ----------
    name : str or None
        relative-l2, h1, latitude-l2, l2, l1, huber, msle, gaussian, cross-entropy, weighted-cross-entropy or focal,
        with its numbers where it has some: ``huber=DELTA``, ``focal=GAMMA,ALPHA``. None takes the task's own:
        relative-l2 for fields, l2 for scalars, cross-entropy for classes.
    task : {"fields", "scalars", "classify"}
        What is learned.
    axes : sequence of GridAxis
        The grid, for h1 and latitude-l2.
    normaliser : nn.Module, optional
        That of the targets, by whose ``inverse`` relative-l2, h1 and msle are computed in physical units. Without
        it, they take the numbers as they come.
    class_counts : (classes,) int, optional
        Training samples of each class, for weighted-cross-entropy.

    Raises
    ------
    InputError
        An unknown name, one that is not of this task or lacks what it needs, or wrong numbers.
    """
    word, numbers = _parsed(name or _DEFAULTS[task])
    kind = _kind(word, task)
    counts = None if class_counts is None else np.asarray(class_counts, dtype=np.int64)
    score = kind.build(_Request(word, _numbers(word, kind, numbers), axes, counts, normaliser))
    return Loss(word, score, normaliser if kind.physical else None, kind.outputs)


def outputs_needed(name: str | None, task: str, targets: int) -> int:
    """Return how many channels (scalars, logits) the network must return for so many of the target.

    Twice as many for ``gaussian``: the means, then the logarithms of the variances, in normalised units. Raises
    `InputError` as `make_loss` does of the name.
    """
    return _kind(_parsed(name or _DEFAULTS[task])[0], task).outputs * targets


def class_weights(counts: ArrayLike) -> Tensor:
    """Return n / (classes * n_c), (classes,) float32: the mean weight over the training samples is 1.

    Raises
    ------
    InputError
        A class without samples.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if numbers.min() <= 0:
        empty = int(numbers.argmin())
        raise InputError(
            f"--loss weighted-cross-entropy: class {empty} of {len(numbers)} has no training sample"
        )
    return torch.from_numpy((numbers.sum() / (len(numbers) * numbers)).astype(np.float32))


@dataclass(frozen=True)
class _Request:
    name: str
    numbers: dict[str, float]
    axes: Sequence[GridAxis]
    class_counts: np.ndarray | None
    normaliser: Any = None


@dataclass(frozen=True)
class _Kind:
    """A loss of the table: of which tasks, how it is made, in which units, with which numbers."""

    tasks: tuple[str, ...]
    build: Callable[[_Request], Score]
    physical: bool = False
    numbers: tuple[tuple[str, float], ...] = ()
    outputs: int = 1


class _RelativeL2(nn.Module):
    """Errors by the norm of the target, or by a part of the usual norm where the normaliser tells that."""

    def __init__(self, request: _Request) -> None:
        super().__init__()
        self.usual = 0.0  # of one point of the grid, over all channels
        if request.normaliser is not None and len(request.normaliser.mean):
            squares = request.normaliser.mean.square() + request.normaliser.std.square()
            self.usual = float(squares.sum().sqrt())

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        points = target[0, 0].numel() if len(target) else 1
        return scores.relative_l2(
            prediction, target, scores.RELATIVE_TO_LEAST * self.usual * math.sqrt(points)
        )


class _H1(nn.Module):
    def __init__(self, request: _Request) -> None:
        super().__init__()
        self.gradient = scores.Gradient(request.axes)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return scores.relative_h1(prediction, target, self.gradient)


class _LatitudeL2(nn.Module):
    def __init__(self, request: _Request) -> None:
        super().__init__()
        weights = scores.latitude_weights(request.axes)
        if weights is None:
            found = ", ".join(axis.name for axis in request.axes) or "none"
            raise InputError(
                f"--loss latitude-l2: needs an axis lat, latitude or colatitude; axes are {found}"
            )
        self.register_buffer("weights", torch.from_numpy(weights.astype(np.float32)), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (self.weights * (prediction - target).square()).flatten(1).mean(1)


class _WeightedCrossEntropy(nn.Module):
    def __init__(self, request: _Request) -> None:
        super().__init__()
        if request.class_counts is None:
            raise InputError(f"--loss {request.name}: needs the training samples of each class")
        self.register_buffer("weights", class_weights(request.class_counts), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return scores.cross_entropy(prediction, target, self.weights.to(prediction.dtype))


def _msle(prediction: Tensor, target: Tensor) -> Tensor:
    return scores.squared_log(prediction, target).flatten(1).mean(1)


def _gaussian(prediction: Tensor, target: Tensor) -> Tensor:
    mean, log_variance = prediction.chunk(2, dim=1)
    bounded = log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE)
    return scores.gaussian_nll(mean, bounded, target).flatten(1).mean(1)


def _huber(request: _Request) -> Score:
    return partial(scores.huber, **request.numbers)


def _focal(request: _Request) -> Score:
    return partial(scores.focal, **request.numbers)


def _plain(score: Score) -> Callable[[_Request], Score]:
    return lambda request: score


_KINDS = {
    "relative-l2": _Kind(_VALUES, _RelativeL2, physical=True),
    "h1": _Kind(("fields",), _H1, physical=True),
    "latitude-l2": _Kind(("fields",), _LatitudeL2),
    "l2": _Kind(_VALUES, _plain(scores.mean_squared)),
    "l1": _Kind(_VALUES, _plain(scores.mean_absolute)),
    "huber": _Kind(_VALUES, _huber, numbers=(("delta", 1.0),)),
    "msle": _Kind(_VALUES, _plain(_msle), physical=True),
    "gaussian": _Kind(_VALUES, _plain(_gaussian), outputs=2),
    "cross-entropy": _Kind(("classify",), _plain(scores.cross_entropy)),
    "weighted-cross-entropy": _Kind(("classify",), _WeightedCrossEntropy),
    "focal": _Kind(("classify",), _focal, numbers=(("gamma", 2.0), ("alpha", 0.25))),
}


def _parsed(text: str) -> tuple[str, list[float]]:
    """Split ``focal=2,0.25`` into its name and numbers."""
    word, equals, rest = text.partition("=")
    try:
        return word.strip(), [float(part) for part in rest.split(",")] if equals else []
    except ValueError:
        raise InputError(f"--loss {text!r}: numbers are needed after the =, such as focal=2,0.25") from None


def _kind(word: str, task: str) -> _Kind:
    of_task = [name for name, kind in _KINDS.items() if task in kind.tasks]
    if word not in _KINDS:
        raise InputError(f"--loss {word!r}: unknown; {unknown(word, of_task, 'losses')}")
    if word not in of_task:
        raise InputError(f"--loss {word}: not for {_TASK_WORDS[task]}; losses are {', '.join(of_task)}")
    return _KINDS[word]


def _numbers(word: str, kind: _Kind, given: Sequence[float]) -> dict[str, float]:
    if len(given) > len(kind.numbers):
        names = ",".join(name.upper() for name, _ in kind.numbers)
        right = f"{word}={names}" if names else f"{word} alone"
        raise InputError(f"--loss {word}: takes {len(kind.numbers)} numbers, found {len(given)}: {right}")
    values = dict(kind.numbers) | {name: value for (name, _), value in zip(kind.numbers, given)}
    for name, value in values.items():
        wrong = value <= 0.0 if name == "delta" else value < 0.0 or (name == "alpha" and value > 1.0)
        if wrong or not np.isfinite(value):
            raise InputError(f"--loss {word}: {name} is {value:g}: {_RANGES[name]}")
    return values


def _check_shapes(name: str, prediction: Tensor, target: Tensor, outputs: int) -> None:
    if target.dtype == torch.int64 and target.ndim == 1:
        right = prediction.ndim == 2 and len(prediction) == len(target)
    else:
        n, channels, *grid = target.shape
        right = prediction.shape == (n, outputs * channels, *grid)
    if not right:
        raise ValueError(
            f"loss {name}: the network returned {tuple(prediction.shape)} for targets {tuple(target.shape)}"
        )
