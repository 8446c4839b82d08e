"""A model: named parameters with priors, and a log-likelihood in the form that suits it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpc_ds.infer.priors import Prior
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.user_code import load_object

if TYPE_CHECKING:
    from hpc_ds.infer.kernels.components import Problem

Form = Literal["compiled", "batched", "python", "components"]


@dataclass(frozen=True, eq=False)
class Model:
    """One hypothesis about the data.

    The log-likelihood must be normalised over the data (its constants count in the evidence) and may return minus
    infinity. It is written in one of three forms, `theta` always in the order of `parameters`:

    - ``"python"``: ``f(theta, data) -> float``, theta (D,).
    - ``"batched"``: ``f(theta, data) -> (R,)``, theta (R, D), by NumPy or torch; R is `block` for every call.
    - ``"compiled"``: ``f(theta, data) -> float`` in the part of Python that numba compiles, theta (D,) and
      data (columns, points) float64 arrays. It must not be decorated; the sampler calls it from compiled loops.

    Raises
    ------
    InputError
        If the name cannot be that of a file, a prior is none, there is no free parameter, or an ordered group has
        parameters of different priors.
    """

    name: str
    """What the model is called in tables, for instance ``"K=3"``."""

    parameters: Mapping[str, Prior]
    """Priors by the parameters' names, in order."""

    log_likelihood: Callable[[Any, Any], Any] | None
    """See the forms above; None for built-in sums of components."""

    form: Form = "python"
    """Which of the forms `log_likelihood` has."""

    data: Any = None
    """Second argument of `log_likelihood`; by default what `hpc-ds infer` reads: (columns, points) float64."""

    ordered: Sequence[Sequence[str]] = ()
    """Groups of parameters with like priors that are constrained to ascend; the prior is that of the sorted draws."""

    prior_probability: float = 1.0
    """Weight of the model before the data, relative to the others."""

    cost: float | None = None
    """Rough cost of a scan of one replica relative to other models, to share ranks; by default from parameters."""

    block: int = 8
    """Replicas of one batched call."""

    problem: Problem | None = None
    """The compiled description of a sum of components."""

    finish: Callable[[dict[str, NDArray[np.float64]]], Any] | None = field(default=None, repr=False)
    """Given posterior draws (copies, draws) by name, returns what a report can show (see `Presentation`)."""

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise InputError(
                f"model '{self.name}': its name becomes a file's, so it must not be empty or hold '/'"
            )
        if self.block < 1 or not self.prior_probability >= 0.0:
            raise InputError(
                f"model {self.name}: block must be at least 1 and prior_probability not negative"
            )
        for name, prior in self.parameters.items():
            if not isinstance(prior, Prior):
                raise InputError(
                    f"model {self.name}: the prior of {name} is {prior!r}; "
                    "one of hpc_ds.infer such as normal(0, 1) is needed"
                )
        if not self.free:
            raise InputError(f"model {self.name}: no free parameter, every prior is fixed")
        for group in self.ordered:
            self._check_group(group)
        if self.form != "components" and self.log_likelihood is None:
            raise InputError(f"model {self.name}: no log_likelihood")
        if self.form not in ("compiled", "batched", "python", "components"):
            raise InputError(f"model {self.name}: form '{self.form}'; compiled, batched or python is needed")

    @property
    def names(self) -> list[str]:
        """Names of all parameters, fixed ones too."""
        return list(self.parameters)

    @property
    def free(self) -> list[int]:
        """Indices of the parameters that are not fixed."""
        return [j for j, prior in enumerate(self.parameters.values()) if not prior.is_fixed]

    @property
    def log_symmetry(self) -> float:
        """Sum of log(m!) over ordered groups: what sorting adds to the log density of independent draws."""
        return sum(math.lgamma(len(group) + 1) for group in self.ordered)

    def encoded(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return family codes (D,) and numbers (D, 6) for compiled kernels."""
        rows = [prior.encode() for prior in self.parameters.values()]
        return np.array([code for code, _ in rows], dtype=np.int64), np.array([row for _, row in rows])

    def neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return for each parameter the next smaller and the next larger one of its ordered group, or -1."""
        follows = np.full(len(self.parameters), -1, dtype=np.int64)
        precedes = follows.copy()
        index = {name: j for j, name in enumerate(self.parameters)}
        for group in self.ordered:
            for lower, upper in pairwise(group):
                follows[index[upper]] = index[lower]
                precedes[index[lower]] = index[upper]
        return follows, precedes

    def _check_group(self, group: Sequence[str]) -> None:
        unknown = [name for name in group if name not in self.parameters]
        if unknown:
            raise InputError(f"model {self.name}: ordered group names '{unknown[0]}', which is no parameter")
        if len({self.parameters[name] for name in group}) > 1:
            raise InputError(f"model {self.name}: parameters of an ordered group need one and the same prior")


def load_models(spec: str, data: NDArray[np.float64] | None) -> list[Model]:
    """Load the models of a user's file.

    Parameters
    ----------
    spec : str
        ``path/to/file.py:name``; the name is a `Model`, a list of them, or a function of the data that returns either.
    data : (columns, points) float64 or None
        Given to such a function, and to each model that has no data of its own.

    Raises
    ------
    InputError
        In one line: no such file or name, an exception while it runs, or something else than models.
    """
    return models_of(load_object(spec, "a model"), spec, data)


def models_of(found: Any, spec: str, data: NDArray[np.float64] | None) -> list[Model]:
    """Return the models that `found` is or makes; see `load_models`, whose `spec` it bears in messages."""
    from dataclasses import replace

    if callable(found) and not isinstance(found, Model):
        try:
            found = found(data)
        except InputError as error:
            raise InputError(f"{spec}: {error}") from error
        except Exception as error:
            raise InputError(f"{spec}: {type(error).__name__}: {error}") from error
    models = list(found) if isinstance(found, list | tuple) else [found]
    if not models or not all(isinstance(model, Model) for model in models):
        raise InputError(f"{spec}: a Model or a list of them is needed, found {type(found).__name__}")
    return [
        model if model.data is not None or data is None else replace(model, data=data) for model in models
    ]


def check_names(models: Sequence[Model]) -> None:
    """Refuse models that share a name, which is their key in files and random streams."""
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two models are called '{name}'; names must differ")
