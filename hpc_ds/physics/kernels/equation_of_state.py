"""Compiled equations of state of cold matter, piece by piece in the enthalpy h = integral of dp / (e + p).

A piece is one row of numbers, and in it all is closed form. With y = p / rho,

    y = RATIO + SCALE (exp(RATE (h - START)) - 1)
    rho = DENSITY (y / RATIO)^INDEX             DENSITY y^INDEX in a piece that begins at y = 0
    e = REST rho + INTERNAL p

A polytrope in the rest-mass density, p = K rho^Gamma, has SCALE = (Gamma - 1) / Gamma exp(START), RATE = 1,
REST = 1 + a and INTERNAL = INDEX = 1 / (Gamma - 1) (Read et al. 2009); one in the energy density, p = k e^Gamma, has
SCALE = 1 + RATIO, RATE = (Gamma - 1) / Gamma, REST = 1 and INTERNAL = 0: there rho is e. The pieces of one equation of
state are rows first, ..., last - 1 of an array, in the order of growing h; the first begins at h = 0. Units are
geometric.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hpc_ds.runtime.compiled import compiled

START, RATIO, SCALE, RATE, DENSITY, INDEX, REST, INTERNAL = range(8)
"""Columns of a piece."""
COLUMNS = 8

_DENSEST = 0.1  # 6e16 g/cm3, ten times the centre of the densest heaviest stars
_NEWTON_LIMIT = 60
_TOLERANCE = 1e-14
# Nearer to Gamma = 1 both forms of the exponent run out of digits; moving it there shifts ln e by at most 1e-10 ln e.
_ISOTHERMAL = 1e-10
_NEARLY = 1.0 - 1e-6


@compiled
def state(pieces, row, h):
    """Return energy density e, pressure p and de/dh at enthalpy h of the piece in this row.

    All are infinite where a piece with Gamma < 1, in which y falls, has no matter dense enough.
    """
    ratio, index, internal = pieces[row, RATIO], pieces[row, INDEX], pieces[row, INTERNAL]
    growth = pieces[row, SCALE] * math.expm1(pieces[row, RATE] * (h - pieces[row, START]))
    y = ratio + growth
    if y <= 0.0:
        if ratio > 0.0:
            return math.inf, math.inf, math.inf
        return surface(pieces, row)
    power = math.log1p(growth / ratio) if ratio > 0.0 else math.log(y)
    rho = pieces[row, DENSITY] * math.exp(index * power)
    p = y * rho
    e = pieces[row, REST] * rho + internal * p
    slope = pieces[row, RATE] * (pieces[row, SCALE] + growth) * (e * index / y + internal * rho)
    return e, p, slope


@compiled
def surface(pieces, row):
    """Return e, p and de/dh where y = 0 (an infinite de/dh, for Gamma > 2, as zero)."""
    density = pieces[row, REST] * pieces[row, DENSITY]
    if pieces[row, INDEX] == 0.0:
        return density, 0.0, pieces[row, RATE] * pieces[row, SCALE] * pieces[row, INTERNAL] * density
    if pieces[row, INDEX] == 1.0:
        return 0.0, 0.0, pieces[row, RATE] * pieces[row, SCALE] * density
    return 0.0, 0.0, 0.0


@compiled
def find(pieces, first, last, h):
    """Return the row of the piece that holds h: the last one that begins at or below it."""
    low, high = first, last
    while high - low > 1:
        middle = (low + high) // 2
        if pieces[middle, START] <= h:
            low = middle
        else:
            high = middle
    return low


@compiled
def enthalpy(pieces, first, last, e):
    """Return the enthalpy at which the energy density is e; inside a jump of the density, that of the jump."""
    low, high = first, last
    while high - low > 1:
        middle = (low + high) // 2
        if state(pieces, middle, pieces[middle, START])[0] <= e:
            low = middle
        else:
            high = middle
    end = pieces[low + 1, START] if low + 1 < last else math.inf
    return _solve(pieces, low, end, e)


@compiled
def _solve(pieces, row, end, e):
    """Return where ln e(h) is ln e in one piece, by Newton's method in ln h kept inside a bracket."""
    begin = pieces[row, START]
    low, high = begin, end
    h = max(1.5 * begin, 1e-6)
    for _ in range(_NEWTON_LIMIT):
        if not low < h < high:
            h = 0.5 * (low + high) if high < math.inf else 2.0 * low + 1e-6
        found, _, slope = state(pieces, row, h)
        if found < e:
            low = h
        else:
            high = h
        step = math.log(e / found) * found / slope if found > 0.0 and slope > 0.0 else math.inf
        if abs(step) <= _TOLERANCE * h or high - low <= _TOLERANCE * h:
            break
        h += step
    return min(max(h, begin), end)


