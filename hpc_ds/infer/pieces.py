"""The part of an ensemble that one rank holds during a phase, and what it sends to rank 0."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.ensemble import Ensemble, new_counts
from hpc_ds.infer.explorers import Record, make_explorer
from hpc_ds.infer.kernels.exchange import Ladder, exchange
from hpc_ds.infer.kernels.moves import Counts
from hpc_ds.infer.model import Model
from hpc_ds.infer.plan import Load, Piece, share
from hpc_ds.infer.settings import Settings
from hpc_ds.runtime.world import World


@dataclass
class Slab:
    """Consecutive scans of one ensemble."""

    energies: NDArray[np.float64]
    """(scans, levels) log-likelihood at each level."""
    draws: NDArray[np.float64]
    """(scans, parameters) at beta = 1."""
    log_prior: NDArray[np.float64]
    """(scans,)"""

    @classmethod
    def join(cls, slabs: Sequence[Slab]) -> Slab:
        """Return slabs one after the other."""
        return cls(
            np.concatenate([slab.energies for slab in slabs]),
            np.concatenate([slab.draws for slab in slabs]),
            np.concatenate([slab.log_prior for slab in slabs]),
        )

    @classmethod
    def assemble(cls, parts: Sequence[Part]) -> Slab:
        """Put together the draws that the holders of an ensemble's replicas made of the same scans."""
        first = parts[0]
        draws = np.zeros((len(first.energies), first.theta.shape[1]))
        log_prior = np.zeros(len(first.energies))
        for part in parts:
            draws[part.scans] = part.draws
            log_prior[part.scans] = part.log_prior
        return cls(first.energies, draws, log_prior)


@dataclass
class Part:
    """What a rank sends of its piece since the last time."""

    e: int
    start: int
    theta: NDArray[np.float64]
    stream: NDArray[np.uint64]
    ladder: Ladder
    counts: Counts
    positions: NDArray[np.float64]
    levels: NDArray[np.int64]
    energies: NDArray[np.float64]
    scans: NDArray[np.int64]
    """Rows of `energies` whose state at beta = 1 was in this piece."""
    draws: NDArray[np.float64]
    log_prior: NDArray[np.float64]
    seconds: float
    """Measured time of one replica's scan."""

    @classmethod
    def join(cls, parts: Sequence[Part]) -> Part:
        """Return the parts of all replicas of an ensemble, in their order, as one."""
        first, slab = parts[0], Slab.assemble(parts)
        timed = [part.seconds for part in parts if part.seconds > 0]
        return cls(
            e=first.e,
            start=first.start,
            theta=np.concatenate([part.theta for part in parts]),
            stream=np.concatenate([part.stream for part in parts]),
            ladder=first.ladder,
            counts=Counts(*(sum(each[1:], each[0]) for each in zip(*(part.counts for part in parts)))),
            positions=np.concatenate([part.positions for part in parts], axis=1)
            if len(first.positions)
            else first.positions,
            levels=first.levels,
            energies=slab.energies,
            scans=np.arange(len(slab.energies)),
            draws=slab.draws,
            log_prior=slab.log_prior,
            seconds=float(np.mean(timed)) if timed else 0.0,
        )

    def without_draws(self) -> Part:
        """Return the state alone, which is small."""
        return replace(
            self,
            energies=self.energies[:0],
            scans=self.scans[:0],
            draws=self.draws[:0],
            log_prior=self.log_prior[:0],
        )

    def into(self, ensemble: Ensemble) -> None:
        """Write states and counts into the ensemble; parts come in the order of their replicas."""
        stop = self.start + len(self.theta)
        ensemble.theta[self.start : stop] = self.theta
        ensemble.stream[self.start : stop] = self.stream
        for total, new in zip(ensemble.counts, self.counts, strict=True):
            total += new
        if self.start == 0:
            ensemble.ladder = self.ladder
            ensemble.levels.extend(self.levels)
            ensemble.positions.extend(np.zeros((len(self.positions), *ensemble.theta.shape)))
        offset = len(ensemble.positions) - len(self.positions)
        for i, position in enumerate(self.positions):
            ensemble.positions[offset + i][self.start : stop] = position


