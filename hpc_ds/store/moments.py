"""Statistics of a training set: moments of each sample, merged in design order, and The Well's ``stats.yaml``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime import atomic
from hpc_ds.store.layout import Layout

Stats = dict[str, dict[str, Any]]
"""``mean, std, rms, mean_delta, std_delta, rms_delta``, each a dict of field name to a float (rank 0) or nested lists
of the components of a vector (D) or a tensor (D, D)."""

_LANES = 4096
"""About so many sums are kept of a field until its end."""
_BLOCK = 65536
"""Values that are added up before their sum is added to the others."""
_ADDED_IN_ORDER = 32
"""Lanes from which NumPy adds rows one after another; it adds short rows in pairs."""
_WORTH_COMPILING = 2**28
"""Values after which it pays to import numba, which takes as long as it saves in so many."""


class Moments:
    """The moments of the samples of one layout.

    A channel is one component of one field, or of the differences between consecutive frames of a field that varies in
    time. All samples have equally many values in a channel, so that its mean and its M2 (the sum of the squared
    deviations from the mean) say all.

    Attributes
    ----------
    channels : int
        Their number.
    counts : (channels,) int64
        Values of one sample in each.
    """

    def __init__(self, layout: Layout) -> None:
        self._parts = list(_parts(layout))
        self.channels = sum(part.components * (2 if part.frames > 1 else 1) for part in self._parts)
        counts = [
            [part.columns // part.components * frames] * part.components
            for part in self._parts
            for frames in ([part.frames, part.frames - 1] if part.frames > 1 else [part.frames])
        ]
        self.counts = np.array([count for part in counts for count in part], dtype=np.int64)
        self._values = 0

    def of_sample(self, fields: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return mean and M2 of one sample, (channels, 2).

        One pass, in which values are taken relative to the mean of their first frame, or of a few thousand points of a
        field that does not vary in time (differences relative to that of the first difference). The distance of such a
        mean of one in N values from the mean of all is at most sqrt(N) standard deviations: the subtraction at the end
        loses no more than a factor N of the precision, however large the values are.
        """
        self._values += sum(fields[part.name].size for part in self._parts)
        # Both ways add in the same order, to the same bits.
        compiled = "numba" in sys.modules or self._values > _WORTH_COMPILING
        return np.concatenate([_field_moments(part, fields[part.name], compiled) for part in self._parts])

    def merged(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return mean and M2 of n samples together: (n, channels, 2) in design order to (channels, 2).

        Neighbours are merged, then neighbours of these, and so on [1]_: the result depends on the samples and their
        order alone, and its error grows like log n.

        References
        ----------
        .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37 (1983) 242, eqs. 2.1.
        """
        if not len(samples):
            raise ValueError("moments of no samples")
        mean, m2 = samples[..., 0], samples[..., 1]
        size = np.ones(len(samples))
        while len(size) > 1:
            pairs = len(size) // 2
            a, b, rest = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2), slice(2 * pairs, None)
            total, distance = size[a] + size[b], mean[b] - mean[a]
            weight = (size[b] / total)[:, None]
            between = distance**2 * (weight * size[a, None]) * self.counts
            mean = np.concatenate([mean[a] + distance * weight, mean[rest]])
            m2 = np.concatenate([m2[a] + m2[b] + between, m2[rest]])
            size = np.concatenate([total, size[rest]])
        return np.stack([mean[0], m2[0]], axis=-1)

    def stats(self, samples: NDArray[np.float64]) -> Stats:
        """Return the statistics of n > 0 samples, (n, channels, 2) in design order, as The Well defines them.

        Variances are biased. A field that does not vary has a standard deviation of 0; The Well's reader raises it to
        1e-4. Fields that vary in time but have one frame only get differences of 0, because that reader asks for some.
        """
        merged = self.merged(samples)
        std = np.sqrt(merged[:, 1] / (self.counts * len(samples)))
        rms = np.hypot(merged[:, 0], std)
        stats: Stats = {key: {} for key in ("mean", "std", "rms", "mean_delta", "std_delta", "rms_delta")}
        start = 0
        for part in self._parts:
            for suffix in ("", "_delta") if part.time_varying else ("",):
                known = not suffix or part.frames > 1
                chosen = slice(start, start + part.components)
                for key, values in (("mean", merged[:, 0]), ("std", std), ("rms", rms)):
                    component = values[chosen] if known else np.zeros(part.components)
                    stats[key + suffix][part.name] = component.reshape(part.shape).tolist()
                start += part.components if known else 0
        return stats


def write_stats(path: str | os.PathLike[str], stats: Stats) -> None:
    """Write ``stats.yaml``, all or nothing; every float reads back exactly (StorageError if it cannot be written)."""
    lines: list[str] = []
    for key, values in stats.items():
        # An empty mapping has to be said: a key without a value is a null.
        lines.append(f"{key}:" if values else f"{key}: {{}}")
        lines += [f'  "{name}": {_yaml(value)}' for name, value in values.items()]
    atomic.write_text(path, "\n".join(lines) + "\n")


class _Part(NamedTuple):
    """A field as the sums see it: frames of columns, where components change fastest."""

    name: str
    time_varying: bool
    frames: int
    columns: int
    components: int
    shape: tuple[int, ...]


def _parts(layout: Layout) -> Iterator[_Part]:
    for field in layout.fields:
        frames = layout.times.size if field.time_varying else 1
        shape = (layout.ndim,) * field.rank
        columns = int(np.prod(layout.shape(field.name))) // frames
        yield _Part(field.name, field.time_varying, frames, columns, int(np.prod(shape)), shape)


def _field_moments(part: _Part, field: NDArray[np.float32], compiled: bool) -> NDArray[np.float64]:
    """Return mean and M2 of the values and then of the differences, one row for each component."""
    x = field.reshape(part.frames, part.columns)
    points = part.columns // part.components
    lanes = part.components * min(points, max(1, _LANES // part.components))
    first, last = (
        (_frame_mean(x[frame], lanes, part.components) for frame in (0, -1))
        if part.frames > 1
        else ([_rough_mean(x[0], part.components)] * 2)
    )
    drift = _rough_mean(x[min(1, part.frames - 1)], part.components) - _rough_mean(x[0], part.components)
    add = _add_compiled if compiled and lanes >= _ADDED_IN_ORDER else _add_arrays
    sums = np.zeros((3, lanes))
    if part.frames == 1 and part.columns % lanes == 0:
        x = x.reshape(-1, lanes)  # the lanes sum the same values, many rows at once; differences mean nothing
    add(x, first, drift, max(1, _BLOCK // lanes), sums, part.frames > 1)
    total, squares, steps = _by_component(sums, part.components).T
    count = part.frames * points
    moments = [np.stack([first + total / count, squares - total**2 / count], axis=-1)]
    if part.frames > 1:
        # The differences add up to what lies between the first and the last frame.
        mean, count = (last - first) / (part.frames - 1), count - points
        moments.append(np.stack([mean, steps - count * (mean - drift) ** 2], axis=-1))
    # Rounding may leave less than nothing of a field that does not vary.
    return np.maximum(np.concatenate(moments), [-np.inf, 0.0])


def _frame_mean(frame: NDArray[np.float32], lanes: int, components: int) -> NDArray[np.float64]:
    """Return the mean of each component."""
    whole = frame.size // lanes * lanes
    sums = frame[:whole].reshape(-1, lanes).sum(axis=0, dtype=np.float64)
    sums[: frame.size - whole] += frame[whole:]
    return _by_component(sums[None], components)[:, 0] / (frame.size // components)


def _rough_mean(frame: NDArray[np.float32], components: int) -> NDArray[np.float64]:
    """Return the mean of each component over a few thousand points, to take values relative to it."""
    points = frame.reshape(-1, components)
    return points[:: max(1, len(points) // _LANES)].mean(axis=0, dtype=np.float64)


def _by_component(sums: NDArray[np.float64], components: int) -> NDArray[np.float64]:
    """Add up the lanes of each component: (k, lanes) to (components, k)."""
    return np.stack([sums[:, component::components].sum(axis=1) for component in range(components)])


def _add_compiled(
    x: NDArray[np.float32],
    shift: NDArray[np.float64],
    drift: NDArray[np.float64],
    block: int,
    sums: NDArray[np.float64],
    _differences: bool,
) -> None:
    """Add v = x - shift, its square, and the square of v(t + 1) - v(t) - drift to `sums`, (3, lanes)."""
    from hpc_ds.store.kernels.moments import lane_sums

    points = sums.shape[1] // shift.size
    lane_sums(x, np.tile(shift, points), np.tile(drift, points), block, sums, np.empty((3, 256)))


def _add_arrays(
    x: NDArray[np.float32],
    shift: NDArray[np.float64],
    drift: NDArray[np.float64],
    block: int,
    sums: NDArray[np.float64],
    differences: bool,
) -> None:
    """Do the same with array operations, on blocks that fit into a processor's cache; differences only if wanted."""
    lanes = sums.shape[1]
    if shift.size > 1:
        shift, drift = np.tile(shift, lanes // shift.size), np.tile(drift, lanes // drift.size)
    scratch = np.empty((2, block + 1, lanes))
    for low in range(0, x.shape[1], lanes):
        width = min(lanes, x.shape[1] - low)
        strip, origin, slope = x[:, low : low + width], shift[:width], drift[:width]
        for begin in range(0, len(x), block):
            # One frame more than the block, for its last difference.
            frames = strip[begin : begin + block + 1]
            values, steps = scratch[0, : len(frames), :width], scratch[1, : len(frames) - 1, :width]
            np.copyto(values, frames)
            values -= origin
            if differences:
                np.subtract(values[1:], values[:-1], out=steps)
                steps -= slope
                np.multiply(steps, steps, out=steps)
                sums[2, :width] += steps.sum(axis=0)
            values = values[:block]
            sums[0, :width] += values.sum(axis=0)
            np.multiply(values, values, out=values)
            sums[1, :width] += values.sum(axis=0)


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    digits, exponent, power = repr(float(value)).partition("e")
    # YAML 1.1 takes 1e-05 for a word: a number must have a point.
    return f"{digits}{'.0' if exponent and '.' not in digits else ''}{exponent}{power}"
