"""Run folders as the neutron-star study writes them, of sensible physics but without networks or sampling."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.infer.models.neutron_star import eos_models, information_gain, log_likelihoods
from hpc_ds.infer.models.neutron_star.presentation import MASSES, known_bands, star_quantities
from hpc_ds.physics.neutron_star import (
    mass_radius_curves,
    pressure_at,
    radius_at,
    sound_speed_segments,
)
from hpc_ds.physics.neutron_star.observed import FOURTEEN, observed_stars
from hpc_ds.physics.neutron_star.units import NUCLEAR_DENSITY
from hpc_ds.store.netcdf import Group, write_groups
from hpc_ds.studies.neutron_star.calibration.exchange import Sampled
from hpc_ds.studies.neutron_star.calibration.networks import network_coverage
from hpc_ds.studies.neutron_star.calibration.run import summary as calibration_summary
from hpc_ds.studies.neutron_star.calibration.truths import Answers
from hpc_ds.studies.neutron_star.calibration.weights import MASSES as JUDGED
from hpc_ds.studies.neutron_star.calibration.weights import QUANTILES, quantity_names

DENSITY = NUCLEAR_DENSITY * np.geomspace(1, 8, 64)
PUBLISHED = [0.16, 0.12, 0.10, 0.099, 0.11, 0.11, 0.12]
DRAWN, KEPT, TRUTHS, DRAWS = 1000, 1.97, 60, 500
SOFT = np.array([[0.02] * 5, [0.2, 0.5, 0.98, 0.98, 0.98]])
"""Where most of the posterior lies."""


class FakeStudy:
    """Writes one run folder whose arrays and numbers agree; its parts can be changed before it is written."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(3)
        self.folder = folder
        self.prior = Matter(rng.uniform(0.02, 0.98, (DRAWN, 5))).kept()
        fourteen = {star.name: star for star in observed_stars(("quiescent", "burster"))}
        self.stars = [fourteen[name] for name in FOURTEEN]
        self.posterior = self.given(self.stars, KEPT, rng)
        self.every = self.given(observed_stars(), 0.0, rng)
        mean = self.posterior.speeds.mean(axis=0)
        self.members = Matter(np.clip(mean + 0.04 * rng.normal(size=(10, 5)), 0.02, 0.98))
        self.answers, self.sampled = calibrated(self.prior, rng)
        self.compared = self.comparison()
        self.summary = self.told(rng)

    def given(self, stars, least, rng):
        """Return draws of the exact posterior, by weights of draws of the prior and of its soft corner."""
        (model,) = eos_models(stars, (5,), least_maximum_mass=least)
        speeds = np.concatenate([rng.uniform(0.02, 0.98, (DRAWN, 5)), rng.uniform(*SOFT, (3 * DRAWN, 5))])
        corner = 0.96**5 / np.prod(SOFT[1] - SOFT[0])
        density = 1 + 3 * corner * np.all(speeds < SOFT[1], axis=1)
        weight = log_likelihoods(model, speeds) - np.log(density)
        share = np.exp(weight - weight.max())
        return Matter(speeds[rng.choice(len(share), DRAWS, p=share / share.sum())])

    def comparison(self):
        shown = {"prior": self.prior, "posterior": self.posterior, "posterior_all": self.every}
        axes = {
            "mass_radius": ("mass", MASSES, "radius"),
            "pressure_density": ("energy_density", DENSITY, "pressure"),
        }
        axes["sound_speed"] = ("segment", np.arange(1, 6), "speeds")
        return {
            group: {
                axis: points,
                **{name: known_bands(getattr(matter, what)) for name, matter in shown.items()},
                "members": getattr(self.members, what),
                "network_mean": getattr(self.members, what).mean(axis=0),
            }
            for group, (axis, points, what) in axes.items()
        }

    def told(self, rng):
        speeds, members = self.posterior.speeds, self.members.speeds
        network = np.clip(self.answers.mean[:, :5] + 0.05 * rng.normal(size=(4, TRUTHS, 5)), 0.02, 0.98)
        found = calibration_summary(self.answers, self.sampled, 2400)
        metrics = {split: {"msle": 0.0251, "rmse": 0.226} for split in ("valid", "test")}
        trained = {"members": 10, "equations": 1960, "samples_seen": 3_920_000, "metrics": metrics}
        return {
            "format": 1,
            "kind": "study",
            "study": "neutron-star",
            "title": "What do observed neutron stars say of dense matter?",
            "source": "Fujimoto, Fukushima & Murase, PRD 98 (2018) 023019 and PRD 101 (2020) 054016",
            "scale": "full",
            "seed": 1,
            "ensemble": {"drawn": DRAWN, "accepted": len(self.prior.speeds), "least_maximum_mass": KEPT},
            "networks": {
                "fixed": {"layers": "30-60-40-40-5", "parameters": 6145, **trained},
                "known": {"layers": "56-60-40-40-5", "parameters": 7705, **trained},
            },
            "radius_error": {
                "mass": list(JUDGED),
                "network": [0.155, 0.161, 0.158, 0.129, 0.125, 0.122, 0.129],
                "prior_mean": np.nanstd(radius_at(self.prior.curves, JUDGED), axis=0).tolist(),
                "published": PUBLISHED,
                "exact": [0.140, 0.131, 0.118, 0.108, 0.104, 0.103, 0.109],
                "truths": 200,
            },
            "models": [
                model(name, value, share, met)
                for name, value, share, met in (
                    ("3 segments", -34.06, 0.51, 0.93),
                    ("4 segments", -34.61, 0.29, 0.96),
                    ("5 segments", -35.37, 0.14, 0.98),
                    ("7 segments", -36.20, 0.06, 0.99),
                )
            ],
            "posterior": entry(self.posterior),
            "posterior_all": entry(self.every),
            "agreement": {
                "difference": ((members.mean(axis=0) - speeds.mean(axis=0)) / speeds.std(axis=0)).tolist(),
                "mass": list(JUDGED),
                "radius": [0.1] * 7,
            },
            "calibration": {**found, "network": network_coverage(network, self.answers)},
            "observations": [vars_of(star) for star in self.stars],
            "observations_all": [vars_of(star) for star in observed_stars()],
            "seconds": {"ensemble": 31.0, "network-fixed": 402.0, "network-known": 511.0, "posterior": 640.0},
        }

    def write(self, **changes):
        """Write the folder with `changes` to the summary (None: the part is null) and return it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        provenance = {
            "versions": {"hpc_ds": "0.1.0", "python": "3.11.7"},
            "host": "cn1042",
            "ranks": 4,
            "command": ["hpc-ds", "run", "neutron-star"],
            "seed": 1,
            "started": "2025-01-01T12:00:00+00:00",
        }
        state = {"format": 1, "kind": "study", "state": "done", "note": None}
        for name, content in (
            ("summary.json", {**self.summary, **changes}),
            ("provenance.json", provenance),
            ("state.json", state),
        ):
            (self.folder / name).write_text(json.dumps(content, default=plain), encoding="utf-8")
        (self.folder / "config.toml").write_text('study = "neutron-star"\nscale = "full"\n', encoding="utf-8")
        write_groups(
            self.folder / "comparison.h5", {name: group(arrays) for name, arrays in self.compared.items()}
        )
        (self.folder / "calibration").mkdir()
        names = {"quantity": np.array(quantity_names(5)), "level": np.array(QUANTILES)}
        arrays = {"weights": self.answers.arrays()}
        if self.sampled is not None:
            arrays["exchange"] = vars(self.sampled)
        write_groups(
            self.folder / "calibration" / "calibration.h5",
            {name: group({**names, **values}) for name, values in arrays.items()},
        )
        return self.folder


class Matter:
    """Equations of state with the stars and pressures that they mean."""

    def __init__(self, speeds):
        self.speeds = speeds
        self.eos = sound_speed_segments(speeds)
        self.curves = mass_radius_curves(self.eos)
        self.radius = radius_at(self.curves, MASSES)
        self.pressure = pressure_at(self.eos, DENSITY)

    def __getitem__(self, chosen):
        return Matter(self.speeds[chosen])

    def kept(self):
        return self[self.curves.ok & (self.curves.maximum_mass >= KEPT)]


def calibrated(prior, rng):
    """Return posteriors of truths that are right: the truth is one more draw of each."""
    truth = np.concatenate(
        [prior.speeds, radius_at(prior.curves, JUDGED), prior.curves.maximum_mass[:, None]], axis=1
    )[:TRUTHS]
    sd = 0.5 * truth.std(axis=0) * np.ones_like(truth)
    sd[:, 5:12] = 0.15
    mean = truth - sd * rng.normal(size=truth.shape)
    rank = rng.uniform(size=truth.shape)
    worth = rng.uniform(1900, 2300, TRUTHS)
    answers = Answers(
        truth=truth,
        mean=mean,
        sd=sd,
        error=sd / np.sqrt(worth[:, None]),
        rank=rank,
        quantile=np.stack([mean + z * sd for z in (-2, -1, 0, 1, 2)], axis=1),
        effective=worth,
        effective_before=rng.uniform(30, 160, TRUTHS),
        curves=np.full(TRUTHS, 4000.0),
        log_evidence=rng.normal(-20, 2, TRUTHS),
        log_evidence_error=worth**-0.5,
    )
    both = slice(20)
    error = answers.error[both] * 0.8
    gap = np.hypot(error, answers.error[both])
    sampled = Sampled(
        mean=mean[both] + gap * rng.normal(size=gap.shape),
        sd=sd[both],
        error=error,
        log_evidence=answers.log_evidence[both] + 0.02 * rng.normal(size=20),
        log_evidence_error=np.full(20, 0.015),
    )
    return answers, sampled


def model(name, value, share, met):
    return {
        "name": name,
        "log_evidence": value,
        "log_evidence_error": 0.03,
        "probability": share,
        "prior_share": met,
        "prior_share_error": 0.003,
    }


def entry(matter):
    """Return what the engine's summary says of a posterior of five segments."""
    parameters = {f"sound_speed_squared[{k + 1}]": row(values) for k, values in enumerate(matter.speeds.T)}
    derived = {name: row(values) for name, values in star_quantities(matter.eos, matter.curves).items()}
    return {
        "name": "5 segments",
        "parameters": parameters,
        "derived": derived,
        "information_gain": [information_gain(values, 0.02, 0.98) for values in matter.speeds.T],
        "diagnostics": {"scans": 20000},
        "verdict": {"trust": True, "text": "trust this"},
    }


