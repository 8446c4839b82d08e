"""Bring each channel to mean 0 and spread 1, with figures that are the same bits on any number of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hpc_ds.learn.channels import Block
from hpc_ds.learn.dataset import Dataset
from hpc_ds.learn.settings import Settings
from hpc_ds.learn.source import Statistics
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

_BLOCK_VALUES = 2**21
"""About so many values are read at once; part of the result's last bits, and so never a matter of the machine."""

_BLOCK_SAMPLES = 256

_TINY = 1e-7
"""A spread below this part of the mean is rounding (float32), and no spread."""


class HasWorld(Protocol):
    """What fitting needs of a `hpc_ds.learn.distributed.Group`."""

    world: World


class Normaliser(nn.Module):
    """Channel by channel (x - mean) / std, and back.

    Parameters
    ----------
    mean, std : (channels,) array or Tensor
        Kept as float64. Without any channel it is the identity, of tensors of any type.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: ArrayLike | Tensor, std: ArrayLike | Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64).clone())
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float64).clone())

    @classmethod
    def identity(cls) -> Normaliser:
        """Return one that changes nothing."""
        return cls(np.empty(0), np.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        r"""Return normalised values of the same shape, (B, channels, \*grid), and type."""
        if not len(self.mean):
            return x
        mean, std = self._shaped(x)
        return (x - mean) / std

    def inverse(self, x: Tensor) -> Tensor:
        r"""Return values in physical units, of the same shape, (B, channels, \*grid), and type."""
        if not len(self.mean):
            return x
        mean, std = self._shaped(x)
        return torch.addcmul(mean, x, std)

    def extra_repr(self) -> str:
        """Return what stands between the brackets when it is printed."""
        return f"{len(self.mean)} channels" if len(self.mean) else "identity"

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *(1,) * (x.ndim - 2))
        return self.mean.to(x.dtype).view(shape), self.std.to(x.dtype).view(shape)


def fit_normalisers(dataset: Dataset, settings: Settings, group: HasWorld) -> tuple[Normaliser, Normaliser]:
    """Return the normalisers of inputs and targets, from the training split; collective over ``group.world``.

    The figures of a whole field are those of the set's ``stats.yaml``, where there is one. Others are computed over all
    samples in float64: moments of fixed blocks of samples, read by the ranks in turn, are merged in the order of the
    blocks. A channel that does not vary keeps its spread. Classes are not normalised.

    Raises
    ------
    InputError
        On all ranks: a file cannot be read, or a sample holds a NaN or an infinity; which one is said.
    """
    if not settings.normalise:
        return Normaliser.identity(), Normaliser.identity()
    sides = [dataset.input_blocks, dataset.target_blocks if dataset.task != "classify" else ()]
    known = [[_known(block, dataset.source.statistics) for block in blocks] for blocks in sides]
    parts = [
        tuple(block.part for block, figures in zip(blocks, found) if figures is None)
        for blocks, found in zip(sides, known)
    ]
    if any(parts):
        rest = replace(dataset.selection, inputs=parts[0], targets=parts[1])
        computed = measure_channels(Dataset(dataset.source, rest), group.world)
        known = [_filled(*each) for each in zip(sides, known, computed)]
    inputs, targets = (_normaliser([figures for figures in found if figures is not None]) for found in known)
    return inputs, targets


def measure_channels(dataset: Dataset, world: World) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel of inputs and targets, (channels, 2) each; collective.

    Equal bits on any number of ranks.

    Raises
    ------
    InputError
        As in `fit_normalisers`.
    """
    blocks = _sample_blocks(dataset)
    own = agreed(world, _moments, dataset, blocks[world.rank :: world.size])
    everyone = world.allgather(own)
    ordered = [everyone[number % world.size][number // world.size] for number in range(len(blocks))]
    merged = ordered[0]
    for moments in ordered[1:]:
        merged = _merged(merged, moments)
    figures = np.stack([merged.mean, np.sqrt(merged.m2 / merged.samples)], axis=-1)
    inputs = len(dataset.input_channels)
    return figures[:inputs], figures[inputs:]


def check_splits(datasets: Sequence[Dataset], world: World) -> None:
    """Read data sets from end to end and refuse a NaN or an infinity; collective over `world`.

    Raises
    ------
    InputError
        On all ranks: as `check_finite`, or a file cannot be read.
    """
    for dataset in datasets:
        agreed(world, _check_blocks, dataset, _sample_blocks(dataset)[world.rank :: world.size])


def check_finite(
    dataset: Dataset,
    samples: NDArray[np.int64],
    inputs: NDArray[np.floating],
    targets: NDArray[np.generic] | None,
) -> None:
    """Refuse the first of some samples that holds a NaN or an infinity (`InputError`: which, where and in what)."""
    sides = [("input", inputs, dataset.input_names), ("target", targets, dataset.target_names)]
    for side, values, names in sides:
        if values is None or values.dtype.kind != "f":
            continue
        # A sum is a fraction of the time, and finite only if all are.
        if np.isfinite(values.sum(dtype=np.float64)):
            continue
        wrong = ~np.isfinite(values.reshape(*values.shape[:2], math.prod(values.shape[2:]))).all(axis=-1)
        if wrong.any():
            row, channel = np.argwhere(wrong)[0].tolist()
            sample = int(samples[row])
            raise InputError(
                f"{dataset.where(sample)}: sample {sample} of {dataset.source.place} holds a NaN or an infinity in "
                f"{side} {names[channel]}; mend it or leave the sample out"
            )


# Within


class _Moments(NamedTuple):
    """Of some samples, channel by channel."""

    samples: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    """Squared deviations from the mean: their mean over the grid, summed over the samples."""


def _known(block: Block, statistics: Statistics) -> NDArray[np.float64] | None:
    """Return mean and std of the channels of a block, (channels, 2); None unless it is a whole field of stats.yaml."""
    shape = tuple(map(len, block.quantity.components))
    mean, std = (statistics.get(kind, {}).get(block.part.name) for kind in ("mean", "std"))
    if not block.whole or block.words or mean is None or std is None or not mean.shape == std.shape == shape:
        return None
    figures = np.array([[mean[channel.component], std[channel.component]] for channel in block.channels])
    return figures if np.isfinite(figures).all() else None


def _filled(
    blocks: Sequence[Block],
    known: Sequence[NDArray[np.float64] | None],
    computed: NDArray[np.float64],
) -> list[NDArray[np.float64] | None]:
    """Put what was computed where something is not known."""
    filled: list[NDArray[np.float64] | None] = []
    for block, figures in zip(blocks, known):
        if figures is None:
            figures, computed = np.split(computed, [len(block.channels)])
        filled.append(figures)
    return filled


def _normaliser(parts: Sequence[NDArray[np.float64]]) -> Normaliser:
    if not parts:
        return Normaliser.identity()
    mean, std = np.concatenate(parts).T
    return Normaliser(mean, np.where(std <= _TINY * np.abs(mean), 1.0, std))


def _sample_blocks(dataset: Dataset) -> list[NDArray[np.int64]]:
    values = int(np.prod(dataset.input_shape) + np.prod(dataset.target_shape))
    size = max(1, min(_BLOCK_SAMPLES, _BLOCK_VALUES // max(1, values)))
    return [np.arange(first, min(first + size, len(dataset))) for first in range(0, len(dataset), size)]


def _moments(dataset: Dataset, blocks: Sequence[NDArray[np.int64]]) -> list[_Moments]:
    return [_block_moments(dataset, samples) for samples in blocks]


def _check_blocks(dataset: Dataset, blocks: Sequence[NDArray[np.int64]]) -> None:
    for samples in blocks:
        check_finite(dataset, samples, *_arrays(dataset, samples))


def _arrays(dataset: Dataset, samples: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    inputs = np.empty((len(samples), *dataset.input_shape))
    classes = dataset.task == "classify" and bool(dataset.target_names)
    targets = np.empty(len(samples), np.int64) if classes else np.empty((len(samples), *dataset.target_shape))
    dataset.read(samples, inputs, targets)
    return inputs, targets


def _block_moments(dataset: Dataset, samples: NDArray[np.int64]) -> _Moments:
    inputs, targets = (
        np.empty((len(samples), *shape)) for shape in (dataset.input_shape, dataset.target_shape)
    )
    dataset.read(samples, inputs, targets)
    check_finite(dataset, samples, inputs, targets)
    means, squares = [], []
    for values in (inputs, targets):
        flat = values.reshape(*values.shape[:2], math.prod(values.shape[2:]))
        mean = flat.mean(axis=(0, 2))
        flat -= mean[:, None]
        means.append(mean)
        squares.append(np.square(flat, out=flat).sum(axis=(0, 2)) / flat.shape[2])
    return _Moments(len(samples), np.concatenate(means), np.concatenate(squares))


def _merged(a: _Moments, b: _Moments) -> _Moments:
    """Merge the moments of two groups of samples (Chan, Golub and LeVeque 1983, eq. 2.1)."""
    samples = a.samples + b.samples
    distance = b.mean - a.mean
    mean = a.mean + distance * (b.samples / samples)
    return _Moments(samples, mean, a.m2 + b.m2 + distance**2 * (a.samples * b.samples / samples))
