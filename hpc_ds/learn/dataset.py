"""The samples that a network learns from, as arrays with channels first: of a training set, or of plain arrays."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.arrays import array_splits, open_array_file
from hpc_ds.learn.channels import Block, Channel
from hpc_ds.learn.selection import Kind, Part, Selection, parse, select
from hpc_ds.learn.settings import Settings
from hpc_ds.learn.source import (
    GridAxis,
    Source,
    open_data_file,
    open_training_set,
    splits_of_training_set,
)
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.store.well_file import SUFFIXES

ARRAY_SUFFIXES = (*SUFFIXES, ".npz")
"""What the names of files of plain arrays end with."""


class Dataset:
    r"""One split of a data set through a selection; reading is thread-safe.

    Parameters
    ----------
    source : Source
        Where the samples lie.
    selection : Selection
        What of them is input and what target.
    classes : sequence of str
        Names of the classes in the order of their numbers; for classification only.

    Attributes
    ----------
    name, task : str
        Name of the set; ``fields``, ``scalars`` or ``classify``.
    input_shape : tuple of int
        ``(channels, *grid)``, or ``(features,)`` where no field is among the inputs.
    target_shape : tuple of int
        ``(channels, *grid)``, ``(D,)`` or ``(classes,)``.
    input_names, target_names : tuple of str
        Of the channels, of the numbers, or of the classes.
    input_channels, target_channels : tuple of Channel
        The same with what they belong to; of a classification the target has none.
    axes : tuple of GridAxis
        Of the grid of inputs and targets.
    """

    def __init__(self, source: Source, selection: Selection, classes: Sequence[str] = ()) -> None:
        self.source, self.selection, self.name = source, selection, source.name
        self.task: Kind = selection.task
        self._lock = threading.Lock()
        self.input_blocks = _blocks(selection.inputs, source, selection, ahead=False)
        self.target_blocks = _blocks(selection.targets, source, selection, ahead=True)
        self._each = [
            _windows(file, self.input_blocks + self.target_blocks, source.place) for file in source.files
        ]
        counts = [file.samples * each for file, each in zip(source.files, self._each)]
        self._starts = np.cumsum([0, *counts])
        self.axes: tuple[GridAxis, ...] = source.axes
        grid = tuple(len(axis.coordinates) for axis in self.axes)
        self.input_channels, self.target_channels = (
            _channels(self.input_blocks),
            _channels(self.target_blocks),
        )
        self.input_names = tuple(channel.name for channel in self.input_channels)
        self.target_names = tuple(channel.name for channel in self.target_channels)
        seen = any(channel.on_grid for channel in self.input_channels)
        self.input_shape = (len(self.input_names), *(grid if seen else ()))
        self.target_shape = (len(self.target_names), *(grid if self.task == "fields" else ()))
        self._codes: NDArray[np.int64] | None = None
        if self.task == "classify" and selection.targets:
            self.target_names, self.target_channels, self.target_shape = tuple(classes), (), (len(classes),)
            self._codes = self._coded(tuple(classes))

    def __len__(self) -> int:
        """Return the number of samples; each window counts as one."""
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return f"<Dataset {self.source.place}: {len(self)} of {self.input_shape} to {self.target_shape}>"

    def read(
        self, samples: NDArray[np.int64], inputs: NDArray[Any], targets: NDArray[Any] | None = None
    ) -> None:
        r"""Read some samples into given arrays; several threads may do so at once.

        Parameters
        ----------
        samples : (n,) int64
            Which, of 0 to ``len(self)`` - 1.
        inputs : (n, \*input_shape) float32 or float64
            Overwritten.
        targets : (n, \*target_shape) float32 or float64, (n,) int64 of classes, or None
            Overwritten; None where only inputs are wanted.

        Raises
        ------
        InputError
            A file cannot be read.
        """
        samples = np.asarray(samples, dtype=np.int64)
        numbers = np.searchsorted(self._starts, samples, side="right") - 1
        for number in np.unique(numbers).tolist():
            single = len(self.source.files) == 1 or bool((numbers == number).all())
            places = None if single else np.flatnonzero(numbers == number)
            chosen = (samples if places is None else samples[places]) - self._starts[number]
            self._read_file(number, chosen, places, inputs, None if self._codes is not None else targets)
        if self._codes is not None and targets is not None:
            targets[...] = self._codes[samples]

    def labels(self) -> NDArray[np.int64] | None:
        """Return the class of each sample, (len,), as its place in `target_names`; None without classes."""
        return self._codes

    def where(self, sample: int) -> str:
        """Return in words where a sample lies: its file, its row there and where its window begins."""
        number = int(np.searchsorted(self._starts, sample, side="right")) - 1
        rows, starts = self._located(number, np.array([sample - self._starts[number]]))
        window = f", window from time {starts[0]}" if self._each[number] > 1 else ""
        return f"{self.source.files[number].path}, row {rows[0]}{window}"

    # Within

    def _located(self, number: int, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, starts = np.divmod(chosen, self._each[number])
        kept = self.source.files[number].rows
        return (rows if kept is None else kept[rows]), starts

    def _read_file(
        self,
        number: int,
        chosen: NDArray[np.int64],
        places: NDArray[np.int64] | None,
        inputs: NDArray[Any],
        targets: NDArray[Any] | None,
    ) -> None:
        file = self.source.files[number]
        rows, starts = self._located(number, chosen)
        for blocks, out in ((self.input_blocks, inputs), (self.target_blocks, targets)):
            if out is None:
                continue
            first = 0
            for block in blocks:
                count = len(block.channels)
                self._open(file, block)
                try:
                    block.fill(file, rows, starts, out[:, first : first + count], places)
                except OSError as error:
                    raise _unreadable(file.path, error) from error
                first += count

    def _open(self, file: Any, block: Block) -> None:
        """Map or open what a block reads; only a file's first reader changes anything, and one after the other."""
        with self._lock:
            try:
                file.array(file.items[block.part.name])
            except (OSError, ValueError) as error:
                raise _unreadable(file.path, error) from error

    def _columns(self) -> NDArray[Any]:
        """Return the one target of all samples, (len,), as it is stored."""
        block = self.target_blocks[0]
        parts = []
        for number, file in enumerate(self.source.files):
            rows, starts = self._located(number, np.arange(file.samples * self._each[number]))
            try:
                parts.append(block.column(file, rows, starts))
            except OSError as error:
                raise _unreadable(file.path, error) from error
        return np.concatenate(parts)

    def _coded(self, classes: tuple[str, ...]) -> NDArray[np.int64]:
        values, inverse = np.unique(self._columns(), return_inverse=True)
        names = class_words(values, self.source, self.selection.targets[0])
        for name in names:
            if name not in classes:
                raise InputError(
                    f"{self.source.place}: class '{name}' does not occur in the training split; "
                    f"{unknown(name, classes, 'there')}"
                )
        return np.array([classes.index(name) for name in names], dtype=np.int64)[inverse]


