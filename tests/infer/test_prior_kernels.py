"""Compiled priors: densities to 1e-12 of SciPy's, exact draws, coordinates that never leave the support."""

import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from scipy import integrate, stats

from hpc_ds.infer import priors
from hpc_ds.infer.kernels.priors import draw_u, log_density, log_density_u, to_u, to_x
from hpc_ds.runtime.philox import new_streams

INF = math.inf


def cut_normal(mean, sd, low, high):
    return stats.truncnorm((low - mean) / sd, (high - mean) / sd, loc=mean, scale=sd)


CASES = [
    (priors.normal(1.5, 0.447), stats.norm(1.5, 0.447)),
    (priors.normal(1e4, 3.0), stats.norm(1e4, 3.0)),
    (priors.lognormal(0.3, 0.7), stats.lognorm(0.7, scale=math.exp(0.3))),
    (priors.gamma(5, 0.04), stats.gamma(5, scale=25)),
    (priors.gamma(0.3, 2), stats.gamma(0.3, scale=0.5)),
    (priors.gamma(1, 2), stats.gamma(1, scale=0.5)),
    (priors.inverse_gamma(3, 2), stats.invgamma(3, scale=2)),
    (priors.uniform(-1, 2), stats.uniform(-1, 3)),
    (priors.log_uniform(0.01, 10), stats.loguniform(0.01, 10)),
    (priors.exponential(2.5), stats.expon(scale=0.4)),
    (priors.half_normal(2), stats.halfnorm(scale=2)),
    (priors.half_cauchy(0.5), stats.halfcauchy(scale=0.5)),
    (priors.beta(2, 0.5), stats.beta(2, 0.5)),
    (priors.truncated_normal(0, 1, -1, 3), cut_normal(0, 1, -1, 3)),
    (priors.truncated_normal(1, 2, 0.5, 1.5), cut_normal(1, 2, 0.5, 1.5)),
    (priors.truncated_normal(0, 2, 8, 9), cut_normal(0, 2, 8, 9)),
    (priors.truncated_normal(0, 1, -7, -6), cut_normal(0, 1, -7, -6)),
    (priors.truncated_normal(1, 1, 0, INF), cut_normal(1, 1, 0, INF)),
    (priors.truncated_normal(0, 1, 6, INF), cut_normal(0, 1, 6, INF)),
    (priors.truncated_normal(0, 1, -INF, 0.5), cut_normal(0, 1, -INF, 0.5)),
    (priors.truncated_normal(3, 0.5, -INF, 0), cut_normal(3, 0.5, -INF, 0)),
    (priors.truncated_normal(3, 0.5, -INF, INF), stats.norm(3, 0.5)),
]
QUANTILES = np.array([1e-6, 1e-3, 0.02, 0.2, 0.5, 0.77, 0.99, 0.9999])

over_cases = pytest.mark.parametrize(("prior", "law"), CASES, ids=[str(prior) for prior, _ in CASES])
over_priors = pytest.mark.parametrize("prior", [prior for prior, _ in CASES], ids=str)


@njit
def draws_u(code, p, s, n):
    out = np.empty(n)
    for i in range(n):
        out[i] = draw_u(code, p, s)
    return out


def log_slope(prior, x):
    """Return log |dx/du| from the table of coordinates in `hpc_ds.infer.priors`."""
    low, high = prior.support
    if math.isinf(low) and math.isinf(high):
        return 0.0
    if math.isinf(high):
        return math.log(x - low)
    if math.isinf(low):
        return math.log(high - x)
    if prior.family == "log_uniform":
        ratio, part = math.log(high / low), math.log(x / low)
        return math.log(x * part * (ratio - part) / ratio)
    return math.log((x - low) * (high - x) / (high - low))


@over_cases
def test_log_density_is_that_of_scipy(prior, law):
    encoded = prior.encode()
    for x in law.ppf(QUANTILES):
        assert log_density(*encoded, x) == pytest.approx(law.logpdf(x), rel=1e-12, abs=1e-12)


@over_cases
def test_log_density_of_the_coordinate_is_that_of_the_value_times_the_slope(prior, law):
    encoded = prior.encode()
    for u in to_coordinates(encoded, law.ppf(QUANTILES)):
        x = to_x(*encoded, u)
        # Near an end the reference loses digits in the subtraction x - low; the kernel does not.
        low, high = prior.support
        lost = 1e-15 * abs(x) / min(abs(x - low), abs(high - x))
        assert log_density_u(*encoded, u) == pytest.approx(
            law.logpdf(x) + log_slope(prior, x), rel=1e-12, abs=2e-12 + 4 * lost
        )


def to_coordinates(encoded, points):
    return [to_u(*encoded, x) for x in points]


