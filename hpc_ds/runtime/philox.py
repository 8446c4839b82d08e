"""Counter-based random streams for compiled loops: Philox4x64-10 and the laws drawn from it.

A stream is one row of eight ``uint64``: two key words, the block counter, the four words of the current
block and the position in it. Whoever owns the row owns the stream: it can be stored in a snapshot, sent to
another rank and continued there, bit for bit. The raw words are those of ``numpy.random.Philox(key=...)``.

All functions but `new_streams` are compiled, are called from compiled code with a row ``s``, and advance it.
"""

import math
from collections.abc import Callable

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import ArrayLike, NDArray

from .compiled import compiled

WORDS = 8
"""Length of a stream's row."""

_COUNTER, _BLOCK, _POSITION = 2, 3, 7
_BLOCK_SIZE = np.uint64(4)
_ONE = np.uint64(1)

# Multipliers and key increments of Salmon, Moraes, Dror & Shaw (SC 2011).
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_INCREMENT_0, _INCREMENT_1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ROUNDS = 10


def new_streams(keys: ArrayLike) -> NDArray[np.uint64]:
    """Return the rows of fresh streams, one for each key.

    Parameters
    ----------
    keys : (R, 2) uint64
        One key for each stream, for instance from `hpc_ds.runtime.random.philox_key`.

    Returns
    -------
    (R, 8) uint64
        Streams at their beginning, before the first block.

    Raises
    ------
    ValueError
        If `keys` has another shape.
    """
    keys = np.asarray(keys, dtype=np.uint64)
    if keys.ndim != 2 or keys.shape[1] != 2:
        raise ValueError(f"keys have shape {keys.shape}; (R, 2) is needed")
    rows = np.zeros((len(keys), WORDS), dtype=np.uint64)
    rows[:, :2] = keys
    rows[:, _POSITION] = _BLOCK_SIZE
    return rows


@compiled
def next_u64(s):
    """Return the next 64 random bits."""
    position = s[_POSITION]
    if position >= _BLOCK_SIZE:
        _next_block(s)
        position = np.uint64(0)
    s[_POSITION] = position + _ONE
    return s[np.uint64(_BLOCK) + position]


@compiled
def uniform(s):
    """Return a uniform number of [0, 1): a multiple of 2^-53."""
    return float(next_u64(s) >> np.uint64(11)) * 2.0**-53


@compiled
def uniform_open(s):
    """Return a uniform number of (0, 1): an odd multiple of 2^-53, so that 1 - u is as exact as u."""
    return float((next_u64(s) >> np.uint64(11)) | _ONE) * 2.0**-53


@compiled
def integer(s, n):
    """Return an integer of 0, ..., n - 1, all equally likely (n >= 1; Lemire 2019)."""
    bound = np.uint64(n)
    high, low = _multiply(next_u64(s), bound)
    if low < bound:
        threshold = (~bound + _ONE) % bound
        while low < threshold:
            high, low = _multiply(next_u64(s), bound)
    return np.int64(high)


@compiled
def exponential(s):
    """Return a number of the exponential law with mean 1, never zero (ziggurat, as in `normal`).

    Its negative is the logarithm of a uniform number: a Metropolis step accepts where the number exceeds
    minus the log ratio.
    """
    while True:
        word = next_u64(s)
        layer = word & _LAST_LAYER
        place = float(word >> np.uint64(12)) + 0.5
        x = place * _EXPONENTIAL_SCALE[layer]
        if place < _EXPONENTIAL_INSIDE[layer]:
            return x
        x = _exponential_at_edge(s, layer, x)
        if x != _REJECTED:
            return x


@compiled
def normal(s):
    """Return a standard normal number, never zero (ziggurat of 256 layers: Marsaglia & Tsang 2000).

    The layer and the place in it come from different bits of one word, which avoids the correlation of the
    original 32-bit form (Doornik 2005).
    """
    while True:
        word = next_u64(s)
        layer = word & _LAST_LAYER
        place = float(np.int64(word) >> np.int64(11)) + 0.5
        x = place * _NORMAL_SCALE[layer]
        if abs(place) < _NORMAL_INSIDE[layer]:
            return x
        x = _normal_at_edge(s, layer, x)
        if x != _REJECTED:
            return x


@compiled
def gamma(s, shape):
    """Return a number of the gamma law with this shape (> 0) and rate 1.

    It may underflow to zero for shapes far below 1; `log_gamma_draw` does not.
    """
    if shape >= 1.0:
        return _gamma_from_one(s, shape)
    return _gamma_from_one(s, shape + 1.0) * math.exp(-exponential(s) / shape)


