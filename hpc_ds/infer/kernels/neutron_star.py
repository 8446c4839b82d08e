"""Compiled likelihood of observed neutron stars given an equation of state, marginal over the mass of every star.

The density of star s, d_s(M, R), is integrated along the stable branch with the prior M ~ U(M_0, M_max):

    L_s = 1 / (M_max - M_0) integral of d_s(M, R(M)) dM = 1 / (M_max - M_0) integral of d_s(M(j), R(j)) M'(j) dj

over the place j along the curve, in which mass and radius are the cubics of `hpc_ds.physics.kernels.mass_radius`; the
vertical tangent of R(M) at the maximum is none in j. Two Gauss points in every panel, panels half a standard deviation
(half a cell of a grid) long at most.

All that is not sampled is one array (rows, WIDTH), see `HEADER_ROWS`: its rows are the header, the crust's pieces, one
row for each star, then the values of grids.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hpc_ds.physics.kernels.equation_of_state import (
    COLUMNS,
    end_of_piece,
    end_of_search,
    largest_sound_speed,
    set_sound_speeds,
)
from hpc_ds.physics.kernels.mass_radius import (
    CURVE_ROWS,
    ENTHALPY,
    MASS,
    RADIUS,
    TURNED,
    compute_curve,
    new_work,
    place_of_mass,
    rising_slope,
    slope,
)
from hpc_ds.physics.kernels.tov import count_layers
from hpc_ds.runtime.compiled import compiled

WIDTH = COLUMNS
HEADER_ROWS = 2
CRUST_ROWS, STARS, CRUST_H, CRUST_E, CRUST_P, GROWTH, CAUSAL = range(7)
"""Columns of the first row: how many pieces and stars follow, the crust's upper end (geometric units), by what factor
the density grows across a segment, and whether sound must not be faster than light up to the heaviest centre."""
LOWEST_MASS, LEAST_MAXIMUM, LOWEST_H, HIGHEST_H, POINTS, RESOLUTION, LENGTH = range(7)
"""Columns of the second row: M_0 and the least maximum mass (solar masses), the range of central enthalpies, points and
resolution of a curve, and the unit of length in km."""

GAUSSIAN, GRID, SPLIT = 0.0, 1.0, 2.0
"""First column of a star's row.

