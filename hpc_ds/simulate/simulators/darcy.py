"""Darcy flow through random media: a published training set of neural operators, with varied media."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.physics import darcy
from hpc_ds.physics.random_fields import neumann_eigenvalues, neumann_field
from hpc_ds.runtime.options import checked
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulator import Fields, Parameters, Simulator
from hpc_ds.store.layout import Axis, Boundary, Layout, axis
from hpc_ds.store.layout import Field as Quantity

Array = NDArray[np.float64]

_INVERSE_LENGTH = {"inverse_length": {"distribution": "uniform(2, 5)"}}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "threshold": {"low": 3.0, "high": {"distribution": "uniform(6, 18)"}, **_INVERSE_LENGTH},
    "log-normal": {"median": 1.0, "deviation": {"distribution": "uniform(0.25, 1.25)"}, **_INVERSE_LENGTH},
}


class Options(BaseModel):
    """Options of ``hpc-ds simulate darcy``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    nodes: int = Field(default=85, ge=3, le=4097)
    """Nodes along each side that are stored, those on the boundary included."""

    refinement: int = Field(default=5, ge=1, le=64)
    """Intervals of the solver's grid in one of the stored grid: 5 solves on 421 x 421 nodes for 85 x 85."""

    coefficient: Literal["threshold", "log-normal"] = "threshold"
    """What is made of the Gaussian field: two values `low` and `high` by its sign, or median * exp(field).

    A log-normal coefficient's logarithm has the standard deviation `deviation`, averaged over the square.
    """

    alpha: float = Field(default=2.0, gt=1.0, allow_inf_nan=False)
    """Smoothness of the Gaussian field: its covariance is proportional to (-Laplacian + inverse_length^2)^-alpha."""

    face_mean: Literal["arithmetic", "harmonic"] = "arithmetic"
    """Mean of the coefficients of two nodes for the flow between them."""


def build(options: Mapping[str, Any]) -> Simulator:
    """Return the simulator.

    The published set (Li et al. 2021) has threshold coefficients with the parameters low = 3, high = 12 and
    inverse_length = 3; here `high` and `inverse_length` are varied unless they are fixed to these values.

    Parameters
    ----------
    options : mapping
        Of `Options`.

    Raises
    ------
    InputError
        An option that is unknown or cannot be.
    """
    chosen = checked(Options, options, "darcy: ")
    parameters = _PARAMETERS[chosen.coefficient]
    space = ParameterSpace.from_dict(parameters, [f"{name} > 0" for name in parameters])
    return Simulator(
        name="darcy",
        space=space,
        layout=_layout(chosen, space),
        simulate=partial(simulate, chosen),
        warm_up=_warm_up,
        options=chosen.model_dump(),
    )


def simulate(options: Options, parameters: Parameters, rng: np.random.Generator) -> Fields:
    """Return the coefficient and the pressure of a sample.

    Raises
    ------
    ValueError
        Parameters without a meaning: a coefficient or an inverse length that is not positive.
    """
    coefficient = _COEFFICIENTS[options.coefficient](options, parameters, rng)
    pressure = darcy.pressure(coefficient, mean=options.face_mean)
    stored = slice(None, None, options.refinement)
    return {"coefficient": coefficient[stored, stored], "pressure": pressure[stored, stored]}


def _threshold(options: Options, parameters: Parameters, rng: np.random.Generator) -> Array:
    field = neumann_field(
        rng, _shape(options), 1.0, parameters["inverse_length"], options.alpha, zero_mean=True
    )
    return darcy.threshold_coefficient(field, parameters["low"], parameters["high"])


def _log_normal(options: Options, parameters: Parameters, rng: np.random.Generator) -> Array:
    shape, tau = _shape(options), parameters["inverse_length"]
    field = neumann_field(rng, shape, 1.0, tau, options.alpha, zero_mean=True)
    variance = neumann_eigenvalues(shape, 1.0, tau, options.alpha, zero_mean=True).sum()
    return darcy.log_normal_coefficient(
        field * (parameters["deviation"] / np.sqrt(variance)), parameters["median"]
    )


_COEFFICIENTS = {"threshold": _threshold, "log-normal": _log_normal}


def _shape(options: Options) -> tuple[int, int]:
    nodes = (options.nodes - 1) * options.refinement + 1
    return nodes, nodes


def _layout(options: Options, space: ParameterSpace) -> Layout:
    return Layout(
        name="darcy",
        axes=(axis("x", 0.0, 1.0, options.nodes), axis("y", 0.0, 1.0, options.nodes)),
        times=Axis("time", np.zeros(1)),
        fields=(Quantity("coefficient", time_varying=False), Quantity("pressure", time_varying=False)),
        boundaries=(Boundary("WALL", ("x", "y")),),
        columns=space.columns,
        attributes={
            "equation": "-div(coefficient grad(pressure)) = 1, pressure = 0 on the boundary",
            "medium": f"{options.coefficient} of a Gaussian field with covariance proportional to "
            f"(-Laplacian + inverse_length^2)^-{options.alpha:g}, Neumann, no mean",
            "method": f"second-order differences in flux form, {options.face_mean} means, "
            f"{_shape(options)[0]} nodes along each side",
        },
    )


def _warm_up() -> None:
    darcy.pressure(np.ones((5, 5)))
