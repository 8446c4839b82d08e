"""The answer of the study: networks and exact posteriors side by side, in ``comparison.h5`` and ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.models.neutron_star import EosOptions, parameter_names
from hpc_ds.infer.models.neutron_star.presentation import QUANTILES
from hpc_ds.infer.models.neutron_star.stars import published_stars
from hpc_ds.physics.neutron_star.eos import pressure_at
from hpc_ds.physics.neutron_star.families import DELTA, sound_speed_segments
from hpc_ds.runtime.atomic import write_json
from hpc_ds.store.netcdf import Group, read_group, write_groups
from hpc_ds.store.split import SPLITS
from hpc_ds.store.training_set import TrainingSet
from hpc_ds.studies import STUDIES
from hpc_ds.studies.neutron_star import chain
from hpc_ds.studies.neutron_star.calibration.networks import network_coverage, radii
from hpc_ds.studies.neutron_star.calibration.weights import MASSES
from hpc_ds.studies.neutron_star.mock import Ensemble, MockStars, Seen, as_inputs, read_ensemble

Array = NDArray[np.float64]

FORMAT = 1
COMPARISON, SUMMARY = "comparison.h5", "summary.json"

PUBLISHED_RMS = (0.16, 0.12, 0.10, 0.099, 0.11, 0.11, 0.12)
"""km at 0.6, 0.8, ... 1.8 solar masses (Fujimoto, Fukushima & Murase 2018, PRD 98, 023019)."""

_MOST_TRUTHS = 2000
_MOST_DRAWS = 4000


def compare(folder: Path, scale: str, seed: int, seconds: Mapping[str, float]) -> None:
    """Write what the stages found side by side; on one rank, with the same bits whatever computed the stages.

    Parameters
    ----------
    folder : Path
        The study's run folder, whose stages are done.
    scale : str
    seed : int
    seconds : mapping of str to float
        What each stage took, by its folder.
    """
    splits = {split: read_ensemble(str(folder / chain.ENSEMBLE), split) for split in SPLITS}
    members = np.clip(_of_observed(folder), DELTA, 1.0 - DELTA)
    told = _of_mock(folder, splits["test"], seed)
    errors = _radius_errors(folder, splits, told)
    write_groups(folder / COMPARISON, _groups(folder, splits, members, errors))
    card = STUDIES["neutron-star"]
    found = {
        "format": FORMAT,
        "kind": "study",
        "study": "neutron-star",
        "title": card.title,
        "source": card.source,
        "scale": scale,
        "seed": seed,
        "ensemble": _ensemble(folder, splits),
        "networks": {
            "fixed": _network(folder, chain.FIXED, splits, scale),
            "known": _network(folder, chain.KNOWN, splits, scale),
        },
        "radius_error": errors,
        "models": _models(folder),
        "posterior": _answer(folder / chain.POSTERIOR),
        "posterior_all": _answer(folder / chain.POSTERIOR_ALL),
        "agreement": _agreement(members, _draws(folder / chain.POSTERIOR)),
        "calibration": _calibration(folder, told),
        "observations": [star.describe() for star in chain.fourteen()],
        "observations_all": [star.describe() for star in published_stars()],
        "seconds": dict(seconds),
    }
    write_json(folder / SUMMARY, found)


def predicted(run: Path, inputs: Array) -> Array:
    """Return the squared speeds that each network of an ensemble predicts, (members, n, segments)."""
    import torch

    from hpc_ds.learn.prediction import load_run
    from hpc_ds.learn.uncertainty import Ensemble as Networks

    networks = load_run(run)
    assert isinstance(networks, Networks)
    with torch.inference_mode():
        values, _ = networks.by_member(torch.from_numpy(inputs.astype(np.float32)))
    return values.numpy().astype(np.float64)


def _of_observed(folder: Path) -> Array:
    """Return what the networks with known errors say of the fourteen stars, (members, segments)."""
    told = [star.describe() for star in chain.fourteen()]
    columns = [
        [star["mass"], star["radius"], np.mean(star["mass_errors"]), np.mean(star["radius_errors"])]
        for star in told
    ]
    seen = Seen(*np.array(columns, dtype=np.float64).T[:, None, :])
    return predicted(folder / chain.KNOWN.folder, as_inputs(seen, known=True))[:, 0]


def _of_mock(folder: Path, truths: Ensemble, seed: int) -> Array:
    """Return what the networks with fixed errors say of mock observations, (members, truths, segments)."""
    count = min(len(truths), _MOST_TRUTHS)
    mock = MockStars(truths, chain.mock_seed(seed, "test"), chain.FIXED.stars, chain.FIXED.errors)
    return predicted(folder / chain.FIXED.folder, as_inputs(mock.observe(np.arange(count)), known=False))


def _radius_errors(folder: Path, splits: Mapping[Any, Ensemble], told: Array) -> dict[str, Any]:
    """Return root mean squares of wrong radii by mass: of the networks' mean curve, and of knowing the prior only."""
    count = told.shape[1]
    true = radii(splits["test"].speeds_squared[:count])
    mean = _mean(radii(np.clip(told, DELTA, 1.0 - DELTA)))
    usual = _mean(radii(splits["train"].speeds_squared[:_MOST_DRAWS]))
    return {
        "mass": list(MASSES),
        "network": _rms(mean - true),
        "prior_mean": _rms(usual - true),
        "published": list(PUBLISHED_RMS),
        "exact": _exact_row(folder),
        "truths": count,
        "compared": np.isfinite(mean - true).sum(axis=0).tolist(),
    }


