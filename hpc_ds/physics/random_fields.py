"""Gaussian random fields with covariance sigma^2 (-Laplacian + tau^2)^(-alpha), on a torus or between walls.

A field is its Karhunen-Loeve series, the sum over k of sqrt(lambda_k) g_k phi_k(x): the g_k are independent standard
normal numbers, the phi_k eigenfunctions of the Laplacian, orthonormal in L^2 of the box [0, length]^d, and

    lambda_k = sigma^2 (kappa |k|^2 + tau^2)^(-alpha)

with kappa = (2 pi / length)^2 on the torus and (pi / length)^2 between walls (Neumann). The g_k are drawn in the order
of growing max |k_i|. So a finer grid adds modes and changes none: from the same random stream a field is the same
function on two grids, as far as both resolve it (exactly so with a `cutoff`).

Published choices (Li et al. 2021 and the repository that goes with it), all with length 1 and without a mean:

* Burgers: N(0, 625 (-Lap + 25)^-2), periodic: sigma = 25, tau = 5, alpha = 2.
* Darcy: a threshold of N(0, (-Lap + 9)^-2) between walls: tau = 3, alpha = 2; the code's sigma = tau^(alpha - 1) makes
  no difference to a threshold.
* Navier-Stokes: periodic, tau = 7, alpha = 2.5. The paper prints the covariance as 7^(3/2) (-Lap + 49)^-2.5, that is
  sigma = 7^(3/4); the code has sigma = tau^((2 alpha - 2) / 2) = 7^(3/2), a variance 18.5 times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Array = NDArray[np.float64]
Points = Literal["nodes", "centres"]


def periodic_field(
    rng: np.random.Generator,
    shape: Sequence[int],
    sigma: float,
    tau: float,
    alpha: float,
    *,
    length: float = 1.0,
    zero_mean: bool = False,
    cutoff: int | None = None,
) -> Array:
    """Draw a periodic field at the points x_i = length * i / n of a box [0, length)^d.

    Its modes are |k_i| <= (n_i - 1) // 2: the highest one of an even n, whose phase the grid does not see, is left out.
    The variance at a point is the sum of `periodic_eigenvalues` over the box's volume, the same everywhere.

    Parameters
    ----------
    rng : np.random.Generator
    shape : (d,) int
        Points along each dimension, d = 1, 2 or 3.
    sigma, tau, alpha : float
        Of the covariance; tau > 0 has the unit 1 / length. alpha > d / 2 makes a continuous function.
    length : float
        Of the box, the same along all dimensions.
    zero_mean : bool
        Leave out the constant mode: each field has the mean 0.
    cutoff : int, optional
        Leave out the modes above: max |k_i| <= cutoff.

    Returns
    -------
    shape float64

    Raises
    ------
    ValueError
        tau, length or a size that is not positive.
    """
    shape = tuple(shape)
    eigenvalues = periodic_eigenvalues(
        shape, sigma, tau, alpha, length=length, zero_mean=zero_mean, cutoff=cutoff
    )
    amplitudes = np.sqrt(eigenvalues / length ** len(shape))
    weights = amplitudes * _normals(rng, [size // 2 for size in eigenvalues.shape], signed=True)
    # The real eigenfunctions are cos + sin (Hartley's): with one weight w_k for each k, the coefficient of exp(i k x)
    # is ((1 - i) w_k + (1 + i) w_-k) / 2, and that of -k its conjugate.
    coefficients = 0.5 * ((1 - 1j) * weights + (1 + 1j) * np.flip(weights))
    highest = [size // 2 for size in weights.shape]
    spectrum = np.zeros((*shape[:-1], shape[-1] // 2 + 1), dtype=np.complex128)
    places = [np.arange(-top, top + 1) % size for top, size in zip(highest[:-1], shape)]
    spectrum[np.ix_(*places, np.arange(highest[-1] + 1))] = coefficients[..., highest[-1] :]
    return scipy.fft.irfftn(spectrum, shape, norm="forward", workers=1)


def periodic_eigenvalues(
    shape: Sequence[int],
    sigma: float,
    tau: float,
    alpha: float,
    *,
    length: float = 1.0,
    zero_mean: bool = False,
    cutoff: int | None = None,
) -> Array:
    """Return the variance lambda_k of each mode of `periodic_field`; arguments as there.

    Returns
    -------
    (2 m_1 + 1, ...) float64
        At [k_1 + m_1, ...], for k_i from -m_i to m_i, m_i the highest mode that is kept.
    """
    highest = [_kept((size - 1) // 2, cutoff) for size in shape]
    modes = [np.arange(-top, top + 1) for top in highest]
    return _eigenvalues(modes, (2.0 * np.pi / _positive("length", length)) ** 2, sigma, tau, alpha, zero_mean)


def neumann_field(
    rng: np.random.Generator,
    shape: Sequence[int],
    sigma: float,
    tau: float,
    alpha: float,
    *,
    length: float = 1.0,
    zero_mean: bool = False,
    cutoff: int | None = None,
    points: Points = "nodes",
) -> Array:
    """Draw a field whose normal derivative vanishes at the walls of the box [0, length]^d.

    Its modes are products of cos(pi k_i x_i / length), 0 <= k_i <= n_i - 1. The mean of the variance over the box is
    the sum of `neumann_eigenvalues` over its volume; at a wall the variance is larger than inside.

    Parameters
    ----------
    rng, shape, sigma, tau, alpha, length, zero_mean, cutoff
        As in `periodic_field`.
    points : "nodes" or "centres"
        Where: at length * i / (n - 1), walls included (n >= 2), or at the centres of n cells, length * (i + 1/2) / n.

    Returns
    -------
    shape float64
    """
    shape = tuple(shape)
    eigenvalues = neumann_eigenvalues(
        shape, sigma, tau, alpha, length=length, zero_mean=zero_mean, cutoff=cutoff
    )
    amplitudes = np.sqrt(eigenvalues / length ** len(shape))
    kept = amplitudes * _normals(rng, [size - 1 for size in amplitudes.shape], signed=False)
    weights = np.zeros(shape)
    weights[tuple(slice(size) for size in kept.shape)] = kept
    for dim, size in enumerate(shape):
        weights = np.moveaxis(weights, dim, -1)
        # sqrt(2) cos is the normalised eigenfunction; SciPy's transforms count the inner modes twice.
        inner = slice(1, size - 1 if points == "nodes" else size)
        weights[..., 1:] *= np.sqrt(2.0)
        weights[..., inner] *= 0.5
        weights = scipy.fft.dct(weights, type=1 if points == "nodes" else 3, axis=-1, workers=1)
        weights = np.moveaxis(weights, -1, dim)
    return np.ascontiguousarray(weights)


def neumann_eigenvalues(
    shape: Sequence[int],
    sigma: float,
    tau: float,
    alpha: float,
    *,
    length: float = 1.0,
    zero_mean: bool = False,
    cutoff: int | None = None,
) -> Array:
    """Return the variance lambda_k of each mode of `neumann_field`; arguments as in `periodic_field`.

    Returns
    -------
    (m_1 + 1, ...) float64
        At [k_1, ...], for k_i from 0 to m_i, the highest mode that is kept.
    """
    modes = [np.arange(_kept(size - 1, cutoff) + 1) for size in shape]
    return _eigenvalues(modes, (np.pi / _positive("length", length)) ** 2, sigma, tau, alpha, zero_mean)


def _kept(resolved: int, cutoff: int | None) -> int:
    if resolved < 0:
        raise ValueError("a field needs at least one point along each dimension")
    return resolved if cutoff is None else min(resolved, cutoff)


def _positive(name: str, value: float) -> float:
    if not value > 0.0:
        raise ValueError(f"{name} is {value}: it must be positive")
    return value


def _eigenvalues(
    modes: list[NDArray[np.int64]], kappa: float, sigma: float, tau: float, alpha: float, zero_mean: bool
) -> Array:
    square = sum(
        np.square(k, dtype=np.float64).reshape([-1 if dim == axis else 1 for dim in range(len(modes))])
        for axis, k in enumerate(modes)
    )
    values = sigma**2 * (kappa * np.asarray(square) + _positive("tau", tau) ** 2) ** -alpha
    if zero_mean:
        values[tuple(int(np.flatnonzero(k == 0)[0]) for k in modes)] = 0.0
    return values


def _normals(rng: np.random.Generator, highest: Sequence[int], signed: bool) -> Array:
    """Return a standard normal number for each mode up to `highest`, whatever other modes there are."""
    top = max(highest)
    drawn = rng.standard_normal((2 * top + 1 if signed else top + 1) ** len(highest))
    places = tuple(slice(top - one, top + one + 1) if signed else slice(one + 1) for one in highest)
    return drawn[_ranks(len(highest), top, signed)[places]]


@lru_cache(maxsize=8)
def _ranks(ndim: int, top: int, signed: bool) -> NDArray[np.int64]:
    """Return the place of each mode of a cube in the order of max |k_i|, then of k_1, k_2, ..."""
    side = np.arange(-top if signed else 0, top + 1)
    modes = np.stack([k.ravel() for k in np.meshgrid(*[side] * ndim, indexing="ij")])
    order = np.lexsort([*modes[::-1], np.abs(modes).max(axis=0)])
    ranks = np.empty(order.size, dtype=np.int64)
    ranks[order] = np.arange(order.size)
    ranks.flags.writeable = False
    return ranks.reshape([side.size] * ndim)
