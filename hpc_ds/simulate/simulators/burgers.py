"""Burgers' equation from random fields: a published training set of neural operators, with varied viscosity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.physics import burgers
from hpc_ds.physics.random_fields import periodic_field
from hpc_ds.physics.spectral import highest_mode, is_resolved
from hpc_ds.runtime.options import checked
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulator import Fields, Parameters, Simulator, Skip
from hpc_ds.simulate.simulators.grids import check_grids
from hpc_ds.store.layout import Axis, Boundary, Layout, axis
from hpc_ds.store.layout import Field as Quantity

Array = NDArray[np.float64]

BLOCK = 8
"""Samples that are computed side by side."""


class Options(BaseModel):
    """Options of ``hpc-ds simulate burgers``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    resolution: int = 256
    """Points that are stored, a power of two."""

    solver_resolution: int = 1024
    """Points that the equation is solved on, a power of two, not fewer."""

    final_time: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """Time of the last stored field; the first is the initial one."""

    times: int = Field(default=11, ge=2)
    """Fields that are stored, evenly spaced in time."""

    step: float = Field(default=1e-3, gt=0.0, allow_inf_nan=False)
    """Longest time step."""

    sigma: float = Field(default=25.0, gt=0.0, allow_inf_nan=False)
    """Of the initial field's covariance sigma^2 (-Laplacian + tau^2)^-alpha."""

    tau: float = Field(default=5.0, gt=0.0, allow_inf_nan=False)
    """Inverse length of the initial field."""

    alpha: float = Field(default=2.0, gt=0.5, allow_inf_nan=False)
    """Smoothness of the initial field."""


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
    chosen = checked(Options, options, "burgers: ")
    check_grids("burgers", chosen.resolution, chosen.solver_resolution)
    space = ParameterSpace.from_dict({"viscosity": {"distribution": "log_uniform(1e-2, 1)"}})
    return Simulator(
        name="burgers",
        space=space,
        layout=_layout(chosen, space),
        simulate_block=partial(simulate, chosen),
        block=BLOCK,
        warm_up=_warm_up,
        options=chosen.model_dump(),
    )


def simulate(
    options: Options, parameters: Sequence[Parameters], streams: Sequence[np.random.Generator]
) -> list[Fields | Exception]:
    """Return the fields of samples.

    A sample whose shocks the solver's grid does not resolve gives a `Skip`.
    """
    n, step = options.solver_resolution, options.step
    initial = [_initial(options, (n,), rng) for rng in streams]
    viscosity = [float(one["viscosity"]) for one in parameters]
    moments = _times(options).coordinates
    fields = burgers.solve(initial, viscosity, moments, step)
    return [
        {"u": sample[:, :: n // options.resolution]}
        if is_resolved(sample[1:])
        else Skip(
            f"viscosity {nu:g} is too small for {n} points and steps of {step:g}: "
            "raise solver_resolution, shorten step"
        )
        for sample, nu in zip(fields, viscosity)
    ]


def _initial(options: Options, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return a random field without modes that the solver would take off."""
    sigma, tau, alpha = options.sigma, options.tau, options.alpha
    return periodic_field(rng, shape, sigma, tau, alpha, zero_mean=True, cutoff=highest_mode(shape[0]))


def _layout(options: Options, space: ParameterSpace) -> Layout:
    return Layout(
        name="burgers",
        axes=(axis("x", 0.0, 1.0, options.resolution, endpoint=False),),
        times=_times(options),
        fields=(Quantity("u"),),
        boundaries=(Boundary("PERIODIC", ("x",)),),
        columns=space.columns,
        attributes={
            "equation": "u_t + (u^2 / 2)_x = viscosity u_xx",
            "initial_condition": "Gaussian, covariance sigma^2 (-Laplacian + tau^2)^-alpha, no mean, "
            f"sigma {options.sigma:g}, tau {options.tau:g}, alpha {options.alpha:g}",
            "method": f"pseudo-spectral, 2/3 rule, ETDRK4, {options.solver_resolution} points, step {options.step:g}",
        },
    )


def _times(options: Options) -> Axis:
    return axis("time", 0.0, options.final_time, options.times)


def _warm_up() -> None:
    burgers.solve(np.zeros((1, 8)), [1.0], [1e-3], 1e-3)
