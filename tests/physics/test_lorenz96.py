"""The Lorenz-96 systems keep what they must, converge at their order and have the published climate and closures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hpc_ds.physics.lorenz96 import (
    TwoLevel,
    advection,
    small_scale_effect,
    tendency,
    trajectory,
    two_level_tendency,
    two_level_trajectory,
    unresolved_tendency,
)

WILKS = TwoLevel()


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def two_level_start(seed=0, sites=8, sectors=32):
    rng = generator(seed)
    return 3.0 + 4.0 * rng.standard_normal(sites), 0.1 * rng.standard_normal((sites, sectors))


def runge_kutta(slope, state, step):
    first = slope(state)
    second = slope(state + 0.5 * step * first)
    third = slope(state + 0.5 * step * second)
    fourth = slope(state + step * third)
    return state + step / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)


def joined_tendency(state, constants, sites, sectors):
    large, small = two_level_tendency(state[:sites], state[sites:].reshape(sites, sectors), constants)
    return np.concatenate([large, small.ravel()])


def test_tendency_is_the_published_formula():
    x, n = generator().standard_normal(7), 7
    expected = [(x[(k + 1) % n] - x[k - 2]) * x[k - 1] - x[k] + 8.0 for k in range(n)]
    assert tendency(x, 8.0) == pytest.approx(expected, abs=1e-14)


def test_two_level_tendency_is_the_published_formula():
    K, J, (F, h, b, c) = 5, 3, (10.0, 0.7, 6.0, 4.0)
    rng = generator()
    x, y = rng.standard_normal(K), rng.standard_normal((K, J))
    z, m = y.ravel(), K * J
    large = [
        -x[k - 1] * (x[k - 2] - x[(k + 1) % K]) - x[k] + F - h * c / b * z[k * J : (k + 1) * J].sum()
        for k in range(K)
    ]
    small = [
        -c * b * z[(j + 1) % m] * (z[(j + 2) % m] - z[j - 1]) - c * z[j] + h * c / b * x[j // J]
        for j in range(m)
    ]
    found = two_level_tendency(x, y, TwoLevel(F, h, b, c))
    assert found[0] == pytest.approx(large, abs=1e-13)
    assert found[1].ravel() == pytest.approx(small, abs=1e-13)


def test_advection_keeps_the_energy():
    x = 5.0 * generator(1).standard_normal((100, 40))
    gained = (x * advection(x)).sum(axis=-1)
    assert np.abs(gained).max() < 1e-14 * np.abs(x).max() ** 3 * 40


def test_energy_budget_of_two_levels_closes():
    # d/dt of half the sum of all squares: forcing gains, both dampings lose, advection and coupling only move energy.
    rng = generator(2)
    x, y = 4.0 * rng.standard_normal((50, 8)), 0.5 * rng.standard_normal((50, 8, 32))
    large, small = two_level_tendency(x, y, WILKS)
    rate = (x * large).sum(axis=1) + (y * small).sum(axis=(1, 2))
    budget = 20.0 * x.sum(axis=1) - (x**2).sum(axis=1) - 10.0 * (y**2).sum(axis=(1, 2))
    assert rate == pytest.approx(budget, abs=1e-11 * np.abs(budget).max())
    # What the large scale loses by the coupling, sum x_k U_k, is what the small scale gains.
    lost = (x * small_scale_effect(y, WILKS)).sum(axis=1)
    gained = WILKS.exchange * (y * x[:, :, None]).sum(axis=(1, 2))
    assert lost == pytest.approx(gained, abs=1e-12 * np.abs(lost).max())


def test_energy_budget_holds_along_a_trajectory():
    x, y = two_level_trajectory(*two_level_start(), WILKS, step=0.0005, frames=401, skipped=2000)
    energy = 0.5 * (x**2).sum(axis=1) + 0.5 * (y**2).sum(axis=(1, 2))
    power = 20.0 * x.sum(axis=1) - (x**2).sum(axis=1) - 10.0 * (y**2).sum(axis=(1, 2))
    # Simpson's rule is exact to fourth order, as the method is.
    weights = np.full(401, 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    assert energy[-1] - energy[0] == pytest.approx(0.0005 / 3.0 * (weights * power).sum(), abs=2e-6)


def test_compiled_steps_are_those_of_the_formulas():
    state = 8.0 + generator(3).standard_normal(40)
    found = trajectory(state, 7.5, step=0.05, frames=21)
    for _ in range(20):
        state = runge_kutta(lambda x: tendency(x, 7.5), state, 0.05)
    assert found[-1] == pytest.approx(state, abs=1e-12)


@pytest.mark.parametrize(("sites", "sectors"), [(8, 32), (36, 10), (4, 1), (5, 3)])
def test_compiled_two_level_steps_are_those_of_the_formulas(sites, sectors):
    constants = TwoLevel(10.0, 0.9, 8.0, 9.0)
    large, small = two_level_start(4, sites, sectors)
    x, y = two_level_trajectory(large, small, constants, step=0.002, frames=3, every=10)
    state = np.concatenate([large, small.ravel()])
    for _ in range(20):
        state = runge_kutta(lambda s: joined_tendency(s, constants, sites, sectors), state, 0.002)
    assert x[-1] == pytest.approx(state[:sites], abs=1e-12)
    assert y[-1].ravel() == pytest.approx(state[sites:], abs=1e-12)


def test_frames_are_every_so_many_steps_after_those_skipped():
    start = 8.0 + generator(5).standard_normal(40)
    every = trajectory(start, 8.0, step=0.05, frames=31)
    assert np.array_equal(every[0], start)
    assert np.array_equal(trajectory(start, 8.0, step=0.05, frames=6, every=4, skipped=10), every[10::4])


def test_method_converges_at_fourth_order():
    start = 8.0 + generator(6).standard_normal(40)
    ends = [
        trajectory(start, 8.0, step=0.5 / steps, frames=2, every=steps)[-1] for steps in (10, 20, 40, 80, 160)
    ]
    change = [np.abs(one - other).max() for one, other in pairwise(ends)]
    assert np.log2(np.array(change[:-1]) / change[1:])[1:] == pytest.approx([4.0, 4.0], abs=0.25)
    large, small = two_level_start(6)
    ends = [
        two_level_trajectory(large, small, WILKS, step=0.1 / steps, frames=2, every=steps)[0][-1]
        for steps in (40, 80, 160, 320)
    ]
    change = [np.abs(one - other).max() for one, other in pairwise(ends)]
    assert np.log2(np.array(change[:-1]) / change[1:])[1:] == pytest.approx([4.0], abs=0.3)


@pytest.mark.parametrize("forcing", [-0.4, 0.0, 0.5, 0.85])
def test_weak_forcing_ends_in_the_constant_state(forcing):
    # The constant state x = F is stable for F below 8/9 (Lorenz & Emanuel 1998).
    start = forcing + generator(7).standard_normal(40)
    end = trajectory(start, forcing, step=0.05, frames=1, skipped=20000)[0]
    assert end == pytest.approx(np.full(40, forcing), abs=1e-9)


def test_climate_of_the_customary_system():
    # Mean 2.334 and standard deviation 3.637 with F = 8 and 40 sites; errors from 40 independent runs.
    runs = [
        trajectory(
            8.0 + generator(seed).standard_normal(40), 8.0, step=0.05, frames=4000, every=2, skipped=400
        )
        for seed in range(40)
    ]
    for found, known in (([run.mean() for run in runs], 2.334), ([run.std() for run in runs], 3.637)):
        error = np.std(found) / np.sqrt(len(runs))
        assert error < 0.01
        # 0.0005: the known values are rounded to three decimals.
        assert np.mean(found) == pytest.approx(known, abs=4.0 * error + 0.0005)


def test_mean_energy_balance_of_the_climate():
    # d/dt of half the mean square is 0 on average: <x^2> = F <x>.
    run = trajectory(8.0 + generator(8).standard_normal(40), 8.0, step=0.01, frames=200000, skipped=2000)
    assert (run**2).mean() == pytest.approx(8.0 * run.mean(), rel=2e-3)


@pytest.fixture(scope="module")
def wilks_climate():
    """States 0.2 apart and 0.005 after them, of 12 independent runs, and the exact effect of the small scale."""
    states, later, effect = [], [], []
    for seed in range(12):
        x, y = two_level_trajectory(
            *two_level_start(seed), WILKS, step=0.005, frames=40000, every=1, skipped=2000
        )
        states.append(x[:-1:40])
        later.append(x[1::40][: len(states[-1])])
        effect.append(small_scale_effect(y[:-1:40], WILKS))
    return np.array(states), np.array(later), np.array(effect)


def curve(coefficients, x):
    return np.polyval(coefficients[::-1], x)


def fit(x, y, order):
    return np.polyfit(x.ravel(), y.ravel(), order)[::-1]


def sampling_error(states, effect, order):
    """Fit to all states, and how far from it the fits to 200 states (40 time units) lie: the nearest 95 %.

    Distances are root mean squares over the climate of x. No paper says how many states its fit had.
    """
    best = fit(states, effect, order)
    parts = zip(states.reshape(-1, 200, 8), effect.reshape(-1, 200, 8))
    distances = [rms(curve(fit(x, y, order), states) - curve(best, states)) for x, y in parts]
    return best, np.quantile(distances, 0.95)


def rms(values):
    return np.sqrt(np.square(values).mean())


@pytest.mark.parametrize(
    "published",
    [(0.341, 1.30, -0.0136, -0.00235), (0.262, 1.45, -0.0121, -0.00713, 0.000296)],
    ids=["Arnold 2013", "Wilks 2005"],
)
def test_published_closures_are_refitted_within_sampling_error(wilks_climate, published):
    states, later, effect = wilks_climate
    measured = unresolved_tendency(states, later, 0.005, WILKS.forcing)
    best, error = sampling_error(states, measured, len(published) - 1)
    assert error < 0.25
    assert rms(curve(best, states) - curve(published, states)) < error
    # Only as measured by a finite difference: the exact effect of the small scale has another curve.
    exact = fit(states, effect, len(published) - 1)
    assert rms(curve(exact, states) - curve(published, states)) > 0.5


@pytest.mark.parametrize("published", [(3.82,), (0.74, 0.82)], ids=["constant", "linear"])
def test_simple_closures_are_refits_of_the_exact_effect(wilks_climate, published):
    states, _, effect = wilks_climate
    best, error = sampling_error(states, effect, len(published) - 1)
    assert error < 0.25
    assert rms(curve(best, states) - curve(published, states)) < error


def test_neighbours_and_repetitions_change_no_bit():
    starts = [8.0 + generator(seed).standard_normal(40) for seed in range(3)]
    alone = trajectory(starts[1], 8.0, step=0.05, frames=100)
    again = [trajectory(start, 8.0, step=0.05, frames=100) for start in starts][1]
    assert np.array_equal(alone, again)
    assert np.array_equal(alone, trajectory(starts[1][::-1][::-1], 8.0, step=0.05, frames=100))


def test_rings_that_are_none_are_refused():
    with pytest.raises(ValueError, match="at least 4"):
        trajectory(np.zeros(3), 8.0, step=0.05, frames=1)
    with pytest.raises(ValueError, match=r"small has shape \(7, 2\): \(8, J\)"):
        two_level_trajectory(np.zeros(8), np.zeros((7, 2)), WILKS, step=0.005, frames=1)
