"""Engine 3: posteriors, evidence and model choice by replica exchange over MPI.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpc_ds.infer.model import Model as Model
    from hpc_ds.infer.priors import (
        Prior as Prior,
        beta as beta,
        exponential as exponential,
        fixed as fixed,
        gamma as gamma,
        half_cauchy as half_cauchy,
        half_normal as half_normal,
        inverse_gamma as inverse_gamma,
        log_uniform as log_uniform,
        lognormal as lognormal,
        normal as normal,
        truncated_normal as truncated_normal,
        uniform as uniform,
    )
    from hpc_ds.infer.results import Results as Results
    from hpc_ds.infer.run import sample as sample
    from hpc_ds.infer.settings import Settings as Settings

_PRIORS = (
    "Prior beta exponential fixed gamma half_cauchy half_normal inverse_gamma log_uniform lognormal normal"
    " truncated_normal uniform"
)
_WHERE = {name: "priors" for name in _PRIORS.split()} | {
    "Model": "model",
    "Results": "results",
    "Settings": "settings",
    "sample": "run",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
