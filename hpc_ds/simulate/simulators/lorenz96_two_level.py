"""The Lorenz-96 system of two levels with varied forcing: what closures of unresolved scales are learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.physics.lorenz96 import TwoLevel, small_scale_effect, two_level_trajectory
from hpc_ds.runtime.options import checked
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulator import Fields, Parameters, Simulator, Skip
from hpc_ds.store.layout import Boundary, Layout, axis
from hpc_ds.store.layout import Field as Quantity


class Options(BaseModel):
    """Options of ``hpc-ds simulate lorenz96-two-level``; the system of Lorenz (1996) has 36 sites of 10 sectors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sites: int = Field(default=8, ge=4)
    """Values of the large scale, K."""

    sectors: int = Field(default=32, ge=1)
    """Values of the small scale at each site, J."""

    step: float = Field(default=0.005, gt=0.0, allow_inf_nan=False)
    """Time step; the small scale is time_ratio times as fast as the large one."""

    every: int = Field(default=10, ge=1)
    """Steps from one stored state to the next."""

    frames: int = Field(default=201, ge=1)
    """States that are stored."""

    spin_up: float = Field(default=10.0, ge=0.0, allow_inf_nan=False)
    """Time that passes before the first one, from a random state to the attractor."""


def build(options: Mapping[str, Any]) -> Simulator:
    """Return the simulator.

    Parameters
    ----------
    options : mapping
        Of `Options`.

    Raises
    ------
    InputError
        An option that is unknown or cannot be.
    """
    chosen = checked(Options, options, "lorenz96-two-level: ")
    space = ParameterSpace.from_dict(
        {
            "forcing": {"distribution": "uniform(16, 24)"},
            "coupling": 1.0,
            "amplitude_ratio": 10.0,
            "time_ratio": 10.0,
        }
    )
    return Simulator(
        name="lorenz96-two-level",
        space=space,
        layout=_layout(chosen, space),
        simulate=partial(simulate, chosen),
        warm_up=_warm_up,
        options=chosen.model_dump(),
    )


def simulate(options: Options, parameters: Parameters, rng: np.random.Generator) -> Fields:
    """Return the states of a sample, and the effect of the small scale on the large one.

    Raises
    ------
    Skip
        The step is too long for these parameters.
    """
    constants = TwoLevel(**parameters)
    large = constants.forcing / 4.0 + rng.standard_normal(options.sites)
    small = 0.1 * rng.standard_normal((options.sites, options.sectors))
    x, y = two_level_trajectory(
        large,
        small,
        constants,
        step=options.step,
        frames=options.frames,
        every=options.every,
        skipped=round(options.spin_up / options.step),
    )
    if not (np.isfinite(x[-1]).all() and np.isfinite(y[-1]).all()):
        raise Skip(
            f"forcing {constants.forcing:g}, time_ratio {constants.time_ratio:g}: the steps of {options.step:g} are "
            "too long, the states grow without end"
        )
    return {"x": x, "effect": small_scale_effect(y, constants), "y": y}


def _layout(options: Options, space: ParameterSpace) -> Layout:
    last = options.step * options.every * (options.frames - 1)
    return Layout(
        name="lorenz96_two_level",
        axes=(
            axis("site", 0.0, options.sites - 1.0, options.sites),
            axis("sector", 0.0, options.sectors - 1.0, options.sectors),
        ),
        times=axis("time", 0.0, last, options.frames),
        fields=(Quantity("x", dims=("site",)), Quantity("effect", dims=("site",)), Quantity("y")),
        boundaries=(Boundary("PERIODIC", ("site", "sector")),),
        columns=space.columns,
        attributes={
            "equation": "dx_k/dt = x_{k-1} (x_{k+1} - x_{k-2}) - x_k + forcing - effect_k; "
            "dy_i/dt = c b y_{i+1} (y_{i-1} - y_{i+2}) - c y_i + (h c / b) x_{k(i)}, i over all sites' sectors; "
            "effect_k = (h c / b) sum_j y_{kj}; h = coupling, b = amplitude_ratio, c = time_ratio",
            "initial_condition": f"random, then a spin-up of {options.spin_up:g}",
            "method": f"fourth-order Runge-Kutta, step {options.step:g}",
        },
    )


def _warm_up() -> None:
    constants = TwoLevel(forcing=20.0)
    small_scale_effect(
        two_level_trajectory(np.ones(4), np.ones((4, 4)), constants, step=1e-3, frames=1)[1], constants
    )
