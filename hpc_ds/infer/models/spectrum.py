"""Spectra: sums of like peaks on a background, one model for each number of peaks (Nagata, Sugita & Okada 2012)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.kernels import components as kernel
from hpc_ds.infer.model import Model
from hpc_ds.infer.models.curves import present_spectrum
from hpc_ds.infer.models.noise import likelihood_of, noise_grows, noise_names, resolve_noise
from hpc_ds.infer.priors import (
    Prior,
    gamma,
    half_normal,
    log_uniform,
    normal,
    uniform,
)
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.table import Table

SHAPES = ("gaussian", "lorentzian", "pseudo-voigt")
BACKGROUNDS = {
    "none": (),
    "constant": ("background_level",),
    "linear": ("background_level", "background_slope"),
    "exponential": ("background_amplitude", "background_decay"),
    "shirley": ("background_low", "background_step"),
}
"""Backgrounds and their parameters."""

_MOST_PEAKS = 1000
PRIOR_SETS = ("scaled", "nagata2012")
_KINDS = {"gaussian": kernel.GAUSSIAN, "lorentzian": kernel.LORENTZIAN, "pseudo-voigt": kernel.PSEUDO_VOIGT}


@dataclass(frozen=True)
class SpectrumOptions:
    """What `hpc-ds infer spectrum` can be told beside the data."""

    peaks: tuple[int, ...] = (1, 2, 3)
    """Numbers of peaks to compare."""
    shape: str = "gaussian"
    """One of `SHAPES`; widths are full widths at half maximum."""
    background: str = "none"
    """One of `BACKGROUNDS`."""
    noise: str | float = "auto"
    """One of `NOISES`, a standard deviation, or ``auto``: given if the file has a sigma, else estimate."""
    priors: str = "scaled"
    """``scaled`` from the data (see `scaled_priors`) or ``nagata2012``."""
    overrides: Mapping[str, Prior] = field(default_factory=dict)
    """Priors by parameter (``position``: of all peaks) or by one peak's (``position[2]``)."""


def spectrum_models(table: Table, options: SpectrumOptions) -> list[Model]:
    """Return one model for each number of peaks, ``K=1``, ``K=2``, ...

    Parameters
    ----------
    table : Table
        The measured spectrum; x ascending.
    options : SpectrumOptions

    Raises
    ------
    InputError
        One line: an option that does not exist or does not fit the data.
    """
    noise = _check(table, options)
    priors = _base_priors(table, options, noise)
    return [_model(table, options, noise, priors, peaks) for peaks in options.peaks]


def scaled_priors(table: Table, poisson: bool = False) -> dict[str, Prior]:
    """Return default priors for every parameter there is, scaled from the data.

    With the range of x [low, high] (span), the median spacing dx and the height max(y) - min(y):

    ====================  =====================================================
    amplitude             half_normal(height)
    position              uniform(low, high)
    width                 log_uniform(2 dx, span / 2), full width at half maximum
    mixing                uniform(0, 1), Lorentzian part of a pseudo-Voigt
    background_level      normal(median y, height); half_normal(max y) for counts
    background_slope      normal(0, 2 height / span), about the middle of x
    background_amplitude  half_normal(height), value at the lowest x
    background_decay      log_uniform(span / 20, 10 span)
    background_low        normal(y at the lowest x, height); half_normal(max y) for counts
    background_step       half_normal(height)
    noise                 log_uniform(height / 10000, height), standard deviation
    noise_factor          the same, divided by the square root of max y
    ====================  =====================================================
    """
    low, high = float(table.x[0]), float(table.x[-1])
    span = high - low
    height = float(table.y.max() - table.y.min()) or max(abs(float(table.y[0])), 1.0)
    spacing = float(np.median(np.diff(np.unique(table.x))))
    most = max(float(table.y.max()), 1e-300)
    return {
        "amplitude": half_normal(height),
        "position": uniform(low, high),
        "width": log_uniform(min(2.0 * spacing, span / 4.0), span / 2.0),
        "mixing": uniform(0.0, 1.0),
        "background_level": half_normal(most) if poisson else normal(float(np.median(table.y)), height),
        "background_slope": normal(0.0, 2.0 * height / span),
        "background_amplitude": half_normal(height),
        "background_decay": log_uniform(span / 20.0, 10.0 * span),
        "background_low": half_normal(most) if poisson else normal(float(table.y[0]), height),
        "background_step": half_normal(height),
        "noise": log_uniform(height * 1e-4, height),
        "noise_factor": log_uniform(height * 1e-4 / math.sqrt(most), height / math.sqrt(most)),
    }


