"""How many messages and bytes a rank hands to MPI, as functions of sizes: what counting them must give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ALIGNED = 16
"""Numbers to whose multiples each parameter's place in a flat vector of gradients is rounded up."""


@dataclass(frozen=True)
class Phase:
    """A round of tuning, or the draws, as one rank lives through it."""

    scans: int
    segments: int
    """Stretches of scans between two looks at the clock."""
    checkpoints: int
    stopped: int = 0
    """Looks at which a reason to stop was found."""


def infer_calls(phases: Sequence[Phase], pieces: int) -> Counter[str]:
    """Return how often a rank calls what, in a run of `hpc_ds.infer` from its beginning to its end.

    Parameters
    ----------
    phases : sequence of Phase
        Tuning rounds, burn-in and draws.
    pieces : int
        Ensembles of which this rank holds a part, but not all; the same in all phases.

    Notes
    -----
    Up to as many ranks as one scribe serves. With more, `gather` is called once more by scribes.
    """
    calls: Counter[str] = Counter()
    calls.update(bcast=1, allgather=1, gather=1)  # what the folder holds; all begin their share; to rank 0
    for phase in phases:
        calls["bcast"] += 2  # the ensembles; who does what
        calls["Create_group"] += pieces
        calls["Allgatherv"] += pieces * phase.scans
        calls["bcast"] += phase.segments  # how many scans now
        calls["Allreduce"] += 2 * phase.segments - phase.stopped  # stop? save?
        calls["gather"] += (pieces + 2) * phase.checkpoints  # within ladders; draws; states
        calls["Allreduce"] += phase.checkpoints  # did all scribes write?
        calls["bcast"] += phase.checkpoints  # did rank 0?
    calls["bcast"] += 2 * (len(phases) - 1)  # adapt; where in the schedule
    return calls


def exchange_bytes(own: int) -> int:
    """Bytes that a rank with `own` replicas of a ladder hands over at each scan: their log-likelihoods."""
    return 8 * own


def draw_bytes(levels: int, parameters: int) -> int:
    """Bytes that a ladder leaves at each scan: energies of all levels, the state at beta = 1 and its log prior."""
    return 8 * (levels + parameters + 1)


def state_bytes(levels: int, parameters: int, columns: int) -> int:
    """Bytes of a ladder's state: states, random streams, ladder, and two counts for each step size."""
    ladder = 8 * (7 * levels - 2 + 8 + 1)
    return 8 * levels * (parameters + 8) + ladder + 16 * levels * columns


def flat_length(sizes: Sequence[int], tail: int, ranks: int) -> int:
    """Numbers in the flat vector of gradients of parameters of these sizes, shared by so many ranks."""
    length = sum(-(-size // ALIGNED) * ALIGNED for size in sizes) + tail
    return -(-length // ranks) * ranks


def reproducible_calls(steps: int, ranks: int) -> Counter[str]:
    """Return how often a rank calls what in so many steps of the reproducible reduction."""
    return Counter({"Sendrecv": 2 * (ranks.bit_length() - 1) * steps}) if ranks > 1 else Counter()


def reproducible_bytes(length: int, ranks: int, width: int = 4) -> int:
    """Bytes that a rank sends in a step of the reproducible reduction: those of a ring all-reduce."""
    return 2 * width * (length - length // ranks)


def fast_calls(steps: int, ranks: int, buckets: int, tail: int) -> Counter[str]:
    """Return how often a rank calls what in so many steps of the fast reduction."""
    return Counter({"Iallreduce": steps * (buckets + (tail > 0))}) if ranks > 1 else Counter()


def cluster_posts(ranks: int, rank: int) -> int:
    """Messages that a rank posts while a cluster of Dask's is up and nothing goes wrong: the end, and the farewell."""
    return ranks - 1 if rank == 0 else 1
