"""The spectrum model: its options, its priors, its likelihood against plain NumPy, and what it shows of its draws."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from hpc_ds.infer import priors as laws
from hpc_ds.infer import sample
from hpc_ds.infer.kernels import components
from hpc_ds.infer.models.curves import present_spectrum
from hpc_ds.infer.models.matching import match_peaks
from hpc_ds.infer.models.noise import noise_grows, signal_level
from hpc_ds.infer.models.spectrum import (
    BACKGROUNDS,
    SHAPES,
    SpectrumOptions,
    parse_peaks,
    scaled_priors,
    spectrum_models,
    warnings_for,
)
from hpc_ds.physics import spectra
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.philox import new_streams
from hpc_ds.store.table import Table

PEAKS = (
    {"amplitude": 4.0, "position": 2.0, "width": 0.7, "mixing": 0.3},
    {"amplitude": 1.5, "position": 3.4, "width": 1.2, "mixing": 0.8},
)
BACKGROUND = {"level": 2.0, "slope": 0.1, "amplitude": 3.0, "decay": 2.5, "low": 1.0, "step": 0.9}


@pytest.fixture
def table() -> Table:
    """Return 70 points, not equally spaced, with counts as y and a sigma for each."""
    rng = np.random.default_rng(5)
    x = np.sort(rng.uniform(0.0, 6.0, 70))
    y = rng.poisson(20.0 * spectra.gaussian(x, 4.0, 2.0, 0.7) + 30.0).astype(float)
    return Table(x, y, np.sqrt(np.maximum(y, 1.0)), "E", "N", "made.csv", [])


# ---- options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "peaks"),
    [("3", (3,)), ("1:4", (1, 2, 3, 4)), ("1,2,5", (1, 2, 5)), ("2:3,1,2", (2, 3, 1)), (" 4 ", (4,))],
)
def test_peaks_are_a_number_a_range_with_both_ends_or_a_list(text, peaks):
    assert parse_peaks(text) == peaks


@pytest.mark.parametrize("text", ["", "0", "-1", "5:3", "0:2", "a", "1:", "1;2", "2.5"])
def test_other_peaks_are_refused_in_one_line_that_names_the_option(text):
    with pytest.raises(InputError, match=r"^--peaks") as refused:
        parse_peaks(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": "voigt"}, "--shape 'voigt'"),
        ({"background": "tougaard"}, "--background 'tougaard'"),
        ({"priors": "flat"}, "--priors 'flat'"),
        ({"priors": "nagata2012", "shape": "lorentzian"}, "nagata2012"),
        ({"noise": "some"}, "--noise 'some'"),
        ({"noise": 0.0}, "--noise 0"),
        ({"noise": float("inf")}, "--noise inf"),
        ({"noise": "poisson"}, "choose a --background"),
        ({"overrides": {"colour": laws.uniform(0, 1)}}, "--prior 'colour=uniform(0, 1)'"),
        ({"overrides": {"position[3]": laws.uniform(0, 1)}}, "peak from 1 to 2"),
        ({"overrides": {"noise[1]": laws.uniform(0, 1)}}, "no such parameter"),
        ({"overrides": {"width": laws.normal(1, 1)}}, "width must be greater than 0"),
        (
            {"overrides": {"mixing": laws.uniform(0, 2)}, "shape": "pseudo-voigt"},
            "mixing lies between 0 and 1",
        ),
    ],
)
def test_options_that_do_not_exist_or_do_not_fit_are_refused(table, options, says):
    given = {"peaks": (1, 2), "noise": "estimate", **options}
    with pytest.raises(InputError) as refused:
        spectrum_models(table, SpectrumOptions(**given))
    assert says in str(refused.value)


def test_noise_is_the_third_column_if_there_is_one_and_else_estimated(table):
    without = dataclasses.replace(table, sigma=None)
    assert "noise" not in spectrum_models(table, SpectrumOptions(peaks=(1,)))[0].parameters
    assert "noise" in spectrum_models(without, SpectrumOptions(peaks=(1,)))[0].parameters
    with pytest.raises(InputError, match="no third column"):
        spectrum_models(without, SpectrumOptions(peaks=(1,), noise="given"))


@pytest.mark.parametrize("bad", [-1.0, 2.5])
def test_counts_are_whole_and_not_negative(table, bad):
    table.y[7] = bad
    with pytest.raises(InputError, match=f"y = {bad:g} at x = {table.x[7]:g}"):
        spectrum_models(table, SpectrumOptions(peaks=(1,), background="constant", noise="poisson"))


def test_counting_noise_needs_a_signal_above_zero(table):
    shifted = dataclasses.replace(table, y=table.y - table.y.mean())
    with pytest.raises(InputError, match="greater than 0"):
        spectrum_models(shifted, SpectrumOptions(peaks=(1,), noise="counting"))


# ---- priors ------------------------------------------------------------------------------------------------


def test_default_priors_follow_the_units_of_the_data(table):
    """Another unit of x or y only rescales them."""
    other = Table(10.0 * table.x, 100.0 * table.y, None, "x", "y", "other", [])
    here, there = scaled_priors(table), scaled_priors(other)
    factors = {"amplitude": 100, "position": 10, "width": 10, "background_slope": 10, "noise": 100}
    for name, factor in factors.items():
        middle = here[name].sample(np.random.default_rng(1), 500)
        scaled = there[name].sample(np.random.default_rng(1), 500)
        np.testing.assert_allclose(scaled, factor * middle, rtol=1e-9)


def test_default_priors_hold_what_a_spectrum_can_show(table):
    priors = scaled_priors(table)
    assert priors["position"].support == (table.x[0], table.x[-1])
    low, high = priors["width"].support
    assert low == pytest.approx(2.0 * np.median(np.diff(table.x)))
    assert high == pytest.approx((table.x[-1] - table.x[0]) / 2.0)
    assert priors["noise"].support[1] == pytest.approx(np.ptp(table.y))


@pytest.mark.parametrize("y", [np.zeros(9), np.full(9, -3.0), np.arange(9.0)])
def test_default_priors_exist_for_any_data(y):
    flat = Table(np.arange(9.0), y, None, "x", "y", "flat", [])
    for background in BACKGROUNDS:
        (model,) = spectrum_models(flat, SpectrumOptions(peaks=(2,), background=background))
        assert all(
            np.isfinite(prior.sample(np.random.default_rng(0), 9)).all()
            for prior in model.parameters.values()
        )


def test_a_prior_can_be_replaced_for_all_peaks_or_for_one(table):
    mine, own = laws.normal(2.0, 0.1), laws.fixed(3.0)
    options = SpectrumOptions(peaks=(1, 3), overrides={"position": mine, "position[2]": own})
    one, three = spectrum_models(table, options)
    assert one.parameters["position[1]"] == mine
    assert [three.parameters[f"position[{k}]"] for k in (1, 2, 3)] == [mine, own, mine]


def test_published_priors_are_those_of_the_published_code(table):
    (model,) = spectrum_models(table, SpectrumOptions(peaks=(2,), priors="nagata2012", noise=0.1))
    assert list(model.parameters) == [
        f"{name}[{k}]" for k in (1, 2) for name in ("amplitude", "position", "precision")
    ]
    for k in (1, 2):
        assert model.parameters[f"amplitude[{k}]"] == laws.gamma(5.0, 5.0)
        assert model.parameters[f"precision[{k}]"] == laws.gamma(5.0, 0.04)
        assert model.parameters[f"position[{k}]"] == laws.normal(1.5, np.sqrt(0.2))


# ---- layout and likelihood ---------------------------------------------------------------------------------


def test_every_parameter_of_a_component_follows_its_coefficient(table):
    options = SpectrumOptions(peaks=(2,), shape="pseudo-voigt", background="linear", noise="estimate")
    (model,) = spectrum_models(table, options)
    problem = model.problem
    assert list(problem.first) == [0, 4, 8, 9]
    assert list(problem.kind) == [components.PSEUDO_VOIGT] * 2 + [components.CONSTANT, components.SLOPE]
    assert list(problem.owner) == [0] * 4 + [1] * 4 + [2, 3, -1]
    assert model.names[problem.noise] == "noise"
    assert problem.x.size % components.BLOCK == 0
    assert np.all(problem.weight[problem.points :] == 0.0)


@pytest.mark.parametrize("noise", ["given", "estimate", "counting", "poisson", 7.0])
@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_log_likelihood_is_that_of_plain_numpy(table, shape, background, noise):
    if noise == "poisson" and background == "none":
        pytest.skip("counts need a background")
    (model,) = spectrum_models(
        table, SpectrumOptions(peaks=(2,), shape=shape, background=background, noise=noise)
    )
    values = {f"background_{name}": value for name, value in BACKGROUND.items()} | {
        "noise": 6.0,
        "noise_factor": 1.3,
    }
    values |= {f"{name}[{k + 1}]": value for k, peak in enumerate(PEAKS) for name, value in peak.items()}
    theta = np.array([[values[name] for name in model.names]])
    state = components.new_state(model.problem, theta, new_streams([[1, 2]]))
    expected = _log_likelihood(table, _curve(table.x, shape, background), noise, values)
    assert state.log_likelihood[0] == pytest.approx(expected, rel=1e-10)


def _curve(x, shape, background):
    fields = ["amplitude", "position", "width"] + (["mixing"] if shape == "pseudo-voigt" else [])
    function = getattr(spectra, shape.replace("-", "_"))
    peaks = sum(function(x, *(peak[field] for field in fields)) for peak in PEAKS)
    b = BACKGROUND
    return (
        peaks
        + {
            "none": lambda: 0.0,
            "constant": lambda: spectra.constant(x, b["level"]),
            "linear": lambda: spectra.linear(x, b["level"], b["slope"], 0.5 * (x[0] + x[-1])),
            "exponential": lambda: spectra.exponential(x, b["amplitude"], b["decay"]),
            "shirley": lambda: spectra.shirley(x, peaks, b["low"], b["step"]),
        }[background]()
    )


def _log_likelihood(table, curve, noise, values):
    if noise == "poisson":
        return stats.poisson.logpmf(table.y, curve).sum()
    sigma = {
        "given": table.sigma,
        "estimate": values["noise"],
        "counting": values["noise_factor"] * np.sqrt(signal_level(table)),
    }.get(noise, noise)
    return stats.norm.logpdf(table.y, curve, sigma).sum()


# ---- what is shown -----------------------------------------------------------------------------------------


def test_shown_peaks_are_in_order_whatever_number_they_had(table):
    rng = np.random.default_rng(0)
    truth = {"amplitude": (3.0, 1.0, 2.0), "position": (1.0, 2.5, 4.0), "width": (0.5, 0.6, 1.1)}
    number = rng.permuted(np.tile(np.arange(3), (2, 200, 1)), axis=-1)
    draws = {
        f"{name}[{k + 1}]": np.array(values)[number[..., k]] + 0.01 * rng.standard_normal((2, 200))
        for name, values in truth.items()
        for k in range(3)
    }
    shown = present_spectrum(table, "lorentzian", "none", 3, draws, 1.0)
    for name, values in truth.items():
        for k, value in enumerate(values):
            assert np.all(np.abs(shown.parameters[f"{name}[{k + 1}]"] - value) < 0.1)
            assert shown.variables[name][1][..., k] is not None
    area = spectra.lorentzian_area(shown.parameters["amplitude[2]"], shown.parameters["width[2]"])
    np.testing.assert_allclose(shown.derived["area[2]"], area, rtol=1e-12)
    component = shown.groups["curves"]["component"][1]
    assert component.shape == (3, 5, table.x.size)


def test_a_peak_that_wanders_keeps_its_own_number():
    """Sorted by position, the three that stand would change their numbers whenever the fourth passes them."""
    rng = np.random.default_rng(1)
    position = np.stack(
        [rng.normal(at, 0.05, 600) for at in (1.0, 2.0, 3.0)] + [rng.uniform(0, 4, 600)], axis=-1
    )
    amplitude = np.stack([rng.normal(a, 0.1, 600) for a in (5.0, 3.0, 4.0, 0.5)], axis=-1)
    width = np.tile([0.3, 0.3, 0.4, 0.2], (600, 1))
    mixed = rng.permuted(np.tile(np.arange(4), (600, 1)), axis=-1)
    peaks = {
        name: np.take_along_axis(values, mixed, axis=-1)
        for name, values in {"position": position, "amplitude": amplitude, "width": width}.items()
    }
    order = match_peaks(peaks)
    found = np.take_along_axis(peaks["position"], order, axis=-1)
    steady = sorted(range(4), key=lambda k: found[:, k].std())[:3]
    assert np.all(found[:, steady].std(axis=0) < 0.08)
    medians = np.median(found, axis=0)
    assert all(low <= high for low, high in pairwise(medians))
    assert np.all(np.sort(order, axis=-1) == np.arange(4))


@pytest.mark.parametrize("width", ["width", "precision"])
def test_matching_accepts_one_peak_and_peaks_all_alike(width):
    one = {"position": np.ones((2, 5, 1)), "amplitude": np.ones((2, 5, 1)), width: np.ones((2, 5, 1))}
    assert match_peaks(one).shape == (2, 5, 1)
    alike = {name: np.ones((1, 6, 3)) for name in one}
    assert np.all(np.sort(match_peaks(alike), axis=-1) == np.arange(3))


def test_published_peaks_show_their_width_beside_their_precision(table):
    draws = {
        "amplitude[1]": np.ones((1, 4)),
        "position[1]": np.ones((1, 4)),
        "precision[1]": np.full((1, 4), 50.0),
    }
    shown = present_spectrum(table, "gaussian", "none", 1, draws, 0.1)
    assert shown.derived["width[1]"] == pytest.approx(spectra.fwhm_from_precision(50.0))
    assert shown.derived["area[1]"] == pytest.approx(spectra.gaussian_precision_area(1.0, 50.0))


@pytest.mark.parametrize(
    ("noise", "draws", "sigma"),
    [("estimate", {"noise": 2.0}, 2.0), ("counting", {"noise_factor": 2.0}, None), (0.5, {}, 0.5)],
)
def test_the_noise_that_was_found_is_shown_with_the_data(table, noise, draws, sigma):
    peak = {"amplitude[1]": 1.0, "position[1]": 1.0, "width[1]": 1.0} | draws
    filled = {name: np.full((1, 30), value) for name, value in peak.items()}
    shown = present_spectrum(table, "gaussian", "none", 1, filled, noise).groups["constant_data"]["sigma"][1]
    expected = 2.0 * np.sqrt(signal_level(table)) if sigma is None else sigma
    np.testing.assert_allclose(shown, np.broadcast_to(expected, table.x.shape))


# ---- warnings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counts", "grows"), [(True, True), (False, False)])
def test_noise_that_grows_with_the_signal_is_noticed(counts, grows):
    rng = np.random.default_rng(2)
    x = np.linspace(0.0, 10.0, 300)
    curve = 1500.0 * spectra.gaussian(x, 5.0, 2.0 * 1.2, 1.5) + 60.0
    y = rng.poisson(curve) if counts else curve + rng.normal(0.0, 20.0, x.size)
    made = Table(x, y.astype(float), None, "x", "y", "made.csv", [])
    assert noise_grows(made) is grows
    said = warnings_for(made, spectrum_models(made, SpectrumOptions(peaks=(1,))))
    assert any("--noise counting" in line for line in said) is grows
    assert not warnings_for(made, spectrum_models(made, SpectrumOptions(peaks=(1,), noise=20.0)))


def test_fewer_points_than_parameters_is_worth_a_word(table):
    few = Table(table.x[:8], table.y[:8], None, "x", "y", "few.csv", [])
    said = warnings_for(few, spectrum_models(few, SpectrumOptions(peaks=(1, 3))))
    assert len(said) == 1
    assert "K=3 has 10 parameters and the data only 8 points" in said[0]


# ---- recovery ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["poisson", "counting"])
def test_counts_tell_the_peaks_they_were_made_from(noise):
    """With and without a scale: 95 % intervals of one data set hold at least six of seven true values."""
    rng = np.random.default_rng(11)
    x = np.linspace(0.0, 10.0, 160)
    truth = {
        "amplitude[1]": 90.0, "position[1]": 3.0, "width[1]": 1.2,
        "amplitude[2]": 50.0, "position[2]": 6.5, "width[2]": 2.0, "background_level": 12.0,
    }  # fmt: skip
    curve = truth["background_level"] + sum(
        spectra.gaussian(x, *(truth[f"{name}[{k}]"] for name in ("amplitude", "position", "width")))
        for k in (1, 2)
    )
    scale = 1.0 if noise == "poisson" else 0.25
    y = scale * rng.poisson(curve / (1.0 if noise == "poisson" else scale))
    made = Table(x, y.astype(float), None, "x", "y", "made.csv", [])
    models = spectrum_models(made, SpectrumOptions(peaks=(2,), background="constant", noise=noise))
    found = sample(models, draws=1500, tuning=700, seed=3).summary()["models"][0]["parameters"]
    inside = [found[name]["2.5%"] <= value <= found[name]["97.5%"] for name, value in truth.items()]
    assert sum(inside) >= 6
    assert all(abs(found[name]["mean"] - value) < 4.5 * found[name]["sd"] for name, value in truth.items())
    if noise == "counting":
        assert abs(found["noise_factor"]["mean"] - np.sqrt(scale)) < 4.0 * found["noise_factor"]["sd"]


def test_points_with_a_larger_sigma_count_less():
    """Half of the points lie: with their sigma a hundred times larger the peak is found where the others put it."""
    rng = np.random.default_rng(4)
    x = np.linspace(0.0, 4.0, 120)
    liars = np.arange(x.size) % 2 == 1
    sigma = np.where(liars, 5.0, 0.05)
    y = spectra.gaussian(x, 1.0, np.where(liars, 1.0, 2.5), 0.6) + 0.05 * rng.standard_normal(x.size)
    made = Table(x, y, sigma, "x", "y", "made.csv", [])
    models = spectrum_models(made, SpectrumOptions(peaks=(1,), noise="given"))
    found = sample(models, draws=600, tuning=400, seed=1).summary()["models"][0]["parameters"]["position[1]"]
    assert abs(found["mean"] - 2.5) < 4.0 * found["sd"] < 0.1
