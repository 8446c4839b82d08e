"""Designs of experiments: which parameters each sample of an ensemble has, before the first is computed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.runtime.suggest import unknown
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.variables import Choices, Distributed, Integers, Interval, Variable

Columns = dict[str, NDArray[Any]]
"""Parameters (n,) of all samples, by name."""

Levels = int | Mapping[str, int]

SEQUENCES = ("sobol", "halton", "random")
"""Designs that can grow: the first n of 2 n samples are the same n."""

KINDS = (*SEQUENCES, "latin-hypercube", "factorial")
"""Designs by name; a table of the user's own is one too, by its path."""

_BLOCK = 2**22
"""Numbers in one block of the unit cube: 32 MiB."""

_MOST = 2**32
"""Samples of a set, at most."""

_PATIENCE = 2**20
_HOPELESS = 1e-4
"""Constraints that let through a smaller share of at least so many points are refused."""

_TABLES = (".csv", ".txt", ".tsv", ".dat", ".npz", ".h5", ".hdf5")


def make_design(
    space: ParameterSpace,
    kind: str,
    samples: int | None,
    seed: int,
    table: str | os.PathLike[str] | None = None,
    levels: Levels | None = None,
) -> Columns:
    """Return the parameters of all samples, a pure function of the arguments.

    The first n rows of a design that `can_grow` do not depend on `samples`, constraints included: of a sequence, points
    that do not satisfy them are passed over.

    Parameters
    ----------
    space : ParameterSpace
        What can be varied.
    kind : str
        One of `KINDS`, or the path of a table with a column for each parameter.
    samples : int or None
        How many; None for all rows of a table, or for `levels` of a factorial design.
    seed : int
        Seed of the run.
    table : path, optional
        A table, whatever `kind` says.
    levels : int or mapping of str to int, optional
        Values of each parameter (or of one by name) in a factorial design; by default what `samples` allows.

    Returns
    -------
    dict of (samples,) arrays by name
        float64, int64 for integers, str for words. A factorial design has fewer rows where constraints forbid some.

    Raises
    ------
    InputError
        No sample or too many are asked for, the design is unknown, constraints leave hardly any point, or the table
        does not fit the space.
    """
    if samples is not None and samples < 1:
        raise InputError(f"samples = {samples}: at least 1 is needed")
    if table is not None or is_table(kind):
        return read_table(space, os.fspath(table if table is not None else kind), samples)
    _check_kind(kind)
    if kind == "factorial":
        return _factorial(space, samples, levels)
    if samples is None:
        raise InputError(f"design {kind}: the number of samples is needed")
    if kind == "latin-hypercube":
        return _latin_hypercube(space, samples, seed)
    blocks = _BLOCKS[kind](space.dimension, stream(seed, name_key("design")))
    return first_points(space, blocks, samples)


def can_grow(kind: str) -> bool:
    """Return whether more samples of this design leave the first ones as they are; `refusal` says why not."""
    return kind in SEQUENCES or is_table(kind)


def refusal(kind: str, have: int, wanted: int) -> str:
    """Return why a design of `have` samples that cannot grow is not made one of `wanted`, in one line."""
    reason = {
        "latin-hypercube": "each sample's place depends on how many there are",
        "factorial": "the levels of each parameter depend on how many samples there are",
    }.get(kind, "its first samples would be others")
    return (
        f"samples = {wanted}: this run has {have} of design {kind}, which cannot grow ({reason}); "
        f"take {', '.join(SEQUENCES)}, or another folder"
    )


def is_table(kind: str) -> bool:
    """Return whether a design is given by the path of a table."""
    return kind.lower().endswith(_TABLES)


