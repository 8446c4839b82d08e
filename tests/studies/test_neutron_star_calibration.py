"""Posteriors by weights are those by quadrature, and their calibration tells right ones from wrong ones."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from hpc_ds.infer.models.neutron_star import (
    GaussianStar,
    eos_models,
    log_likelihoods,
    log_likelihoods_of_curves,
)
from hpc_ds.physics import neutron_star as ns
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.studies.neutron_star.calibration import proposals
from hpc_ds.studies.neutron_star.calibration.exchange import Sampled, agreement
from hpc_ds.studies.neutron_star.calibration.networks import network_coverage
from hpc_ds.studies.neutron_star.calibration.ranks import (
    chi_squared,
    coverage,
    kolmogorov_smirnov,
    uniformity,
)
from hpc_ds.studies.neutron_star.calibration.run import calibrate, read_answers, summary
from hpc_ds.studies.neutron_star.calibration.settings import Settings, scale_settings
from hpc_ds.studies.neutron_star.calibration.truths import (
    Answers,
    Truths,
    answer,
    mock_truths,
    read_candidates,
)
from hpc_ds.studies.neutron_star.calibration.weights import (
    MASSES,
    Candidates,
    Posterior,
    effective_size,
    quantity_names,
    quantity_values,
    radius_at,
    weigh,
)
from hpc_ds.studies.neutron_star.mock import Ensemble, MockStars, read_ensemble

STARS = [
    GaussianStar("slow", 1.40, 0.10, 12.0, 0.50),
    GaussianStar("heavy", 1.95, 0.08, 12.2, 0.60, correlation=0.6),
    GaussianStar("light", 1.15, 0.10, 11.9, 0.50, correlation=-0.4),
]


def prior(count, segments=5, seed=0):
    """Draws of the prior, those that are accepted."""
    speeds = np.random.default_rng(seed).uniform(0.02, 0.98, (count, segments))
    return proposals.computed(speeds, 1.97)


def candidates_of(count, segments=5, seed=0):
    return Candidates.of(prior(count, segments, seed), float(count))


@pytest.fixture(scope="module")
def candidates():
    return candidates_of(4000, seed=1)


@pytest.fixture(scope="module")
def honest():
    """100 truths of the prior and what is observed of them."""
    settings = Settings(seed=3, truths=100, effective=100.0, round_draws=400, exchange=0)
    return mock_truths(prior(140, seed=2), settings), settings


# ---- weights ------------------------------------------------------------------------------------------------------


def test_weights_are_the_likelihoods_of_the_curves():
    speeds = np.random.default_rng(5).uniform(0.02, 0.98, (400, 5))
    curves = ns.mass_radius_curves(ns.sound_speed_segments(speeds))
    expected = log_likelihoods_of_curves(curves, STARS, 1.97)
    kept = np.isfinite(expected)
    found = weigh(Candidates.of(proposals.computed(speeds, 1.97)), STARS)
    near = expected[kept] > expected.max() - 15.0
    off = np.abs(found - expected[kept])[near]
    assert near.sum() > 50
    assert np.median(off) < 1e-3 and np.quantile(off, 0.95) < 0.02


def test_radius_is_that_of_the_stars_up_to_the_maximum_mass():
    speeds = np.random.default_rng(6).uniform(0.1, 0.9, (50, 5))
    curves = ns.mass_radius_curves(ns.sound_speed_segments(speeds))
    ensemble = proposals.computed(speeds, 0.0)
    share = np.array([0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1.0])
    mass = share * curves.maximum_mass[:, np.newaxis]
    off = np.abs(radius_at(ensemble, mass) - ns.radius_at(curves, mass))
    assert np.median(off) < 2e-4 and np.quantile(off, 0.95) < 0.02


def by_quadrature(stars, points=1500):
    """Return the posterior of one segment on a dense grid of its speed, with the evidence."""
    place = (np.arange(points) + 0.5) / points
    speeds = (0.02 + 0.96 * place)[:, np.newaxis]
    (model,) = eos_models(stars, [1])
    log = log_likelihoods(model, speeds)
    kept = np.isfinite(log)
    values = quantity_values(proposals.computed(speeds[kept], 0.0))
    return Posterior(values, log[kept] - math.log(points))


ONE_SEGMENT = [GaussianStar(f"star {k}", m, 0.1, 11.5 - 0.3 * k, 0.5) for k, m in enumerate((1.2, 1.5, 1.9))]


@pytest.mark.parametrize("effective", [1.0, 3000.0], ids=["prior alone", "more drawn"])
def test_posterior_of_one_segment_matches_quadrature(effective):
    exact = by_quadrature(ONE_SEGMENT)
    settings = Settings(seed=1, truths=16, exchange=0, effective=effective, round_draws=1500)
    found = proposals.explore(candidates_of(1500, 1), ONE_SEGMENT, settings, np.random.default_rng(0))
    assert (found.curves > 0) == (effective > 1.0)
    mean, sd, error = found.posterior.moments()
    expected, expected_sd, _ = exact.moments()
    assert (error < 0.1 * sd).all()
    assert (np.abs(mean - expected) < 4.0 * error).all()
    assert sd == pytest.approx(expected_sd, rel=0.15)
    worth = found.posterior.effective
    assert np.abs(found.posterior.ranks(expected) - exact.ranks(expected)).max() < 2.0 / math.sqrt(worth)
    assert (np.abs(found.posterior.quantiles() - exact.quantiles()) < 8.0 * error).all()
    assert abs(found.posterior.log_evidence - exact.log_evidence) < 4.0 * found.posterior.log_evidence_error


def test_more_draws_change_no_expectation(candidates, honest):
    """Few draws of the prior and many around the posterior say what many of the prior say."""
    stars = max(honest[0].stars[:10], key=lambda seen: effective_size(weigh(candidates, seen)))
    whole = Posterior(candidates.values, weigh(candidates, stars) - math.log(candidates.drawn))
    few = replace(candidates[np.arange(80)], drawn=80 * candidates.drawn / len(candidates))
    settings = Settings(seed=1, truths=16, exchange=0, effective=1500.0, round_draws=1000)
    found = proposals.explore(few, stars, settings, np.random.default_rng(0))
    assert found.effective_before < 30 < 200 < whole.effective and found.posterior.effective > 1500
    mean, sd, error = found.posterior.moments()
    expected, expected_sd, expected_error = whole.moments()
    assert (np.abs(mean - expected) < 4.0 * np.hypot(error, expected_error)).all()
    assert sd == pytest.approx(expected_sd, rel=0.25)
    allowed = 4.0 * math.hypot(found.posterior.log_evidence_error, whole.log_evidence_error)
    assert abs(found.posterior.log_evidence - whole.log_evidence) < allowed


def test_density_of_a_proposal_is_that_of_its_draws():
    rng = np.random.default_rng(2)
    proposal = proposals.Proposal.around(
        rng.normal(0.5, 0.1, (500, 2)), rng.normal(0.0, 0.5, 500), 40_000, rng
    )
    at = np.stack(np.meshgrid(*[np.linspace(-0.5, 1.5, 81)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    density = proposal.density(at)
    assert density.sum() * 0.025**2 == pytest.approx(40_000, rel=1e-6)
    drawn = proposal.draw(rng)
    mean = (at * density[:, np.newaxis]).sum(axis=0) / density.sum()
    second = (at.T * density) @ at / density.sum() - np.outer(mean, mean)
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=4e-3)
    assert np.cov(drawn.T) == pytest.approx(second, abs=3e-4)


def test_weights_of_few_draws_are_evened_out():
    log_weight = -0.5 * np.linspace(0.0, 30.0, 2000) ** 2
    assert effective_size(log_weight) > 40.0 and effective_size(1000.0 * log_weight) < 10.0
    assert effective_size(proposals._evened(1000.0 * log_weight)) == pytest.approx(40.0, rel=1e-3)
    assert np.array_equal(proposals._evened(log_weight), log_weight)


def test_quantiles_and_ranks_of_known_weights():
    values = np.linspace(0.0, 1.0, 20_001)[:, np.newaxis]
    posterior = Posterior(values, np.log(2.0 * values[:, 0] + 1e-300))  # density 2 x
    assert posterior.ranks(np.array([0.5])) == pytest.approx([0.25], abs=1e-4)
    assert posterior.quantiles([0.25, 0.81])[:, 0] == pytest.approx([0.5, 0.9], abs=1e-4)
    mean, sd, _ = posterior.moments()
    assert (mean[0], sd[0]) == pytest.approx((2.0 / 3.0, 18.0**-0.5), abs=1e-4)


# ---- calibration --------------------------------------------------------------------------------------------------


def first_of(truths, count):
    parts = (getattr(truths.ensemble, field.name)[:count] for field in fields(Ensemble))
    return Truths(Ensemble(*parts), truths.stars[:count])


def answers_of(truths, candidates, settings):
    return answer(truths, range(len(truths)), candidates, settings)


def test_exact_posteriors_pass_and_cover_as_they_say(honest, candidates):
    truths, settings = honest
    answers = answers_of(truths, candidates, settings)
    found = summary(answers, None, len(candidates))
    assert found["uniform"] and found["least_chance"] > 1e-3
    for one in found["quantities"]:
        for share, level, error in zip(
            one["coverage"], found["levels"], found["coverage_error"], strict=True
        ):
            assert abs(share - level) < 3.5 * error, one["name"]
    assert found["effective"]["after"]["least"] >= 100.0 and not found["effective"]["too_few"]
    by_name = {one["name"]: one for one in found["quantities"]}
    assert by_name["radius[1.4]"]["rms"] < 0.5 * by_name["radius[1.4]"]["prior_sd"]
    scaled = (answers.mean - answers.truth) / answers.sd
    assert 0.8 < np.sqrt(np.mean(scaled**2)) < 1.2


def test_posteriors_of_too_small_errors_fail(honest, candidates):
    truths, settings = honest
    sure = [
        [
            replace(star, mass_error=star.mass_error / 2.5, radius_error=star.radius_error / 2.5)
            for star in stars
        ]
        for stars in truths.stars
    ]
    answers = answers_of(Truths(truths.ensemble, sure), candidates, replace(settings, effective=20.0))
    found = summary(answers, None, len(candidates))
    assert not found["uniform"]
    radius = next(one for one in found["quantities"] if one["name"] == "radius[1.4]")
    assert radius["coverage"][0] < 0.55 and radius["chi_squared"] < 1e-3


def test_uniformity_is_told_from_its_opposites():
    rng = np.random.default_rng(0)
    uniform = rng.random((200, 3))
    assert uniformity(uniform, list("abc"))["uniform"]
    narrow = 0.5 + 0.5 * (uniform - 0.5)  # as of posteriors that are too wide
    assert chi_squared(narrow[:, 0]) < 1e-9 and kolmogorov_smirnov(narrow[:, 0]) < 1e-4
    assert not uniformity(np.column_stack([uniform, uniform[:, 0] ** 1.6]), list("abcd"))["uniform"]
    chances = [kolmogorov_smirnov(rng.random(200)) for _ in range(300)]
    assert np.mean(np.array(chances) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_coverage_counts_the_middle():
    ranks = np.array([[0.01], [0.1], [0.2], [0.5], [0.83], [0.9], [0.976], [0.97]])
    assert coverage(ranks, 0.68) == pytest.approx([3 / 8])
    assert coverage(ranks, 0.95) == pytest.approx([6 / 8])


def test_an_answer_belongs_to_its_truth_alone(honest, candidates):
    truths, settings = honest
    together, alone = (answer(truths, numbers, candidates, settings) for numbers in ([4, 9, 2], [9]))
    for name, array in alone.arrays().items():
        assert np.array_equal(together.arrays()[name][1:2], array), name


class Stopping(Deadline):
    """A deadline that comes after so many questions."""

    def __init__(self, questions):
        super().__init__(environ={})
        self.left = questions

    def agreed(self, world):
        self.left -= 1
        return self.left < 0


def test_a_stopped_calibration_goes_on_to_the_same_bits(honest, candidates, tmp_path):
    truths, settings = honest[0], replace(honest[1], truths=18)
    truths = Truths(
        Ensemble(*(getattr(truths.ensemble, field.name)[:18] for field in fields(Ensemble))),
        truths.stars[:18],
    )
    told = []

    def at(folder, deadline):
        return calibrate(tmp_path / folder, truths, candidates, settings, World(), deadline, told.append)

    assert at("whole", Deadline(environ={}))
    assert not at("parts", Stopping(2))
    assert len(list((tmp_path / "parts" / "blocks").iterdir())) == 2
    assert at("parts", Deadline(environ={}))
    for name in ("calibration.h5", "summary.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["truths"] == 18
    assert told[-1].startswith("calibration: ")
    read, made = read_answers(tmp_path / "whole"), answer(truths, range(18), candidates, settings)
    assert all(np.array_equal(read.arrays()[name], array) for name, array in made.arrays().items())
    with pytest.raises(InputError, match="another configuration: effective"):
        calibrate(
            tmp_path / "whole",
            truths,
            candidates,
            replace(settings, effective=9.0),
            World(),
            Deadline(environ={}),
            told.append,
        )


def test_replica_exchange_agrees(honest, candidates, tmp_path):
    settings = replace(honest[1], truths=16, exchange=1, draws=400, tuning=120, effective=400.0)
    truths = honest[0]
    truths = Truths(
        Ensemble(*(getattr(truths.ensemble, field.name)[:16] for field in fields(Ensemble))),
        truths.stars[:16],
    )
    assert calibrate(tmp_path / "c", truths, candidates, settings, World(), Deadline(environ={}), print)
    found = json.loads((tmp_path / "c" / "summary.json").read_text())["exchange"]
    assert found["truths"] == 1
    assert found["error_in_sd"]["largest"] < 0.3
    assert found["means_in_errors"]["largest"] < 4.5 and found["log_evidence_in_errors"]["largest"] < 4.0
    assert found["log_evidence"]["largest"] < 0.6


def test_agreement_is_in_errors_and_in_standard_deviations():
    ones = np.ones((2, 13))
    answers = made_up(5, mean=2.0, sd=4.0, error=3.0)
    answers = replace(answers, log_evidence=np.full(5, -10.0), log_evidence_error=np.full(5, 0.6))
    sampled = Sampled(-8.0 * ones, 5.0 * ones, 4.0 * ones, np.full(2, -12.0), np.full(2, 0.8))
    found = agreement(answers, sampled)
    assert found["truths"] == 2
    assert found["means_in_errors"] == pytest.approx({"rms": 2.0, "largest": 2.0})
    assert found["means_in_sd"]["rms"] == pytest.approx(2.5)
    assert found["sd_ratio"]["largest"] == pytest.approx(0.25)
    assert found["log_evidence_in_errors"]["rms"] == pytest.approx(2.0)


# ---- where truths and candidates come from ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    from hpc_ds.simulate.run import generate
    from hpc_ds.simulate.settings import Settings as SimulateSettings

    folder = tmp_path_factory.mktemp("ensemble") / "set"
    settings = SimulateSettings(samples=300, design="random", seed=1)
    generate(
        "neutron-star",
        folder=folder,
        settings=settings,
        world=World(),
        deadline=Deadline(environ={}),
        tell=lambda line: None,
    )
    return folder


def test_the_truths_are_not_among_the_candidates(stored):
    parts = [read_ensemble(str(stored), split) for split in ("train", "valid", "test")]
    truths = mock_truths(parts[2], Settings(seed=1, truths=16, exchange=0))
    candidates = read_candidates(str(stored), truths)
    assert len(candidates) == sum(map(len, parts)) - 16
    there = {tuple(row) for row in candidates.speeds_squared}
    assert not there & {tuple(row) for row in truths.ensemble.speeds_squared}
    assert candidates.drawn / len(candidates) == pytest.approx(300 / sum(map(len, parts)))


def test_mock_stars_are_those_that_networks_see(honest):
    """Of the whole ensemble, not only of the truths: sample i is that of equation of state i."""
    seen = MockStars(prior(140, seed=2), seed=3).observe(np.array([7]))
    stars = honest[0].stars[7]
    assert [star.mass for star in stars] == seen.mass[0].tolist()
    assert [star.radius for star in stars] == seen.radius[0].tolist()
    assert {(star.mass_error, star.radius_error) for star in stars} == {(0.1, 0.5)}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Settings(seed=1, truths=3), "truths 3: at least 16"),
        (lambda: Settings(seed=1, truths=20, exchange=30), "exchange 30"),
        (lambda: mock_truths(prior(30), Settings(seed=1)), r"truths 200: the test split has \d+ accepted"),
        (
            lambda: Candidates.of(proposals.computed(np.full((1, 5), 0.15), 0.0)),
            "maximum mass of 1.* least_maximum_mass of 1.8",
        ),
    ],
)
def test_bad_input_is_one_line(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_both_scales_are_settings():
    assert scale_settings("full", 4).truths == 200 and scale_settings("full", 4).exchange == 20
    assert scale_settings("quick", 4).truths == 40 and scale_settings("quick", 4).seed == 4


# ---- networks -----------------------------------------------------------------------------------------------------


def made_up(count, mean=0.0, sd=1.0, error=0.1):
    """Answers of made-up numbers; the truths are equations of state."""
    speeds = np.random.default_rng(0).uniform(0.2, 0.8, (count, 5))
    truth = quantity_values(proposals.computed(speeds, 0.0))
    full = np.full_like(truth, 1.0)
    rest = [np.ones(count)] * 5
    return Answers(truth, mean * full, sd * full, error * full, 0.5 * full, np.ones((count, 5, 13)), *rest)


@pytest.mark.parametrize(("offset", "held"), [(0.9, [1.0, 1.0]), (1.9, [0.0, 1.0]), (3.0, [0.0, 0.0])])
def test_band_of_networks_covers_as_wide_as_it_is(offset, held):
    answers = made_up(20)
    spread = 0.02
    middle = answers.truth[:, :5] + offset * spread
    predicted = middle + spread / math.sqrt(2.0) * np.array([-1.0, 1.0])[:, np.newaxis, np.newaxis]
    answers = replace(answers, mean=answers.truth, sd=np.full_like(answers.truth, 2.0 * offset * spread))
    found = network_coverage(predicted, answers)
    for one in found["quantities"][:5]:
        assert one["coverage"] == held
        assert one["rms"] == pytest.approx(offset * spread)
        assert one["spread"] == pytest.approx(spread)
        assert one["agreement"] == pytest.approx(0.5) and one["within"] == 1.0
        assert one["rms_member"] == pytest.approx(spread * math.hypot(offset, math.sqrt(0.5)))


def test_networks_that_know_the_speeds_know_the_radii():
    answers = made_up(20)
    found = network_coverage(np.stack([answers.truth[:, :5]] * 3), answers)
    assert found["masses"] == list(MASSES) and max(found["rms"]) < 5e-3
    assert [one["name"] for one in found["quantities"]] == quantity_names(5)[:-1]
    assert found["error"][0] == pytest.approx(math.sqrt(0.6827 * 0.3173 / 20), rel=1e-6)


def test_radii_that_too_few_networks_have_are_left_out():
    answers = made_up(4)
    predicted = np.stack([answers.truth[:, :5]] * 3)
    predicted[:2, 0] = 0.02  # two of three networks say soft matter of the first truth
    found = {one["name"]: one for one in network_coverage(predicted, answers)["quantities"]}
    assert found["radius[1.8]"]["left_out"] == 1 and found["radius[1.8]"]["truths"] == 3
    assert found["c2_1"]["left_out"] == 0


def test_predictions_of_another_shape_are_refused():
    for predicted in (np.zeros((1, 4, 5)), np.zeros((2, 4, 3)), np.zeros((2, 9, 5)), np.zeros((4, 5))):
        with pytest.raises(ValueError, match="prediction"):
            network_coverage(predicted, made_up(4))
