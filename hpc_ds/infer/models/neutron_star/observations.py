"""Observed neutron stars: masses and radii as Gaussians, as likelihood grids, or as samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.infer.kernels.neutron_star import GAUSSIAN, GRID, SPLIT, WIDTH
from hpc_ds.physics.neutron_star.likelihoods import Grid
from hpc_ds.physics.neutron_star.observed import Observation as Published
from hpc_ds.runtime.errors import InputError

Array = NDArray[np.float64]

REACH = 5.0
"""Standard deviations up to which a measured mass or radius may lie outside those that the prior can make."""

_GRID_POINTS = 160
_MOST_POINTS = 400
_MARGIN = 4.0  # bandwidths around the samples
_FEWEST_SAMPLES = 10
_EVEN = 1e-6
_SMALLEST_ERROR = 1e-4  # solar masses or km: below it the curves' own errors would count


@dataclass(frozen=True)
class GaussianStar:
    """A mass and a radius with their standard deviations and correlation.

    Raises
    ------
    InputError
        A number is not finite, an error not positive, or the correlation not between -1 and 1.
    """

    name: str
    mass: float
    """Solar masses."""
    mass_error: float
    radius: float
    """km."""
    radius_error: float
    correlation: float = 0.0

    def __post_init__(self) -> None:
        _check_measured(self.name, "mass", self.mass, self.mass_error)
        _check_measured(self.name, "radius", self.radius, self.radius_error)
        if not abs(self.correlation) < 1.0:
            raise InputError(
                f"observation '{self.name}': correlation {self.correlation}: between -1 and 1 is needed"
            )

    def check(self, lowest: float, highest: float) -> None:
        """Refuse a mass that no equation of state can have."""
        _check_reach(self.name, self.mass, self.mass_error, lowest, highest)

    def encode(self, first: int) -> tuple[list[float], Array]:
        """Return the star's row for compiled code, and nothing to follow."""
        area = self.mass_error * self.radius_error * math.sqrt(1.0 - self.correlation**2)
        constant = -math.log(2.0 * math.pi * area)
        inverse = (1.0 / self.mass_error, 1.0 / self.radius_error)
        row = [GAUSSIAN, self.mass, self.radius, *inverse, self.correlation, constant, 0.0]
        return row, np.empty(0)


@dataclass(frozen=True)
class MeasuredMass:
    """A mass alone, such as a pulsar's: a star like the others, its mass ~ U(1, M_max) before the data.

    Where it is above 1, its likelihood is that of a maximum mass above it, over M_max - 1.
    """

    name: str
    mass: float
    """Solar masses."""
    mass_error: float

    def __post_init__(self) -> None:
        _check_measured(self.name, "mass", self.mass, self.mass_error)

    def check(self, lowest: float, highest: float) -> None:
        """Refuse a mass that no equation of state can have."""
        _check_reach(self.name, self.mass, self.mass_error, lowest, highest)

    def encode(self, first: int) -> tuple[list[float], Array]:
        """Return the star's row for compiled code, and nothing to follow."""
        constant = -math.log(self.mass_error * math.sqrt(2.0 * math.pi))
        return [GAUSSIAN, self.mass, 0.0, 1.0 / self.mass_error, 0.0, 0.0, constant, 0.0], np.empty(0)


@dataclass(frozen=True)
class SplitStar:
    """A published star whose errors differ below and above: split normals of mass and radius, independent.

    Without a radius it is a `MeasuredMass` with such errors.
    """

    published: Published

    def __post_init__(self) -> None:
        star = self.published
        _check_measured(star.name, "mass", star.mass, min(star.mass_errors))
        if star.radius is not None:
            _check_measured(star.name, "radius", star.radius, min(star.radius_errors or (math.nan,)))

    @property
    def name(self) -> str:
        """Of the star."""
        return self.published.name

    def check(self, lowest: float, highest: float) -> None:
        """Refuse a mass that no equation of state can have."""
        mass, (below, above) = self.published.mass, self.published.mass_errors
        _check_reach(self.name, mass, above if mass < lowest else below, lowest, highest)

    def encode(self, first: int) -> tuple[list[float], Array]:
        """Return the star's row for compiled code, and nothing to follow."""
        star = self.published
        constant = float(star.log_likelihood(star.mass, star.radius or 0.0))
        errors = (*star.mass_errors, *(star.radius_errors or (math.inf, math.inf)))
        return [SPLIT, star.mass, star.radius or 0.0, *(1.0 / error for error in errors), constant], np.empty(
            0
        )


