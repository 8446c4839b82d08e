"""Lanes of real numbers together with plain numbers, so that one formula serves a single star and eight side by side.

`hpc_ds.physics.kernels.lanes` adds and subtracts lanes and scales them by a number; here a number is also added to
them, subtracted and divided by them, and entries of an array (n, LANES) are written.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from hpc_ds.physics.kernels.lanes import LANES, REAL, Real

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_INT32 = ir.IntType(32)


@intrinsic
def everywhere(typingctx, number):
    """One number in all lanes."""

    def code(context, builder, signature, arguments):
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(undefined, arguments[0], ir.Constant(_INT32, 0))
        return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))

    return REAL(types.float64), code


@intrinsic
def put_real(typingctx, array, k, value):
    """Set entry `k` of a real array (n, LANES)."""

    def code(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        entry = builder.gep(builder.bitcast(data, ir.PointerType(_VECTOR)), [arguments[1]])
        builder.store(arguments[2], entry, align=8)

    return types.void(array, types.intp, REAL), code


@intrinsic
def _divide(typingctx, a, b):
    def code(context, builder, signature, arguments):
        return builder.fdiv(*arguments)

    return REAL(REAL, REAL), code


@overload(operator.truediv)
def _overload_divide(a, b):
    if isinstance(a, types.Float) and isinstance(b, Real):
        return lambda a, b: _divide(everywhere(a), b)


@overload(operator.add)
def _overload_add(a, b):
    if isinstance(a, Real) and isinstance(b, types.Float):
        return lambda a, b: a + everywhere(b)
    if isinstance(a, types.Float) and isinstance(b, Real):
        return lambda a, b: everywhere(a) + b


@overload(operator.sub)
def _overload_subtract(a, b):
    if isinstance(a, Real) and isinstance(b, types.Float):
        return lambda a, b: a - everywhere(b)
    if isinstance(a, types.Float) and isinstance(b, Real):
        return lambda a, b: everywhere(a) - b
