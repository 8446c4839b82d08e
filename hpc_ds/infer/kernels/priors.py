"""Compiled prior laws: density, coordinate and exact draw of an encoded prior.

``code`` and ``p`` are what `hpc_ds.infer.priors.Prior.encode` returns, ``u`` is the sampling coordinate of
that module's table, ``s`` a stream of `hpc_ds.runtime.philox`.
"""

import math

import numpy as np
from numba import njit

from ...runtime.compiled import compiled
from ...runtime.philox import exponential, log_gamma_draw, normal, uniform_open
from ..priors import (
    BETA,
    EXPONENTIAL,
    FIXED,
    GAMMA,
    HALF_CAUCHY,
    HALF_NORMAL,
    INVERSE_GAMMA,
    LOG_UNIFORM,
    LOGNORMAL,
    NORMAL,
    TRUNCATED_NORMAL,
    TRUNCATED_NORMAL_ABOVE,
    TRUNCATED_NORMAL_BELOW,
    UNIFORM,
)

_LARGEST = 700.0
"""Where exp(u) stops growing, and at its negative shrinking: x is kept apart from 0 and infinity."""


@compiled
def log_density_u(code, p, u):
    """Return log p(x(u)) + log(dx/du), the log density of the coordinate; -inf where u is not finite.

    A fixed prior has 0 everywhere: its coordinate is no dimension.
    """
    if not math.isfinite(u):
        return -math.inf
    if code in (NORMAL, LOGNORMAL):
        t = (u - p[0]) * p[4]
        return p[5] - 0.5 * t * t
    if code == GAMMA:
        return p[5] + p[0] * u - p[1] * math.exp(u)
    if code in (UNIFORM, LOG_UNIFORM):
        return -_logistic_cost(u)
    if code == INVERSE_GAMMA:
        return p[5] - p[0] * u - p[1] * math.exp(-u)
    if code == EXPONENTIAL:
        return p[5] + u - p[0] * math.exp(u)
    if code == HALF_NORMAL:
        return p[5] + u - 0.5 * math.exp(2.0 * (u - p[4]))
    if code == HALF_CAUCHY:
        return p[5] + p[4] - _logistic_cost(2.0 * (u - p[4])) / 2.0
    if code == BETA:
        return p[5] + p[0] * min(u, 0.0) - p[1] * max(u, 0.0) - (p[0] + p[1]) * math.log1p(math.exp(-abs(u)))
    if code == FIXED:
        return 0.0
    return _truncated_normal_log_density_u(code, p, u)


@compiled
def log_density(code, p, x):
    """Return log p(x), -inf outside the support.

    An end belongs to the support where the density is finite there for every choice of arguments.
    """
    if code == NORMAL:
        t = (x - p[0]) * p[4]
        return p[5] - 0.5 * t * t
    if code == FIXED:
        return 0.0 if x == p[0] else -math.inf
    if code == UNIFORM:
        return p[5] if p[0] <= x <= p[1] else -math.inf
    if code == LOG_UNIFORM:
        return p[5] - math.log(x) if p[0] <= x <= p[1] else -math.inf
    if code == BETA:
        if not 0.0 < x < 1.0:
            return -math.inf
        return p[5] + (p[0] - 1.0) * math.log(x) + (p[1] - 1.0) * math.log1p(-x)
    if code in (TRUNCATED_NORMAL, TRUNCATED_NORMAL_ABOVE, TRUNCATED_NORMAL_BELOW):
        return _truncated_normal_log_density(code, p, x)
    return _log_density_of_positive(code, p, x)


@compiled
def to_x(code, p, u):
    """Return the value x of the parameter at coordinate u, always inside the open support."""
    if code == NORMAL:
        return u
    if code == UNIFORM:
        return _between(p[0], p[1], u)
    if code == LOG_UNIFORM:
        return _inside(p[0], p[1], p[0] * math.exp(p[3] * _sigmoid(u)))
    if code == BETA:
        return _between(0.0, 1.0, u)
    if code == TRUNCATED_NORMAL:
        return _between(p[2], p[3], u)
    if code == TRUNCATED_NORMAL_ABOVE:
        return _inside(p[2], math.inf, p[2] + _positive(u))
    if code == TRUNCATED_NORMAL_BELOW:
        return _inside(-math.inf, p[3], p[3] - _positive(-u))
    if code == FIXED:
        return p[0]
    return _positive(u)


@compiled
def to_u(code, p, x):
    """Return the coordinate of a value x inside the open support."""
    if code in (NORMAL, FIXED):
        return x
    if code == UNIFORM:
        return math.log((x - p[0]) / (p[1] - x))
    if code == LOG_UNIFORM:
        return math.log(math.log(x / p[0]) / math.log(p[1] / x))
    if code == BETA:
        return math.log(x / (1.0 - x))
    if code == TRUNCATED_NORMAL:
        return math.log((x - p[2]) / (p[3] - x))
    if code == TRUNCATED_NORMAL_ABOVE:
        return math.log(x - p[2])
    if code == TRUNCATED_NORMAL_BELOW:
        return -math.log(p[3] - x)
    return math.log(x)


