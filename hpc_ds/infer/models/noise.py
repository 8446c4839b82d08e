"""The noise of a spectrum: what the user may say of it, checks against the data, and the likelihood that follows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.kernels import components as kernel
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.table import Table

NOISES: dict[str, str | None] = {
    "estimate": "noise",
    "counting": "noise_factor",
    "given": None,
    "poisson": None,
}
"""Words for the noise, with the parameter that each brings.

``estimate``: one unknown standard deviation. ``counting``: an unknown factor times the square root of the signal, as
of counts that were scaled, such as counts a second. ``given``: the file's sigma. ``poisson``: y are counts.
"""

_SMOOTH = 5
_GROWS = 2.0  # ratio of the scatter at high and at low signal from which on it is worth a word


def resolve_noise(table: Table, noise: str | float) -> str | float:
    """Return the noise with ``auto`` resolved: given if the file has a sigma, else estimate.

    Raises
    ------
    InputError
        One line: no such noise, or the data are not fit for it.
    """
    if isinstance(noise, float):
        if not 0.0 < noise < math.inf:
            raise InputError(f"--noise {noise:g}: a standard deviation greater than 0 is needed")
        return noise
    if noise == "auto":
        return "given" if table.sigma is not None else "estimate"
    if noise not in NOISES:
        raise InputError(f"--noise '{noise}': {', '.join(NOISES)} or a standard deviation is needed")
    if noise == "given" and table.sigma is None:
        raise InputError(f"--noise given: {table.path} has no third column with the standard deviations")
    if noise == "poisson":
        _check_counts(table)
    if noise == "counting":
        _check_level(table)
    return noise


def noise_names(noise: str | float) -> list[str]:
    """Return the names of the parameters that the noise has: one or none."""
    name = NOISES[noise] if isinstance(noise, str) else None
    return [name] if name else []


def signal_level(table: Table) -> NDArray[np.float64]:
    """Return the signal (n,) to whose square root ``counting`` takes the noise to be proportional.

    It is the mean of up to five neighbouring values of y: near enough to what is expected there, and much less
    noisy than y itself, whose downward fluctuations would get too much weight.
    """
    window = np.ones(min(_SMOOTH, table.y.size))
    values = np.convolve(np.ones_like(table.y), window, mode="same")
    return np.convolve(table.y, window, mode="same") / values


def noise_grows(table: Table) -> bool:
    """Tell whether the scatter of y about a smooth curve is plainly larger where the signal is high.

    Third differences leave little of a curve that several points draw.
    """
    if table.y.size < 40:
        return False
    scatter = np.abs(np.diff(table.y, 3))
    order = np.argsort(signal_level(table)[1:-2], kind="stable")
    low, high = scatter[order[: order.size // 2]], scatter[order[-(order.size // 5) :]]
    return bool(np.median(high) > _GROWS * np.median(low))


def likelihood_of(table: Table, noise: str | float) -> tuple[int, float, NDArray[np.float64]]:
    """Return the code of the kernels, the log-likelihood's constant, and the weights (n,) of the points."""
    n = table.x.size
    half_log_2pi = 0.5 * n * math.log(2.0 * math.pi)
    if noise == "estimate":
        return kernel.ESTIMATED, -half_log_2pi, np.ones(n)
    if noise == "counting":
        level = signal_level(table)
        return kernel.ESTIMATED, -half_log_2pi - 0.5 * float(np.sum(np.log(level))), 1.0 / level
    if noise == "poisson":
        from scipy.special import gammaln

        return kernel.POISSON, -float(np.sum(gammaln(table.y + 1.0))), np.ones(n)
    sigma = table.sigma if noise == "given" else np.full(n, float(noise))
    assert sigma is not None
    return kernel.KNOWN, -half_log_2pi - float(np.sum(np.log(sigma))), 1.0 / sigma**2


def _check_counts(table: Table) -> None:
    bad = np.flatnonzero((table.y < 0) | (table.y != np.round(table.y)))
    if bad.size:
        raise InputError(
            f"--noise poisson: {table.path} has y = {table.y[bad[0]]:g} at x = {table.x[bad[0]]:g}; counts are needed"
        )


def _check_level(table: Table) -> None:
    level = signal_level(table)
    if not level.min() > 0.0:
        raise InputError(
            f"--noise counting: {table.path} falls to {level.min():g} at x = {table.x[level.argmin()]:g};"
            " a signal greater than 0, with nothing subtracted from it, is needed"
        )
