"""Plain arrays of the user's as a data set: an HDF5 or NPZ file whose arrays have the sample as their first axis."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.selection import Quantity
from hpc_ds.learn.source import GridAxis, Source, StoredFile
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.store.split import SPLITS, split_codes
from hpc_ds.store.well_file import Header, Item, WellFile

_SPLIT_WORDS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
_AXIS_NAMES = ("x", "y", "z")


@dataclass(frozen=True)
class _Stored:
    """An array of a file, not read yet."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None


def open_array_file(
    path: Path,
    split: str,
    inputs: Sequence[str],
    targets: Sequence[str] | None,
    window: tuple[int, int] | None = None,
    task: str = "auto",
) -> Source:
    """Return one split of a file of plain arrays.

    The grid is what the selected fields end with: the axes of the one with the fewest. Alone, an array of three axes
    after the sample is (channels, height, width), and one of four (channels, depth, height, width), as in torch; where
    another one has the same axes and one more before, they all are grid. The one axis that an array may have before the
    grid are its channels, or times: ``x:0`` takes one of them, ``x:0:3`` some, and ``x::`` says of any array that its
    first axis is that one. An array of one axis after the sample holds numbers, unless input and target have equal ones
    or another array ends with it.

    Parameters
    ----------
    path : Path
        ``.npz``, ``.h5`` or ``.hdf5``. Splits are told by names (``x_train``, ``train_x``, groups ``train/x``), or by
        files beside (``darcy_train.npz``, ``darcy_test.npz``), or else by a hash of the row's number (8 : 1 : 1).
    split : str
        ``train``, ``valid``, ``test``, or ``all`` for all rows of a file without splits.
    inputs, targets : sequence of str
        As given with ``--input`` and ``--target``; by default arrays ``x`` and ``y``. None for no targets.
    window, task : optional
        As in the settings.

    Raises
    ------
    InputError
        No such file, split or array; arrays that do not fit together.
    """
    place, arrays, hashed = _split_arrays(path, split)
    seen = _names(inputs, arrays, path) or _default("x", arrays)
    learned = [] if targets is None else _names(targets, arrays, path) or _default("y", arrays)
    chosen = dict.fromkeys([*seen, *learned])
    if not seen or not (learned or targets is None):
        raise InputError(f"{path}: no arrays 'x' and 'y'; name --input and --target of {', '.join(arrays)}")
    leading = {_base(text, arrays) for text in (*inputs, *(targets or ())) if ":" in text}
    grid = _grid(
        {name: arrays[name].shape[1:] for name in chosen},
        leading | set(chosen if window else ()),
        learned,
        task,
    )
    samples = _samples(path, {name: arrays[name] for name in chosen})
    items = {name: _item(name, arrays[name], grid, place) for name in chosen}
    rows = np.flatnonzero(split_codes(np.arange(samples)) == SPLITS.index(split)) if hashed else None
    count = samples if rows is None else len(rows)
    if not count:
        raise InputError(f"{path}: no samples in the {split} split: the file has {samples} rows")
    file = StoredFile(place, count, items, _reader(place, items, samples), rows)
    quantities = {name: _quantity(item) for name, item in items.items()}
    return Source(f"{place} ({split})", path.stem, (file,), quantities, _axes(grid))


def array_splits(path: Path) -> tuple[str, ...]:
    """Return the splits that a file of plain arrays has, of rows split by their number those that get some."""
    arrays = _listed(path)
    there = _named_splits(arrays) or _files_beside(path)
    if there:
        return tuple(split for split in SPLITS if split in there)
    codes = split_codes(
        np.arange(max((stored.shape[0] for stored in arrays.values() if stored.shape), default=0))
    )
    return tuple(split for code, split in enumerate(SPLITS) if (codes == code).any())


# Which arrays belong to which split


