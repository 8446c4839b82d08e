"""Read a training set in The Well's layout: any sample, any times, parameters, statistics and windows for a network."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.well_file import Header, Item, WellFile, data_files, read_header, read_own, words

Samples = int | slice | Sequence[int] | NDArray[np.integer]
"""One sample, which gives an array without the axis of samples, or several."""


class TrainingSet:
    """One split of a training set, opened for reading.

    Files are opened at the first read and stay open: arrays that lie in one piece are mapped into memory and read
    without a copy, others (compressed, in chunks) through HDF5. It can be pickled and survives a fork: each process
    opens the files for itself.

    Parameters
    ----------
    path : str or Path
        The folder that holds ``data/`` and ``stats.yaml``.
    split : str
        ``train``, ``valid`` or ``test``.

    Raises
    ------
    InputError
        No such folder or split, a file that is not in The Well's layout, or files that do not belong together.

    Attributes
    ----------
    name : str
        Name of the set.
    axes : dict of str to (n,) array
        Coordinates of each spatial dimension, in the order of the arrays.
    times : (T,) array
        Of the first file (and of its first sample, where samples have times of their own).
    fields, scalars : dict of str to Item
        What each sample holds.

    Examples
    --------
    >>> with TrainingSet("runs/burgers") as ts:                  # doctest: +SKIP
    ...     u = ts.read("u", 17)                                 # (T, X), no copy
    ...     inputs = ts.windows(4, 1)[123]["input_fields"]       # (4, X, 1)
    """

    def __init__(self, path: str | os.PathLike[str], split: str = "train") -> None:
        self.path = Path(os.path.abspath(path))
        self.split = split
        self._headers = _headers(self.path, split)
        first = self._headers[0]
        self.name, self.axes, self.fields, self.scalars = first.name, first.axes, first.fields, first.scalars
        self.times = first.times if first.times.ndim == 1 else first.times[0]
        self._starts = np.cumsum([0, *(header.samples for header in self._headers)])
        self._files: list[WellFile] = []
        self._process = -1

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return f"<TrainingSet {self.name}, {self.split}: {len(self)} samples in {self.path}>"

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one sample of a field or scalar: time, then the whole grid, then components."""
        item = self._item(name)
        time = (self._headers[0].steps,) if item.time_varying else ()
        return (*time, *item.grid, *item.components)

    def read(
        self, name: str, samples: Samples = slice(None), times: int | slice | Sequence[int] = slice(None)
    ) -> NDArray[Any]:
        """Read a field or scalar of some samples at some times.

        Parameters
        ----------
        name : str
            Of a field or scalar.
        samples : int, slice or sequence of int
            Which samples, counted over all files of the split; negative ones from the end.
        times : int, slice or sequence of int
            Which times; of something that does not vary in time only all of them.

        Returns
        -------
        array of the stored dtype
            ``(samples, times, *grid, *components)``, without the axes for which a single number was given. Read-only
            and without a copy for one sample, or for a slice of samples of one file, that is mapped.

        Raises
        ------
        KeyError
            No field or scalar of that name.
        IndexError
            No such sample or time.
        """
        whole = isinstance(times, slice) and times == slice(None)
        if not (whole or self._item(name).time_varying):
            raise IndexError(f"{name} does not vary in time: it cannot be read at some times only")
        if isinstance(samples, int | np.integer):
            return self._one(name, _checked(int(samples), len(self)), times)
        if isinstance(samples, slice):
            chosen = range(len(self))[samples]
            views = [self._slice(name, number, part, times) for number, part in self._parts(chosen)]
        else:
            views = [self._one(name, _checked(int(each), len(self)), times)[None] for each in samples]
        if len(views) == 1:
            return views[0]
        return np.concatenate(views) if views else self._slice(name, 0, range(0), times)

    def windows(self, n_in: int, n_out: int, stride: int = 1) -> Windows:
        """Return all windows of `n_in` + `n_out` successive times (every `stride`-th) of all samples."""
        return Windows(self, n_in, n_out, stride)

    @property
    def parameters(self) -> dict[str, NDArray[Any]]:
        """The parameters of the samples by name, (len,) each; a choice among words as its words."""
        names = dict.fromkeys(name for header in self._headers for name in header.parameters)
        return {
            name: self._words(
                name, np.concatenate([self._parameter(n, name) for n in range(len(self._headers))])
            )
            for name in names
            if name in self.scalars
        }

    @property
    def design_index(self) -> NDArray[np.int64] | None:
        """Which point of the design each sample is, (len,); None for a set that does not say."""
        found = [read_own(header.path, "design_index") for header in self._headers]
        return (
            None
            if any(one is None for one in found)
            else np.concatenate([one for one in found if one is not None])
        )

    @property
    def statistics(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """``mean``, ``std``, ``rms`` and their ``_delta`` by field, of ``stats.yaml``.

        Raises
        ------
        InputError
            No such file, or a damaged one.
        """
        return read_statistics(self.path / "stats.yaml")

    def close(self) -> None:
        """Let go of the files; the next read opens them again."""
        if self._process == os.getpid():
            for file in self._files:
                file.close()
        self._process = -1

    def __enter__(self) -> TrainingSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": [], "_process": -1}

    # Within

    def _file(self, number: int) -> WellFile:
        if self._process != os.getpid():  # also after a fork: HDF5's handles belong to the parent
            self._files = [WellFile(header) for header in self._headers]
            self._process = os.getpid()
        return self._files[number]

    def _item(self, name: str, number: int = 0) -> Item:
        header = self._headers[number]
        item = header.fields.get(name) or header.scalars.get(name)
        if item is None:
            known = ", ".join([*header.fields, *header.scalars])
            raise KeyError(f"{name} is neither a field nor a scalar of {self.name}: it has {known}")
        return item

    def _one(self, name: str, sample: int, times: Any) -> NDArray[Any]:
        number = int(np.searchsorted(self._starts, sample, side="right")) - 1
        return self._values(name, number, sample - int(self._starts[number]), times)

    def _values(self, name: str, number: int, row: int, times: Any) -> NDArray[Any]:
        item = self._item(name, number)
        index: tuple[Any, ...] = (row,) if item.sample_varying else ()
        if item.time_varying:
            index += (times,)
        return item.on_grid(np.asarray(self._file(number).array(item)[index]))

    def _slice(self, name: str, number: int, rows: range, times: Any) -> NDArray[Any]:
        """Return several samples of one file; `rows` may be empty."""
        item = self._item(name, number)
        if not item.sample_varying:
            single = self._values(name, number, 0, times)
            return np.broadcast_to(single, (len(rows), *single.shape))
        forward = rows if rows.step > 0 else rows[::-1]  # HDF5 reads forwards only
        selection = slice(forward.start, forward.stop, forward.step)
        index = (selection, times) if item.time_varying else (selection,)
        values = item.on_grid(np.asarray(self._file(number).array(item)[index]))
        return values if rows.step > 0 else values[::-1]

    def _parts(self, chosen: range) -> Iterator[tuple[int, range]]:
        """Split samples into the ranges that lie in one file, as its rows."""
        backwards = chosen.step < 0
        forward = chosen[::-1] if backwards else chosen
        bounds = [bisect_left(forward, int(start)) for start in self._starts]
        numbers = range(len(self._headers))
        for number in reversed(numbers) if backwards else numbers:
            inside = forward[bounds[number] : bounds[number + 1]]
            if inside:
                start = int(self._starts[number])
                rows = range(inside.start - start, inside.stop - start, inside.step)
                yield number, rows[::-1] if backwards else rows

    def _parameter(self, number: int, name: str) -> NDArray[Any]:
        item = self._item(name, number)
        values = np.asarray(self._file(number).array(item)[()])
        return values if item.sample_varying else np.broadcast_to(values, (self._headers[number].samples,))

    def _words(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        choices = _choices(self._headers[0], name)
        return np.array(choices)[values.astype(int)] if choices else values


class Windows(Sequence[dict[str, NDArray[Any]]]):
    r"""Pieces of the samples for a network to learn from: ``n_in`` times and the ``n_out`` that follow.

    Window i is a dictionary of what there is of ``input_fields`` (n_in, \*grid, channels), ``output_fields`` (n_out,
    \*grid, channels), ``constant_fields`` (\*grid, channels), ``input_scalars`` (n_in, channels), ``output_scalars``,
    ``constant_scalars`` (channels,): new contiguous arrays, with the components of vectors and tensors as channels, in
    the order of the files. Order and content are those of WellDataset.
    """

    def __init__(self, data: TrainingSet, n_in: int, n_out: int, stride: int = 1) -> None:
        if n_in < 0 or n_out < 0 or n_in + n_out < 1 or stride < 1:
            raise ValueError(f"windows of {n_in} + {n_out} times, every {stride}: these must be positive")
        self.data, self.n_in, self.n_out, self.stride = data, n_in, n_out, stride
        span = (n_in + n_out - 1) * stride + 1
        self._each = [header.steps - span + 1 for header in data._headers]
        if min(self._each) < 1:
            shortest = min(header.steps for header in data._headers)
            raise InputError(f"{data.path}: windows of {span} times do not fit: the samples have {shortest}")
        counts = [header.samples * each for header, each in zip(data._headers, self._each)]
        self._starts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        chosen = _checked(int(index), len(self))
        number = int(np.searchsorted(self._starts, chosen, side="right")) - 1
        row, first = divmod(chosen - int(self._starts[number]), self._each[number])
        times = slice(first, first + (self.n_in + self.n_out) * self.stride, self.stride)
        header = self.data._headers[number]
        window = {}
        for kind, items in (("fields", header.fields), ("scalars", header.scalars)):
            varying = self._channels(
                [item for item in items.values() if item.time_varying], number, row, times
            )
            constant = [item for item in items.values() if not item.time_varying]
            window[f"input_{kind}"] = varying[: self.n_in]
            window[f"output_{kind}"] = varying[self.n_in :]
            window[f"constant_{kind}"] = self._channels(constant, number, row, times)
        return {name: values for name, values in window.items() if values.size}

    def _channels(self, items: Sequence[Item], number: int, row: int, times: slice) -> NDArray[Any]:
        """Join fields along one last axis of channels."""
        parts = []
        for item in items:
            values = self.data._values(item.name, number, row, times)
            lead = values.shape[: values.ndim - item.rank]
            parts.append(values.reshape(*lead, int(np.prod(item.components, dtype=int))))
        return np.concatenate(parts, axis=-1) if parts else np.empty((0,), np.float32)


def read_statistics(path: str | os.PathLike[str]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Read a ``stats.yaml``: kind of statistic -> field -> number, (D,) or (D, D) array.

    Raises
    ------
    InputError
        No such file, or none of that kind.
    """
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
        return {
            str(kind): {str(name): np.asarray(value, dtype=np.float64) for name, value in fields.items()}
            for kind, fields in found.items()
        }
    except FileNotFoundError:
        raise InputError(f"{os.fspath(path)}: no such file; hpc-ds merge writes it") from None
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{os.fspath(path)}: holds no statistics of fields ({reason})") from None


def _headers(folder: Path, split: str) -> list[Header]:
    files = data_files(folder, split)
    if not files:
        there = [
            place.name for place in sorted(Path(folder, "data").glob("*")) if data_files(folder, place.name)
        ]
        hint = (
            f"there are {', '.join(there)}" if there else "hpc-ds merge makes data files of finished samples"
        )
        raise InputError(f"{folder}: no data files in data/{split}; {hint}")
    headers = [read_header(path) for path in files]
    for header in headers[1:]:
        check_kin(headers[0], header)
    return headers


def check_kin(first: Header, other: Header) -> None:
    """Refuse two files that cannot be of one set (`InputError`)."""
    for what, here, there in (
        ("name of the set", first.name, other.name),
        ("grid", [*map(len, first.axes.values())], [*map(len, other.axes.values())]),
        ("fields", _kinds(first.fields.values()), _kinds(other.fields.values())),
        ("scalars", _kinds(first.scalars.values()), _kinds(other.scalars.values())),
    ):
        if here != there:
            raise InputError(
                f"{other.path}: its {what} is not that of {first.path.name}: {there}, not {here}"
            )


def _kinds(items: Iterable[Item]) -> list[tuple[str, int, bool]]:
    return [(item.name, item.rank, item.time_varying) for item in items]


def _choices(header: Header, name: str) -> list[str]:
    import h5py

    with h5py.File(header.path, "r") as file:
        return words(file[f"scalars/{name}"].attrs.get("choices", []))


def _checked(index: int, length: int) -> int:
    if not -length <= index < length:
        raise IndexError(f"{index} is out of range: there are {length}")
    return index % length
