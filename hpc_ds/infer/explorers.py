"""Explorers: the replicas that a rank holds of one ensemble, and how they move at their temperatures.

There is one for each form of a model. All of them hold a fixed range of replicas, own one random stream for each,
and do the same arithmetic whatever other replicas the rank has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.callback import compile_likelihood, raising
from hpc_ds.infer.kernels import components, exchange, generic, moves
from hpc_ds.infer.kernels.exchange import Ladder
from hpc_ds.infer.kernels.moves import Counts, Tuning
from hpc_ds.infer.model import Model
from hpc_ds.runtime.errors import InputError

GENERIC_MOVES = {"metropolis": generic.METROPOLIS, "slice": generic.SLICE, "block": generic.BLOCK_MOVE}
COMPONENT_MOVES = {
    "metropolis": moves.METROPOLIS,
    "conditional": moves.CONDITIONAL,
    "slice": moves.SLICE,
    "peak": moves.PEAK,
    "relocate": moves.RELOCATE,
    "permute": moves.PERMUTE,
    "rebirth": moves.REBIRTH,
}
_COMPONENT_SCHEDULE = ("conditional", "metropolis", "permute")
_UNKNOWN_NOISE = ("peak", "rebirth")  # beside them: peaks and noise condense together at some temperature


@dataclass
class Record:
    """What a piece of a run leaves behind: one row a scan."""

    energies: NDArray[np.float64]
    """(scans, levels) log-likelihood at each level before the exchange."""
    draws: NDArray[np.float64]
    """(scans, parameters) state at beta = 1."""
    log_prior: NDArray[np.float64]
    """(scans,) its log prior density."""

    @classmethod
    def empty(cls, scans: int, levels: int, parameters: int) -> Record:
        """Return a record of zeros."""
        return cls(np.zeros((scans, levels)), np.zeros((scans, parameters)), np.zeros(scans))


class Explorer(ABC):
    """Replicas of one ensemble on this rank.

    Attributes
    ----------
    theta : (replicas, parameters) float64
    stream : (replicas, 8) uint64
        These two define the state: an explorer made from them goes on bit for bit.
    log_likelihood : (replicas,) float64
    """

    theta: NDArray[np.float64]
    stream: NDArray[np.uint64]
    log_likelihood: NDArray[np.float64]

    def __init__(self, model: Model, sweeps: int, schedule: tuple[str, ...]) -> None:
        self.model = model
        self.sweeps = sweeps
        self.schedule = encode_moves(model, schedule)

    @abstractmethod
    def explore(self, tuning: Tuning, counts: Counts, levels: NDArray[np.int64]) -> None:
        """Move each replica at its level (replicas,); at level 0 draw it afresh from the prior."""

    @abstractmethod
    def log_prior(self, theta: NDArray[np.float64]) -> float:
        """Log prior density of one state (parameters,), without the constant of ordered groups."""

    def run(self, tuning: Tuning, counts: Counts, ladder: Ladder, record: Record) -> None:
        """Make a scan for each row of `record`, this rank holding all replicas of the ladder."""
        for t in range(len(record.energies)):
            self.explore(tuning, counts, ladder.level_of)
            record.energies[t] = self.log_likelihood[ladder.replica_at]
            record.draws[t] = self.theta[ladder.replica_at[-1]]
            record.log_prior[t] = self.log_prior(record.draws[t])
            exchange.exchange(ladder, self.log_likelihood)

    def coordinates(self) -> NDArray[np.float64] | None:
        """Sampling coordinates (replicas, parameters) if block moves learn from them, else None."""
        return None


class ComponentsExplorer(Explorer):
    """Sums of components: see `hpc_ds.infer.kernels.components`."""

    def __init__(
        self,
        model: Model,
        sweeps: int,
        schedule: tuple[str, ...],
        theta: NDArray[np.float64],
        stream: NDArray[np.uint64],
    ) -> None:
        super().__init__(model, sweeps, schedule)
        assert model.problem is not None
        self._problem = model.problem
        self._state = components.new_state(model.problem, theta, stream)
        self.theta, self.stream = self._state.theta, self._state.stream
        self.log_likelihood = self._state.log_likelihood

    def explore(self, tuning: Tuning, counts: Counts, levels: NDArray[np.int64]) -> None:
        """Move the local replicas: see `Explorer.explore`."""
        exchange.explore(self._problem, self._state, self.schedule, tuning, counts, levels, self.sweeps)

    def run(self, tuning: Tuning, counts: Counts, ladder: Ladder, record: Record) -> None:
        """Make whole scans in compiled code: see `Explorer.run`."""
        exchange.run(
            self._problem,
            self._state,
            self.schedule,
            tuning,
            counts,
            ladder,
            self.sweeps,
            record.energies,
            record.draws,
            record.log_prior,
        )

    def log_prior(self, theta: NDArray[np.float64]) -> float:
        """Log prior density of one state: see `Explorer.log_prior`."""
        return float(components.log_prior(self._problem, theta))


class _GenericExplorer(Explorer):
    """What explorers of any log-likelihood share."""

    def __init__(
        self,
        model: Model,
        sweeps: int,
        schedule: tuple[str, ...],
        theta: NDArray[np.float64],
        stream: NDArray[np.uint64],
    ) -> None:
        super().__init__(model, sweeps, schedule)
        self._priors = priors_of(model)
        self._rows = generic.Rows(
            theta=np.array(theta, dtype=np.float64),
            stream=np.array(stream, dtype=np.uint64),
            log_likelihood=np.zeros(len(theta)),
            trial=np.array(theta, dtype=np.float64),
            noise=np.zeros(theta.shape[1]),
            interval=np.zeros((len(theta), 2)),
        )
        self.theta, self.stream = self._rows.theta, self._rows.stream
        self.log_likelihood = self._rows.log_likelihood

    def log_prior(self, theta: NDArray[np.float64]) -> float:
        """Log prior density of one state: see `Explorer.log_prior`."""
        return float(generic.log_prior(self._priors, theta))

    def coordinates(self) -> NDArray[np.float64] | None:
        """Sampling coordinates, if block moves learn from them."""
        if generic.BLOCK_MOVE not in self.schedule:
            return None
        u = np.empty_like(self.theta)
        generic.all_coordinates(self._priors, self.theta, u)
        return u


class CompiledExplorer(_GenericExplorer):
    """A log-likelihood that numba compiles; whole scans run without Python."""

    def __init__(
        self,
        model: Model,
        sweeps: int,
        schedule: tuple[str, ...],
        theta: NDArray[np.float64],
        stream: NDArray[np.uint64],
    ) -> None:
        super().__init__(model, sweeps, schedule, theta, stream)
        self._function = compile_likelihood(model)
        data = np.zeros((0, 0)) if model.data is None else model.data
        self._data = np.ascontiguousarray(data, dtype=np.float64)
        with raising(model):
            generic.evaluate(self._function, self._data, self._rows)

    def explore(self, tuning: Tuning, counts: Counts, levels: NDArray[np.int64]) -> None:
        """Move the local replicas: see `Explorer.explore`."""
        with raising(self.model):
            generic.explore(
                self._function,
                self._data,
                self._priors,
                self._rows,
                self.schedule,
                tuning,
                counts,
                levels,
                self.sweeps,
            )
        _check_numbers(self.model, self.log_likelihood, levels == 0)

    def run(self, tuning: Tuning, counts: Counts, ladder: Ladder, record: Record) -> None:
        """Make whole scans in compiled code: see `Explorer.run`."""
        with raising(self.model):
            generic.run(
                self._function,
                self._data,
                self._priors,
                self._rows,
                self.schedule,
                tuning,
                counts,
                ladder,
                self.sweeps,
                record.energies,
                record.draws,
                record.log_prior,
            )
        _check_numbers(self.model, record.energies[:, 0], np.ones(len(record.energies), dtype=bool))


class BatchedExplorer(_GenericExplorer):
    """A log-likelihood in NumPy, torch or plain Python: all replicas of a block are proposed, then evaluated at once.

    A block is a fixed range of replicas, filled up to `model.block` rows, so that vectorised arithmetic is the same on
    any number of ranks. Form ``"python"`` is called row by row, and only where the answer is needed.
    """

    def __init__(
        self,
        model: Model,
        sweeps: int,
        schedule: tuple[str, ...],
        theta: NDArray[np.float64],
        stream: NDArray[np.uint64],
    ) -> None:
        super().__init__(model, sweeps, schedule, theta, stream)
        replicas = len(theta)
        self._new = np.zeros(replicas)
        self._changes = np.zeros(replicas)
        self._heights = np.zeros(replicas)
        self._batch = np.zeros((model.block, theta.shape[1]))
        self.log_likelihood[:] = self._evaluate(np.ones(replicas, dtype=bool))

    def explore(self, tuning: Tuning, counts: Counts, levels: NDArray[np.int64]) -> None:
        """Move the local replicas: see `Explorer.explore`."""
        if generic.draw_rows(self._priors, self._rows, levels):
            at_prior = levels == 0
            self.log_likelihood[at_prior] = self._evaluate(at_prior)[at_prior]
        for _ in range(self.sweeps):
            for move in self.schedule:
                if move == generic.BLOCK_MOVE:
                    self._step(tuning, counts, levels, move, self.theta.shape[1])
                    continue
                for j in self.model.free:
                    self._step(tuning, counts, levels, move, j)

    def _step(
        self, tuning: Tuning, counts: Counts, levels: NDArray[np.int64], move: int, column: int
    ) -> None:
        active = levels > 0
        slicing = move == generic.SLICE
        if slicing:
            generic.start_slices(self._rows, tuning, column, levels, self._heights)
        while active.any():
            generic.propose_rows(
                self._priors, self._rows, tuning, move, column, levels, active, self._changes
            )
            new = self._evaluate(active & (self._changes > -np.inf))
            if not slicing:
                generic.decide_rows(self._rows, tuning, counts, column, levels, active, self._changes, new)
                return
            generic.decide_slices(
                self._rows, tuning, counts, column, levels, active, self._changes, new, self._heights
            )

    def _evaluate(self, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Log-likelihoods of the trials, valid where `wanted`."""
        function, trial, data = self.model.log_likelihood, self._rows.trial, self.model.data
        assert function is not None
        if self.model.form == "python":
            for r in np.flatnonzero(wanted):
                self._new[r] = _number(self.model, function(trial[r].copy(), data))
            return self._new
        for start in range(0, len(trial), self.model.block):
            rows = trial[start : start + self.model.block]
            if not wanted[start : start + len(rows)].any():
                continue
            self._batch[:] = rows[-1]
            self._batch[: len(rows)] = rows
            values = np.asarray(function(self._batch.copy(), data), dtype=np.float64)
            if values.shape != (self.model.block,):
                raise ValueError(
                    f"model {self.model.name}: log_likelihood returned shape {values.shape} for theta of shape"
                    f" {self._batch.shape}; ({self.model.block},) is needed"
                )
            self._new[start : start + len(rows)] = values[: len(rows)]
        _check_numbers(self.model, self._new, wanted)
        return self._new