@dataclass(frozen=True, eq=False)
class LikelihoodGrid:
    """The likelihood of a star's mass and radius at the points of an even grid, bilinear between, zero outside.

    Its scale counts in every evidence alike, so that ratios of evidences do not depend on it.

    Raises
    ------
    InputError
        Shapes that do not agree, masses or radii that are not evenly ascending, a likelihood that is negative, not
        finite, or zero everywhere.
    """

    name: str
    mass: Array
    """(masses,) in solar masses."""
    radius: Array
    """(radii,) in km."""
    likelihood: Array
    """(masses, radii)."""

    def __post_init__(self) -> None:
        for key in ("mass", "radius", "likelihood"):
            object.__setattr__(self, key, np.asarray(getattr(self, key), dtype=np.float64))
        _check_axis(self.name, "masses", self.mass)
        _check_axis(self.name, "radii", self.radius)
        wanted = (self.mass.size, self.radius.size)
        if self.likelihood.shape != wanted:
            raise InputError(
                f"observation '{self.name}': likelihood of shape {self.likelihood.shape}: {wanted} is needed"
            )
        _check_density(self.name, self.likelihood)

    def check(self, lowest: float, highest: float) -> None:
        """Refuse a grid that is zero at all masses that an equation of state can have."""
        step = self.mass[1] - self.mass[0]
        inside = (self.mass > lowest - step) & (self.mass < highest + step)
        if not self.likelihood[inside].any():
            held = self.mass[self.likelihood.any(axis=1)]
            raise InputError(
                f"observation '{self.name}': its masses {held[0]:.4g} to {held[-1]:.4g} lie outside those that the "
                f"prior's equations of state have, {lowest:.4g} to {highest:.4g}"
            )

    def encode(self, first: int) -> tuple[list[float], Array]:
        """Return the star's row for compiled code, and the rows of its values, which are to begin at row `first`."""
        steps = [(axis.size - 1) / (axis[-1] - axis[0]) for axis in (self.mass, self.radius)]
        row = [GRID, first, *self.likelihood.shape, self.mass[0], steps[0], self.radius[0], steps[1]]
        values = self.likelihood.ravel()
        return [float(value) for value in row], np.pad(values, (0, -values.size % WIDTH))


