"""Darcy flow, -div(a grad u) = f on the unit square with u = 0 on its boundary: coefficients and the solution."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FaceMean = Literal["arithmetic", "harmonic"]

_STEP_LIMIT = 200


def threshold_coefficient(field: Array, low: float = 3.0, high: float = 12.0) -> Array:
    """Return `high` where the Gaussian field is >= 0 and `low` elsewhere; 12 and 3 are those of Li et al. (2021)."""
    return np.where(np.asarray(field) >= 0.0, float(high), float(low))


def log_normal_coefficient(field: Array, median: float = 1.0) -> Array:
    """Return median * exp(field), a smooth coefficient that is positive everywhere."""
    return median * np.exp(np.asarray(field, dtype=np.float64))


def pressure(
    coefficient: Array,
    source: Array | float = 1.0,
    mean: FaceMean = "arithmetic",
    tolerance: float = 1e-10,
) -> Array:
    """Return the solution u at the nodes of an n x n grid.

    Second-order differences in flux form: what flows from a node to its neighbour is the mean coefficient of the two
    times the difference of u. With the arithmetic mean, the default, the matrix is that of the published data (Li et
    al. 2021; there splines bring the coefficient from cell centres to the nodes, here it is given at the nodes). The
    harmonic mean is exact in one dimension where the coefficient jumps midway between two nodes. Solved by conjugate
    gradients with a multigrid preconditioner in about ten steps, whatever n is; one thread, same input same bits.

    Parameters
    ----------
    coefficient : (n, n) float64, > 0
        a at the nodes (i / (n - 1), j / (n - 1)), those on the boundary included; n >= 3.
    source : (n, n) float64 or float
        f; its values on the boundary do not matter.
    mean : "arithmetic" or "harmonic"
        Of the coefficients of two nodes, for the face between them.
    tolerance : float
        Relative error of u in the energy norm that is aimed at.

    Returns
    -------
    (n, n) float64
        u, zero on the boundary.

    Raises
    ------
    ValueError
        The coefficient is not square, not positive or not finite, or the source has another shape.
    """
    from hpc_ds.physics.kernels.multigrid import solve

    faces_x, faces_y = face_coefficients(coefficient, mean)
    n = len(faces_x) + 1
    spacing = 1.0 / (n - 1)
    scaled = np.broadcast_to(np.asarray(source, dtype=np.float64), (n, n))[1:-1, 1:-1] * spacing**2
    inner, steps = solve(faces_x, faces_y, np.ascontiguousarray(scaled), tolerance, _STEP_LIMIT)
    if steps < 0:
        raise ArithmeticError(
            f"conjugate gradients have not reached {tolerance} in {_STEP_LIMIT} steps; coefficient from "
            f"{np.min(coefficient)} to {np.max(coefficient)}"
        )
    return np.pad(inner, 1)


def face_coefficients(coefficient: Array, mean: FaceMean = "arithmetic") -> tuple[Array, Array]:
    """Return the coefficients of the faces between nodes that touch an inner node.

    Parameters
    ----------
    coefficient : (n, n) float64
    mean : "arithmetic" or "harmonic"

    Returns
    -------
    faces_x, faces_y : (n - 1, n - 2), (n - 2, n - 1) float64
        Between nodes (i, j) and (i + 1, j), and (i, j) and (i, j + 1).
    """
    a = np.asarray(coefficient, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or len(a) < 3:
        raise ValueError(f"the coefficient has shape {a.shape}: (n, n) with n >= 3 is needed")
    if not (np.isfinite(a).all() and (a > 0.0).all()):
        raise ValueError("the coefficient must be positive and finite everywhere")
    along_x, along_y = a[:, 1:-1], a[1:-1, :]
    average = _AVERAGES[mean]
    return average(along_x[:-1], along_x[1:]), average(
        np.ascontiguousarray(along_y[:, :-1]), np.ascontiguousarray(along_y[:, 1:])
    )


def outflow(coefficient: Array, u: Array, mean: FaceMean = "arithmetic") -> float:
    """Return what flows out of the inner nodes' cells through the outermost faces.

    It equals the source's integral over these cells, its sum over the inner nodes times the area of a cell.
    """
    faces_x, faces_y = face_coefficients(coefficient, mean)
    return float(
        faces_x[0] @ u[1, 1:-1]
        + faces_x[-1] @ u[-2, 1:-1]
        + faces_y[:, 0] @ u[1:-1, 1]
        + faces_y[:, -1] @ u[1:-1, -2]
    )


_AVERAGES = {
    "arithmetic": lambda one, other: 0.5 * (one + other),
    "harmonic": lambda one, other: 2.0 * one * other / (one + other),
}
