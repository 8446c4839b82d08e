"""The file ``evaluation.h5``: what was found on each part of the data, for reports and other tools."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.evaluation import PLACES, Evaluation, Picture
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.netcdf import Group, list_groups, read_attrs, read_group, write_groups

FORMAT = 1
"""Version of the file."""


def write_evaluation(path: str | os.PathLike[str], splits: Mapping[str, Evaluation], units: str = "") -> None:
    """Write the root's evaluations, by the name of their split; atomically.

    Each split is a group: ``sample`` and ``error``, (n,), and what `Evaluation.arrays` holds; attributes task, names,
    input_names, metric (what the error is), units and not_finite. In it are groups ``best``, ``median`` and ``worst``
    where pictures were kept (input, target, prediction, spread; attributes sample and error), and ``metrics`` and
    ``details``, whose variables are named as in `Evaluation`, a dot in place of a stroke.

    Parameters
    ----------
    path : str or Path
        A file of that name is replaced.
    splits : mapping of str to Evaluation
        By split.
    units : str
        Of the errors; empty for ratios and logarithms.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    groups = {"/": Group(attrs={"format": FORMAT})}
    for split, evaluation in splits.items():
        groups[split] = _group(evaluation, units)
        for place, picture in evaluation.pictures.items():
            attrs = {"sample": picture.sample, "error": picture.error}
            groups[f"{split}/{place}"] = Group(_variables(picture.arrays), attrs=attrs)
        groups[f"{split}/metrics"] = Group(_variables(evaluation.metrics))
        details = {name.replace("/", "."): values for name, values in evaluation.details.items()}
        groups[f"{split}/details"] = Group(_variables(details))
    write_groups(path, groups)


def read_evaluation(path: str | os.PathLike[str]) -> dict[str, Evaluation]:
    """Read what `write_evaluation` wrote, by split.

    Raises
    ------
    InputError
        No such file, or none of this format.
    """
    found = read_attrs(path).get("format")
    if found != FORMAT:
        raise InputError(f"{os.fspath(path)}: format {found} is no evaluation's; {FORMAT} is needed")
    return {split: _read_split(path, split) for split in list_groups(path)}


def _group(evaluation: Evaluation, units: str) -> Group:
    attrs = {
        "task": evaluation.task,
        "names": list(evaluation.names),
        "input_names": list(evaluation.input_names),
        "metric": evaluation.metric,
        "units": units,
        "not_finite": evaluation.not_finite,
        "places": list(evaluation.pictures),
    }
    arrays = {"sample": evaluation.sample, "error": evaluation.error, **evaluation.arrays}
    return Group(_variables(arrays), attrs=attrs)


def _variables(arrays: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Name the axes of each array by its own sizes, so that arrays of equal shape share them."""
    values = {name: np.asarray(array) for name, array in arrays.items()}
    return {
        name: (tuple(f"axis{i}_{size}" for i, size in enumerate(array.shape)), array)
        for name, array in values.items()
    }


def _read_split(path: str | os.PathLike[str], split: str) -> Evaluation:
    attrs = read_attrs(path, split)
    arrays = read_group(path, split)
    metrics = read_group(path, f"{split}/metrics")
    details = read_group(path, f"{split}/details")
    return Evaluation(
        attrs["task"],
        tuple(attrs["names"]),
        tuple(attrs["input_names"]),
        {name: float(value) for name, value in metrics.items()},
        {name.replace(".", "/"): values for name, values in details.items()},
        np.asarray(attrs["not_finite"]),
        attrs["metric"],
        arrays.pop("sample"),
        arrays.pop("error"),
        arrays,
        {place: _picture(path, f"{split}/{place}") for place in PLACES if place in attrs["places"]},
    )


def _picture(path: str | os.PathLike[str], group: str) -> Picture:
    attrs = read_attrs(path, group)
    return Picture(int(attrs["sample"]), float(attrs["error"]), read_group(path, group))
