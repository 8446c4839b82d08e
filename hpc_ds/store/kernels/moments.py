"""Sums over the frames of one field, in one pass over its values."""

from typing import Any

import numpy as np

from hpc_ds.runtime.compiled import compiled, inlined


@compiled
def lane_sums(x: Any, shift: Any, drift: Any, block: Any, sums: Any, partial: Any) -> None:
    """Add up v = x - shift, its square, and the square of v(t + 1) - v(t) - drift, in lanes.

    A column belongs to the lane of its number modulo their number. Within a lane the order is that of strips as wide
    as there are lanes, of blocks of frames, and of frames: the order of array operations on whole blocks.

    Parameters
    ----------
    x : (frames, columns) float32
    shift, drift : (lanes,) float64
    block : int
        Frames that are added up before their sum is added to the others.
    sums : (3, lanes) float64
        Added to.
    partial : (3, width) float64
        Scratch, small enough for the nearest cache; its width does not change the result.
    """
    frames, columns = x.shape
    lanes, width = sums.shape[1], partial.shape[1]
    for strip in range(0, columns, lanes):
        right = min(strip + lanes, columns)
        for low in range(strip, right, width):
            lane, size = low - strip, min(width, right - low)
            for begin in range(0, frames, block):
                end = min(begin + block, frames)
                partial[:, :] = 0.0
                _add_frames(x, low, size, begin, end, shift[lane:], drift[lane:], partial)
                for row in range(3):
                    for k in range(size):
                        sums[row, lane + k] += partial[row, k]


@inlined
def _add_frames(
    x: Any, low: Any, size: Any, begin: Any, end: Any, shift: Any, drift: Any, partial: Any
) -> None:
    """Sum `size` columns from `low` on over the frames `begin` to `end`; the last frame of all has no difference."""
    frames = x.shape[0]
    for t in range(begin, min(end, frames - 1)):
        for k in range(size):
            value = np.float64(x[t, low + k]) - shift[k]
            step = (np.float64(x[t + 1, low + k]) - shift[k]) - value - drift[k]
            partial[0, k] += value
            partial[1, k] += value * value
            partial[2, k] += step * step
    if end == frames:
        for k in range(size):
            value = np.float64(x[frames - 1, low + k]) - shift[k]
            partial[0, k] += value
            partial[1, k] += value * value
