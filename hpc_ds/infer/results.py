"""From draws to the answer: evidence, probabilities of models, parameters with their uncertainties, files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer import ladder as ladders
from hpc_ds.infer.diagnostics import Mixing, Verdict, judge, mixing
from hpc_ds.infer.ensemble import Ensemble
from hpc_ds.infer.evidence import Evidence, estimate
from hpc_ds.infer.model import Model
from hpc_ds.infer.pieces import Slab
from hpc_ds.infer.posterior import Presentation, present
from hpc_ds.infer.settings import Settings

FORMAT = 1
_PERCENT = (2.5, 50.0, 97.5)


@dataclass(frozen=True)
class ModelResult:
    """The answer of one model."""

    model: Model
    log_evidence: float
    """Natural log of the integral of likelihood times prior."""
    log_evidence_error: float
    """Its standard error."""
    evidences: list[Evidence]
    """Of each copy."""
    probability: float
    """Of the model among those asked for."""
    presentation: Presentation
    """Draws, (copies, draws) each, sorted or matched."""
    log_likelihood: NDArray[np.float64]
    """(copies, draws)"""
    log_prior: NDArray[np.float64]
    """(copies, draws)"""
    mixings: dict[str, Mixing]
    ensembles: list[Ensemble]
    verdict: Verdict

    @property
    def free_energy(self) -> float:
        """Bayesian free energy F = -log evidence."""
        return -self.log_evidence


@dataclass(frozen=True)
class Results:
    """The answers of all models, in the order asked for."""

    models: list[ModelResult]
    settings: Settings
    extra: dict[str, Any] = field(default_factory=dict)
    """More entries for the summary."""

    @property
    def best(self) -> ModelResult:
        """The most probable model."""
        return max(self.models, key=lambda result: result.probability)

    def summary(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        total = sum(result.model.prior_probability for result in self.models)
        return {
            "format": FORMAT,
            "kind": "infer",
            **self.extra,
            "settings": self.settings.model_dump(),
            "models": [_summary(result, self.settings, total) for result in self.models],
            "best": self.best.model.name,
        }


def finish(
    models: Sequence[Model], ensembles: Sequence[Ensemble], slabs: Sequence[Slab], settings: Settings
) -> Results:
    """Compute the answers from the draws of all ensembles, models first, then copies."""
    copies = settings.copies
    partial = []
    for m, model in enumerate(models):
        own = slice(m * copies, (m + 1) * copies)
        partial.append(_finish_model(model, list(ensembles[own]), list(slabs[own])))
    weights = np.array(
        [
            math.log(one.model.prior_probability) + one.log_evidence
            if one.model.prior_probability > 0
            else -np.inf
            for one in partial
        ]
    )
    weights = np.exp(weights - weights.max())
    from dataclasses import replace

    return Results(
        [replace(one, probability=float(p)) for one, p in zip(partial, weights / weights.sum(), strict=True)],
        settings,
    )


def write_posterior(path: Path, result: ModelResult) -> None:
    """Write one model's posterior as a NetCDF file that arviz and xarray open.

    Groups: posterior, sample_stats, ladder, exchange, evidence, and what the model's presentation adds.
    """
    from hpc_ds.store.netcdf import Group, write_groups

    path.parent.mkdir(exist_ok=True)
    shown = result.presentation

    def group(variables: dict[str, Any]) -> Group:
        used = {dim for dims, *_ in variables.values() for dim in dims}
        return Group(variables=variables, coords={dim: at for dim, at in shown.coords.items() if dim in used})

    chain_draw = ("chain", "draw")
    groups = {
        "/": Group(attrs={"model": result.model.name, "created_by": "hpc_ds", "format": FORMAT}),
        "posterior": group(dict(shown.variables)),
        "sample_stats": group(
            {
                "log_likelihood": (chain_draw, result.log_likelihood),
                "log_prior": (chain_draw, result.log_prior),
                "lp": (chain_draw, result.log_likelihood + result.log_prior),
            }
        ),
        "ladder": group(_ladder_variables(result)),
        "exchange": group(
            {
                "round_trips": (("chain",), np.array([_round_trips(one) for one in result.ensembles])),
                "scans": (("chain",), np.array([result.log_likelihood.shape[1]] * len(result.ensembles))),
            }
        ),
        "evidence": group(
            {
                "log_evidence": ((), np.float64(result.log_evidence)),
                "log_evidence_error": ((), np.float64(result.log_evidence_error)),
                "log_evidence_copy": (("chain",), np.array([one.log_evidence for one in result.evidences])),
            }
        ),
    }
    write_groups(path, groups | {name: group(dict(more)) for name, more in shown.groups.items()})


def _finish_model(model: Model, ensembles: list[Ensemble], slabs: list[Slab]) -> ModelResult:
    evidences = [estimate(one.tuning.beta, slab.energies) for one, slab in zip(ensembles, slabs, strict=True)]
    log_evidence, error = _combine(evidences)
    draws = np.stack([slab.draws for slab in slabs])
    presentation = present(model, {name: draws[..., j] for j, name in enumerate(model.names)})
    mixings = {name: mixing(values) for name, values in presentation.parameters.items()}
    gap = max(one.disagreement for one in evidences)
    return ModelResult(
        model=model,
        log_evidence=log_evidence,
        log_evidence_error=error,
        evidences=evidences,
        probability=math.nan,
        presentation=presentation,
        log_likelihood=np.stack([slab.energies[:, -1] for slab in slabs]),
        log_prior=np.stack([slab.log_prior for slab in slabs]) + model.log_symmetry,
        mixings=mixings,
        ensembles=ensembles,
        verdict=judge(
            sum(_round_trips(one) for one in ensembles),
            list(mixings.values()),
            error,
            gap,
            possible=all(bool(np.isfinite(slab.energies[:, -1]).all()) for slab in slabs),
        ),
    )


def _combine(evidences: list[Evidence]) -> tuple[float, float]:
    """Mean over independent copies; its error is the larger of what the copies report and what their spread shows."""
    values = np.array([one.log_evidence for one in evidences])
    errors = np.array([one.error for one in evidences])
    error = float(np.sqrt(np.sum(errors**2))) / len(values)
    if len(values) > 1:
        error = max(error, float(values.std(ddof=1)) / math.sqrt(len(values)))
    return float(values.mean()), error


def _round_trips(one: Ensemble) -> int:
    return int(one.ladder.round_trips.sum())


def _rejection(one: Ensemble) -> NDArray[np.float64]:
    return np.asarray(one.ladder.rejection / np.maximum(one.ladder.attempts, 1))


def _ladder_variables(result: ModelResult) -> dict[str, Any]:
    levels = max(one.replicas for one in result.ensembles)

    def padded(rows: list[NDArray[np.float64]], length: int) -> NDArray[np.float64]:
        table = np.full((len(rows), length), np.nan)
        for row, values in zip(table, rows, strict=True):
            row[: len(values)] = values
        return table

    rejections = [_rejection(one) for one in result.ensembles]
    return {
        "beta": (("chain", "level"), padded([one.tuning.beta for one in result.ensembles], levels)),
        "log_evidence": (
            ("chain", "level"),
            padded([np.array(e.log_evidence_at) for e in result.evidences], levels),
        ),
        "mean_log_likelihood": (
            ("chain", "level"),
            padded([np.array(e.mean_log_likelihood) for e in result.evidences], levels),
        ),
        "rejection": (("chain", "pair"), padded(rejections, levels - 1)),
        "barrier": (("chain", "level"), padded([ladders.cumulative_barrier(r) for r in rejections], levels)),
    }


def _summary(result: ModelResult, settings: Settings, prior_total: float) -> dict[str, Any]:
    shown = result.presentation
    return {
        "name": result.model.name,
        "log_evidence": result.log_evidence,
        "log_evidence_error": result.log_evidence_error,
        "free_energy": result.free_energy,
        "probability": result.probability,
        "prior_probability": result.model.prior_probability / prior_total,
        "parameters": {
            name: _describe(values, result.mixings[name]) for name, values in shown.parameters.items()
        },
        "derived": {name: _describe(values, mixing(values)) for name, values in shown.derived.items()},
        "priors": {name: str(prior) for name, prior in result.model.parameters.items()},
        "evidence": {
            "mbar": result.log_evidence,
            "stepping_stone_forward": _mean(one.stepping_stone_forward for one in result.evidences),
            "stepping_stone_backward": _mean(one.stepping_stone_backward for one in result.evidences),
            "thermodynamic_integration": _mean(one.thermodynamic_integration for one in result.evidences),
        },
        "diagnostics": _diagnostics(result, settings),
        "verdict": {"trust": result.verdict.trust, "text": result.verdict.text},
        **shown.facts,
    }


def _diagnostics(result: ModelResult, settings: Settings) -> dict[str, Any]:
    rejections = [_rejection(one) for one in result.ensembles]
    trips = sum(_round_trips(one) for one in result.ensembles)
    scans = result.log_likelihood.size
    barrier = _mean(r.sum() for r in rejections)
    return {
        "replicas": max(one.replicas for one in result.ensembles),
        "copies": len(result.ensembles),
        "scans": result.log_likelihood.shape[1],
        "tuning_scans": settings.tuning,
        "barrier": barrier,
        "min_swap_rate": 1.0 - max(float(r.max()) for r in rejections),
        "mean_swap_rate": 1.0 - _mean(r.mean() for r in rejections),
        "round_trips": trips,
        "round_trip_rate": trips / scans,
        "round_trip_rate_theory": _mean(ladders.round_trip_rate(r) for r in rejections),
        "round_trip_rate_limit": ladders.round_trip_limit(barrier),
    }


def _describe(values: NDArray[np.float64], mixed: Mixing) -> dict[str, float]:
    low, middle, high = np.percentile(values, _PERCENT)
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "2.5%": float(low),
        "50%": float(middle),
        "97.5%": float(high),
        "ess": mixed.ess,
        "ess_tail": mixed.ess_tail,
        "r_hat": mixed.r_hat,
    }


def _mean(values: Any) -> float:
    return float(np.mean([float(value) for value in values]))
