"""The whole sampler against posteriors and evidences that are known."""

import math

import numpy as np
import pytest
from scipy import special, stats

from hpc_ds.infer import priors as laws
from hpc_ds.infer.model import Model
from hpc_ds.physics.spectra import nagata2012
from hpc_ds.studies.spectrum import REFERENCE_FREE_ENERGY

SIGMA = 0.4
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


# ---- Gaussian likelihood, Gaussian prior -------------------------------------------------------------------


def regression(theta, data):
    """y = A theta + noise; the rows of data are y and the columns of A."""
    total = 0.0
    for i in range(data.shape[1]):
        mean = 0.0
        for j in range(theta.size):
            mean += data[j + 1, i] * theta[j]
        z = (data[0, i] - mean) / SIGMA
        total -= 0.5 * z * z + HALF_LOG_2PI + math.log(SIGMA)
    return total


def gaussian_model(d, name="gaussian"):
    """Return the model of d correlated parameters and its exact log evidence, log N(y; 0, A A' + sigma^2)."""
    rng = np.random.default_rng(d)
    columns = np.eye(d) + 0.3 * rng.normal(size=(d, d)) / math.sqrt(d)
    y = columns @ rng.normal(size=d) + SIGMA * rng.normal(size=d)
    model = Model(
        name,
        {f"x{j}": laws.normal(0.0, 1.0) for j in range(d)},
        regression,
        form="compiled",
        data=np.vstack([y, columns.T]),
    )
    return model, stats.multivariate_normal.logpdf(y, cov=columns @ columns.T + SIGMA**2 * np.eye(d))


def seeds_within(run_sampler, d, seeds):
    """How many seeds are within three reported errors; the spread of log Z; the mean reported error."""
    model, exact = gaussian_model(d)
    found = [run_sampler([model], seed=seed, draws=600, tuning=300)["gaussian/0"].evidence for seed in seeds]
    values, errors = np.array([[one.log_evidence, one.error] for one in found]).T
    assert abs(values.mean() - exact) < 4.0 * values.std(ddof=1) / math.sqrt(len(values))
    return np.sum(np.abs(values - exact) < 3.0 * errors), values.std(ddof=1), errors.mean()


@pytest.mark.parametrize("d", [1, 5, 20])
def test_log_evidence_of_a_gaussian_is_within_its_reported_error(run_sampler, d):
    within, spread, error = seeds_within(run_sampler, d, range(1, 13))
    assert within >= 11
    assert 0.5 * spread < error < 2.0 * spread


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 5, 20])
def test_log_evidence_of_a_gaussian_is_within_its_reported_error_in_45_of_50_seeds(run_sampler, d):
    within, spread, error = seeds_within(run_sampler, d, range(101, 151))
    assert within >= 45
    assert 0.67 * spread < error < 2.0 * spread


def test_posterior_of_a_gaussian_has_the_closed_form(run_sampler):
    model, _ = gaussian_model(5)
    draws = run_sampler([model], seed=4, draws=12_000, tuning=500)["gaussian/0"].slab.draws
    columns, y = model.data[1:].T, model.data[0]
    covariance = np.linalg.inv(np.eye(5) + columns.T @ columns / SIGMA**2)
    mean = covariance @ columns.T @ y / SIGMA**2
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 0.08
    assert np.abs(np.cov(draws.T) - covariance).max() < 0.08 * np.outer(sd, sd).max()
    thinned = draws[::20]
    for j in range(5):
        assert stats.kstest(thinned[:, j], stats.norm(mean[j], sd[j]).cdf).pvalue > 1e-4


def test_barrier_of_a_gaussian_path_is_the_analytic_one(run_sampler):
    """x ~ N(0, 1), log-likelihood -t x^2 / 2: Lambda = log(1 + t) / pi; see test_ladder.py."""
    model = Model("path", {"x": laws.normal(0.0, 1.0)}, parabola, form="compiled", data=np.array([[999.0]]))
    ladder = run_sampler([model], seed=2, draws=20_000, tuning=500, replicas=12)["path/0"].ensemble.ladder
    rejection = ladder.rejection / ladder.attempts
    assert rejection.sum() == pytest.approx(math.log(1000.0) / math.pi, abs=0.05)
    assert rejection.max() - rejection.min() < 0.1


