"""Darcy flow agrees with exact solutions at second order, with a direct solver, and conserves what flows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from hpc_ds.physics.darcy import (
    face_coefficients,
    log_normal_coefficient,
    outflow,
    pressure,
    threshold_coefficient,
)
from hpc_ds.physics.random_fields import neumann_field


def nodes(n):
    x = np.linspace(0.0, 1.0, n)
    return np.meshgrid(x, x, indexing="ij")


def random_field(n, seed=0):
    rng = np.random.Generator(np.random.Philox(seed))
    return neumann_field(rng, (n, n), 3.0, 3.0, 2.0, zero_mean=True)


def direct(coefficient, source=1.0, mean="arithmetic"):
    """The same equations by SuperLU."""
    faces_x, faces_y = face_coefficients(coefficient, mean)
    m, spacing = len(coefficient) - 2, 1.0 / (len(coefficient) - 1)
    along_y = faces_y[:, 1:].copy()
    along_y[:, -1] = 0.0
    diagonal = faces_x[:-1] + faces_x[1:] + faces_y[:, :-1] + faces_y[:, 1:]
    near, far = -along_y.ravel()[:-1], -faces_x[1:-1].ravel()
    matrix = scipy.sparse.diags_array(
        [diagonal.ravel(), near, near, far, far], offsets=[0, 1, -1, m, -m], format="csc"
    )
    right = np.broadcast_to(source, coefficient.shape)[1:-1, 1:-1] * spacing**2
    return np.pad(scipy.sparse.linalg.spsolve(matrix, right.ravel()).reshape(m, m), 1)


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_manufactured_solution_with_a_variable_coefficient_converges_at_second_order(mean):
    # u = sin(pi x) sin(2 pi y), a = exp(x) (2 + y^2), f = -a lap u - grad a . grad u.
    errors = []
    for n in (17, 33, 65, 129):
        x, y = nodes(n)
        a = np.exp(x) * (2.0 + y**2)
        u = np.sin(np.pi * x) * np.sin(2 * np.pi * y)
        along_x = np.pi * np.cos(np.pi * x) * np.sin(2 * np.pi * y)
        along_y = 2 * np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y)
        f = 5 * np.pi**2 * a * u - a * along_x - 2 * y * np.exp(x) * along_y
        errors.append(np.abs(pressure(a, f, mean, tolerance=1e-13) - u).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([2.0] * 3, abs=0.06)
    assert errors[-1] < 3e-4


def test_middle_of_the_square_with_unit_coefficient_is_the_eigen_series():
    # u(1/2, 1/2) = sum over odd m, n of 16 (-1)^((m + n) / 2 - 1) / (pi^4 m n (m^2 + n^2)); summed over n it is
    # 4 / pi^3 sum over odd m of (-1)^((m - 1) / 2) (1 - 1 / cosh(m pi / 2)) / m^3, whose first part is 1 / 8.
    m = np.arange(1, 40, 2)
    series = 1 / 8 - 4 / np.pi**3 * ((-1.0) ** ((m - 1) // 2) / (m**3 * np.cosh(m * np.pi / 2))).sum()
    assert series == pytest.approx(0.0736713, abs=1e-7)
    errors = [
        abs(pressure(np.ones((n, n)), tolerance=1e-13)[n // 2, n // 2] - series) for n in (17, 33, 65, 129)
    ]
    assert errors[-1] < 4e-6
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([2.0] * 3, abs=0.02)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 10, 18, 33, 34, 65, 66, 85, 101])
@pytest.mark.parametrize("kind", ["unit", "threshold", "log-normal", "extreme"])
def test_solution_is_that_of_a_direct_solver_for_every_size_and_contrast(n, kind):
    field = random_field(n)
    coefficient = {
        "unit": np.ones((n, n)),
        "threshold": threshold_coefficient(field),
        "log-normal": log_normal_coefficient(8.0 * field, 2.0),
        "extreme": threshold_coefficient(field, 1e-4, 1e3),
    }[kind]
    if n == 3:
        expected = np.zeros((3, 3))
        faces_x, faces_y = face_coefficients(coefficient)
        expected[1, 1] = 0.25 / (faces_x.sum() + faces_y.sum())
    else:
        expected = direct(coefficient)
    scale = np.abs(expected).max()
    assert pressure(coefficient) == pytest.approx(expected, abs=1e-7 * scale)
    assert pressure(coefficient, tolerance=1e-14) == pytest.approx(expected, abs=1e-9 * scale)


@pytest.mark.parametrize("n", [34, 85, 130, 211])
def test_steps_do_not_grow_with_the_grid(n):
    from hpc_ds.physics.kernels.multigrid import solve

    faces_x, faces_y = face_coefficients(threshold_coefficient(random_field(n, 3)))
    _, steps = solve(faces_x, faces_y, np.full((n - 2, n - 2), 1.0), 1e-10, 50)
    assert 0 < steps <= 10


def test_preconditioner_is_symmetric_and_positive():
    from hpc_ds.physics.kernels import coarsening, multigrid

    m = 21
    faces_x, faces_y = face_coefficients(threshold_coefficient(random_field(m + 2)))
    starts = coarsening.level_starts(m)
    matrix, weights = np.zeros((6, starts[-1])), np.zeros((9, starts[-1]))
    multigrid.set_up(faces_x, faces_y, matrix, weights, starts, m)
    images = []
    for k in range(m * m):
        known, unknown = np.zeros(starts[-1]), np.zeros(starts[-1])
        coarsening.plane(known, starts, m, 0)[1 + k // m, 1 + k % m] = 1.0
        multigrid.v_cycle(matrix, weights, starts, unknown, known, m, np.zeros(m + 2))
        images.append(coarsening.plane(unknown, starts, m, 0)[1:-1, 1:-1].ravel().copy())
    operator = np.array(images)
    assert operator == pytest.approx(operator.T, abs=1e-14 * np.abs(operator).max())
    assert np.linalg.eigvalsh(operator).min() > 0.0


def test_symmetric_coefficient_gives_a_symmetric_solution():
    field = random_field(64)
    coefficient = threshold_coefficient(field + field.T)
    u = pressure(coefficient, tolerance=1e-14)
    assert u == pytest.approx(u.T, abs=1e-12 * u.max())
    assert pressure(coefficient[::-1], tolerance=1e-14)[::-1] == pytest.approx(u, abs=1e-12 * u.max())


def test_maximum_principle_and_scaling():
    coefficient = threshold_coefficient(random_field(50, 2))
    u = pressure(coefficient, tolerance=1e-13)
    assert (u[1:-1, 1:-1] > 0.0).all()
    assert not u[[0, -1]].any() and not u[:, [0, -1]].any()
    # The mean pressure falls as the coefficient grows anywhere: it lies between those of the two constant ones.
    constant = pressure(np.ones_like(coefficient), tolerance=1e-13)
    assert constant.sum() / 12.0 < u.sum() < constant.sum() / 3.0
    assert pressure(7.0 * coefficient, 3.0, tolerance=1e-13) == pytest.approx(3.0 / 7.0 * u, abs=1e-12)


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_what_flows_out_is_what_the_source_gives(mean):
    n = 85
    coefficient = log_normal_coefficient(3.0 * random_field(n, 4))
    x, y = nodes(n)
    source = 1.0 + x * y
    u = pressure(coefficient, source, mean, tolerance=1e-14)
    assert outflow(coefficient, u, mean) == pytest.approx(source[1:-1, 1:-1].sum() / (n - 1) ** 2, rel=1e-11)


def test_thresholds_and_exponentials():
    assert threshold_coefficient(np.array([-0.1, 0.0, 0.1])).tolist() == [3.0, 12.0, 12.0]
    assert log_normal_coefficient(np.array([0.0, np.log(2.0)]), 3.0) == pytest.approx([3.0, 6.0])


def test_equal_input_gives_equal_bits():
    coefficient = threshold_coefficient(random_field(70, 5))
    assert np.array_equal(pressure(coefficient), pressure(coefficient.copy(order="F")))


@pytest.mark.parametrize(
    ("coefficient", "message"),
    [
        (np.ones((4, 5)), r"shape \(4, 5\)"),
        (np.ones((2, 2)), "n >= 3"),
        (np.zeros((5, 5)), "positive and finite"),
        (np.full((5, 5), np.nan), "positive and finite"),
    ],
)
def test_impossible_coefficients_are_refused(coefficient, message):
    with pytest.raises(ValueError, match=message):
        pressure(coefficient)
