"""Replicas are shared among ranks: each has one holder, and the work is even."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_ds.infer.plan import Load, share

LOADS = st.lists(
    st.builds(Load, st.integers(2, 60), st.floats(1e-6, 1e-1), st.sampled_from([1, 1, 2, 8])),
    min_size=1,
    max_size=12,
)


def busy(pieces, loads, ranks):
    time = np.zeros(ranks)
    for piece in pieces:
        time[piece.rank] += loads[piece.ensemble].cost * (piece.stop - piece.start)
    return time


@settings(max_examples=300, deadline=None)
@given(loads=LOADS, ranks=st.integers(1, 70))
def test_every_replica_has_exactly_one_holder_and_blocks_stay_together(loads, ranks):
    pieces = share(loads, ranks)
    assert pieces == sorted(pieces, key=lambda piece: (piece.ensemble, piece.start))
    for e, load in enumerate(loads):
        held = [piece for piece in pieces if piece.ensemble == e]
        ends = [0, *(piece.stop for piece in held)]
        assert [piece.start for piece in held] == ends[:-1] and ends[-1] == load.replicas
        assert all(piece.start % load.block == 0 and piece.stop > piece.start for piece in held)
        assert len({piece.rank for piece in held}) == len(held), "a rank holds one stretch of an ensemble"
    assert all(0 <= piece.rank < ranks for piece in pieces)


@settings(max_examples=300, deadline=None)
@given(loads=LOADS, ranks=st.integers(1, 70))
def test_no_rank_has_more_than_an_even_share_and_one_block(loads, ranks):
    total = sum(load.replicas * load.cost for load in loads)
    largest = max(min(load.block, load.replicas) * load.cost for load in loads)
    assert busy(share(loads, ranks), loads, ranks).max() <= 1.05 * (total / ranks + largest) * (1.0 + 1e-9)


@given(loads=LOADS, ranks=st.integers(1, 70))
def test_the_plan_is_a_function_of_its_arguments(loads, ranks):
    assert share(loads, ranks) == share(list(loads), ranks)


def test_one_rank_holds_everything_whole():
    pieces = share([Load(5, 1.0), Load(3, 2.0, 8)], 1)
    assert [(p.ensemble, p.rank, p.start, p.stop) for p in pieces] == [(0, 0, 0, 5), (1, 0, 0, 3)]


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_as_many_like_ensembles_as_ranks_stay_whole(ranks):
    pieces = share([Load(10, 1e-3)] * ranks, ranks)
    assert sorted(piece.rank for piece in pieces) == list(range(ranks))
    assert all((piece.start, piece.stop) == (0, 10) for piece in pieces)


def test_one_ensemble_is_cut_evenly():
    assert [p.stop - p.start for p in share([Load(12, 1.0)], 4)] == [3, 3, 3, 3]
    sizes = [p.stop - p.start for p in share([Load(10, 1.0)], 4)]
    assert sum(sizes) == 10 and max(sizes) - min(sizes) <= 1


def test_a_dear_ensemble_is_cut_and_cheap_ones_need_not_be():
    loads = [Load(16, 1.0), Load(16, 1e-3), Load(16, 1e-3)]
    time = busy(share(loads, 4), loads, 4)
    assert time.max() < 1.3 * time.mean()


def test_ranks_without_a_piece_idle():
    pieces = share([Load(3, 1.0)], 10)
    assert len(pieces) == 3 and len({piece.rank for piece in pieces}) == 3
    blocked = share([Load(6, 1.0, 8)], 4)
    assert len(blocked) == 1 and (blocked[0].start, blocked[0].stop) == (0, 6)


def test_splitting_is_not_worth_a_gain_of_a_few_percent():
    """An ensemble on several ranks exchanges through MPI at every scan."""
    loads = [Load(50, 1.0), Load(51, 1.0)]
    assert all((p.start, p.stop) == (0, loads[p.ensemble].replicas) for p in share(loads, 2))


def test_ensembles_meet_their_ranks_in_one_order():
    """Ranks that share several ensembles exchange them in the same order, so none waits for another in a circle."""
    for ranks, count in itertools.product((2, 3, 5), (2, 3, 4)):
        pieces = share([Load(7, 1.0 + 0.3 * e) for e in range(count)], ranks)
        for rank in range(ranks):
            mine = [piece.ensemble for piece in pieces if piece.rank == rank]
            assert mine == sorted(mine)
