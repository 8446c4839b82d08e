"""What a simulator is to the engine: a function of parameters and random numbers that says what it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_ds.store.layout import Layout

if TYPE_CHECKING:
    from hpc_ds.simulate.parameters import ParameterSpace

Parameters = Mapping[str, Any]
"""One sample's parameters by name: float, int for integers, str for choices."""

Fields = Mapping[str, Any]
"""One sample's fields by name: arrays of the declared shapes."""

Simulate = Callable[..., Fields]
"""``simulate(parameters, rng)``; an MPI simulator's takes the sub-communicator as a third argument."""

SimulateBlock = Callable[[Sequence[Parameters], Sequence[np.random.Generator]], Sequence[Fields | Exception]]
"""The same for `block` samples at once, which share no arithmetic.

The fields of sample j depend on its own parameters, its own random numbers and j only.
A sample that has no answer gives an exception, such as `Skip`, in its place; one that is raised concerns them all, and
the samples are then computed one by one.
"""


class Retry(Exception):
    """Raised by a simulator: this sample failed for a passing reason (a licence, a network), try it again."""


class Skip(Exception):
    """Raised by a simulator: this sample has no answer; set it aside and go on."""


class Stop(Exception):
    """Raised by a simulator: something is wrong that all samples share; end the run."""


@dataclass(frozen=True, eq=False)
class Simulator:
    """A simulator, ready to run."""

    name: str
    space: ParameterSpace
    """What is varied, unless the user gives another space of the same names."""
    layout: Layout
    simulate: Simulate | None = None
    """One sample at a time. Exactly one of this and `simulate_block` is given."""
    simulate_block: SimulateBlock | None = None
    block: int = 1
    """How many samples `simulate_block` takes, never fewer: indices block*b .. block*b + block - 1."""
    ranks: int = 1
    """MPI ranks that compute one sample together; above 1 `simulate` takes ``(parameters, rng, comm)``."""
    warm_up: Callable[[], object] | None = None
    """Called once in each compute process before its first sample: what is compiled then counts as no sample's time."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its resolved options: resolution, final time, ..."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What else makes its samples what they are, e.g. the sha256 of the user's file; another one is another run."""