def star_samples(
    name: str, mass: ArrayLike, radius: ArrayLike, weights: ArrayLike | None = None
) -> LikelihoodGrid:
    """Return the likelihood of a star of which samples of mass and radius are known.

    It is the kernel estimate of their density, the kernel a Gaussian with their covariance times n^(-1/3) (Scott
    1992), on 160 x 160 points. The samples must have a likelihood's density: where they are of a posterior whose
    prior was not flat in mass and radius, the weights must divide it out.

    Parameters
    ----------
    name : str
    mass, radius : (n,)
        Solar masses and km.
    weights : (n,), optional

    Raises
    ------
    InputError
        Fewer than ten samples, shapes that do not agree, numbers that are not finite, negative weights, or samples
        that do not spread in both directions.
    """
    points = _checked_samples(name, mass, radius)
    weight = np.ones(points.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != points.shape[1:] or not (np.isfinite(weight).all() and (weight >= 0.0).all()):
        raise InputError(
            f"observation '{name}': {points.shape[1]} weights are needed, finite and not negative"
        )
    if not weight.sum() > 0.0:
        raise InputError(f"observation '{name}': all weights are zero")
    weight = weight / weight.sum()
    effective = 1.0 / float(np.sum(weight**2))
    covariance = np.atleast_2d(np.cov(points, aweights=weight))
    spread = np.sqrt(np.diag(covariance))
    if not (spread > 0.0).all() or abs(covariance[0, 1]) >= (1.0 - 1e-9) * spread[0] * spread[1]:
        raise InputError(
            f"observation '{name}': its samples lie on a line; they must spread in mass and radius"
        )
    kernel = covariance * effective ** (-1.0 / 3.0)
    margin = _MARGIN * np.sqrt(np.diag(kernel))
    low, high = points.min(axis=1) - margin, points.max(axis=1) + margin
    step = (high - low) / (_GRID_POINTS - 1)
    counts = _shared_out((points - low[:, np.newaxis]) / step[:, np.newaxis], weight)
    density = _smoothed(counts, kernel / np.outer(step, step)) / (step[0] * step[1])
    axes = [low[i] + step[i] * np.arange(_GRID_POINTS) for i in range(2)]
    return LikelihoodGrid(name, axes[0], axes[1], density)


def star_grid(name: str, grid: Grid) -> LikelihoodGrid:
    """Return the likelihood of a star of which a density was read (`hpc_ds.physics.neutron_star.likelihoods`).

    Where its masses or radii are not even, it is interpolated at even ones no wider apart than the closest, 400 at
    most.
    """
    mass, radius = _even_axis(grid.mass), _even_axis(grid.radius)
    if mass is grid.mass and radius is grid.radius:
        return LikelihoodGrid(name, mass, radius, grid.density.T)
    return LikelihoodGrid(
        name, mass, radius, np.exp(grid.log_likelihood(*np.meshgrid(mass, radius, indexing="ij")))
    )


Observation = GaussianStar | MeasuredMass | SplitStar | LikelihoodGrid


def as_observation(star: Observation | Published) -> Observation:
    """Return a published star as one with split errors, any other as it is."""
    return SplitStar(star) if isinstance(star, Published) else star


def encode(observations: Sequence[Observation], first: int) -> Array:
    """Return the rows (rows, WIDTH) of all stars, then of their grids, the first of which is to be row `first`."""
    stars, tails = [], []
    following = first + len(observations)
    for observation in observations:
        row, values = observation.encode(following)
        stars.append(row)
        tails.append(values.reshape(-1, WIDTH))
        following += len(tails[-1])
    return np.concatenate([np.array(stars).reshape(-1, WIDTH), *tails])


def _even_axis(axis: Array) -> Array:
    steps = np.diff(axis)
    if np.ptp(steps) <= _EVEN * (axis[-1] - axis[0]):
        return axis
    count = min(math.ceil((axis[-1] - axis[0]) / steps.min()) + 1, _MOST_POINTS)
    return np.linspace(axis[0], axis[-1], count)


def _shared_out(places: Array, weight: Array) -> Array:
    """Return weights on a grid, every sample's shared out among the four points around it."""
    cell = np.minimum(places.astype(np.int64), _GRID_POINTS - 2)
    part = places - cell
    counts = np.zeros((_GRID_POINTS, _GRID_POINTS))
    for i in (0, 1):
        for k in (0, 1):
            share = (part[0] if i else 1.0 - part[0]) * (part[1] if k else 1.0 - part[1])
            np.add.at(counts, (cell[0] + i, cell[1] + k), weight * share)
    return counts


def _smoothed(counts: Array, kernel: Array) -> Array:
    """Return the convolution with a Gaussian of this covariance (in cells), by Fourier transform."""
    size = 2 * _GRID_POINTS
    x = 2.0 * np.pi * np.fft.fftfreq(size)[:, np.newaxis]
    y = 2.0 * np.pi * np.fft.rfftfreq(size)
    damping = np.exp(-0.5 * (kernel[0, 0] * x**2 + 2.0 * kernel[0, 1] * x * y + kernel[1, 1] * y**2))
    smooth = np.fft.irfft2(np.fft.rfft2(counts, (size, size)) * damping, (size, size))
    inside = smooth[:_GRID_POINTS, :_GRID_POINTS]
    return np.where(inside > 1e-12 * inside.max(), inside, 0.0)


def _checked_samples(name: str, mass: ArrayLike, radius: ArrayLike) -> Array:
    columns = [np.asarray(values, dtype=np.float64) for values in (mass, radius)]
    if columns[0].ndim != 1 or columns[0].shape != columns[1].shape or columns[0].size < _FEWEST_SAMPLES:
        shapes = f"{columns[0].shape} and {columns[1].shape}"
        raise InputError(f"observation '{name}': samples of shapes {shapes}: twice (n,), n >= 10, is needed")
    points = np.stack(columns)
    if not np.isfinite(points).all():
        raise InputError(f"observation '{name}': a sample is not finite")
    return points


def _check_measured(name: str, what: str, value: float, error: float | None) -> None:
    if not (value > 0.0 and math.isfinite(value)):
        raise InputError(f"observation '{name}': {what} {value}: a positive number is needed")
    if error is None or not (error >= _SMALLEST_ERROR and math.isfinite(error)):
        raise InputError(
            f"observation '{name}': {what} {value} with error {error}: a standard deviation of at least "
            f"{_SMALLEST_ERROR} is needed"
        )


def _check_reach(name: str, mass: float, error: float, lowest: float, highest: float) -> None:
    if not lowest - REACH * error <= mass <= highest + REACH * error:
        raise InputError(
            f"observation '{name}': mass {mass:.4g} +- {error:.2g} lies outside those that the prior's equations of "
            f"state have, {lowest:.4g} to {highest:.4g}"
        )


def _check_axis(name: str, what: str, axis: Array) -> None:
    if axis.ndim != 1 or axis.size < 2 or not np.isfinite(axis).all():
        raise InputError(
            f"observation '{name}': {what} of shape {axis.shape}: two or more numbers are needed"
        )
    steps = np.diff(axis)
    if not (steps > 0.0).all() or np.ptp(steps) > _EVEN * (axis[-1] - axis[0]):
        raise InputError(f"observation '{name}': {what} must ascend in even steps")


def _check_density(name: str, likelihood: Array) -> None:
    bad = np.argwhere(~(np.isfinite(likelihood) & (likelihood >= 0.0)))
    if len(bad):
        i, k = bad[0]
        raise InputError(
            f"observation '{name}': likelihood [{i}, {k}] is {likelihood[i, k]}; finite numbers, not negative, are "
            "needed"
        )
    if not likelihood.any():
        raise InputError(f"observation '{name}': its likelihood is zero everywhere")