def make_explorer(
    model: Model,
    sweeps: int,
    schedule: tuple[str, ...],
    theta: NDArray[np.float64],
    stream: NDArray[np.uint64],
) -> Explorer:
    """Return the explorer for the model's form with replicas at `theta` (replicas, parameters)."""
    kinds: dict[str, Any] = {"components": ComponentsExplorer, "compiled": CompiledExplorer}
    return kinds.get(model.form, BatchedExplorer)(model, sweeps, schedule, theta, stream)


def known_moves(model: Model) -> dict[str, int]:
    """Return the moves that this form of model has, with their codes."""
    return COMPONENT_MOVES if model.form == "components" else GENERIC_MOVES


def encode_moves(model: Model, schedule: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the codes of the named moves; an empty schedule means the default of the model's form."""
    known = known_moves(model)
    names = schedule or default_moves(model)
    for name in names:
        if name not in known:
            raise InputError(
                f"--move: '{name}' is no move of model {model.name}; known are {', '.join(known)}"
            )
    return np.array([known[name] for name in names], dtype=np.int64)


def default_moves(model: Model) -> tuple[str, ...]:
    """Return the names of the moves of a sweep that suit the form of the model."""
    if model.problem is None:
        return ("metropolis", "block")
    known = model.problem.likelihood == components.KNOWN
    return _COMPONENT_SCHEDULE if known else _COMPONENT_SCHEDULE + _UNKNOWN_NOISE


def columns_of(model: Model) -> int:
    """Return how many step sizes a level has: one a parameter, and those of moves of several parameters."""
    return len(model.parameters) + (moves.EXTRA_COLUMNS if model.form == "components" else 1)


def priors_of(model: Model) -> generic.Priors:
    """Return the model's priors for compiled moves."""
    return generic.Priors(*model.encoded(), *model.neighbours())


def _number(model: Model, value: Any) -> float:
    number = float(value)
    if number != number:
        raise ValueError(
            f"model {model.name}: log_likelihood returned NaN; return minus infinity for the impossible"
        )
    return number


def _check_numbers(model: Model, values: NDArray[np.float64], wanted: NDArray[np.bool_]) -> None:
    if np.isnan(values[wanted]).any():
        raise ValueError(
            f"model {model.name}: log_likelihood returned NaN; return minus infinity for the impossible"
        )
