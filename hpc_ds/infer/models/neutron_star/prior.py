"""What an equation of state can be before the data: its squared speeds of sound, and the cuts that it must meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.infer.models.neutron_star.likelihood import LOWEST_MASS
from hpc_ds.physics.neutron_star.curves import Curves, mass_radius_curves
from hpc_ds.physics.neutron_star.eos import EosBatch, largest_sound_speed_squared
from hpc_ds.physics.neutron_star.families import Edge, sound_speed_segments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EosPrior:
    """Segments in which every average squared speed of sound is ~ U(delta, 1 - delta), above a crust."""

    segments: int
    delta: float
    ratio: float
    """Energy densities of the uppermost and the lowest end of the segments."""
    crust: Edge
    least_maximum_mass: float
    """Solar masses that an equation of state must reach."""
    causal: bool
    """Whether sound must nowhere be faster than light, up to the centre of the heaviest star."""

    @property
    def support(self) -> tuple[float, float]:
        """Ends of the prior of every squared speed."""
        return self.delta, 1.0 - self.delta

    def eos(self, speeds_squared: ArrayLike) -> EosBatch:
        """Return the equations of state of squared speeds (n, segments)."""
        return sound_speed_segments(speeds_squared, self.ratio, self.crust)

    def meets_cuts(self, eos: EosBatch, curves: Curves) -> NDArray[np.bool_]:
        """Return which equations of state, (n,), have a likelihood at all."""
        heaviest = curves.maximum_mass
        met = curves.ok & (heaviest > LOWEST_MASS) & (heaviest >= self.least_maximum_mass)
        if self.causal:
            met[met] = largest_sound_speed_squared(eos[met], curves.enthalpy[met, -1]) <= 1.0
        return np.asarray(met)

    def heaviest(self) -> float:
        """Return the maximum mass of the stiffest equation of state: no other has more pressure at any density."""
        stiffest = self.eos(np.full((1, self.segments), 1.0 - self.delta))
        return float(mass_radius_curves(stiffest).maximum_mass[0])

    def sample(self, draws: int, seed: int = 0) -> tuple[EosBatch, Curves, NDArray[np.bool_]]:
        """Return independent draws, their stars, and which of them meet the cuts, (draws,)."""
        rng = np.random.default_rng(seed)
        eos = self.eos(rng.uniform(*self.support, (draws, self.segments)))
        curves = mass_radius_curves(eos)
        return eos, curves, self.meets_cuts(eos, curves)


def share_of(met: NDArray[np.bool_]) -> tuple[float, float]:
    """Return which share of independent draws meets the cuts, and its standard error."""
    share = float(met.mean())
    return share, float(np.sqrt(max(share * (1.0 - share), 1.0 / met.size) / met.size))