NAGATA_2012: dict[str, Prior] = {
    "amplitude": gamma(5.0, 5.0),
    "position": normal(1.5, math.sqrt(0.2)),
    "precision": gamma(5.0, 0.04),
}
"""Priors of the published study; its peaks are a exp(-b (x - mu)^2 / 2) with the precision b."""


def parse_peaks(text: str) -> tuple[int, ...]:
    """Read ``3``, ``1:6`` (both ends included) or ``1,2,5``.

    Raises
    ------
    InputError
        Not that, empty, or a number of peaks below 1.
    """
    peaks: list[int] = []
    for part in str(text).split(","):
        first, colon, last = part.partition(":")
        try:
            low, high = int(first), int(last if colon else first)
        except ValueError:
            raise InputError(
                f"--peaks '{text}': a number, a range such as 1:6 or a list 1,2,5 is needed"
            ) from None
        if low < 1 or high < low or high > _MOST_PEAKS:
            raise InputError(
                f"--peaks '{text}': at least 1 and at most {_MOST_PEAKS} peaks, ranges upwards such as 1:6"
            )
        peaks.extend(range(low, high + 1))
    return tuple(dict.fromkeys(peaks))


def _check(table: Table, options: SpectrumOptions) -> str | float:
    """Check options against the data; return the noise with ``auto`` resolved."""
    if options.shape not in SHAPES:
        raise InputError(f"--shape '{options.shape}': unknown; known are {', '.join(SHAPES)}")
    if options.background not in BACKGROUNDS:
        raise InputError(f"--background '{options.background}': unknown; known are {', '.join(BACKGROUNDS)}")
    if options.priors not in PRIOR_SETS:
        raise InputError(f"--priors '{options.priors}': unknown; known are {', '.join(PRIOR_SETS)}")
    if options.priors == "nagata2012" and options.shape != "gaussian":
        raise InputError("--priors nagata2012: they are for --shape gaussian")
    if table.x.size < 3 or not table.x[-1] > table.x[0]:
        raise InputError(f"{table.path}: at least 3 points with different x are needed, found {table.x.size}")
    noise = resolve_noise(table, options.noise)
    if noise == "poisson" and options.shape == "gaussian" and options.background == "none":
        raise InputError("--noise poisson: Gaussian peaks alone are zero far away; choose a --background")
    return noise


def _base_priors(table: Table, options: SpectrumOptions, noise: str | float) -> dict[str, Prior]:
    """Priors by base name, in order: those of one peak, of the background, of the noise."""
    scaled = scaled_priors(table, noise == "poisson")
    peak = ["amplitude", "position", "width"] + (["mixing"] if options.shape == "pseudo-voigt" else [])
    if options.priors == "nagata2012":
        scaled |= NAGATA_2012
        peak[2] = "precision"
    names = peak + list(BACKGROUNDS[options.background]) + noise_names(noise)
    priors = {name: scaled[name] for name in names}
    for name, prior in options.overrides.items():
        base, _, index = name.partition("[")
        if base not in priors or (index and base not in peak):
            raise InputError(
                f"--prior '{name}={prior}': no such parameter here; there are {', '.join(priors)}"
            )
        if index and not (
            index.endswith("]") and index[:-1].isdigit() and 1 <= int(index[:-1]) <= max(options.peaks)
        ):
            raise InputError(
                f"--prior '{name}={prior}': a peak from 1 to {max(options.peaks)} is needed in [ ]"
            )
        _check_support(name, base, prior)
        if not index:
            priors[base] = prior
    return priors


