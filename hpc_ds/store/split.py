"""Which samples train a network and which ones judge it: decided by a hash of the design index alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.runtime.errors import InputError

Split = Literal["train", "valid", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)
"""Names of the splits, in the order of their fractions and of the files."""

FRACTIONS = (0.8, 0.1, 0.1)
"""How much of a set trains, validates and tests, unless the user says otherwise."""


def split_of(index: int, fractions: Sequence[float] = FRACTIONS) -> Split:
    """Return the split of the sample of that design index; it never changes when the set grows.

    Raises
    ------
    InputError
        As in `split_codes`.
    """
    return SPLITS[int(split_codes([index], fractions)[0])]


def split_codes(indices: ArrayLike, fractions: Sequence[float] = FRACTIONS) -> NDArray[np.int8]:
    """Return the split of each sample as its place in `SPLITS`.

    Parameters
    ----------
    indices : (n,) array of int
        Design indices, at least 0.
    fractions : (3,) sequence of float
        Shares of train, valid and test; they add up to 1. A set of n samples has them up to about sqrt(n).

    Raises
    ------
    InputError
        Fractions that are not three numbers of at least 0 that add up to 1.
    """
    check_fractions(fractions)
    uniform = hashed(indices)
    bounds = np.cumsum(fractions)[:-1]
    codes = np.searchsorted(bounds, uniform, side="right")
    last = max(code for code, share in enumerate(fractions) if share > 0.0)
    return np.minimum(codes, last).astype(np.int8)


def hashed(indices: ArrayLike) -> NDArray[np.float64]:
    """Return for each design index a number in [0, 1) that looks random: the lowest train, the highest test."""
    return _hash(np.asarray(indices, dtype=np.uint64)).astype(np.float64) * 2.0**-64


def check_fractions(fractions: Sequence[float]) -> None:
    """Refuse fractions that are not three numbers of at least 0 that add up to 1 (`InputError`)."""
    good = len(fractions) == len(SPLITS) and all(math.isfinite(share) and share >= 0.0 for share in fractions)
    if not good or abs(sum(fractions) - 1.0) > 1e-9:
        shown = ", ".join(f"{share:g}" for share in fractions)
        raise InputError(f"fractions {shown}: three numbers of at least 0 that add up to 1 are needed")


def _hash(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's output function of each value (Steele, Lea and Flood 2014, Fast splittable generators)."""
    mixed = (values + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
