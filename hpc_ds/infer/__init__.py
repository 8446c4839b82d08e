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
    )
    from hpc_ds.infer.priors import (
        beta as beta,
    )
    from hpc_ds.infer.priors import (
        exponential as exponential,
    )
    from hpc_ds.infer.priors import (
        fixed as fixed,
    )
    from hpc_ds.infer.priors import (
        gamma as gamma,
    )
    from hpc_ds.infer.priors import (
        half_cauchy as half_cauchy,
    )
    from hpc_ds.infer.priors import (
        half_normal as half_normal,
    )
    from hpc_ds.infer.priors import (
        inverse_gamma as inverse_gamma,
    )
    from hpc_ds.infer.priors import (
        log_uniform as log_uniform,
    )
    from hpc_ds.infer.priors import (
        lognormal as lognormal,
    )
    from hpc_ds.infer.priors import (
        normal as normal,
    )
    from hpc_ds.infer.priors import (
        truncated_normal as truncated_normal,
    )
    from hpc_ds.infer.priors import (
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
