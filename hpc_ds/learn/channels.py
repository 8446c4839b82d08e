"""How one part of a selection becomes channels: read where it lies, straight into buffers with channels first."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.selection import Part, Quantity, component_index, takes_window, time_range
from hpc_ds.learn.source import StoredFile
from hpc_ds.store.well_file import Item

_SMALL = 16384
"""Bytes of one sample below which a call of NumPy for each costs more than copying all of them once more."""


@dataclass(frozen=True)
class Channel:
    """One channel of the input or of the target."""

    name: str
    """``u``, ``velocity.x``, ``u:3``; in a window ``u:t-1``, where t is the last time that the network sees."""
    quantity: str
    component: tuple[int, ...] = ()
    """Place along each axis of components; empty for a scalar."""
    on_grid: bool = True
    """Whether it is a field; otherwise one number, which is repeated over the grid."""


class Block:
    """The channels that one part of a selection gives: time by time, and component by component within.

    Parameters
    ----------
    part : Part
        Of a selection.
    quantity : Quantity
        What it names.
    window : (int, int) or None
        The window of the selection.
    ahead : bool
        Whether it is a target, which lies behind the times that the network sees.

    Attributes
    ----------
    channels : tuple of Channel
        What it gives.
    moving : bool
        Whether its times move with the window.
    whole : bool
        Whether its channels have the statistics of the whole field: it has all times, or none, or all windows.
    """

    def __init__(self, part: Part, quantity: Quantity, window: tuple[int, int] | None, ahead: bool) -> None:
        self.part, self.quantity = part, quantity
        self.moving = window is not None and takes_window(part, quantity)
        self.offsets = (
            _window_offsets(window, ahead) if self.moving and window else time_range(part.times, quantity)
        )
        self.component = component_index(part.component, quantity)
        sizes = [len(names) for names in quantity.components]
        self._flat = None if self.component is None else int(np.ravel_multi_index(self.component, sizes))
        self.words = 0 if ahead else len(quantity.choices)
        self.channels = tuple(self._channels(window))
        self.whole = self.moving or not part.times

    @property
    def last(self) -> int:
        """The last time that it needs, counted from the beginning of a window; -1 if it does not move."""
        return self.offsets[-1] if self.moving and self.offsets else -1

    def fill(
        self,
        file: StoredFile,
        rows: NDArray[np.int64],
        starts: NDArray[np.int64],
        out: NDArray[Any],
        places: NDArray[np.int64] | None = None,
    ) -> None:
        r"""Read samples of one file.

        Parameters
        ----------
        file : StoredFile
            Where they lie.
        rows : (n,) int64
            Which samples of the file.
        starts : (n,) int64
            Where their windows begin; zeros without windows.
        out : (m, channels, \*grid)
            Overwritten at `places`, or at all of n = m places in order if these are None.
        """
        item = file.items[self.part.name]
        array = file.array(item)
        if isinstance(array, np.ndarray) and self._bytes(item) < _SMALL:
            values = item.on_grid(array[self._many(item, rows, starts)])
            target = out if places is None else np.empty((len(rows), *out.shape[1:]), out.dtype)
            self._put(item, values, target)
            if places is not None:
                out[places] = target
            return
        where = range(len(rows)) if places is None else places.tolist()
        for place, row, start in zip(where, rows.tolist(), starts.tolist()):
            values = item.on_grid(np.asarray(array[self._one(item, row, start)]))
            self._put(item, values[None], out[place : place + 1])

    def column(self, file: StoredFile, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[Any]:
        """Return one number or word of each sample, (n,), in the type in which it is stored."""
        item = file.items[self.part.name]
        stored = np.asarray(file.array(item)[()])
        values = stored[self._many(item, rows, starts)] if stored.ndim else stored
        return np.broadcast_to(values.reshape(-1), (len(rows),))

    # Within

    def _channels(self, window: tuple[int, int] | None) -> list[Channel]:
        name, quantity = self.part.name, self.quantity
        if self.words:
            return [Channel(f"{name}={word}", name, (), False) for word in quantity.choices]
        times = [""] if self.offsets is None else [f":{offset}" for offset in self.offsets]
        if self.moving and window and self.offsets is not None:
            times = [_relative(offset - window[0] + 1) for offset in self.offsets]
        every = itertools.product(*(range(len(names)) for names in quantity.components))
        components = [self.component] if self.component is not None else list(every)
        return [
            Channel(f"{name}{_dotted(component, quantity)}{time}", name, component, quantity.on_grid)
            for time in times
            for component in components
        ]

    def _bytes(self, item: Item) -> int:
        times = len(self.offsets) if self.offsets else 1
        return item.dtype.itemsize * times * int(np.prod((*item.grid, *item.components), dtype=int))

    def _many(self, item: Item, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[Any, ...]:
        """Return the index of several samples in a stored array: (n, times, ...), or less where it does not vary."""
        if self.offsets is None:
            return (rows,) if item.sample_varying else (None,)
        times = np.asarray(self.offsets) + (starts[:, None] if self.moving else 0)
        if not item.sample_varying:
            return (times if self.moving else times[None],)
        if len(self.offsets) == 1 and not self.moving:
            return (rows, slice(self.offsets[0], self.offsets[0] + 1))
        return (rows[:, None], times)

    def _one(self, item: Item, row: int, start: int) -> tuple[Any, ...]:
        index: tuple[Any, ...] = (row,) if item.sample_varying else ()
        if self.offsets is None:
            return index
        begin = start if self.moving else 0
        first, last = self.offsets[0] + begin, self.offsets[-1] + begin
        return (*index, slice(first, last + 1, self.offsets.step))

    def _put(self, item: Item, values: NDArray[Any], out: NDArray[Any]) -> None:
        r"""Copy stored values, (n or 1, times, \*grid, \*components), to channels."""
        if self.offsets is None:
            values = values[:, None]
        lead = values.shape[: values.ndim - len(item.components)]
        values = values.reshape(*lead, -1)
        if self._flat is not None:
            values = values[..., self._flat : self._flat + 1]
        if self.words:
            values = np.eye(self.words, dtype=np.float32)[values[..., 0].astype(np.int64)]
        if not self.quantity.on_grid:
            values = values.reshape(*values.shape[:2], -1, values.shape[-1])[:, :, 0]
            values = values.reshape(*values.shape[:2], *(1,) * (out.ndim - 2), values.shape[-1])
        shaped = out.reshape(len(out), values.shape[1], values.shape[-1], *out.shape[2:])
        np.moveaxis(shaped, 2, -1)[...] = values


def channel_groups(channels: tuple[Channel, ...]) -> Mapping[tuple[str, int], dict[tuple[int, ...], int]]:
    """Return the places of the components of each field at each time: (name, number of time) to component to place."""
    groups: dict[tuple[str, int], dict[tuple[int, ...], int]] = {}
    for place, channel in enumerate(channels):
        if channel.on_grid:
            times = itertools.count()
            number = next(
                time for time in times if channel.component not in groups.get((channel.quantity, time), {})
            )
            groups.setdefault((channel.quantity, number), {})[channel.component] = place
    return groups


def _window_offsets(window: tuple[int, int], ahead: bool) -> range:
    seen, learned = window
    if not ahead:
        return range(seen)
    return range(seen, seen + learned) if learned else range(seen - 1, seen)


def _relative(distance: int) -> str:
    return f":t{distance:+d}" if distance else ":t"


def _dotted(component: tuple[int, ...], quantity: Quantity) -> str:
    return "".join(f".{names[place]}" for place, names in zip(component, quantity.components))
