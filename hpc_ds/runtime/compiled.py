"""The decorators of small compiled functions, and what numba is told before it compiles the first one."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core.codegen import get_host_cpu_features

_PACKAGE = Path(__file__).resolve().parents[1]
_COMPILED_FILES = ("runtime/compiled.py", "runtime/philox.py", "infer/priors.py", "**/kernels/*.py")
_HOME_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpc_ds"


def _cache_folder() -> str:
    """Return a folder for compiled code that is named after the sources.

    Numba finds cached code stale when the file that defines a function changes, but not when a function changes that
    it calls in another file: a new name for every state of the sources leaves nothing stale. The folder lies in the
    package, or in the user's cache where the package cannot be written.
    """
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in _compiled_files()))
    name = f"compiled-{sources.hexdigest()[:16]}"
    return str((_PACKAGE if os.access(_PACKAGE, os.W_OK) else _HOME_CACHE) / "__pycache__" / name)


def _compiled_files() -> Iterator[Path]:
    for pattern in _COMPILED_FILES:
        yield from sorted(_PACKAGE.glob(pattern))


def _vector_features() -> str | None:
    """Return the host's features with 512-bit vectors preferred where they cost no clock rate (Ice Lake and later).

    LLVM prefers 256 bits on all Intel processors, for the sake of the first ones that had 512; a loop over peak shapes
    runs 1.4 times as fast with 512. None, numba's own choice, for all others.
    """
    features = get_host_cpu_features()
    return f"{features},-prefer-256-bit" if "+avx512vbmi2" in features else None


# Both hold for the whole process, as numba knows no other way; what the user has set in the environment goes first.
if not numba.config.CACHE_DIR:
    numba.config.CACHE_DIR = _cache_folder()
if numba.config.CPU_NAME is None and numba.config.CPU_FEATURES is None:
    numba.config.CPU_FEATURES = _vector_features()

# Numba counts references of every array that it hands to a function, with two atomic operations each; in a
# function of a few nanoseconds that is nearly all of its time (36 ns a uniform number instead of 3).
# `_nrt=False` compiles without the counting, as some of numba's own string functions are; the caller keeps
# the arrays alive.
compiled: Callable[..., Any] = njit(cache=True, error_model="numpy", _nrt=False)
"""Compile a function that allocates no array: cached on disk, IEEE division, no reference counting.

A function that allocates arrays takes ``numba.njit(cache=True)``.
"""

inlined: Callable[..., Any] = njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
"""As `compiled`, merged into its callers: for steps of a loop that take whole states, of a hundred words each.

Passing these words on costs more than what such a step computes.
"""
