"""The transforms of lanes are the discrete Fourier transform, and the steps' coefficients are their integrals."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_ds.physics.kernels.etdrk4 import coefficients
from hpc_ds.physics.kernels.fft import roots, transform
from hpc_ds.physics.kernels.lanes import LANES, zeros
from hpc_ds.physics.spectral import check, is_resolved, steps_between


def lanes_of(values):
    """Array of lanes of complex numbers (n, LANES)."""
    out = zeros(len(values), 2, LANES)
    out[:, 0], out[:, 1] = values.real, values.imag
    return out


def numbers_in(lanes):
    return lanes[:, 0] + 1j * lanes[:, 1]


def random_numbers(n):
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, LANES)) + 1j * rng.normal(size=(n, LANES))


@pytest.mark.parametrize("n", [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096])
def test_transform_is_the_discrete_fourier_transform_in_every_lane(n):
    x, y = random_numbers(n), zeros(n, 2, LANES)
    transform(roots(n), lanes_of(x), 0, 1, y, 0, 1, zeros(n, 2, LANES), zeros(n, 2, LANES))
    wanted = np.fft.fft(x, axis=0)
    assert np.abs(numbers_in(y) - wanted).max() < 1e-15 * np.log2(2 * n) * np.abs(wanted).max()


def test_transform_with_exchanged_parts_is_the_inverse():
    n = 64
    x, y = random_numbers(n), zeros(n, 2, LANES)
    exchanged = np.ascontiguousarray(lanes_of(x)[:, ::-1])
    transform(roots(n), exchanged, 0, 1, y, 0, 1, zeros(n, 2, LANES), zeros(n, 2, LANES))
    assert numbers_in(y[:, ::-1]) == pytest.approx(n * np.fft.ifft(x, axis=0), abs=1e-13)


@pytest.mark.parametrize("n", [2, 4, 8, 32, 64])
def test_transform_reads_and_writes_columns(n):
    table, out = random_numbers(3 * n), zeros(5 * n, 2, LANES)
    transform(roots(n), lanes_of(table), 1, 3, out, 4, 5, zeros(n, 2, LANES), zeros(n, 2, LANES))
    assert numbers_in(out[4::5]) == pytest.approx(np.fft.fft(table[1::3], axis=0), abs=1e-13)
    assert np.count_nonzero(out) == np.count_nonzero(out[4::5])


def test_arrays_of_lanes_begin_at_a_cache_line():
    assert all(zeros(n, 2, LANES).ctypes.data % 64 == 0 for n in range(1, 20))


def test_coefficients_are_their_contour_integrals():
    # The functions phi are entire: the mean over a circle about z is their value there, and far from zero the formulas
    # lose no digits (Kassam & Trefethen 2005).
    z = -np.concatenate([[0.0], np.geomspace(1e-8, 1e5, 200)])
    h = 0.01
    found = coefficients(np.repeat(z[:, None] / h, LANES, axis=1), h).reshape(z.size, 5, LANES)[:, :, 3]
    circle = 2.0 * np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)

    def phi(x):
        one = np.expm1(x) / x
        two = (one - 1.0) / x
        return one, two, (two - 0.5) / x

    one, two, three = phi(z[:, None] + circle)
    wanted = [
        np.exp(0.5 * z),
        0.5 * h * phi(0.5 * z[:, None] + circle)[0].mean(axis=1).real,
        h * (one - 3 * two + 4 * three).mean(axis=1).real,
        h * (2 * two - 4 * three).mean(axis=1).real,
        h * (4 * three - two).mean(axis=1).real,
    ]
    for i, value in enumerate(wanted):
        assert found[:, i] == pytest.approx(value, rel=1e-13, abs=1e-15 * h), i


def test_the_time_between_two_moments_is_divided_evenly():
    assert steps_between(0.0, 1.0, 0.25) == 4
    assert steps_between(0.0, 1.0, 0.3) == 4
    assert steps_between(0.1, 0.1 + 3 * 0.1, 0.1) == 3  # rounding alone adds no step
    assert steps_between(0.5, 0.5, 0.1) == 0


def test_a_field_is_resolved_where_its_highest_modes_are_small():
    x = np.arange(64) / 64
    smooth, rough = np.exp(np.sin(2 * np.pi * x)), np.sign(np.sin(2 * np.pi * x) + 0.1)
    assert is_resolved(np.stack([smooth, smooth]))
    assert not is_resolved(np.stack([smooth, rough]))
    assert not is_resolved(np.stack([smooth, smooth * np.nan]))
    assert is_resolved(np.zeros((2, 16, 16)))


@pytest.mark.parametrize(
    ("shape", "viscosity", "times", "step", "words"),
    [
        ((2, 12), [1, 1], [1], 0.1, "power of two"),
        ((2, 4), [1, 1], [1], 0.1, "power of two"),
        ((16,), [1], [1], 0.1, r"\(samples, n\)"),
        ((2, 16), [1], [1], 0.1, "viscosity"),
        ((2, 16), [1, -1], [1], 0.1, "viscosity"),
        ((2, 16), [1, np.nan], [1], 0.1, "viscosity"),
        ((2, 16), [1, 1], [-1, 1], 0.1, "from 0 on"),
        ((2, 16), [1, 1], [0, np.inf], 0.1, "finite"),
        ((2, 16), [1, 1], [1, 1], 0.1, "increase"),
        ((2, 16), [1, 1], [], 0.1, "times"),
        ((2, 16), [1, 1], [1], 0.0, "step"),
        ((2, 16), [1, 1], [1], np.nan, "step"),
    ],
)
def test_wrong_input_is_named(shape, viscosity, times, step, words):
    with pytest.raises(ValueError, match=words):
        check(np.zeros(shape), np.asarray(viscosity, float), 1, np.asarray(times, float), step)
