"""Orders: as long as a second by the clock, never tearing a block, and all samples exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_ds.simulate.batches import Batches, Durations, without


@given(
    todo=st.sets(st.integers(0, 300), max_size=80),
    block=st.integers(1, 16),
    mean=st.one_of(st.none(), st.floats(1e-4, 10.0)),
    slots=st.integers(0, 9),
)
def test_every_sample_is_handed_out_once_and_blocks_stay_whole(todo, block, mean, slots):
    batches, orders = Batches(todo, block), []
    while batches:
        orders.append(batches.take(mean, slots))
    assert sorted(index for order in orders for index in order) == sorted(todo)
    homes = [{index // block for index in order} for order in orders]
    assert all(first.isdisjoint(second) for k, first in enumerate(homes) for second in homes[k + 1 :])


def test_orders_take_about_a_second_and_shorten_towards_the_end():
    batches = Batches(range(1000), 1)
    sizes = []
    while batches:
        sizes.append(len(batches.take(0.02, 4)))
    assert sizes[0] == 50
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


def test_the_first_order_of_unknown_samples_is_one_block():
    assert Batches(range(100), 8).take(None, 4) == tuple(range(8))


def test_long_samples_go_one_by_one():
    assert Batches(range(100), 1).take(30.0, 4) == (0,)


def test_what_is_put_back_is_handed_out_next():
    batches = Batches([5, 6, 7], 1)
    taken = batches.take(None, 1)
    batches.put_back(taken)
    assert len(batches) == 3
    assert batches.take(None, 1) == taken


def test_many_workers_get_longer_orders():
    few, many = Batches(range(10**6), 1), Batches(range(10**6), 1)
    assert len(few.take(0.01, 10)) == 100
    assert len(many.take(0.01, 1000)) == 500


def test_a_slow_sample_is_the_99th_percentile_with_a_margin():
    durations = Durations()
    assert durations.mean is None and durations.slow == 0.0
    durations.add([1.0] * 99 + [3.0])
    assert durations.mean == pytest.approx(1.02)
    assert durations.slow == pytest.approx(1.25 * 3.0)
    assert durations.count == 100 and durations.longest == 3.0


def test_without_keeps_the_order():
    assert without([3, 1, 2], {1}) == [3, 2]