@compiled
def draw_u(code, p, s):
    """Return an exact draw of the prior, as its coordinate, from the stream `s`."""
    if code in (NORMAL, LOGNORMAL):
        return p[0] + p[1] * normal(s)
    if code == GAMMA:
        return log_gamma_draw(s, p[0]) - p[4]
    if code in (UNIFORM, LOG_UNIFORM):
        v = uniform_open(s)
        return math.log(v / (1.0 - v))
    if code == INVERSE_GAMMA:
        return p[4] - log_gamma_draw(s, p[0])
    if code == EXPONENTIAL:
        return math.log(exponential(s)) - p[4]
    if code == HALF_NORMAL:
        return math.log(abs(normal(s))) + p[4]
    if code == HALF_CAUCHY:
        return math.log(abs(normal(s) / normal(s))) + p[4]
    if code == BETA:
        return log_gamma_draw(s, p[0]) - log_gamma_draw(s, p[1])
    if code == FIXED:
        return p[0]
    return _truncated_normal_draw_u(code, p, s)


@njit(cache=True)
def log_densities(code, p, x):
    """Return `log_density` at each x : (n,)."""
    values = np.empty(len(x))
    for i in range(len(x)):
        values[i] = log_density(code, p, x[i])
    return values


@njit(cache=True)
def draws(code, p, s, n):
    """Return n independent values of the parameter : (n,)."""
    values = np.empty(n)
    for i in range(n):
        values[i] = to_x(code, p, draw_u(code, p, s))
    return values


@compiled
def _log_density_of_positive(code, p, x):
    """Return log p(x) of a family on (0, inf)."""
    if x == 0.0 and code in (EXPONENTIAL, HALF_NORMAL, HALF_CAUCHY):
        return p[5]
    if not 0.0 < x < math.inf:
        return -math.inf
    if code == LOGNORMAL:
        t = (math.log(x) - p[0]) * p[4]
        return p[5] - 0.5 * t * t - math.log(x)
    if code == GAMMA:
        return p[5] + (p[0] - 1.0) * math.log(x) - p[1] * x
    if code == INVERSE_GAMMA:
        return p[5] - (p[0] + 1.0) * math.log(x) - p[1] / x
    if code == EXPONENTIAL:
        return p[5] - p[0] * x
    t = x / p[0]
    return p[5] - 0.5 * t * t if code == HALF_NORMAL else p[5] - math.log1p(t * t)


@compiled
def _truncated_normal_log_density(code, p, x):
    """Return log p(x) of a normal law cut at one end or both."""
    if not p[2] <= x <= p[3]:
        return -math.inf
    t = (x - p[0]) * p[4]
    constant = p[5] - math.log(p[3] - p[2]) if code == TRUNCATED_NORMAL else p[5]
    return constant - 0.5 * t * t


@compiled
def _truncated_normal_log_density_u(code, p, u):
    """Return the log density of the coordinate of a normal law cut at one end or both."""
    if code == TRUNCATED_NORMAL:
        x, log_slope = _between(p[2], p[3], u), -_logistic_cost(u)  # p[5] holds the log of the width
    elif code == TRUNCATED_NORMAL_ABOVE:
        x, log_slope = p[2] + _positive(u), u
    else:
        x, log_slope = p[3] - _positive(-u), -u
    t = (x - p[0]) * p[4]
    return p[5] - 0.5 * t * t + log_slope


@compiled
def _truncated_normal_draw_u(code, p, s):
    """Draw the distance from the ends rather than x, which keeps its digits near them."""
    low, high = (p[2] - p[0]) * p[4], (p[3] - p[0]) * p[4]
    width = (p[3] - p[2]) * p[4]
    while True:
        if high < 0.0:
            above = _normal_tail_distance(s, -high, width)
            above, below = width - above, above
        elif low > 0.0:
            above = _normal_tail_distance(s, low, width)
            below = width - above
        else:
            t = _normal_around_zero(s, low, high)
            above, below = t - low, high - t
        if above > 0.0 and below > 0.0:
            break
    if code == TRUNCATED_NORMAL:
        return math.log(above / below)
    return math.log(above * p[1]) if code == TRUNCATED_NORMAL_ABOVE else -math.log(below * p[1])


@compiled
def _normal_around_zero(s, low, high):
    """Return a standard normal number of (low, high), low <= 0 <= high, in about two trials."""
    if high - low > 2.5:
        while True:
            t = normal(s)
            if low < t < high:
                return t
    while True:
        t = low + (high - low) * uniform_open(s)
        if exponential(s) > 0.5 * t * t:
            return t


@compiled
def _normal_tail_distance(s, low, width):
    """Return t - low of a standard normal t in (low, low + width), low > 0.

    Rejection from an exponential law (Robert 1995, Statistics and Computing 5:121), here cut at the width.
    """
    rate = 0.5 * (low + math.sqrt(low * low + 4.0))
    reach = -math.expm1(-rate * width)
    while True:
        distance = -math.log1p(-reach * uniform_open(s)) / rate
        miss = distance + low - rate
        if exponential(s) > 0.5 * miss * miss:
            return distance


@compiled
def _logistic_cost(u):
    """Return minus the log density of the standard logistic law, which is -log(ds/du) of s = sigmoid(u)."""
    return abs(u) + 2.0 * math.log1p(math.exp(-abs(u)))


@compiled
def _sigmoid(u):
    return 1.0 / (1.0 + math.exp(-u))


@compiled
def _positive(u):
    """Return exp(u), kept apart from 0 and infinity."""
    return math.exp(min(max(u, -_LARGEST), _LARGEST))


@compiled
def _between(low, high, u):
    """Return low + (high - low) sigmoid(u) with all digits of the distance to the nearer end."""
    nearer = (high - low) * _sigmoid(-abs(u))
    return _inside(low, high, low + nearer if u < 0.0 else high - nearer)


@compiled
def _inside(low, high, x):
    """Return x, or the nearest number inside the open interval where rounding has put it on an end."""
    if x <= low:
        return np.nextafter(low, high)
    return np.nextafter(high, low) if x >= high else x
