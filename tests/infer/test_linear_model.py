"""Linear models: the sampler agrees with closed forms, closed forms with quadrature, bad input is told in one line."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import dblquad
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student

from hpc_ds.infer.models.linear import (
    Observations,
    closed_form,
    linear_models,
    read_observations,
    warnings_for,
)
from hpc_ds.infer.priors import fixed, normal, uniform
from hpc_ds.infer.results import write_posterior
from hpc_ds.infer.run import sample
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.netcdf import read_group
from hpc_ds.store.table import Table

SIGMA = 0.5


def measured(n: int = 40, shift: float = 0.3, seed: int = 1) -> Observations:
    """y = 1.1 x + 0.3 + 0.4 temperature with noise of 0.5, x not centred; sigma varies in a column of its own."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1.0, 1.0, n) + shift
    temperature = rng.uniform(10.0, 30.0, n)
    sigma = rng.uniform(0.3, 0.7, n)
    y = 1.1 * x + 0.3 + 0.04 * (temperature - 20.0) + sigma * rng.standard_normal(n)
    return Observations({"x": x, "y": y, "temperature": temperature, "sigma": sigma}, sigma_name="sigma")


# ---- the sampler against closed forms -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "noise", "priors"),
    [
        (["x", "1 + x", "1 + x + x^2"], SIGMA, {}),
        (["1 + temperature", "1 + x + temperature"], "given", {}),
        (["1 + x"], "given", {"slope": "normal(0, 2)", "intercept": "uniform(-1, 2)"}),
    ],
    ids=["powers of x", "a column, sigma of each point", "a normal and a uniform prior"],
)
def test_sampler_matches_closed_forms(terms, noise, priors):
    models = linear_models(measured(), terms, noise, priors)
    results = sample(models, draws=6000, tuning=1200, seed=2)
    for result, exact in zip(results.models, closed_form(models).models, strict=True):
        assert result.model.name == exact.name
        error = result.free_energy - exact.free_energy
        assert abs(error) < min(3.0 * result.log_evidence_error, 0.1)
        for j, name in enumerate(exact.parameters):
            draws, sd = result.presentation.parameters[name], math.sqrt(exact.covariance[j, j])
            ess = result.mixings[name].ess
            assert ess > 500
            assert abs(draws.mean() - exact.mean[j]) < 4.5 * sd / math.sqrt(ess)
            assert abs(draws.std() / sd - 1.0) < 4.5 / math.sqrt(2.0 * 500)


def test_estimated_noise_matches_quadrature():
    observations = measured(n=20)
    (model,) = linear_models(observations, ["x"], "estimate")
    # The sum over a fine grid is exact to rounding for an integrand that is smooth and vanishes at its ends.
    slope, noise = np.meshgrid(np.linspace(-3.0, 6.0, 400), np.linspace(0.2, 3.0, 800))
    fit = slope[..., np.newaxis] * observations.x
    log = norm.logpdf(observations.y, fit, noise[..., np.newaxis]).sum(axis=-1)
    log += model.parameters["slope"].logpdf(slope) + model.parameters["noise"].logpdf(noise)
    cell = (slope[0, 1] - slope[0, 0]) * (noise[1, 0] - noise[0, 0])
    weight = np.exp(log - log.max())
    log_evidence = log.max() + math.log(weight.sum() * cell)
    mean = np.average(noise, weights=weight)
    sd = math.sqrt(np.average((noise - mean) ** 2, weights=weight))
    result = sample(model, draws=6000, tuning=1200, seed=3).models[0]
    assert abs(result.log_evidence - log_evidence) < min(3.0 * result.log_evidence_error, 0.1)
    draws = result.presentation.parameters["noise"]
    assert abs(draws.mean() - mean) < 4.5 * sd / math.sqrt(result.mixings["noise"].ess)
    assert draws.std() == pytest.approx(sd, rel=0.15)


# ---- closed forms ---------------------------------------------------------------------------------------------


