"""The decorator of small compiled functions that are called from compiled loops."""

from collections.abc import Callable
from typing import Any

from numba import njit

# Numba counts references of every array that it hands to a function, with two atomic operations each; in a
# function of a few nanoseconds that is nearly all of its time (36 ns a uniform number instead of 3).
# `_nrt=False` compiles without the counting, as some of numba's own string functions are; the caller keeps
# the arrays alive.
compiled: Callable[..., Any] = njit(cache=True, error_model="numpy", _nrt=False)
"""Compile a function that allocates no array: cached on disk, IEEE division, no reference counting.

A function that allocates arrays takes ``numba.njit(cache=True)``. Numba finds a cached function stale when
the file that defines it changes, not when one of the functions changes that it calls in other files.
"""
