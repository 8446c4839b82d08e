"""Every move of sums of components leaves prior * likelihood^beta invariant: see geweke.py."""

import pytest
from scipy import stats

from hpc_ds.infer import priors as laws
from hpc_ds.infer.kernels.moves import CONDITIONAL, METROPOLIS, PEAK, PERMUTE, REBIRTH, RELOCATE, SLICE, sweep

LEAST_P = 1e-4  # of a configuration, after Bonferroni; the seeds are fixed

# shape, number of peaks, background, noise, beta, ordered
METROPOLIS_CASES = [
    ("gaussian_precision", 2, "none", "known", 1.0, False),
    ("gaussian", 3, "linear", "known", 0.3, True),
    ("lorentzian", 1, "exponential", "estimated", 0.4, False),
    ("pseudo_voigt", 2, "shirley", "known", 1.0, True),
    ("pseudo_voigt", 1, "shirley", "estimated", 0.1, False),
    ("gaussian", 2, "constant", "poisson", 1.0, True),
    ("lorentzian", 1, "linear", "poisson", 1.0, False),
    ("gaussian", 1, "shirley", "poisson", 1.0, False),
]
CONDITIONAL_CASES = [
    ("gaussian_precision", 2, "none", "known", 1.0, False),
    ("gaussian", 2, "linear", "known", 0.02, True),
    ("lorentzian", 1, "exponential", "estimated", 0.4, False),
    ("pseudo_voigt", 2, "constant", "estimated", 1.0, False),
    ("gaussian", 1, "shirley", "estimated", 0.3, False),
]
PEAK_CASES = [
    ("gaussian_precision", 2, "none", "known", 0.05, True),
    ("gaussian", 2, "linear", "known", 0.01, False),
    ("lorentzian", 2, "exponential", "estimated", 0.1, True),
    ("pseudo_voigt", 1, "shirley", "known", 1.0, False),
    ("gaussian_precision", 1, "constant", "poisson", 1.0, False),
]
RELOCATE_CASES = [
    (*case[:4], min(case[4], 0.1), case[5]) if case[3] != "poisson" else case for case in PEAK_CASES
]
REBIRTH_CASES = [
    ("gaussian_precision", 2, "none", "known", 0.3, True),
    ("gaussian", 2, "linear", "known", 1.0, False),
    ("lorentzian", 2, "exponential", "estimated", 0.1, True),
    ("pseudo_voigt", 1, "shirley", "estimated", 0.4, False),
    ("pseudo_voigt", 2, "shirley", "known", 0.1, True),
    ("gaussian", 2, "constant", "poisson", 1.0, False),
    ("lorentzian", 1, "shirley", "poisson", 1.0, False),
]
CASES = {
    "metropolis": (METROPOLIS, METROPOLIS_CASES),
    "slice": (SLICE, METROPOLIS_CASES),
    "conditional": (CONDITIONAL, CONDITIONAL_CASES),
    "peak": (PEAK, PEAK_CASES),
    "relocate": (RELOCATE, RELOCATE_CASES),
    "rebirth": (REBIRTH, REBIRTH_CASES),
    "permute": (PERMUTE, [case for case in PEAK_CASES if case[1] > 1]),
}
ALL_MOVES = (CONDITIONAL, METROPOLIS, PEAK, REBIRTH, RELOCATE, PERMUTE, SLICE)


@pytest.mark.parametrize(
    ("move", "case"), [(move, case) for move, (_, cases) in CASES.items() for case in cases], ids=str
)
def test_move_keeps_the_prior(geweke, move, case):
    assert geweke.p_value(sweep, (CASES[move][0],), case) > LEAST_P


@pytest.mark.parametrize("case", METROPOLIS_CASES, ids=str)
def test_all_moves_in_turn_keep_the_prior(geweke, case):
    assert geweke.p_value(sweep, ALL_MOVES, case, repetitions=4_000, sweeps=5) > LEAST_P


@pytest.mark.parametrize(
    "case",
    [("gaussian", 1, "linear", "known", 1e-3, False), ("gaussian", 1, "linear", "estimated", 1e-3, False)],
    ids=str,
)
def test_conditional_keeps_the_prior_however_small_its_first_interval(geweke, case):
    """Stepping out is limited; the slices here are longer than that."""
    wide = {"amplitude": laws.normal(2.0, 1.0), "noise": laws.lognormal(-0.5, 0.1)}
    assert geweke.p_value(sweep, (CONDITIONAL,), case, priors=wide, scale=0.004) > LEAST_P


def test_peaks_of_unlike_priors_are_exchanged_rightly(geweke):
    unlike = {
        "position[1]": laws.normal(1.2, 0.2),
        "amplitude[2]": laws.exponential(1.0),
        "width[2]": laws.gamma(4.0, 4.0),
    }
    case = ("gaussian", 2, "none", "known", 0.5, False)
    assert geweke.p_value(sweep, (PERMUTE,), case, priors=unlike) > LEAST_P


def test_fixed_parameters_stay_and_the_others_keep_the_prior(geweke):
    known = {
        "position[1]": laws.fixed(1.0),
        "amplitude[2]": laws.fixed(2.0),
        "background_slope": laws.fixed(0.5),
    }
    case = ("gaussian", 2, "linear", "known", 0.5, False)
    assert geweke.p_value(sweep, ALL_MOVES, case, priors=known) > LEAST_P


def test_fresh_draws_of_ordered_positions_are_sorted_independent_draws(geweke):
    case = ("gaussian", 3, "none", "known", 1.0, True)
    spectrum, _, _ = geweke.setting(case, {}, 0.0)
    found = geweke.records(sweep, (), spectrum, spectrum.problem, 1.0, 0, 20_000, 1)
    law = stats.norm(1.5, 0.4)
    for k in range(3):
        position = found[:, 3 * k + 1]
        assert stats.kstest(stats.beta(k + 1, 3 - k).cdf(law.cdf(position)), "uniform").pvalue > LEAST_P
