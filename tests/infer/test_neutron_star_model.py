"""Equations of state from observed stars: likelihoods are their integrals, and the sampler agrees with weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import gaussian_kde, multivariate_normal, norm

from hpc_ds.infer.models.neutron_star import (
    GaussianStar,
    LikelihoodGrid,
    MeasuredMass,
    eos_models,
    information_gain,
    log_likelihoods,
    log_likelihoods_of_curves,
    prior_share,
    star_grid,
    star_samples,
)
from hpc_ds.infer.results import write_posterior
from hpc_ds.infer.run import sample
from hpc_ds.physics import neutron_star as ns
from hpc_ds.physics.neutron_star.likelihoods import Grid
from hpc_ds.physics.neutron_star.observed import Observation
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.netcdf import read_group

STARS = [
    GaussianStar("slow", 1.40, 0.10, 12.0, 0.50),
    GaussianStar("heavy", 2.05, 0.07, 12.4, 0.80, correlation=0.6),
    GaussianStar("light", 1.15, 0.20, 11.2, 0.90, correlation=-0.4),
]


def everything() -> LikelihoodGrid:
    """A star that is alike at every mass and radius."""
    return LikelihoodGrid("everything", np.array([0.0, 5.0]), np.array([0.0, 50.0]), np.ones((2, 2)))


def speeds(count: int, segments: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.02, 0.98, (count, segments))


def brute_force(density, theta: np.ndarray, points: int = 40_000) -> np.ndarray:
    """1 / (M_max - 1) integral of density(M, R(M)) dM by trapezoids on curves of many stars, M sparse nowhere."""
    curves = ns.mass_radius_curves(ns.sound_speed_segments(theta), points=256)
    found = []
    for i, heaviest in enumerate(curves.maximum_mass):
        one = ns.Curves(
            *(
                getattr(curves, key)[i : i + 1]
                for key in ("mass", "radius", "tidal", "enthalpy", "pressure", "energy_density", "ok")
            )
        )
        # Quadratic in the distance from the maximum mass, where R(M) turns with a vertical tangent.
        mass = heaviest - (heaviest - 1.0) * np.linspace(1.0, 0.0, points) ** 2
        mass[0] = 1.0
        radius = ns.radius_at(one, mass)[0]
        found.append(np.trapezoid(density(mass, radius), mass) / (heaviest - 1.0))
    return np.array(found)


def normal_density(star: GaussianStar):
    mixed = star.correlation * star.mass_error * star.radius_error
    law = multivariate_normal(
        [star.mass, star.radius], [[star.mass_error**2, mixed], [mixed, star.radius_error**2]]
    )
    return lambda mass, radius: law.pdf(np.column_stack([mass, radius]))


def of_one(observation, theta: np.ndarray) -> np.ndarray:
    """Likelihoods of one observation without a cut."""
    (model,) = eos_models([observation], [theta.shape[1]], least_maximum_mass=0.0)
    return np.exp(log_likelihoods(model, theta))


# ---- the likelihood ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("star", STARS, ids=lambda star: star.name)
@pytest.mark.parametrize("segments", [3, 5])
def test_gaussian_star_matches_brute_force(star, segments):
    theta = speeds(12, segments)
    expected = brute_force(normal_density(star), theta)
    seen = expected > 1e-8 * expected.max()
    assert seen.sum() >= 6
    assert of_one(star, theta)[seen] == pytest.approx(expected[seen], rel=1e-4)


def test_precise_star_matches_brute_force():
    star = GaussianStar("precise", 1.418, 0.037, 11.4, 0.1)
    theta = speeds(60)
    expected = brute_force(normal_density(star), theta)
    seen = expected > 1e-3 * expected.max()
    assert of_one(star, theta)[seen] == pytest.approx(
        expected[seen], rel=2e-3
    )  # 1e-5 of R is 1e-3 of its error


def test_measured_mass_is_a_star_of_unknown_radius():
    theta = speeds(20)
    heaviest = ns.mass_radius_curves(ns.sound_speed_segments(theta)).maximum_mass
    for mass, error in ((2.08, 0.07), (1.44, 0.0002)):
        law = norm(mass, error)
        expected = (law.cdf(heaviest) - law.cdf(1.0)) / (heaviest - 1.0)
        seen = expected > 1e-6
        assert of_one(MeasuredMass("pulsar", mass, error), theta)[seen] == pytest.approx(
            expected[seen], rel=1e-4
        )


@pytest.mark.parametrize(("lowest", "rtol"), [(0.9, 2e-4), (1.2, 5e-4)], ids=["smooth", "ends in a step"])
def test_grid_matches_brute_force(lowest, rtol):
    mass, radius = np.linspace(lowest, 2.8, 41), np.linspace(8.0, 16.0, 61)
    values = np.exp(
        -(((mass[:, np.newaxis] - 1.6) / 0.3) ** 2) - ((radius - 12.5 + mass[:, np.newaxis]) / 1.2) ** 2
    )
    grid = RegularGridInterpolator((mass, radius), values, bounds_error=False, fill_value=0.0)
    theta = speeds(12)
    expected = brute_force(lambda m, r: grid((m, r)), theta)
    seen = expected > 1e-6
    assert seen.sum() >= 6
    assert of_one(LikelihoodGrid("grid", mass, radius, values), theta)[seen] == pytest.approx(
        expected[seen], rel=rtol
    )


@pytest.mark.parametrize("radius", [(12.4, (0.9, 1.3)), (None, None)], ids=["mass and radius", "mass alone"])
def test_published_star_matches_brute_force(radius):
    star = Observation("J", "pulse profile", 1.6, (0.2, 0.1), *radius)
    theta = speeds(12)
    expected = brute_force(lambda m, r: np.exp(star.log_likelihood(m, r)), theta)
    assert of_one(star, theta) == pytest.approx(expected, rel=2e-4)


def test_grid_that_is_uneven_is_that_of_even_steps():
    mass, radius = np.array([0.9, 1.4, 1.5, 2.0]), np.array([9.0, 12.0, 15.0])
    grid = Grid(radius, mass, np.random.default_rng(3).random((3, 4)))
    even = star_grid("even", grid)
    assert even.likelihood.shape == (12, 3)
    at = np.exp(grid.log_likelihood(even.mass[:, np.newaxis], even.radius))
    assert even.likelihood == pytest.approx(at)


def test_samples_are_their_kernel_density():
    rng = np.random.default_rng(4)
    mass = rng.normal(1.4, 0.1, 3000)
    radius = 12.0 + 3.0 * (mass - 1.4) + rng.normal(0.0, 0.4, mass.size)
    star = star_samples("samples", mass, radius)
    kde = gaussian_kde(np.stack([mass, radius]))
    cell = (star.mass[1] - star.mass[0]) * (star.radius[1] - star.radius[0])
    assert star.likelihood.sum() * cell == pytest.approx(1.0, abs=1e-3)
    some = [(i, k) for i in range(40, 120, 10) for k in range(40, 120, 10)]
    found = np.array([star.likelihood[at] for at in some])
    expected = kde([[star.mass[i] for i, _ in some], [star.radius[k] for _, k in some]])
    assert found == pytest.approx(expected, abs=5e-3 * expected.max())


def test_weights_of_samples_count():
    rng = np.random.default_rng(5)
    mass, radius = rng.normal(1.4, 0.1, 4000), rng.normal(12.0, 0.5, 4000)
    doubled = star_samples("a", np.append(mass, mass[:2000]), np.append(radius, radius[:2000]))
    weighted = star_samples("b", mass, radius, np.where(np.arange(4000) < 2000, 2.0, 1.0))
    at = np.average(weighted.mass, weights=weighted.likelihood.sum(axis=1))
    assert at == pytest.approx(np.average(doubled.mass, weights=doubled.likelihood.sum(axis=1)), abs=1e-3)


def test_likelihood_of_stored_curves_is_that_of_the_speeds():
    theta = speeds(50)
    curves = ns.mass_radius_curves(ns.sound_speed_segments(theta))
    (model,) = eos_models(STARS, [5])
    assert np.array_equal(log_likelihoods(model, theta), log_likelihoods_of_curves(curves, STARS, 1.97))


def test_likelihood_far_from_a_star_is_small_not_zero():
    (model,) = eos_models([GaussianStar("elsewhere", 1.4, 0.01, 40.0, 0.1)], [5])
    found = log_likelihoods(model, speeds(50))
    heavy = ns.mass_radius_curves(ns.sound_speed_segments(speeds(50))).maximum_mass > 1.97
    assert np.array_equal(np.isfinite(found), heavy)
    assert (found[heavy] < -1000.0).all()


def test_cuts_leave_no_likelihood():
    theta = speeds(300)
    eos = ns.sound_speed_segments(theta)
    curves = ns.mass_radius_curves(eos)
    causal = ns.largest_sound_speed_squared(eos, curves.enthalpy[:, -1]) <= 1.0
    for least, wanted in ((1.97, curves.maximum_mass >= 1.97), (2.5, curves.maximum_mass >= 2.5)):
        (model,) = eos_models([everything()], [5], least_maximum_mass=least)
        assert np.array_equal(np.isfinite(log_likelihoods(model, theta)), wanted)
    (model,) = eos_models([everything()], [5], least_maximum_mass=0.0, causal=True)
    assert np.array_equal(np.isfinite(log_likelihoods(model, theta)), causal)


def test_prior_share_is_that_of_the_cut():
    (model,) = eos_models(STARS, [5])
    share, error = prior_share(model, 1000)
    heaviest = ns.mass_radius_curves(ns.sound_speed_segments(speeds(1000, seed=9))).maximum_mass
    assert abs(share - (heaviest >= 1.97).mean()) < 4.0 * math.sqrt(2.0) * error


# ---- the posterior ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled():
    models = eos_models(STARS, [3, 5])
    return sample(models, draws=700, tuning=200, sweeps=1, replicas=6, seed=2)


@pytest.fixture(scope="module")
def weighted():
    """By segments: draws of the prior, curves, and log-likelihoods."""
    found = {}
    for segments in (3, 5):
        theta = speeds(4000, segments, seed=11)
        curves = ns.mass_radius_curves(ns.sound_speed_segments(theta))
        found[segments] = theta, curves, log_likelihoods_of_curves(curves, STARS, 1.97)
    return found


def test_sampled_radius_agrees_with_weights(sampled, weighted):
    result = sampled.models[1]
    draws = result.presentation.derived["radius[1.4]"]
    _, curves, log = weighted[5]
    kept = np.isfinite(log)
    weight = np.exp(log[kept] - log[kept].max())
    radius = ns.radius_at(curves, [1.4])[kept, 0]
    mean = np.average(radius, weights=weight)
    sd = math.sqrt(np.average((radius - mean) ** 2, weights=weight))
    worth = weight.sum() ** 2 / np.sum(weight**2)
    ess = min(one.ess for one in result.mixings.values())
    assert worth > 50
    assert ess > 50
    assert abs(draws.mean() - mean) < 4.0 * sd * math.sqrt(1.0 / worth + 1.0 / ess)
    assert sd < 0.8 * ns.radius_at(curves, [1.4])[kept, 0].std()  # it has learnt something


@pytest.mark.parametrize(("place", "segments"), [(0, 3), (1, 5)])
def test_log_evidence_agrees_with_weights(sampled, weighted, place, segments):
    likelihood = np.exp(weighted[segments][2])
    error = likelihood.std() / likelihood.mean() / math.sqrt(likelihood.size)
    result = sampled.models[place]
    allowed = 4.0 * math.hypot(error, result.log_evidence_error)
    assert allowed < 0.6
    assert abs(result.log_evidence - math.log(likelihood.mean())) < allowed


def test_prior_comes_back_without_information():
    (model,) = eos_models([everything()], [3], least_maximum_mass=0.0)
    result = sample(model, draws=600, tuning=64, sweeps=1, replicas=2, seed=1).models[0]
    reached = prior_share(model, 1000)[0]  # all but the softest, which end below 1 solar mass
    assert result.log_evidence == pytest.approx(math.log(reached), abs=0.02)
    for draws in result.presentation.parameters.values():
        assert abs(draws.mean() - 0.5) < 0.06
        assert abs(information_gain(draws, 0.02, 0.98, effective=300)) < 0.1


def test_presentation_has_stars_pressures_bands_and_information(sampled, tmp_path):
    result = sampled.models[1]
    shown = result.presentation
    assert list(shown.parameters) == [f"sound_speed_squared[{i}]" for i in range(1, 6)]
    theta = np.array([values[0, :5] for values in shown.parameters.values()]).T
    eos = ns.sound_speed_segments(theta)
    assert shown.derived["maximum_mass"][0, :5] == pytest.approx(ns.mass_radius_curves(eos).maximum_mass)
    assert shown.derived["pressure[3]"][0, :5] == pytest.approx(
        ns.pressure_at(eos, [3.0 * ns.units.NUCLEAR_DENSITY])[:, 0]
    )
    assert (shown.derived["maximum_mass"] >= 1.97).all()
    write_posterior(tmp_path / "posterior" / "five.h5", result)
    gain = read_group(tmp_path / "posterior" / "five.h5", "information")["gain"]
    assert gain.shape == (5,)
    assert gain[1:3].max() > gain[3:].max()  # the upper segments are hardly constrained


def test_information_gain_of_known_laws():
    rng = np.random.default_rng(0)
    assert information_gain(rng.uniform(size=20_000)) == pytest.approx(0.0, abs=0.005)
    assert information_gain(rng.uniform(0.0, 0.25, 20_000)) == pytest.approx(2.0, abs=0.005)
    triangle = rng.uniform(size=20_000)
    weighted = information_gain(triangle, weights=2.0 * triangle)  # integral of 2x log2(2x)
    assert weighted == pytest.approx(1.0 - 0.5 / math.log(2.0), abs=0.01)


# ---- bad input --------------------------------------------------------------------------------------------------

AXES = np.linspace(1.0, 2.0, 3), np.linspace(9.0, 14.0, 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianStar("X5", 1.4, None, 12.0, 0.5), "'X5': mass 1.4 with error None"),
        (lambda: GaussianStar("X5", 1.4, 0.1, 12.0, 0.0), "'X5': radius 12.0 with error 0.0"),
        (lambda: GaussianStar("X5", math.nan, 0.1, 12.0, 0.5), "'X5': mass nan"),
        (lambda: GaussianStar("X5", 1.4, 0.1, 12.0, 0.5, 1.0), "correlation 1.0"),
        (lambda: LikelihoodGrid("X7", *AXES, np.full((3, 4), math.nan)), r"likelihood \[0, 0\] is nan"),
        (lambda: LikelihoodGrid("X7", *AXES, np.zeros((3, 4))), "zero everywhere"),
        (lambda: LikelihoodGrid("X7", *AXES, np.ones((4, 3))), r"shape \(4, 3\)"),
        (lambda: LikelihoodGrid("X7", AXES[0] ** 2, AXES[1], np.ones((3, 4))), "even steps"),
        (lambda: star_samples("X9", [1.4] * 20, np.linspace(10, 12, 20)), "on a line"),
        (lambda: star_samples("X9", [1.4, 1.5], [12.0, 11.0]), r"n >= 10"),
        (lambda: eos_models([]), "no observation"),
        (lambda: eos_models([STARS[0], STARS[0]]), "'slow' is there twice"),
        (lambda: eos_models([GaussianStar("X", 5.0, 0.1, 12.0, 0.5)]), "mass 5 .* outside .* 1 to 3.7"),
        (lambda: eos_models([MeasuredMass("X", 0.5, 0.05)]), "mass 0.5 .* outside"),
        (
            lambda: eos_models([LikelihoodGrid("X", AXES[0] + 4.0, AXES[1], np.ones((3, 4)))]),
            "masses 5 to 6 lie outside",
        ),
        (lambda: eos_models(STARS, least_maximum_mass=4.5), "least_maximum_mass 4.5"),
        (lambda: eos_models(STARS, [5, 5]), "each once"),
        (lambda: eos_models(STARS, [0]), "segments 0"),
        (lambda: eos_models(STARS, delta=0.5), "delta 0.5"),
    ],
)
def test_bad_input_is_one_line(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
