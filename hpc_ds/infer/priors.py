"""Prior laws of single parameters: how they are written, checked, encoded for compiled code and evaluated.

A prior is written as in a table of a paper, ``normal(1.5, 0.447)`` or ``gamma(shape=5, rate=0.04)``, in
Python and on the command line alike. The sampler moves in a coordinate u that runs over the whole real
line:

========================  =============================================
support                   coordinate
========================  =============================================
all real x                u = x
x > low                   u = log(x - low)
x < high                  u = -log(high - x)
low < x < high            u = logit((x - low) / (high - low))
low < x < high, log       u = logit(log(x / low) / log(high / low))
========================  =============================================
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..runtime.laws import LAWS, checked_law, law_text, read_law

# Codes by which compiled kernels tell families apart. They are compiled into cached kernels: never renumber.
FIXED, NORMAL, LOGNORMAL, GAMMA, INVERSE_GAMMA, UNIFORM, LOG_UNIFORM = 0, 1, 2, 3, 4, 5, 6
EXPONENTIAL, HALF_NORMAL, HALF_CAUCHY, BETA = 7, 8, 9, 10
TRUNCATED_NORMAL, TRUNCATED_NORMAL_ABOVE, TRUNCATED_NORMAL_BELOW = 11, 12, 13

ENCODED = 6
"""Numbers in an encoded prior."""

Encoded = tuple[int, NDArray[np.float64]]
"""Code and numbers of a prior."""


@dataclass(frozen=True)
class Prior:
    """The law of one parameter before the data are seen.

    Build it with the function of its family (`normal`, `gamma`, ...) or from text with `parse`;
    ``str(prior)`` is text that `parse` reads back to an equal prior.

    Raises
    ------
    InputError
        If the family is unknown or an argument cannot be one of it.
    """

    family: str
    """Name of the family, for instance ``"normal"``."""

    arguments: tuple[float, ...]
    """Arguments in the order of the family's function."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", checked_law("prior", self.family, self.arguments))

    def __str__(self) -> str:
        return law_text(self.family, self.arguments)

    @property
    def support(self) -> tuple[float, float]:
        """Lower and upper end of the values that the parameter can take."""
        return FAMILIES[self.family].support(*self.arguments)

    @property
    def is_fixed(self) -> bool:
        """Whether the parameter has one value only."""
        return self.family == "fixed"

    def logpdf(self, x: ArrayLike) -> Any:
        """Return the log density at `x`: a float for a float, else an array of its shape.

        It is -inf outside `support`, and 0 at the value of a fixed prior, whose parameter is no dimension.
        """
        from .kernels.priors import log_densities

        points = np.array(x, dtype=float)
        values = log_densities(*self.encode(), points.ravel()).reshape(points.shape)
        return values if values.ndim else float(values)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...] | None = None) -> Any:
        """Return independent draws: one float for `size` None, else an array of that shape.

        The draws come from a stream of their own whose key is taken from `rng`, by the sampler's own
        functions.
        """
        from ..runtime.philox import new_streams
        from .kernels.priors import draws

        stream = new_streams(rng.integers(2**64, size=(1, 2), dtype=np.uint64))[0]
        values = draws(*self.encode(), stream, 1 if size is None else int(np.prod(size)))
        return float(values[0]) if size is None else values.reshape(size)

    def encode(self) -> Encoded:
        """Return the family's code and the (6,) float64 numbers with which compiled code evaluates the prior.

        The first hold the arguments (for log_uniform: low, high, log low, log(high / low)), number 4 a
        reciprocal or logarithm that saves time, number 5 the constant term of the log density (for
        truncated_normal with two finite ends: plus the log of their distance).
        """
        return _ENCODERS[self.family](*self.arguments)


def normal(mean: float, sd: float) -> Prior:
    """Return the normal law with this mean and standard deviation."""
    return Prior("normal", (mean, sd))


def lognormal(mu: float, sigma: float) -> Prior:
    """Return the law of exp(y), y normal with mean `mu` and standard deviation `sigma`."""
    return Prior("lognormal", (mu, sigma))


def gamma(shape: float, rate: float) -> Prior:
    """Return the gamma law with mean shape / rate."""
    return Prior("gamma", (shape, rate))


def inverse_gamma(shape: float, scale: float) -> Prior:
    """Return the law of 1 / y, y of the gamma law with this shape and rate `scale`."""
    return Prior("inverse_gamma", (shape, scale))


def uniform(low: float, high: float) -> Prior:
    """Return the law of constant density between `low` and `high`."""
    return Prior("uniform", (low, high))


def log_uniform(low: float, high: float) -> Prior:
    """Return the law whose logarithm is uniform between log(low) and log(high), low > 0."""
    return Prior("log_uniform", (low, high))


def exponential(rate: float) -> Prior:
    """Return the exponential law with mean 1 / rate."""
    return Prior("exponential", (rate,))


def half_normal(scale: float) -> Prior:
    """Return the law of the magnitude of a normal number with mean 0 and standard deviation `scale`."""
    return Prior("half_normal", (scale,))


def half_cauchy(scale: float) -> Prior:
    """Return the law of the magnitude of a Cauchy number with centre 0 and half width `scale`, its median."""
    return Prior("half_cauchy", (scale,))