def open_dataset(path: str | os.PathLike[str], split: str, settings: Settings) -> Dataset:
    """Return one split of a data set, through what the settings select of it.

    Parameters
    ----------
    path : str or Path
        Folder of a training set in The Well's layout, or an ``.h5`` or ``.npz`` file of arrays whose first axis is the
        sample.
    split : str
        ``train``, ``valid`` or ``test``.
    settings : Settings
        Of which `input`, `target`, `window` and `task` count.

    Raises
    ------
    InputError
        The set is incomplete, damaged or has no such split; the selection does not fit it; a class does not occur in
        the split, or in the training split only.
    """
    source = _source(Path(path), split, settings)
    selection = select(_with_defaults(settings, path), source.quantities, source.place)
    if selection.task != "classify":
        return Dataset(source, selection)
    training = source if split == "train" else _source(Path(path), "train", settings)
    dataset = Dataset(source, selection, _classes(training, selection))
    if split != "test":
        _check_classes(dataset, split)
    return dataset


def open_inputs(path: str | os.PathLike[str], selection: Selection, split: str = "test") -> Dataset:
    """Return samples for a trained network, of which only the inputs need be there.

    Parameters
    ----------
    path : str or Path
        As in `open_dataset`; of a file all samples count, also of a single data file in The Well's layout.
    selection : Selection
        Of the training.
    split : str
        Of a training set.

    Raises
    ------
    InputError
        There are no such samples, or not what the network needs.
    """
    place = Path(path)
    if place.suffix not in ARRAY_SUFFIXES:
        source = open_training_set(place, split)
    elif _in_wells_layout(place):
        source = open_data_file(place)
    else:
        texts = [str(part) for part in selection.inputs]
        source = open_array_file(place, "all", texts, None, selection.window, selection.task)
    for part in selection.inputs:
        parse(str(part), "input", source.quantities, source.place)
    return Dataset(source, Selection(selection.inputs, (), selection.window, selection.task))


