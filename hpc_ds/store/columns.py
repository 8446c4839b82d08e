"""Load the columns of one file, text or arrays, and turn them into finite numbers or one clear error."""

from __future__ import annotations

import csv
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError

_FORMATS = "CSV, text, .npz or .h5"
_HDF5_PATH = re.compile(r"(?P<file>.+?\.(?:h5|hdf5|nc))(?::(?P<group>.*))?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?")
_FORTRAN_EXPONENT = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a file before they are converted.

    Attributes
    ----------
    path : str
        The file as it was asked for.
    names : list of str
        One for each column.
    cells : list of (list of str or array)
        Text cells, or a one-dimensional array of numbers.
    lines : list of int or None
        Line number of each row in a text file, None for arrays.
    warnings : list of str
        What the reader had to assume.
    """

    path: str
    names: list[str]
    cells: list[Any]
    lines: list[int] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def ordered(self) -> bool:
        """Whether the order of the columns means something (it does in a text table)."""
        return self.lines is not None

    def where(self, row: int, column: int) -> str:
        """Name a cell as its user finds it: file, line (or element, counted from 0) and column."""
        place = f"element {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.path}, {place}, column '{self.names[column]}'"

    def numbers(self, column: int) -> NDArray[np.float64]:
        """Convert one column to float64; raise `InputError` for text, NaN and infinity."""
        cells = self.cells[column]
        try:
            values = np.array([_number(c) for c in cells] if self.ordered else cells, dtype=np.float64)
        except ValueError:
            row = next(row for row, cell in enumerate(cells) if not _is_number(cell))
            found = f"{cells[row][:40]!r}" if cells[row] else "an empty cell"
            raise InputError(f"{self.where(row, column)}: found {found}; a number is needed") from None
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            found = cells[bad[0]] if self.ordered else str(values[bad[0]])
            raise InputError(f"{self.where(int(bad[0]), column)}: found {found}; a finite number is needed")
        return values


def load_columns(path: str | os.PathLike[str]) -> Columns:
    """Load all columns of a text, NPZ or HDF5 file (``file.h5:/group`` for a group).

    Raises
    ------
    InputError
        If the file cannot be opened, is of another kind, is empty, or its rows differ in length.
    """
    name = os.fspath(path)
    hdf5 = _HDF5_PATH.fullmatch(name)
    if hdf5:
        return _checked(name, hdf5["file"], lambda: _load_hdf5(name, hdf5["file"], hdf5["group"] or "/"))
    load = _load_npz if name.lower().endswith(".npz") else _load_text
    return _checked(name, name, lambda: load(name))


def _checked(name: str, file: str, load: Callable[[], Columns]) -> Columns:
    """Run a loader and put the system's refusals into one line."""
    if os.path.isdir(file):
        raise InputError(f"{name}: is a directory; a file is needed ({_FORMATS})")
    try:
        return load()
    except FileNotFoundError:
        raise InputError(f"{name}: no such file; a data file is needed ({_FORMATS})") from None
    except PermissionError:
        raise InputError(f"{name}: no permission to read it; chmod u+r, or ask its owner") from None
    # HDF5 and zip raise RuntimeError on files that are damaged inside.
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: cannot be read ({' '.join(reason.split())})") from None


# Text


def _load_text(path: str) -> Columns:
    lines = _text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    content = [(number, line) for number, line in enumerate(lines, 1) if _is_content(line)]
    if not content:
        raise InputError(f"{path}: no data in the file; lines of x and y are needed")
    delimiter = _delimiter(content[min(1, len(content) - 1)][1])
    header = _comment_above(lines, content[0][0] - 1)
    if not any(_is_number(cell) for cell in _split(content[0][1], delimiter)):
        header = content.pop(0)[1]
    if not content:
        raise InputError(f"{path}: a header and no data; lines of x and y are needed below it")
    rows = [_split(line.partition("#")[0], delimiter) for _, line in content]
    numbers = [number for number, _ in content]
    _check_widths(path, rows, numbers)
    mended = delimiter in (";", "\t") and _mend_decimal_commas(rows)
    warnings = ["commas inside numbers are read as decimal points"] if mended else []
    names, cells = _named_columns(header, rows, delimiter)
    return Columns(path, names, cells, numbers, warnings)


def _text(path: str) -> str:
    with open(path, "rb") as stream:
        data = stream.read()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise InputError(f"{path}: a binary file; a data file is needed ({_FORMATS})")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _is_content(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and stripped[0] not in "#%"


def _delimiter(line: str) -> str | None:
    """Return what separates the cells of a data line, None for blanks and tabs in any mixture."""
    if all(_is_number(word) for word in line.partition("#")[0].split()):
        return None
    # The comma counts last because it may be a decimal mark.
    return next((mark for mark in (";", "\t", ",") if mark in line), None)


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return [cell.strip("\"',") for cell in line.split()]
    try:
        cells = next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter)
    except csv.Error:
        cells = line.split(delimiter)
    return [cell.strip() for cell in cells]