def beta(a: float, b: float) -> Prior:
    """Return the beta law on (0, 1) with mean a / (a + b)."""
    return Prior("beta", (a, b))


def truncated_normal(mean: float, sd: float, low: float, high: float) -> Prior:
    """Return the law of normal(mean, sd) cut to the interval from `low` to `high`, which may be infinite."""
    return Prior("truncated_normal", (mean, sd, low, high))


def fixed(value: float) -> Prior:
    """Return the law of a parameter that is known."""
    return Prior("fixed", (value,))


def parse(text: str) -> Prior:
    """Read a prior such as ``normal(1.5, 0.447)`` or ``Half-Normal(scale=2)``.

    Raises
    ------
    InputError
        In one line that names the text, what is wrong with it and what would be right.
    """
    return Prior(*read_law("prior", text))


FAMILIES = LAWS
"""Every family by its name; a new one is a row there, a function above, its formulas in `kernels.priors`."""

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_LOG_2_PI = math.log(2.0 / math.pi)


def _row(*arguments: float, spare: float = 0.0, constant: float) -> NDArray[np.float64]:
    row = np.zeros(ENCODED)
    row[: len(arguments)] = arguments
    row[4:] = spare, constant
    return row


def _encode_fixed(value: float) -> Encoded:
    return FIXED, _row(value, constant=0.0)


def _encode_normal(code: int, mean: float, sd: float) -> Encoded:
    return code, _row(mean, sd, spare=1.0 / sd, constant=-math.log(sd) - _LOG_SQRT_2PI)


def _encode_gamma(shape: float, rate: float) -> Encoded:
    constant = shape * math.log(rate) - math.lgamma(shape)
    return GAMMA, _row(shape, rate, spare=math.log(rate), constant=constant)


def _encode_inverse_gamma(shape: float, scale: float) -> Encoded:
    constant = shape * math.log(scale) - math.lgamma(shape)
    return INVERSE_GAMMA, _row(shape, scale, spare=math.log(scale), constant=constant)


def _encode_uniform(low: float, high: float) -> Encoded:
    return UNIFORM, _row(low, high, constant=-math.log(high - low))


def _encode_log_uniform(low: float, high: float) -> Encoded:
    log_ratio = math.log(high / low)
    return LOG_UNIFORM, _row(low, high, math.log(low), log_ratio, constant=-math.log(log_ratio))


def _encode_exponential(rate: float) -> Encoded:
    return EXPONENTIAL, _row(rate, spare=math.log(rate), constant=math.log(rate))


def _encode_half(code: int, log_peak: float, scale: float) -> Encoded:
    return code, _row(scale, spare=math.log(scale), constant=log_peak - math.log(scale))


def _encode_beta(a: float, b: float) -> Encoded:
    from scipy.special import betaln

    return BETA, _row(a, b, constant=-float(betaln(a, b)))


def _encode_truncated_normal(mean: float, sd: float, low: float, high: float) -> Encoded:
    if math.isinf(low) and math.isinf(high):
        return _encode_normal(NORMAL, mean, sd)
    constant = -math.log(sd) - _LOG_SQRT_2PI - _log_normal_mass((low - mean) / sd, (high - mean) / sd)
    code = TRUNCATED_NORMAL_ABOVE if math.isinf(high) else TRUNCATED_NORMAL_BELOW
    if math.isfinite(low) and math.isfinite(high):
        code, constant = TRUNCATED_NORMAL, constant + math.log(high - low)
    return code, _row(mean, sd, low, high, spare=1.0 / sd, constant=constant)


def _log_normal_mass(low: float, high: float) -> float:
    """Return the log probability of (low, high) under the standard normal law, to full precision."""
    from scipy.special import log_ndtr

    if low > 0.0:
        low, high = -high, -low
    farthest = max(abs(low), abs(high))
    if (high - low) * (1.0 + farthest) < 2.0:  # a difference of distribution functions would cancel
        nodes, weights = np.polynomial.legendre.leggauss(24)
        t = low + 0.5 * (high - low) * (1.0 + nodes)
        peak = -0.5 * min(t * t)
        integral = 0.5 * (high - low) * float(weights @ np.exp(-0.5 * t * t - peak))
        return peak - _LOG_SQRT_2PI + math.log(integral)
    upper, lower = float(log_ndtr(high)), float(log_ndtr(low))
    return upper + math.log1p(-math.exp(lower - upper))


_ENCODERS: dict[str, Callable[..., Encoded]] = {
    "normal": partial(_encode_normal, NORMAL),
    "lognormal": partial(_encode_normal, LOGNORMAL),
    "gamma": _encode_gamma,
    "inverse_gamma": _encode_inverse_gamma,
    "uniform": _encode_uniform,
    "log_uniform": _encode_log_uniform,
    "exponential": _encode_exponential,
    "half_normal": partial(_encode_half, HALF_NORMAL, 0.5 * _LOG_2_PI),
    "half_cauchy": partial(_encode_half, HALF_CAUCHY, _LOG_2_PI),
    "beta": _encode_beta,
    "truncated_normal": _encode_truncated_normal,
    "fixed": _encode_fixed,
}