def available_splits(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which of train, valid and test a data set has; all three where rows are split by their number."""
    place = Path(path)
    return array_splits(place) if place.suffix in ARRAY_SUFFIXES else splits_of_training_set(place)


def class_words(values: NDArray[Any], source: Source, part: Part) -> list[str]:
    """Return the names of classes that are stored as words, whole numbers, or codes of a choice.

    Raises
    ------
    InputError
        They are other numbers, or codes that stand for nothing.
    """
    choices = source.quantities[part.name].choices
    if values.dtype.kind in "SOU":
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        raise InputError(
            f"--target {part}: holds numbers such as {values[0]:g}, no classes; --task scalars is right"
        )
    codes = [int(value) for value in values]
    if not choices:
        return list(map(str, codes))
    wrong = [code for code in codes if not 0 <= code < len(choices)]
    if wrong:
        raise InputError(
            f"{source.place}: {part.name} holds {wrong[0]}; its choices are 0 to {len(choices) - 1}"
        )
    return [choices[code] for code in codes]


# Within


def _source(path: Path, split: str, settings: Settings) -> Source:
    if path.suffix not in ARRAY_SUFFIXES:
        return open_training_set(path, split)
    if _in_wells_layout(path):
        raise InputError(f"{path}: is one data file of a training set; give the folder that holds data/")
    return open_array_file(path, split, settings.input, settings.target, settings.window, settings.task)


def _with_defaults(settings: Settings, path: str | os.PathLike[str]) -> Settings:
    """Return the settings with arrays x and y as input and target of a file, where none are named."""
    if Path(path).suffix not in ARRAY_SUFFIXES:
        return settings
    return settings.model_copy(
        update={"input": settings.input or ("x",), "target": settings.target or ("y",)}
    )


def _in_wells_layout(path: Path) -> bool:
    import h5py

    if path.suffix not in SUFFIXES or not path.is_file():
        return False
    try:
        with h5py.File(path, "r") as file:
            return "t0_fields" in file and "dataset_name" in file.attrs
    except OSError as error:
        raise _unreadable(path, error) from error


def _blocks(parts: Sequence[Part], source: Source, selection: Selection, ahead: bool) -> tuple[Block, ...]:
    return tuple(Block(part, source.quantities[part.name], selection.window, ahead) for part in parts)


def _channels(blocks: Sequence[Block]) -> tuple[Channel, ...]:
    return tuple(channel for block in blocks for channel in block.channels)


def _windows(file: Any, blocks: Sequence[Block], place: str) -> int:
    """Return how many windows each sample of a file has; 1 without windows."""
    lengths = {}
    for block in blocks:
        item = file.items[block.part.name]
        if item.time_varying:
            lengths[block] = item.shape[int(item.sample_varying)]
            if not block.moving and block.quantity.times != lengths[block]:
                raise InputError(
                    f"{file.path}: has {lengths[block]} times where the first file of {place} has "
                    f"{block.quantity.times}: only --window can join them"
                )
    moving = {block: length for block, length in lengths.items() if block.moving}
    if not moving:
        return 1
    span = max(block.last for block in moving) + 1
    each = min(moving.values()) - span + 1
    if each < 1:
        raise InputError(
            f"{file.path}: windows of {span} times do not fit: the samples have {min(moving.values())}"
        )
    return each


def _classes(training: Source, selection: Selection) -> tuple[str, ...]:
    part = selection.targets[0]
    choices = training.quantities[part.name].choices
    if choices:
        return choices
    numbers = Selection(selection.inputs, selection.targets, selection.window, "scalars")
    return tuple(class_words(np.unique(Dataset(training, numbers)._columns()), training, part))


def _check_classes(dataset: Dataset, split: str) -> None:
    counts = np.bincount(
        dataset._codes if dataset._codes is not None else [], minlength=len(dataset.target_names)
    )
    missing = [name for name, count in zip(dataset.target_names, counts) if not count]
    if missing:
        raise InputError(
            f"{dataset.source.place}: no sample of class {', '.join(missing)} in the {split} split; "
            "more samples or another split are needed"
        )


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read ({' '.join(str(error).split())})")
