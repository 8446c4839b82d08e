"""Compiled mass-radius curves: the stable branch of each equation of state up to its first maximum, and values on it.

The stars of a curve have central enthalpies in geometric progression from a lowest one up to that of the maximum mass.
Between them mass and radius are cubics in the place along the curve, j = 0, 1, ...; a radius is looked up by solving
mass(j) = M, never interpolated in the mass itself, where it turns with a vertical tangent at the maximum.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hpc_ds.physics.kernels.equation_of_state import find, state
from hpc_ds.physics.kernels.tov import (
    LANES,
    LAYER_COLUMNS,
    count_layers,
    love_number,
    march,
    set_layers,
)
from hpc_ds.runtime.compiled import compiled

MASS, RADIUS, TIDAL, ENTHALPY, PRESSURE, ENERGY_DENSITY = range(6)
"""Rows of a curve."""
CURVE_ROWS = 6

RISING, TURNED, FAILED = 0, 1, 2
"""How a search ends: the mass still rises at the highest enthalpy, has turned at a maximum, or cannot be computed."""

_SCAN = 40  # stars of the first search
_NARROW = 8  # and of each that refines it: multiples of LANES
_REFINEMENTS = 2
_REPAIRS = 3
_NOISE = 1e-5  # relative decrease of the mass that counts as one: more than the error of a star
_BISECTIONS = 60
_CLOSE = 1e-13


@compiled
def geometric(h, low, high, count):
    """Set `count` descending enthalpies in geometric progression from `high` to `low`; idle lanes repeat the last."""
    factor = math.log(high / low) / max(count - 1, 1)
    for star in range(h.size):
        h[star] = low * math.exp(factor * (count - 1 - star)) if star < count else low
    h[0] = high
    h[count - 1] = low


@compiled
def masses(pieces, nodes, rows, layers, count, h, u, v, y):
    """Integrate stars of descending enthalpies; `u` becomes their masses."""
    march(pieces, nodes, rows, layers, count, h, u, v, y)
    for star in range(h.size):
        u[star] = v[star] * math.sqrt(u[star])


@compiled
def first_fall(mass, count):
    """Return the star of the first maximum, from the last of `count` (the lightest) up; -1: none, -2: not computed."""
    for star in range(count - 1, 0, -1):
        if not (math.isfinite(mass[star]) and math.isfinite(mass[star - 1])):
            return -2
        if mass[star - 1] < mass[star] * (1.0 - _NOISE):
            return star
    return -1


@compiled
def largest(mass, count):
    """Return the star of the largest mass."""
    best = 0
    for star in range(1, count):
        if mass[star] > mass[best]:
            best = star
    return best


@compiled
def vertex(x, f, middle):
    """Return where the parabola through three neighbouring points has its maximum, between the outer two."""
    left, right = x[middle + 1] - x[middle], x[middle - 1] - x[middle]
    down, up = (f[middle + 1] - f[middle]) / left, (f[middle - 1] - f[middle]) / right
    curvature = (up - down) / (right - left)
    if not curvature < 0.0:
        return x[middle]
    return x[middle] + min(max(0.5 * (left - down / curvature), left), right)


@compiled
def refine(pieces, nodes, rows, layers, count, low, high, h, u, v, y):
    """Return the enthalpy of the maximum mass between two enthalpies that enclose it."""
    for _ in range(_REFINEMENTS):
        geometric(h, low, high, _NARROW)
        masses(pieces, nodes, rows, layers, count, h, u, v, y)
        best = min(max(largest(u, _NARROW), 1), _NARROW - 2)
        low, high = h[best + 1], h[best - 1]
    return vertex(h, u, best)


@compiled
def search(pieces, nodes, rows, layers, count, low, high, h, u, v, y):
    """Return the enthalpy of the first maximum of the mass between `low` and `high`, and how the search ended."""
    geometric(h, low, high, _SCAN)
    masses(pieces, nodes, rows, layers, count, h, u, v, y)
    star = first_fall(u, _SCAN)
    if star == -2 or star == _SCAN - 1:
        return high, FAILED
    if star == -1:
        return high, RISING
    low, high = h[star + 1], h[star - 1]
    narrow = slice(0, _NARROW)
    return refine(
        pieces, nodes, rows, layers, count, low, high, h[narrow], u[narrow], v[narrow], y[narrow]
    ), TURNED


@compiled
def fill(pieces, first, last, h, u, v, y, curve):
    """Set a curve, lightest star first, from the stars' states at the surface."""
    points = curve.shape[1]
    for j in range(points):
        lane = points - 1 - j
        radius = math.sqrt(u[lane])
        curve[MASS, j], curve[RADIUS, j] = v[lane] * radius, radius
        curve[TIDAL, j] = 2.0 / 3.0 * love_number(v[lane], y[lane]) / v[lane] ** 5
        e, p, _ = state(pieces, find(pieces, first, last, h[lane]), h[lane])
        curve[ENTHALPY, j], curve[PRESSURE, j], curve[ENERGY_DENSITY, j] = h[lane], p, e


