"""The values of a data file, sample by sample: what is not finite, does not change, or is not what was written."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.store.finding import Finding, listed
from hpc_ds.store.layout import Axis, Field, Layout
from hpc_ds.store.moments import Moments
from hpc_ds.store.well import OWN
from hpc_ds.store.well_file import Header, Item, WellFile, read_own, words


@dataclass
class _Seen:
    """Rows of one field in which something was found."""

    wrong: dict[int, int] = field(default_factory=dict)
    """Number of values that are not finite."""
    constant: dict[int, int] = field(default_factory=dict)
    """Number of frames after the first that hold one value only."""
    repeated: dict[int, int] = field(default_factory=dict)
    """Number of frames that equal the one before."""


def check_values(header: Header, place: str) -> tuple[list[Finding], NDArray[np.float64] | None]:
    """Read all values of a file.

    Returns
    -------
    findings : list of Finding
    moments : (samples, channels, 2) array or None
        Of each sample, as `Moments.of_sample` with `pseudo_layout` returns them; None for a file that has fields
        without an axis of samples.
    """
    items = [*header.fields.values(), *header.scalars.values()]
    layout = pseudo_layout(header)
    moments = Moments(layout) if layout is not None else None
    found: list[NDArray[np.float64]] = []
    seen = {item.path: _Seen() for item in items}
    damaged, known = [], _Checksums(header)
    file = WellFile(header)
    for row in range(header.samples):
        values = {item.name: _sample(file, item, row) for item in items if row == 0 or item.sample_varying}
        for item in items:
            if item.name in values:
                _look(item.once(values[item.name]), item, row, seen[item.path])
        if not known.right(row, values):
            damaged.append(row)
        if moments is not None:
            chosen = {name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}
            with np.errstate(invalid="ignore"):  # values that are not finite are told of elsewhere
                found.append(moments.of_sample(chosen))
    file.close()
    findings = [
        finding for item in items for finding in _told(seen[item.path], f"{place}: {item.path}", header)
    ]
    if damaged:
        findings.append(
            Finding("error", place, f"the checksums of the samples in rows {listed(damaged)} are wrong")
        )
    return findings, np.array(found) if moments is not None else None


def pseudo_layout(header: Header) -> Layout | None:
    """Return a layout of which the file could be; None for fields without an axis of samples, or strange names."""
    items = list(header.fields.values())
    if not items or not all(item.sample_varying for item in items):
        return None
    axes = tuple(Axis(name, np.arange(values.shape[-1], dtype=float)) for name, values in header.axes.items())
    fields = tuple(Field(item.name, item.rank, item.time_varying) for item in items)  # type: ignore[arg-type]
    try:
        return Layout("file", axes, Axis("time", np.arange(header.steps, dtype=float)), fields)
    except Exception:  # names that are no identifiers
        return None


def _sample(file: WellFile, item: Item, row: int) -> NDArray[np.float32]:
    array = file.array(item)
    values = np.asarray(array[row] if item.sample_varying else array[()])
    return item.on_grid(values)


def _look(values: NDArray[np.float32], item: Item, row: int, seen: _Seen) -> None:
    with np.errstate(all="ignore"):
        total = float(values.sum(dtype=np.float64))
    wrong = 0 if np.isfinite(total) else values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        seen.wrong[row] = wrong
    if not item.time_varying or values.ndim == 1 or len(values) < 2:
        return
    frames = values.reshape(len(values), -1)
    repeated = int(np.count_nonzero((frames[1:] == frames[:-1]).all(axis=1)))
    if repeated:
        seen.repeated[row] = repeated
    components = values.reshape(len(values), -1, int(np.prod(item.components, dtype=int)))
    # The first frame may well be constant: a fluid at rest.
    constant = int(np.count_nonzero((components[1:] == components[1:, :1]).all(axis=1).any(axis=1)))
    if constant and components.shape[1] > 1:
        seen.constant[row] = constant


def _told(seen: _Seen, place: str, header: Header) -> Iterator[Finding]:
    if seen.wrong:
        count = sum(seen.wrong.values())
        yield Finding(
            "error", place, f"{count} values are NaN or infinite, in the samples in rows {listed(seen.wrong)}"
        )
    for rows, what in ((seen.constant, "hold one value only"), (seen.repeated, "equal the frame before")):
        if rows:
            count = sum(rows.values())
            yield Finding("warning", place, f"{count} frames {what}, in the samples in rows {listed(rows)}")


class _Checksums:
    """The checksums that our own files hold; others have none, and all their samples are right."""

    def __init__(self, header: Header) -> None:
        crc = read_own(header.path, "crc32")
        self._crc = None if crc is None or len(crc) != header.samples else crc
        items = {**header.fields, **header.scalars}
        self._items = [items[name] for name in _order(header) if name in items]

    def right(self, row: int, values: dict[str, NDArray[np.float32]]) -> bool:
        if self._crc is None or not self._items:
            return True
        crc = 0
        for item in self._items:
            crc = zlib.crc32(np.ascontiguousarray(item.once(values[item.name])).data, crc)
        return crc == int(self._crc[row])


def _order(header: Header) -> list[str]:
    with h5py.File(header.path, "r") as file:
        return words(file[OWN].attrs.get("fields", [])) if OWN in file else []
