"""Random streams belong to names, not to places."""

import zlib

import numpy as np
import pytest

from hpc_ds.runtime.random import name_key, philox_key, stream


def test_equal_names_give_equal_streams():
    assert np.array_equal(stream(5, 1, 2).random(100), stream(5, 1, 2).random(100))


@pytest.mark.parametrize("other", [(6, 1, 2), (5, 2, 1), (5, 1), (5, 1, 2, 0), (5, 0, 1, 2), (5,)])
def test_different_names_give_different_streams(other):
    assert not np.any(stream(5, 1, 2).random(100) == stream(*other).random(100))


def test_stream_is_philox_keyed_by_numpy_seed_sequence():
    sequence = np.random.SeedSequence(99, spawn_key=(4, 7))
    assert np.array_equal(
        stream(99, 4, 7).random(10), np.random.Generator(np.random.Philox(sequence)).random(10)
    )


def test_philox_key_reads_the_same_stream():
    key = philox_key(2**100 + 3, 7, 8)
    assert key.dtype == np.uint64 and key.shape == (2,)
    expected = stream(2**100 + 3, 7, 8).bit_generator.random_raw(20)
    assert np.array_equal(np.random.Philox(key=key).random_raw(20), expected)


def test_streams_of_a_family_are_uniform_and_uncorrelated():
    first = np.array([stream(1, replica).random(50) for replica in range(400)])
    assert abs(first.mean() - 0.5) < 5 * np.sqrt(1 / 12 / first.size)
    correlation = np.corrcoef(first)[np.triu_indices(400, 1)]
    assert abs(correlation.mean()) < 5 / np.sqrt(50 * correlation.size)


def test_name_key_is_the_same_everywhere():
    assert name_key("K=3") == zlib.crc32(b"K=3") and 0 <= name_key("σ") < 2**32


@pytest.mark.parametrize("arguments", [(-1,), (2**128,), (0, -1), (0, 2**32)])
def test_out_of_range_is_refused_because_streams_would_coincide(arguments):
    with pytest.raises(ValueError, match="must be at least 0"):
        stream(*arguments)


def test_numpy_integers_are_welcome():
    assert stream(np.int64(3), np.uint32(4)).random() == stream(3, 4).random()
