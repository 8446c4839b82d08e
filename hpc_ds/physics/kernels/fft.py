"""Fourier transforms of eight samples at once: every butterfly is arithmetic of whole lanes.

Stockham's algorithm, which sorts as it goes: each pass reads one array and writes another, with radix 8 and, where the
length asks for it, 4 or 2 at last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpc_ds.physics.kernels.lanes import get, put, times_i
from hpc_ds.runtime.compiled import compiled

_EIGHTH = complex(np.sqrt(0.5), -np.sqrt(0.5))  # exp(-2 pi i / 8)


def roots(n: int) -> NDArray[np.complex128]:
    """Return exp(-2 pi i k / n) for k < n, (n,) complex128, as `transform` takes them."""
    return np.exp(-2j * np.pi * np.arange(n) / n)


@compiled
def transform(w, x, x0, dx, y, y0, dy, a, b):
    """y[y0 + k dy] = sum_j exp(-2 pi i j k / n) x[x0 + j dx] for k < n, in all lanes.

    w = `roots` (n,), n >= 2 a power of two; a and b are scratch (n, 2, LANES), none of x, y, a, b is another. The
    inverse, not divided by n, is the same with real and imaginary parts exchanged before and after.
    """
    length, s = w.size, 1
    while length > 8:
        _radix8(w, x, x0, dx, a, 0, 1, length // 8, s)
        x, x0, dx = a, 0, 1
        a, b = b, a
        length, s = length // 8, 8 * s
    if length == 8:
        _radix8(w, x, x0, dx, y, y0, dy, 1, s)
    elif length == 4:
        _radix4(x, x0, dx, y, y0, dy, s)
    else:
        _radix2(x, x0, dx, y, y0, dy, s)


@compiled
def _radix8(w, x, x0, dx, y, y0, dy, m, s):
    """One pass: s interleaved sequences of length 8 m become 8 s of length m."""
    far, near = dx * s * m, dy * s
    for p in range(m):
        t = p * s
        for q in range(s):
            i, j = x0 + dx * (q + t), y0 + dy * (q + 8 * t)
            x0_, x1, x2, x3 = get(x, i), get(x, i + far), get(x, i + 2 * far), get(x, i + 3 * far)
            i += 4 * far
            x4, x5, x6, x7 = get(x, i), get(x, i + far), get(x, i + 2 * far), get(x, i + 3 * far)
            a0, a1, a2, a3 = x0_ + x4, x1 + x5, x2 + x6, x3 + x7
            a4, a5, a6, a7 = x0_ - x4, x1 - x5, times_i(x2 - x6), times_i(x3 - x7)
            b0, b1, b2, b3 = a0 + a2, a1 + a3, a0 - a2, times_i(a1 - a3)
            b4, b5, b6, b7 = a4 - a6, _EIGHTH * (a5 - a7), a4 + a6, times_i(_EIGHTH * (a5 + a7))
            put(y, j, b0 + b1)
            put(y, j + near, w[t] * (b4 + b5))
            put(y, j + 2 * near, w[2 * t] * (b2 - b3))
            put(y, j + 3 * near, w[3 * t] * (b6 - b7))
            put(y, j + 4 * near, w[4 * t] * (b0 - b1))
            put(y, j + 5 * near, w[5 * t] * (b4 - b5))
            put(y, j + 6 * near, w[6 * t] * (b2 + b3))
            put(y, j + 7 * near, w[7 * t] * (b6 + b7))


@compiled
def _radix4(x, x0, dx, y, y0, dy, s):
    """Last pass: s interleaved sequences of length 4."""
    for q in range(s):
        i, j = x0 + dx * q, y0 + dy * q
        a, b = get(x, i), get(x, i + dx * s)
        c, d = get(x, i + 2 * dx * s), get(x, i + 3 * dx * s)
        even, odd = a + c, b + d
        left, right = a - c, times_i(b - d)
        put(y, j, even + odd)
        put(y, j + dy * s, left - right)
        put(y, j + 2 * dy * s, even - odd)
        put(y, j + 3 * dy * s, left + right)


@compiled
def _radix2(x, x0, dx, y, y0, dy, s):
    """Last pass: s interleaved pairs."""
    for q in range(s):
        a, b = get(x, x0 + dx * q), get(x, x0 + dx * (q + s))
        put(y, y0 + dy * q, a + b)
        put(y, y0 + dy * (q + s), a - b)
