"""What a sampled spectrum shows: peaks that keep their numbers, areas, fitted curves with their bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.models.bands import MEDIAN, QUANTILES, bands, spread_draws
from hpc_ds.infer.models.matching import match_peaks
from hpc_ds.infer.models.noise import signal_level
from hpc_ds.infer.posterior import Named, Presentation
from hpc_ds.physics import spectra
from hpc_ds.store.table import Table

Arrays = dict[str, NDArray[np.float64]]


def present_spectrum(
    table: Table, shape: str, background: str, peaks: int, draws: Arrays, noise: str | float
) -> Presentation:
    """Number the peaks alike in every draw (see `match_peaks`), add widths and areas, and compute the curves.

    Parameters
    ----------
    draws : dict of (copies, draws) float64
        By parameter name, peaks numbered arbitrarily.
    """
    of_peak = {name.partition("[")[0] for name in draws if "[" in name}
    stacked = {
        name: np.stack([draws[f"{name}[{k}]"] for k in range(1, peaks + 1)], axis=-1)
        for name in sorted(of_peak)
    }
    order = match_peaks(stacked)
    stacked = {name: np.take_along_axis(values, order, axis=-1) for name, values in stacked.items()}
    others = {name: values for name, values in draws.items() if "[" not in name}
    derived = _derived(shape, stacked)
    return Presentation(
        parameters=_numbered(stacked, peaks) | others,
        derived=_numbered(derived, peaks),
        variables={name: (("chain", "draw", "peak"), values) for name, values in (stacked | derived).items()}
        | {name: (("chain", "draw"), values) for name, values in others.items()},
        groups=_groups(table, shape, background, stacked, others, noise),
        coords={"peak": np.arange(1, peaks + 1), "quantile": QUANTILES},
    )


def _numbered(stacked: Arrays, peaks: int) -> Arrays:
    return {f"{name}[{k + 1}]": values[..., k] for k in range(peaks) for name, values in stacked.items()}


def _derived(shape: str, stacked: Arrays) -> Arrays:
    if "precision" in stacked:
        width = spectra.fwhm_from_precision(stacked["precision"])
        return {"width": width, "area": spectra.gaussian_area(stacked["amplitude"], width)}
    amplitude, width = stacked["amplitude"], stacked["width"]
    if shape == "pseudo-voigt":
        return {"area": spectra.pseudo_voigt_area(amplitude, width, stacked["mixing"])}
    area = spectra.gaussian_area if shape == "gaussian" else spectra.lorentzian_area
    return {"area": area(amplitude, width)}


def _groups(
    table: Table, shape: str, background: str, stacked: Arrays, others: Arrays, noise: str | float
) -> dict[str, Mapping[str, Named]]:
    point = ("point",)
    sigma = np.broadcast_to(_sigma(table, noise, others), table.x.shape)
    curves = _curves(table, shape, background, stacked, others)
    return {
        "observed_data": {"y": (point, table.y)},
        "constant_data": {"x": (point, table.x), "sigma": (point, sigma)},
        "curves": curves,
    }


def _sigma(table: Table, noise: str | float, others: Arrays) -> float | NDArray[np.float64]:
    """Standard deviation of the points, where it was estimated the posterior median."""
    if isinstance(noise, float):
        return noise
    if noise == "given":
        assert table.sigma is not None
        return table.sigma
    if noise == "poisson":
        return np.sqrt(np.maximum(table.y, 1.0))
    if noise == "counting":
        return float(np.median(others["noise_factor"])) * np.sqrt(signal_level(table))
    return float(np.median(others["noise"]))


def _curves(table: Table, shape: str, background: str, stacked: Arrays, others: Arrays) -> dict[str, Named]:
    """Quantiles over draws of the fit, the background and every component, at the measured x."""
    peaks = stacked["position"].shape[-1]
    flat = {name: values.reshape(-1, peaks) for name, values in stacked.items()}
    single = {name: values.reshape(-1) for name, values in others.items()}
    chosen = spread_draws(len(flat["position"]), table.x.size * (peaks + 2))
    component = np.empty((len(chosen), peaks, table.x.size))
    level = np.empty((len(chosen), table.x.size))
    for i, d in enumerate(chosen):
        for k in range(peaks):
            component[i, k] = _peak(table.x, shape, {name: values[d, k] for name, values in flat.items()})
        level[i] = _background(table.x, background, component[i].sum(axis=0), single, d)
    fit = bands(component.sum(axis=1) + level)
    return {
        "x": (("point",), table.x),
        "fit": (("quantile", "point"), fit),
        "background": (("quantile", "point"), bands(level)),
        "component": (("peak", "quantile", "point"), bands(component).transpose(1, 0, 2)),
        "residual": (("point",), table.y - fit[MEDIAN]),
    }


def _peak(x: NDArray[np.float64], shape: str, of: Mapping[str, float]) -> NDArray[np.float64]:
    if "precision" in of:
        return spectra.gaussian_precision(x, of["amplitude"], of["position"], of["precision"])
    if shape == "pseudo-voigt":
        return spectra.pseudo_voigt(x, of["amplitude"], of["position"], of["width"], of["mixing"])
    function = spectra.gaussian if shape == "gaussian" else spectra.lorentzian
    return function(x, of["amplitude"], of["position"], of["width"])


def _background(
    x: NDArray[np.float64], background: str, peaks: NDArray[np.float64], of: Arrays, d: int
) -> NDArray[np.float64]:
    value = {name.removeprefix("background_"): float(values[d]) for name, values in of.items()}
    if background == "constant":
        return spectra.constant(x, value["level"])
    if background == "linear":
        return spectra.linear(x, value["level"], value["slope"], 0.5 * (x[0] + x[-1]))
    if background == "exponential":
        return spectra.exponential(x, value["amplitude"], value["decay"], x[0])
    if background == "shirley":
        return spectra.shirley(x, peaks, value["low"], value["step"])
    return np.zeros_like(x)
