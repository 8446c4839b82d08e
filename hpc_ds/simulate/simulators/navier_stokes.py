"""Forced flow on a torus: a published training set of neural operators, with varied viscosity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.physics import navier_stokes
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

_ADVECTION = 1.28  # longest step by default, times points: stable for velocities up to 1


class Options(BaseModel):
    """Options of ``hpc-ds simulate navier-stokes``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    resolution: int = 64
    """Points along each side that are stored, a power of two."""

    solver_resolution: int | None = None
    """Points along each side that the equation is solved on, a power of two, not fewer; as many by default."""

    final_time: float = Field(default=10.0, gt=0.0, allow_inf_nan=False)
    """Time of the last stored field; the first is the initial one."""

    times: int = Field(default=11, ge=2)
    """Fields that are stored, evenly spaced in time."""

    step: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Longest time step; 1.28 / solver_resolution by default (0.02 on 64 points)."""

    forcing: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    """Amplitude of the forcing, times sin 2 pi (x + y) + cos 2 pi (x + y)."""

    sigma: float = Field(default=7.0**1.5, gt=0.0, allow_inf_nan=False)
    """Of the initial vorticity's covariance sigma^2 (-Laplacian + tau^2)^-alpha. 7^(3/2) is that of the code that made
    the published data; their paper prints 7^(3/4), with which the forcing soon makes all samples alike."""

    tau: float = Field(default=7.0, gt=0.0, allow_inf_nan=False)
    """Inverse length of the initial vorticity."""

    alpha: float = Field(default=2.5, gt=1.0, allow_inf_nan=False)
    """Smoothness of the initial vorticity."""

    velocity: bool = False
    """Store the velocity, too."""


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
    chosen = _completed(checked(Options, options, "navier-stokes: "))
    assert chosen.solver_resolution is not None
    check_grids("navier-stokes", chosen.resolution, chosen.solver_resolution)
    space = ParameterSpace.from_dict({"viscosity": {"distribution": "log_uniform(3e-4, 3e-3)"}})
    return Simulator(
        name="navier-stokes",
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
    """Return the fields of samples, under options without a None.

    A sample whose vortices the solver's grid does not resolve gives a `Skip`.
    """
    n, step = options.solver_resolution, options.step
    assert n is not None and step is not None
    initial = [_initial(options, (n, n), rng) for rng in streams]
    viscosity = [float(one["viscosity"]) for one in parameters]
    forcing = navier_stokes.standard_forcing(n, options.forcing)
    fields = navier_stokes.solve(initial, viscosity, _times(options).coordinates, step, forcing)
    return [
        _stored(sample, n // options.resolution, options.velocity)
        if is_resolved(sample[1:])
        else Skip(
            f"viscosity {nu:g} is too small for {n} x {n} points and steps of {step:g}: "
            "raise solver_resolution, shorten step"
        )
        for sample, nu in zip(fields, viscosity)
    ]


def _completed(options: Options) -> Options:
    """Return the options with what is chosen by default in place of None."""
    n = options.resolution if options.solver_resolution is None else options.solver_resolution
    step = _ADVECTION / max(n, 1) if options.step is None else options.step
    return options.model_copy(update={"solver_resolution": n, "step": step})


def _stored(vorticity: Array, every: int, velocity: bool) -> Fields:
    """Return the fields of a sample at each so many points of the solver's grid."""
    fields = {"vorticity": vorticity[:, ::every, ::every]}
    if velocity:
        fields["velocity"] = navier_stokes.velocity(vorticity)[:, ::every, ::every]
    return fields


def _initial(options: Options, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return a random field without modes that the solver would take off."""
    sigma, tau, alpha = options.sigma, options.tau, options.alpha
    return periodic_field(rng, shape, sigma, tau, alpha, zero_mean=True, cutoff=highest_mode(shape[0]))


def _layout(options: Options, space: ParameterSpace) -> Layout:
    n = options.resolution
    velocity = (Quantity("velocity", rank=1),) if options.velocity else ()
    return Layout(
        name="navier_stokes",
        axes=(axis("x", 0.0, 1.0, n, endpoint=False), axis("y", 0.0, 1.0, n, endpoint=False)),
        times=_times(options),
        fields=(Quantity("vorticity"), *velocity),
        boundaries=(Boundary("PERIODIC", ("x",)), Boundary("PERIODIC", ("y",))),
        columns=space.columns,
        attributes={
            "equation": "w_t + u w_x + v w_y = viscosity (w_xx + w_yy) + f; u = psi_y, v = -psi_x, -Laplacian psi = w",
            "forcing": f"f = {options.forcing:g} (sin 2 pi (x + y) + cos 2 pi (x + y))",
            "initial_condition": "Gaussian, covariance sigma^2 (-Laplacian + tau^2)^-alpha, no mean, "
            f"sigma {options.sigma:g}, tau {options.tau:g}, alpha {options.alpha:g}",
            "method": f"pseudo-spectral, 2/3 rule, ETDRK4, {options.solver_resolution}^2 points, step {options.step:g}",
        },
    )


def _times(options: Options) -> Axis:
    return axis("time", 0.0, options.final_time, options.times)


def _warm_up() -> None:
    navier_stokes.solve(np.zeros((1, 8, 8)), [1.0], [1e-3], 1e-3)
