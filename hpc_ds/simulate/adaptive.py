"""Designs that learn: each generation of samples is chosen by what the earlier ones gave."""

from __future__ import annotations

import inspect
import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.user_code import in_one_line, load_object, source_hash
from hpc_ds.simulate.design import Columns, first_points, unit_blocks
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.variables import Values

ADAPTIVE = "adaptive"
"""Name of the built-in adaptive design, `LargestDisagreement`."""


class AdaptiveDesign(Protocol):
    """What chooses samples by generation; built as ``Name(space)``.

    Its state is a pure function of what it was told: a run that is continued makes it anew and tells it all earlier
    generations again, in their order, before it asks.
    """

    def ask(self, generation: int, n: int, rng: np.random.Generator) -> Columns:
        """Return the parameters, arrays (n,) by name, of the samples of a generation, counted from 0."""
        ...

    def tell(self, columns: Values, values: NDArray[np.float64]) -> None:
        """Take in a generation: parameters (m,) by name and (m, q) numbers of each sample that did not fail."""
        ...


def is_adaptive(design: str) -> bool:
    """Return whether a design is made by generation: `ADAPTIVE`, or a class ``path/to/file.py:Name``."""
    return design == ADAPTIVE or design.rpartition(":")[0].endswith(".py")


def make_adaptive(design: str, space: ParameterSpace) -> AdaptiveDesign:
    """Return the adaptive design of that name, or a user's own, whose answers are checked against the space.

    Raises
    ------
    InputError
        In one line: the file cannot be loaded, or its class is no adaptive design. A user's design raises it later too:
        for an exception, or for samples that are not in the space.
    """
    if design == ADAPTIVE:
        return LargestDisagreement(space)
    return _Checked(design, space)


def design_hash(design: str) -> str | None:
    """Return the SHA-256 of the file of a user's own design, None of a built-in one: another text is another run."""
    return source_hash(design.rpartition(":")[0]) if is_adaptive(design) and design != ADAPTIVE else None


def summary_of(array: ArrayLike, size: int = 64) -> NDArray[np.float64]:
    """Return what a design learns of one sample's field: means over blocks, and the spread around them all.

    Parameters
    ----------
    array : array of any shape
        The field of one sample.
    size : int
        Most blocks that it is divided into, along its longest axes first.

    Returns
    -------
    (q,) float64
        The same q for arrays of the same shape, q <= size + 1.
    """
    values = np.asarray(array, dtype=np.float64)
    blocks = list(values.shape)
    while math.prod(blocks) > max(size, 1):
        longest = blocks.index(max(blocks))
        blocks[longest] = (blocks[longest] + 1) // 2
    means = values
    for axis, count in enumerate(blocks):
        starts = np.arange(count) * values.shape[axis] // count
        lengths = np.diff(np.append(starts, values.shape[axis]))
        shape = [-1 if other == axis else 1 for other in range(values.ndim)]
        means = np.add.reduceat(means, starts, axis=axis) / lengths.reshape(shape)
    return np.append(means.ravel(), values.std())


