"""Samples that are computed when they are read: noisy copies of simulations, far more than a disk should hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.dataset import Dataset
from hpc_ds.learn.selection import Kind, Selection
from hpc_ds.learn.source import GridAxis, Source

Compute = Callable[[NDArray[np.int64]], tuple[NDArray[Any], NDArray[Any]]]
r"""Makes inputs (n, \*input_shape) and targets (n, \*target_shape), or (n,) classes, of the numbers of n samples."""


class ComputedDataset(Dataset):
    r"""One split of a data set that a function computes; it is learned as it comes, without normalisation.

    Parameters
    ----------
    name : str
        For messages and reports.
    length : int
        How many samples there are.
    compute : callable
        A function of the numbers of samples alone: the same numbers give the same bits on every rank, at any time and
        in any thread. Random numbers are therefore keyed by the sample's number.
    task : {"fields", "scalars", "classify"}
        What is learned.
    input_shape, target_shape : tuple of int
        ``(channels, *grid)`` or ``(features,)``; ``(channels, *grid)``, ``(D,)`` or ``(classes,)``.
    input_names, target_names : sequence of str
        Of the channels, or of the classes.
    axes : sequence of GridAxis
        Of the grid.
    labels : (length,) int64, optional
        Class of each sample.
    """

    def __init__(
        self,
        name: str,
        length: int,
        compute: Compute,
        *,
        task: Kind,
        input_shape: tuple[int, ...],
        target_shape: tuple[int, ...],
        input_names: Sequence[str],
        target_names: Sequence[str],
        axes: Sequence[GridAxis] = (),
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.name, self.task, self.axes = name, task, tuple(axes)
        self.source, self.selection = Source(name, name, (), {}), Selection((), (), None, task)
        self.input_blocks = self.target_blocks = ()
        self.input_channels = self.target_channels = ()
        self.input_shape, self.target_shape = input_shape, target_shape
        self.input_names, self.target_names = tuple(input_names), tuple(target_names)
        self._length, self._compute, self._codes = length, compute, labels

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._length

    def read(
        self, samples: NDArray[np.int64], inputs: NDArray[Any], targets: NDArray[Any] | None = None
    ) -> None:
        """Compute some samples into given arrays; several threads may do so at once."""
        found = self._compute(np.asarray(samples, dtype=np.int64))
        inputs[...] = found[0]
        if targets is not None:
            targets[...] = found[1]

    def where(self, sample: int) -> str:
        """Return in words which sample it is."""
        return f"{self.name}, sample {sample}"


@dataclass(frozen=True, eq=False)
class ComputedData:
    """A data set whose splits are computed, in the place of a folder or a file."""

    name: str
    """Where a run folder says what it was made of."""
    splits: Mapping[str, Dataset]
    """train, and valid and test where there are such."""
    content: str
    """A hash of all that the samples depend on: data of another hash are another training."""
    train_of: Callable[[int], Dataset] | None = None
    """Makes the train split of each member of an ensemble, by its number: a bootstrap by what samples are copies of.
    By default all members learn from the same."""