def _split_arrays(path: Path, split: str) -> tuple[Path, dict[str, _Stored], bool]:
    """Return the file, its arrays by name without the split, and whether rows are split by their number."""
    arrays = _listed(path)
    if split == "all":
        return path, arrays, False
    named, beside = _named_splits(arrays), _files_beside(path)
    there = named or beside
    if there and split not in there:
        known = ", ".join(there)
        raise InputError(f"{path}: no {split} split; there are {known}")
    if named:
        return path, named[split], False
    if beside:
        return beside[split], _listed(beside[split]), False
    return path, arrays, True


def _named_splits(arrays: Mapping[str, _Stored]) -> dict[str, dict[str, _Stored]]:
    """Return arrays by split and name, of names such as ``x_train``, ``train_x`` and ``train/x``."""
    words = "|".join(_SPLIT_WORDS)
    found: dict[str, dict[str, _Stored]] = {}
    for name, stored in arrays.items():
        match = re.fullmatch(rf"(?:({words})[_/](.+)|(.+)[_/]({words}))", name)
        if match:
            split = _SPLIT_WORDS[match[1] or match[4]]
            found.setdefault(split, {})[match[2] or match[3]] = stored
    return found if "train" in found else {}


def _files_beside(path: Path) -> dict[str, Path]:
    """Return the files of all splits where `path` has one's name, such as ``darcy_train.npz``."""
    match = re.search(r"(?<![a-z])(train|valid|val|test)(?![a-z])", path.stem)
    if not match:
        return {}
    names = {
        word: path.with_name(f"{path.stem[: match.start()]}{word}{path.stem[match.end() :]}{path.suffix}")
        for word in _SPLIT_WORDS
    }
    found = {_SPLIT_WORDS[word]: file for word, file in names.items() if file.is_file()}
    return found if "train" in found and len(found) > 1 else {}


# What a selection makes of them


def _base(text: str, arrays: Iterable[str]) -> str:
    return text if text in arrays else text.partition(":")[0]


def _names(texts: Sequence[str], arrays: Mapping[str, _Stored], path: Path) -> list[str]:
    names = [_base(text, arrays) for text in texts]
    for name in names:
        if name not in arrays:
            raise InputError(f"{path}: no array '{name}'; {unknown(name, arrays, 'there')}")
    return names


def _default(name: str, arrays: Mapping[str, _Stored]) -> list[str]:
    return [name] if name in arrays else []


def _grid(
    shapes: Mapping[str, tuple[int, ...]], leading: set[str], targets: Sequence[str], task: str
) -> tuple[int, ...]:
    """Return the grid that the arrays share, given their shapes after the sample; () if they hold numbers only."""
    spaces = []
    for name, shape in shapes.items():
        within = any(
            len(there) > len(shape) and there[len(there) - len(shape) :] == shape for there in shapes.values()
        )
        if name in leading or (len(shape) > 2 and not within):
            spaces.append(shape[1:])
        elif len(shape) > 1 or within or _on_line(name, shapes, targets, task):
            spaces.append(shape)
    return min(filter(None, spaces), key=len, default=())


def _on_line(name: str, shapes: Mapping[str, tuple[int, ...]], targets: Sequence[str], task: str) -> bool:
    """Whether an array of one axis after the sample is a field on a line, and not some numbers."""
    opposite = [shape for other, shape in shapes.items() if (other in targets) != (name in targets)]
    return len(shapes[name]) == 1 and (task == "fields" or (task == "auto" and shapes[name] in opposite))


def _item(name: str, stored: _Stored, grid: tuple[int, ...], place: Path) -> Item:
    shape = stored.shape[1:]
    on_grid = bool(grid) and shape[len(shape) - len(grid) :] == grid
    space = grid if on_grid else ()
    before = len(shape) - len(space)
    if before > 1:
        what = f"the grid is {_told(grid)}" if grid else "one axis at most can follow the sample here"
        raise InputError(
            f"{place}: array '{name}' has {_told(shape)} after the sample: {what}; "
            "channels or times may stand before it"
        )
    return Item(
        name,
        stored.path,
        0,
        True,
        before == 1,
        (True,) * len(space),
        space,
        stored.shape,
        stored.dtype,
        stored.offset,
    )


