"""Who does what: share the replicas of all ensembles among the ranks by their cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace

_SPLIT_PENALTY = 1.05  # an ensemble on several ranks exchanges through MPI at every scan


@dataclass(frozen=True)
class Piece:
    """Replicas [start, stop) of an ensemble, held by one rank."""

    ensemble: int
    rank: int
    start: int
    stop: int


@dataclass(frozen=True)
class Load:
    """An ensemble to be placed."""

    replicas: int
    cost: float
    """Time of one replica's scan, in any unit."""
    block: int = 1
    """Replicas that must stay together, beginning at a multiple of it."""


def share(loads: Sequence[Load], ranks: int) -> list[Piece]:
    """Share ensembles among ranks.

    Either every ensemble stays whole (longest first, each to the least loaded rank), or all are laid end to end and cut
    into stretches of equal cost: whichever finishes first. The result never influences what is computed, only where.

    Returns
    -------
    list of Piece
        Ordered by ensemble, then by replica. Ranks without a piece idle.
    """
    whole = _whole(loads, ranks)
    if ranks == 1:
        return whole
    cut = _cut(loads, ranks)
    return whole if _finish(whole, loads) <= _SPLIT_PENALTY * _finish(cut, loads) else cut


def _whole(loads: Sequence[Load], ranks: int) -> list[Piece]:
    free = [(0.0, rank) for rank in range(ranks)]  # a heap: the least loaded rank first
    place = {}
    for e in sorted(range(len(loads)), key=lambda e: (-loads[e].cost * loads[e].replicas, e)):
        busy, rank = free[0]
        heapreplace(free, (busy + loads[e].cost * loads[e].replicas, rank))
        place[e] = rank
    return [Piece(e, place[e], 0, load.replicas) for e, load in enumerate(loads)]


def _cut(loads: Sequence[Load], ranks: int) -> list[Piece]:
    """Give each block, in order, to the rank in whose equal share of the total cost its middle lies."""
    total = sum(load.replicas * load.cost for load in loads)
    pieces: list[Piece] = []
    done = 0.0
    for e, load in enumerate(loads):
        for start in range(0, load.replicas, load.block):
            stop = min(start + load.block, load.replicas)
            middle = done + 0.5 * (stop - start) * load.cost
            rank = min(ranks - 1, int(ranks * middle / total))
            done += (stop - start) * load.cost
            last = pieces[-1] if pieces else None
            if last is not None and last.ensemble == e and last.rank == rank:
                pieces[-1] = Piece(e, rank, last.start, stop)
            else:
                pieces.append(Piece(e, rank, start, stop))
    return pieces


def _finish(pieces: Sequence[Piece], loads: Sequence[Load]) -> float:
    busy: dict[int, float] = {}
    for piece in pieces:
        busy[piece.rank] = busy.get(piece.rank, 0.0) + loads[piece.ensemble].cost * (piece.stop - piece.start)
    return max(busy.values())
