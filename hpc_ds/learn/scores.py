"""Scores of predictions, sample by sample, which losses and metrics share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hpc_ds.runtime.errors import InputError

_LATITUDES = ("lat", "latitude")
_COLATITUDES = ("theta", "colatitude")
_LONGITUDES = ("phi", "lon", "longitude")

_UNEVEN = 1e-3
"""Part of a step by which points of a periodic axis may lie beside an even grid: files hold float32 coordinates."""


class GridAxis(Protocol):
    """A dimension of the grid, as a data set names it."""

    @property
    def name(self) -> str:
        """Its name, e.g. ``x``."""

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """(points,) increasing."""

    @property
    def periodic(self) -> bool:
        """Whether the point after the last is the first."""


RELATIVE_TO_LEAST = 1e-3
"""A target whose norm is a smaller part of what is usual counts as this part of it in relative L2 errors: a field that
has died away would otherwise outweigh all others."""


def relative_l2(prediction: Tensor, target: Tensor, least: float = 0.0) -> Tensor:
    """Return ||prediction - target|| / max(||target||, least) of each sample, (n,), over all channels and points.

    The norms are those of Li et al. 2021 (arXiv 2010.08895), section 5. Where both are zero, the error is not divided.
    """
    return _ratio(norm(prediction - target), norm(target).clamp(min=least))


def norm(values: Tensor) -> Tensor:
    """Return the L2 norm of each sample, (n,), over all channels and points together."""
    return _norm(values)


def mean_squared(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean of (prediction - target)^2 of each sample, (n,)."""
    return (prediction - target).square().flatten(1).mean(1)


