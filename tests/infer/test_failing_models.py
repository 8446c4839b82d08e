"""A log-likelihood that fails while the run is on its way ends the run; its failure is never taken for a number."""

import math

import numpy as np
import pytest

from hpc_ds.infer import Model, normal, sample

SHORT = {"draws": 200, "tuning": 64, "replicas": 6}
FAR = 2.5  # beyond the prior draws at which a model is tried first


def raises_far_out(theta, data):
    if theta[0] > 2.5:
        raise ArithmeticError("too far")
    return -0.5 * theta[0] ** 2


def nan_far_out(theta, data):
    return math.nan if theta[0] > 2.5 else -0.5 * theta[0] ** 2


def batch_with_nan_far_out(theta, data):
    return np.where(theta[:, 0] > FAR, np.nan, -0.5 * theta[:, 0] ** 2)


def impossible_far_out(theta, data):
    return -math.inf if theta[0] > 2.5 else -0.5 * theta[0] ** 2


def model(log_likelihood, form):
    return Model("m", {"a": normal(0.0, 1.0)}, log_likelihood, form=form)


def test_exception_in_compiled_code_ends_the_run():
    with pytest.raises(RuntimeError, match="model m: log_likelihood raised ArithmeticError: too far"):
        sample(model(raises_far_out, "compiled"), **SHORT)


def test_exception_in_python_keeps_its_own_traceback():
    with pytest.raises(ArithmeticError, match="too far") as caught:
        sample(model(raises_far_out, "python"), **SHORT)
    assert caught.traceback[-1].name == "raises_far_out"


@pytest.mark.parametrize(
    ("function", "form"),
    [(nan_far_out, "compiled"), (nan_far_out, "python"), (batch_with_nan_far_out, "batched")],
)
def test_nan_ends_the_run(function, form):
    with pytest.raises(ValueError, match="log_likelihood returned NaN; return minus infinity"):
        sample(model(function, form), **SHORT)


@pytest.mark.parametrize("form", ["compiled", "python"])
def test_minus_infinity_only_cuts_off_what_is_impossible(form):
    result = sample(model(impossible_far_out, form), draws=2000, tuning=256, replicas=6)
    # The integral of N(a; 0, 1) exp(-a^2 / 2) up to 2.5.
    exact = math.log(0.5 * (1.0 + math.erf(2.5)) / math.sqrt(2.0))
    found = result.models[0]
    assert abs(found.log_evidence - exact) < 5.0 * found.log_evidence_error + 1e-3
    assert found.presentation.parameters["a"].max() <= 2.5
