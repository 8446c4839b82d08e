"""Open what a trained network is to be applied to: a training set, or plain arrays that may hold inputs only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.arrays import array_splits, open_array_file
from hpc_ds.learn.dataset import ARRAY_SUFFIXES, Dataset, open_inputs
from hpc_ds.learn.predictor import Card
from hpc_ds.learn.selection import Part, Selection
from hpc_ds.learn.source import open_training_set
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.split import SPLITS

Misfit = Callable[[tuple[int, ...]], str]
"""Says why samples of that shape do not fit; empty where they do."""


@dataclass(frozen=True, eq=False)
class NewSamples:
    """Samples to predict."""

    dataset: Dataset
    with_targets: bool
    """Whether what is right is known."""
    split: str = ""
    """Which they are; empty for all samples of a file."""


class Later:
    """What is right further ahead than a window says: the targets of later windows of the same sample.

    Parameters
    ----------
    samples : NewSamples
        With targets.
    stride : int
        Times from one step to the next.
    steps : int
        How many steps.
    """

    def __init__(self, samples: NewSamples, stride: int, steps: int) -> None:
        self._dataset = samples.dataset
        self._ahead = stride * np.arange(steps)
        source = self._dataset.source
        alone = (replace(source, files=(file,)) for file in source.files)
        counts = [len(Dataset(one, self._dataset.selection)) for one in alone]
        self._starts = np.cumsum([0, *counts])
        self._windows = np.array(
            [count // max(1, file.samples) for count, file in zip(counts, source.files, strict=True)]
        )

    def targets(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        r"""Return the targets at each step of some samples, (n, steps, \*target_shape); NaN where the data end."""
        files = np.searchsorted(self._starts, numbers, side="right") - 1
        windows = self._windows[files]
        window = (numbers - self._starts[files]) % windows
        there = window[:, None] + self._ahead < windows[:, None]
        wanted, place = np.unique((numbers[:, None] + self._ahead)[there], return_inverse=True)
        inputs = np.empty((len(wanted), *self._dataset.input_shape), dtype=np.float32)
        read = np.empty((len(wanted), *self._dataset.target_shape), dtype=np.float32)
        self._dataset.read(wanted, inputs, read)
        found = np.full((*there.shape, *self._dataset.target_shape), np.nan, dtype=np.float32)
        found[there] = read[place.reshape(-1)]
        return found


def check_split(split: str | None) -> None:
    """Refuse the name of a split that there cannot be (`InputError`)."""
    if split is not None and split not in (*SPLITS, "all"):
        raise InputError(
            f"--split {split}: unknown; there are {', '.join(SPLITS)}, and all for the rows of a file"
        )


def own_split(path: Path) -> str:
    """Return the split to predict of a file that a training read: ``test``, or none where the files are the splits.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    if path.suffix not in ARRAY_SUFFIXES or "test" not in array_splits(path):
        return ""
    words = (*SPLITS, "val")
    beside = (
        path.with_name(path.name.replace(one, other)) for one in words for other in words if one != other
    )
    return "" if any(file.is_file() and file != path for file in beside) else "test"


def open_samples(
    path: str | os.PathLike[str], card: Card, misfit: Misfit, split: str | None = None
) -> NewSamples:
    """Open new samples for the network that `card` describes.

    Parameters
    ----------
    path : str or Path
        Folder of a training set, or an ``.h5`` or ``.npz`` file whose arrays are named as the inputs, or that holds a
        single array. Arrays may lack the axis of times or channels where the network needs only one.
    card : Card
    misfit : callable
        `hpc_ds.learn.predictor.misfit` of the network.
    split : str, optional
        Of a training set (by default ``test``), or of a file, of which ``all`` (the default) is every row.

    Raises
    ------
    InputError
        There is no such file, array or split, or its samples do not fit the network.
    """
    place = Path(path)
    selection = _selection(card)
    if place.suffix in ARRAY_SUFFIXES and not _in_wells_layout(place):
        attempts = _attempts(place, selection, split)
    else:
        attempts = iter([partial(_stored, place, selection, card, split)])
    return _first_fit(place, attempts, misfit, card)


def _selection(card: Card) -> Selection:
    try:
        return Selection.from_dict(card.selection)
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"network {card.reference}: its file does not say what its inputs are called; call it from Python instead"
        ) from None


