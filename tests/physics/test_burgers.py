"""Burgers' equation is solved as Cole and Hopf solved it, and keeps what it must keep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import ive

from hpc_ds.physics import burgers
from hpc_ds.physics.random_fields import periodic_field


def points(n):
    return np.arange(n) / n


def cole_hopf(x, t, viscosity):
    """Exact solution from u(x, 0) = sin(2 pi x).

    With u = -2 nu phi_x / phi the equation becomes phi_t = nu phi_xx, and phi(x, 0) = exp(cos(2 pi x) / (4 pi nu)).
    By exp(r cos a) = I_0(r) + 2 sum_k I_k(r) cos(k a) (Jacobi & Anger) each cosine then decays by itself:
    phi = I_0(r) + 2 sum_k I_k(r) exp(-nu (2 pi k)^2 t) cos(2 pi k x) with r = 1 / (4 pi nu).
    """
    r, k = 1.0 / (4.0 * np.pi * viscosity), np.arange(1, 200)
    weight = 2.0 * ive(k, r) * np.exp(-viscosity * (2.0 * np.pi * k) ** 2 * t)
    phase = 2.0 * np.pi * np.outer(x, k)
    phi = ive(0, r) + np.cos(phase) @ weight
    return 4.0 * np.pi * viscosity * (np.sin(phase) @ (k * weight)) / phi


def random_fields(count, n, start=0):
    return np.stack(
        [
            periodic_field(np.random.default_rng(start + i), (n,), 25.0, 5.0, 2.0, zero_mean=True)
            for i in range(count)
        ]
    )


def from_sine(n, viscosity, times, step):
    return burgers.solve([np.sin(2 * np.pi * points(n))], [viscosity], times, step)[0]


@pytest.mark.parametrize(("viscosity", "tolerance"), [(0.1, 1e-11), (0.03, 1e-11), (0.01, 1e-9)])
def test_a_sine_becomes_the_shock_of_cole_and_hopf(viscosity, tolerance):
    times = [0.0, 0.1, 0.3, 1.0]
    found = from_sine(512, viscosity, times, 5e-4)
    for field, t in zip(found[1:], times[1:]):
        assert np.abs(field - cole_hopf(points(512), t, viscosity)).max() < tolerance


def test_error_falls_exponentially_with_the_number_of_points():
    sizes = (32, 64, 128, 256)
    errors = [
        np.abs(from_sine(n, 0.02, [0.5], 2.5e-4)[0] - cole_hopf(points(n), 0.5, 0.02)).max() for n in sizes
    ]
    # exp(-c n): twice the points square the error; a scheme of order p would divide it by 2^p.
    assert errors[1] < 2 * errors[0] ** 1.8
    assert errors[2] < 2 * errors[1] ** 1.8
    assert errors[3] < 1e-11


def test_time_steps_are_of_fourth_order():
    exact = cole_hopf(points(256), 0.5, 0.02)
    errors = [np.abs(from_sine(256, 0.02, [0.5], h)[0] - exact).max() for h in (0.02, 0.01, 0.005)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all((orders > 3.7) & (orders < 4.4)), orders


def test_small_waves_obey_the_heat_equation():
    n, k, viscosity, times = 64, np.array([1, 3, 7]), 0.05, [0.1, 0.4]
    waves = np.cos(2 * np.pi * np.outer(k, points(n)))
    found = burgers.solve(1e-9 * waves, [viscosity] * 3, times, 1e-2)
    decay = np.exp(-viscosity * (2 * np.pi * k[:, None]) ** 2 * times)
    assert found / 1e-9 == pytest.approx(decay[:, :, None] * waves[:, None], abs=1e-7)


def test_the_mean_is_kept():
    fields = random_fields(3, 128) + np.array([[0.0], [0.7], [-1.3]])
    found = burgers.solve(fields, [0.1, 0.03, 0.3], [0.0, 0.5, 1.0], 1e-3)
    assert found.mean(axis=2) == pytest.approx(np.repeat(fields.mean(axis=1)[:, None], 3, axis=1), abs=1e-14)


def test_a_moving_observer_sees_the_same_flow():
    # If u solves the equation, so does c + u(x - c t, t): here the shift c t is 0.25, a whole number of points.
    field = random_fields(1, 256)
    rest = burgers.solve(field, [0.05], [0.5], 1e-3)[0, 0]
    moving = burgers.solve(field + 0.5, [0.05], [0.5], 1e-3)[0, 0]
    assert moving == pytest.approx(0.5 + np.roll(rest, 64), abs=1e-8)


def test_energy_is_lost_by_viscosity_alone():
    # d/dt mean(u^2) / 2 = -nu mean(u_x^2); the derivative by a five-point formula, error of order dt^4.
    viscosity, dt = 0.05, 1e-3
    u = burgers.solve(random_fields(1, 256), [viscosity], 0.2 + dt * np.arange(5), dt / 4)[0]
    energy = 0.5 * np.mean(u**2, axis=1)
    rate = (energy[0] - 8 * energy[1] + 8 * energy[3] - energy[4]) / (12 * dt)
    slope = np.fft.irfft(2j * np.pi * np.arange(129) * np.fft.rfft(u[2]))
    assert rate == pytest.approx(-viscosity * np.mean(slope**2), rel=1e-8)


def test_finer_grids_give_the_same_function():
    fine = burgers.solve(random_fields(2, 1024), [0.02, 0.1], [0.5], 1e-3)
    coarse = burgers.solve(random_fields(2, 512), [0.02, 0.1], [0.5], 1e-3)
    assert coarse == pytest.approx(fine[:, :, ::2], abs=1e-8)


def test_neighbours_change_no_bit():
    fields, viscosity, times = random_fields(11, 64), np.geomspace(0.01, 1.0, 11), [0.0, 0.05, 0.1]
    together = burgers.solve(fields, viscosity, times, 1e-2)
    for i in range(11):
        alone = burgers.solve(fields[i : i + 1], viscosity[i : i + 1], times, 1e-2)
        assert alone[0].tobytes() == together[i].tobytes()
    backwards = burgers.solve(fields[::-1], viscosity[::-1], times, 1e-2)
    assert backwards[::-1].tobytes() == together.tobytes()


def test_a_sample_that_blows_up_harms_no_other():
    fields = random_fields(8, 64)
    calm = burgers.solve(fields, [0.1] * 8, [0.5], 1e-2)
    fields[3] *= 1e6
    stormy = burgers.solve(fields, [0.1] * 8, [0.5], 1e-2)
    assert not np.isfinite(stormy[3]).any()
    others = np.arange(8) != 3
    assert stormy[others].tobytes() == calm[others].tobytes()


def test_threads_that_solve_at_the_same_time_change_no_bit():
    fields = random_fields(8, 64)

    def solve(_):
        return burgers.solve(fields, [0.1] * 8, [0.2], 1e-2).tobytes()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(solve, range(8))) == {solve(0)}
