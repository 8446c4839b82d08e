"""A user's log-likelihood as a compiled function that the sampler's loops call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpc_ds.infer.model import Model
from hpc_ds.runtime.errors import InputError


def compile_likelihood(model: Model) -> Any:
    """Compile the log-likelihood to a C function that is cached on disk beside its source.

    Raises
    ------
    InputError
        If numba cannot compile it.
    """
    from numba import cfunc, float64
    from numba.core.errors import NumbaError

    signature = float64(float64[::1], float64[:, ::1])
    try:
        return cfunc(signature, cache=True)(model.log_likelihood)
    except NumbaError as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"model {model.name}: log_likelihood does not compile: {reason[-1] if reason else error}"
        ) from error
    except RuntimeError:  # no source file to cache beside, as in an interactive session
        return cfunc(signature)(model.log_likelihood)


@contextmanager
def raising(model: Model) -> Iterator[None]:
    """Raise, at the end of the block, what the compiled log-likelihood raised within it.

    Left alone, numba tells `sys.unraisablehook` only and goes on with whatever number the function left behind.

    Raises
    ------
    RuntimeError
        Names the model and the exception, which is its cause.
    """
    raised: list[BaseException] = []
    usual = sys.unraisablehook

    def hear(unraisable: Any) -> None:
        if (
            isinstance(unraisable.object, str) and unraisable.exc_value is not None
        ):  # the name of a compiled function
            raised.append(unraisable.exc_value)
        else:
            usual(unraisable)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = usual
    if raised:
        error = raised[0]
        raise RuntimeError(
            f"model {model.name}: log_likelihood raised {type(error).__name__}: {error}"
        ) from error
