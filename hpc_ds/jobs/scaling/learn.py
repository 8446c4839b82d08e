"""The model of training: a batch over ranks, one sum of gradients a step."""

from __future__ import annotations

from math import ceil, log, sqrt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.jobs.scaling.networks import Network
from hpc_ds.jobs.scaling.prediction import Prediction

WIDTH = 4
"""Bytes of a gradient in single precision."""

BUCKETS = 8
"""All-reduces under way at a time in the fast reduction, as in `hpc_ds.learn.buckets`."""

HIDDEN = 0.6
"""Share of a step's computing beside which the fast reduction's messages go: the backward pass, assumed."""

SAFE_POINT = 0.2
"""Seconds between safe points, as in `hpc_ds.learn.pace`."""

UPDATE = 5.0e-9
"""Seconds a parameter of AdamW and of the norm: measured (benchmarks/scaling.py root)."""

ADD = 12.0e9
"""Bytes of gradients a second that are added: measured (benchmarks/scaling.py root)."""


class Sizes(BaseModel):
    """A run of `hpc-ds learn`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weights: int = Field(default=1_200_000, ge=1)
    """Parameters of the network."""

    batch: int = Field(default=65_536, ge=1)
    """Samples of a batch, of which each is a lane."""

    unit: float = Field(default=0.02, gt=0)
    """Seconds of one sample's forward and backward pass; --measure times one."""

    reduction: Literal["reproducible", "fast"] = "reproducible"
    """reproducible or fast."""

    weak: bool = False
    """Let the batch grow with the ranks: `batch` is then that of 1024 ranks."""

    noise: float = Field(default=0.05, ge=0)
    """Spread of the time of one sample, by its mean: assumed. Ranks of other speed are not in the model."""


def predict(sizes: Sizes, network: Network, ranks: int) -> Prediction:
    """Return where the time of a step goes, with gradients that are summed by halves or in buckets."""
    summed = _by_halves if sizes.reduction == "reproducible" else _in_buckets
    return _predict(sizes, network, ranks, summed)


def predict_plain(sizes: Sizes, network: Network, ranks: int) -> Prediction:
    """Return the same for one Alltoall and one Allgather a step."""
    return _predict(sizes, network, ranks, _at_once)


def _predict(sizes: Sizes, network: Network, ranks: int, summed) -> Prediction:  # type: ignore[no-untyped-def]
    batch = ceil(sizes.batch * ranks / 1024) if sizes.weak else sizes.batch
    used = min(ranks, batch)
    if sizes.reduction == "reproducible":
        used = 1 << (used.bit_length() - 1)
    update = sizes.weights * UPDATE
    one_rank = batch * sizes.unit + update
    busy = ceil(batch / used) * sizes.unit
    spread = sizes.noise / sqrt(ceil(batch / used))
    wait = busy * spread * sqrt(2 * log(used)) if used > 1 else 0.0
    losses = {
        "samples do not divide among the ranks": busy - one_rank / ranks,
        "the sum of gradients": summed(sizes, network, used, busy),
        "waiting for the slowest rank": wait,
        "the update, which every rank makes": update,
    }
    step = busy + sum(list(losses.values())[1:])
    calls = 2 * network.all_reduce(used, 4) + network.broadcast(used, 64)
    losses["safe points"] = step / max(SAFE_POINT, step) * calls if used > 1 else 0.0
    return Prediction(ranks, one_rank, one_rank / ranks, losses)


def _by_halves(sizes: Sizes, network: Network, ranks: int, busy: float) -> float:
    size, seconds = float(WIDTH * sizes.weights), 0.0
    for level in range(ranks.bit_length() - 1):
        size /= 2
        seconds += 2 * network.message(size, 1 << level) + size / ADD
    return seconds


def _at_once(sizes: Sizes, network: Network, ranks: int, busy: float) -> float:
    if ranks == 1:
        return 0.0
    size = WIDTH * sizes.weights
    return network.all_to_all(ranks, size) + size / ADD + network.all_gather(ranks, size)


def _in_buckets(sizes: Sizes, network: Network, ranks: int, busy: float) -> float:
    if ranks == 1:
        return 0.0
    each = network.all_reduce(ranks, WIDTH * sizes.weights / BUCKETS)
    return each + max(0.0, (BUCKETS - 1) * each - HIDDEN * busy)
