"""The two grids of a spectral simulator: the one that the equation is solved on, and the one that is stored."""

from __future__ import annotations

from hpc_ds.runtime.errors import InputError

_SMALLEST = 8


def check_grids(simulator: str, stored: int, solved: int) -> None:
    """Check that the stored grid is part of the solver's.

    Raises
    ------
    InputError
        A size that is no power of two from 8 on, or a stored grid finer than the solver's.
    """
    for name, size in (("resolution", stored), ("solver-resolution", solved)):
        if size < _SMALLEST or size & (size - 1):
            raise InputError(f"{simulator}: {name} {size}: a power of two from {_SMALLEST} on is needed")
    if stored > solved:
        raise InputError(
            f"{simulator}: resolution {stored} is finer than solver-resolution {solved}: raise the latter"
        )