def test_free_energies_are_those_of_the_solvable_model():
    # Katakami et al., arXiv 2406.02869, for x of mean 0 and uniform priors of width 2A and 2B.
    observations = measured(shift=0.0)
    x, y, n = observations.x, observations.y, observations.y.size
    box = {"slope": uniform(-20, 20), "intercept": uniform(-5, 5)}
    exact = closed_form(linear_models(observations, ["x", "1 + x"], SIGMA, box))
    spread = (x @ x) / n
    a, b = (x @ y) / n / spread, y.mean()
    misfit = 0.5 * np.mean((y - a * x - b) ** 2)
    constant = 0.5 * n * math.log(2 * math.pi * SIGMA**2)
    of_a = math.log(40.0) - 0.5 * math.log(2 * math.pi * SIGMA**2 / (n * spread))
    of_b = math.log(10.0) - 0.5 * math.log(2 * math.pi * SIGMA**2 / n)
    f2 = constant + n * misfit / SIGMA**2 + of_a + of_b
    f1 = constant + n * (misfit + 0.5 * b**2) / SIGMA**2 + of_a
    assert_allclose([model.free_energy for model in exact.models], [f1, f2], rtol=1e-12)
    assert_allclose(exact.models[1].mean, [b, a], rtol=1e-10)
    assert_allclose(exact.models[1].covariance, np.diag([SIGMA**2 / n, SIGMA**2 / n / spread]), atol=1e-15)
    (comparison,) = exact.comparisons
    assert comparison.delta_free_energy == pytest.approx(f1 - f2, rel=1e-10)


def test_selection_probability_is_the_share_of_measurements_that_favour_the_larger_model():
    observations = measured()
    terms, box = ["x", "1 + x + temperature"], {"slope": "uniform(-20, 20)"}
    box |= {"intercept": "uniform(-9, 9)", "temperature": "uniform(-1, 1)"}
    exact = closed_form(linear_models(observations, terms, "given", box))
    (comparison,) = exact.comparisons
    x, temperature, sigma = (
        observations.x,
        np.asarray(observations.columns["temperature"]),
        observations.sigma,
    )
    rng = np.random.default_rng(5)
    larger = np.column_stack([np.ones_like(x), x, temperature]) @ exact.models[1].mean
    for truth, expected in [
        (larger, comparison.selection_probability),
        (1.1 * x, comparison.false_positive_rate),
    ]:
        favoured = 0
        for _ in range(400):
            y = truth + sigma * rng.standard_normal(x.size)
            columns = {"x": x, "y": y, "temperature": temperature, "sigma": sigma}
            again = linear_models(Observations(columns, sigma_name="sigma"), terms, "given", box)
            favoured += closed_form(again).comparisons[0].delta_free_energy > 0.0
        assert abs(favoured / 400 - expected) < 3.5 * math.sqrt(expected * (1 - expected) / 400) + 1e-3


def test_normal_priors_give_the_evidence_of_a_gaussian_process():
    observations = measured()
    priors = {"intercept": normal(0.5, 0.3), "slope": normal(-1, 2)}
    (exact,) = closed_form(linear_models(observations, ["1 + x"], "given", priors)).models
    design = np.column_stack([np.ones_like(observations.x), observations.x])
    covariance = design @ np.diag([0.09, 4.0]) @ design.T + np.diag(observations.sigma**2)
    expected = multivariate_normal(design @ [0.5, -1.0], covariance).logpdf(observations.y)
    assert exact.log_evidence == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("law", [uniform(0.4, 1.2), normal(0.2, 0.1)], ids=str)
def test_a_normal_or_fixed_prior_beside_a_cut_one_agrees_with_quadrature(law):
    observations = measured(shift=0.0)
    priors = {"slope": law, "intercept": uniform(0.25, 0.4), "x^2": fixed(0.2)}
    (exact,) = closed_form(linear_models(observations, ["1 + x + x^2"], SIGMA, priors)).models
    assert exact.parameters == ("intercept", "slope")
    x, y = observations.x, observations.y

    def joint(b: float, a: float) -> float:
        log = norm.logpdf(y, a * x + b + 0.2 * x**2, SIGMA).sum() + law.logpdf(a) - math.log(0.15)
        return math.exp(log + 30.0)

    limits = (-0.5, 2.0) if law.family == "normal" else law.support
    z = dblquad(joint, *limits, 0.25, 0.4, epsabs=0, epsrel=1e-9)[0]
    mean = dblquad(lambda b, a: b * joint(b, a), *limits, 0.25, 0.4, epsabs=0, epsrel=1e-9)[0] / z
    assert exact.log_evidence == pytest.approx(math.log(z) - 30.0, abs=1e-7)
    assert exact.mean[0] == pytest.approx(mean, abs=1e-7)