def _quantity(item: Item) -> Quantity:
    times = item.shape[1] if item.time_varying else None
    return Quantity(item.name, bool(item.grid), times, labels=item.dtype.kind in "iubSOU" and not item.grid)


def _samples(path: Path, arrays: Mapping[str, _Stored]) -> int:
    for name, stored in arrays.items():
        if not stored.shape:
            raise InputError(f"{path}: '{name}' is a single number: its first axis must be the sample")
    counts = {name: stored.shape[0] for name, stored in arrays.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputError(f"{path}: arrays have different numbers of samples: {told}")
    return next(iter(counts.values()))


def _axes(grid: tuple[int, ...]) -> tuple[GridAxis, ...]:
    return tuple(
        GridAxis(_AXIS_NAMES[place] if place < 3 else f"x{place}", np.arange(size) / size)
        for place, size in enumerate(grid)
    )


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


# Files


def _listed(path: Path) -> dict[str, _Stored]:
    """Return the arrays of a file by name."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return _listed_npz(path) if path.suffix == ".npz" else _listed_hdf5(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        kind = "NPZ" if path.suffix == ".npz" else "HDF5"
        raise InputError(f"{path}: cannot be read as {kind} ({' '.join(str(error).split())})") from None


def _listed_npz(path: Path) -> dict[str, _Stored]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as file:
                    shape, fortran, dtype = _npy_header(file)
                data = None if fortran or dtype.kind not in "biuf" else _stored_at(path, archive, member)
                found[member.removesuffix(".npy")] = _Stored(member, shape, dtype, data)
    return found


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _stored_at(path: Path, archive: zipfile.ZipFile, member: str) -> int | None:
    """Return where the values of an uncompressed member begin in the file; None for a compressed one."""
    info = archive.getinfo(member)
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)  # a local header: 30 bytes, of which the last four are two lengths
        name, extra = np.frombuffer(file.read(4), "<u2").tolist()
        file.seek(info.header_offset + 30 + name + extra)
        _npy_header(file)
        return file.tell()


def _listed_hdf5(path: Path) -> dict[str, _Stored]:
    found: dict[str, _Stored] = {}

    def visit(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and thing.shape is not None:
            found[name] = _Stored(name, thing.shape, thing.dtype, _hdf5_offset(thing))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def _hdf5_offset(dataset: h5py.Dataset) -> int | None:
    creation = dataset.id.get_create_plist()
    plain = (
        dataset.size > 0
        and dataset.dtype.kind in "iuf"
        and creation.get_layout() == h5py.h5d.CONTIGUOUS
        and creation.get_external_count() == 0
    )
    return dataset.id.get_offset() if plain else None


def _reader(path: Path, items: Mapping[str, Item], samples: int) -> Callable[[Item], Any]:
    if path.suffix == ".npz":
        return _Npz(path).array
    header = Header(path, path.stem, "cartesian", samples, np.zeros(1), {}, (), items, {})
    return WellFile(header).array


class _Npz:
    """Arrays of an NPZ file: mapped where they are not compressed, else read into memory at their first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, item: Item) -> NDArray[Any]:
        found = self._arrays.get(item.path)
        if found is None:
            found = self._arrays[item.path] = self._opened(item)
        return found

    def _opened(self, item: Item) -> NDArray[Any]:
        if item.offset is not None:
            return np.memmap(self.path, item.dtype, "r", item.offset, item.shape).view(np.ndarray)
        try:
            with np.load(os.fspath(self.path), allow_pickle=False) as archive:
                return archive[item.path.removesuffix(".npy")]
        except zipfile.BadZipFile as error:
            raise OSError(str(error)) from error
