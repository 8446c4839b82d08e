"""Open what a trained network is to be applied to: a training set, or plain arrays that may hold inputs only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.arrays import open_array_file
from hpc_ds.learn.dataset import ARRAY_SUFFIXES, Dataset, open_inputs
from hpc_ds.learn.predictor import Card
from hpc_ds.learn.selection import Part, Selection
from hpc_ds.learn.source import open_training_set
from hpc_ds.runtime.errors import InputError

Misfit = Callable[[tuple[int, ...]], str]
"""Says why samples of that shape do not fit; empty where they do."""


@dataclass(frozen=True, eq=False)
class NewSamples:
    """Samples to predict."""

    dataset: Dataset
    with_targets: bool
    """Whether what is right is known."""


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
        Of a training set (by default ``test``), or of a file that has splits (by default all of it).

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
    return _first_fit(place, attempts, misfit)


def _selection(card: Card) -> Selection:
    try:
        return Selection.from_dict(card.selection)
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"network {card.reference}: its file does not say what its inputs are called; call it from Python instead"
        ) from None


def _first_fit(place: Path, attempts: Iterator[Callable[[], NewSamples]], misfit: Misfit) -> NewSamples:
    """Return the first reading of a file that fits the network; complain about the most obvious one."""
    problems: list[InputError] = []
    for attempt in attempts:
        try:
            found = attempt()
        except InputError as error:
            problems.append(error)
            continue
        problem = misfit(found.dataset.input_shape)
        if not problem:
            return found
        problems.append(InputError(f"{place}: {problem}"))
    raise problems[0]


# Training sets


def _stored(place: Path, selection: Selection, card: Card, split: str | None) -> NewSamples:
    if place.suffix in ARRAY_SUFFIXES:  # one data file of a training set
        return NewSamples(open_inputs(place, selection), False)
    source = open_training_set(place, split or "test")
    try:
        classes = card.target_names if card.task == "classify" else ()
        return NewSamples(Dataset(source, selection, classes), True)
    except (InputError, KeyError):  # without targets; if the inputs are wrong, the next line says so
        return NewSamples(open_inputs(place, selection, split or "test"), False)


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
        return NewSamples(Dataset(source, selection), True)
    except (InputError, KeyError, ValueError):
        return _without_targets(place, selection.inputs, selection, split)


def _without_targets(
    place: Path, parts: tuple[Part, ...], selection: Selection, split: str | None
) -> NewSamples:
    names = [str(part) for part in parts]
    moving = selection.window if parts == selection.inputs else None
    source = open_array_file(place, split or "all", names, None, moving, selection.task)
    try:
        return NewSamples(Dataset(source, Selection(parts, (), moving, selection.task)), False)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None


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
