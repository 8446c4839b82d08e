"""Eight numbers as one value: compiled code that treats eight independent samples by the same instructions.

An array of lanes has shape (n, 2, LANES) for complex numbers, real parts before imaginary ones, and (n, LANES) for
real ones. `get` and `get_real` read entry k of all lanes at once; what they return adds, subtracts and multiplies as a
number does. LLVM makes of each operation one instruction of 512 bits, two of 256 or four of 128. No operation crosses
lanes, so that what is in one lane never changes the bits of another.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numpy.typing import NDArray

LANES = 8
"""Samples side by side: 512 bits, one cache line."""

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_FUSED = ("contract",)  # a product and a sum may be one instruction, rounded once
_LINE = 64  # bytes of a cache line


def zeros(*shape: int) -> NDArray[np.float64]:
    """Return zeros of `shape`, a multiple of LANES last, that begin at a cache line: no entry then lies across two."""
    size = int(np.prod(shape))
    raw = np.zeros(size + LANES)
    start = -raw.ctypes.data % _LINE // raw.itemsize
    return raw[start : start + size].reshape(shape)


class Real(types.Type):
    """Type of LANES real numbers."""

    def __init__(self) -> None:
        super().__init__(name="RealLanes")


class Complex(types.Type):
    """Type of LANES complex numbers."""

    def __init__(self) -> None:
        super().__init__(name="ComplexLanes")


REAL, COMPLEX = Real(), Complex()


@register_model(Real)
class _RealModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VECTOR)


@register_model(Complex)
class _ComplexModel(models.StructModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, [("real", REAL), ("imag", REAL)])


# Reading, writing, taking apart


@intrinsic
def get(typingctx, array, k):
    """Entry `k` of a complex array (n, 2, LANES)."""

    def code(context, builder, signature, arguments):
        first = _pointer(context, builder, signature.args[0], arguments, 2)
        value = cgutils.create_struct_proxy(COMPLEX)(context, builder)
        value.real = builder.load(first, align=8)
        value.imag = builder.load(_next(builder, first), align=8)
        return value._getvalue()

    return COMPLEX(array, types.intp), code


@intrinsic
def put(typingctx, array, k, value):
    """Set entry `k` of a complex array (n, 2, LANES)."""

    def code(context, builder, signature, arguments):
        first = _pointer(context, builder, signature.args[0], arguments, 2)
        real, imag = _parts(context, builder, arguments[2])
        builder.store(real, first, align=8)
        builder.store(imag, _next(builder, first), align=8)

    return types.void(array, types.intp, COMPLEX), code


@intrinsic
def get_real(typingctx, array, k):
    """Entry `k` of a real array (n, LANES)."""

    def code(context, builder, signature, arguments):
        return builder.load(_pointer(context, builder, signature.args[0], arguments, 1), align=8)

    return REAL(array, types.intp), code


@intrinsic
def real(typingctx, value):
    """Real parts."""

    def code(context, builder, signature, arguments):
        return _parts(context, builder, arguments[0])[0]

    return REAL(COMPLEX), code


@intrinsic
def imag(typingctx, value):
    """Imaginary parts."""

    def code(context, builder, signature, arguments):
        return _parts(context, builder, arguments[0])[1]

    return REAL(COMPLEX), code


@intrinsic
def join(typingctx, real_part, imaginary_part):
    """Complex numbers of these parts."""

    def code(context, builder, signature, arguments):
        return _complex(context, builder, *arguments)

    return COMPLEX(REAL, REAL), code


@intrinsic
def conj(typingctx, value):
    """Complex conjugates."""

    def code(context, builder, signature, arguments):
        real_part, imaginary_part = _parts(context, builder, arguments[0])
        return _complex(context, builder, real_part, builder.fneg(imaginary_part))

    return COMPLEX(COMPLEX), code


@intrinsic
def swap(typingctx, value):
    """Numbers with real and imaginary parts exchanged, i times their conjugates."""

    def code(context, builder, signature, arguments):
        return _complex(context, builder, *reversed(_parts(context, builder, arguments[0])))

    return COMPLEX(COMPLEX), code


@intrinsic
def times_i(typingctx, value):
    """I times the numbers."""

    def code(context, builder, signature, arguments):
        real_part, imaginary_part = _parts(context, builder, arguments[0])
        return _complex(context, builder, builder.fneg(imaginary_part), real_part)

    return COMPLEX(COMPLEX), code


# Arithmetic: lanes with lanes, and with one number for all lanes


@intrinsic
def _add(typingctx, a, b):
    return _by_parts(a, b, "fadd")


@intrinsic
def _subtract(typingctx, a, b):
    return _by_parts(a, b, "fsub")


@intrinsic
def _scale(typingctx, factor, value):
    """Lanes times a real factor: of the lanes, or one for all."""

    def code(context, builder, signature, arguments):
        by = arguments[0] if factor is REAL else _everywhere(builder, arguments[0])
        if value is REAL:
            return builder.fmul(by, arguments[1], flags=_FUSED)
        parts = _parts(context, builder, arguments[1])
        return _complex(context, builder, *(builder.fmul(by, part, flags=_FUSED) for part in parts))

    return value(REAL if factor is REAL else types.float64, value), code


@intrinsic
def _turn(typingctx, factor, value):
    """Complex lanes times one complex number for all."""

    def code(context, builder, signature, arguments):
        number = context.make_complex(builder, types.complex128, arguments[0])
        c, s = _everywhere(builder, number.real), _everywhere(builder, number.imag)
        x, y = _parts(context, builder, arguments[1])
        product = lambda a, b: builder.fmul(a, b, flags=_FUSED)  # noqa: E731
        return _complex(
            context,
            builder,
            builder.fsub(product(c, x), product(s, y), flags=_FUSED),
            builder.fadd(product(c, y), product(s, x), flags=_FUSED),
        )

    return COMPLEX(types.complex128, COMPLEX), code


@overload(operator.add)
def _overload_add(a, b):
    if isinstance(a, Real | Complex) and a == b:
        return lambda a, b: _add(a, b)


@overload(operator.sub)
def _overload_subtract(a, b):
    if isinstance(a, Real | Complex) and a == b:
        return lambda a, b: _subtract(a, b)


@overload(operator.mul)
def _overload_multiply(a, b):
    if isinstance(b, Real | Complex):
        if isinstance(a, Real | types.Float | types.Integer):
            return lambda a, b: _scale(a, b)
        if isinstance(a, types.Complex) and isinstance(b, Complex):
            return lambda a, b: _turn(a, b)


# Code generation


def _by_parts(a, b, operation):
    def code(context, builder, signature, arguments):
        combine = getattr(builder, operation)
        if a is REAL:
            return combine(*arguments, flags=_FUSED)
        pairs = zip(*(_parts(context, builder, argument) for argument in arguments))
        return _complex(context, builder, *(combine(x, y, flags=_FUSED) for x, y in pairs))

    return a(a, b), code


def _pointer(context, builder, kind, arguments, vectors):
    """Address of entry k of an array, the first two arguments, where an entry is so many vectors."""
    array, k = arguments[:2]
    data = context.make_array(kind)(context, builder, array).data
    first = builder.bitcast(data, ir.PointerType(_VECTOR))
    return builder.gep(first, [builder.mul(k, ir.Constant(k.type, vectors))])


def _next(builder, pointer):
    return builder.gep(pointer, [ir.Constant(ir.IntType(64), 1)])


def _parts(context, builder, value):
    proxy = cgutils.create_struct_proxy(COMPLEX)(context, builder, value=value)
    return proxy.real, proxy.imag


def _complex(context, builder, real_part, imaginary_part):
    value = cgutils.create_struct_proxy(COMPLEX)(context, builder)
    value.real, value.imag = real_part, imaginary_part
    return value._getvalue()


def _everywhere(builder, number):
    """Return one number in all lanes."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)
