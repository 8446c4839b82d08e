"""Laws of parameters by their quantiles: from a number in (0, 1) to a value, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hpc_ds.runtime.laws import LAWS, checked_law, law_text, read_law

Array = NDArray[np.float64]

_LOWEST = 2.0**-54
_HIGHEST = 1.0 - 2.0**-53
"""Ends of the numbers that are taken for probabilities: beyond them an unbounded law has no finite value."""


@dataclass(frozen=True)
class Distribution:
    """A law of one number, e.g. ``Distribution("normal", (1.0, 2.0))``; the families are those of `runtime.laws`.

    Raises
    ------
    InputError
        The family is unknown or an argument cannot be one of it.
    """

    family: str
    arguments: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", checked_law("distribution", self.family, self.arguments))

    def __str__(self) -> str:
        return law_text(self.family, self.arguments)

    @property
    def support(self) -> tuple[float, float]:
        """Lower and upper end of the values."""
        return LAWS[self.family].support(*self.arguments)

    @property
    def is_fixed(self) -> bool:
        """Whether there is one value only."""
        return self.family == "fixed"

    def quantile(self, u: Array) -> Array:
        """Return the values, finite and inside the support, below which fractions `u`, (n,) in [0, 1), lie."""
        values = _QUANTILES[self.family](np.clip(u, _LOWEST, _HIGHEST), *self.arguments)
        return np.clip(values, *self.support)

    def cdf(self, x: Array) -> Array:
        """Return the fractions of the law that lie below the values `x`, (n,)."""
        inside = np.clip(np.asarray(x, dtype=np.float64), *self.support)
        with np.errstate(divide="ignore"):
            return _FRACTIONS[self.family](inside, *self.arguments)


def read_distribution(text: str) -> Distribution:
    """Read a distribution such as ``log_uniform(1e-3, 1e-1)`` or ``normal(mean=0, sd=2)``.

    Raises
    ------
    InputError
        In one line that names the text, what is wrong with it and what would be right.
    """
    return Distribution(*read_law("distribution", text))


def fixed(value: float) -> Distribution:
    """Return the law of a parameter that does not vary."""
    return Distribution("fixed", (value,))


def uniform_quantile(u: Array, low: Any, high: Any) -> Array:
    """Return the values at fractions `u` of the intervals from `low` to `high`."""
    return low + u * (high - low)


def log_uniform_quantile(u: Array, low: Any, high: Any) -> Array:
    """Return the values at fractions `u`, on a logarithmic scale, of the intervals from `low` > 0 to `high`."""
    return low * np.exp(u * np.log(high / low))


def _truncated(u: Array, mean: float, sd: float, low: float, high: float) -> Array:
    a, b, below, above = (low - mean) / sd, (high - mean) / sd, np.log(u), np.log1p(-u)
    if a > 0.0:  # mirrored: the lower tail keeps its digits
        return mean - sd * _truncated_standard(above, below, -b, -a)
    return mean + sd * _truncated_standard(below, above, a, b)


def _truncated_standard(below: Array, above: Array, a: float, b: float) -> Array:
    """Return standard normal numbers between a and b; `below` and `above` are the logarithms of u and 1 - u."""
    return special.ndtri_exp(np.logaddexp(special.log_ndtr(a) + above, special.log_ndtr(b) + below))


def _truncated_fraction(x: Array, mean: float, sd: float, low: float, high: float) -> Array:
    a, b, z = (low - mean) / sd, (high - mean) / sd, (x - mean) / sd
    if a > 0.0:
        return 1.0 - _truncated_fraction(-z, 0.0, 1.0, -b, -a)
    top = special.log_ndtr(b)
    floor = np.exp(special.log_ndtr(a) - top)
    return (np.exp(special.log_ndtr(z) - top) - floor) / (1.0 - floor)


_QUANTILES: dict[str, Callable[..., Array]] = {
    "normal": lambda u, mean, sd: mean + sd * special.ndtri(u),
    "lognormal": lambda u, mu, sigma: np.exp(mu + sigma * special.ndtri(u)),
    "gamma": lambda u, shape, rate: special.gammaincinv(shape, u) / rate,
    "inverse_gamma": lambda u, shape, scale: scale / special.gammainccinv(shape, u),
    "uniform": uniform_quantile,
    "log_uniform": log_uniform_quantile,
    "exponential": lambda u, rate: -np.log1p(-u) / rate,
    "half_normal": lambda u, scale: scale * math.sqrt(2.0) * special.erfinv(u),
    "half_cauchy": lambda u, scale: scale * np.tan(0.5 * math.pi * u),
    "beta": lambda u, a, b: special.betaincinv(a, b, u),
    "truncated_normal": _truncated,
    "fixed": lambda u, value: np.full(np.shape(u), value),
}

_FRACTIONS: dict[str, Callable[..., Array]] = {
    "normal": lambda x, mean, sd: special.ndtr((x - mean) / sd),
    "lognormal": lambda x, mu, sigma: special.ndtr((np.log(x) - mu) / sigma),
    "gamma": lambda x, shape, rate: special.gammainc(shape, rate * x),
    "inverse_gamma": lambda x, shape, scale: special.gammaincc(shape, scale / x),
    "uniform": lambda x, low, high: (x - low) / (high - low),
    "log_uniform": lambda x, low, high: np.log(x / low) / math.log(high / low),
    "exponential": lambda x, rate: -np.expm1(-rate * x),
    "half_normal": lambda x, scale: special.erf(x / (scale * math.sqrt(2.0))),
    "half_cauchy": lambda x, scale: (2.0 / math.pi) * np.arctan(x / scale),
    "beta": lambda x, a, b: special.betainc(a, b, x),
    "truncated_normal": _truncated_fraction,
    "fixed": lambda x, value: np.full(np.shape(x), 0.5),
}
