"""Vectorised loops over data points: peak shapes, residuals and sums, at the speed of hand-written C.

Every loop runs over a slice from zero: LLVM then sees that indices cannot wrap and vectorises it. Windows are
whole multiples of ``BLOCK`` points, so no scalar remainder is left over. The exponential and the logarithm are
polynomials written out because calls into the C library cannot be vectorised by numba alone.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hpc_ds.runtime.compiled import compiled

BLOCK = 32  # points in a block: four 512-bit vectors unrolled once, eight of 256 bits

# Only sums may be re-ordered; NaN and infinities keep their meaning because likelihoods rely on them.
SUMS = {"contract", "reassoc", "nsz"}
FUSED = {"contract"}

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01  # ln 2 in two parts, so that x - n ln 2 is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUNDER = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the nearest integer in the low mantissa bits
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_SMALLEST_EXPONENT = -708.0


@intrinsic
def _bits_of(typingctx, x):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _float_of(typingctx, x):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@njit(cache=True, fastmath=FUSED, _nrt=False)
def exp_negative(x):
    """exp(x) for x <= 0 to 3e-16; arguments below -708 give exp(-708)."""
    x = max(x, _SMALLEST_EXPONENT)
    shifted = x * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 2.5105217698666555e-08  # Taylor series economised by Chebyshev polynomials: 2e-17 for |r| <= ln(2)/2
    p = p * r + 2.762008948547934e-07
    p = p * r + 2.7557255398331545e-06
    p = p * r + 2.480152129345645e-05
    p = p * r + 1.9841269874822312e-04
    p = p * r + 1.3888888917215592e-03
    p = p * r + 8.333333333326134e-03
    p = p * r + 4.166666666662412e-02
    p = p * r + 1.666666666666667e-01
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return _float_of(_bits_of(p) + (_bits_of(shifted) << 52))  # adds n to the exponent


@njit(cache=True, fastmath=FUSED, _nrt=False)
def log_positive(x):
    """log(x) for normal positive x to 4e-16 relative to max(1, |log x|)."""
    bits = _bits_of(x)
    n = (bits - _SQRT_HALF_BITS) >> 52  # x = m 2**n with sqrt(1/2) <= m < sqrt(2)
    m = _float_of(bits - (n << 52))
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = 1.0 / 19.0
    p = p * z + 1.0 / 17.0
    p = p * z + 1.0 / 15.0
    p = p * z + 1.0 / 13.0
    p = p * z + 1.0 / 11.0
    p = p * z + 1.0 / 9.0
    p = p * z + 1.0 / 7.0
    p = p * z + 1.0 / 5.0
    p = p * z + 1.0 / 3.0
    return n * _LN2_HIGH + (2.0 * s + (2.0 * s * z * p + n * _LN2_LOW))


@njit(cache=True, fastmath=FUSED, _nrt=False)
def gaussian_shape(x, position, decay, out):
    """out = exp(-decay (x - position)^2)."""
    for i in range(x.size):
        z = x[i] - position
        out[i] = exp_negative(-decay * z * z)


@njit(cache=True, fastmath=FUSED, _nrt=False)
def lorentzian_shape(x, position, width, out):
    """out = 1 / (1 + 4 (x - position)^2 / width^2)."""
    scale = 4.0 / (width * width)
    for i in range(x.size):
        z = x[i] - position
        out[i] = 1.0 / (1.0 + scale * z * z)


@njit(cache=True, fastmath=FUSED, _nrt=False)
def pseudo_voigt_shape(x, position, width, mixing, out):
    """out = (1 - mixing) Gaussian + mixing Lorentzian, both of full width at half maximum `width`."""
    scale = 4.0 / (width * width)
    decay = scale * np.log(2.0)
    for i in range(x.size):
        z2 = (x[i] - position) * (x[i] - position)
        out[i] = (1.0 - mixing) * exp_negative(-decay * z2) + mixing / (1.0 + scale * z2)


@njit(cache=True, fastmath=FUSED, _nrt=False)
def exponential_shape(x, start, decay, out):
    """out = exp(-(x - start) / decay) for x >= start."""
    rate = 1.0 / decay
    for i in range(x.size):
        out[i] = exp_negative(-(x[i] - start) * rate)


@njit(cache=True, fastmath=SUMS, _nrt=False)
def replace(residual, weight, old_shape, old_coefficient, new_shape, new_coefficient, out):
    """out = residual after one component was replaced by another; return the change of sum(weight residual^2)."""
    change = 0.0
    for i in range(residual.size):
        d = old_coefficient * old_shape[i] - new_coefficient * new_shape[i]
        out[i] = residual[i] + d
        change += weight[i] * d * (2.0 * residual[i] + d)
    return change


@njit(cache=True, fastmath=SUMS, _nrt=False)
def projections(residual, weight, shape):
    """sum(weight residual shape) and sum(weight shape^2)."""
    along = 0.0
    norm = 0.0
    for i in range(residual.size):
        t = weight[i] * shape[i]
        along += t * residual[i]
        norm += t * shape[i]
    return along, norm


@njit(cache=True, fastmath=SUMS, _nrt=False)
def chi_square(residual, weight):
    """sum(weight residual^2)."""
    total = 0.0
    for i in range(residual.size):
        total += weight[i] * residual[i] * residual[i]
    return total


@compiled
def copy(source, target):
    """target = source; numba's own slice assignment allocates where the two might overlap."""
    for i in range(target.size):
        target[i] = source[i]


