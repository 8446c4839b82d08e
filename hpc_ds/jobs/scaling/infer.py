"""The model of replica exchange: ladders over ranks, an exchange a scan, draws and states on their way to the disk."""

from __future__ import annotations

from math import ceil, log, sqrt

from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.infer.plan import Load, Piece, share
from hpc_ds.jobs.scaling.counts import draw_bytes, state_bytes
from hpc_ds.jobs.scaling.networks import Network
from hpc_ds.jobs.scaling.prediction import Prediction

SEGMENT = 0.25
"""Seconds between looks at the clock, as in `hpc_ds.infer.sampler`."""

SCRIBE = 64
"""Ranks that one scribe serves, as in `hpc_ds.infer.sampler`."""

BEGIN, ADAPT, UNPICKLE, PLACE = 6.8e-3, 2.5e-4, 6.0e-5, 3.1e-6
"""Seconds of rank 0 for a ladder to begin and to adapt, for its state to be taken, and for a piece to be placed:
measured (benchmarks/scaling.py root)."""

PICKLE, DISK = 1.0e9, 2.0e8
"""Bytes a second that a scribe packs and unpacks, and that it writes to the file system: assumed."""

ROUNDS = 8
"""Rounds of tuning and draws of a run with a few thousand scans of tuning."""


class Sizes(BaseModel):
    """A run of `hpc-ds infer`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ladders: int = Field(default=4000, ge=1)
    """Models times copies."""

    levels: int = Field(default=24, ge=2)
    """Temperatures of a ladder."""

    parameters: int = Field(default=10, ge=1)
    """Parameters of a model."""

    unit: float = Field(default=1e-3, gt=0)
    """Seconds of one replica's scan; --measure times one on the published spectrum, which is cheap."""

    scans: int = Field(default=100_000, ge=1)
    """Scans of a ladder, tuning included."""

    checkpoint_every: float = Field(default=60.0, gt=0)
    """Seconds between snapshots."""

    noise: float = Field(default=0.05, ge=0)
    """Spread of the time of one replica's scan, by its mean: assumed. Ranks of other speed are not in the model."""


def predict(sizes: Sizes, network: Network, ranks: int) -> Prediction:
    """Return where the time of a run goes with the exchange within ladders and scribes for the draws."""
    total = sizes.ladders * sizes.levels * sizes.unit * sizes.scans
    held, holders, shared = _layout(sizes, ranks)
    busy = held * sizes.unit
    exchange = shared * network.all_gather(holders, 8 * sizes.levels) if holders > 1 else 0.0
    wait = busy * sizes.noise / sqrt(held) * _slowest(holders)
    seconds = sizes.scans * (busy + exchange + wait)
    losses = {
        "replicas do not divide among the ranks": total * (held / (sizes.ladders * sizes.levels) - 1 / ranks),
        "the exchange within ladders": sizes.scans * exchange,
        "waiting for the slowest rank of a ladder": sizes.scans * wait,
        "looks at the clock by all ranks": _looks(sizes, network, ranks, seconds, held),
        "draws to the disk": _draws(sizes, network, min(SCRIBE, ranks), ceil(ranks / SCRIBE)),
        "states to rank 0": _states(sizes, network, ceil(ranks / SCRIBE), seconds),
        "tuning on rank 0": _tuning(sizes, network, ranks, ranks),
    }
    return Prediction(ranks, total, total / ranks, losses)


def predict_plain(sizes: Sizes, network: Network, ranks: int) -> Prediction:
    """Return the same for one Allgather of all energies among all ranks a scan, and rank 0 as the only writer."""
    total = sizes.ladders * sizes.levels * sizes.unit * sizes.scans
    held = ceil(sizes.ladders * sizes.levels / ranks)
    busy = held * sizes.unit
    exchange = network.all_gather(ranks, 8 * sizes.ladders * sizes.levels) if ranks > 1 else 0.0
    wait = busy * sizes.noise / sqrt(held) * _slowest(ranks)
    seconds = sizes.scans * (busy + exchange + wait)
    losses = {
        "replicas do not divide among the ranks": sizes.scans * busy - total / ranks,
        "the exchange of all energies": sizes.scans * exchange,
        "waiting for the slowest rank": sizes.scans * wait,
        "draws to the disk": _draws(sizes, network, ranks, 1),
        "states to rank 0": _states(sizes, network, ranks, seconds),
        "tuning on rank 0": _tuning(sizes, network, ranks, 1),
    }
    return Prediction(ranks, total, total / ranks, losses)


def _layout(sizes: Sizes, ranks: int) -> tuple[int, int, int]:
    """Return the replicas of the busiest rank, the ranks of the widest ladder, and the shared ladders of a rank."""
    pieces = share([Load(sizes.levels, 1.0)] * sizes.ladders, ranks)
    on_rank: dict[int, list[Piece]] = {}
    on_ladder: dict[int, int] = {}
    for piece in pieces:
        on_rank.setdefault(piece.rank, []).append(piece)
        on_ladder[piece.ensemble] = on_ladder.get(piece.ensemble, 0) + 1
    held = max(sum(piece.stop - piece.start for piece in mine) for mine in on_rank.values())
    shared = max(sum(on_ladder[piece.ensemble] > 1 for piece in mine) for mine in on_rank.values())
    return held, max(on_ladder.values()), shared


def _slowest(ranks: int) -> float:
    """Expected largest of so many normal deviates, about."""
    return sqrt(2 * log(ranks)) if ranks > 1 else 0.0


def _looks(sizes: Sizes, network: Network, ranks: int, seconds: float, held: int) -> float:
    if ranks == 1:
        return 0.0
    calls = 2 * network.all_reduce(ranks, 4) + network.broadcast(ranks, 8)
    segment = max(SEGMENT, held * sizes.unit)
    wait = segment * sizes.noise / sqrt(segment / sizes.unit) * _slowest(ranks)
    return seconds / segment * (calls + wait)


def _draws(sizes: Sizes, network: Network, near: int, scribes: int) -> float:
    size = sizes.scans * sizes.ladders * draw_bytes(sizes.levels, sizes.parameters) / scribes
    carried = size * (1 / network.link_bandwidth + 1 / PICKLE) if near > 1 else 0.0
    return carried + size / DISK


def _states(sizes: Sizes, network: Network, messages: int, seconds: float) -> float:
    size = sizes.ladders * state_bytes(sizes.levels, sizes.parameters, sizes.parameters)
    once = network.gather(messages, size) + sizes.ladders * UNPICKLE + size / DISK
    return seconds / sizes.checkpoint_every * once


def _tuning(sizes: Sizes, network: Network, ranks: int, begins: int) -> float:
    size = sizes.ladders * state_bytes(sizes.levels, sizes.parameters, sizes.parameters)
    places = PLACE * (ranks + sizes.ladders)
    each = sizes.ladders * (ADAPT + UNPICKLE) + network.broadcast(ranks, size) + places
    begin = ceil(sizes.ladders / begins) * BEGIN + sizes.ladders * UNPICKLE * (begins > 1)
    return begin + ROUNDS * each
