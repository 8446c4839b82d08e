"""The chain of the study: equations of state, networks trained on their mock stars, exact posteriors, comparison."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpc_ds.infer.models.neutron_star.options import EosOptions
from hpc_ds.infer.models.neutron_star.stars import Star, chosen_stars, published_stars
from hpc_ds.infer.run import sample
from hpc_ds.infer.settings import make_settings as infer_settings
from hpc_ds.learn.computed import ComputedData
from hpc_ds.learn.dataset import Dataset
from hpc_ds.learn.run import train
from hpc_ds.learn.settings import make_settings as learn_settings
from hpc_ds.physics.neutron_star.observed import FOURTEEN
from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.folder import read_state
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.runtime.world import World
from hpc_ds.simulate.run import generate
from hpc_ds.simulate.settings import Settings as SimulateSettings
from hpc_ds.store.split import SPLITS, Split
from hpc_ds.studies.neutron_star.calibration import run as calibration
from hpc_ds.studies.neutron_star.calibration.settings import scale_settings
from hpc_ds.studies.neutron_star.mock import Ensemble, Errors, MockStars, read_ensemble

Tell = Callable[[str], None]

SIMULATOR = "neutron-star"
ENSEMBLE, POSTERIOR, POSTERIOR_ALL, CALIBRATION = "ensemble", "posterior", "posterior-all", "calibration"
"""Run folders of the stages below the study's; those of the networks are in `FIXED` and `KNOWN`."""

SECONDS = "seconds.json"
"""What each stage took, by its folder, over all sessions."""

SEGMENTS = 5
ALL_OPTIONS = EosOptions((SEGMENTS,), least_maximum_mass=0.0)
"""Of the posterior given all stars: no cut, as the heavy pulsars are among them."""

HIDDEN = "60-40-40"
"""Hidden layers of both published networks."""

MIDDLE = math.atanh(0.5)
"""Where outputs begin: the loss has no gradient at negative ones, and a network that began there would stay."""

NETWORK: dict[str, Any] = {"layers": HIDDEN, "activation": "relu", "output": "tanh", "output_bias": MIDDLE}
"""Options of both networks."""

_BOOTSTRAP = name_key("neutron-star.bootstrap")


@dataclass(frozen=True)
class Scale:
    """How large the study is."""

    equations: int
    """Equations of state that are drawn; one in fifty is too soft for the heaviest pulsar."""
    members: int
    """Networks of a bootstrap ensemble."""
    copies: int
    """Noisy copies of each equation of state in an epoch."""
    epochs: int
    learning_rate: float
    draws: int
    tuning: int
    segments: tuple[int, ...]
    """Numbers of segments whose evidence is computed."""


SCALE_OF = {
    "quick": Scale(5_000, 4, 50, 8, 5e-3, 400, 100, (3, 5)),
    "full": Scale(20_000, 10, 100, 10, 3e-3, 5_000, 1_000, (3, 4, 5, 7)),
}


@dataclass(frozen=True)
class Kind:
    """One of the two networks."""

    folder: str
    stars: int
    errors: Errors

    @property
    def inputs(self) -> int:
        """How many numbers it sees."""
        return self.stars * (4 if self.errors == "random" else 2)

    @property
    def layers(self) -> str:
        """Sizes of its layers, as they are published."""
        return f"{self.inputs}-{HIDDEN}-{SEGMENTS}"


FIXED = Kind("network-fixed", 15, "fixed")
"""Fifteen stars whose errors are always 0.1 solar masses and 0.5 km."""
KNOWN = Kind("network-known", 14, "random")
"""Fourteen stars whose errors are inputs."""


def options(scale: str) -> dict[str, Any]:
    """Return all that shapes the result of a scale."""
    calibrated = asdict(scale_settings(scale, seed=0))
    del calibrated["seed"]  # follows from the study's own
    size = SCALE_OF[scale]
    return {
        **asdict(size),
        "networks": [FIXED.layers, KNOWN.layers],
        "learn": {**NETWORK, **_learning(size)},
        "calibration": calibrated,
    }


def chain(folder: Path, scale: str, seed: int, world: World, deadline: Deadline, tell: Tell) -> bool:
    """Run all stages, each of which continues what it finds; return whether all are done; collective.

    Parameters
    ----------
    folder : Path
        The study's run folder; each stage has one of its own below.
    scale : {"quick", "full"}
    seed : int
    world : World
    deadline : Deadline
    tell : callable
        Told of each stage, on rank 0.
    """
    from hpc_ds.studies.neutron_star.comparison import compare

    size, seconds = SCALE_OF[scale], world.root_first(_seconds, folder)
    for name, place, stage in _stages(folder, scale, size, seed):
        if _is_done(place, world):
            continue
        tell(f"{name} ({place.name})")
        began = time.perf_counter()
        done = stage(world, deadline, tell)
        seconds[place.name] = seconds.get(place.name, 0.0) + time.perf_counter() - began
        world.root_first(write_json, folder / SECONDS, seconds)
        if not done:
            return False
    world.root_first(compare, folder, scale, seed, seconds)
    return True


def _seconds(folder: Path) -> dict[str, float]:
    """Return what each stage took in earlier sessions, those that ended in good order."""
    file = folder / SECONDS
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


Stage = Callable[[World, Deadline, Tell], bool]


