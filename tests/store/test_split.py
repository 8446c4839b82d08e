"""The split of a sample is a property of its design index."""

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.split import FRACTIONS, SPLITS, split_codes, split_of


def test_a_larger_set_keeps_the_splits_of_the_smaller_one():
    assert np.array_equal(split_codes(np.arange(1000))[:300], split_codes(np.arange(300)))


def test_one_index_at_a_time_is_the_same_as_many():
    assert [split_of(index) for index in range(50)] == [SPLITS[code] for code in split_codes(np.arange(50))]


@pytest.mark.parametrize("fractions", [FRACTIONS, (0.5, 0.25, 0.25), (0.98, 0.01, 0.01)])
def test_shares_are_those_asked_for(fractions):
    n = 100_000
    counts = np.bincount(split_codes(np.arange(n), fractions), minlength=3)
    expected = n * np.array(fractions)
    assert (np.abs(counts - expected) < 4.0 * np.sqrt(expected)).all()  # four standard deviations


def test_neighbours_are_independent():
    valid = split_codes(np.arange(100_000)) == 1
    pairs = np.count_nonzero(valid[1:] & valid[:-1])
    assert abs(pairs - 1000) < 4 * np.sqrt(1000)


@pytest.mark.parametrize("fractions", [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.3, 0.7, 0.0)])
def test_a_share_of_nothing_gets_nothing(fractions):
    counts = np.bincount(split_codes(np.arange(2000), fractions), minlength=3)
    assert [count > 0 for count in counts] == [share > 0 for share in fractions]


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.1, -0.1, 0.0), (float("nan"), 0.5, 0.5)]
)
def test_fractions_that_cannot_be_are_refused(fractions):
    with pytest.raises(InputError, match="add up to 1"):
        split_of(0, fractions)


def test_the_hash_is_the_published_one():
    # SplitMix64 started at 0 gives e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f (Vigna's splitmix64.c).
    from hpc_ds.store.split import _hash

    values = _hash(np.arange(3, dtype=np.uint64))
    assert [f"{value:016x}" for value in values] == [
        "e220a8397b1dcdaf",
        "6e789e6aa1b965f4",
        "06c45d188009454f",
    ]
