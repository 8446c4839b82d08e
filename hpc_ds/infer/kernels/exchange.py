"""Scans in compiled code: every replica explores at its level, then neighbouring levels exchange replicas."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.kernels.components import draw_from_prior, log_prior, settle_residual
from hpc_ds.infer.kernels.moves import sweep
from hpc_ds.infer.kernels.vector import copy
from hpc_ds.runtime.compiled import compiled
from hpc_ds.runtime.philox import uniform


class Ladder(NamedTuple):
    """Which replica is at which level, and what the exchanges have shown; the same on every rank of an ensemble."""

    beta: NDArray[np.float64]  # (levels,)
    replica_at: NDArray[np.int64]  # (levels,)
    level_of: NDArray[np.int64]  # (replicas,)
    heading: NDArray[np.int64]  # (replicas,) end of the ladder met last: -1 beta = 0, +1 beta = 1, 0 none yet
    round_trips: NDArray[np.int64]  # (replicas,) journeys from beta = 0 to beta = 1 and back
    rejection: NDArray[np.float64]  # (levels - 1,) sum of 1 - acceptance probability
    attempts: NDArray[np.int64]  # (levels - 1,)
    stream: NDArray[np.uint64]  # (8,)
    scans: NDArray[np.int64]  # (1,) made so far; its parity says which pairs are next


@compiled
def exchange(ladder, log_likelihood):
    """Offer an exchange to every even, or every odd, pair of neighbouring levels (deterministic even-odd).

    Parameters
    ----------
    ladder : Ladder
        Changed in place: inverse temperatures move, states stay.
    log_likelihood : (replicas,) float64
        Of every replica, by replica.

    Notes
    -----
    Syed, Bouchard-Cote, Deligiannidis & Doucet, JRSS-B 84 (2022) 321, algorithm 1. The rejection probability, not
    the coin, is recorded. One uniform a pair is used, needed or not, so that the stream depends on nothing else.
    """
    levels = ladder.beta.size
    for pair in range(ladder.scans[0] % 2, levels - 1, 2):
        cold, hot = ladder.replica_at[pair + 1], ladder.replica_at[pair]
        log_ratio = (ladder.beta[pair + 1] - ladder.beta[pair]) * (log_likelihood[hot] - log_likelihood[cold])
        acceptance = 1.0 if log_ratio >= 0.0 else np.exp(log_ratio)
        if not acceptance >= 0.0:  # both minus infinity: neither state can be told from the other
            acceptance = 1.0 if log_likelihood[hot] == log_likelihood[cold] else 0.0
        ladder.rejection[pair] += 1.0 - acceptance
        ladder.attempts[pair] += 1
        if uniform(ladder.stream) < acceptance:
            ladder.replica_at[pair], ladder.replica_at[pair + 1] = cold, hot
            ladder.level_of[cold], ladder.level_of[hot] = pair, pair + 1
    ladder.scans[0] += 1
    _mark_ends(ladder)


@compiled
def _mark_ends(ladder):
    bottom, top = ladder.replica_at[0], ladder.replica_at[ladder.beta.size - 1]
    if ladder.heading[bottom] == 1:
        ladder.round_trips[bottom] += 1
    ladder.heading[bottom] = -1
    if ladder.heading[top] == -1:
        ladder.heading[top] = 1


@compiled
def explore(problem, state, schedule, tuning, counts, levels, sweeps):
    """Let each local replica make `sweeps` sweeps at its level; at beta = 0 it is drawn afresh from the prior."""
    for r in range(levels.size):
        if levels[r] == 0:
            draw_from_prior(problem, state, r)
        else:
            for _ in range(sweeps):
                sweep(problem, state, schedule, tuning, counts, r, levels[r])
            settle_residual(problem, state, r)


@compiled
def run(problem, state, schedule, tuning, counts, ladder, sweeps, energies, draws, priors):
    """Make one scan for each row of `energies`, all replicas being local.

    `energies` (scans, levels) receives the log-likelihood at each level, `draws` (scans, parameters) and `priors`
    (scans,) the parameters and log prior at beta = 1, all before the exchange.
    """
    top = ladder.beta.size - 1
    for t in range(energies.shape[0]):
        explore(problem, state, schedule, tuning, counts, ladder.level_of, sweeps)
        for level in range(top + 1):
            energies[t, level] = state.log_likelihood[ladder.replica_at[level]]
        copy(state.theta[ladder.replica_at[top]], draws[t])
        priors[t] = log_prior(problem, draws[t])
        exchange(ladder, state.log_likelihood)
