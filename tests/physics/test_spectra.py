"""Peaks, areas and backgrounds agree with their definitions, and the published spectrum is reproduced."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid, quad

from hpc_ds.physics import spectra

WIDTH = 0.7
PEAKS = {
    "gaussian": (lambda x: spectra.gaussian(x, 1.3, 0.4, WIDTH), spectra.gaussian_area(1.3, WIDTH)),
    "lorentzian": (lambda x: spectra.lorentzian(x, 1.3, 0.4, WIDTH), spectra.lorentzian_area(1.3, WIDTH)),
    "pseudo_voigt": (
        lambda x: spectra.pseudo_voigt(x, 1.3, 0.4, WIDTH, 0.35),
        spectra.pseudo_voigt_area(1.3, WIDTH, 0.35),
    ),
    "gaussian_precision": (
        lambda x: spectra.gaussian_precision(x, 1.3, 0.4, spectra.precision_from_fwhm(WIDTH)),
        spectra.gaussian_precision_area(1.3, spectra.precision_from_fwhm(WIDTH)),
    ),
}


@pytest.mark.parametrize("name", PEAKS)
def test_area_is_the_integral_over_all_x(name):
    peak, area = PEAKS[name]
    # Substituting x = 0.4 + tan(t) brings the slow tails of the Lorentzian to a finite interval.
    integral, _ = quad(
        lambda t: peak(0.4 + np.tan(t)) / np.cos(t) ** 2, -np.pi / 2, np.pi / 2, epsabs=1e-12, limit=200
    )
    assert area == pytest.approx(integral, rel=1e-10)


@pytest.mark.parametrize("name", PEAKS)
def test_peak_has_its_height_and_half_of_it_at_half_the_width(name):
    peak, _ = PEAKS[name]
    assert peak(0.4) == pytest.approx(1.3, rel=1e-15)
    assert peak(np.array([0.4 - WIDTH / 2, 0.4 + WIDTH / 2])) == pytest.approx([0.65, 0.65], rel=1e-14)


def test_pseudo_voigt_lies_between_its_two_limits():
    x = np.linspace(-2, 2, 9)
    assert np.array_equal(spectra.pseudo_voigt(x, 2, 0.1, 0.5, 0), spectra.gaussian(x, 2, 0.1, 0.5))
    assert np.array_equal(spectra.pseudo_voigt(x, 2, 0.1, 0.5, 1), spectra.lorentzian(x, 2, 0.1, 0.5))


def test_precision_and_width_are_inverse_to_each_other():
    width = np.array([0.01, 1.0, 300.0])
    assert spectra.fwhm_from_precision(spectra.precision_from_fwhm(width)) == pytest.approx(width, rel=1e-15)
    x = np.linspace(-1, 1, 7)
    form = spectra.gaussian_precision(x, 1, 0, spectra.precision_from_fwhm(0.5))
    assert form == pytest.approx(spectra.gaussian(x, 1, 0, 0.5), rel=1e-14)


def test_several_peaks_broadcast():
    x = np.linspace(0, 1, 5)
    amplitude, position, width = np.array([[1.0], [2.0]]), np.array([[0.2], [0.6]]), np.array([[0.1], [0.3]])
    both = spectra.lorentzian(x, amplitude, position, width)
    assert both.shape == (2, 5)
    assert np.array_equal(both[1], spectra.lorentzian(x, 2.0, 0.6, 0.3))


def test_simple_backgrounds_have_their_values():
    x = np.array([2.0, 3.0, 6.0])
    assert spectra.constant(x, 1.5).tolist() == [1.5, 1.5, 1.5]
    assert spectra.linear(x, 1.0, 0.5, 3.0).tolist() == [0.5, 1.0, 2.5]
    assert spectra.exponential(x, 4.0, 2.0) == pytest.approx(4.0 * np.exp([0.0, -0.5, -2.0]), rel=1e-15)
    assert spectra.exponential(x, 4.0, 2.0, x_min=0.0)[0] == pytest.approx(4.0 * np.exp(-1.0), rel=1e-15)


def test_shirley_rises_with_the_integral_of_the_peaks():
    x = np.sort(np.random.default_rng(0).uniform(280, 295, 200))
    peaks = spectra.gaussian(x, 5.0, 285.0, 1.2) + spectra.gaussian(x, 3.0, 289.0, 1.0)
    background = spectra.shirley(x, peaks, 2.0, 0.7)
    area = cumulative_trapezoid(peaks, x, initial=0)
    assert background == pytest.approx(2.0 + 0.7 * area / area[-1], rel=1e-14)
    assert (background[0], background[-1]) == (2.0, 2.7)
    assert np.all(np.diff(background) >= 0)


def test_shirley_of_one_gaussian_is_its_distribution_function():
    from scipy.special import ndtr

    x = np.linspace(-8, 8, 4001)
    background = spectra.shirley(x, spectra.gaussian_precision(x, 3.0, 0.5, 1.0), 0.0, 1.0)
    assert background == pytest.approx(ndtr(x - 0.5), abs=1e-6)


def test_shirley_without_peaks_is_flat_and_batches_agree_with_single_rows():
    x = np.linspace(0, 1, 11)
    assert spectra.shirley(x, np.zeros(11), 2.0, 5.0).tolist() == [2.0] * 11
    peaks = np.stack([np.zeros(11), spectra.gaussian(x, 1, 0.5, 0.2)])
    batch = spectra.shirley(x, peaks, np.array([[1.0], [2.0]]), 0.5)
    assert np.array_equal(batch[1], spectra.shirley(x, peaks[1], 2.0, 0.5))


def test_published_spectrum_is_reproduced():
    x, y, truth = spectra.nagata2012()
    assert len(x) == len(y) == 301
    assert (x[0], x[-1]) == (0.0, 3.0)
    assert y[:3] == pytest.approx([0.1764052346, 0.0400157208, 0.0978737984], abs=5e-11)
    assert truth["position"].tolist() == [1.21, 1.455, 1.703]
    clean = spectra.gaussian_precision(
        x[:, None], truth["amplitude"], truth["position"], truth["precision"]
    ).sum(axis=1)
    assert ((y - clean) ** 2).sum() / (2 * truth["noise"] ** 2) == pytest.approx(151.1776556, abs=5e-8)


def test_other_seeds_give_other_noise_on_the_same_curve():
    first, second = spectra.nagata2012(0), spectra.nagata2012(1)
    assert np.array_equal(first.x, second.x)
    assert np.std(first.y - second.y) == pytest.approx(0.1 * np.sqrt(2), rel=0.15)