@compiled
def end_of_search(pieces, first, last, top):
    """Return the enthalpy up to which central ones are sought: `top`, or less where matter gets too dense before."""
    return min(top, enthalpy(pieces, first, last, _DENSEST))


@compiled
def largest_sound_speed(pieces, first, last, h):
    """Return the largest squared speed of sound dp/de up to enthalpy h.

    It is monotonic in a piece, so that the ends of the pieces decide.
    """
    largest = 0.0
    for row in range(first, last):
        if pieces[row, START] >= h:
            break
        end = min(h, pieces[row + 1, START]) if row + 1 < last else h
        largest = max(largest, sound_speed(pieces, row, pieces[row, START]), sound_speed(pieces, row, end))
    return largest


@compiled
def sound_speed(pieces, row, h):
    """Return dp/de = (e + p) / (de/dh): zero at the surface, infinite where e is constant."""
    e, p, slope = state(pieces, row, h)
    if p <= 0.0:
        return 0.0
    return (e + p) / slope if slope > 0.0 else math.inf


@compiled
def set_energy_polytrope(pieces, row, start, e_low, p_low, e_high, p_high):
    """Set a piece p = k e^Gamma from `start` on, through two points; return the enthalpy of the upper one."""
    width = math.log(e_high / e_low)
    gamma = math.log(p_high / p_low) / width
    if abs(gamma - 1.0) < _ISOTHERMAL:
        gamma = 1.0 + _ISOTHERMAL
    y = p_low / e_low
    rate = (gamma - 1.0) / gamma
    pieces[row, START], pieces[row, RATIO], pieces[row, SCALE] = start, y, 1.0 + y
    pieces[row, RATE], pieces[row, DENSITY], pieces[row, INDEX] = rate, e_low, 1.0 / (gamma - 1.0)
    pieces[row, REST], pieces[row, INTERNAL] = 1.0, 0.0
    return start + math.log1p(y / (1.0 + y) * math.expm1((gamma - 1.0) * width)) / rate


@compiled
def set_surface_polytrope(pieces, row, e, p, gamma):
    """Set the outermost piece p = k e^Gamma, from the surface up to this point; return the point's enthalpy."""
    rate, y = (gamma - 1.0) / gamma, p / e
    index = 1.0 / (gamma - 1.0)
    pieces[row, START], pieces[row, RATIO], pieces[row, SCALE] = 0.0, 0.0, 1.0
    pieces[row, RATE], pieces[row, DENSITY], pieces[row, INDEX] = (
        rate,
        e * math.exp(-index * math.log(y)),
        index,
    )
    pieces[row, REST], pieces[row, INTERNAL] = 1.0, 0.0
    return math.log1p(y) / rate


@compiled
def end_of_piece(pieces, row):
    """Return the enthalpy that the matter of a last piece does not reach: infinite unless Gamma < 1.

    There e grows faster than p, and without end before this enthalpy.
    """
    if pieces[row, RATE] >= 0.0:
        return math.inf
    return (
        pieces[row, START]
        + _NEARLY * math.log1p(-pieces[row, RATIO] / pieces[row, SCALE]) / pieces[row, RATE]
    )


@compiled
def set_self_bound(pieces, row, e_surface, inverse_speed):
    """Set an outermost piece e = e_surface + p / c_s^2, given 1 / c_s^2: incompressible where that is zero."""
    rate = 1.0 + inverse_speed
    pieces[row, START], pieces[row, RATIO], pieces[row, SCALE] = 0.0, 0.0, 1.0 / rate
    pieces[row, RATE], pieces[row, DENSITY], pieces[row, INDEX] = rate, e_surface, 0.0
    pieces[row, REST], pieces[row, INTERNAL] = 1.0, inverse_speed