def _stages(folder: Path, scale: str, size: Scale, seed: int) -> list[tuple[str, Path, Stage]]:
    """Return what is done, in which folder, and by what."""
    ensemble = folder / ENSEMBLE

    def simulated(world: World, deadline: Deadline, tell: Tell) -> bool:
        return simulate(ensemble, size, seed, world, deadline, tell)

    def learned(kind: Kind) -> Stage:
        return lambda world, deadline, tell: learn(
            folder / kind.folder, ensemble, kind, size, seed, world, deadline, tell
        )

    def sampled(place: str, stars: list[Star], wanted: EosOptions) -> Stage:
        return lambda world, deadline, tell: infer(
            folder / place, stars, wanted, size, seed, world, deadline, tell
        )

    def calibrated(world: World, deadline: Deadline, tell: Tell) -> bool:
        settings = scale_settings(scale, mock_seed(seed, "test"))
        return calibration.run(folder / CALIBRATION, ensemble, ensemble, settings, world, deadline, tell)

    return [
        ("simulating equations of state", ensemble, simulated),
        (f"training {FIXED.layers}", folder / FIXED.folder, learned(FIXED)),
        (f"training {KNOWN.layers}", folder / KNOWN.folder, learned(KNOWN)),
        (
            "sampling the posterior given fourteen stars",
            folder / POSTERIOR,
            sampled(POSTERIOR, fourteen(), EosOptions(size.segments)),
        ),
        (
            "sampling the posterior given all stars",
            folder / POSTERIOR_ALL,
            sampled(POSTERIOR_ALL, published_stars(), ALL_OPTIONS),
        ),
        ("posteriors of mock truths", folder / CALIBRATION, calibrated),
    ]


def _is_done(folder: Path, world: World) -> bool:
    """Tell whether a stage ended in an earlier session; the study's folder has made sure that it was the same."""
    return world.root_first(
        lambda: (folder / "state.json").exists() and read_state(folder)["state"] == "done"
    )


def simulate(folder: Path, size: Scale, seed: int, world: World, deadline: Deadline, tell: Tell) -> bool:
    """Draw equations of state and compute their stars; return whether all are there; collective."""
    outcome = generate(
        SIMULATOR,
        folder=folder,
        settings=SimulateSettings(samples=size.equations, design="random", seed=seed),
        world=world,
        deadline=deadline,
        tell=tell,
    )
    return outcome.state == "done"


def learn(
    folder: Path,
    ensemble: Path,
    kind: Kind,
    size: Scale,
    seed: int,
    world: World,
    deadline: Deadline,
    tell: Tell,
) -> bool:
    """Train a bootstrap ensemble of networks from mock observations to speeds of sound; collective."""
    outcome = train(
        "mlp",
        mock_data(ensemble, kind, size.copies, seed),
        folder=folder,
        options=NETWORK,
        settings=learn_settings({**_learning(size), "seed": seed}),
        world=world,
        deadline=deadline,
        tell=tell,
    )
    return outcome.state == "done"


def _learning(size: Scale) -> dict[str, Any]:
    return {
        "epochs": size.epochs,
        "batch": 1000,
        "lanes": 4,
        "loss": "msle",
        "metrics": "msle,rmse",
        "optimiser": "adam",
        "learning_rate": size.learning_rate,
        "weight_decay": 0.0,
        "normalise": False,
        "members": size.members,
    }


def mock_seed(seed: int, split: Split) -> int:
    """Return the seed of the mock observations of one split."""
    return len(SPLITS) * seed + SPLITS.index(split)


def mock_data(folder: Path, kind: Kind, copies: int, seed: int) -> ComputedData:
    """Return the mock observations of a network; each member sees equations of state drawn with replacement."""
    parts = {split: read_ensemble(str(folder), split) for split in SPLITS}

    def made(ensemble: Ensemble, split: Split, number: int) -> Dataset:
        mock = MockStars(ensemble, mock_seed(seed, split), kind.stars, kind.errors)
        return mock.dataset(number, SIMULATOR)

    def train_of(member: int) -> Dataset:
        return made(resampled(parts["train"], seed, member), "train", copies)

    numbers = {"train": copies, "valid": 5, "test": 1}
    content = hashlib.sha256(f"{kind} {copies} {seed}".encode())
    for part in parts.values():
        content.update(part.mass.tobytes() + part.radius.tobytes())
    splits: dict[str, Dataset] = {split: made(part, split, numbers[split]) for split, part in parts.items()}
    return ComputedData(str(folder), splits, content.hexdigest(), train_of)


def resampled(ensemble: Ensemble, seed: int, member: int) -> Ensemble:
    """Return as many equations of state as there are, drawn with replacement for a member of the bootstrap."""
    chosen = stream(seed, _BOOTSTRAP, member).integers(0, len(ensemble), len(ensemble))
    return Ensemble(ensemble.speeds_squared[chosen], ensemble.mass[chosen], ensemble.radius[chosen])


def infer(
    folder: Path,
    stars: list[Star],
    wanted: EosOptions,
    size: Scale,
    seed: int,
    world: World,
    deadline: Deadline,
    tell: Tell,
) -> bool:
    """Sample the posterior of equations of state given stars; return whether all draws are made; collective."""
    settings = infer_settings({"draws": size.draws, "tuning": size.tuning, "seed": seed})
    sample(
        wanted.models(stars),
        settings=settings,
        folder=folder,
        world=world,
        deadline=deadline,
        extra={
            "model": "neutron-star",
            "data": {"path": f"{len(stars)} published stars", "n": len(stars)},
            "options": wanted.to_dict(),
            "observations": [star.describe() for star in stars],
        },
        warn=lambda line: tell(f"warning: {line}"),
    )
    return _is_done(folder, world)


def fourteen() -> list[Star]:
    """Return the fourteen stars of the published network: quiescent ones and bursters."""
    return chosen_stars(published_stars(("quiescent", "burster")), FOURTEEN)
