"""Exchange of replicas between neighbouring levels: deterministic even-odd, round trips as theory has them."""

import math

import numpy as np
import pytest

from hpc_ds.infer.ensemble import new_ladder
from hpc_ds.infer.kernels.exchange import exchange
from hpc_ds.infer.ladder import round_trip_rate
from hpc_ds.runtime.philox import new_streams

INF = math.inf


def ladder_of(levels, seed=1):
    return new_ladder(
        np.linspace(0.0, 1.0, levels), new_streams(np.array([[seed, 0]], dtype=np.uint64))[0], 0
    )


def scan(ladder, acceptance):
    """One exchange at which every pair accepts with this probability, whoever its replicas are."""
    energies = np.empty(ladder.beta.size)
    drop = -math.log(acceptance) / (ladder.beta[1] - ladder.beta[0])
    energies[ladder.replica_at] = drop * np.arange(ladder.beta.size)
    exchange(ladder, energies)


def consistent(ladder):
    return np.array_equal(ladder.level_of[ladder.replica_at], np.arange(ladder.beta.size))


@pytest.mark.parametrize("levels", [2, 3, 4, 7])
def test_even_and_odd_pairs_take_turns(levels):
    ladder = ladder_of(levels)
    for turn in range(6):
        before = ladder.attempts.copy()
        scan(ladder, 0.5)
        tried = np.flatnonzero(ladder.attempts - before)
        assert list(tried) == list(range(turn % 2, levels - 1, 2))
    assert ladder.scans[0] == 6


def test_the_parity_goes_on_where_a_ladder_was_left():
    ladder = new_ladder(np.linspace(0.0, 1.0, 4), new_streams(np.array([[1, 0]], dtype=np.uint64))[0], 5)
    scan(ladder, 0.5)
    assert list(ladder.attempts) == [0, 1, 0]


def test_inverse_temperatures_move_and_states_stay():
    ladder = ladder_of(6)
    energies = np.array([5.0, 1.0, -2.0, -30.0, 8.0, 8.0])
    beta = ladder.beta.copy()
    kept = energies.copy()
    for _ in range(100):
        exchange(ladder, energies)
        assert consistent(ladder)
    assert np.array_equal(energies, kept) and np.array_equal(ladder.beta, beta)
    assert not np.array_equal(ladder.replica_at, np.arange(6))


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("scans", [1, 17, 100, 1001])
def test_round_trips_at_acceptance_one_have_a_closed_form(levels, scans):
    """Replicas march: N - 1 scans up, one at the end, N - 1 down, one at the end.

    Counting starts when a replica first comes to beta = 0: those at odd levels go down at once and are there after
    as many scans as their level, those at even levels after 2 N - 1 - level. From then on a trip takes 2 N scans.
    """
    ladder = ladder_of(levels)
    for _ in range(scans):
        scan(ladder, 1.0)
    for replica in range(levels):
        first = replica if replica % 2 else 2 * levels - 1 - replica
        assert ladder.round_trips[replica] == max(0, (scans - first) // (2 * levels))
    assert np.all(ladder.rejection == 0.0)


@pytest.mark.parametrize(("levels", "acceptance"), [(4, 0.9), (8, 0.7), (8, 0.3), (20, 0.6)])
def test_round_trips_at_constant_acceptance_are_those_of_theory(levels, acceptance):
    """Syed et al. (2022), corollary 2: 1 / (2 + 2 N r / (1 - r)) a scan with N pairs that reject with r."""
    ladder, scans = ladder_of(levels), 60_000
    for _ in range(scans):
        scan(ladder, acceptance)
    rate = round_trip_rate(np.full(levels - 1, 1.0 - acceptance))
    assert rate == pytest.approx(
        1.0 / (2.0 + 2.0 * (levels - 1) * (1.0 - acceptance) / acceptance), rel=1e-12
    )
    assert ladder.round_trips.sum() == pytest.approx(scans * rate, rel=0.05)
    assert ladder.round_trips.min() > 0


def test_rejection_is_recorded_as_a_probability_not_as_a_coin():
    ladder = ladder_of(5)
    for _ in range(10):
        scan(ladder, 0.3)
    assert ladder.rejection == pytest.approx(0.7 * ladder.attempts, rel=1e-12)


@pytest.mark.parametrize(("hot", "cold"), [(1.0, 3.0), (3.0, 1.0), (-500.0, -501.0), (0.0, 2000.0)])
def test_acceptance_is_that_of_metropolis(hot, cold):
    ladder = ladder_of(3)
    exchange(ladder, np.array([hot, cold, 0.0]))
    assert 1.0 - ladder.rejection[0] == pytest.approx(min(1.0, math.exp(0.5 * (hot - cold))), abs=1e-15)


def test_swaps_happen_as_often_as_their_probability_says():
    ladder, moved = ladder_of(2), 0
    for _ in range(20_000):
        before = ladder.replica_at[0]
        scan(ladder, 0.37)
        moved += ladder.replica_at[0] != before
    assert moved / 10_000 == pytest.approx(0.37, abs=4.0 * math.sqrt(0.37 * 0.63 / 10_000))


@pytest.mark.parametrize(
    ("hot", "cold", "acceptance"),
    [(-INF, 0.0, 0.0), (0.0, -INF, 1.0), (-INF, -INF, 1.0)],
    ids=["impossible state stays hot", "impossible state leaves the cold", "two impossible states are alike"],
)
def test_states_without_likelihood(hot, cold, acceptance):
    ladder = ladder_of(3)
    exchange(ladder, np.array([hot, cold, 0.0]))
    assert ladder.rejection[0] == 1.0 - acceptance
    assert ladder.replica_at[0] == int(acceptance)


def test_an_impossible_state_never_climbs():
    ladder = ladder_of(6)
    energies = np.array([-INF, 0.3, -0.2, 1.0, 0.0, -1.0])
    for _ in range(500):
        exchange(ladder, energies)
        assert ladder.level_of[0] == 0
    assert consistent(ladder) and np.all(np.isfinite(ladder.rejection))


def test_the_stream_does_not_depend_on_what_is_accepted():
    """So that a run goes on alike wherever it was cut."""
    ladders = [ladder_of(7), ladder_of(7)]
    for _ in range(50):
        scan(ladders[0], 1.0)
        scan(ladders[1], 0.2)
    assert np.array_equal(ladders[0].stream, ladders[1].stream)


def test_permutations_of_alike_replicas_are_equally_likely():
    """Three levels, constant acceptance: the chain on the six orders is doubly stochastic, so it visits all alike."""
    ladder, counts = ladder_of(3), {}
    for _ in range(30_000):
        scan(ladder, 0.5)
        key = tuple(ladder.replica_at.tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert all(count == pytest.approx(5_000, rel=0.1) for count in counts.values())