def mean_absolute(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean of |prediction - target| of each sample, (n,)."""
    return (prediction - target).abs().flatten(1).mean(1)


def huber(prediction: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    """Return the mean Huber loss of each sample, (n,): e^2/2 where |e| <= delta, else delta (|e| - delta/2)."""
    return functional.huber_loss(prediction, target, reduction="none", delta=delta).flatten(1).mean(1)


def squared_log(prediction: Tensor, target: Tensor) -> Tensor:
    """Return (log(1 + max(prediction, 0)) - log(1 + target))^2, element by element; targets must be above -1."""
    return (torch.log1p(prediction.clamp(min=0.0)) - torch.log1p(target)).square()


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return -w[label] log p[label] of each sample, (n,), with p = softmax of `logits`, (n, classes)."""
    return functional.cross_entropy(logits, labels, weight=weights, reduction="none")


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Return -alpha_t (1 - p_t)^gamma log p_t of each sample, (n,), with p = softmax of `logits`, (n, classes).

    Of two classes, class 1 is weighted by `alpha` and class 0 by 1 - alpha (Lin et al. 2017, equation 5); of more,
    all are weighted alike. With gamma = 0 and alpha = 1/2, two classes have half their cross entropy.
    """
    log_p = functional.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
    loss = -((1.0 - log_p.exp()) ** gamma) * log_p
    if logits.shape[1] != 2:
        return loss
    return torch.where(labels == 1, alpha, 1.0 - alpha) * loss


def gaussian_nll(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """Return -log N(target; mean, exp(log_variance)), element by element."""
    squared = (target - mean).square() * torch.exp(-log_variance)
    return 0.5 * (squared + log_variance + math.log(2.0 * math.pi))


def gaussian_crps(mean: Tensor, spread: Tensor, target: Tensor) -> Tensor:
    """Return the continuous ranked probability score of a normal forecast, element by element.

    spread (z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)) with z = (target - mean)/spread (Gneiting et al. 2005,
    equation 5), and |target - mean| where the spread is zero.
    """
    positive = spread > 0.0
    z = (target - mean) / torch.where(positive, spread, 1.0)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
    score = spread * (z * torch.erf(z / math.sqrt(2.0)) + 2.0 * density - 1.0 / math.sqrt(math.pi))
    return torch.where(positive, score, (target - mean).abs())


def ensemble_crps(members: Tensor, target: Tensor, fair: bool = True) -> Tensor:
    """Return the continuous ranked probability score of an ensemble forecast, element by element.

    E|X - t| - E|X - X'|/2 over members X, X' (Ferro 2014, equations 3 and 6).

    Parameters
    ----------
    members : (m, ...)
        Forecasts.
    target : (...)
        What came.
    fair : bool
        Pairs of different members only, so that the expectation does not depend on the number of members; else all
        pairs, as for the empirical distribution.
    """
    m = len(members)
    if fair and m < 2:
        raise ValueError(f"the fair score needs two members at least, found {m}")
    ordered = members.sort(dim=0).values
    # Sum over i < j of (x_j - x_i) of sorted members is the sum of (2 i - m - 1) x_i, i = 1..m.
    ranks = torch.arange(1, m + 1, dtype=members.dtype, device=members.device)
    pairs = ((2.0 * ranks - m - 1.0).reshape(-1, *[1] * target.ndim) * ordered).sum(0)
    return (members - target).abs().mean(0) - pairs / (m * (m - 1) if fair else m**2)


class Gradient(nn.Module):
    """Derivatives along the axes of a grid: spectral on periodic ones, differences of second order on the others.

    Parameters
    ----------
    axes : sequence of GridAxis
        The grid; derivatives are per unit of its coordinates. Axes of one point are left out.

    Raises
    ------
    InputError
        There are no axes, or the points of a periodic one are not even.
    """

    def __init__(self, axes: Sequence[GridAxis]) -> None:
        super().__init__()
        if not axes:
            raise InputError("derivatives need a grid: h1 cannot be had of targets without axes")
        self._kinds: list[tuple[int, bool]] = []
        for i, axis in enumerate(axes):
            points = np.asarray(axis.coordinates, dtype=np.float64)
            if len(points) > 1:
                along = _wavenumbers(axis.name, points) if axis.periodic else points
                self._kinds.append((i, axis.periodic))
                self.register_buffer(f"axis{i}", torch.from_numpy(along.copy()), persistent=False)

    def forward(self, field: Tensor) -> list[Tensor]:
        r"""Return the derivatives of `field`, (n, channels, \*grid), along each axis, each of its shape."""
        return [self._along(field, i, periodic) for i, periodic in self._kinds]

    def _along(self, field: Tensor, i: int, periodic: bool) -> Tensor:
        values = self.get_buffer(f"axis{i}").to(field.dtype)
        if not periodic:
            order = 2 if len(values) > 2 else 1
            return torch.gradient(field, spacing=(values,), dim=2 + i, edge_order=order)[0]
        modes = torch.fft.rfft(field, dim=2 + i)
        k = values.reshape(-1, *[1] * (field.ndim - 3 - i))
        return torch.fft.irfft(modes * torch.complex(torch.zeros_like(k), k), n=field.shape[2 + i], dim=2 + i)


def relative_h1(prediction: Tensor, target: Tensor, gradient: Gradient) -> Tensor:
    """Return the relative H1 error of each sample, (n,).

    sqrt(||e||^2 + ||grad e||^2) / sqrt(||t||^2 + ||grad t||^2) with e = prediction - target over all channels and
    points, derivatives per unit of the coordinates.
    """
    return _ratio(_h1_norm(prediction - target, gradient), _h1_norm(target, gradient))


def latitude_weights(axes: Sequence[GridAxis]) -> NDArray[np.float64] | None:
    r"""Return the weight of each point of a grid with latitudes, of mean 1, or None if it has none.

    Weights are the cosine of an axis ``lat`` or ``latitude``, or the sine of ``colatitude`` or of ``theta`` beside
    a longitude, over its mean (Rasp et al. 2020, equation 2). Numbers are degrees if the axis's units say so, or,
    without units, if they go beyond pi.

    Returns
    -------
    (\*grid) float64 or None
        Axes without latitude have length 1.
    """
    names = [axis.name.lower() for axis in axes]
    for i, axis in enumerate(axes):
        north = names[i] in _LATITUDES
        if north or _is_colatitude(names[i], names):
            angle = _radians(axis)
            area = np.clip(np.cos(angle) if north else np.sin(angle), 0.0, None)
            return (area / area.mean()).reshape([-1 if j == i else 1 for j in range(len(axes))])
    return None


def _norm(values: Tensor) -> Tensor:
    # Unlike the root of a sum of squares, its gradient at zero is zero and not NaN.
    return torch.linalg.vector_norm(values.flatten(1), dim=1)


def _h1_norm(values: Tensor, gradient: Gradient) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([_norm(part) for part in (values, *gradient(values))]), dim=0)


def _ratio(error: Tensor, size: Tensor) -> Tensor:
    return error / torch.where(size > 0.0, size, 1.0)


def _wavenumbers(name: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angular wavenumbers of the real FFT; that of Nyquist is 0, where a derivative has no value."""
    steps = np.diff(points)
    step = steps.mean()
    if np.abs(steps - step).max() > _UNEVEN * step:
        raise InputError(f"axis {name}: periodic, but its points are not even: h1 cannot be computed on it")
    k = 2.0 * np.pi * np.fft.rfftfreq(len(points), step)
    if len(points) % 2 == 0:
        k[-1] = 0.0
    return k


def _is_colatitude(name: str, names: Sequence[str]) -> bool:
    return name == "colatitude" or (name in _COLATITUDES and any(other in _LONGITUDES for other in names))


def _radians(axis: GridAxis) -> NDArray[np.float64]:
    points = np.asarray(axis.coordinates, dtype=np.float64)
    units = str(getattr(axis, "units", "")).lower()
    degrees = units.startswith("deg") or (not units.startswith("rad") and np.abs(points).max() > 3.2)
    return np.deg2rad(points) if degrees else points