@dataclass
class _Buffer:
    energies: list[NDArray[np.float64]] = field(default_factory=list)
    scans: list[NDArray[np.int64]] = field(default_factory=list)
    draws: list[NDArray[np.float64]] = field(default_factory=list)
    log_prior: list[NDArray[np.float64]] = field(default_factory=list)
    positions: list[NDArray[np.float64]] = field(default_factory=list)
    levels: list[NDArray[np.int64]] = field(default_factory=list)
    length: int = 0
    bytes: int = 0


class LocalPiece:
    """Replicas [start, stop) of an ensemble on this rank, from the start of a phase to its end.

    Attributes
    ----------
    turn : int
        0 or 1: of a rank's two shared ensembles, that of the lower turn exchanges first. Neighbours differ, so that no
        rank waits for more than one other ensemble.
    """

    def __init__(
        self,
        piece: Piece,
        ensemble: Ensemble,
        model: Model,
        settings: Settings,
        world: World | None,
        counts: list[int],
        turn: int = 0,
    ) -> None:
        self.turn = turn
        self._piece = piece
        self._world = world
        self._sizes = counts
        self._tuning = ensemble.tuning
        self._ladder = _copied(ensemble.ladder)
        rows = slice(piece.start, piece.stop)
        self._explorer = make_explorer(
            model, settings.sweeps, settings.moves, ensemble.theta[rows], ensemble.stream[rows]
        )
        self._counts = new_counts(*ensemble.tuning.step.shape)
        self._all = np.zeros(ensemble.replicas)
        self._buffer = _Buffer()
        self._seconds, self._scans = 0.0, 0

    @property
    def is_shared(self) -> bool:
        """Whether other ranks hold replicas of the same ensemble."""
        return self._world is not None

    @property
    def buffered(self) -> int:
        """Bytes waiting to be collected."""
        return self._buffer.bytes

    def run(self, scans: int, measuring: bool, stride: int) -> None:
        """Make `scans` scans of an ensemble that this rank holds alone."""
        started = time.process_time()
        for begun in range(0, scans, stride or scans):
            length = min(stride or scans, scans - begun)
            record = Record.empty(length, self._ladder.beta.size, self._explorer.theta.shape[1])
            self._explorer.run(self._tuning, self._counts, self._ladder, record)
            if measuring:
                self._keep(record, np.arange(length))
            if stride and length == stride:
                self.note_position()
        self._seconds += time.process_time() - started
        self._scans += scans

    def open_record(self, scans: int) -> None:
        """Prepare for `scans` scans in step with the other ranks."""
        self._record = Record.empty(scans, self._ladder.beta.size, self._explorer.theta.shape[1])
        self._own = np.zeros(scans, dtype=bool)

    def explore(self, t: int) -> None:
        """Move the local replicas, and note the state at beta = 1 if it is here."""
        started = time.process_time()
        start, stop = self._piece.start, self._piece.stop
        self._explorer.explore(self._tuning, self._counts, self._ladder.level_of[start:stop])
        top = self._ladder.replica_at[-1] - start
        if 0 <= top < stop - start:
            self._own[t] = True
            self._record.draws[t] = self._explorer.theta[top]
            self._record.log_prior[t] = self._explorer.log_prior(self._record.draws[t])
        self._seconds += time.process_time() - started
        self._scans += 1

    def exchange(self, t: int) -> None:
        """Share all log-likelihoods and exchange: every rank makes the same decisions."""
        assert self._world is not None
        self._world.allgather_floats(self._explorer.log_likelihood, self._sizes, self._all)
        self._record.energies[t] = self._all[self._ladder.replica_at]
        exchange(self._ladder, self._all)

    def close_record(self, measuring: bool) -> None:
        """Keep what was recorded since `open_record`, if it is to be measured."""
        if not measuring:
            return
        own = np.flatnonzero(self._own)
        if self._piece.start > 0:  # the holder of the first replica sends the energies
            self._record.energies = self._record.energies[:, :0]
        self._keep(Record(self._record.energies, self._record.draws[own], self._record.log_prior[own]), own)

    def note_position(self) -> None:
        """Remember where the replicas are, for block moves to learn from."""
        u = self._explorer.coordinates()
        if u is not None:
            self._buffer.positions.append(u)
            self._buffer.levels.append(self._ladder.level_of.copy())
            self._buffer.bytes += u.nbytes

    def collect(self) -> Part:
        """Return states and everything recorded since the last call."""
        buffer, self._buffer = self._buffer, _Buffer()
        counts, self._counts = self._counts, new_counts(*self._tuning.step.shape)
        parameters, levels = self._explorer.theta.shape[1], self._ladder.beta.size
        return Part(
            e=self._piece.ensemble,
            start=self._piece.start,
            theta=self._explorer.theta.copy(),
            stream=self._explorer.stream.copy(),
            ladder=_copied(self._ladder),
            counts=counts,
            positions=np.array(buffer.positions),
            levels=np.array(buffer.levels),
            energies=_joined(buffer.energies, (0, levels)),
            scans=_joined(buffer.scans, (0,)).astype(np.int64),
            draws=_joined(buffer.draws, (0, parameters)),
            log_prior=_joined(buffer.log_prior, (0,)),
            seconds=self._seconds / max(1, self._scans * (self._piece.stop - self._piece.start)),
        )

    def collect_whole(self) -> list[Part]:
        """Bring what was recorded of the ensemble to the holder of its first replica; nothing elsewhere.

        Collective over the holders.
        """
        own = self.collect()
        if self._world is None:
            return [own]
        parts = self._world.gather(own)
        return [] if parts is None else [Part.join(parts)]

    def free(self) -> None:
        """Free the communicator of a shared ensemble."""
        if self._world is not None:
            self._world.free()

    def _keep(self, record: Record, own: NDArray[np.int64]) -> None:
        buffer = self._buffer
        buffer.energies.append(record.energies)
        buffer.draws.append(record.draws)
        buffer.log_prior.append(record.log_prior)
        buffer.scans.append(own + buffer.length)
        buffer.length += len(record.energies)
        buffer.bytes += record.energies.nbytes + record.draws.nbytes + record.log_prior.nbytes


