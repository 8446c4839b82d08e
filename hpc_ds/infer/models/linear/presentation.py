"""What a sampled linear model shows: its draws, the data, and the fit with its bands along one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.models.bands import MEDIAN, QUANTILES, bands, spread_draws
from hpc_ds.infer.models.linear.observations import Observations, parameter_of
from hpc_ds.infer.posterior import Named, Presentation, bare

Array = NDArray[np.float64]


def present_linear(
    observations: Observations,
    regressors: Sequence[str],
    sigma: float | Array | None,
    draws: dict[str, Array],
) -> Presentation:
    """Add data and curves to the draws.

    A fit that is a function of one column is shown along this column, any other along its own median: the
    data should then lie on the diagonal. Points are in the order of that axis, whatever their order in the
    file.

    Parameters
    ----------
    observations : Observations
    regressors : sequence of str
        Of this model.
    sigma : float, (n,) float64 or None
        Standard deviation of y; None: it was estimated.
    draws : dict of (copies, draws) float64
        By parameter name.
    """
    fit = bands(_fits(observations, regressors, draws))
    axis, name = _axis(observations, regressors, fit[MEDIAN])
    order = np.argsort(axis, kind="stable")
    y = observations.y[order]
    noise = np.broadcast_to(np.nan if sigma is None else sigma, y.shape)
    groups: dict[str, Mapping[str, Named]] = {
        "observed_data": {"y": (("point",), y)},
        "constant_data": {"x": (("point",), observations.x[order]), "sigma": (("point",), noise[order])},
        "curves": {
            "x": (("point",), axis[order]),
            "x_name": ((), np.array(name)),
            "fit": (("quantile", "point"), fit[:, order]),
            "residual": (("point",), y - fit[MEDIAN, order]),
        },
    }
    return replace(bare(draws), groups=groups, coords={"quantile": QUANTILES})


def _fits(observations: Observations, regressors: Sequence[str], draws: Mapping[str, Array]) -> Array:
    """Return the fit (draw, point) of a selection of draws."""
    design = np.column_stack([observations.regressor(name) for name in regressors])
    coefficients = np.column_stack([draws[parameter_of(name)].ravel() for name in regressors])
    return coefficients[spread_draws(len(coefficients), len(design))] @ design.T


def _axis(observations: Observations, regressors: Sequence[str], median: Array) -> tuple[Array, str]:
    """Return where the points lie, and what that axis is called."""
    sources = {observations.source(name) for name in regressors} - {None}
    if len(sources) > 1:
        return median, f"fitted {observations.y_name}"
    (name,) = sources or {observations.x_name}
    return np.asarray(observations.columns[str(name)]), str(name)