def _exact_row(folder: Path) -> list[float]:
    """Return the same of the exact posterior mean, for the truths of the calibration."""
    quantities = _json(folder / chain.CALIBRATION / "summary.json")["quantities"]
    rows = {one["name"]: one["rms"] for one in quantities}
    return [value for name, value in rows.items() if name.startswith("radius")]


def _calibration(folder: Path, told: Array) -> dict[str, Any]:
    place = folder / chain.CALIBRATION
    found = _json(place / "summary.json")
    network = network_coverage(told[:, : found["truths"]], place)
    return {**found, "network": network}


def _rms(wrong: Array) -> list[float]:
    return np.sqrt(np.nanmean(wrong**2, axis=0)).tolist()


def _draws(run: Path) -> Array:
    """Return all draws of the squared speeds of five segments, (draws, segments)."""
    found = read_group(_posterior_file(run), "posterior")
    return np.stack([found[name].ravel() for name in parameter_names(chain.SEGMENTS)], axis=1)


def _posterior_file(run: Path) -> Path:
    return run / "posterior" / f"{chain.SEGMENTS} segments.h5"


def _groups(
    folder: Path, splits: Mapping[Any, Ensemble], members: Array, errors: Mapping[str, Any]
) -> dict[str, Group]:
    """Return what is drawn side by side: bands (quantile, point) of prior and posteriors, lines of the networks."""
    runs = {"posterior": folder / chain.POSTERIOR, "posterior_all": folder / chain.POSTERIOR_ALL}

    def curves(group: str, axis: str, what: str, of: Callable[[Array], Array]) -> Group:
        found = {name: read_group(_posterior_file(run), group) for name, run in runs.items()}
        first = found["posterior"]
        bands = {"prior": first[f"prior_{what}"], **{name: each[what] for name, each in found.items()}}
        return _beside(axis, first[axis], bands, of(first[axis]))

    speeds = {"prior": np.concatenate([part.speeds_squared for part in splits.values()])}
    speeds |= {name: _draws(run) for name, run in runs.items()}
    quantiles = {name: np.percentile(values, QUANTILES, axis=0) for name, values in speeds.items()}
    rows = {
        name: (("mass",), np.array(errors[name], dtype=np.float64))
        for name in ("network", "prior_mean", "published", "exact", "compared")
    }
    return {
        "mass_radius": curves("mass_radius", "mass", "radius", lambda mass: radii(members, mass)),
        "pressure_density": curves(
            "pressure_density",
            "energy_density",
            "pressure",
            lambda density: pressure_at(sound_speed_segments(members), density),
        ),
        "sound_speed": _beside("segment", np.arange(1.0, chain.SEGMENTS + 1.0), quantiles, members),
        "radius_error": Group(variables=rows, coords={"mass": np.array(MASSES)}),
    }


def _beside(axis: str, points: Array, bands: Mapping[str, Array], lines: Array) -> Group:
    shown = {name: (("quantile", axis), values) for name, values in bands.items()}
    networks = {"members": (("member", axis), lines), "network_mean": ((axis,), _mean(lines))}
    return Group(variables={**shown, **networks}, coords={axis: points, "quantile": QUANTILES})


def _mean(values: Array) -> Array:
    """Return the mean over members, of those that have a value."""
    counted = np.isfinite(values).sum(axis=0)
    return np.where(counted > 0, np.nansum(values, axis=0) / np.maximum(counted, 1), np.nan)


def _ensemble(folder: Path, splits: Mapping[Any, Ensemble]) -> dict[str, Any]:
    drawn = 0
    for split in SPLITS:
        with TrainingSet(str(folder / chain.ENSEMBLE), split) as stored:
            drawn += len(stored)
    least = EosOptions.least_maximum_mass
    return {"drawn": drawn, "accepted": sum(map(len, splits.values())), "least_maximum_mass": least}


def _network(folder: Path, kind: chain.Kind, splits: Mapping[Any, Ensemble], scale: str) -> dict[str, Any]:
    size, found = chain.SCALE_OF[scale], _json(folder / kind.folder / "summary.json")
    return {
        "layers": kind.layers,
        "parameters": found["parameters"],
        "members": size.members,
        "equations": len(splits["train"]),
        "samples_seen": len(splits["train"]) * size.copies * size.epochs,
        "metrics": found["metrics"],
    }


def _models(folder: Path) -> list[dict[str, Any]]:
    """Return the evidence of each number of segments, and the share of its prior that meets the cut."""
    wanted = ("name", "log_evidence", "log_evidence_error", "probability", "prior_share", "prior_share_error")
    entries = _json(folder / chain.POSTERIOR / SUMMARY)["models"]
    return [{name: entry[name] for name in wanted} for entry in entries]


def _answer(run: Path) -> dict[str, Any]:
    name = f"{chain.SEGMENTS} segments"
    return next(entry for entry in _json(run / SUMMARY)["models"] if entry["name"] == name)


def _agreement(members: Array, draws: Array) -> dict[str, list[float]]:
    """Return how far the networks' mean lies from the posterior's, in standard deviations of the posterior."""
    radius = radii(draws)
    wrong = _mean(radii(members)) - _mean(radius)
    return {
        "difference": ((members.mean(axis=0) - draws.mean(axis=0)) / draws.std(axis=0, ddof=1)).tolist(),
        "mass": list(MASSES),
        "radius": (wrong / np.nanstd(radius, axis=0, ddof=1)).tolist(),
    }


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))