A Gaussian has mass and radius, the reciprocals of their errors (zero: not measured), their correlation, and the log of
its constant. A split Gaussian has mass and radius, the reciprocals of the mass's errors below and above and of the
radius's, and the log of its constant. A grid has its first row, numbers of masses and radii, the first mass, steps a
solar mass, the first radius and steps a km; its densities follow with the radius fastest.
"""

_PANEL = 0.5  # standard deviations
_SPLIT_PANEL = 0.25  # smaller, for the jump of the curvature
_GRID_PANEL = 0.5  # cells, at whose borders the density has kinks
_MOST_PANELS = 1000
_NEGLIGIBLE = 45.0  # of the log of the integrand below its maximum: 3e-20
_LEFT = 0.5 - 0.5 / math.sqrt(3.0)  # the two points of Gauss and Legendre in (0, 1)
_PAIR = 8  # left value, slope, bend and twist of the mass, then of the radius


@njit(cache=True, error_model="numpy")
def of_speeds(speeds, data):
    """Return the log-likelihood of the equation of state with these squared speeds of sound, (k,)."""
    crust = data[HEADER_ROWS : HEADER_ROWS + int(data[0, CRUST_ROWS])]
    rows, resolution, lowest = crust.shape[0] + speeds.size, data[1, RESOLUTION], data[1, LOWEST_H]
    pieces = np.empty((rows, COLUMNS))
    set_sound_speeds(
        pieces, 0, crust, data[0, CRUST_H], data[0, CRUST_E], data[0, CRUST_P], speeds, data[0, GROWTH]
    )
    top = end_of_search(pieces, 0, rows, min(end_of_piece(pieces, rows - 1), data[1, HIGHEST_H]))
    if not lowest < top:
        return -math.inf
    curve = np.empty((CURVE_ROWS, int(data[1, POINTS])))
    work = new_work(count_layers(pieces, 0, rows, top, resolution), curve.shape[1])
    if compute_curve(pieces, 0, rows, top, lowest, resolution, work, curve) != TURNED:
        return -math.inf
    if data[0, CAUSAL] > 0.0 and largest_sound_speed(pieces, 0, rows, curve[ENTHALPY, -1]) > 1.0:
        return -math.inf
    for j in range(curve.shape[1]):
        curve[RADIUS, j] *= data[1, LENGTH]
    return of_curve(curve[MASS], curve[RADIUS], data)


@njit(cache=True, error_model="numpy")
def of_curves(mass, radius, ok, data):
    """Return the log-likelihoods (n,) of curves (n, points): solar masses and km."""
    found = np.full(ok.size, -math.inf)
    for i in range(ok.size):
        if ok[i]:
            found[i] = of_curve(mass[i], radius[i], data)
    return found


@njit(cache=True, error_model="numpy")
def of_many_speeds(speeds, data):
    """Return the log-likelihoods (n,) of equations of state with speeds (n, k)."""
    found = np.empty(speeds.shape[0])
    for i in range(found.size):
        found[i] = of_speeds(speeds[i], data)
    return found


@njit(cache=True, error_model="numpy")
def of_curve(mass, radius, data):
    """Return the log-likelihood of a curve that ends at its maximum mass."""
    lowest, heaviest = data[1, LOWEST_MASS], mass[-1]
    if not heaviest > lowest or heaviest < data[1, LEAST_MAXIMUM]:
        return -math.inf
    begin = max(place_of_mass(mass, lowest, True), 0.0)
    cubics = np.empty((mass.size - 1, _PAIR))
    set_cubics(mass, radius, cubics)
    total = 0.0
    first = HEADER_ROWS + int(data[0, CRUST_ROWS])
    for row in range(first, first + int(data[0, STARS])):
        total += log_integral(cubics, *span(mass, begin, data, row), data, row)
    return total - data[0, STARS] * math.log(heaviest - lowest)


@compiled
def span(mass, begin, data, row):
    """Return between which places of a curve, from `begin` on, a star is: a grid may end in a step."""
    last = mass.size - 1
    if data[row, 0] != GRID:
        return begin, float(last)
    low, high = data[row, 4], data[row, 4] + (data[row, 2] - 1.0) / data[row, 5]
    if low > mass[last]:
        return float(last), float(last)
    begin = max(begin, place_of_mass(mass, low, True)) if low > mass[0] else begin
    if high >= mass[last]:
        return begin, float(last)
    return begin, max(begin, place_of_mass(mass, high, True)) if high > mass[0] else begin


@compiled
def set_cubics(mass, radius, cubics):
    """Set the cubics of mass and radius in the place between every two stars of a curve."""
    left_mass, left_radius = rising_slope(mass, 0, True), slope(radius, 0)
    for j in range(mass.size - 1):
        right_mass, right_radius = rising_slope(mass, j + 1, True), slope(radius, j + 1)
        set_cubic(cubics, j, 0, mass[j], mass[j + 1], left_mass, right_mass)
        set_cubic(cubics, j, 4, radius[j], radius[j + 1], left_radius, right_radius)
        left_mass, left_radius = right_mass, right_radius


@compiled
def set_cubic(cubics, j, column, left, right, left_slope, right_slope):
    """Set the coefficients of one cubic of these end values and slopes."""
    rise = right - left
    cubics[j, column], cubics[j, column + 1] = left, left_slope
    cubics[j, column + 2] = 3.0 * rise - 2.0 * left_slope - right_slope
    cubics[j, column + 3] = left_slope + right_slope - 2.0 * rise


@compiled
def log_integral(cubics, begin, end, data, row):
    """Return the log of the integral of one star's density over the mass, between two places.

    The sum over a Gaussian is kept relative to its largest term: far from it, it neither vanishes nor costs much.
    """
    largest, total = -math.inf, 0.0
    scale_mass, scale_radius = panels_a_unit(data, row)
    for j in range(int(begin), math.ceil(end)):
        start, stop = max(begin - j, 0.0), min(end - j, 1.0)
        low, high = cubic(cubics, j, 0, start), cubic(cubics, j, 0, stop)
        if bound(data, row, low, high) < largest - _NEGLIGIBLE:
            continue
        across = abs(cubic(cubics, j, 4, stop) - cubic(cubics, j, 4, start))
        count = math.ceil(min(max((high - low) * scale_mass, across * scale_radius, 1.0), _MOST_PANELS))
        width = (stop - start) / count
        for k in range(2 * count):
            t = start + width * (k // 2 + (_LEFT if k % 2 == 0 else 1.0 - _LEFT))
            weight = 0.5 * width * (cubics[j, 1] + t * (2.0 * cubics[j, 2] + 3.0 * t * cubics[j, 3]))
            mass, radius = cubic(cubics, j, 0, t), cubic(cubics, j, 4, t)
            if data[row, 0] == GRID:
                total += weight * interpolate(data, row, mass, radius)
                continue
            value = log_density(data, row, mass, radius)
            if value > largest:
                total = total * math.exp(largest - value) + weight
                largest = value
            else:
                total += weight * math.exp(value - largest)
    if not total > 0.0:
        return -math.inf
    return math.log(total) + (largest if data[row, 0] != GRID else 0.0)


@compiled
def cubic(cubics, j, column, t):
    """Return the value of one cubic at t of [0, 1]."""
    return cubics[j, column] + t * (
        cubics[j, column + 1] + t * (cubics[j, column + 2] + t * cubics[j, column + 3])
    )


@compiled
def panels_a_unit(data, row):
    """Return how many panels a solar mass and a km need."""
    if data[row, 0] == GRID:
        return data[row, 5] / _GRID_PANEL, data[row, 7] / _GRID_PANEL
    if data[row, 0] == SPLIT:
        return (
            max(data[row, 3], data[row, 4]) / _SPLIT_PANEL,
            max(data[row, 5], data[row, 6]) / _SPLIT_PANEL,
        )
    narrower = 1.0 / (_PANEL * math.sqrt(1.0 - data[row, 5] ** 2))
    return data[row, 3] * narrower, data[row, 4] * narrower


@compiled
def bound(data, row, low, high):
    """Return a number that the log density does not exceed between two masses."""
    if data[row, 0] == GRID:
        return math.inf
    if data[row, 0] == SPLIT:
        z = max((low - data[row, 1]) * data[row, 4], (data[row, 1] - high) * data[row, 3], 0.0)
        return data[row, 7] - 0.5 * z * z
    z = max(low - data[row, 1], data[row, 1] - high, 0.0) * data[row, 3]
    return data[row, 6] - 0.5 * z * z


@compiled
def log_density(data, row, mass, radius):
    """Return the log density of one Gaussian star, split or not, at a mass and radius."""
    if data[row, 0] == SPLIT:
        x, y = mass - data[row, 1], radius - data[row, 2]
        x *= data[row, 3] if x < 0.0 else data[row, 4]
        y *= data[row, 5] if y < 0.0 else data[row, 6]
        return data[row, 7] - 0.5 * (x * x + y * y)
    x, y = (mass - data[row, 1]) * data[row, 3], (radius - data[row, 2]) * data[row, 4]
    rho = data[row, 5]
    return data[row, 6] - 0.5 * (x * x - 2.0 * rho * x * y + y * y) / (1.0 - rho * rho)


@compiled
def interpolate(data, row, mass, radius):
    """Return the bilinear interpolation of a grid; zero outside."""
    first, masses, radii = int(data[row, 1]), int(data[row, 2]), int(data[row, 3])
    x, y = (mass - data[row, 4]) * data[row, 5], (radius - data[row, 6]) * data[row, 7]
    if not (0.0 <= x <= masses - 1.0 and 0.0 <= y <= radii - 1.0):
        return 0.0
    i, k = min(int(x), masses - 2), min(int(y), radii - 2)
    x, y = x - i, y - k
    at = i * radii + k
    low = entry(data, first, at) * (1.0 - y) + entry(data, first, at + 1) * y
    high = entry(data, first, at + radii) * (1.0 - y) + entry(data, first, at + radii + 1) * y
    return low * (1.0 - x) + high * x


@compiled
def entry(data, first, k):
    """Return number k of those that fill rows from `first` on."""
    return data[first + k // WIDTH, k % WIDTH]