def parabola(theta, data):
    return -0.5 * data[0, 0] * theta[0] * theta[0]


# ---- a ridge: y ~ Bin(n, p1 p2) ----------------------------------------------------------------------------


def binomial(theta, data):
    p = theta[0] * theta[1]
    n, y = data[0, 0], data[0, 1]
    return data[0, 2] + y * math.log(p) + (n - y) * math.log1p(-p)


@pytest.mark.parametrize(("n", "y"), [(10, 3), (100, 50)])
def test_log_evidence_of_a_binomial_product_at_every_inverse_temperature(run_sampler, n, y):
    """log Z(b) = b log C(n, y) + log B(b y + 1, b (n - y) + 1) + log(psi(b n + 2) - psi(b y + 1))."""
    choose = special.gammaln(n + 1) - special.gammaln(y + 1) - special.gammaln(n - y + 1)
    priors = {"p1": laws.uniform(0.0, 1.0), "p2": laws.uniform(0.0, 1.0)}
    model = Model("binomial", priors, binomial, form="compiled", data=np.array([[n, y, choose]]))
    found = run_sampler([model], seed=n, draws=10_000, tuning=500)["binomial/0"]
    beta = found.ensemble.tuning.beta
    a, b = beta * y + 1.0, beta * (n - y) + 1.0
    exact = (
        beta * choose + special.betaln(a, b) + np.log(special.digamma(beta * n + 2.0) - special.digamma(a))
    )
    assert found.evidence.log_evidence == pytest.approx(exact[-1], abs=3.0 * found.evidence.error)
    assert found.evidence.log_evidence_at == pytest.approx(exact, abs=5.0 * found.evidence.error)
    assert found.evidence.error < 0.03


# ---- separated modes ---------------------------------------------------------------------------------------


def two_wells(theta, data):
    """Two wells of Nabika et al. (2024), for 100 points: 625 nats between them."""
    x, y = theta[0], theta[1]
    if x < 0.5:
        return -100.0 * (100.1 * (x - 0.25) ** 2 + 100.0 * (y - 0.5) ** 2)
    return -100.0 * (100.0 * (x - 0.75) ** 2 + 100.0 * (y - 0.5) ** 2 + 0.00625)


def needle_and_hill(theta, data):
    """Mixture of a narrow and a wide Gaussian in three dimensions: 0.3 N(-2, 0.2^2) + 0.7 N(2, 0.5^2)."""
    narrow, wide = math.log(0.3), math.log(0.7)
    for j in range(3):
        narrow -= 0.5 * ((theta[j] + 2.0) / 0.2) ** 2 + math.log(0.2) + HALF_LOG_2PI
        wide -= 0.5 * ((theta[j] - 2.0) / 0.5) ** 2 + math.log(0.5) + HALF_LOG_2PI
    largest = max(narrow, wide)
    return largest + math.log(math.exp(narrow - largest) + math.exp(wide - largest))


def masses_of_wells():
    """Integrals of both wells over their halves of the unit square."""
    along_y = math.sqrt(math.pi / 1e4) * math.erf(0.5 * 100.0)
    left = math.sqrt(math.pi / 10010.0) * math.erf(0.25 * math.sqrt(10010.0)) * along_y
    right = math.sqrt(math.pi / 1e4) * math.erf(0.25 * 100.0) * along_y * math.exp(-0.625)
    return left, right


def masses_of_needle_and_hill():
    law = stats.norm(0.0, math.sqrt(9.0 + 0.2**2)), stats.norm(0.0, math.sqrt(9.0 + 0.5**2))
    return 0.3 * law[0].pdf(-2.0) ** 3, 0.7 * law[1].pdf(2.0) ** 3


MODES = {
    "wells": (two_wells, {"x": laws.uniform(0.0, 1.0), "y": laws.uniform(0.0, 1.0)}, 0.5, masses_of_wells()),
    "needle": (
        needle_and_hill,
        {f"x{j}": laws.normal(0.0, 3.0) for j in range(3)},
        0.0,
        masses_of_needle_and_hill(),
    ),
}


