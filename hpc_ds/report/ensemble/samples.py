"""Choose a few samples that stand for all, and read them, from data files or from the shards of a running session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_ds.report.ensemble.reader import Ensemble
from hpc_ds.store.layout import Field, Layout

LOOKED_AT = 64
"""Samples that are read to find the weak, the usual and the strong ones."""

_MOST_BYTES = 128 * 2**20
"""Fewer than `LOOKED_AT` are read of large samples, so that a report takes seconds."""

PERCENTILES = (5, 35, 65, 95)
"""Which samples are shown, by the rms of the guiding field."""

Values = Mapping[str, NDArray[np.float32]]
"""One sample: its fields by name."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A sample that the page shows."""

    index: int
    percentile: int
    rms: float
    """Of the guiding field."""
    values: Values

    @property
    def title(self) -> str:
        """What the figures call it."""
        return f"sample {self.index}"


@dataclass(frozen=True, eq=False)
class Gallery:
    """The samples that the page shows, from the weakest to the strongest."""

    guide: str
    """The field whose rms chose them."""
    looked_at: int
    shown: tuple[Shown, ...]
    numbers: Mapping[str, NDArray[np.float64]]
    """Of each field that is one number a sample: its value in all samples that were looked at."""


def gallery(run: Ensemble) -> Gallery | None:
    """Choose and read the samples to show; None where nothing can be read."""
    if run.layout is None or run.sources is None or not run.sources.indices.size:
        return None
    layout, guide = run.layout, guiding_field(run.layout)
    singles = [item.name for item in layout.fields if layout.shape(item.name) in ((), (1,))]
    strength, numbers = dict[int, float](), {name: list[float]() for name in singles}
    for index, values in _read(run, layout, _candidates(run, layout)):
        strength[index] = rms(values[guide.name], guide)
        for name in singles:
            numbers[name].append(values[name].item())
    if not strength:
        return None
    chosen = _spread(strength)
    read = dict(_read(run, layout, np.array(list(chosen.values()))))
    shown = [Shown(index, percentile, strength[index], read[index]) for percentile, index in chosen.items()]
    known = {name: np.array(values) for name, values in numbers.items()}
    return Gallery(guide.name, len(strength), tuple(shown), known)


def guiding_field(layout: Layout) -> Field:
    """Return the field that says most of a sample: the first in space and time, or in space, or at all."""
    spatial = [item for item in layout.fields if layout.dims(item.name)]
    moving = [item for item in spatial if item.time_varying and layout.times.size > 1]
    return (moving or spatial or list(layout.fields))[0]


def rms(values: NDArray[np.float32], field: Field) -> float:
    """Return the root mean square of a field, over space and time, of its magnitude."""
    squares = np.square(values, dtype=np.float64)
    return float(np.sqrt(np.mean(squares.sum(axis=tuple(range(-field.rank, 0))) if field.rank else squares)))


def _candidates(run: Ensemble, layout: Layout) -> NDArray[np.int64]:
    """Return design indices spread evenly over the finished samples."""
    assert run.sources is not None
    there = run.sources.indices
    most = min(LOOKED_AT, max(len(PERCENTILES), _MOST_BYTES // max(1, layout.sample_bytes)))
    places = np.unique(np.linspace(0, there.size - 1, min(most, there.size)).round().astype(int))
    return there[places]


def _spread(strength: Mapping[int, float]) -> dict[int, int]:
    """Return a sample for each percentile of strength, no sample twice."""
    ranked = sorted(strength, key=lambda index: (strength[index], index))
    last = len(ranked) - 1
    chosen: dict[int, int] = {}
    for percentile in PERCENTILES:
        index = ranked[round(percentile / 100 * last)]
        if index not in chosen.values():
            chosen[percentile] = index
    return chosen


def _read(run: Ensemble, layout: Layout, indices: NDArray[np.int64]) -> Iterator[tuple[int, Values]]:
    """Read samples one by one, each into new arrays; a damaged one is passed over."""
    from hpc_ds.store.moments import Moments
    from hpc_ds.store.shard import DamagedRow
    from hpc_ds.store.sources import SourceReader

    assert run.sources is not None
    moments = np.empty((Moments(layout).channels, 2))
    with SourceReader(run.sources, layout) as reader:
        for index in indices.tolist():
            out = {item.name: np.empty(layout.shape(item.name), np.float32) for item in layout.fields}
            try:
                reader.read_into(index, out, moments)
            except DamagedRow:
                continue
            yield index, out
