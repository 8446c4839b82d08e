"""Linear models of measured data: y = a x, y = a x + b and sums of any regressors, with Gaussian noise.

Their log evidence and posterior are known in closed form where the noise is known, so that they check the
sampler as much as they serve the user.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.model import Model
from hpc_ds.infer.models.linear.closed_form import ClosedForm, Comparison, Exact, closed_form
from hpc_ds.infer.models.linear.likelihood import compress, log_likelihood
from hpc_ds.infer.models.linear.observations import (
    Observations,
    parameter_of,
    read_observations,
    regressors_of,
)
from hpc_ds.infer.models.linear.presentation import present_linear
from hpc_ds.infer.models.linear.priors import default_priors
from hpc_ds.infer.priors import Prior, parse
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.table import Table

__all__ = [
    "DEFAULT_TERMS",
    "ClosedForm",
    "Comparison",
    "Exact",
    "Observations",
    "closed_form",
    "linear_models",
    "read_observations",
    "warnings_for",
]

DEFAULT_TERMS = ("x", "1 + x")
"""Is there an offset? The question that is asked by default."""

NOISE = "noise"
"""Name of the parameter of an estimated noise."""


def linear_models(
    data: Observations | Table,
    terms: Sequence[str] = DEFAULT_TERMS,
    noise: float | str = "auto",
    priors: Mapping[str, Prior | str] | None = None,
) -> list[Model]:
    """Return one model for each sum of regressors.

    A model is called by its regressors (``"1 + x"``). Its parameters are ``intercept`` (of ``1``), ``slope``
    (of ``x``), ``x^2`` ... ``x^9`` and the names of columns, in the order of the sum, then ``noise`` if it
    is estimated.

    Parameters
    ----------
    data : Observations or Table
        A table has no columns beyond x and y; `read_observations` reads them.
    terms : sequence of str
        Sums of regressors such as ``"1 + x + x^2"`` or ``"1 + temperature"``, one for each model.
    noise : float, "given", "estimate" or "auto"
        Standard deviation of y: a number (or its text), the column of sigma, or a parameter; ``auto``: given
        if there is such a column, else estimated.
    priors : mapping of parameter name to Prior or its text, optional
        In place of the default, in every model that has the parameter. Defaults: see `default_priors`.

    Raises
    ------
    InputError
        One line: an unknown regressor, one given twice or zero everywhere, a noise that is not one, a prior
        of a parameter that no model has, or a prior of the noise that allows negative values.
    """
    observations = data if isinstance(data, Observations) else Observations.of(data)
    sums = _checked_sums(observations, [terms] if isinstance(terms, str) else terms)
    sigma = _sigma(observations, noise)
    designs = [np.column_stack([observations.regressor(name) for name in names]) for names in sums]
    chosen = _all_priors(observations, sums, designs, sigma, priors or {})
    return [
        Model(
            name=" + ".join(names),
            parameters={name: chosen[name] for name in _parameters(names, sigma)},
            log_likelihood=log_likelihood,
            form="compiled",
            data=compress(design, observations.y, sigma),
            finish=partial(present_linear, observations, names, sigma),
        )
        for names, design in zip(sums, designs, strict=True)
    ]


def warnings_for(observations: Observations, models: Sequence[Model]) -> list[str]:
    """Return what a user should know before the run, one line each."""
    points = observations.y.size
    lines = [f"{observations.path}: {line}" for line in observations.warnings]
    lines += [
        f"{model.name} has {len(model.free)} parameters and the data only {points} points:"
        " its priors decide much"
        for model in models
        if len(model.free) > points
    ]
    return lines


def _checked_sums(observations: Observations, terms: Sequence[str]) -> list[list[str]]:
    sums = [regressors_of(term, observations) for term in terms or DEFAULT_TERMS]
    seen: set[frozenset[str]] = set()
    for term, names in zip(terms or DEFAULT_TERMS, sums, strict=True):
        if frozenset(names) in seen:
            raise InputError(f"--terms '{term}': the same model twice; give each sum of regressors once")
        seen.add(frozenset(names))
    return sums


def _sigma(observations: Observations, noise: float | str) -> float | NDArray[np.float64] | None:
    """Return the known standard deviation, or None if it is to be estimated."""
    if noise == "auto":
        return observations.sigma
    if noise == "estimate":
        return None
    if noise == "given":
        if observations.sigma is None:
            raise InputError(
                f"--noise given: {observations.path} has no column of the standard deviations of y"
            )
        return observations.sigma
    try:
        value = float(noise)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise InputError(f"--noise '{noise}': estimate, given or a standard deviation > 0 is needed")
    return value


def _parameters(names: Sequence[str], sigma: float | NDArray[np.float64] | None) -> list[str]:
    return [parameter_of(name) for name in names] + ([NOISE] if sigma is None else [])


def _all_priors(
    observations: Observations,
    sums: Sequence[Sequence[str]],
    designs: Sequence[NDArray[np.float64]],
    sigma: float | NDArray[np.float64] | None,
    own: Mapping[str, Prior | str],
) -> dict[str, Prior]:
    """Return the user's priors and the default ones of all other parameters, by their names."""
    named = [[parameter_of(name) for name in names] for names in sums]
    known = list(dict.fromkeys(name for names in sums for name in _parameters(names, sigma)))
    for name in own:
        if name not in known:
            raise InputError(f"--prior '{name}': no such parameter; there are {', '.join(known)}")
    given = {name: parse(prior) if isinstance(prior, str) else prior for name, prior in own.items()}
    if NOISE in given and given[NOISE].support[0] < 0.0:
        raise InputError(f"--prior '{NOISE}={given[NOISE]}': allows values below 0; a noise is positive")
    return default_priors(named, designs, observations.y, sigma, NOISE) | given