@compiled
def exchange(one, other):
    """Exchange the contents of two arrays."""
    for i in range(one.size):
        one[i], other[i] = other[i], one[i]


@njit(cache=True, fastmath=FUSED, _nrt=False)
def subtract(residual, coefficient, shape):
    """residual -= coefficient * shape."""
    for i in range(residual.size):
        residual[i] -= coefficient * shape[i]


@njit(cache=True, fastmath=SUMS, _nrt=False)
def poisson_log_likelihood(counts, residual, weight):
    """sum(weight (counts log f - f)) with f = counts - residual; minus infinity where f is not positive."""
    total = 0.0
    lowest = np.inf
    for i in range(residual.size):
        f = counts[i] - residual[i]
        lowest = min(lowest, f if weight[i] > 0.0 else 1.0)  # padding has weight 0 and does not count
        total += weight[i] * (counts[i] * log_positive(max(f, 1e-300)) - f)
    if lowest > 0.0:
        return total
    return -np.inf


@compiled
def shirley_area(x, y, residual, points):
    """Twice the integral of the peaks, y - residual, by the trapezoid rule."""
    total = 0.0
    for i in range(1, points):
        total += (x[i] - x[i - 1]) * (y[i] - residual[i] + y[i - 1] - residual[i - 1])
    return total


@compiled
def shirley_chi_square(x, y, residual, weight, low, step, points):
    """sum(weight r^2) of the residual less a Shirley background that rises with x from low to low + step.

    The background at x is low + step (integral of the peaks up to x) / (their whole integral); low everywhere if
    the whole is not positive.
    """
    whole = shirley_area(x, y, residual, points)
    slope = step / whole if whole > 0.0 else 0.0
    part = 0.0
    total = weight[0] * (residual[0] - low) ** 2
    for i in range(1, points):
        part += (x[i] - x[i - 1]) * (y[i] - residual[i] + y[i - 1] - residual[i - 1])
        r = residual[i] - low - slope * part
        total += weight[i] * r * r
    return total


@compiled
def shirley_poisson_log_likelihood(x, y, residual, low, step, points):
    """As `poisson_log_likelihood`, on a Shirley background as in `shirley_chi_square`."""
    whole = shirley_area(x, y, residual, points)
    slope = step / whole if whole > 0.0 else 0.0
    part = 0.0
    total = 0.0
    for i in range(points):
        if i > 0:
            part += (x[i] - x[i - 1]) * (y[i] - residual[i] + y[i - 1] - residual[i - 1])
        f = y[i] - residual[i] + low + slope * part
        if not f > 0.0:
            return -np.inf
        total += y[i] * log_positive(max(f, 1e-300)) - f
    return total
