"""Amounts in words."""

import pytest

from hpc_ds.runtime.amounts import duration_text, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273600, "3 d 4 h")],
)
def test_durations_read_well(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(12, "12 bytes"), (5632, "5.6 kB"), (1.5e9, "1.5 GB"), (250e12, "250 TB"), (99.6e6, "100 MB")],
)
def test_sizes_are_told_with_the_unit_that_fits(number, text):
    assert size_text(number) == text