@over_cases
def test_density_of_the_coordinate_integrates_to_one(prior, law):
    encoded = prior.encode()
    middle = to_u(*encoded, law.median())
    edges = np.unique([to_u(*encoded, x) for x in law.ppf([0.01, 0.2, 0.8, 0.99])] + [middle])
    pieces = [
        (middle - 300.0, edges[0]),
        *itertools.pairwise(edges),
        (edges[-1], middle + 300.0),
    ]
    total = sum(
        integrate.quad(lambda u: math.exp(log_density_u(*encoded, u)), a, b, epsabs=1e-12, limit=500)[0]
        for a, b in pieces
    )
    assert total == pytest.approx(1.0, abs=1e-9)


@over_cases
def test_value_and_coordinate_are_inverse(prior, law):
    encoded = prior.encode()
    for x in law.ppf(QUANTILES):
        assert to_x(*encoded, to_u(*encoded, x)) == pytest.approx(x, rel=1e-13, abs=1e-13)


@over_cases
def test_draws_follow_the_law(prior, law):
    code, p = prior.encode()
    x = np.array([to_x(code, p, u) for u in draws_u(code, p, new_streams([[31, 32]])[0], 50_000)])
    assert stats.kstest(x, law.cdf).pvalue > 1e-3  # the stream is fixed: below means wrong


def test_the_law_test_sees_a_slightly_wrong_prior():
    code, p = priors.gamma(5, 0.041).encode()
    x = np.exp(draws_u(code, p, new_streams([[31, 32]])[0], 50_000))
    assert stats.kstest(x, stats.gamma(5, scale=25).cdf).pvalue < 1e-3


@over_priors
def test_no_coordinate_gives_nan_or_a_value_outside_the_support(prior):
    encoded = prior.encode()
    low, high = prior.support
    for u in [s * a for s in (-1, 1) for a in (0.0, 40.0, 300.0, 699.0, 701.0, 800.0, 1e5, 1e300)]:
        density, x = log_density_u(*encoded, u), to_x(*encoded, u)
        assert not math.isnan(density) and density < 1e3
        assert low < x < high
        if abs(u) > 1e4 + 100:
            assert density < -1e3


@over_priors
def test_a_coordinate_that_is_no_finite_number_has_density_zero(prior):
    for u in (math.nan, INF, -INF):
        assert log_density_u(*prior.encode(), u) == -INF


@over_cases
def test_outside_the_support_the_density_is_zero(prior, law):
    low, high = prior.support
    for x in (low - 1.0, high + 1.0):
        assert log_density(*prior.encode(), x) == -INF


@pytest.mark.parametrize(
    ("prior", "x", "value"),
    [
        (priors.uniform(0, 2), 2.0, -math.log(2)),
        (priors.exponential(3), 0.0, math.log(3)),
        (priors.half_cauchy(1), 0.0, math.log(2 / math.pi)),
        (priors.truncated_normal(0, 1, 0, INF), 0.0, 0.5 * math.log(2 / math.pi)),
    ],
    ids=lambda value: str(value),
)
def test_an_end_with_finite_density_belongs_to_the_support(prior, x, value):
    assert log_density(*prior.encode(), x) == pytest.approx(value, abs=1e-15)


def test_digits_near_an_end_are_kept():
    code, p = priors.uniform(-1.0, 0.0).encode()
    assert to_x(code, p, 100.0) == pytest.approx(-math.exp(-100.0), rel=1e-12)


def test_draws_of_a_tiny_shape_keep_a_finite_density():
    # A fifth of the draws of gamma(0.001, 1) underflow as values; as coordinates they are ordinary numbers.
    code, p = priors.gamma(0.001, 1).encode()
    u = draws_u(code, p, new_streams([[33, 34]])[0], 2000)
    assert (u < -745).mean() > 0.1
    assert all(math.isfinite(log_density_u(code, p, value)) and to_x(code, p, value) > 0 for value in u)


def test_a_fixed_parameter_keeps_its_value_and_costs_nothing():
    encoded = priors.fixed(2.5).encode()
    stream = new_streams([[35, 36]])[0]
    assert draw_u(*encoded, stream) == 2.5 and to_x(*encoded, 99.0) == 2.5 and to_u(*encoded, 2.5) == 2.5
    assert log_density_u(*encoded, 99.0) == 0.0
    assert np.array_equal(stream, new_streams([[35, 36]])[0])


def test_a_second_process_compiles_nothing(tmp_path):
    code = (
        "from hpc_ds.infer.priors import gamma; import numpy as np\n"
        "prior = gamma(5, 0.04); prior.logpdf([1.0]); prior.sample(np.random.default_rng(0), 3)"
    )
    environment = os.environ | {"NUMBA_DEBUG_CACHE": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert "data saved" in first
    assert "data loaded" in second and "data saved" not in second
