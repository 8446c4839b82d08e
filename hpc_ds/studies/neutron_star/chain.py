"""The chain of the study: equations of state, networks trained on their mock stars, and the exact posterior."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.models.neutron_star import eos_models
from hpc_ds.infer.run import sample
from hpc_ds.infer.settings import make_settings as infer_settings
from hpc_ds.learn.computed import ComputedData
from hpc_ds.learn.dataset import Dataset
from hpc_ds.learn.outcome import Outcome
from hpc_ds.learn.run import train
from hpc_ds.learn.settings import make_settings as learn_settings
from hpc_ds.physics.neutron_star.observed import FOURTEEN, OBSERVED, Observation
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import World
from hpc_ds.simulate.run import generate
from hpc_ds.simulate.settings import Settings as SimulateSettings
from hpc_ds.studies.neutron_star.mock import Ensemble, Errors, mock_observations, read_ensemble, scaled

Tell = Callable[[str], None]

SIMULATOR = "neutron-star"
HIDDEN = "60-40-40"
"""Hidden layers of both published networks."""

MIDDLE = math.atanh(0.5)
"""Where outputs begin: the loss has no gradient at negative ones, and a network that began there would stay."""


@dataclass(frozen=True)
class Scale:
    """How large the study is."""

    equations: int
    """Equations of state that are drawn; one in forty is too soft for the heaviest pulsar."""
    members: int
    """Networks of a bootstrap ensemble."""
    copies: int
    """Noisy copies of each equation of state."""
    epochs: int
    draws: int
    tuning: int
    segments: tuple[int, ...]
    """Numbers of segments whose evidence is computed."""


SCALES = {
    "quick": Scale(1200, 2, 100, 10, 400, 100, (3, 5)),
    "full": Scale(2450, 10, 100, 100, 20_000, 2_000, (3, 4, 5, 7)),
}


@dataclass(frozen=True)
class Kind:
    """One of the two networks."""

    folder: str
    stars: int
    errors: Errors


FIXED = Kind("network-fixed", 15, "fixed")
"""30-60-40-40-5: fifteen stars whose errors are always 0.1 solar masses and 0.5 km."""
KNOWN = Kind("network-known", 14, "random")
"""56-60-40-40-5: fourteen stars whose errors are inputs."""


def simulate(folder: Path, scale: Scale, seed: int, world: World, deadline: Deadline, tell: Tell) -> bool:
    """Draw equations of state and compute their stars; return whether all are there; collective."""
    outcome = generate(
        SIMULATOR,
        folder=folder / "ensemble",
        settings=SimulateSettings(samples=scale.equations, design="random", seed=seed),
        world=world,
        deadline=deadline,
        tell=tell,
    )
    return outcome.state == "done"


def learn(
    folder: Path, kind: Kind, scale: Scale, seed: int, world: World, deadline: Deadline, tell: Tell
) -> Outcome:
    """Train a bootstrap ensemble of networks from mock observations to speeds of sound; collective."""
    settings = learn_settings(
        {
            "epochs": scale.epochs,
            "batch": 1000,
            "lanes": 8,
            "seed": seed,
            "loss": "msle",
            "metrics": "msle,rmse",
            "optimiser": "adam",
            "learning_rate": 3e-3,
            "weight_decay": 0.0,
            "normalise": False,
            "members": scale.members,
        }
    )
    options = {"layers": HIDDEN, "activation": "relu", "output": "tanh", "output_bias": MIDDLE}
    data = mock_data(folder / "ensemble", kind, scale, seed)
    return train(
        "mlp",
        data,
        folder=folder / kind.folder,
        options=options,
        settings=settings,
        world=world,
        deadline=deadline,
        tell=tell,
    )


def mock_data(ensemble: Path, kind: Kind, scale: Scale, seed: int) -> ComputedData:
    """Return the mock observations of a network; each member sees equations of state drawn with replacement."""
    train_set, valid, test = (read_ensemble(str(ensemble), split) for split in ("train", "valid", "test"))

    def made(found: Ensemble, place: int, copies: int) -> Dataset:
        return mock_observations(
            found, copies=copies, seed=seed + place, stars=kind.stars, errors=kind.errors, name=SIMULATOR
        )

    def train_of(member: int) -> Dataset:
        return made(resampled(train_set, seed, member), 0, scale.copies)

    splits = {"train": made(train_set, 0, scale.copies), "valid": made(valid, 1, 5), "test": made(test, 2, 1)}
    content = hashlib.sha256(f"{kind} {scale.copies} {seed}".encode())
    for part in (train_set, valid, test):
        content.update(part.mass.tobytes() + part.radius.tobytes())
    return ComputedData(str(ensemble), splits, content.hexdigest(), train_of)


def resampled(ensemble: Ensemble, seed: int, member: int) -> Ensemble:
    """Return as many equations of state as there are, drawn with replacement for a member of the bootstrap."""
    from hpc_ds.runtime.random import name_key, stream

    rng = stream(seed, name_key("neutron-star.bootstrap"), member)
    chosen = rng.integers(0, len(ensemble), len(ensemble))
    return Ensemble(ensemble.speeds_squared[chosen], ensemble.mass[chosen], ensemble.radius[chosen])


def infer(folder: Path, scale: Scale, seed: int, world: World, deadline: Deadline) -> bool:
    """Sample the posterior of the same problem; return whether all draws are made; collective."""
    models = eos_models(fourteen(), scale.segments)
    settings = infer_settings({"draws": scale.draws, "tuning": scale.tuning, "seed": seed})
    sample(models, settings=settings, folder=folder / "posterior", world=world, deadline=deadline)
    return world.bcast((folder / "posterior" / "summary.json").exists())


def fourteen() -> list[Observation]:
    """Return the fourteen stars of the published network: quiescent ones and bursters."""
    first: dict[str, Observation] = {}
    for star in OBSERVED:
        if star.name in FOURTEEN and star.radius is not None and star.kind in ("quiescent", "burster"):
            first.setdefault(star.name, star)
    return list(first.values())


def observed_inputs(stars: list[Observation]) -> NDArray[np.float64]:
    """Return what the network with known errors sees of observed stars, (1, 4 stars)."""
    columns = [[star.mass, star.radius, star.mass_sd, star.radius_sd] for star in stars]
    mass, radius, mass_error, radius_error = np.array(columns, dtype=np.float64).T[:, None, :]
    return scaled(mass, radius, mass_error, radius_error)
