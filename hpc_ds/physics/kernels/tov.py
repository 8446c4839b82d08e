"""Compiled structure of non-rotating stars: the TOV equations in the enthalpy h, and the tidal deformation along.

With u = r^2, v = m / r (Lindblom 1992, ApJ 398, 569) and y = r H' / H of the l = 2 tidal field (Hinderer 2008, Damour &
Nagar 2009; in this form, E = 4 pi e and P = 4 pi p),

    du/dh = -2 u a / b                   a = 1 - 2 v,  b = v + u P
    dv/dh = (v - u E) a / b
    dy/dh = (a y^2 + y (1 - u E + u P) + u (5 E + 9 P + dE/dh) - 6) / b - 4 b / a

from the central enthalpy down to h = 0. Nothing in the coefficients depends on the star but u, v and y: all stars of
one equation of state walk down the same nodes in h together, each from the node below its centre on. A layer between
two nodes lies in one piece of the equation of state, so kinks fall on nodes; e, p and de/dh are computed once a layer
for all stars, and eight stars make one step by the same vector instructions. Units are geometric.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hpc_ds.physics.kernels.equation_of_state import START, state
from hpc_ds.physics.kernels.lanes import LANES, get_real
from hpc_ds.physics.kernels.star_lanes import put_real
from hpc_ds.runtime.compiled import compiled

INNER, MIDDLE, OUTER, JUMP = 0, 3, 6, 9
"""Where a layer holds E, P and dE/dh of its two ends and its middle, and by how much E drops below it."""
LAYER_COLUMNS = 10

fused = njit(cache=True, fastmath={"contract"}, error_model="numpy", _nrt=False, forceinline=True)
"""Compile a formula of numbers or lanes: merged into its callers, a product and a sum may be one instruction."""

_FOUR_PI = 4.0 * math.pi
# The layers of a piece are even in asinh(h / _BEND), as many as its length in that and in _WEIGHT ln(1 + e / _DRIP)
# asks for. Below the bend, at the bottom of the crust, even steps in h do; densities count from neutron drip on.
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
    return math.ceil(resolution * length)


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
    layers[k, place], layers[k, place + 1], layers[k, place + 2] = scaled_state(pieces, row, h)


@compiled
def scaled_state(pieces, row, h):
    """Return E = 4 pi e, P = 4 pi p and dE/dh."""
    e, p, slope = state(pieces, row, h)
    return _FOUR_PI * e, _FOUR_PI * p, _FOUR_PI * slope


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

    Arrays over stars are (blocks, LANES). A star that begins above the top node or at h <= 0 gets NaN.
    """
    size = h.size
    for star in range(size):
        set_star(u, v, y, star, 1.0, 0.1, 2.0)  # what idle lanes compute with is of no consequence
    outside = 0
    while outside < size and not lane(h, outside) <= nodes[count]:
        outside += 1
    begun = outside
    for k in range(count - 1, -1, -1):
        if begun > outside:
            descend(u, v, y, (begun + LANES - 1) // LANES, nodes[k] - nodes[k + 1], layers, k)
        # A full step right after a much smaller one would be inexact: the lower half begins with the layer below.
        lowest = 0.5 * (nodes[k] + nodes[k + 1]) if k > 0 else 0.0
        while begun < size and lane(h, begun) > lowest:
            u_node, v_node, y_node = start(pieces, nodes, rows, layers, k, count, lane(h, begun))
            set_star(u, v, y, begun, u_node, v_node, y_node)
            begun += 1
    for star in range(size):
        if star < outside or star >= begun:
            set_star(u, v, y, star, math.nan, math.nan, math.nan)


@compiled
def lane(values, star):
    """Return the entry of one star."""
    return values[star // LANES, star % LANES]


@compiled
def set_star(u, v, y, star, u_star, v_star, y_star):
    """Set the entries of one star."""
    block, place = star // LANES, star % LANES
    u[block, place], v[block, place], y[block, place] = u_star, v_star, y_star


@compiled
def start(pieces, nodes, rows, layers, k, count, h):
    """Return u, v and y at the outer end of layer k of a star whose centre is in it, or a little above."""
    if k + 1 < count and h > nodes[k + 1] and rows[k + 1] != rows[k]:
        u, v, y = leave_centre(pieces, rows[k + 1], h, nodes[k + 1])
        y = y - tidal_jump(u, v, layers[k + 1, OUTER + 1], layers[k + 1, JUMP])
        u, v, y = ease(pieces, rows[k], nodes[k + 1], nodes[k], h - nodes[k + 1], u, v, y)
    else:
        u, v, y = leave_centre(pieces, rows[k], h, nodes[k])
    return u, v, y - tidal_jump(u, v, layers[k, OUTER + 1], layers[k, JUMP])


@compiled
def leave_centre(pieces, row, h, node):
    """Return u, v and y at a node of the centre's piece: by their series half the way, by a step from there."""
    E, P, G = scaled_state(pieces, row, h)
    d = 0.5 * (h - node)
    u1 = 2.0 / (P + E / 3.0)
    v1 = u1 * E / 3.0
    u2 = 0.5 * u1 * (0.5 * u1 * (E + P + 0.2 * G) - 2.0 * v1)
    u, v = d * (u1 + d * u2), d * (v1 + d * (u2 * E / 3.0 - 0.2 * u1 * G))
    y = 2.0 - d * u1 / 7.0 * (E / 3.0 + 11.0 * P + G)
    return step_in_piece(pieces, row, h - d, node, u, v, y)


@compiled
def ease(pieces, row, inner, outer, first, u, v, y):
    """Return u, v and y at the outer end of a layer, by steps that grow twofold from half of `first` on.

    They follow a small centre of other matter, where u has yet to grow manifold and y to forget the jump.
    """
    size = 0.5 * first
    while inner - outer > 1.5 * size:
        u, v, y = step_in_piece(pieces, row, inner, inner - size, u, v, y)
        inner -= size
        size *= 2.0
    return step_in_piece(pieces, row, inner, outer, u, v, y)


@compiled
def step_in_piece(pieces, row, inner, outer, u, v, y):
    """Return u, v and y of one star after a step between two enthalpies of a piece."""
    middle = 0.5 * (inner + outer)
    return step(
        u,
        v,
        y,
        outer - inner,
        scaled_state(pieces, row, inner),
        scaled_state(pieces, row, middle),
        scaled_state(pieces, row, outer),
    )


@compiled
def descend(u, v, y, blocks, change, layers, k):
    """Take the stars of so many blocks through layer k, across which h changes by `change` (< 0)."""
    inner = (layers[k, INNER], layers[k, INNER + 1], layers[k, INNER + 2])
    middle = (layers[k, MIDDLE], layers[k, MIDDLE + 1], layers[k, MIDDLE + 2])
    outer = (layers[k, OUTER], layers[k, OUTER + 1], layers[k, OUTER + 2])
    drop = layers[k, JUMP]
    for block in range(blocks):
        u_outer, v_outer, y_outer = step(
            get_real(u, block), get_real(v, block), get_real(y, block), change, inner, middle, outer
        )
        if drop != 0.0:
            y_outer = y_outer - tidal_jump(u_outer, v_outer, outer[1], drop)
        put_real(u, block, u_outer)
        put_real(v, block, v_outer)
        put_real(y, block, y_outer)


@fused
def step(u, v, y, change, inner, middle, outer):
    """Return u, v and y, numbers or lanes, after one step of the classical fourth-order Runge-Kutta method."""
    half, sixth = 0.5 * change, change / 6.0
    u1, v1, y1 = slopes(u, v, y, inner)
    u2, v2, y2 = slopes(u + half * u1, v + half * v1, y + half * y1, middle)
    u3, v3, y3 = slopes(u + half * u2, v + half * v2, y + half * y2, middle)
    u4, v4, y4 = slopes(u + change * u3, v + change * v3, y + change * y3, outer)
    return (
        u + sixth * (u1 + 2.0 * (u2 + u3) + u4),
        v + sixth * (v1 + 2.0 * (v2 + v3) + v4),
        y + sixth * (y1 + 2.0 * (y2 + y3) + y4),
    )


@fused
def slopes(u, v, y, matter):
    """Return du/dh, dv/dh and dy/dh where `matter` is E, P and dE/dh, with one division."""
    E, P, G = matter
    a = 1.0 - 2.0 * v
    uE, uP = E * u, P * u
    b = v + uP
    inverse = 1.0 / (a * b)
    over_b = a * inverse
    ratio = a * over_b
    tide = ratio * (y * y) + over_b * (y * (1.0 - uE + uP) + (5.0 * E + 9.0 * P + G) * u - 6.0)
    return -2.0 * (u * ratio), (v - uE) * ratio, tide - 4.0 * (b * b * inverse)


@fused
def tidal_jump(u, v, P, drop):
    """Return by how much y falls where E does (Damour & Nagar 2009; with the pressure, Han & Steiner 2019)."""
    return drop * u * (1.0 / (v + P * u))


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
def star_of_lane(u, v, y, star):
    """Return mass, radius, dimensionless tidal deformability and k2 of one star from its state at the surface."""
    compactness = lane(v, star)
    radius = math.sqrt(lane(u, star))
    love = love_number(compactness, lane(y, star))
    return compactness * radius, radius, 2.0 / 3.0 * love / compactness**5, love


@njit(cache=True, error_model="numpy")
def stars(pieces, starts, h, resolution):
    """Return masses, radii, tidal deformabilities and k2 of stars of descending central enthalpies h, (n, k) each."""
    n, k = h.shape
    mass, radius, tidal, love = np.empty((n, k)), np.empty((n, k)), np.empty((n, k)), np.empty((n, k))
    centre, u, v, y = np.empty((4, (k + LANES - 1) // LANES, LANES))
    for i in range(n):
        first, last = starts[i], starts[i + 1]
        size = count_layers(pieces, first, last, h[i, 0], resolution)
        nodes, rows, layers = np.empty(size + 1), np.empty(size, np.int64), np.empty((size, LAYER_COLUMNS))
        set_layers(pieces, first, last, h[i, 0], resolution, nodes, rows, layers)
        for star in range(centre.size):
            centre[star // LANES, star % LANES] = h[i, min(star, k - 1)]
        march(pieces, nodes, rows, layers, size, centre, u, v, y)
        for j in range(k):
            mass[i, j], radius[i, j], tidal[i, j], love[i, j] = star_of_lane(u, v, y, j)
    return mass, radius, tidal, love
