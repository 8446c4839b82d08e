"""Read a field from a file that an external program wrote: text, npy, npz, HDF5 or NetCDF."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Format = Literal["text", "npy", "npz", "hdf5", "netcdf"]

_SUFFIXES: dict[str, Format] = {
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".nc": "netcdf",
    ".cdf": "netcdf",
}

_FORTRAN_EXPONENT = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")
_CLASSIC = b"CDF"


class OutputError(RuntimeError):
    """What a program left is not what was announced; the message names the file."""


class Output(BaseModel):
    """Where one field is found in what a program writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: str
    """File in the program's working directory."""

    format: Format = "text"
    """By default what the file's suffix says: .npy, .npz, .h5, .hdf5, .nc, .cdf, else text."""

    dataset: str = ""
    """Dataset or variable in an npz, HDF5 or NetCDF file; by default the field's name."""

    columns: int | list[int] | None = None
    """Columns of a text file, counted from 0; all by default. One number gives a one-dimensional array."""

    skip: int = Field(default=0, ge=0)
    """Lines at the beginning of a text file that hold no numbers. Lines that begin with # are left out anyway."""

    reshape: list[int] | None = None
    """Shape into which the numbers are put first."""

    order: Literal["C", "F"] = "C"
    """Order in which `reshape` puts them: F for Fortran's, first index fastest."""

    transpose: list[int] | None = None
    """Axes in the order in which the field has them, e.g. [1, 0]."""

    @model_validator(mode="before")
    @classmethod
    def _guess_format(cls, said: Any) -> Any:
        if isinstance(said, Mapping) and "format" not in said:
            return {**said, "format": _SUFFIXES.get(Path(str(said.get("file", ""))).suffix.lower(), "text")}
        return said


@dataclass(frozen=True)
class Reader:
    """Reads one field."""

    name: str
    output: Output

    def __call__(self, folder: Path) -> NDArray[Any]:
        """Return the field's array from the files in `folder`.

        Raises
        ------
        OutputError
            There is no such file, or it is not what was announced.
        """
        output = self.output
        path = folder / output.file
        try:
            array = _READERS[output.format](path, output, output.dataset or self.name)
            if output.reshape is not None:
                array = array.reshape(output.reshape, order=output.order)
            return array if output.transpose is None else array.transpose(output.transpose)
        except FileNotFoundError:
            raise OutputError(f"field '{self.name}': the program wrote no {output.file}") from None
        except (ValueError, KeyError, IndexError, OSError, EOFError) as error:
            reason = " ".join(str(error).split())
            raise OutputError(f"field '{self.name}': {output.file}, as {output.format}: {reason}") from error


def _text(path: Path, output: Output, dataset: str) -> NDArray[Any]:
    lines = path.read_text(errors="replace").splitlines()[output.skip :]
    content = "\n".join(lines)
    if "D" in content or "d" in content:
        content = _FORTRAN_EXPONENT.sub("e", content)
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), None)
    if first is None:
        raise ValueError("no numbers in it")
    delimiter = next((mark for mark in (",", ";") if mark in first), None)
    table = np.loadtxt(StringIO(content), delimiter=delimiter, ndmin=2)
    if output.columns is not None:
        return table[:, output.columns]
    return table[:, 0] if table.shape[1] == 1 else table


def _npy(path: Path, output: Output, dataset: str) -> NDArray[Any]:
    return np.load(path, allow_pickle=False)


def _npz(path: Path, output: Output, dataset: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        if dataset not in archive:
            raise KeyError(_missing(dataset, archive))
        return archive[dataset]


def _hdf5(path: Path, output: Output, dataset: str) -> NDArray[Any]:
    import h5py

    path.stat()  # Python says in one line that a file is missing, HDF5 in many
    with h5py.File(path, "r") as file:
        if not isinstance(file.get(dataset), h5py.Dataset):
            raise KeyError(_missing(dataset, file))
        return file[dataset][()]


def _netcdf(path: Path, output: Output, dataset: str) -> NDArray[Any]:
    with open(path, "rb") as file:
        classic = file.read(3) == _CLASSIC
    return (_netcdf_classic if classic else _netcdf4)(path, dataset)


def _netcdf_classic(path: Path, dataset: str) -> NDArray[Any]:
    from scipy.io import netcdf_file

    with netcdf_file(path, "r", mmap=False) as file:
        if dataset not in file.variables:
            raise KeyError(_missing(dataset, file.variables))
        variable = file.variables[dataset]
        return _unpacked(np.array(variable[...]), vars(variable))


def _netcdf4(path: Path, dataset: str) -> NDArray[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        if not isinstance(file.get(dataset), h5py.Dataset):
            raise KeyError(_missing(dataset, file))
        return _unpacked(file[dataset][()], file[dataset].attrs)


def _unpacked(raw: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Apply a variable's scale and offset, and make NaN of what was never written (CF conventions, section 8.1)."""
    packed = [
        key for key in ("_FillValue", "missing_value", "scale_factor", "add_offset") if key in attributes
    ]
    if not packed:
        return raw.astype(raw.dtype.newbyteorder("="), copy=False)
    values = raw.astype(np.float64)
    for key in {"_FillValue", "missing_value"}.intersection(packed):
        values[np.isin(raw, np.ravel(attributes[key]))] = np.nan
    scale, offset = (np.ravel(attributes.get(key, default))[0] for key, default in _PACKING)
    return values * scale + offset


_PACKING = (("scale_factor", 1.0), ("add_offset", 0.0))


def _missing(dataset: str, there: Any) -> str:
    return f"no '{dataset}' in it; there are {', '.join(sorted(there)) or 'none'}"


_READERS: dict[str, Callable[[Path, Output, str], NDArray[Any]]] = {
    "text": _text,
    "npy": _npy,
    "npz": _npz,
    "hdf5": _hdf5,
    "netcdf": _netcdf,
}
