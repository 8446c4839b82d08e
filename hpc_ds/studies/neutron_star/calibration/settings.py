"""How the calibration of posteriors is done: how many truths, how well each is known, and by what prior."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_ds.infer.models.neutron_star.observations import GaussianStar
from hpc_ds.infer.models.neutron_star.options import EosOptions
from hpc_ds.runtime.errors import InputError

Stars = list[GaussianStar]
"""What is observed of one truth."""

FEWEST_TRUTHS = 16
"""Below it no test of uniformity says anything."""


@dataclass(frozen=True)
class Settings:
    """Settings of a calibration; all of them shape the result.

    Raises
    ------
    InputError
        A number that cannot be.
    """

    seed: int
    """Of the mock stars (that of `MockStars`), of further draws and of replica exchange."""
    truths: int = 200
    """Equations of state whose posteriors are computed."""
    stars: int = 15
    """Observed of each."""
    mass_error: float = 0.1
    """Solar masses."""
    radius_error: float = 0.5
    """km."""
    effective: float = 2000.0
    """Effective draws that each posterior should have; where the stored ones are worth less, more are drawn."""
    round_draws: int = 2000
    """Equations of state that are drawn at a time where the stored ones do not suffice."""
    rounds: int = 6
    """Times that this is done at most."""
    exchange: int = 20
    """Truths, the first ones, whose posterior is sampled by replica exchange too."""
    draws: int = 3000
    tuning: int = 500
    delta: float = EosOptions.delta
    """Squared speeds of sound are uniform between delta and 1 - delta, as in the ensemble."""
    least_maximum_mass: float = EosOptions.least_maximum_mass
    """Solar masses that an equation of state must carry, as in the ensemble."""

    def __post_init__(self) -> None:
        if self.truths < FEWEST_TRUTHS:
            raise InputError(f"truths {self.truths}: at least {FEWEST_TRUTHS} are needed")
        if not 0 <= self.exchange <= self.truths:
            raise InputError(
                f"exchange {self.exchange}: a number from 0 to the {self.truths} truths is needed"
            )


def scale_settings(scale: str, seed: int) -> Settings:
    """Return the settings of scale ``quick`` or ``full``; `seed` is that of the mock observations."""
    if scale == "full":
        return Settings(seed)
    return Settings(seed, truths=40, effective=400.0, round_draws=1000, exchange=2, draws=300, tuning=150)
