"""The Gaussian likelihood of a linear model, its data compressed to a triangle of as many rows as parameters.

For any theta, |y - X theta| is the length of (X, y) times (theta, -1), and of R times it where (X, y) = Q R.
An evaluation costs p^2 operations however many points there are, and loses no digit to normal equations.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LOG_2PI = math.log(2.0 * math.pi)


def compress(design: Array, y: Array, sigma: float | Array | None) -> Array:
    """Return what `log_likelihood` needs of the data.

    Parameters
    ----------
    design : (n, p) float64
        One column a regressor.
    y : (n,) float64
    sigma : float, (n,) float64 or None
        Known standard deviation; None: it is the last parameter.

    Returns
    -------
    (p + 2, p + 1) float64
        The triangle R of (design, y) / sigma, then a row that begins with the log-likelihood's constant and
        n.
    """
    points, regressors = design.shape
    scale = np.broadcast_to(1.0 if sigma is None else sigma, points)
    both = np.column_stack([design, y]) / scale[:, np.newaxis]
    triangle = np.linalg.qr(both, mode="r")
    data = np.zeros((regressors + 2, regressors + 1))
    data[: len(triangle)] = triangle
    data[-1, :2] = -float(np.log(scale).sum()) - 0.5 * points * _LOG_2PI, points
    return data


def log_likelihood(theta, data):  # type: ignore[no-untyped-def]  # numba infers the types
    """Return the normalised log-likelihood.

    Parameters
    ----------
    theta : (p,) or (p + 1,) float64
        Coefficients, then the standard deviation of the noise unless the data were divided by it.
    data : (p + 2, p + 1) float64
        From `compress`.
    """
    regressors = data.shape[1] - 1
    squares = 0.0
    for row in range(regressors + 1):
        residual = -data[row, regressors]
        for column in range(row, regressors):
            residual += data[row, column] * theta[column]
        squares += residual * residual
    noise = theta[regressors] if theta.size > regressors else 1.0
    if not (squares < math.inf and noise > 0.0):
        return -math.inf
    misfit = math.sqrt(squares) / noise
    return data[-1, 0] - data[-1, 1] * math.log(noise) - 0.5 * misfit * misfit


def design_of(data: Array) -> tuple[Array, Array]:
    """Return regressors (p + 1, p) and target (p + 1,) with the sum of squares of the data at any theta."""
    return data[:-1, :-1], data[:-1, -1]


def constant_of(data: Array) -> float:
    """Return the log-likelihood less the half sum of squares."""
    return float(data[-1, 0])
