"""Compiled Philox streams: the words are NumPy's, the laws are the named ones."""

import math

import numpy as np
import pytest
from numba import njit
from scipy import stats

from hpc_ds.runtime import philox
from hpc_ds.runtime.philox import (
    exponential,
    gamma,
    integer,
    log_gamma_draw,
    new_streams,
    next_u64,
    normal,
    uniform,
    uniform_open,
)

N = 200_000
# Streams are fixed, so a p-value below this is a wrong law, never bad luck.
P_VALUE = 1e-3


def stream(*key):
    return new_streams([key])[0]


@njit
def words(s, n):
    out = np.empty(n, dtype=np.uint64)
    for i in range(n):
        out[i] = next_u64(s)
    return out


@njit
def numbers(law, s, n):
    out = np.empty(n)
    for i in range(n):
        out[i] = law(s)
    return out


@njit
def shaped_numbers(law, s, shape, n):
    out = np.empty(n)
    for i in range(n):
        out[i] = law(s, shape)
    return out


@pytest.mark.parametrize("key", [(0, 0), (1, 2), (2**64 - 1, 2**63 + 5), (0xDEADBEEF, 2**64 - 1)])
def test_words_are_those_of_numpy(key):
    expected = np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(4099)
    assert np.array_equal(words(stream(*key), 4099), expected)


def test_first_block_is_the_published_known_answer():
    # Random123 kat_vectors, philox4x64-10: counter 0, key 0. It is advanced before use, so start at -1.
    s = stream(0, 0)
    s[2] = np.uint64(2**64 - 1)
    assert [f"{word:016x}" for word in words(s, 4)] == [
        "16554d9eca36314c",
        "db20fe9d672d0fdc",
        "d7e772cee186176b",
        "7e68b68aec7ba23b",
    ]


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 1003])
def test_a_stored_row_continues_the_stream(cut):
    whole, s = words(stream(3, 4), 2000), stream(3, 4)
    words(s, cut)
    assert np.array_equal(words(s.copy(), 2000 - cut), whole[cut:])


def test_streams_of_one_array_do_not_touch_each_other():
    rows = new_streams([[1, 2], [3, 4], [5, 6]])
    words(rows[1], 10)
    assert np.array_equal(rows[[0, 2]], new_streams([[1, 2], [5, 6]]))
    assert rows.shape == (3, 8) and rows.dtype == np.uint64


@pytest.mark.parametrize("keys", [[1, 2], [[1, 2, 3]], [[[1, 2]]]])
def test_keys_of_another_shape_are_refused(keys):
    with pytest.raises(ValueError, match=r"\(R, 2\) is needed"):
        new_streams(keys)


def test_uniform_is_the_double_that_numpy_makes_of_the_same_word():
    expected = np.random.Generator(np.random.Philox(key=np.array([7, 8], dtype=np.uint64))).random(1000)
    assert np.array_equal(numbers(uniform, stream(7, 8), 1000), expected)


@pytest.mark.parametrize(("word", "value"), [(0, 2.0**-53), (2**64 - 1, 1.0 - 2.0**-53)])
def test_uniform_open_keeps_off_both_ends(word, value):
    s = stream(0, 0)
    s[3], s[7] = np.uint64(word), np.uint64(0)
    assert uniform_open(s) == value


@pytest.mark.parametrize(
    ("law", "reference"),
    [(uniform, "uniform"), (uniform_open, "uniform"), (normal, "norm"), (exponential, "expon")],
)
def test_numbers_follow_their_law(law, reference):
    assert stats.kstest(numbers(law, stream(11, 12), N), reference).pvalue > P_VALUE


def test_the_law_test_sees_a_slightly_wrong_law():
    assert stats.kstest(1.02 * numbers(normal, stream(11, 12), N), "norm").pvalue < P_VALUE


@pytest.mark.parametrize(
    ("law", "reference", "edge"),
    [(normal, stats.norm, philox._NORMAL_EDGE), (exponential, stats.expon, philox._EXPONENTIAL_EDGE)],
)
def test_the_tail_beyond_the_ziggurat_follows_the_law(law, reference, edge):
    draws = numbers(law, stream(13, 14), 20 * N)
    tail = draws[draws > edge]
    expected = len(draws) * reference.sf(edge)
    assert abs(len(tail) - expected) < 4 * math.sqrt(expected)
    assert stats.kstest(tail, lambda x: 1 - reference.sf(x) / reference.sf(edge)).pvalue > P_VALUE


@pytest.mark.parametrize(
    ("table", "density"),
    [("NORMAL", lambda x: math.exp(-0.5 * x * x)), ("EXPONENTIAL", lambda x: math.exp(-x))],
)
def test_ziggurat_layers_have_equal_areas_and_close_at_the_peak(table, density):
    width = getattr(philox, f"_{table}_SCALE") * 2.0**52
    height = getattr(philox, f"_{table}_HEIGHT")
    assert width[-1] == 0.0 and height[-1] == 1.0
    lowest = width[0] * density(width[1])  # with the tail
    np.testing.assert_allclose(width[1:-1] * np.diff(height)[1:], lowest, rtol=1e-10)


def test_moments_of_normal_numbers():
    draws = numbers(normal, stream(15, 16), 10 * N)
    expected = [0, 1, 0, 3, 0, 15]
    for power, moment in enumerate(expected, start=1):
        error = math.sqrt(math.prod(range(2 * power - 1, 0, -2)) / len(draws))
        assert abs(np.mean(draws**power) - moment) < 4 * error


@pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 1.5, 5.0, 200.0])
def test_gamma_follows_its_law(shape):
    draws = shaped_numbers(gamma, stream(17, 18), shape, N)
    assert stats.kstest(draws, stats.gamma(shape).cdf).pvalue > P_VALUE


@pytest.mark.parametrize("shape", [0.5, 1.0, 5.0])
def test_log_gamma_draw_is_the_logarithm_of_the_same_draw(shape):
    logarithms = shaped_numbers(log_gamma_draw, stream(17, 18), shape, 1000)
    np.testing.assert_allclose(
        logarithms, np.log(shaped_numbers(gamma, stream(17, 18), shape, 1000)), rtol=1e-12
    )


def test_log_gamma_draw_does_not_underflow():
    draws = shaped_numbers(log_gamma_draw, stream(19, 20), 1e-4, 1000)
    assert np.isfinite(draws).all() and draws.min() < -10_000


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_integers_are_equally_likely(n):
    draws = shaped_numbers(integer, stream(21, 22), n, N).astype(int)
    counts = np.bincount(draws, minlength=n)
    assert len(counts) == n
    assert n == 1 or stats.chisquare(counts).pvalue > P_VALUE


def test_integers_of_a_range_that_does_not_divide_the_words_are_unbiased():
    # Of 3 * 2^61 values, a plain product would hit some three times for every two of others.
    n = 3 * 2**61
    draws = shaped_numbers(integer, stream(23, 24), n, N)
    assert stats.kstest(draws / n, "uniform").pvalue > P_VALUE