@compiled
def fall_of_curve(curve):
    """Return the first place behind which the mass falls, or -1."""
    for j in range(curve.shape[1] - 1):
        if curve[MASS, j + 1] < curve[MASS, j] * (1.0 - _NOISE):
            return j
    return -1


@compiled
def compute_curve(pieces, first, last, top, lowest, resolution, nodes, rows, layers, narrow, wide, curve):
    """Set the stable branch of one equation of state from enthalpy `lowest` on; return how the search ended.

    `narrow` (4, at least 40) and `wide` (4, lanes of the curve's points) are room for h, u, v and y. A maximum that
    lies between two stars of the search shows as a fall of the curve itself: the curve then ends there.
    """
    count = set_layers(pieces, first, last, top, resolution, nodes, rows, layers)
    h, u, v, y = narrow
    peak, outcome = search(pieces, nodes, rows, layers, count, lowest, top, h, u, v, y)
    h, u, v, y = wide
    for _ in range(_REPAIRS):
        geometric(h, lowest, peak, curve.shape[1])
        march(pieces, nodes, rows, layers, count, h, u, v, y)
        fill(pieces, first, last, h, u, v, y, curve)
        fall = fall_of_curve(curve)
        if fall <= 0 or outcome == FAILED:
            break
        low, high = curve[ENTHALPY, fall - 1], curve[ENTHALPY, fall + 1]
        h, u, v, y = narrow
        part = slice(0, _NARROW)
        peak, outcome = (
            refine(pieces, nodes, rows, layers, count, low, high, h[part], u[part], v[part], y[part]),
            TURNED,
        )
        h, u, v, y = wide
    return outcome


