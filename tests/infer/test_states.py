"""States of replicas: log-likelihoods are right, and parameters and stream alone define what comes next."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from hpc_ds.infer import priors as laws
from hpc_ds.infer.ensemble import new_counts
from hpc_ds.infer.explorers import COMPONENT_MOVES, columns_of, make_explorer
from hpc_ds.infer.kernels import components
from hpc_ds.infer.kernels.moves import Tuning
from hpc_ds.infer.model import Model
from hpc_ds.physics import spectra
from hpc_ds.runtime.philox import new_streams

SHAPES = ("gaussian", "gaussian_precision", "lorentzian", "pseudo_voigt")
BACKGROUNDS = ("none", "constant", "linear", "exponential", "shirley")
NOISES = ("known", "estimated", "poisson")
COMBINATIONS = [
    case
    for case in itertools.product(SHAPES, BACKGROUNDS, NOISES)
    if case[1] != "none" or case[2] != "poisson"
]
REPLICAS = 5
POINTS = 75
LOCAL = {"width": laws.gamma(8.0, 80.0), "precision": laws.gamma(5.0, 0.03)}  # peaks that are zero far away


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_log_likelihood_equals_plain_numpy(make_spectrum, case):
    explorer = spectrum_explorer(make_spectrum, case)
    for theta, found in zip(explorer.theta, explorer.log_likelihood):
        assert found == pytest.approx(plain_log_likelihood(explorer.model, case, theta), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_what_is_cached_after_many_scans_equals_a_fresh_computation(make_spectrum, case):
    explorer = spectrum_explorer(make_spectrum, case)
    explore(explorer, 50)
    fresh = components.new_state(explorer.model.problem, explorer.theta, explorer.stream)
    for name in ("log_likelihood", "statistic", "shape", "window", "residual"):
        assert np.array_equal(getattr(explorer._state, name), getattr(fresh, name)), name
    for theta, found in zip(explorer.theta, explorer.log_likelihood):
        assert found == pytest.approx(plain_log_likelihood(explorer.model, case, theta), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_log_likelihood_keeps_its_digits_within_a_scan(make_spectrum, case):
    """Sums are renewed at the end of a scan only; until then each move adds its difference."""
    explorer = spectrum_explorer(make_spectrum, case)
    explorer.sweeps = 50
    state, found = explorer._state, []
    tuning, counts = tuning_of(explorer), new_counts(REPLICAS, columns_of(explorer.model))
    from hpc_ds.infer.kernels.moves import sweep

    for r in range(1, REPLICAS):
        for _ in range(50):
            sweep(explorer.model.problem, state, explorer.schedule, tuning, counts, r, r)
        found.append(state.log_likelihood[r])
        assert found[-1] == pytest.approx(
            plain_log_likelihood(explorer.model, case, state.theta[r]), rel=1e-9
        )


def test_far_away_and_very_wide_peaks_are_computed_rightly(make_spectrum):
    case = ("gaussian", "constant", "known")
    explorer = spectrum_explorer(make_spectrum, case)
    for position, width in itertools.product(
        (-50.0, -0.01, 0.0, 1.234, 3.0, 3.01, 80.0), (1e-6, 0.05, 1.0, 1e4)
    ):
        explorer.theta[:, 1:3] = position, width
        fresh = components.new_state(explorer.model.problem, explorer.theta, explorer.stream)
        for theta, found in zip(explorer.theta, fresh.log_likelihood):
            assert found == pytest.approx(plain_log_likelihood(explorer.model, case, theta), rel=1e-10)


def sum_of_squares(theta, data):
    return -0.5 * np.sum((data[0] - theta[0] - theta[1] * data[1]) ** 2) - np.sum(np.cos(data[1] * theta[1]))


def batched_sum_of_squares(theta, data):
    slope = theta[:, 1:2] * data[1]
    return -0.5 * np.sum((data[0] - theta[:, :1] - slope) ** 2, axis=1) - np.cos(slope).sum(axis=1)


@pytest.mark.parametrize("moves", [("metropolis", "block"), ("slice",)], ids=str)
@pytest.mark.parametrize("form", ["compiled", "batched", "python", "components"])
def test_explorer_rebuilt_from_parameters_and_streams_goes_on_bit_for_bit(make_spectrum, form, moves):
    if form == "components":
        explorer = spectrum_explorer(make_spectrum, ("pseudo_voigt", "linear", "estimated"))
    else:
        explorer = generic_explorer(form, moves)
    explore(explorer, 20)
    again = make_explorer(
        explorer.model, explorer.sweeps, moves_of(explorer), explorer.theta, explorer.stream
    )
    assert np.array_equal(again.log_likelihood, explorer.log_likelihood)
    for one in (explorer, again):
        explore(one, 20)
    for name in ("theta", "stream", "log_likelihood"):
        assert np.array_equal(getattr(again, name), getattr(explorer, name)), name


@pytest.mark.parametrize("form", ["compiled", "batched", "python"])
def test_replica_moves_the_same_whatever_other_replicas_its_rank_holds(form):
    alone = generic_explorer(form, ("metropolis", "slice"), rows=slice(4, 8))
    among = generic_explorer(form, ("metropolis", "slice"), rows=slice(0, 8))
    explore(alone, 10, levels=np.array([1, 2, 0, 4]))
    explore(among, 10, levels=np.array([4, 3, 2, 1, 1, 2, 0, 4]))
    assert np.array_equal(alone.theta, among.theta[4:])
    assert np.array_equal(alone.log_likelihood, among.log_likelihood[4:])


def nowhere(theta, data):
    return -math.inf


def batched_nowhere(theta, data):
    return np.full(len(theta), -math.inf)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("move", ["metropolis", "slice", "block"])
@pytest.mark.parametrize("form", ["compiled", "batched", "python"])
def test_a_replica_without_likelihood_anywhere_stays_and_nothing_hangs(form, move):
    function = batched_nowhere if form == "batched" else nowhere
    explorer = generic_explorer(form, (move,), function=function)
    before = explorer.theta.copy()
    explore(explorer, 2, levels=np.arange(8) % 2)
    assert np.array_equal(explorer.theta[1::2], before[1::2])
    assert not np.array_equal(explorer.theta[::2], before[::2])


def half_line(theta, data):
    return 0.0 if theta[0] > 1.0 else -math.inf


@pytest.mark.parametrize("move", ["metropolis", "slice"])
@pytest.mark.parametrize("form", ["compiled", "python"])
def test_a_replica_that_starts_without_likelihood_finds_it_and_keeps_it(form, move):
    explorer = generic_explorer(form, (move,), function=half_line)
    explore(explorer, 300, levels=np.full(8, 4))
    assert np.all(explorer.log_likelihood == 0.0) and np.all(explorer.theta[:, 0] > 1.0)


# ---- helpers -----------------------------------------------------------------------------------------------


def spectrum_explorer(make_spectrum, case):
    shape, background, noise = case
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0.0, 3.0, POINTS))
    y = rng.poisson(6.0, POINTS).astype(float)
    sigma = rng.uniform(0.5, 2.0, POINTS)
    spectrum = make_spectrum(shape, 2, background, noise, x, y, sigma=sigma, priors=LOCAL, ordered=True)
    model = Model("test", spectrum.priors, None, form="components", problem=spectrum.problem)
    model = Model(
        "test", spectrum.priors, None, form="components", problem=spectrum.problem, data=(x, y, sigma)
    )
    stream = new_streams(np.array([[7, r] for r in range(REPLICAS)], dtype=np.uint64))
    theta = np.array([[law.sample(rng) for law in spectrum.priors.values()] for _ in range(REPLICAS)])
    state = components.new_state(spectrum.problem, theta, stream)
    for r in range(REPLICAS):
        components.draw_from_prior(spectrum.problem, state, r)
    return make_explorer(model, 3, tuple(COMPONENT_MOVES), state.theta, state.stream)


def generic_explorer(form, moves, rows=slice(0, 8), function=None):
    x = np.linspace(-1.0, 2.0, 103)
    data = np.array([0.3 + 0.8 * x + np.sin(40.0 * x), x])
    function = function or (batched_sum_of_squares if form == "batched" else sum_of_squares)
    model = Model(
        "line",
        {"a": laws.normal(0.0, 1.0), "b": laws.gamma(2.0, 1.0)},
        function,
        form=form,
        data=data,
        block=4,
    )
    streams = new_streams(np.array([[9, r] for r in range(8)], dtype=np.uint64))
    theta = np.random.default_rng(1).gamma(2.0, 0.4, size=(8, 2))
    return make_explorer(model, 2, moves, theta[rows], streams[rows])


def moves_of(explorer):
    from hpc_ds.infer.explorers import known_moves

    names = {code: name for name, code in known_moves(explorer.model).items()}
    return tuple(names[code] for code in explorer.schedule)


def tuning_of(explorer):
    parameters = explorer.theta.shape[1]
    factor = np.tile(0.2 * np.eye(parameters), (REPLICAS, 1, 1))
    return Tuning(
        np.linspace(0.0, 1.0, REPLICAS),
        np.full((REPLICAS, columns_of(explorer.model)), 0.3),
        np.ones(parameters),
        factor,
    )


def explore(explorer, scans, levels=None):
    replicas = len(explorer.theta)
    if levels is None:
        levels = np.arange(replicas) % REPLICAS
    counts = new_counts(REPLICAS, columns_of(explorer.model))
    for _ in range(scans):
        explorer.explore(tuning_of(explorer), counts, levels)


def plain_log_likelihood(model, case, theta):
    """The log-likelihood by hpc_ds.physics and scipy.stats, without anything of the engine."""
    shape, background, noise = case
    x, y, sigma = model.data
    value = dict(zip(model.names, theta))
    fields = [name.partition("[")[0] for name in model.names if name.endswith("[1]")]
    peaks = sum(getattr(spectra, shape)(x, *(value[f"{field}[{k}]"] for field in fields)) for k in (1, 2))
    numbers = [value[name] for name in model.names if name.startswith("background_")]
    if background == "linear":
        numbers.append(model.problem.centre)
    if background == "shirley":
        mean = peaks + spectra.shirley(x, peaks, *numbers)
    elif background == "none":
        mean = peaks
    else:
        mean = peaks + getattr(spectra, background)(x, *numbers)
    if noise == "poisson":
        return stats.poisson.logpmf(y, mean).sum()
    return stats.norm.logpdf(y, mean, sigma if noise == "known" else value["noise"]).sum()
