"""Compiled mass-radius curves: the stable branch of each equation of state up to its first maximum, and values on it.

The stars of a curve have central enthalpies in geometric progression from a lowest one up to that of the maximum mass.
Between them mass and radius are cubics in the place along the curve, j = 0, 1, ...; a radius is looked up by solving
mass(j) = M, never interpolated in the mass itself, where it turns with a vertical tangent at the maximum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hpc_ds.physics.kernels.equation_of_state import end_of_search, find, state
from hpc_ds.physics.kernels.lanes import LANES
from hpc_ds.physics.kernels.tov import LAYER_COLUMNS, count_layers, lane, march, set_layers, star_of_lane
from hpc_ds.runtime.compiled import compiled

Array = NDArray[np.float64]

MASS, RADIUS, TIDAL, ENTHALPY, PRESSURE, ENERGY_DENSITY = range(6)
"""Rows of a curve."""
CURVE_ROWS = 6

RISING, TURNED, FAILED = 0, 1, 2
"""How a search ends: the mass still rises at the highest enthalpy, has turned at a maximum, or cannot be computed."""

_SCAN = 40  # stars of the first search
_NARROW = 8  # and of each that refines it, one vector
_REFINEMENTS = 2
_REPAIRS = 3
_NOISE = 1e-5  # relative decrease of the mass that counts as one: more than the error of a star
_BISECTIONS = 60
_CLOSE = 1e-13


class Stars(NamedTuple):
    """Stars on their way to the surface, (blocks, LANES) each, by descending central enthalpy."""

    h: Array
    u: Array
    v: Array
    y: Array


class Work(NamedTuple):
    """Scratch of one curve."""

    nodes: Array
    rows: NDArray[np.int64]
    layers: Array
    scan: Stars
    narrow: Stars
    curve: Stars


@njit(cache=True)
def new_stars(count):
    """Return room for at least so many stars."""
    shape = ((count + LANES - 1) // LANES, LANES)
    return Stars(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape))


@njit(cache=True)
def new_work(layers, points):
    """Return the scratch of curves of so many points, through at most so many layers."""
    return Work(
        np.empty(layers + 1),
        np.empty(layers, np.int64),
        np.empty((layers, LAYER_COLUMNS)),
        new_stars(_SCAN),
        new_stars(_NARROW),
        new_stars(points),
    )


@compiled
def integrate(pieces, work, count, stars, low, high, number):
    """Integrate so many stars, their central enthalpies in descending geometric progression from `high` to `low`."""
    fall = math.log(low / high) / (number - 1)
    for star in range(stars.h.size):
        set_enthalpy(stars, star, high * math.exp(fall * star) if star < number - 1 else low)
    march(pieces, work.nodes, work.rows, work.layers, count, stars.h, stars.u, stars.v, stars.y)


@compiled
def integrate_nodes(pieces, work, count, low):
    """Integrate the stars of the first search, whose centres are nodes evenly from the top one to that above `low`.

    Nodes lie close in enthalpy where the density changes much in it, so that a soft piece is not passed over.
    """
    lowest = count
    while lowest > 0 and work.nodes[lowest - 1] > low:
        lowest -= 1
    for star in range(work.scan.h.size):
        node = count - (count - lowest) * star // (_SCAN - 1)
        set_enthalpy(work.scan, star, work.nodes[node] if star < _SCAN - 1 else low)
    march(
        pieces, work.nodes, work.rows, work.layers, count, work.scan.h, work.scan.u, work.scan.v, work.scan.y
    )


@compiled
def set_enthalpy(stars, star, h):
    """Set the central enthalpy of one star."""
    stars.h[star // LANES, star % LANES] = h


@compiled
def mass(stars, star):
    """Return the mass of one star at the surface."""
    return lane(stars.v, star) * math.sqrt(lane(stars.u, star))


@compiled
def first_maximum(stars, number):
    """Return the first star, from the lightest up, behind which masses fall; -1: none, -2: not computed."""
    for star in range(number - 1, 0, -1):
        here, inwards = mass(stars, star), mass(stars, star - 1)
        if not (math.isfinite(here) and math.isfinite(inwards)):
            return -2
        if inwards < here * (1.0 - _NOISE):
            return star
    return -1


@compiled
def heaviest(stars, number):
    """Return the star of the largest mass."""
    best = 0
    for star in range(1, number):
        if mass(stars, star) > mass(stars, best):
            best = star
    return best


@compiled
def vertex(stars, star):
    """Return the enthalpy at which the parabola through a star and its neighbours is highest, between these."""
    h, m = lane(stars.h, star), mass(stars, star)
    left, right = lane(stars.h, star + 1) - h, lane(stars.h, star - 1) - h
    down, up = (mass(stars, star + 1) - m) / left, (mass(stars, star - 1) - m) / right
    curvature = (up - down) / (right - left)
    if not curvature < 0.0:
        return h
    return h + min(max(0.5 * (left - down / curvature), left), right)


@compiled
def refine(pieces, work, count, low, high):
    """Return the enthalpy of the maximum mass between two enthalpies that enclose it."""
    for _ in range(_REFINEMENTS):
        integrate(pieces, work, count, work.narrow, low, high, _NARROW)
        best = min(max(heaviest(work.narrow, _NARROW), 1), _NARROW - 2)
        low, high = lane(work.narrow.h, best + 1), lane(work.narrow.h, best - 1)
    return vertex(work.narrow, best)


@compiled
def search(pieces, work, count, low, high):
    """Return the enthalpy of the first maximum of the mass between `low` and `high`, and how the search ended."""
    integrate_nodes(pieces, work, count, low)
    star = first_maximum(work.scan, _SCAN)
    if star == -2 or star == _SCAN - 1:
        return high, FAILED
    if star == -1:
        return high, RISING
    return refine(pieces, work, count, lane(work.scan.h, star + 1), lane(work.scan.h, star - 1)), TURNED


@compiled
def fill(pieces, first, last, stars, curve):
    """Set a curve, lightest star first, from the stars at the surface."""
    points = curve.shape[1]
    for j in range(points):
        star = points - 1 - j
        h = lane(stars.h, star)
        curve[MASS, j], curve[RADIUS, j], curve[TIDAL, j], _ = star_of_lane(stars.u, stars.v, stars.y, star)
        e, p, _ = state(pieces, find(pieces, first, last, h), h)
        curve[ENTHALPY, j], curve[PRESSURE, j], curve[ENERGY_DENSITY, j] = h, p, e


@compiled
def fall_of_curve(curve):
    """Return the first place behind which the mass falls, or -1."""
    for j in range(curve.shape[1] - 1):
        if curve[MASS, j + 1] < curve[MASS, j] * (1.0 - _NOISE):
            return j
    return -1


@compiled
def compute_curve(pieces, first, last, top, lowest, resolution, work, curve):
    """Set the stable branch of one equation of state from enthalpy `lowest` on; return how the search ended.

    A maximum between two stars of the search shows as a fall of the mass along the curve, which then ends there.
    """
    count = set_layers(pieces, first, last, top, resolution, work.nodes, work.rows, work.layers)
    peak, outcome = search(pieces, work, count, lowest, top)
    for _ in range(_REPAIRS):
        integrate(pieces, work, count, work.curve, lowest, peak, curve.shape[1])
        fill(pieces, first, last, work.curve, curve)
        fall = fall_of_curve(curve)
        if fall <= 0 or outcome == FAILED:
            break
        peak = refine(pieces, work, count, curve[ENTHALPY, fall - 1], curve[ENTHALPY, fall + 1])
        outcome = TURNED
    return outcome


@njit(cache=True, error_model="numpy")
def curves(pieces, starts, tops, lowest, points, resolution):
    """Return the curves (n, CURVE_ROWS, points) and outcomes (n,) of n equations of state; failed ones are NaN."""
    n = starts.size - 1
    found, outcomes = np.empty((n, CURVE_ROWS, points)), np.empty(n, np.int64)
    ends, size = np.empty(n), 0
    for i in range(n):
        ends[i] = end_of_search(pieces, starts[i], starts[i + 1], tops[i])
        size = max(size, count_layers(pieces, starts[i], starts[i + 1], ends[i], resolution))
    work = new_work(size, points)
    for i in range(n):
        outcomes[i] = FAILED
        if lowest < ends[i]:
            outcomes[i] = compute_curve(
                pieces, starts[i], starts[i + 1], ends[i], lowest, resolution, work, found[i]
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
        return (
            side * (-25.0 * near[0] + 48.0 * near[1] - 36.0 * near[2] + 16.0 * near[3] - 3.0 * near[4]) / 12.0
        )
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
