"""What is known exactly of linear models: evidence, posterior and model choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.model import Model
from hpc_ds.infer.models.linear.likelihood import constant_of, design_of, log_likelihood
from hpc_ds.physics.linear import (
    BoxPrior,
    Likelihood,
    NoClosedFormError,
    likelihood,
    log_evidence,
    posterior,
    selection_probability,
)

Array = NDArray[np.floating]

_LOG_2PI = float(np.log(2.0 * np.pi))
_LARGEST_CONDITION = 1e6  # of the scaled regressors: the evidence is then good to 1e-4
_OPEN = 1e6  # standard deviations to the walls of a box that stands for no box


@dataclass(frozen=True, eq=False)
class Exact:
    """Evidence and posterior of one model."""

    name: str
    """The model's name."""

    parameters: tuple[str, ...]
    """Names of its free parameters."""

    log_evidence: float
    """Of the normalised likelihood and priors."""

    mean: Array
    """Posterior mean (p,)."""

    covariance: Array
    """Posterior covariance (p, p)."""

    @property
    def free_energy(self) -> float:
        """Bayesian free energy F = -log Z."""
        return -self.log_evidence

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and dictionaries."""
        deviation = np.sqrt(np.diag(self.covariance))
        moments = zip(self.parameters, self.mean, deviation, strict=True)
        return {
            "name": self.name,
            "log_evidence": self.log_evidence,
            "free_energy": self.free_energy,
            "parameters": {name: {"mean": float(mean), "sd": float(sd)} for name, mean, sd in moments},
            "covariance": self.covariance.tolist(),
        }


@dataclass(frozen=True)
class Comparison:
    """Two models of which the larger has all regressors of the smaller."""

    smaller: str
    """Its name."""

    larger: str
    """Its name."""

    free_energy_smaller: float
    """F1."""

    free_energy_larger: float
    """F2."""

    selection_probability: float | None
    """Probability that a repeated measurement favours the larger model, if the estimates here are the truth.

    None unless all priors are uniform and the two models agree in those they share.
    """

    false_positive_rate: float | None
    """The same if the smaller model is the truth."""

    @property
    def delta_free_energy(self) -> float:
        """F1 - F2: the larger model is favoured where it is positive."""
        return self.free_energy_smaller - self.free_energy_larger

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings."""
        return {
            "smaller": self.smaller,
            "larger": self.larger,
            "F1": self.free_energy_smaller,
            "F2": self.free_energy_larger,
            "delta_F": self.delta_free_energy,
            "selection_probability": self.selection_probability,
            "false_positive_rate": self.false_positive_rate,
        }


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """What is known exactly of several models."""

    models: tuple[Exact, ...]
    """Those that have a closed form."""

    comparisons: tuple[Comparison, ...]
    """All pairs of them in which one contains the other."""

    missing: dict[str, str]
    """Why the other models have none, by their names."""

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: lists ``models`` and ``comparisons``, dictionary ``missing``."""
        return {
            "models": [model.to_dict() for model in self.models],
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "missing": self.missing,
        }


def closed_form(models: Sequence[Model]) -> ClosedForm:
    """Return the closed forms of linear models with known noise and uniform, normal or fixed priors.

    Raises
    ------
    ValueError
        If a model was not made by `linear_models`.
    """
    exact: dict[str, Exact] = {}
    missing: dict[str, str] = {}
    for model in models:
        if model.log_likelihood is not log_likelihood:
            raise ValueError(f"model {model.name}: not made by linear_models, no closed form")
        try:
            exact[model.name] = _exact(model)
        except NoClosedFormError as error:
            missing[model.name] = str(error)
    solved = [model for model in models if model.name in exact]
    pairs = [(a, b) for a, b in permutations(solved, 2) if set(a.parameters) < set(b.parameters)]
    comparisons = tuple(_compare(a, b, exact) for a, b in pairs)
    return ClosedForm(tuple(exact.values()), comparisons, missing)


def _exact(model: Model) -> Exact:
    """Solve one model in coefficients scaled so that the precision has ones on its diagonal."""
    _check_form(model)
    data = _with_normal_priors(model)
    size = np.sqrt(np.diag(data.precision))
    scaled = Likelihood(data.estimate * size, data.precision / np.outer(size, size), data.log_peak)
    if np.linalg.cond(scaled.precision) > _LARGEST_CONDITION**2:
        raise NoClosedFormError("the regressors are (nearly) linearly dependent: leave one out, or centre x")
    low, high, log_open = _walls(model, data.estimate, np.sqrt(np.diag(scaled.covariance)) / size)
    box = BoxPrior(low * size, high * size)  # the evidence is the same in any units
    mean, covariance = posterior(scaled, box)
    return Exact(
        name=model.name,
        parameters=tuple(model.names[j] for j in model.free),
        log_evidence=log_evidence(scaled, box) + log_open,
        mean=mean / size,
        covariance=covariance / np.outer(size, size),
    )


def _check_form(model: Model) -> None:
    if len(model.parameters) > design_of(model.data)[0].shape[1]:
        raise NoClosedFormError("the noise is estimated")
    for name, prior in model.parameters.items():
        if prior.family not in ("uniform", "normal", "fixed"):
            raise NoClosedFormError(f"the prior of {name} is {prior}, neither uniform nor normal")


def _with_normal_priors(model: Model) -> Likelihood:
    """Return the likelihood of the free coefficients, each normal prior counted as a further measurement."""
    design, target = design_of(model.data)
    priors = list(model.parameters.values())
    known = np.array([prior.arguments[0] if prior.is_fixed else 0.0 for prior in priors])
    normal = [j for j, prior in enumerate(priors) if prior.family == "normal"]
    mean, sd = np.array([priors[j].arguments for j in normal]).reshape(-1, 2).T
    data = likelihood(
        np.vstack([design, np.eye(len(priors))[normal]])[:, model.free],
        np.concatenate([target - design @ known, mean]),
        np.concatenate([np.ones(len(target)), sd]),
    )
    # The rows of the triangle are no points: the constant of theirs goes, that of the data comes.
    log_peak = data.log_peak + 0.5 * len(target) * _LOG_2PI + constant_of(model.data)
    return Likelihood(data.estimate, data.precision, log_peak)


def _walls(model: Model, estimate: Array, deviation: Array) -> tuple[Array, Array, float]:
    """Return the ends (p,) of uniform priors, for others walls out of reach, and the log widths of these."""
    low, high = estimate - _OPEN * deviation, estimate + _OPEN * deviation
    log_open = 0.0
    for place, j in enumerate(model.free):
        prior = model.parameters[model.names[j]]
        if prior.family == "uniform":
            low[place], high[place] = prior.support
        else:
            log_open += float(np.log(high[place] - low[place]))
    return low, high, log_open


def _compare(smaller: Model, larger: Model, exact: dict[str, Exact]) -> Comparison:
    tested = [name for name in larger.parameters if name not in smaller.parameters]
    selection, false_positive = None, None
    if _has_chi_square_law(smaller, larger):
        estimate = dict(zip(exact[larger.name].parameters, exact[larger.name].mean, strict=True))
        truth = np.array([estimate[name] for name in tested])
        selection = _selection(larger, tested, truth)
        false_positive = _selection(larger, tested, np.zeros(len(tested)))
    return Comparison(
        smaller=smaller.name,
        larger=larger.name,
        free_energy_smaller=exact[smaller.name].free_energy,
        free_energy_larger=exact[larger.name].free_energy,
        selection_probability=selection,
        false_positive_rate=false_positive,
    )


def _has_chi_square_law(smaller: Model, larger: Model) -> bool:
    uniform = all(prior.family == "uniform" for prior in larger.parameters.values())
    return uniform and all(larger.parameters[name] == prior for name, prior in smaller.parameters.items())


def _selection(model: Model, tested: Sequence[str], truth: Array) -> float:
    design, _ = design_of(model.data)
    order = [j for j, name in enumerate(model.names) if name not in tested]
    order += [model.names.index(name) for name in tested]
    low, high = np.array([model.parameters[name].support for name in tested]).T
    return selection_probability(design[:, order], 1.0, truth, high - low)