@njit(cache=True, error_model="numpy")
def curves(pieces, starts, tops, lowest, points, resolution):
    """Return the curves (n, CURVE_ROWS, points) and outcomes (n,) of n equations of state; failed ones are NaN."""
    n = starts.size - 1
    found, outcomes = np.empty((n, CURVE_ROWS, points)), np.empty(n, np.int64)
    size = 0
    for i in range(n):
        size = max(size, count_layers(pieces, starts[i], starts[i + 1], tops[i], resolution))
    nodes, rows, layers = np.empty(size + 1), np.empty(size, np.int64), np.empty((size + 1, LAYER_COLUMNS))
    narrow = np.empty((4, _SCAN))
    wide = np.empty((4, (points + LANES - 1) // LANES * LANES))
    for i in range(n):
        outcomes[i] = FAILED
        if lowest < tops[i]:
            outcomes[i] = compute_curve(
                pieces,
                starts[i],
                starts[i + 1],
                tops[i],
                lowest,
                resolution,
                nodes,
                rows,
                layers,
                narrow,
                wide,
                found[i],
            )
        if outcomes[i] == FAILED or not np.isfinite(found[i]).all():
            outcomes[i] = FAILED
            found[i] = np.nan
    return found, outcomes


# Values on a curve


@compiled
def slope(values, j):
    """Return the derivative at place j of equidistant values (at least five) to fourth order."""
    n = values.size
    if 2 <= j < n - 2:
        return (values[j - 2] - values[j + 2] + 8.0 * (values[j + 1] - values[j - 1])) / 12.0
    side = 1 if j < 2 else -1
    a = 0 if j < 2 else n - 1
    near = (values[a], values[a + side], values[a + 2 * side], values[a + 3 * side], values[a + 4 * side])
    if j == a:
        return side * (-25.0 * near[0] + 48.0 * near[1] - 36.0 * near[2] + 16.0 * near[3] - 3.0 * near[4]) / 12.0
    return side * (-3.0 * near[0] - 10.0 * near[1] + 18.0 * near[2] - 6.0 * near[3] + near[4]) / 12.0


@compiled
def rising_slope(values, j, turned):
    """Return the slope at place j of rising values, small enough that the cubics rise (Fritsch & Carlson 1980)."""
    last = values.size - 1
    if turned and j == last:
        return 0.0
    below = values[j] - values[j - 1] if j > 0 else values[1] - values[0]
    above = values[j + 1] - values[j] if j < last else values[last] - values[last - 1]
    return min(max(slope(values, j), 0.0), 3.0 * max(min(below, above), 0.0))


@compiled
def hermite(t, left, right, left_slope, right_slope):
    """Return the cubic of these end values and slopes at t of [0, 1]."""
    rise = right - left
    bend, twist = 3.0 * rise - 2.0 * left_slope - right_slope, left_slope + right_slope - 2.0 * rise
    return left + t * (left_slope + t * (bend + t * twist))


@compiled
def place_of_mass(mass, wanted, turned):
    """Return the place along the curve at which it has this mass; NaN outside."""
    low, high = 0, mass.size - 1
    if not mass[low] <= wanted <= mass[high]:
        return math.nan
    while high - low > 1:
        middle = (low + high) // 2
        if mass[middle] <= wanted:
            low = middle
        else:
            high = middle
    left, right = rising_slope(mass, low, turned), rising_slope(mass, high, turned)
    return low + solve_cubic(wanted, mass[low], mass[high], left, right)


@compiled
def solve_cubic(wanted, left, right, left_slope, right_slope):
    """Return t of [0, 1] at which a rising cubic has the value wanted, by Newton's method kept inside a bracket."""
    low, high = 0.0, 1.0
    t = min(max((wanted - left) / (right - left), 0.0), 1.0) if right > left else 0.0
    rise = right - left
    bend, twist = 3.0 * rise - 2.0 * left_slope - right_slope, left_slope + right_slope - 2.0 * rise
    for _ in range(_BISECTIONS):
        excess = left + t * (left_slope + t * (bend + t * twist)) - wanted
        if excess > 0.0:
            high = t
        else:
            low = t
        derivative = left_slope + t * (2.0 * bend + 3.0 * t * twist)
        following = t - excess / derivative if derivative > 0.0 else math.inf
        if not low <= following <= high:
            following = 0.5 * (low + high)
        if abs(following - t) < _CLOSE:
            return following
        t = following
    return t


@compiled
def value_at(values, place):
    """Return the cubic interpolation of equidistant values at a place along the curve."""
    if not place >= 0.0:
        return math.nan
    j = min(int(place), values.size - 2)
    return hermite(place - j, values[j], values[j + 1], slope(values, j), slope(values, j + 1))


@njit(cache=True, error_model="numpy")
def values_at_masses(mass, values, turned, wanted):
    """Return values (n, points) along n curves where these have the masses wanted, (n, k)."""
    found = np.empty(wanted.shape)
    for i in range(wanted.shape[0]):
        for j in range(wanted.shape[1]):
            found[i, j] = value_at(values[i], place_of_mass(mass[i], wanted[i, j], turned[i]))
    return found
