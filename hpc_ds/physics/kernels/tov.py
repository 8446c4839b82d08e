"""Compiled structure of non-rotating stars: the TOV equations in the enthalpy h, and the tidal deformation along.

With u = r^2, v = m / r (Lindblom 1992, ApJ 398, 569) and y = r H' / H of the l = 2 tidal field (Hinderer 2008, Damour &
Nagar 2009; in this form, E = 4 pi e and P = 4 pi p),

    du/dh = -2 u a / b                   a = 1 - 2 v,  b = v + u P
    dv/dh = (v - u E) a / b
    dy/dh = (a y^2 + y (1 - u E + u P) + u (5 E + 9 P + dE/dh) - 6) / b - 4 b / a

from the central enthalpy down to h = 0. Nothing in the coefficients depends on the star but u, v and y: all stars of
one equation of state walk down the same nodes in h together, each from the node below its centre on. A layer between
two nodes lies in one piece of the equation of state, so kinks fall on nodes; e, p and de/dh are computed once a layer
for all stars, and the loop over stars compiles to vector instructions. Units are geometric.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hpc_ds.physics.kernels.equation_of_state import START, state
from hpc_ds.runtime.compiled import compiled

LANES = 8
"""Arrays over stars have a multiple of this length: one vector of 512 bits."""

INNER, MIDDLE, OUTER, JUMP = 0, 3, 6, 9
"""Where a layer holds E, P and dE/dh of its two ends and its middle, and by how much E drops below it."""
LAYER_COLUMNS = 10

_FUSED = {"contract"}
_FOUR_PI = 4.0 * math.pi
# Nodes are laid evenly in asinh(h / _BEND) + _WEIGHT ln(1 + e / _DRIP). Below the bend, at the bottom of the crust, even
# steps in h do; densities count from neutron drip (1e12 g/cm3) on. Both were chosen for least error at equal cost.
_BEND, _WEIGHT, _DRIP = 0.05, 0.1, 1e12 / 6.1758e17
_REAL_JUMP = 1e-8  # of E relative to E: less is rounding
_SERIES_BELOW = 0.1  # compactness under which the logarithm of `love_number` loses digits
_SERIES_TERMS = 24


@compiled
def layers_of_piece(pieces, row, low, high, resolution):
    """Return the number of layers between two enthalpies of one piece."""
    length = math.asinh(high / _BEND) - math.asinh(low / _BEND)
    if low > 0.0:
        e_low, e_high = state(pieces, row, low)[0], state(pieces, row, high)[0]
        length += _WEIGHT * abs(math.log((_DRIP + e_high) / (_DRIP + e_low)))
    return int(math.ceil(resolution * length))


@compiled
def count_layers(pieces, first, last, top, resolution):
    """Return the number of layers up to enthalpy `top`."""
    total = 0
    for row in range(first, last):
        if pieces[row, START] >= top:
            break
        high = min(top, pieces[row + 1, START]) if row + 1 < last else top
        total += layers_of_piece(pieces, row, pieces[row, START], high, resolution)
    return total


@compiled
def set_layers(pieces, first, last, top, resolution, nodes, rows, layers):
    """Set nodes (layers + 1), the piece of each layer and its E, P and dE/dh; return the number of layers."""
    total = 0
    nodes[0] = 0.0
    for row in range(first, last):
        low = pieces[row, START]
        if low >= top:
            break
        high = min(top, pieces[row + 1, START]) if row + 1 < last else top
        count = layers_of_piece(pieces, row, low, high, resolution)
        begin, end = math.asinh(low / _BEND), math.asinh(high / _BEND)
        for i in range(count):
            inner = high if i + 1 == count else _BEND * math.sinh(begin + (end - begin) * (i + 1) / count)
            nodes[total + i + 1] = inner
            rows[total + i] = row
            set_layer(pieces, row, nodes[total + i], inner, layers, total + i, i > 0)
        total += count
    set_jumps(layers, total)
    return total


@compiled
def set_layer(pieces, row, outer, inner, layers, k, continued):
    """Set one layer; `continued`: its outer end is the inner end of the layer below, in the same piece."""
    if continued:
        for column in range(3):
            layers[k, OUTER + column] = layers[k - 1, INNER + column]
    else:
        set_state(pieces, row, outer, layers, k, OUTER)
    set_state(pieces, row, 0.5 * (outer + inner), layers, k, MIDDLE)
    set_state(pieces, row, inner, layers, k, INNER)


@compiled
def set_state(pieces, row, h, layers, k, place):
    """Set E, P and dE/dh of one place of a layer."""
    e, p, slope = state(pieces, row, h)
    layers[k, place], layers[k, place + 1], layers[k, place + 2] = _FOUR_PI * e, _FOUR_PI * p, _FOUR_PI * slope


@compiled
def set_jumps(layers, count):
    """Set by how much E drops at the outer end of each layer: at first-order transitions and a bare surface."""
    for k in range(count):
        inside = layers[k, OUTER]
        drop = inside - (layers[k - 1, INNER] if k > 0 else 0.0)
        layers[k, JUMP] = drop if abs(drop) > _REAL_JUMP * inside else 0.0


@compiled
def march(pieces, nodes, rows, layers, count, h, u, v, y):
    """Integrate stars of descending central enthalpies h to the surface: set u, v and y there.

    Arrays over stars have a multiple of LANES entries. A star that begins above the top node or at h <= 0 gets NaN.
    """
    for star in range(h.size):
        u[star], v[star], y[star] = 1.0, 0.1, 2.0  # what idle lanes compute with is of no consequence
    begun = 0
    while begun < h.size and not h[begun] <= nodes[count]:
        begun += 1
    outside = begun
    for k in range(count - 1, -1, -1):
        if begun > outside:
            busy = (begun + LANES - 1) // LANES * LANES
            advance(u, v, y, 0, busy, nodes[k] - nodes[k + 1], layers, k)
            cross_jump(u, v, y, begun, layers, k)
        lowest = lowest_start(nodes, rows, k)
        while begun < h.size and h[begun] > lowest:
            start(pieces, rows[k], nodes[k], h[begun], layers, k, u, v, y, begun)
            begun += 1
    for star in range(h.size):
        if star < outside or star >= begun:
            u[star], v[star], y[star] = math.nan, math.nan, math.nan


@compiled
def lowest_start(nodes, rows, k):
    """Return the enthalpy above which stars begin in layer k.

    A full step right after a much smaller one would be inexact: where the piece goes on, a star that begins in a
    layer's lower half begins with the layer below.
    """
    if k == 0 or rows[k - 1] != rows[k]:
        return nodes[k]
    return 0.5 * (nodes[k] + nodes[k + 1])


@compiled
def start(pieces, row, node, h, layers, k, u, v, y, star):
    """Set a star at a node below its centre: by its series half the way, by a step from there."""
    e, p, slope = state(pieces, row, h)
    E, P, G = _FOUR_PI * e, _FOUR_PI * p, _FOUR_PI * slope
    d = 0.5 * (h - node)
    u1 = 2.0 / (P + E / 3.0)
    v1 = u1 * E / 3.0
    u2 = 0.5 * u1 * (0.5 * u1 * (E + P + 0.2 * G) - 2.0 * v1)
    u[star] = d * (u1 + d * u2)
    v[star] = d * (v1 + d * (u2 * E / 3.0 - 0.2 * u1 * G))
    y[star] = 2.0 - d * u1 / 7.0 * (E / 3.0 + 11.0 * P + G)
    set_state(pieces, row, h - d, layers, layers.shape[0] - 1, INNER)
    set_state(pieces, row, h - 1.5 * d, layers, layers.shape[0] - 1, MIDDLE)
    for column in range(3):
        layers[layers.shape[0] - 1, OUTER + column] = layers[k, OUTER + column]
    advance(u, v, y, star, star + 1, -d, layers, layers.shape[0] - 1)
    layers[layers.shape[0] - 1, JUMP] = layers[k, JUMP]
    cross_jump(u[star:], v[star:], y[star:], 1, layers, layers.shape[0] - 1)


@njit(cache=True, fastmath=_FUSED, error_model="numpy", _nrt=False)
def advance(u, v, y, begin, end, step, layers, k):
    """Take stars begin, ..., end - 1 through layer k by one step of the classical fourth-order Runge-Kutta method."""
    E0, P0, G0 = layers[k, INNER], layers[k, INNER + 1], layers[k, INNER + 2]
    E1, P1, G1 = layers[k, MIDDLE], layers[k, MIDDLE + 1], layers[k, MIDDLE + 2]
    E2, P2, G2 = layers[k, OUTER], layers[k, OUTER + 1], layers[k, OUTER + 2]
    half, sixth = 0.5 * step, step / 6.0
    for s in range(begin, end):
        us, vs, ys = u[s], v[s], y[s]
        u1, v1, y1 = slopes(us, vs, ys, E0, P0, G0)
        u2, v2, y2 = slopes(us + half * u1, vs + half * v1, ys + half * y1, E1, P1, G1)
        u3, v3, y3 = slopes(us + half * u2, vs + half * v2, ys + half * y2, E1, P1, G1)
        u4, v4, y4 = slopes(us + step * u3, vs + step * v3, ys + step * y3, E2, P2, G2)
        u[s] = us + sixth * (u1 + 2.0 * (u2 + u3) + u4)
        v[s] = vs + sixth * (v1 + 2.0 * (v2 + v3) + v4)
        y[s] = ys + sixth * (y1 + 2.0 * (y2 + y3) + y4)


@njit(cache=True, fastmath=_FUSED, error_model="numpy", _nrt=False, forceinline=True)
def slopes(u, v, y, E, P, G):
    """Return du/dh, dv/dh and dy/dh, with one division."""
    a, uE, uP = 1.0 - 2.0 * v, u * E, u * P
    b = v + uP
    inverse = 1.0 / (a * b)
    over_b = a * inverse
    ratio = a * over_b
    tide = ratio * y * y + over_b * (y * (1.0 - uE + uP) + 5.0 * uE + 9.0 * uP + u * G - 6.0)
    return -2.0 * u * ratio, (v - uE) * ratio, tide - 4.0 * b * b * inverse


@compiled
def cross_jump(u, v, y, begun, layers, k):
    """Let y jump where the density does (Damour & Nagar 2009, eq. 53, with the pressure of Han & Steiner 2019)."""
    drop = layers[k, JUMP]
    if drop == 0.0:
        return
    P = layers[k, OUTER + 1]
    for s in range(begun):
        y[s] -= u[s] * drop / (v[s] + u[s] * P)


@compiled
def love_number(compactness, y):
    """Return k2 (Hinderer 2008, eq. 23), with the powers of C that cancel taken out."""
    c = compactness
    numerator = 1.6 * (1.0 - 2.0 * c) ** 2 * (2.0 - y + 2.0 * c * (y - 1.0))
    polynomial = 48.0 - 16.0 * y + c * (80.0 * y - 128.0) - 96.0 * c * c * (y - 1.0)
    return numerator / (polynomial + 1.875 * numerator * tail_of_logarithm(c))


@compiled
def tail_of_logarithm(c):
    """Return (ln(1 - 2 c) + 2 c + (2 c)^2 / 2 + (2 c)^3 / 3 + (2 c)^4 / 4) / c^5."""
    x = 2.0 * c
    if c > _SERIES_BELOW:
        return 32.0 * (math.log(1.0 - x) + x * (1.0 + x * (0.5 + x * (1.0 / 3.0 + 0.25 * x)))) / x**5
    total = 0.0
    for k in range(_SERIES_TERMS + 4, 4, -1):
        total = total * x + 1.0 / k
    return -32.0 * total


@compiled
def set_stars(u, v, y, first, mass, radius, tidal, love):
    """Set masses, radii, dimensionless tidal deformabilities and k2 from the state at the surface, from lane `first`."""
    for star in range(mass.size):
        lane = first + star
        radius[star] = math.sqrt(u[lane])
        mass[star] = v[lane] * radius[star]
        love[star] = love_number(v[lane], y[lane])
        tidal[star] = 2.0 / 3.0 * love[star] / v[lane] ** 5


@njit(cache=True, error_model="numpy")
def stars(pieces, starts, h, resolution):
    """Return masses, radii, tidal deformabilities and k2 of stars of descending central enthalpies h, (n, k) each."""
    n, k = h.shape
    mass, radius, tidal, love = np.empty((n, k)), np.empty((n, k)), np.empty((n, k)), np.empty((n, k))
    lanes = (k + LANES - 1) // LANES * LANES
    centre, u, v, y = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    for i in range(n):
        first, last = starts[i], starts[i + 1]
        size = count_layers(pieces, first, last, h[i, 0], resolution)
        nodes, rows, layers = np.empty(size + 1), np.empty(size, np.int64), np.empty((size + 1, LAYER_COLUMNS))
        set_layers(pieces, first, last, h[i, 0], resolution, nodes, rows, layers)
        for lane in range(lanes):
            centre[lane] = h[i, min(lane, k - 1)]
        march(pieces, nodes, rows, layers, size, centre, u, v, y)
        set_stars(u, v, y, 0, mass[i], radius[i], tidal[i], love[i])
    return mass, radius, tidal, love