def read_table(space: ParameterSpace, path: str, samples: int | None) -> Columns:
    """Return the first `samples` rows (None: all) of a table with a column for each parameter, in any order.

    Raises
    ------
    InputError
        One line with the file, the line and the column, for a table that cannot be read or leaves the space.
    """
    from hpc_ds.store.columns import load_columns

    found = load_columns(path)
    for name in found.names:
        if found.names.count(name) > 1:
            raise InputError(f"{path}: two columns are called '{name}'; names must differ")
    columns: dict[str, Any] = {}
    for j, name in enumerate(found.names):
        has_words = any(item.name == name and item.words for item in space.variables)
        columns[name] = found.cells[j] if has_words or name not in space.names else found.numbers(j)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InputError(f"{path}: columns of different lengths; equal lengths are needed")
    rows = lengths.pop()
    if samples is not None and samples > rows:
        raise InputError(
            f"samples = {samples}: the table {path} has {rows} rows; give it more, or ask for fewer"
        )
    lines = found.lines
    converted = space.converted(
        columns, path, lambda row: f"line {lines[row]}" if lines else f"element {row}"
    )
    return {name: values[:samples] for name, values in converted.items()}


def unit_blocks(kind: str, dimension: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Return an endless iterator over blocks (b, dimension) of one of `SEQUENCES`, whose size depends on neither."""
    return _BLOCKS[kind](dimension, rng)


def first_points(space: ParameterSpace, blocks: Iterator[NDArray[np.float64]], samples: int) -> Columns:
    """Return the first `samples` points of `blocks` of the unit cube that satisfy the constraints, in their order.

    Raises
    ------
    InputError
        Hardly any point satisfies them.
    """
    parts: list[Columns] = []
    kept = tried = 0
    for _ in count():
        columns = space.from_unit(next(blocks))
        if space.constraints:
            mask = space.satisfied(columns)
            tried += mask.size
            columns = {name: values[mask] for name, values in columns.items()}
            rows = int(np.count_nonzero(mask))
        else:
            rows = _block_size(space.dimension)
        parts.append({name: values[: samples - kept].copy() for name, values in columns.items()})
        kept += rows
        if kept >= samples:
            break
        if tried >= _PATIENCE and kept < _HOPELESS * tried:
            raise InputError(
                f"constraints: {kept} of {tried} points satisfy {_listed(space)}; narrow the bounds to where they hold"
            )
    return {name: np.concatenate([part[name] for part in parts]) for name in space.names}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(
            f"design '{kind}': {unknown(kind, [*KINDS, 'adaptive'])}, or a table of your own such as points.csv, or an "
            "adaptive design of your own, file.py:name"
        )


def _block_size(dimension: int) -> int:
    """Rows of a block: a power of two (Sobol' points are balanced in such blocks), a function of the dimension only."""
    return 2 ** max(0, min(16, int(math.log2(_BLOCK / max(dimension, 1)))))


def _sobol(dimension: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    from scipy.stats import qmc

    # Points are the low corners of cells of width 2**-52: the middle is never 0, where a normal law has no value.
    engine = qmc.Sobol(dimension, bits=52, rng=rng) if dimension else None
    while True:
        size = _block_size(dimension)
        yield engine.random(size) + 2.0**-53 if engine else np.empty((size, 0))


def _halton(dimension: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    from scipy.stats import qmc

    engine = qmc.Halton(dimension, rng=rng) if dimension else None
    while True:
        size = _block_size(dimension)
        yield engine.random(size) if engine else np.empty((size, 0))


def _random(dimension: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    while True:
        yield rng.random((_block_size(dimension), dimension))


_BLOCKS: dict[str, Callable[[int, np.random.Generator], Iterator[NDArray[np.float64]]]] = {
    "sobol": _sobol,
    "halton": _halton,
    "random": _random,
}


def _latin_hypercube(space: ParameterSpace, samples: int, seed: int) -> Columns:
    from scipy.stats import qmc

    if space.constraints:
        raise InputError(
            f"design latin-hypercube: cannot keep {_listed(space)}, for a hypercube with holes is none; take sobol"
        )
    if not space.dimension:
        return space.from_unit(np.empty((samples, 0)))
    points = qmc.LatinHypercube(space.dimension, rng=stream(seed, name_key("design"))).random(samples)
    # (row + 1 - r) / n is 1 where the drawn r is 0.
    return space.from_unit(np.minimum(points, 1.0 - 2.0**-53))


def _factorial(space: ParameterSpace, samples: int | None, levels: Levels | None) -> Columns:
    varied = [item for item in space.variables if not item.is_fixed]
    sizes = _levels(space, varied, samples, levels)
    total = math.prod(sizes)
    if total > _MOST:
        raise InputError(f"design factorial: {total} points; at most {_MOST} can be made")
    if samples is not None and samples != total:
        raise InputError(
            f"samples = {samples}: a factorial design with levels "
            f"{', '.join(f'{item.name} {size}' for item, size in zip(varied, sizes))} has {total}"
        )
    axes = [_coordinates(item, size) for item, size in zip(varied, sizes)]
    grid = np.meshgrid(*axes, indexing="ij") if axes else []
    columns = space.from_unit(np.stack([axis.ravel() for axis in grid], axis=1) if grid else np.empty((1, 0)))
    mask = space.satisfied(columns)
    if not mask.any():
        raise InputError(
            f"constraints: none of {total} points of the factorial design satisfies {_listed(space)}"
        )
    return {name: values[mask] for name, values in columns.items()}


def _levels(
    space: ParameterSpace, varied: list[Variable], samples: int | None, levels: Levels | None
) -> list[int]:
    if isinstance(levels, Mapping):
        for name in levels:
            if name not in space.varied:
                raise InputError(
                    f"levels: no parameter '{name}'; {unknown(name, space.varied, 'parameters')}"
                )
        missing = [item.name for item in varied if item.name not in levels and _own_levels(item) is None]
        if missing:
            raise InputError(f"levels: none for {', '.join(missing)}")
        sizes = [int(levels.get(item.name, _own_levels(item) or 0)) for item in varied]
    elif levels is not None:
        sizes = [_own_levels(item, levels) or levels for item in varied]
    elif samples is not None:
        return _fitting(varied, samples)
    else:
        raise InputError("design factorial: the number of samples, or of levels, is needed")
    if min(sizes, default=1) < 1:
        raise InputError(f"levels = {min(sizes)}: at least 1 is needed")
    return sizes


def _fitting(varied: list[Variable], samples: int) -> list[int]:
    """Return levels, the same for each parameter that has no own ones, whose product is `samples`."""
    near: list[int] = []
    for level in range(1, samples + 1):
        sizes = [_own_levels(item, level) or level for item in varied]
        total = math.prod(sizes)
        if total == samples:
            return sizes
        near.append(total)
        if total > samples or (len(near) > 1 and near[-1] == near[-2]):
            break
    fits = " or ".join(str(size) for size in dict.fromkeys(near[-2:]))
    raise InputError(
        f"samples = {samples}: no factorial design of {len(varied)} parameters has so many; {fits} would do"
    )


def _own_levels(item: Variable, at_most: int | None = None) -> int | None:
    """Levels that a parameter has by itself: all its choices, or its integers; None for a real number."""
    if isinstance(item, Choices):
        return len(item.values)
    if isinstance(item, Integers) and not item.needs:
        first, last = item.limits({})
        there = int(last - first) + 1
        return there if at_most is None else min(at_most, there)
    return None


def _coordinates(item: Variable, size: int) -> NDArray[np.float64]:
    """Levels of one parameter in [0, 1]: with both ends where it has bounds, else the middles of equal shares."""
    bounded = isinstance(item, Interval) or (
        isinstance(item, Distributed) and item.distribution.family in ("uniform", "log_uniform")
    )
    if bounded and size > 1:
        return np.linspace(0.0, 1.0, size)
    return (np.arange(size) + 0.5) / size


def _listed(space: ParameterSpace) -> str:
    return " and ".join(constraint.text for constraint in space.constraints)