def _first_fit(
    place: Path, attempts: Iterator[Callable[[], NewSamples]], misfit: Misfit, card: Card
) -> NewSamples:
    """Return the first reading of a file that fits the network; complain about the one that came closest."""
    unread: list[InputError] = []
    misfits: list[tuple[int, str]] = []
    for attempt in attempts:
        try:
            found = attempt()
        except InputError as error:
            unread.append(error)
            continue
        shape = found.dataset.input_shape
        problem = misfit(shape)
        if not problem:
            return found
        misfits.append((_distance(shape, card.input_shape), problem))
    if not misfits:
        raise unread[0]
    _, closest = min(misfits, key=lambda pair: pair[0])
    names = f" of {', '.join(card.input_names)}" if unread and len(card.input_names) < 9 else ""
    raise InputError(f"{place}: {closest}{names}")


def _distance(shape: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """Return how many axes differ; shapes with another number of axes are further away than any other."""
    if len(shape) != len(wanted):
        return len(wanted) + 1
    return sum(one != other for one, other in zip(shape, wanted, strict=True))


# Training sets


def _stored(place: Path, selection: Selection, card: Card, split: str | None) -> NewSamples:
    if place.suffix in ARRAY_SUFFIXES:  # one data file of a training set
        return NewSamples(open_inputs(place, selection), False)
    source = open_training_set(place, split or "test")
    try:
        classes = card.target_names if card.task == "classify" else ()
        return NewSamples(Dataset(source, selection, classes), True, split or "test")
    except (InputError, KeyError):  # without targets; if the inputs are wrong, the next line says so
        return NewSamples(open_inputs(place, selection, split or "test"), False, split or "test")


def _in_wells_layout(place: Path) -> bool:
    if place.suffix == ".npz" or not place.is_file():
        return False
    try:
        with h5py.File(place, "r") as file:
            return "t0_fields" in file and "dataset_name" in file.attrs
    except OSError:  # told where it is read
        return False


# Plain arrays


def _attempts(place: Path, selection: Selection, split: str | None) -> Iterator[Callable[[], NewSamples]]:
    """Yield ways to read the file, the one that the training used first."""
    yield partial(_arrays, place, selection, split)
    alone = _single_array(place)
    readings = [selection.inputs]
    if alone is not None:
        readings.append((Part(alone),))
    for parts in readings:
        for times in ("", ":"):
            changed = tuple(Part(part.name, "", times) for part in parts)
            yield partial(_without_targets, place, changed, selection, split)


def _arrays(place: Path, selection: Selection, split: str | None) -> NewSamples:
    inputs, targets = ([str(part) for part in parts] for parts in (selection.inputs, selection.targets))
    try:
        source = open_array_file(place, split or "all", inputs, targets, selection.window, selection.task)
        return NewSamples(Dataset(source, selection), True, _told(split))
    except (InputError, KeyError, ValueError):
        return _without_targets(place, selection.inputs, selection, split)


def _without_targets(
    place: Path, parts: tuple[Part, ...], selection: Selection, split: str | None
) -> NewSamples:
    names = [str(part) for part in parts]
    moving = selection.window if parts == selection.inputs else None
    source = open_array_file(place, split or "all", names, None, moving, selection.task)
    try:
        chosen = Selection(parts, (), moving, selection.task)
        return NewSamples(Dataset(source, chosen), False, _told(split))
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None


def _told(split: str | None) -> str:
    return split if split and split != "all" else ""


def _single_array(place: Path) -> str | None:
    """Return the name of the only array of a file; None where there are several, or none."""
    try:
        if place.suffix == ".npz":
            with np.load(place, allow_pickle=False) as archive:
                names = list(archive.files)
        else:
            names = []
            with h5py.File(place, "r") as file:
                file.visititems(
                    lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
                )
    except (OSError, ValueError):
        return None
    return names[0] if len(names) == 1 else None


def read_block(
    samples: NewSamples, numbers: NDArray[np.int64], card: Card
) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    r"""Return inputs (n, \*shape) and, where they are known, targets of some samples."""
    dataset, count = samples.dataset, len(numbers)
    inputs = np.empty((count, *dataset.input_shape), dtype=np.float32)
    targets: NDArray[Any] | None = None
    if samples.with_targets and card.task == "classify":
        targets = np.empty(count, dtype=np.int64)
    elif samples.with_targets:
        targets = np.empty((count, *dataset.target_shape), dtype=np.float32)
    dataset.read(numbers, inputs, targets)
    return inputs, targets