def row(values):
    low, half, high = np.percentile(values, (2.5, 50, 97.5))
    return {
        "mean": values.mean(),
        "sd": values.std(ddof=1),
        "2.5%": low,
        "50%": half,
        "97.5%": high,
        "ess": 0.5 * values.size,
        "r_hat": 1.002,
    }


def vars_of(star):
    names = ("name", "kind", "mass", "mass_errors", "radius", "radius_errors", "source", "method")
    return {name: getattr(star, name) for name in names}


def group(arrays):
    """Return arrays as a group: those of one axis that others run along are coordinates of it."""
    axes = {
        name: values
        for name, values in arrays.items()
        if name in ("mass", "energy_density", "segment", "quantity", "level")
    }
    variables = {
        name: (tuple(f"{name}_{k}" for k in range(np.ndim(values))), values)
        for name, values in arrays.items()
        if name not in axes
    }
    return Group(variables=variables, coords=axes)


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


@pytest.fixture(scope="session")
def fake_study(tmp_path_factory):
    """Return a `FakeStudy` to be written; its summary must not be changed in place."""
    return FakeStudy(tmp_path_factory.mktemp("neutron-star") / "run")


@pytest.fixture(scope="session")
def studied(fake_study, tmp_path_factory):
    """Return the folder of a whole study, not to be changed."""
    place = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(fake_study.write(), place)
    return place
