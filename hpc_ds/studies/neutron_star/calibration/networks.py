"""Are a network ensemble's bands right: how often they hold the truth, beside the exact posterior's."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.physics.neutron_star.curves import mass_radius_curves, radius_at
from hpc_ds.physics.neutron_star.families import DELTA, sound_speed_segments
from hpc_ds.studies.neutron_star.calibration.ranks import binomial_error
from hpc_ds.studies.neutron_star.calibration.run import read_answers
from hpc_ds.studies.neutron_star.calibration.truths import Answers
from hpc_ds.studies.neutron_star.calibration.weights import MASSES, quantity_names

Array = NDArray[np.float64]

BANDS = ((1, 0.6827), (2, 0.9545))
"""Standard deviations, and the share of truths that a normal band of that half-width would hold."""

_FEWEST_MEMBERS = 2


def network_coverage(
    predicted: ArrayLike, answers: Answers | str | os.PathLike[str], delta: float = DELTA
) -> dict[str, Any]:
    """Compare the band of an ensemble of networks, mean +- standard deviation, with truths and exact posteriors.

    Parameters
    ----------
    predicted : (members, truths, segments) float64
        Squared speeds of sound that each network predicts of the truths' observations. They are brought into
        (delta, 1 - delta).
    answers : Answers or path
        Exact posteriors of the first truths, or at least as many; or the folder of a calibration.
    delta : float
        Of the prior.

    Returns
    -------
    dict
        ``quantities``: for each squared speed and each radius of `MASSES` its name, ``truths`` that are compared,
        ``left_out`` (those of which fewer than two members' equations of state reach that mass), ``rms`` of the
        ensemble's mean and ``rms_member`` of a single network, ``rms_exact`` of the posterior mean, the mean
        ``spread`` of the members and the mean ``sd`` of the posterior, ``coverage`` of bands of 1 and 2 standard
        deviations, ``agreement``: root mean square of mean less posterior mean in units of the posterior's standard
        deviation, and ``within``: how often that is below 1. ``expected`` and ``error`` of both coverages; ``rms``:
        the row of radii.

    Raises
    ------
    ValueError
        Fewer than two members, more truths than there are answers, or another number of segments.
    """
    members = np.clip(np.asarray(predicted, dtype=np.float64), delta, 1.0 - delta)
    exact = answers if isinstance(answers, Answers) else read_answers(answers)
    segments = exact.truth.shape[1] - len(MASSES) - 1
    _check(members, len(exact), segments)
    count = members.shape[1]
    values = np.concatenate([members, radii(members)], axis=2)
    names = quantity_names(segments)[:-1]
    found = [_compared(name, values[:, :, k], exact, k) for k, name in enumerate(names)]
    return {
        "members": len(members),
        "truths": count,
        "masses": list(MASSES),
        "rms": [one["rms"] for one in found[segments:]],
        "expected": [share for _, share in BANDS],
        "error": [binomial_error(share, count) for _, share in BANDS],
        "quantities": found,
    }


def radii(speeds_squared: Array, mass: ArrayLike = MASSES) -> Array:
    """Return the radii (..., masses) in km of equations of state (..., segments); NaN beyond the maximum mass."""
    curves = mass_radius_curves(sound_speed_segments(speeds_squared.reshape(-1, speeds_squared.shape[-1])))
    radius = radius_at(curves, mass)
    radius[~curves.ok] = np.nan
    return radius.reshape(*speeds_squared.shape[:-1], -1)


def _compared(name: str, values: Array, exact: Answers, k: int) -> dict[str, Any]:
    """Compare one quantity (members, truths)."""
    known = np.isfinite(values).sum(axis=0) >= _FEWEST_MEMBERS
    found = {"name": name, "truths": int(known.sum()), "left_out": int((~known).sum())}
    if not known.any():
        nothing = ("rms", "rms_member", "rms_exact", "spread", "sd", "agreement", "within")
        return {**found, **dict.fromkeys(nothing, float("nan")), "coverage": [float("nan")] * len(BANDS)}
    values = values[:, known]
    truth, mean, sd = (array[: len(known), k][known] for array in (exact.truth, exact.mean, exact.sd))
    centre, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)
    apart = (centre - mean) / sd
    return {
        **found,
        "rms": _rms(centre - truth),
        "rms_member": _rms((values - truth)[np.isfinite(values)]),
        "rms_exact": _rms(mean - truth),
        "spread": float(spread.mean()),
        "sd": float(sd.mean()),
        "coverage": [float((np.abs(centre - truth) <= width * spread).mean()) for width, _ in BANDS],
        "agreement": _rms(apart),
        "within": float((np.abs(apart) <= 1.0).mean()),
    }


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _check(members: Array, answers: int, segments: int) -> None:
    if members.ndim != 3 or len(members) < _FEWEST_MEMBERS or members.shape[2] != segments:
        raise ValueError(
            f"predictions of shape {members.shape}: (2 or more members, truths, {segments}) is needed"
        )
    if not 0 < members.shape[1] <= answers:
        raise ValueError(f"predictions of {members.shape[1]} truths: there are answers of {answers}")
