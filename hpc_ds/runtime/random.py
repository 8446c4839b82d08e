"""Random streams that belong to logical things (replica 7, sample 1234), never to ranks."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

_KEY_LIMIT = 2**32
_SEED_LIMIT = 2**128


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of the thing that `key` names in the run of `seed`.

    Equal arguments give equal streams on every rank and machine; different ones give independent streams. The
    bit generator is Philox4x64-10 (Salmon et al. 2011) keyed through NumPy's `SeedSequence`.

    Parameters
    ----------
    seed : int
        Seed of the run, 0 <= seed < 2**128.
    *key : int
        Any number of integers in [0, 2**32), e.g. model, copy, replica. Use `name_key` for names.

    Raises
    ------
    ValueError
        A seed or key out of range.
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, key)))


def philox_key(seed: int, *key: int) -> NDArray[np.uint64]:
    """Return the Philox key, uint64 of shape (2,), of the stream that ``stream(seed, *key)`` reads.

    Raises
    ------
    ValueError
        A seed or key out of range.
    """
    return np.asarray(_sequence(seed, key).generate_state(2, np.uint64), dtype=np.uint64)


def name_key(text: str) -> int:
    """Return the 32-bit integer that stands for a name in a key: its CRC-32, the same on every machine."""
    return zlib.crc32(text.encode("utf-8"))


def _sequence(seed: int, key: tuple[int, ...]) -> np.random.SeedSequence:
    if not 0 <= seed < _SEED_LIMIT:
        raise ValueError(f"seed is {seed}: it must be at least 0 and below 2**128")
    # SeedSequence cuts longer integers into 32-bit words: (2**32,) would be the same stream as (0, 1).
    for part in key:
        if not 0 <= part < _KEY_LIMIT:
            raise ValueError(f"the key {key} holds {part}: each part must be at least 0 and below 2**32")
    return np.random.SeedSequence(int(seed), spawn_key=tuple(int(part) for part in key))
