"""Loops over activations in single precision: GELU, its slope, and what stands around them in a Fourier block.

GELU is x Phi(x), Phi the normal distribution function. One exponential serves it and its slope Phi(x) + x phi(x):
Phi(-u) = exp(-u^2 / 2) p(1 / (1 + 0.275 u)) for u >= 0, p the polynomial of degree 6 that is best in the absolute
error of Phi and of u Phi, 8e-9. Both come out to 2e-7 (absolute, for |x| < 4) as torch's do.

All arrays are flat and contiguous. `shift`, `gate` and the sums hold a value for each channel, repeated often enough
for the innermost loop to be long (`pointwise.tile`); their size is a multiple of the number of channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

import hpc_ds.runtime.compiled  # noqa: F401  (tells numba where to keep what it compiles, and for which processor)

_FUSED = {"contract"}
_step: Any = njit(cache=True, fastmath=_FUSED, error_model="numpy", _nrt=False, forceinline=True)
_loop: Any = njit(cache=True, fastmath=_FUSED, error_model="numpy", _nrt=False, nogil=True)

_HALF_LOG2_E = np.float32(0.7213475204444817)
_ROUNDER = np.float32(
    12582912.0
)  # 1.5 * 2**23: adding it leaves the nearest integer in the low mantissa bits
_SMALLEST_EXPONENT = np.float32(-126.0)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_INVERSE_ROOT_TWO_PI = np.float32(0.3989422804014327)

# 2^r for |r| <= 1/2 to 7e-8, relative
_E0, _E1, _E2 = (
    np.float32(1.0000000716546549),
    np.float32(0.6931469670638627),
    np.float32(0.24022119723933893),
)
_E3, _E4, _E5 = (
    np.float32(0.0555071327496334),
    np.float32(0.009675541330683298),
    np.float32(0.0013276471518679864),
)

_POLE = np.float32(0.275)
_P0, _P1, _P2 = np.float32(-0.00151042), np.float32(0.12926314), np.float32(0.00617386)
_P3, _P4, _P5 = np.float32(0.39366423), np.float32(-0.38647626), np.float32(0.47931313)
_P6 = np.float32(-0.12042768)


@intrinsic
def _bits_of(typingctx: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), code


@intrinsic
def _float_of(typingctx: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


@_step
def _bell(x: Any) -> Any:
    """exp(-x^2 / 2), not below 2^-126."""
    y = max(-_HALF_LOG2_E * x * x, _SMALLEST_EXPONENT)
    shifted = y + _ROUNDER
    r = y - (shifted - _ROUNDER)
    p = _E5 * r + _E4
    p = p * r + _E3
    p = p * r + _E2
    p = p * r + _E1
    p = p * r + _E0
    # The integer that `shifted` holds is added to the exponent.
    return _float_of(np.int32(_bits_of(p) + np.int32(_bits_of(shifted) << np.int32(23))))


@_step
def _phi(x: Any, bell: Any) -> Any:
    """Normal distribution function at x, of which `bell` is exp(-x^2 / 2)."""
    t = _ONE / (_ONE + _POLE * abs(x))
    p = _P6 * t + _P5
    p = p * t + _P4
    p = p * t + _P3
    p = p * t + _P2
    p = p * t + _P1
    p = p * t + _P0
    tail = p * bell
    return _ONE - tail if x > _ZERO else tail


@_step
def _gelu(x: Any) -> Any:
    return x * _phi(x, _bell(x))


@_loop
def activate(z: Any, shift: Any) -> None:
    """z = gelu(z + shift)."""
    size = shift.size
    for start in range(0, z.size, size):
        row = z[start : start + size]
        for j in range(row.size):
            row[j] = _gelu(row[j] + shift[j])


@_loop
def activate_with_slope(z: Any, shift: Any, slope: Any) -> None:
    """z = gelu(z + shift), and gelu' there."""
    size = shift.size
    for start in range(0, z.size, size):
        row, to = z[start : start + size], slope[start : start + size]
        for j in range(row.size):
            x = row[j] + shift[j]
            bell = _bell(x)
            phi = _phi(x, bell)
            row[j] = x * phi
            to[j] = phi + x * (_INVERSE_ROOT_TWO_PI * bell)


@_loop
def multiply(g: Any, slope: Any, total: Any) -> None:
    """g = g slope; total += g, by channel."""
    size = total.size
    for start in range(0, g.size, size):
        row, by = g[start : start + size], slope[start : start + size]
        for j in range(row.size):
            value = row[j] * by[j]
            row[j] = value
            total[j] += value


@_loop
def activate_gated(z: Any, shift: Any, gate: Any, x: Any) -> None:
    """z = gelu(z + shift + gate x)."""
    size = shift.size
    for start in range(0, z.size, size):
        row, beside = z[start : start + size], x[start : start + size]
        for j in range(row.size):
            row[j] = _gelu(row[j] + shift[j] + gate[j] * beside[j])


@_loop
def activate_gated_backward(
    z: Any, shift: Any, gate: Any, x: Any, g: Any, gx: Any, shift_total: Any, gate_total: Any
) -> None:
    """z = g gelu' and gx = gate z, g the gradient of what `activate_gated` gives; add up those of shift and gate."""
    size = shift.size
    for start in range(0, z.size, size):
        row, beside = z[start : start + size], x[start : start + size]
        of, to = g[start : start + size], gx[start : start + size]
        for j in range(row.size):
            y = row[j] + shift[j] + gate[j] * beside[j]
            bell = _bell(y)
            value = of[j] * (_phi(y, bell) + y * (_INVERSE_ROOT_TWO_PI * bell))
            row[j] = value
            to[j] = gate[j] * value
            shift_total[j] += value
            gate_total[j] += value * beside[j]