def _comment_above(lines: Sequence[str], first: int) -> str:
    """Return the text of the comment right above the first line of content, if there is one."""
    above = lines[first - 1].strip() if first else ""
    return above.lstrip("#% \t") if above.startswith(("#", "%")) else ""


def _named_columns(
    header: str, rows: list[list[str]], delimiter: str | None
) -> tuple[list[str], list[list[str]]]:
    """Turn rows into columns with names, without the empty columns that surplus delimiters make."""
    cells = [list(column) for column in zip(*rows, strict=True)]
    words = _split(header, delimiter)
    titled = len(words) == len(cells)
    kept = [c for c, column in enumerate(cells) if any(column) or (titled and words[c])] or [0]
    if titled:
        names = [words[c] for c in kept]
    else:
        guesses = (_split(header, mark) for mark in (delimiter, "\t", ",", None))
        names = next((guess for guess in guesses if len(guess) == len(kept)), [""] * len(kept))
    return _filled(names), [cells[c] for c in kept]


def _check_widths(path: str, rows: list[list[str]], numbers: list[int]) -> None:
    width = len(rows[0])
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != width:
            raise InputError(
                f"{path}, line {number}: columns found: {len(row)}; needed: {width}, as in line {numbers[0]}"
            )


def _mend_decimal_commas(rows: list[list[str]]) -> bool:
    """Turn 1,5 into 1.5 in place, where commas do not separate columns; tell whether any was found."""
    mended = False
    for row in rows:
        for column, cell in enumerate(row):
            if "," in cell and _DECIMAL_COMMA.fullmatch(cell):
                row[column] = cell.replace(",", ".")
                mended = True
    return mended


def _filled(names: list[str]) -> list[str]:
    """Replace missing names by x, y, sigma, column4, ..."""
    usual = ["x", "y", "sigma"]
    return [name or (usual[c] if c < 3 else f"column{c + 1}") for c, name in enumerate(names)]


def _number(cell: str) -> float:
    """Convert text as files hold it: Fortran's 1.0D+03 counts, Python's 1_000 does not."""
    if "_" in cell:
        raise ValueError(cell)
    try:
        return float(cell)
    except ValueError:
        return float(_FORTRAN_EXPONENT.sub("e", cell))


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


# Arrays


def _load_npz(path: str) -> Columns:
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return _from_arrays(path, {name: archive[name] for name in archive.files})
    except (ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        raise InputError(
            f"{path}: not a NumPy archive of numbers; write it with numpy.savez(file, x=x, y=y)"
        ) from None


def _load_hdf5(name: str, file: str, group: str) -> Columns:
    # Python says in one line why a file cannot be opened, HDF5 in many.
    with open(file, "rb"):
        pass
    try:
        import h5py
    except ImportError:
        raise InputError(f"{name}: h5py is needed to read HDF5; pip install h5py") from None
    if not h5py.is_hdf5(file):
        raise InputError(f"{name}: not an HDF5 file; write it with h5py, datasets x and y")
    from hpc_ds.store.netcdf import is_bare_dimension

    with h5py.File(file, "r") as root:
        found = root.get(group)
        if not isinstance(found, h5py.Group):
            inside = ", ".join(key for key in root if isinstance(root[key], h5py.Group)) or "none"
            raise InputError(f"{name}: no group {group!r} in the file; groups in it: {inside}")
        items = {key: found.get(key) for key in found}
        arrays = {k: v for k, v in items.items() if isinstance(v, h5py.Dataset) and not is_bare_dimension(v)}
        # A coordinate of NetCDF is the x of what is measured along it, whatever the alphabet says.
        ranked = sorted(arrays, key=lambda k: not arrays[k].is_scale)
        return _from_arrays(name, {k: arrays[k] for k in ranked})


def _from_arrays(path: str, arrays: Mapping[str, Any]) -> Columns:
    """Take the one-dimensional arrays of numbers; what is called x, y or sigma must be one."""
    usable = {name: array for name, array in arrays.items() if _is_column(array)}
    shapes = {name: f"{name} {array.dtype}{list(array.shape or ())}" for name, array in arrays.items()}
    for name in ("x", "y", "sigma"):
        if name in arrays and name not in usable:
            raise InputError(f"{path}: found {shapes[name]}; a one-dimensional array of numbers is needed")
    if not usable:
        found = ", ".join(list(shapes.values())[:5]) or "nothing"
        raise InputError(f"{path}: found {found}; one-dimensional arrays x and y of numbers are needed")
    columns = [np.asarray(array, dtype=np.float64).reshape(-1) for array in usable.values()]
    empty = next((name for name, column in zip(usable, columns, strict=True) if not len(column)), None)
    if empty is not None:
        raise InputError(f"{path}: the array {empty} is empty; values of x and y are needed")
    return Columns(path, list(usable), columns)


def _is_column(array: Any) -> bool:
    """Whether an array holds real numbers along at most one axis that is longer than 1."""
    return array.dtype.kind in "iuf" and bool(array.shape) and max(array.shape) == array.size