@compiled
def log_gamma_draw(s, shape):
    """Return the logarithm of a number of the gamma law with this shape (> 0) and rate 1."""
    if shape >= 1.0:
        return math.log(_gamma_from_one(s, shape))
    return math.log(_gamma_from_one(s, shape + 1.0)) - exponential(s) / shape


@intrinsic
def _multiply(typingctx, a, b):
    """Return the high and the low word of the 128-bit product of two ``uint64``."""
    signature = types.UniTuple(types.uint64, 2)(types.uint64, types.uint64)

    def codegen(context, builder, signature, arguments):
        from llvmlite import ir

        word, wide = ir.IntType(64), ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return context.make_tuple(builder, signature.return_type, (high, builder.trunc(product, word)))

    return signature, codegen


@compiled
def _next_block(s):
    """Advance the counter and encrypt it into four fresh words (counters count from 1, as in NumPy)."""
    s[_COUNTER] += _ONE
    c0, c1, c2, c3 = s[_COUNTER], np.uint64(0), np.uint64(0), np.uint64(0)
    k0, k1 = s[0], s[1]
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(_MULTIPLIER_0, c0)
        high1, low1 = _multiply(_MULTIPLIER_1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += _INCREMENT_0
        k1 += _INCREMENT_1
    s[_BLOCK] = c0
    s[_BLOCK + 1] = c1
    s[_BLOCK + 2] = c2
    s[_BLOCK + 3] = c3


# The rare ways out of a ziggurat (1 in 100) stand apart, so that the common one is small and gets inlined.
@compiled
def _exponential_at_edge(s, layer, x):
    """Decide a place outside the sure part of its layer: x, a number of the tail, or rejected."""
    if layer == np.uint64(0):
        return _EXPONENTIAL_EDGE - math.log(uniform_open(s))
    low, high = _EXPONENTIAL_HEIGHT[layer], _EXPONENTIAL_HEIGHT[layer + _ONE]
    return x if low + uniform(s) * (high - low) < math.exp(-x) else _REJECTED


@compiled
def _normal_at_edge(s, layer, x):
    """Decide a place outside the sure part of its layer; the tail is Marsaglia's (1964)."""
    if layer == np.uint64(0):
        while True:
            beyond = exponential(s) / _NORMAL_EDGE
            if 2.0 * exponential(s) > beyond * beyond:
                return math.copysign(_NORMAL_EDGE + beyond, x)
    low, high = _NORMAL_HEIGHT[layer], _NORMAL_HEIGHT[layer + _ONE]
    return x if low + uniform(s) * (high - low) < math.exp(-0.5 * x * x) else _REJECTED


@compiled
def _gamma_from_one(s, shape):
    """Return a gamma number for a shape of at least 1 (Marsaglia & Tsang 2000, ACM TOMS 26:363)."""
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(s)
        v = 1.0 + c * x
        if v <= 0.0:
            continue
        v = v * v * v
        u = uniform_open(s)
        square = x * x
        if u < 1.0 - 0.0331 * square * square:
            return d * v
        if math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return d * v


_LAST_LAYER = np.uint64(255)
_REJECTED = 0.0

# Where the lowest of 256 layers of equal area ends and the tail begins (Marsaglia & Tsang 2000).
_NORMAL_EDGE = 3.6541528853610088
_EXPONENTIAL_EDGE = 7.6971174701310497

Tables = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _ziggurat(density: Callable, inverse: Callable, edge: float, tail: float) -> Tables:
    """Return scale and inner edge (for places of 0 to 2^52) and bottom height of the layers, lowest first."""
    area = edge * density(edge) + tail
    widths = [area / density(edge), edge]
    for _ in range(254):
        widths.append(inverse(area / widths[-1] + density(widths[-1])))
    widths.append(0.0)
    width = np.array(widths)
    heights = np.array([density(x) for x in widths])
    return width * 2.0**-52, width[1:] / width[:-1] * 2.0**52, heights


_NORMAL_SCALE, _NORMAL_INSIDE, _NORMAL_HEIGHT = _ziggurat(
    lambda x: math.exp(-0.5 * x * x),
    lambda height: math.sqrt(-2.0 * math.log(height)),
    _NORMAL_EDGE,
    math.sqrt(0.5 * math.pi) * math.erfc(_NORMAL_EDGE / math.sqrt(2.0)),
)
_EXPONENTIAL_SCALE, _EXPONENTIAL_INSIDE, _EXPONENTIAL_HEIGHT = _ziggurat(
    lambda x: math.exp(-x), lambda height: -math.log(height), _EXPONENTIAL_EDGE, math.exp(-_EXPONENTIAL_EDGE)
)
