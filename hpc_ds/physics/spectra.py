"""Forward models of spectra: peak shapes, backgrounds and the published artificial spectrum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = float | Array

_FOUR_LOG_2 = 4.0 * np.log(2.0)

# Peaks. Every argument may be a number or an array that broadcasts against x: (n,) with (K, 1) gives (K, n).


def gaussian(x: Numbers, amplitude: Numbers, position: Numbers, width: Numbers) -> Array:
    """Return a Gaussian peak, amplitude * exp(-4 ln 2 (x - position)^2 / width^2).

    Parameters
    ----------
    x : (..., n)
        Where to evaluate.
    amplitude : height of the peak, in the unit of y.
    position : centre, in the unit of x.
    width : full width at half maximum, > 0, in the unit of x.

    Returns
    -------
    (..., n) float64
    """
    distance = (np.asarray(x, dtype=np.float64) - position) / width
    return amplitude * np.exp(-_FOUR_LOG_2 * distance**2)


def lorentzian(x: Numbers, amplitude: Numbers, position: Numbers, width: Numbers) -> Array:
    """Return a Lorentzian peak, amplitude / (1 + 4 (x - position)^2 / width^2); see `gaussian`."""
    distance = (np.asarray(x, dtype=np.float64) - position) / width
    return amplitude / (1.0 + 4.0 * distance**2)


def pseudo_voigt(x: Numbers, amplitude: Numbers, position: Numbers, width: Numbers, mixing: Numbers) -> Array:
    """Return (1 - mixing) gaussian + mixing lorentzian of one height and one full width at half maximum.

    ``mixing`` is the Lorentzian share, 0 to 1; the other arguments are as in `gaussian`.
    """
    share = np.asarray(mixing, dtype=np.float64)
    return (1.0 - share) * gaussian(x, amplitude, position, width) + share * lorentzian(
        x, amplitude, position, width
    )


def gaussian_precision(x: Numbers, amplitude: Numbers, position: Numbers, precision: Numbers) -> Array:
    """Return amplitude * exp(-precision (x - position)^2 / 2), the form of Nagata, Sugita & Okada (2012).

    ``precision`` > 0 has the unit of 1 / x^2; see `precision_from_fwhm`.
    """
    distance = np.asarray(x, dtype=np.float64) - position
    return amplitude * np.exp(-0.5 * np.asarray(precision) * distance**2)


# Areas, and one width for another


def gaussian_area(amplitude: Numbers, width: Numbers) -> Array:
    """Return the integral of `gaussian` over all x."""
    return np.asarray(amplitude, dtype=np.float64) * width * np.sqrt(np.pi / _FOUR_LOG_2)


def lorentzian_area(amplitude: Numbers, width: Numbers) -> Array:
    """Return the integral of `lorentzian` over all x."""
    return np.asarray(amplitude, dtype=np.float64) * width * (np.pi / 2.0)


def pseudo_voigt_area(amplitude: Numbers, width: Numbers, mixing: Numbers) -> Array:
    """Return the integral of `pseudo_voigt` over all x."""
    share = np.asarray(mixing, dtype=np.float64)
    return (1.0 - share) * gaussian_area(amplitude, width) + share * lorentzian_area(amplitude, width)


def gaussian_precision_area(amplitude: Numbers, precision: Numbers) -> Array:
    """Return the integral of `gaussian_precision` over all x."""
    return amplitude * np.sqrt(2.0 * np.pi / np.asarray(precision, dtype=np.float64))


def precision_from_fwhm(width: Numbers) -> Array:
    """Return the precision 8 ln 2 / width^2 of a Gaussian with this full width at half maximum."""
    return 2.0 * _FOUR_LOG_2 / np.asarray(width, dtype=np.float64) ** 2


def fwhm_from_precision(precision: Numbers) -> Array:
    """Return the full width at half maximum of a Gaussian with this precision."""
    return np.sqrt(2.0 * _FOUR_LOG_2 / np.asarray(precision, dtype=np.float64))


# Backgrounds


def constant(x: Numbers, level: Numbers) -> Array:
    """Return a background of one level everywhere."""
    return np.zeros_like(x, dtype=np.float64) + level


def linear(x: Numbers, level: Numbers, slope: Numbers, x0: Numbers) -> Array:
    """Return level + slope (x - x0); ``x0`` is where the background has its level, such as the mean of x."""
    return level + slope * (np.asarray(x, dtype=np.float64) - x0)


def exponential(x: Numbers, amplitude: Numbers, decay: Numbers, x_min: float | None = None) -> Array:
    """Return amplitude * exp(-(x - x_min) / decay).

    Parameters
    ----------
    x : (..., n)
    amplitude : value at x_min.
    decay : length over which the background falls to 1/e, > 0, in the unit of x.
    x_min : float, optional
        Smallest x of the data; that of ``x`` unless given.
    """
    x = np.asarray(x, dtype=np.float64)
    start = x.min() if x_min is None else x_min
    return amplitude * np.exp(-(x - start) / decay)


def shirley(x: Numbers, peaks: Numbers, low: Numbers, step: Numbers) -> Array:
    """Return a Shirley background: it rises with the running integral of the peaks, by the trapezoid rule.

    It is ``low`` at the smallest x and ``low + step`` at the largest, as electrons that lost energy add to
    the side of high binding energy. Without any peak area it is ``low`` everywhere.

    Parameters
    ----------
    x : (n,)
        Binding energy in ascending order.
    peaks : (..., n)
        Sum of the peaks at x, not negative.
    low, step : numbers, or arrays that broadcast against (..., n).

    Returns
    -------
    (..., n) float64
    """
    peaks = np.asarray(peaks, dtype=np.float64)
    areas = 0.5 * (peaks[..., 1:] + peaks[..., :-1]) * np.diff(np.asarray(x, dtype=np.float64))
    running = np.concatenate([np.zeros_like(peaks[..., :1]), np.cumsum(areas, axis=-1)], axis=-1)
    total = running[..., -1:]
    rise = np.divide(running, total, out=np.zeros_like(running), where=total > 0.0)
    return low + step * rise


# Published data


class ArtificialSpectrum(NamedTuple):
    """An artificial measurement: x and y are (n,) float64, parameters are those that made it."""

    x: Array
    y: Array
    parameters: dict[str, Array | float]


def nagata2012(seed: int = 0) -> ArtificialSpectrum:
    """Return the artificial spectrum of three peaks of Nagata, Sugita & Okada, Neural Networks 28, 82 (2012).

    301 points on [0, 3], noise of standard deviation 0.1; seed 0 is the data set that the authors published
    with their code, other seeds are further draws of the noise.

    Returns
    -------
    ArtificialSpectrum
        Parameters amplitude, position and precision (3,), and noise.
    """
    parameters: dict[str, Array | float] = {
        "amplitude": np.array([0.587, 1.522, 1.183]),
        "position": np.array([1.210, 1.455, 1.703]),
        "precision": np.array([95.689, 146.837, 164.469]),
        "noise": 0.1,
    }
    x = 0.01 * np.arange(301, dtype=np.float64)
    columns = [np.asarray(parameters[name])[:, np.newaxis] for name in ("amplitude", "position", "precision")]
    # The authors drew with NumPy's legacy generator: no other gives their data.
    noise = 0.1 * np.random.RandomState(seed).randn(len(x))
    return ArtificialSpectrum(x, gaussian_precision(x, *columns).sum(axis=0) + noise, parameters)
