"""What a finished model shows: draws with named axes, derived quantities, data and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hpc_ds.infer.model import Model

Draws = Mapping[str, NDArray[np.float64]]
"""(copies, draws) float64 by the name of a parameter."""

Named = tuple[tuple[str, ...], NDArray]
"""Names of the axes, and the array."""


@dataclass(frozen=True)
class Presentation:
    """Posterior draws as a reader wants them."""

    parameters: Draws
    """Sampled parameters, (copies, draws) each: components in a fixed order, such as by position."""

    derived: Draws = field(default_factory=dict)
    """Quantities computed from them, (copies, draws) each."""

    variables: Mapping[str, Named] = field(default_factory=dict)
    """The posterior group of the file: axes chain, draw, then e.g. peak."""

    groups: Mapping[str, Mapping[str, Named]] = field(default_factory=dict)
    """Further groups of the file: observed_data, constant_data, curves."""

    coords: Mapping[str, NDArray] = field(default_factory=dict)
    """Values along the axes."""

    facts: Mapping[str, float | list[float]] = field(default_factory=dict)
    """Further numbers of the model, for its item in the summary."""


def present(model: Model, draws: Draws) -> Presentation:
    """Return the model's own presentation, or the bare parameters."""
    if model.finish is not None:
        finished = model.finish(dict(draws))
        if not isinstance(finished, Presentation):
            raise TypeError(
                f"model {model.name}: finish returned {type(finished).__name__}, not a Presentation"
            )
        return finished
    return bare(draws)


def bare(draws: Draws) -> Presentation:
    """Return the parameters as they were drawn, and nothing else."""
    return Presentation(
        parameters=draws,
        variables={name: (("chain", "draw"), values) for name, values in draws.items()},
    )