@pytest.mark.parametrize("case", MODES)
def test_masses_of_two_separated_modes(run_sampler, case):
    function, priors, border, (left, right) = MODES[case]
    model = Model("modes", priors, function, form="compiled")
    found = list(run_sampler([model], seed=3, draws=4_000, tuning=1_000, copies=10).values())
    share = np.array([np.mean(one.slab.draws[:, 0] < border) for one in found])
    log_z = np.array([one.evidence.log_evidence for one in found])
    assert share.std(ddof=1) < 0.2, "every copy visits both modes"
    assert abs(share.mean() - left / (left + right)) < 4.0 * share.std(ddof=1) / math.sqrt(10)
    assert abs(log_z.mean() - math.log(left + right)) < 4.0 * log_z.std(ddof=1) / math.sqrt(10)


# ---- the prior at beta = 0, and the published spectrum -----------------------------------------------------


def nagata_model(make_spectrum, peaks):
    published = {
        "amplitude": laws.gamma(5.0, 5.0),
        "position": laws.normal(1.5, math.sqrt(0.2)),
        "precision": laws.gamma(5.0, 0.04),
    }
    x, y, _ = nagata2012()
    built = make_spectrum("gaussian_precision", peaks, "none", "known", x, y, sigma=0.1, priors=published)
    return Model(f"K={peaks}", built.priors, None, form="components", problem=built.problem)


def test_at_beta_zero_the_prior_is_sampled(run_sampler, make_spectrum):
    """Energies of level 0 are those of independent draws of the prior."""
    spectrum, (gaussian, _) = nagata_model(make_spectrum, 2), gaussian_model(3)
    found = run_sampler([spectrum, gaussian], seed=8, draws=4_000, tuning=64)
    x, y, _ = nagata2012()
    rng = np.random.default_rng(0)
    a, mu, b = (law.sample(rng, (4_000, 2, 1)) for law in list(spectrum.parameters.values())[:3])
    curves = np.sum(a * np.exp(-0.5 * b * (x - mu) ** 2), axis=1)
    expected = stats.norm.logpdf(y, curves, 0.1).sum(axis=1)
    theta = rng.normal(size=(4_000, 3))
    residual = gaussian.data[0] - theta @ gaussian.data[1:]
    of_gaussian = stats.norm.logpdf(residual, 0.0, SIGMA).sum(axis=1)
    for key, reference in (("K=2/0", expected), ("gaussian/0", of_gaussian)):
        energies = found[key].slab.energies[:, 0]
        assert stats.ks_2samp(energies, reference).pvalue > 1e-3
        lagged = stats.spearmanr(energies[1:], energies[:-1])
        assert abs(lagged.statistic) < 4.0 / math.sqrt(4_000), "draws are independent"


@pytest.mark.parametrize("peaks", [1, 2, 3, *(pytest.param(k, marks=pytest.mark.slow) for k in (4, 5))])
def test_free_energy_of_the_published_spectrum(run_sampler, make_spectrum, peaks):
    model = nagata_model(make_spectrum, peaks)
    draws = 15_000 if peaks < 4 else 40_000
    found = run_sampler([model], seed=1, draws=draws, tuning=2_000)[f"K={peaks}/0"]
    assert found.evidence.free_energy == pytest.approx(REFERENCE_FREE_ENERGY[peaks], abs=0.15)
    assert found.evidence.error < 0.12
    assert found.evidence.stepping_stone_forward == pytest.approx(found.evidence.log_evidence, abs=0.3)
    assert found.evidence.stepping_stone_backward == pytest.approx(found.evidence.log_evidence, abs=0.3)


def test_posterior_of_the_published_spectrum(run_sampler, make_spectrum):
    """Means of the long reference runs, peaks sorted by position; the tolerance is a third of a posterior sd."""
    draws = run_sampler([nagata_model(make_spectrum, 3)], seed=5, draws=10_000, tuning=2_000)[
        "K=3/0"
    ].slab.draws
    peaks = draws.reshape(-1, 3, 3)
    peaks = np.take_along_axis(peaks, np.argsort(peaks[:, :, 1], axis=1)[:, :, None], axis=1)
    mean, sd = peaks.mean(axis=0), peaks.std(axis=0)
    reference = np.array([[0.629, 1.2097, 81.9], [1.512, 1.4563, 159.3], [1.202, 1.6988, 181.3]])
    assert np.all(np.abs(mean - reference) < 0.35 * sd)
    assert sd[:, 1] == pytest.approx([0.0161, 0.0040, 0.0039], rel=0.15)
