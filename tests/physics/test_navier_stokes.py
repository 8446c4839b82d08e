"""Flow on the torus decays, turns and loses energy as it must, and a plain solver of another form agrees."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_ds.physics import navier_stokes
from hpc_ds.physics.random_fields import periodic_field


def grid(n):
    return np.meshgrid(np.arange(n) / n, np.arange(n) / n, indexing="ij")


def random_vorticity(count, n, start=0, cutoff=8):
    return np.stack(
        [
            periodic_field(
                np.random.default_rng(start + i), (n, n), 7**1.5, 7.0, 2.5, zero_mean=True, cutoff=cutoff
            )
            for i in range(count)
        ]
    )


def derivative(field, axis):
    n = field.shape[0]
    k = 2j * np.pi * np.fft.fftfreq(n, 1 / n)
    k = k[:, None] if axis == 0 else k
    return np.fft.ifft2(k * np.fft.fft2(field)).real


def stream_function(w):
    n = len(w)
    k = 2 * np.pi * np.fft.fftfreq(n, 1 / n)
    square = k[:, None] ** 2 + k**2
    square[0, 0] = np.inf
    return np.fft.ifft2(np.fft.fft2(w) / square).real


def test_taylor_green_vortices_decay():
    # w = 2 k cos(k x) cos(k y), k = 2 pi: advection vanishes, and Laplacian w = -2 k^2 w, so that w decays as
    # exp(-8 pi^2 nu t).
    x, y = grid(32)
    w = 4 * np.pi * np.cos(2 * np.pi * x) * np.cos(2 * np.pi * y)
    viscosity, times = np.array([1e-2, 1e-3, 0.0]), np.array([0.0, 0.5, 2.0])
    found = navier_stokes.solve([w] * 3, viscosity, times, 0.05)
    decay = np.exp(-8 * np.pi**2 * viscosity[:, None] * times)
    assert found == pytest.approx(decay[:, :, None, None] * w, abs=1e-11)


def test_the_standard_forcing_builds_up_its_steady_flow():
    # The forcing depends on x + y alone, and so does its flow: advection vanishes and w = f (1 - exp(-8 pi^2 nu t)) /
    # (8 pi^2 nu).
    f, nu, times = navier_stokes.standard_forcing(32), 1e-2, np.array([1.0, 5.0, 40.0])
    found = navier_stokes.solve(np.zeros((1, 32, 32)), [nu], times, 0.1, f)[0]
    rate = 8 * np.pi**2 * nu
    assert found == pytest.approx(((1 - np.exp(-rate * times)) / rate)[:, None, None] * f, abs=1e-12)


def plain_slope(w, viscosity, forcing):
    """Slope of the vorticity in the advective form, five transforms, without aliasing."""
    n = len(w)
    psi = stream_function(w)
    advection = derivative(psi, 1) * derivative(w, 0) - derivative(psi, 0) * derivative(w, 1)
    k = np.abs(np.fft.fftfreq(n, 1 / n))
    kept = np.maximum(k[:, None], k) <= (n - 1) // 3
    advection = np.fft.ifft2(np.where(kept, np.fft.fft2(advection), 0)).real
    return (
        forcing - advection + viscosity * (derivative(derivative(w, 0), 0) + derivative(derivative(w, 1), 1))
    )


def test_a_plain_solver_agrees():
    n, nu, h, steps = 32, 2e-3, 0.005, 100
    f, start = navier_stokes.standard_forcing(n), 3 * random_vorticity(1, n)[0]
    w = start
    for _ in range(steps):  # the classical scheme of Runge and Kutta
        a = plain_slope(w, nu, f)
        b = plain_slope(w + h / 2 * a, nu, f)
        c = plain_slope(w + h / 2 * b, nu, f)
        d = plain_slope(w + h * c, nu, f)
        w = w + h / 6 * (a + 2 * b + 2 * c + d)
    found = navier_stokes.solve([start], [nu], [steps * h], h, f)[0, 0]
    assert np.abs(found - start).max() > 0.1
    assert found == pytest.approx(w, abs=1e-9)


def test_energy_and_enstrophy_follow_their_budgets():
    # d/dt <w^2>/2 = <w f> - nu <|grad w|^2> and d/dt <|u|^2>/2 = <psi f> - nu <w^2>; time derivatives by five points.
    n, nu, dt = 64, 1e-3, 5e-3
    f = navier_stokes.standard_forcing(n)
    w = navier_stokes.solve(3 * random_vorticity(1, n), [nu], 1 + dt * np.arange(5), dt, f)[0]
    enstrophy = 0.5 * np.mean(w**2, axis=(1, 2))
    energy = 0.5 * np.mean(np.sum(navier_stokes.velocity(w) ** 2, axis=-1), axis=(1, 2))
    rate, energy_rate = (np.dot([1, -8, 0, 8, -1], series) / (12 * dt) for series in (enstrophy, energy))
    now = w[2]
    gradient = derivative(now, 0) ** 2 + derivative(now, 1) ** 2
    assert rate == pytest.approx(np.mean(now * f) - nu * np.mean(gradient), abs=1e-8)
    assert energy_rate == pytest.approx(
        np.mean(stream_function(now) * f) - nu * np.mean(now**2), rel=1e-6, abs=1e-10
    )


def test_without_viscosity_and_forcing_energy_and_enstrophy_are_kept():
    w = navier_stokes.solve(3 * random_vorticity(1, 64), [0.0], [0.0, 1.0], 0.01)[0]
    assert np.abs(w[1] - w[0]).max() > 0.5
    enstrophy = np.mean(w**2, axis=(1, 2))
    energy = np.mean(navier_stokes.velocity(w) ** 2, axis=(1, 2, 3))
    assert enstrophy[1] == pytest.approx(enstrophy[0], rel=1e-8)
    assert energy[1] == pytest.approx(energy[0], rel=1e-8)


def test_time_steps_are_of_fourth_order():
    start, f = 3 * random_vorticity(1, 32), navier_stokes.standard_forcing(32)
    fine = navier_stokes.solve(start, [1e-3], [2.0], 0.00625, f)
    errors = [
        np.abs(navier_stokes.solve(start, [1e-3], [2.0], h, f) - fine).max() for h in (0.1, 0.05, 0.025)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all((orders > 3.7) & (orders < 4.4)), orders


def test_a_smooth_flow_is_the_same_on_64_and_128_points():
    f = navier_stokes.standard_forcing
    coarse = navier_stokes.solve(random_vorticity(1, 64), [1e-3], [1.0], 0.02, f(64))
    fine = navier_stokes.solve(random_vorticity(1, 128), [1e-3], [1.0], 0.02, f(128))
    assert coarse == pytest.approx(fine[:, :, ::2, ::2], abs=1e-9)


def test_vorticity_has_no_mean():
    start = random_vorticity(2, 32)
    found = navier_stokes.solve(start + 5.0, [1e-2, 1e-3], [0.0, 1.0], 0.05, np.ones((32, 32)))
    assert found.mean(axis=(2, 3)) == pytest.approx(0.0, abs=1e-15)
    without = navier_stokes.solve(start, [1e-2, 1e-3], [0.0, 1.0], 0.05)
    assert found == pytest.approx(without, abs=1e-13)


def test_axes_are_x_and_y():
    # Two shear flows carry each other. Of w = sin(k y) + sin(2 k x) the velocity is u = cos(k y) / k and
    # v = -cos(2 k x) / (2 k), so that at first w_t = -(u w_x + v w_y) = -3/2 cos(k y) cos(2 k x).
    x, y = grid(32)
    k, h = 2 * np.pi, 1e-5
    w = np.sin(k * y) + np.sin(2 * k * x)
    found = navier_stokes.solve([w], [0.0], [h], h)[0, 0]
    assert (found - w) / h == pytest.approx(-1.5 * np.cos(k * y) * np.cos(2 * k * x), abs=1e-4)


def test_velocity_has_the_vorticity_as_its_curl_and_no_divergence():
    w = random_vorticity(1, 32)[0]
    u, v = np.moveaxis(navier_stokes.velocity(w), -1, 0)
    assert derivative(v, 0) - derivative(u, 1) == pytest.approx(w, abs=1e-13)
    assert derivative(u, 0) + derivative(v, 1) == pytest.approx(0.0, abs=1e-13)


def test_neighbours_change_no_bit():
    fields, viscosity, times = (
        3 * random_vorticity(10, 16, cutoff=5),
        np.geomspace(1e-3, 1e-1, 10),
        [0.0, 0.5],
    )
    forcing = navier_stokes.standard_forcing(16)
    together = navier_stokes.solve(fields, viscosity, times, 0.05, forcing)
    for i in range(10):
        alone = navier_stokes.solve(fields[i : i + 1], viscosity[i : i + 1], times, 0.05, forcing)
        assert alone[0].tobytes() == together[i].tobytes()


def test_a_sample_that_blows_up_harms_no_other():
    fields = random_vorticity(8, 16, cutoff=5)
    calm = navier_stokes.solve(fields, [1e-3] * 8, [1.0], 0.05)
    fields[6] *= 1e8
    stormy = navier_stokes.solve(fields, [1e-3] * 8, [1.0], 0.05)
    assert not np.isfinite(stormy[6]).any()
    others = np.arange(8) != 6
    assert stormy[others].tobytes() == calm[others].tobytes()


@pytest.mark.parametrize(("shape", "forcing"), [((1, 16, 32), None), ((16, 16), None), ((1, 16, 16), (8, 8))])
def test_wrong_shapes_are_named(shape, forcing):
    with pytest.raises(ValueError, match="has shape"):
        navier_stokes.solve(
            np.zeros(shape), [1.0], [1.0], 0.1, None if forcing is None else np.zeros(forcing)
        )
