"""Priors as users write them: text, checks, support, density and draws."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import integrate, stats

from hpc_ds.infer import priors
from hpc_ds.infer.priors import Prior, parse
from hpc_ds.runtime.errors import InputError

EXAMPLES = [
    priors.normal(1.5, 0.447),
    priors.lognormal(-1.0, 0.3),
    priors.gamma(5, 0.04),
    priors.inverse_gamma(3.0, 1e-3),
    priors.uniform(-1e-300, 2e10),
    priors.log_uniform(1e-5, 1 / 3),
    priors.exponential(0.1),
    priors.half_normal(2),
    priors.half_cauchy(2.5),
    priors.beta(0.5, 0.5),
    priors.truncated_normal(0, 1, 0, math.inf),
    priors.truncated_normal(0, 1, -math.inf, math.inf),
    priors.fixed(-2.5),
]


@pytest.mark.parametrize("prior", EXAMPLES, ids=str)
def test_text_reads_back_to_an_equal_prior(prior):
    assert parse(str(prior)) == prior


def test_every_family_has_a_function_of_its_name_and_arguments():
    import inspect

    for name, family in priors.FAMILIES.items():
        assert tuple(inspect.signature(getattr(priors, name)).parameters) == family.names


@pytest.mark.parametrize(
    ("text", "prior"),
    [
        ("normal(1.5, 0.447)", priors.normal(1.5, 0.447)),
        (" Half-Normal ( 2 ) ", priors.half_normal(2)),
        ("log-normal(0,1)", priors.lognormal(0, 1)),
        ("LogUniform(1e-3, 10)", priors.log_uniform(1e-3, 10)),
        ("INVERSE GAMMA(3, 2)", priors.inverse_gamma(3, 2)),
        ("gamma(rate=0.04, shape=5)", priors.gamma(5, 0.04)),
        ("truncated_normal(0, 1, low=-inf, high=3)", priors.truncated_normal(0, 1, -math.inf, 3)),
    ],
)
def test_hyphens_case_and_named_arguments_are_read(text, prior):
    assert parse(text) == prior


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gauss(0, 1)", r"prior 'gauss\(0, 1\)': unknown; known are normal\(mean, sd\), lognormal"),
        ("", "unknown; known are"),
        ("0.1", "unknown; known are"),
        ("normal", r"write normal\(mean, sd\)"),
        ("normal(1, 2", r"write normal\(mean, sd\)"),
        ("normal(1)", r"write normal\(mean, sd\); 1 arguments found"),
        ("normal()", "0 arguments found"),
        ("normal(1, 2, 3)", "3 arguments found"),
        ("normal(mean=1, mean=2)", "found 'mean=2'"),
        ("normal(mean=1, sigma=2)", "found 'sigma=2'"),
        ("normal(1, wide)", "sd must be a number, found 'wide'"),
        ("normal(1, -2)", "sd must be greater than 0, found -2"),
        ("normal(nan, 1)", "mean must be a finite number, found nan"),
        ("normal(0, inf)", "sd must be a finite number, found inf"),
        ("gamma(0, 1)", "shape must be greater than 0"),
        ("beta(1, -1)", "b must be greater than 0"),
        ("uniform(2, 1)", "low must be less than high, found 2.0 and 1.0"),
        ("uniform(1, 1)", "low must be less than high"),
        ("uniform(-1e308, 1e308)", "too wide"),
        ("log_uniform(0, 1)", "low must be greater than 0"),
        ("log_uniform(1e-300, 1e300)", "too wide"),
        ("truncated_normal(0, 1, 3, 2)", "low must be less than high"),
        ("truncated_normal(0, 1, -1e308, 1e308)", "too wide"),
        ("truncated_normal(0, 1, 2000, inf)", "more than 1000 sd away"),
    ],
)
def test_a_wrong_prior_is_one_clear_line(text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_functions_check_their_arguments_too():
    with pytest.raises(InputError, match="sd must be greater than 0"):
        priors.normal(0, 0)
    with pytest.raises(InputError, match="must be numbers"):
        priors.normal("zero", 1)
    with pytest.raises(InputError, match="2 arguments are needed"):
        Prior("normal", (0.0,))
    with pytest.raises(InputError, match="unknown"):
        Prior("gauss", (0.0, 1.0))


@pytest.mark.parametrize(
    ("prior", "support"),
    [
        (priors.normal(0, 1), (-math.inf, math.inf)),
        (priors.gamma(5, 5), (0, math.inf)),
        (priors.beta(2, 2), (0, 1)),
        (priors.log_uniform(0.1, 10), (0.1, 10)),
        (priors.truncated_normal(0, 1, 0, math.inf), (0, math.inf)),
        (priors.fixed(3), (3, 3)),
    ],
    ids=str,
)
def test_support(prior, support):
    assert prior.support == support


def test_logpdf_takes_numbers_and_arrays_of_any_shape():
    prior = priors.gamma(5, 5)
    x = np.linspace(0.1, 3, 12).reshape(3, 4)
    np.testing.assert_allclose(prior.logpdf(x), stats.gamma(5, scale=0.2).logpdf(x), rtol=1e-12)
    np.testing.assert_allclose(prior.logpdf(x[:, ::2]), prior.logpdf(x)[:, ::2], rtol=0)
    assert isinstance(prior.logpdf(1), float)
    assert prior.logpdf([-1.0, 0.0]).tolist() == [-math.inf, -math.inf]


@pytest.mark.parametrize("prior", [prior for prior in EXAMPLES if not prior.is_fixed], ids=str)
def test_draws_lie_in_the_support_and_follow_the_density(prior):
    draws = prior.sample(np.random.default_rng(1), (100, 200))
    low, high = prior.support
    assert draws.shape == (100, 200) and draws.min() > low and draws.max() < high
    # Mass below the sample's median, by integrating the density over the sampled side.
    middle = float(np.median(draws))
    start = low if math.isfinite(low) else middle - 60 * float(np.std(draws[draws < middle]))
    mass, _ = integrate.quad(lambda x: math.exp(prior.logpdf(x)), start, middle, limit=500)
    assert abs(mass - 0.5) < 4 * 0.5 / math.sqrt(draws.size)


def test_draws_depend_on_the_generator_alone():
    prior = priors.normal(0, 1)
    first, second = (prior.sample(np.random.default_rng(5), 10) for _ in range(2))
    assert np.array_equal(first, second)
    rng = np.random.default_rng(5)
    assert prior.sample(rng) == first[0] and prior.sample(rng) != first[0]


def test_a_fixed_prior_has_one_value():
    prior = priors.fixed(2.5)
    assert prior.is_fixed and prior.sample(np.random.default_rng(0)) == 2.5
    assert prior.logpdf(2.5) == 0.0 and prior.logpdf(2.0) == -math.inf


def test_encoding_is_a_code_and_six_numbers():
    codes = {}
    for prior in EXAMPLES:
        code, numbers = prior.encode()
        assert isinstance(code, int) and numbers.shape == (6,) and numbers.dtype == np.float64
        codes.setdefault(code, prior.family)
    # A normal law cut nowhere is the normal law.
    assert len(codes) == len(priors.FAMILIES)


def test_a_normal_law_cut_to_a_narrow_interval_keeps_its_constant():
    # So narrow, the density is 1 / width to first order; a difference of distribution functions would cancel.
    for low in (0.0, 3.0, -30.0):
        prior = priors.truncated_normal(0, 1, low, low + 1e-9)
        assert abs(prior.logpdf(low + 5e-10) - math.log(1 / (prior.support[1] - low))) < 1e-12


def test_priors_are_read_without_numba_and_scipy_stats():
    code = (
        "import sys, hpc_ds.infer.priors as priors; priors.parse('normal(0, 1)').encode();"
        "sys.exit('numba' in sys.modules or 'scipy.stats' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