def _check_support(name: str, base: str, prior: Prior) -> None:
    low, high = prior.support
    if base in ("width", "precision", "noise", "noise_factor", "background_decay") and (
        low < 0.0 or (prior.is_fixed and low <= 0.0)
    ):
        raise InputError(
            f"--prior '{name}={prior}': {base} must be greater than 0, the prior reaches {low:g}"
        )
    if base == "mixing" and (low < 0.0 or high > 1.0):
        raise InputError(
            f"--prior '{name}={prior}': mixing lies between 0 and 1, the prior from {low:g} to {high:g}"
        )


def _model(
    table: Table, options: SpectrumOptions, noise: str | float, priors: Mapping[str, Prior], peaks: int
) -> Model:
    of_peak = [name for name in priors if name in ("amplitude", "position", "width", "precision", "mixing")]
    parameters: dict[str, Prior] = {}
    for k in range(1, peaks + 1):
        for name in of_peak:
            parameters[f"{name}[{k}]"] = options.overrides.get(f"{name}[{k}]", priors[name])
    parameters |= {name: prior for name, prior in priors.items() if name not in of_peak}
    shell = Model(f"K={peaks}", parameters, None, form="components")
    return Model(
        shell.name,
        parameters,
        None,
        form="components",
        data=np.array([table.x, table.y]),
        problem=_problem(table, options, noise, shell, len(of_peak), peaks),
        finish=lambda draws: present_spectrum(table, options.shape, options.background, peaks, draws, noise),
    )


def _problem(
    table: Table, options: SpectrumOptions, noise: str | float, model: Model, of_peak: int, peaks: int
) -> kernel.Problem:
    kind = kernel.GAUSSIAN_PRECISION if "precision[1]" in model.parameters else _KINDS[options.shape]
    kinds = [kind] * peaks
    first = [k * of_peak for k in range(peaks)]
    start = peaks * of_peak
    if options.background in ("constant", "linear"):
        kinds.append(kernel.CONSTANT)
        first.append(start)
    if options.background == "linear":
        kinds.append(kernel.SLOPE)
        first.append(start + 1)
    if options.background == "exponential":
        kinds.append(kernel.EXPONENTIAL)
        first.append(start)
    owner = np.full(len(model.parameters), -1, dtype=np.int64)
    for c, (j, component) in enumerate(zip(first, kinds, strict=True)):
        owner[j : j + 1 + kernel.shape_parameters(component)] = c
    family, prior = model.encoded()
    follows, precedes = model.neighbours()
    likelihood, offset, weight = likelihood_of(table, noise)
    return kernel.Problem(
        x=_padded(table.x, table.x[-1]),
        y=_padded(table.y, 0.0),
        weight=_padded(weight, 0.0),
        points=table.x.size,
        centre=0.5 * float(table.x[0] + table.x[-1]),
        offset=offset,
        likelihood=likelihood,
        noise=next((model.names.index(name) for name in noise_names(noise)), -1),
        shirley=start if options.background == "shirley" else -1,
        kind=np.array(kinds, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        owner=owner,
        family=family,
        prior=prior,
        follows=follows,
        precedes=precedes,
    )


def _padded(values: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
    length = -(-values.size // kernel.BLOCK) * kernel.BLOCK
    padded = np.full(length, fill)
    padded[: values.size] = values
    return padded


def warnings_for(table: Table, models: Sequence[Model]) -> list[str]:
    """Return what a user should know before the run, one line each."""
    lines = [f"{table.path}: {line}" for line in table.warnings]
    lines += [
        f"{model.name} has {len(model.free)} parameters and the data only {table.x.size} points: its priors decide much"
        for model in models
        if len(model.free) > table.x.size
    ]
    if any("noise" in model.parameters for model in models) and noise_grows(table):
        lines.append(
            f"{table.path}: the noise seems to grow with the signal, as that of counts does: see --noise counting"
        )
    return lines