@compiled
def set_sound_speeds(pieces, first, crust, h, e, p, speeds, growth):
    """Set the crust's rows and above them one polytrope in e for each squared speed of sound.

    Across piece i the energy density grows by the factor `growth` and the pressure by c_i^2 times the difference; h, e
    and p are those at the crust's upper end. The last piece goes on without end.
    """
    for row in range(crust.shape[0]):
        for column in range(COLUMNS):
            pieces[first + row, column] = crust[row, column]
    first += crust.shape[0]
    for i in range(speeds.size):
        e_high = e * growth
        p_high = p + speeds[i] * (e_high - e)
        h = set_energy_polytrope(pieces, first + i, h, e, p, e_high, p_high)
        e, p = e_high, p_high


@njit(cache=True, error_model="numpy")
def sound_speed_pieces(crust, h, e, p, speeds, growth):
    """Return the pieces (n (crust + k), columns) of n equations of state from k speeds each, and their ends (n,)."""
    n, k = speeds.shape
    size = crust.shape[0] + k
    pieces, tops = np.empty((n * size, COLUMNS)), np.empty(n)
    for i in range(n):
        set_sound_speeds(pieces, i * size, crust, h, e, p, speeds[i], growth)
        tops[i] = end_of_piece(pieces, (i + 1) * size - 1)
    return pieces, tops


@njit(cache=True, error_model="numpy")
def self_bound_pieces(e_surface, inverse_speed):
    """Return one piece for each of n self-bound kinds of matter, (n, columns)."""
    pieces = np.empty((e_surface.size, COLUMNS))
    for i in range(e_surface.size):
        set_self_bound(pieces, i, e_surface[i], inverse_speed[i])
    return pieces


@njit(cache=True, error_model="numpy")
def table_pieces(e, p, surface_gamma):
    """Return the pieces of a table, linear in ln p against ln e, and the enthalpy at which it ends.

    A first row without pressure is the surface of self-bound matter, linear up to the second. Rows of equal pressure
    are a jump of the density: they make no piece.
    """
    pieces = np.empty((e.size, COLUMNS))
    begin = 0
    if p[0] > 0.0:
        h = set_surface_polytrope(pieces, 0, e[0], p[0], surface_gamma)
    else:
        inverse_speed = (e[1] - e[0]) / p[1]
        set_self_bound(pieces, 0, e[0], inverse_speed)
        h = math.log1p((1.0 + inverse_speed) * p[1] / e[0]) / (1.0 + inverse_speed)
        begin = 1
    rows = 1
    for i in range(begin, e.size - 1):
        if p[i + 1] > p[i]:
            h = set_energy_polytrope(pieces, rows, h, e[i], p[i], e[i + 1], p[i + 1])
            rows += 1
    return pieces[:rows].copy(), h


@njit(cache=True, error_model="numpy")
def states(pieces, starts, h):
    """Return e, p and dp/de of n equations of state at enthalpies h, (n, k) each."""
    e, p, speed = np.empty(h.shape), np.empty(h.shape), np.empty(h.shape)
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            row = find(pieces, starts[i], starts[i + 1], h[i, j])
            e[i, j], p[i, j], _ = state(pieces, row, h[i, j])
            speed[i, j] = sound_speed(pieces, row, h[i, j])
    return e, p, speed


@njit(cache=True, error_model="numpy")
def enthalpies(pieces, starts, e):
    """Return the enthalpies at which n equations of state have energy densities e, (n, k)."""
    h = np.empty(e.shape)
    for i in range(e.shape[0]):
        for j in range(e.shape[1]):
            h[i, j] = enthalpy(pieces, starts[i], starts[i + 1], e[i, j])
    return h


@njit(cache=True, error_model="numpy")
def largest_sound_speeds(pieces, starts, h):
    """Return the largest dp/de of each of n equations of state up to its enthalpy h, (n,)."""
    largest = np.empty(h.size)
    for i in range(h.size):
        largest[i] = largest_sound_speed(pieces, starts[i], starts[i + 1], h[i])
    return largest
