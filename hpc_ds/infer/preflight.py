"""Try each model at draws of its prior before work starts: what is wrong with it is told in one line."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.callback import compile_likelihood
from hpc_ds.infer.ensemble import prior_draws
from hpc_ds.infer.explorers import encode_moves
from hpc_ds.infer.model import Model, check_names
from hpc_ds.infer.settings import Settings
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

TRIED = 4
"""Prior draws at which a model is tried."""


def check_models(models: Sequence[Model], settings: Settings, world: World) -> None:
    """Refuse models that cannot be sampled, on all ranks alike; collective.

    Raises
    ------
    InputError
        In one line: models that share a name, a move that does not exist, a log-likelihood that raises, does not
        compile, or returns something else than a number below infinity.
    """
    agreed(world, _check_all, models, settings)


def _check_all(models: Sequence[Model], settings: Settings) -> None:
    check_names(models)
    for model in models:
        encode_moves(model, settings.moves)
        if model.form == "batched":
            _check_batch(model, prior_draws(model, settings, 0, model.block)[0])
        elif model.form != "components":  # those are built here, of nothing but numbers
            _check_rows(model, prior_draws(model, settings, 0, TRIED)[0])
        if model.form == "compiled":
            compile_likelihood(model)


def _check_rows(model: Model, theta: NDArray[np.float64]) -> None:
    data = model.data
    if model.form == "compiled":
        data = np.ascontiguousarray(np.zeros((0, 0)) if data is None else data, dtype=np.float64)
    for row in theta:
        value = _numbers(model, _called(model, row.copy(), data))
        if value.ndim > 0:
            raise InputError(
                f"model {model.name}: log_likelihood returned shape {value.shape} for theta of shape {row.shape}; "
                "one number is needed"
            )
        _check_number(model, float(value), row)


def _check_batch(model: Model, theta: NDArray[np.float64]) -> None:
    values = _numbers(model, _called(model, theta.copy(), model.data))
    if values.shape != (len(theta),):
        raise InputError(
            f"model {model.name}: log_likelihood returned shape {values.shape} for theta of shape {theta.shape}; "
            f"({len(theta)},) is needed"
        )
    for value, row in zip(values, theta, strict=True):
        _check_number(model, float(value), row)


def _called(model: Model, theta: NDArray[np.float64], data: Any) -> Any:
    assert model.log_likelihood is not None
    try:
        return model.log_likelihood(theta, data)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"model {model.name}: log_likelihood raised {type(error).__name__}: {error} "
            f"({last.filename}, line {last.lineno})"
        ) from error


def _numbers(model: Model, value: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        kind = type(value).__name__
        raise InputError(f"model {model.name}: log_likelihood returned {kind}; numbers are needed") from None


def _check_number(model: Model, value: float, theta: NDArray[np.float64]) -> None:
    if not math.isnan(value) and value < math.inf:
        return
    at = ", ".join(f"{name} = {x:.6g}" for name, x in zip(model.parameters, theta, strict=True))
    raise InputError(
        f"model {model.name}: log_likelihood returned {value} at {at}; return minus infinity for the impossible"
    )