def plan(
    shared: Sequence[Ensemble], models: Sequence[Model], costs: Sequence[float], ranks: int
) -> list[Piece]:
    """Share the replicas of the ensembles among the ranks; `costs` are seconds of one replica's scan."""
    loads = []
    for one, cost in zip(shared, costs, strict=True):
        model = models[one.model]
        loads.append(Load(one.replicas, cost, model.block if model.form == "batched" else 1))
    return share(loads, ranks)


def make_pieces(
    pieces: Sequence[Piece],
    shared: Sequence[Ensemble],
    models: Sequence[Model],
    settings: Settings,
    world: World,
) -> list[LocalPiece]:
    """Build the pieces of this rank, and the communicators of ensembles that several ranks share (collective)."""
    own = {piece.ensemble: piece for piece in pieces if piece.rank == world.rank}
    holders: dict[int, list[Piece]] = {e: [] for e in range(len(shared))}
    for piece in pieces:
        holders[piece.ensemble].append(piece)
    number_of_shared = accumulate(len(holders[e]) > 1 for e in range(len(shared)))
    turns = [number % 2 for number in number_of_shared]
    mine = []
    for e in sorted(own, key=lambda e: (turns[e], e)):
        model, ranks = models[shared[e].model], [holder.rank for holder in holders[e]]
        group = world.split(ranks) if len(ranks) > 1 else None
        sizes = [holder.stop - holder.start for holder in holders[e]]
        mine.append(LocalPiece(own[e], shared[e], model, settings, group, sizes, turns[e]))
    return mine


def _joined(parts: list[NDArray], empty: tuple[int, ...]) -> NDArray:
    return np.concatenate(parts) if parts else np.zeros(empty)


def _copied(ladder: Ladder) -> Ladder:
    return Ladder(**{name: values.copy() for name, values in ladder._asdict().items()})
