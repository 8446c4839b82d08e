"""The model of an ensemble: samples over workers, handed out by one Dask scheduler or by several."""

from __future__ import annotations

from math import ceil, log, log2, sqrt

from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.jobs.scaling.networks import Network
from hpc_ds.jobs.scaling.prediction import Prediction

ORDER = 3.0e-3
"""Seconds of scheduler and client for an order: measured (benchmarks/scaling.py orders)."""

JOIN = 4.0e-3
"""Seconds of the scheduler for a worker that joins, keys and all: measured (benchmarks/scaling.py orders)."""

RANKS_EACH = 1024
"""Ranks of a scheduler, as in `hpc_ds.simulate.shares`."""

TARGET, ORDERS_A_SECOND = 1.0, 200.0
"""Seconds that an order takes at least, and orders a second of a scheduler at most: see `hpc_ds.simulate.batches`."""


class Sizes(BaseModel):
    """A run of `hpc-ds simulate`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    samples: int = Field(default=2_000_000, ge=1)
    """Samples to compute."""

    unit: float = Field(default=60.0, gt=0)
    """Seconds of one sample; --measure times one."""

    noise: float = Field(default=0.2, ge=0)
    """Spread of that time, by its mean: assumed."""

    startup: float = Field(default=30.0, ge=0)
    """Seconds until the processes of a node have imported what they need: assumed, it depends on the file system."""


def predict(sizes: Sizes, network: Network, ranks: int) -> Prediction:
    """Return where the time goes with a scheduler for each 1024 ranks; what it says travels by TCP on any network."""
    return _predict(sizes, ranks, ceil(ranks / RANKS_EACH))


def predict_plain(sizes: Sizes, network: Network, ranks: int) -> Prediction:
    """Return the same for one scheduler."""
    return _predict(sizes, ranks, 1)


def orders(samples: int, slots: int, unit: float) -> int:
    """Return how many orders a scheduler hands out for samples that take `unit` seconds each.

    The first two of a slot hold one sample, as no time is known yet. Then an order is as long as the target while there
    is much to do, and afterwards half of a slot's share of what is left (`hpc_ds.simulate.batches`).
    """
    most = max(1, int(max(TARGET, slots / ORDERS_A_SECOND) / unit))
    number = min(samples, 2 * slots)
    left = samples - number
    full = max(0, (left - 2 * slots * most) // most)
    number, left = number + full, left - full * most
    while left > 2 * slots and most > 1:
        left -= min(most, ceil(left / (2 * slots)))
        number += 1
    return number + left


def _predict(sizes: Sizes, ranks: int, schedulers: int) -> Prediction:
    slots, samples = ceil(ranks / schedulers), ceil(sizes.samples / schedulers)
    compute = sizes.samples * sizes.unit / ranks
    handing = orders(samples, slots, sizes.unit) * ORDER
    spread = sqrt(2 * log(schedulers)) / sqrt(samples) if schedulers > 1 else 0.0
    losses = {
        "workers start and join": sizes.startup + slots * JOIN,
        "the first orders reach the workers": slots * ORDER,
        "the scheduler hands out orders": max(0.0, handing - compute),
        "the last samples": sizes.unit * (0.5 + sizes.noise * sqrt(2 * log(max(slots, 2)))),
        "one share is longer than another": compute * sizes.noise * spread,
        "messages at the end": 3e-6 * slots + 1e-5 * log2(max(schedulers, 1)),
    }
    one = sizes.samples * sizes.unit
    return Prediction(ranks, one, compute, losses)