def test_a_polynomial_far_from_zero_keeps_its_digits():
    # The same model in other coordinates: x' = x - 100 mixes the coefficients with Jacobian 1.
    far, near = measured(shift=100.0), measured(shift=0.0)
    box = {name: uniform(-1e6, 1e6) for name in ("intercept", "slope", "x^2")}
    there = closed_form(linear_models(far, ["1 + x + x^2"], SIGMA, box)).models[0]
    here = closed_form(linear_models(near, ["1 + x + x^2"], SIGMA, box)).models[0]
    assert there.log_evidence == pytest.approx(here.log_evidence, abs=1e-4)
    assert there.mean[2] == pytest.approx(here.mean[2], rel=1e-4)


@pytest.mark.parametrize(
    ("terms", "noise", "priors", "reason"),
    [
        (["1 + x"], "estimate", {}, "the noise is estimated"),
        (["1 + x"], 0.5, {"slope": "half_normal(2)"}, "neither uniform nor normal"),
        (["1 + x + one"], 0.5, {}, "linearly dependent"),
        (["1 + x"], 0.5, {"slope": "uniform(0, 1)", "intercept": "uniform(0, 0.2)"}, "correlated"),
    ],
)
def test_a_missing_closed_form_says_why(terms, noise, priors, reason):
    columns = dict(measured().columns) | {"one": np.ones(40)}
    found = closed_form(linear_models(Observations(columns), terms, noise, priors))
    assert found.models == ()
    assert reason in found.missing[terms[0]]


def test_selection_probability_is_left_out_where_priors_are_not_uniform():
    models = linear_models(measured(), noise=SIGMA, priors={"intercept": "normal(0, 1)"})
    (comparison,) = closed_form(models).comparisons
    assert comparison.selection_probability is None
    assert math.isfinite(comparison.delta_free_energy)


