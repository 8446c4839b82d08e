"""An ensemble: one independent ladder of one model, as it is stored, sent between ranks and adapted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer import ladder as ladders
from hpc_ds.infer.explorers import columns_of, encode_moves, known_moves, make_explorer, priors_of
from hpc_ds.infer.kernels.exchange import Ladder
from hpc_ds.infer.kernels.generic import draw_all
from hpc_ds.infer.kernels.moves import Counts, Tuning
from hpc_ds.infer.model import Model
from hpc_ds.infer.settings import Settings
from hpc_ds.runtime.philox import new_streams
from hpc_ds.runtime.random import name_key, philox_key, stream

_SWAP_STREAM = 0
_FIRST_REPLICA = 1
_PROBE = 1 << 20  # streams of the draws that place the first ladder
_TRIED_ENOUGH = 16
_BEST_ACCEPTANCE_FACTOR = 1.2  # of tan(pi a / 2): the step at which a one-dimensional Gaussian accepts 44 %


@dataclass
class Ensemble:
    """State of one ladder of one model: what snapshots hold and ranks share; arrays as in `Ladder` and `Tuning`."""

    model: int
    copy: int
    theta: NDArray[np.float64]
    stream: NDArray[np.uint64]
    ladder: Ladder
    tuning: Tuning
    counts: Counts
    positions: list[NDArray[np.float64]] = field(default_factory=list)
    """Sampling coordinates (replicas, parameters) now and then in a tuning round, from which block moves learn."""
    levels: list[NDArray[np.int64]] = field(default_factory=list)
    """Level of each replica at those times."""

    @property
    def replicas(self) -> int:
        """Number of replicas, which is that of levels."""
        return len(self.theta)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything as named arrays, for a snapshot."""
        named: dict[str, NDArray] = {"theta": self.theta, "stream": self.stream}
        for part in (self.ladder, self.tuning, self.counts):
            named |= {f"{type(part).__name__}.{key}": value for key, value in part._asdict().items()}
        if self.positions:
            named |= {"positions": np.array(self.positions), "levels": np.array(self.levels)}
        return named

    @classmethod
    def from_arrays(cls, model: int, copy: int, named: dict[str, NDArray]) -> Ensemble:
        """Return the ensemble of which `arrays` were made."""

        def part(kind: type) -> dict[str, NDArray]:
            head = f"{kind.__name__}."
            return {key.removeprefix(head): value for key, value in named.items() if key.startswith(head)}

        return cls(
            model,
            copy,
            named["theta"],
            named["stream"],
            Ladder(**part(Ladder)),
            Tuning(**part(Tuning)),
            Counts(**part(Counts)),
            list(named.get("positions", [])),
            list(named.get("levels", [])),
        )


def begin(model: Model, index: int, copy: int, settings: Settings) -> Ensemble:
    """Return a new ensemble: a first ladder from draws of the prior, replicas at draws of the prior."""
    beta = ladders.initial_ladder(_prior_log_likelihoods(model, copy, settings), settings.replicas)
    levels, columns = beta.size, columns_of(model)
    streams = _replica_streams(model, copy, settings, range(levels))
    blocks = "block" in known_moves(model) and known_moves(model)["block"] in encode_moves(
        model, settings.moves
    )
    size = len(model.parameters) if blocks else 0
    tuning = Tuning(
        beta=beta,
        step=np.full((levels, columns), 0.5),
        scale=_prior_scales(model, settings),
        factor=np.tile(np.eye(size), (levels, 1, 1)) * 0.1,
    )
    swap = new_streams(philox_key(settings.seed, name_key(model.name), copy, _SWAP_STREAM)[None])[0]
    ladder = new_ladder(beta, swap, 0)
    theta = _prior_draws(model, streams)
    return Ensemble(index, copy, theta, streams, ladder, tuning, new_counts(levels, columns))


def new_ladder(beta: NDArray[np.float64], swap_stream: NDArray[np.uint64], scans: int) -> Ladder:
    """Return a ladder with replica i at level i and nothing counted yet."""
    levels = beta.size
    return Ladder(
        beta=beta,
        replica_at=np.arange(levels),
        level_of=np.arange(levels),
        heading=np.zeros(levels, dtype=np.int64),
        round_trips=np.zeros(levels, dtype=np.int64),
        rejection=np.zeros(levels - 1),
        attempts=np.zeros(levels - 1, dtype=np.int64),
        stream=swap_stream,
        scans=np.array([scans]),
    )


def new_counts(levels: int, columns: int) -> Counts:
    """Return counts of zero."""
    return Counts(np.zeros((levels, columns), dtype=np.int64), np.zeros((levels, columns), dtype=np.int64))


def start_measuring(ensemble: Ensemble) -> None:
    """Forget what was counted, keeping states, ladder and steps."""
    for counted in (
        ensemble.ladder.round_trips,
        ensemble.ladder.rejection,
        ensemble.ladder.attempts,
        *ensemble.counts,
    ):
        counted[:] = 0
    ensemble.positions, ensemble.levels = [], []


