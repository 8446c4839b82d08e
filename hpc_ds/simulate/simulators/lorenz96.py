"""The Lorenz-96 system with varied forcing: trajectories on its attractor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.physics.lorenz96 import trajectory
from hpc_ds.runtime.options import checked
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulator import Fields, Parameters, Simulator, Skip
from hpc_ds.store.layout import Boundary, Layout, axis
from hpc_ds.store.layout import Field as Quantity


class Options(BaseModel):
    """Options of ``hpc-ds simulate lorenz96``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sites: int = Field(default=40, ge=4)
    """Values on the ring."""

    step: float = Field(default=0.05, gt=0.0, allow_inf_nan=False)
    """Time step; the customary 0.05 stands for six hours of the atmosphere."""

    every: int = Field(default=1, ge=1)
    """Steps from one stored state to the next."""

    frames: int = Field(default=1001, ge=1)
    """States that are stored."""

    spin_up: float = Field(default=20.0, ge=0.0, allow_inf_nan=False)
    """Time that passes before the first one, from a disturbed constant state to the attractor."""


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
    chosen = checked(Options, options, "lorenz96: ")
    space = ParameterSpace.from_dict({"forcing": {"distribution": "uniform(6, 10)"}})
    return Simulator(
        name="lorenz96",
        space=space,
        layout=_layout(chosen, space),
        simulate=partial(simulate, chosen),
        warm_up=_warm_up,
        options=chosen.model_dump(),
    )


def simulate(options: Options, parameters: Parameters, rng: np.random.Generator) -> Fields:
    """Return the states of a sample.

    Raises
    ------
    Skip
        The step is too long for this forcing.
    """
    forcing = parameters["forcing"]
    states = trajectory(
        forcing + rng.standard_normal(options.sites),
        forcing,
        step=options.step,
        frames=options.frames,
        every=options.every,
        skipped=round(options.spin_up / options.step),
    )
    if not np.isfinite(states[-1]).all():
        raise Skip(
            f"forcing {forcing:g}: the steps of {options.step:g} are too long, the states grow without end"
        )
    return {"x": states}


def _layout(options: Options, space: ParameterSpace) -> Layout:
    last = options.step * options.every * (options.frames - 1)
    return Layout(
        name="lorenz96",
        axes=(axis("site", 0.0, options.sites - 1.0, options.sites),),
        times=axis("time", 0.0, last, options.frames),
        fields=(Quantity("x"),),
        boundaries=(Boundary("PERIODIC", ("site",)),),
        columns=space.columns,
        attributes={
            "equation": "dx_k/dt = x_{k-1} (x_{k+1} - x_{k-2}) - x_k + forcing",
            "initial_condition": "forcing + independent standard normal numbers, then a spin-up of "
            f"{options.spin_up:g}",
            "method": f"fourth-order Runge-Kutta, step {options.step:g}",
        },
    )


def _warm_up() -> None:
    trajectory(np.ones(4), 8.0, step=0.05, frames=1)