def test_closed_forms_survive_json():
    found = closed_form(linear_models(measured(), noise=SIGMA)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert [model["name"] for model in found["models"]] == ["x", "1 + x"]
    assert found["comparisons"][0]["delta_F"] == pytest.approx(
        found["comparisons"][0]["F1"] - found["comparisons"][0]["F2"]
    )


# ---- what is shown --------------------------------------------------------------------------------------------


def shuffled(seed: int = 7) -> Observations:
    """The data of `measured` in any order of x."""
    observations = measured()
    order = np.random.default_rng(seed).permutation(observations.y.size)
    columns = {name: np.asarray(values)[order] for name, values in observations.columns.items()}
    return Observations(columns, sigma_name="sigma")


def presented(observations: Observations, terms: str, noise: float | str = "given", **priors: str):
    """A model, 300 exact draws of its posterior (as if noise 0.5), and what it shows of them."""
    (model,) = linear_models(observations, [terms], noise, priors)
    (exact,) = closed_form(linear_models(observations, [terms], SIGMA, priors)).models
    rng = np.random.default_rng(4)
    rows = rng.multivariate_normal(exact.mean, exact.covariance, size=(1, 300))
    draws = {name: rows[..., j] for j, name in enumerate(exact.parameters)}
    draws |= {name: np.full((1, 300), 0.2) for name in model.names if name not in draws}
    return model, draws, model.finish(draws)


def values(presentation, group: str) -> dict:
    return {name: named[1] for name, named in presentation.groups[group].items()}


def test_fit_of_unsorted_data_ascends_along_x_and_keeps_its_points_together():
    observations = shuffled()
    _, draws, shown = presented(observations, "1 + x + x^2")
    curves, constant = values(shown, "curves"), values(shown, "constant_data")
    order = np.argsort(observations.x)
    assert_allclose(curves["x"], observations.x[order])
    assert_allclose(constant["x"], curves["x"])
    assert_allclose(constant["sigma"], observations.sigma[order])
    assert_allclose(values(shown, "observed_data")["y"], observations.y[order])
    fits = draws["intercept"].T + draws["slope"].T * curves["x"] + draws["x^2"].T * curves["x"] ** 2
    assert_allclose(curves["fit"], np.percentile(fits, [2.5, 25, 50, 75, 97.5], axis=0), atol=1e-12)
    assert_allclose(curves["residual"], observations.y[order] - curves["fit"][2])
    assert set(shown.variables) == set(draws)


@pytest.mark.parametrize(
    ("terms", "name"),
    [("1", "x"), ("x", "x"), ("1 + x^3", "x"), ("1 + temperature", "temperature")],
)
def test_fit_of_one_column_is_shown_along_it(terms, name):
    observations = shuffled()
    curves = values(presented(observations, terms)[2], "curves")
    assert str(curves["x_name"]) == name
    assert_allclose(curves["x"], np.sort(observations.columns[name]))


def test_fit_of_several_columns_is_shown_along_its_median():
    curves = values(presented(shuffled(), "1 + x + temperature")[2], "curves")
    assert str(curves["x_name"]) == "fitted y"
    assert_allclose(curves["x"], curves["fit"][2])
    assert np.all(np.diff(curves["x"]) >= 0)


def test_an_estimated_noise_has_no_sigma_and_a_fixed_parameter_stays_in_the_fit():
    model, _, shown = presented(shuffled(), "1 + x", "estimate", intercept="fixed(0.2)")
    assert model.names == ["intercept", "slope", "noise"]
    assert np.isnan(values(shown, "constant_data")["sigma"]).all()
    curves = values(shown, "curves")
    at_zero = np.interp(0.0, curves["x"], curves["fit"][2])
    assert at_zero == pytest.approx(0.2, abs=1e-3)


def test_posterior_file_holds_data_and_curves(tmp_path):
    models = linear_models(shuffled(), ["1 + x"])
    result = sample(models, draws=200, tuning=100, seed=1).models[0]
    path = tmp_path / "1 + x.h5"
    write_posterior(path, result)
    curves = read_group(path, "curves")
    assert curves["x_name"] == "x"
    assert curves["fit"].shape == (5, 40)
    assert_allclose(read_group(path, "observed_data")["y"] - curves["fit"][2], curves["residual"])
    assert {"intercept", "slope"} <= read_group(path, "posterior").keys()


# ---- the likelihood and the default priors --------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 40, 5000])
def test_compressed_likelihood_is_that_of_all_points(n):
    observations = measured(n)
    known, estimated = (
        linear_models(observations, ["1 + x + temperature"], noise)[0] for noise in ("given", "estimate")
    )
    mean = np.array([0.2, 1.0, -0.1])
    fit = np.column_stack([np.ones(n), observations.x, observations.columns["temperature"]]) @ mean
    assert_allclose(
        known.log_likelihood(mean, known.data),
        norm.logpdf(observations.y, fit, observations.sigma).sum(),
        rtol=1e-11,
    )
    assert_allclose(
        estimated.log_likelihood(np.append(mean, 0.8), estimated.data),
        norm.logpdf(observations.y, fit, 0.8).sum(),
        rtol=1e-11,
    )


def test_compiled_likelihood_equals_the_plain_one_and_minds_extremes():
    from numba import njit

    (model,) = linear_models(measured(), ["1 + x"], "estimate")
    compiled = njit(model.log_likelihood)
    for theta in ([0.3, 1.0, 0.5], [1e300, -1e300, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1e-320]):
        with np.errstate(all="ignore"):
            plain = model.log_likelihood(np.array(theta), model.data)
        assert compiled(np.array(theta), model.data) == pytest.approx(plain, rel=1e-12)
        assert math.isfinite(plain) == (theta[0] == 0.3)


@pytest.mark.parametrize("shift", [0.0, 5.0, 100.0])
@pytest.mark.parametrize("noise", [SIGMA, "estimate"])
@pytest.mark.parametrize("n", [8, 40])
def test_default_boxes_cut_off_nothing_that_matters(shift, noise, n):
    observations = measured(n, shift)
    models = linear_models(observations, ["x", "1 + x", "1 + x + x^2"], noise)
    for model, degrees in zip(models, [(1,), (0, 1), (0, 1, 2)], strict=True):
        design = np.column_stack([observations.x**k for k in degrees])
        freedom = n - len(degrees)
        estimate, rss = np.linalg.lstsq(design, observations.y, rcond=None)[:2]
        scale = SIGMA if noise != "estimate" else math.sqrt(rss[0] / freedom)
        error = scale * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
        law = norm if noise != "estimate" else student(freedom)
        for name, centre, width in zip(model.names, estimate, error, strict=False):
            low, high = model.parameters[name].support
            assert low == -high
            assert law.cdf((low - centre) / width) + law.sf((high - centre) / width) < 1e-6
        if noise == "estimate":
            low, high = model.parameters["noise"].support
            assert low < 0.2 * scale
            assert high > 5.0 * scale


def test_models_share_their_priors_and_these_scale_with_the_data():
    observations = measured()
    for noise in (SIGMA, "estimate"):
        small, large = linear_models(observations, ["x", "1 + x"], noise)
        assert all(large.parameters[name] == prior for name, prior in small.parameters.items())
    columns = {"x": 1e3 * observations.x, "y": 1e-6 * observations.y}
    (scaled,) = linear_models(Observations(columns), ["x"], "estimate")
    (plain,) = linear_models(Observations({"x": observations.x, "y": observations.y}), ["x"], "estimate")
    assert_allclose(
        scaled.parameters["slope"].arguments, 1e-9 * np.array(plain.parameters["slope"].arguments)
    )
    assert_allclose(
        scaled.parameters["noise"].arguments, 1e-6 * np.array(plain.parameters["noise"].arguments)
    )


@pytest.mark.parametrize("y", [np.zeros(5), np.ones(5), np.arange(5.0)], ids=["zero", "constant", "no noise"])
def test_data_without_noise_still_have_priors(y):
    for noise in (0.1, "estimate"):
        for model in linear_models(Observations({"x": np.arange(5.0), "y": y}), noise=noise):
            assert all(
                math.isfinite(value) for prior in model.parameters.values() for value in prior.arguments
            )


# ---- names, files, errors -------------------------------------------------------------------------------------


def test_models_and_parameters_are_called_by_their_regressors():
    models = linear_models(measured(), ["x", "1+x", "temperature + x^2"], "estimate")
    assert [model.name for model in models] == ["x", "1 + x", "temperature + x^2"]
    assert [model.names for model in models] == [
        ["slope", "noise"],
        ["intercept", "slope", "noise"],
        ["temperature", "x^2", "noise"],
    ]


def test_noise_is_given_if_there_is_a_sigma_else_estimated():
    given, bare = measured(), Observations({"x": [0, 1, 2], "y": [1, 2, 2]})
    assert "noise" not in linear_models(given)[0].parameters
    assert "noise" in linear_models(bare)[0].parameters
    assert "noise" in linear_models(given, noise="estimate")[0].parameters
    number, text = (linear_models(given, noise=noise)[0].data for noise in (0.5, "0.5"))
    assert_allclose(number, text)


def test_a_table_of_x_y_and_sigma_will_do():
    o = measured()
    table = Table(o.x, o.y, o.sigma, "x", "y", "a.csv")
    assert_allclose(linear_models(table)[1].data, linear_models(o)[1].data)
    assert_allclose(Observations.of(table).table().sigma, o.sigma)


def test_columns_of_a_file_are_found_by_their_names(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("label,y,pressure,x,dy\na,1,10,2,0.1\nb,2,20,1,0.2\nc,4,15,3,0.1\n")
    found = read_observations(path, ["1 + pressure"])
    assert (found.x_name, found.y_name, found.sigma_name) == ("x", "y", "dy")
    assert list(found.columns) == ["y", "pressure", "x", "dy"]
    assert found.warnings == ["columns not used: label"]
    assert_allclose(found.table().x, [1, 2, 3])
    assert_allclose(found.table().sigma, [0.2, 0.1, 0.1])
    models = linear_models(found, ["1 + pressure"])
    assert models[0].names == ["intercept", "pressure"]


@pytest.mark.parametrize(
    ("header", "x", "y"),
    [("t,voltage", "t", "voltage"), ("y,t", "t", "y"), ("v,x", "x", "v"), ("n,x,y", "x", "y")],
)
def test_x_and_y_are_known_by_name_or_by_place(tmp_path, header, x, y):
    path = tmp_path / "a.csv"
    path.write_text(header + "\n" + "1," * header.count(",") + "2\n" + "3," * header.count(",") + "4\n")
    found = read_observations(path)
    assert (found.x_name, found.y_name) == (x, y)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n1\n2\n", "one column"),
        ("x,y,sigma\n1,2,0.1\n2,3,0\n", "line 3, column 'sigma': found sigma = 0"),
        ("x,y,z\n1,2,3\n2,3,nan\n", "line 3, column 'z': found nan"),
        ("x,y,z,z\n1,2,3,4\n2,3,4,5\n", "two columns"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_observations(path, ["1 + z"])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"terms": ["1 + pressure"]},
            "unknown regressor 'pressure'; known are 1, x, x^2 ... x^9, temperature",
        ),
        ({"terms": ["1 + x^10"]}, "unknown regressor 'x^10'"),
        ({"terms": ["x +"]}, "unknown regressor ''"),
        ({"terms": ["1 + y"]}, "'y' is what is explained"),
        ({"terms": ["x + 1 + x"]}, "regressor 'x' twice"),
        ({"terms": ["1 + x", "x + 1"]}, "the same model twice"),
        ({"noise": "-1"}, "--noise '-1'"),
        ({"noise": math.nan}, "--noise 'nan'"),
        ({"noise": "loud"}, "estimate, given or a standard deviation > 0 is needed"),
        (
            {"priors": {"gradient": "normal(0, 1)"}},
            "--prior 'gradient': no such parameter; there are slope, inter",
        ),
        ({"priors": {"noise": "half_normal(1)"}}, "--prior 'noise'"),
        ({"noise": "estimate", "priors": {"noise": "normal(0, 1)"}}, "a noise is positive"),
        ({"priors": {"slope": "norm(0, 1)"}}, "unknown; known are"),
        ({"terms": ["x"], "priors": {"slope": "fixed(1)"}}, "no free parameter"),
        ({"terms": ["1 + zero"]}, "'zero' is zero everywhere"),
        ({"terms": ["1 + slope"]}, "cannot name a parameter"),
        ({"terms": ["1 + chain"]}, "cannot name a parameter"),
    ],
    ids=str,
)
def test_a_bad_option_is_told_in_one_line(options, message):
    columns = dict(measured().columns) | ({"zero": np.zeros(40)} if "zero" in str(options) else {})
    columns |= {
        name: np.arange(40.0) for name in ("slope", "chain") if options.get("terms") == [f"1 + {name}"]
    }
    with pytest.raises(InputError) as error:
        linear_models(Observations(columns, sigma_name="sigma"), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_noise_given_needs_a_column():
    with pytest.raises(InputError, match="no column of the standard deviations"):
        linear_models(Observations({"x": [1, 2], "y": [1, 2]}), noise="given")


def test_more_parameters_than_points_are_warned_of_and_run():
    observations = Observations({"x": [1.0, 2.0], "y": [1.0, 3.0]})
    models = linear_models(observations, ["1 + x + x^2"], 0.5)
    assert "3 parameters and the data only 2 points" in warnings_for(observations, models)[0]
    result = sample(models, draws=200, tuning=64).models[0]
    assert math.isfinite(result.log_evidence)