def prior_draws(
    model: Model, settings: Settings, copy: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Return draws from the prior (count, parameters), and their streams, that no replica ever uses."""
    keys = [philox_key(settings.seed, name_key(model.name), copy, _PROBE + i) for i in range(count)]
    streams = new_streams(np.array(keys))
    return _prior_draws(model, streams), streams


def rejection_of(ensemble: Ensemble) -> NDArray[np.float64]:
    """Return the mean rejection of each pair of levels (levels - 1,); a half where nothing was tried."""
    attempts = ensemble.ladder.attempts
    return np.where(attempts > 0, ensemble.ladder.rejection / np.maximum(attempts, 1), 0.5)


def adapt(ensemble: Ensemble, model: Model, settings: Settings, may_resize: bool) -> Ensemble:
    """Return the ensemble for the next tuning round: new ladder, step sizes, covariances, perhaps more replicas.

    Each replica of the new ladder starts from the state at the nearest level of the old one.
    """
    old = ensemble.tuning.beta
    rejection = rejection_of(ensemble)
    replicas = ensemble.replicas
    if may_resize and settings.replicas is None:
        replicas = ladders.replicas_for(float(rejection.sum()))
    beta = ladders.equal_rejection(old, rejection, replicas)
    nearest = ladders.nearest_levels(old, rejection, beta)
    tuning = Tuning(
        beta=beta,
        step=_adapted_steps(ensemble)[nearest],
        scale=ensemble.tuning.scale,
        factor=_learned_factors(ensemble, model)[nearest],
    )
    fresh = _replica_streams(model, ensemble.copy, settings, range(ensemble.replicas, replicas))
    return Ensemble(
        ensemble.model,
        ensemble.copy,
        ensemble.theta[ensemble.ladder.replica_at[nearest]],
        np.concatenate([ensemble.stream[:replicas], fresh]),
        new_ladder(beta, ensemble.ladder.stream, int(ensemble.ladder.scans[0])),
        tuning,
        new_counts(replicas, tuning.step.shape[1]),
    )


def _adapted_steps(ensemble: Ensemble) -> NDArray[np.float64]:
    """Scale each step to the acceptance 0.44 that a Gaussian in one dimension wants (Gelman, Roberts & Gilks 1996).

    A random walk of step s on a Gaussian of width w accepts (2 / pi) atan(2 w / s), which is inverted.
    """
    tried, accepted = ensemble.counts
    acceptance = np.clip((accepted + 0.5) / (tried + 1.0), 0.02, 0.95)
    factor = np.clip(_BEST_ACCEPTANCE_FACTOR * np.tan(0.5 * np.pi * acceptance), 0.2, 4.0)
    return np.clip(
        np.where(tried >= _TRIED_ENOUGH, ensemble.tuning.step * factor, ensemble.tuning.step), 1e-8, 1e4
    )


def _learned_factors(ensemble: Ensemble, model: Model) -> NDArray[np.float64]:
    """Cholesky factors of the covariance of each level's draws, shrunk towards its diagonal while they are few."""
    factor = ensemble.tuning.factor
    if factor.shape[1] == 0 or not ensemble.positions:
        return factor
    positions, levels = np.array(ensemble.positions), np.array(ensemble.levels)
    learned = factor.copy()
    free = model.free
    for level in range(len(factor)):
        u = positions[np.abs(levels - level) <= 1][:, free]  # neighbours lend their draws
        if len(u) < 2 * len(free) + 8:
            continue
        covariance = np.atleast_2d(np.cov(u.T))
        share = len(u) / (len(u) + 5.0 * len(free))
        covariance = share * covariance + (1.0 - share) * np.diag(np.diag(covariance))
        covariance += 1e-12 * np.eye(len(free)) * max(float(np.trace(covariance)), 1e-300)
        learned[level] = 0.0
        learned[level][np.ix_(free, free)] = np.linalg.cholesky(covariance)
    return learned


def _prior_log_likelihoods(model: Model, copy: int, settings: Settings) -> NDArray[np.float64]:
    theta, streams = prior_draws(model, settings, copy, 64 if model.form == "python" else 256)
    return make_explorer(model, 1, settings.moves, theta, streams).log_likelihood.copy()


def _prior_draws(model: Model, streams: NDArray[np.uint64]) -> NDArray[np.float64]:
    """One draw of the prior from each stream, which it advances: (replicas, parameters)."""
    from hpc_ds.infer.kernels.generic import Rows

    theta = np.zeros((len(streams), len(model.parameters)))
    empty = np.zeros((0, 0))
    draw_all(priors_of(model), Rows(theta, streams, np.zeros(0), empty, np.zeros(0), empty))
    return theta


def _prior_scales(model: Model, settings: Settings) -> NDArray[np.float64]:
    """Distance between the 10 and 90 % quantiles of each prior, from a thousand draws."""
    rng = stream(settings.seed, name_key(model.name), _PROBE)
    quantiles = [np.percentile(prior.sample(rng, 1000), [10, 90]) for prior in model.parameters.values()]
    return np.maximum(np.array([high - low for low, high in quantiles]), 1e-300)


def _replica_streams(model: Model, copy: int, settings: Settings, replicas: range) -> NDArray[np.uint64]:
    keys = [philox_key(settings.seed, name_key(model.name), copy, _FIRST_REPLICA + i) for i in replicas]
    return new_streams(np.array(keys, dtype=np.uint64).reshape(-1, 2))
