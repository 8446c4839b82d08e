"""Quantiles of parameters against SciPy's, and back again."""

import math

import numpy as np
import pytest
from scipy import stats

from hpc_ds.runtime.laws import LAWS
from hpc_ds.simulate.distributions import Distribution, fixed, read_distribution

PEERS = {
    "normal(1, 2)": stats.norm(1, 2),
    "lognormal(-1, 0.5)": stats.lognorm(0.5, scale=math.exp(-1)),
    "gamma(shape=2.5, rate=4)": stats.gamma(2.5, scale=0.25),
    "inverse_gamma(3, 2)": stats.invgamma(3, scale=2),
    "uniform(-1, 3)": stats.uniform(-1, 4),
    "log_uniform(1e-3, 1e-1)": stats.loguniform(1e-3, 1e-1),
    "exponential(4)": stats.expon(scale=0.25),
    "half_normal(2)": stats.halfnorm(scale=2),
    "half_cauchy(2)": stats.halfcauchy(scale=2),
    "beta(0.5, 3)": stats.beta(0.5, 3),
    "truncated_normal(1, 2, 0, 4)": stats.truncnorm(-0.5, 1.5, 1, 2),
    "truncated_normal(0, 1, -inf, -3)": stats.truncnorm(-np.inf, -3),
    "truncated_normal(0, 1, 12, 13)": stats.truncnorm(12, 13),
    "truncated_normal(0, 1, 3, inf)": stats.truncnorm(3, np.inf),
    "truncated_normal(0, 1, -inf, inf)": stats.norm(),
}
U = np.concatenate([[1e-6, 1e-4], np.linspace(0.01, 0.99, 25), [1 - 1e-4]])


@pytest.mark.parametrize("text", PEERS)
def test_quantiles_are_those_of_scipy(text):
    np.testing.assert_allclose(read_distribution(text).quantile(U), PEERS[text].ppf(U), rtol=1e-8)


@pytest.mark.parametrize("text", PEERS)
def test_cdf_inverts_the_quantiles(text):
    law = read_distribution(text)
    np.testing.assert_allclose(law.cdf(law.quantile(U)), U, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("text", PEERS)
def test_ends_of_the_unit_interval_are_finite_and_inside_the_support(text):
    law = read_distribution(text)
    values = law.quantile(np.array([0.0, 1.0 - 2.0**-53, 1.0]))
    assert np.isfinite(values).all()
    assert (values >= law.support[0]).all()
    assert (values <= law.support[1]).all()
    assert np.isfinite(law.cdf(values)).all()


def test_every_family_has_quantiles():
    assert {read_distribution(text).family for text in PEERS} | {"fixed"} == set(LAWS)


def test_text_reads_back():
    for text in PEERS:
        law = read_distribution(text)
        assert read_distribution(str(law)) == law


def test_fixed_has_one_value():
    assert fixed(2.5) == Distribution("fixed", (2.5,))
    assert fixed(2.5).is_fixed
    np.testing.assert_array_equal(fixed(2.5).quantile(U), 2.5)
