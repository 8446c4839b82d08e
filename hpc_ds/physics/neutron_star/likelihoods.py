"""Published likelihoods of mass and radius from files: grids, contours and samples."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.runtime.errors import InputError

Array = NDArray[np.float64]

GRAVITATIONAL_WAVE = ("chirp_mass", "mass_ratio", "tidal_1", "tidal_2")
"""Columns of samples of a merger: solar masses, m2 / m1 <= 1, and the Lambda of the heavier and the lighter star."""

_ROUNDING = 1e-9  # of the largest value; grids that were smoothed have negative values of this size
_MATRIX = "_pdf.txt"
_FEWEST_CORNERS = 3


class Moments(NamedTuple):
    """Means and standard deviations: km and solar masses."""

    radius: float
    radius_sd: float
    mass: float
    mass_sd: float


@dataclass(frozen=True, eq=False)
class Grid:
    """A probability density of radius and mass on a grid, bilinear between its points and zero outside.

    Attributes
    ----------
    radius : (r,) float64
        km, increasing.
    mass : (m,) float64
        Solar masses, increasing.
    density : (r, m) float64
        Per km and solar mass; its integral is 1.
    """

    radius: Array
    mass: Array
    density: Array

    def log_likelihood(self, mass: ArrayLike, radius: ArrayLike) -> Array:
        """Return the log-density at masses and radii of one shape; minus infinity where it is zero."""
        i, u = _cell(self.radius, np.asarray(radius, dtype=np.float64))
        j, v = _cell(self.mass, np.asarray(mass, dtype=np.float64))
        low = (1.0 - v) * self.density[i, j] + v * self.density[i, j + 1]
        high = (1.0 - v) * self.density[i + 1, j] + v * self.density[i + 1, j + 1]
        inside = (u >= 0.0) & (u <= 1.0) & (v >= 0.0) & (v <= 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inside, np.log((1.0 - u) * low + u * high), -np.inf)

    def moments(self) -> Moments:
        """Return means and standard deviations by the trapezoidal rule."""
        weight = self.density * np.outer(_weights(self.radius), _weights(self.mass))
        weight /= weight.sum()
        found = []
        for values, marginal in ((self.radius, weight.sum(1)), (self.mass, weight.sum(0))):
            mean = float(values @ marginal)
            found += [mean, math.sqrt(marginal @ (values - mean) ** 2)]
        return Moments(*found)


@dataclass(frozen=True, eq=False)
class Samples:
    """Weighted samples of a posterior.

    Attributes
    ----------
    columns : tuple of str
    values : (n, columns) float64
    weights : (n,) float64
        Not negative; their sum is 1.
    """

    columns: tuple[str, ...]
    values: Array
    weights: Array

    def __getitem__(self, column: str) -> Array:
        """Return a column, (n,)."""
        return self.values[:, self.columns.index(column)]


def read_grid(path: str | os.PathLike[str], source: str | None = None) -> Grid:
    """Read a density of radius and mass.

    Parameters
    ----------
    path : path
        One of three layouts. ``*.npz``: ``H_NAME`` (r, m), ``R_NAME`` and ``M_NAME`` for each source. ``*_pdf.txt``: a
        matrix (m, r), with its coordinates in ``*_mass.txt`` and ``*_rad.txt`` beside it. Another text file: three
        columns R (km), M (solar masses) and density, at all points of a grid in any order.
    source : str, optional
        NAME in an npz file that has several.

    Returns
    -------
    Grid
        Normalised.

    Raises
    ------
    InputError
        In one line: the file cannot be read, has no or several sources, is no whole grid, or has a density that is
        negative, not finite or zero everywhere.
    """
    name = os.fspath(path)
    if source is not None and not name.endswith(".npz"):
        raise InputError(f"{name}: source '{source}': only npz files have sources")
    if name.endswith(".npz"):
        parts = _from_archive(name, source)
    elif name.endswith(_MATRIX):
        stem = name.removesuffix(_MATRIX)
        mass, radius = (_numbers(f"{stem}_{what}.txt").ravel() for what in ("mass", "rad"))
        parts = radius, mass, _numbers(name).T
    else:
        parts = _from_columns(name)
    return _grid(name, *parts)


def read_samples(
    path: str | os.PathLike[str], columns: Sequence[str] = GRAVITATIONAL_WAVE, weighted: bool = True
) -> Samples:
    """Read samples of a posterior, one a row, from an npy or a text file.

    Parameters
    ----------
    path : path
    columns : sequence of str
        What its columns are, e.g. ``("mass", "radius")``; the default is a merger's. One called ``-`` is passed over.
    weighted : bool
        Whether one more column, the last, has the samples' weights.

    Raises
    ------
    InputError
        In one line: the file cannot be read, has another number of columns, a number that is not finite, a value or a
        weight that is negative, or weights that are all zero.
    """
    name = os.fspath(path)
    table = _array(name) if name.endswith(".npy") else _numbers(name)
    width = len(columns) + weighted
    if table.ndim != 2 or table.shape[1] != width or not len(table):
        expected = ", ".join([*columns, *["weight"] * weighted])
        raise InputError(
            f"{name}: found shape {table.shape}; rows of {width} columns ({expected}) are needed"
        )
    kept = [j for j, column in enumerate(columns) if column != "-"]
    read = table[:, kept + [len(columns)] * weighted]
    wrong = np.flatnonzero(~(np.isfinite(read) & (read >= 0.0)).all(axis=1))
    if len(wrong):
        raise InputError(f"{name}: row {wrong[0] + 1} has a number that is negative or not finite")
    weights = table[:, -1] if weighted else np.ones(len(table))
    if not weights.any():
        raise InputError(f"{name}: all weights are zero")
    return Samples(tuple(columns[j] for j in kept), table[:, kept], weights / weights.sum())


def read_contours(path: str | os.PathLike[str]) -> dict[float, Array]:
    """Read contours: pairs of columns R (km) and M (solar masses), shorter ones filled with NaN.

    Returns
    -------
    dict
        By enclosed probability, which the header gives (``R_68 M_68``, ``R_1s M_1s``): corners, (n, 2).

    Raises
    ------
    InputError
        In one line: the file cannot be read, its header names other columns, or a contour has fewer than 3 corners.
    """
    name = os.fspath(path)
    header = _text(name).partition("\n")[0].lstrip("#").split()
    levels = [label.partition("_")[2] for label in header[::2]]
    if not levels or header != [f"{what}_{level}" for level in levels for what in "RM"]:
        raise InputError(
            f"{name}, line 1: found {' '.join(header)[:40]!r}; # R_68 M_68 R_95 M_95 ... is needed"
        )
    table = _numbers(name)
    if table.shape[1] != len(header):
        raise InputError(f"{name}: found {table.shape[1]} columns; line 1 names {len(header)}")
    contours = {}
    for j, level in enumerate(levels):
        corners = table[:, 2 * j : 2 * j + 2]
        corners = corners[np.isfinite(corners).all(axis=1)]
        if len(corners) < _FEWEST_CORNERS:
            raise InputError(f"{name}: contour {level} has {len(corners)} corners; at least 3 are needed")
        contours[_probability(name, level)] = corners
    return contours


def contour_moments(corners: Array, probability: float) -> Moments:
    """Return the moments of the Gaussian of which a contour encloses this probability.

    The inside of an ellipse of k standard deviations, k^2 = -2 ln(1 - probability), has k / 2 of them. For a contour
    that is none, or cut off at the edge of its plot, this is a rough description.

    Parameters
    ----------
    corners : (n, 2) float64
        Radius and mass, around the polygon; it is closed by its first corner.
    probability : float
    """
    origin = corners.mean(axis=0)
    here = corners - origin
    there = np.roll(here, -1, axis=0)
    cross = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    area = 0.5 * cross.sum()
    centre = (here + there).T @ cross / (6.0 * area)
    square = (here**2 + here * there + there**2).T @ cross / (12.0 * area) - centre**2
    sd = np.sqrt(square) * 2.0 / math.sqrt(-2.0 * math.log1p(-probability))
    (radius, mass), (radius_sd, mass_sd) = centre + origin, sd
    return Moments(float(radius), float(radius_sd), float(mass), float(mass_sd))


def _grid(name: str, radius: Array, mass: Array, density: Array) -> Grid:
    """Return a normalised grid, or refuse it."""
    if density.shape != (len(radius), len(mass)) or min(density.shape) < 2:
        raise InputError(
            f"{name}: {density.shape} densities of {len(radius)} radii and {len(mass)} masses; at least two of both "
            "are needed, and as many densities"
        )
    for what, values in (("radii", radius), ("masses", mass)):
        if not (np.isfinite(values).all() and values[0] > 0.0 and (np.diff(values) > 0.0).all()):
            raise InputError(f"{name}: the {what} must be positive and increase")
    top = density.max()
    if not np.isfinite(density).all() or not top > 0.0:
        raise InputError(f"{name}: the density must be finite, and somewhere positive")
    if density.min() < -_ROUNDING * top:
        i, j = np.unravel_index(int(density.argmin()), density.shape)
        raise InputError(
            f"{name}: the density is {density.min():.4g} at {radius[i]:g} km, {mass[j]:g} Msun; it must not be negative"
        )
    positive = np.maximum(density, 0.0)
    return Grid(radius, mass, positive / (_weights(radius) @ positive @ _weights(mass)))


def _from_archive(name: str, source: str | None) -> tuple[Array, Array, Array]:
    try:
        with np.load(name, allow_pickle=False) as archive:
            there = sorted(key[2:] for key in archive.files if key.startswith("H_"))
            chosen = there[0] if source is None and len(there) == 1 else source
            if chosen not in there:
                asked = "no source was named" if source is None else f"source '{source}'"
                raise InputError(f"{name}: {asked}; there are {', '.join(there) or 'none'}")
            radius, mass, density = (np.asarray(archive[f"{key}_{chosen}"], np.float64) for key in "RMH")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{name}: cannot be read as a grid ({' '.join(str(error).split())})") from None
    return radius.ravel(), mass.ravel(), np.atleast_2d(density)


def _from_columns(name: str) -> tuple[Array, Array, Array]:
    table = _numbers(name)
    if table.shape[1] != 3:
        raise InputError(
            f"{name}: found {table.shape[1]} columns; R (km), M (Msun) and density are needed (a contour is no grid)"
        )
    radius, i = np.unique(table[:, 0], return_inverse=True)
    mass, j = np.unique(table[:, 1], return_inverse=True)
    density = np.zeros((len(radius), len(mass)))
    density[i.ravel(), j.ravel()] = table[:, 2]
    given = np.zeros(density.shape, dtype=bool)
    given[i.ravel(), j.ravel()] = True
    if len(table) != density.size or not given.all():
        raise InputError(
            f"{name}: found {len(table)} points of {len(radius)} radii and {len(mass)} masses; each pair is needed once"
        )
    return radius, mass, density


def _array(name: str) -> Array:
    try:
        return np.asarray(np.load(name, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{name}: cannot be read as numbers ({' '.join(str(error).split())})") from None


def _numbers(name: str) -> Array:
    """Return the numbers of a text file, (rows, columns); NaN is one."""
    rows = [
        (number, line.replace(",", " ").split())
        for number, line in enumerate(_text(name).splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rows:
        raise InputError(f"{name}: has no numbers")
    width = len(rows[0][1])
    values = np.empty((len(rows), width))
    for row, (number, cells) in enumerate(rows):
        if len(cells) != width:
            raise InputError(f"{name}, line {number}: found {len(cells)} columns; the first row has {width}")
        try:
            values[row] = [float(cell) for cell in cells]
        except ValueError:
            raise InputError(
                f"{name}, line {number}: found {' '.join(cells)[:40]!r}; numbers are needed"
            ) from None
    return values


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{name}: cannot be read ({reason})") from None


def _probability(name: str, level: str) -> float:
    """Return what a contour encloses: ``68`` is per cent, ``1s`` what a Gaussian has within one standard deviation."""
    try:
        if level.endswith("s"):
            return math.erf(float(level[:-1]) / math.sqrt(2.0))
        return float(level) / 100.0
    except ValueError:
        raise InputError(f"{name}, line 1: contour '{level}': per cent, or as in 1s, is needed") from None


def _cell(points: Array, x: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the interval in which each x lies, and how far along; beyond the ends the nearest one."""
    i = np.clip(np.searchsorted(points, x, side="right") - 1, 0, len(points) - 2)
    return i, (x - points[i]) / (points[i + 1] - points[i])


def _weights(points: Array) -> Array:
    """Return the weights of the trapezoidal rule."""
    half = 0.5 * np.diff(points)
    return np.append(half, 0.0) + np.append(0.0, half)