class LargestDisagreement:
    """Puts samples where a committee of cheap surrogates disagrees most.

    Each of the committee saw a bootstrap resample of the samples so far, and interpolates between the nearest ones of
    its own: where the field changes quickly with the parameters, or samples are far apart, their answers differ
    (query by committee, Seung et al. 1992). A share of each generation is spread evenly, to meet what is not known yet;
    the first generation is all of that kind, a Sobol' sequence.

    Parameters
    ----------
    space : ParameterSpace
        What can be varied.
    committee : int
        Surrogates.
    pool : int
        Candidates among which a generation is chosen; at least eight times its size are taken.
    explore : float
        Share of each generation that is spread evenly.
    """

    def __init__(
        self, space: ParameterSpace, committee: int = 16, pool: int = 4096, explore: float = 0.25
    ) -> None:
        if not space.dimension:
            raise InputError("design adaptive: no parameter is varied; there is nothing to choose")
        self._space = space
        self._committee, self._pool, self._explore = committee, pool, explore
        self._points = np.empty((0, space.dimension))
        self._values = np.empty((0, 0))

    def tell(self, columns: Values, values: NDArray[np.float64]) -> None:
        """Take in the samples of a generation; see `AdaptiveDesign`."""
        if len(values):
            earlier = self._values.reshape(len(self._values), np.shape(values)[1])
            self._points = np.concatenate([self._points, self._space.to_unit(columns)])
            self._values = np.concatenate([earlier, values])

    def ask(self, generation: int, n: int, rng: np.random.Generator) -> Columns:
        """Return the samples of a generation; see `AdaptiveDesign`."""
        spread = n if len(self._points) < 2 else math.ceil(self._explore * n)
        total = spread + (max(self._pool, 8 * n) if spread < n else 0)
        found = first_points(self._space, unit_blocks("sobol", self._space.dimension, rng), total)
        if spread == n:
            return found
        units = self._space.to_unit(found)
        scores = np.sqrt(self._disagreement(units[spread:], rng))
        reached = np.concatenate([self._points, units[:spread]])
        chosen = _spread_out(units[spread:], scores, reached, n - spread)
        rows = np.concatenate([np.arange(spread), spread + chosen])
        return {name: values[rows] for name, values in found.items()}

    def _disagreement(self, candidates: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the variance between the committee's answers, summed over what was told, at (c, d) candidates."""
        from scipy.spatial import cKDTree

        n, d = self._points.shape
        # A resample holds 63 % of the samples: among so many neighbours each surrogate finds the d + 2 of its own.
        distances, neighbours = cKDTree(self._points).query(candidates, k=min(n, 3 * (d + 2) + 8))
        weights = 1.0 / (distances**2 + _NEAREST)
        scale = self._values.std(axis=0)
        values = (self._values - self._values.mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
        total = np.zeros((len(candidates), values.shape[1]))
        squares = np.zeros_like(total)
        for _ in range(self._committee):
            seen = np.zeros(n, dtype=np.bool_)
            seen[rng.integers(n, size=n)] = True
            answer = _interpolated(values, neighbours, weights, seen, d + 2)
            total += answer
            squares += answer * answer
        variance = squares / self._committee - (total / self._committee) ** 2
        return np.maximum(variance, 0.0).sum(axis=1)


_NEAREST = 1e-9
"""Squared distance in the unit cube below which a sample's own value is the answer."""


def _interpolated(
    values: NDArray[np.float64],
    neighbours: NDArray[np.int64],
    weights: NDArray[np.float64],
    seen: NDArray[np.bool_],
    count: int,
) -> NDArray[np.float64]:
    """Return the means (c, q) of the values of the nearest `count` neighbours that were seen, weighted."""
    known = seen[neighbours]
    used = np.where(known & (np.cumsum(known, axis=1) <= count), weights, 0.0)
    used /= np.maximum(used.sum(axis=1, keepdims=True), _TINY)
    answer = np.zeros((len(neighbours), values.shape[1]))
    for place in range(
        neighbours.shape[1]
    ):  # neighbour by neighbour: a product of matrices would depend on threads
        answer += used[:, place, None] * values[neighbours[:, place]]
    return answer


_TINY = 1e-300


def _spread_out(
    candidates: NDArray[np.float64], scores: NDArray[np.float64], reached: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Return indices of `count` candidates of high scores, each lowered near what is `reached` or chosen."""
    from scipy.spatial import cKDTree

    d = candidates.shape[1]
    spacing = 0.5 * len(reached) ** (-1.0 / d)
    distance = cKDTree(reached).query(candidates)[0]
    chosen = np.empty(count, dtype=np.int64)
    for place in range(count):
        # Where all agree (a constant field), the farthest candidate is taken.
        worth = (scores + _TINY) * np.minimum(distance / spacing, 1.0)
        best = int(np.argmax(worth))
        chosen[place] = best
        apart = np.sqrt(np.sum((candidates - candidates[best]) ** 2, axis=1))
        distance = np.minimum(distance, apart)
        scores = np.where(np.arange(len(scores)) == best, -1.0, scores)
    return chosen


class _Checked:
    """A user's own design: what it raises is told in one line, and what it returns is checked."""

    def __init__(self, reference: str, space: ParameterSpace) -> None:
        self._reference, self._space = reference, space
        found = load_object(reference, "an adaptive design")
        if not inspect.isclass(found) or not all(
            callable(getattr(found, one, None)) for one in ("ask", "tell")
        ):
            raise InputError(
                f"{reference}: a class with ask(generation, n, rng) and tell(columns, values) is needed, "
                f"found {found!r}"
            )
        self._design = self._guarded(found, space)

    def ask(self, generation: int, n: int, rng: np.random.Generator) -> Columns:
        columns = self._guarded(self._design.ask, generation, n, rng)
        where = f"{self._reference}, generation {generation}"
        if not hasattr(columns, "items"):
            raise InputError(
                f"{where}: ask returned {type(columns).__name__}; arrays by parameter are needed"
            )
        for name, values in columns.items():
            if np.shape(values) != (n,):
                raise InputError(f"{where}: {name} has shape {np.shape(values)}; ({n},) is needed")
        return self._space.converted(columns, where)

    def tell(self, columns: Values, values: NDArray[np.float64]) -> None:
        self._guarded(self._design.tell, columns, values)

    def _guarded(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except InputError as error:
            raise InputError(f"{self._reference}: {error}") from error
        except Exception as error:
            raise InputError(in_one_line(self._reference.rpartition(":")[0], error)) from error
