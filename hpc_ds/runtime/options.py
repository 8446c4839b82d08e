"""Options that flags or a TOML file give: checked, with one clear line for the first that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.toml import read_toml

M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], values: Mapping[str, Any], prefix: str = "--") -> M:
    """Return ``model(**values)``.

    Raises
    ------
    InputError
        One line that names the first wrong key, led by `prefix`, its value and what would be right.
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise InputError(_first_problem(model, error, prefix)) from None


def read_options(
    path: str, known: Collection[str], tables: Collection[str] = (), switches: Collection[str] = ()
) -> dict[str, Any]:
    """Read a TOML file of options, named as the flags without ``--``.

    Parameters
    ----------
    path : str
        The file.
    known : collection of str
        Options there are, with underscores.
    tables : collection of str
        Those that may be tables.
    switches : collection of str
        Those that are true or false.

    Raises
    ------
    InputError
        The file is missing or no TOML, or has a key that is no option.
    """
    renamed = {key.replace("-", "_"): value for key, value in read_toml(path, "--config").items()}
    for key, value in renamed.items():
        if key not in known:
            raise InputError(
                f"--config {path}: '{key}' is no option; {unknown(key, sorted(known), 'options')}"
            )
        if key in switches and not isinstance(value, bool):
            raise InputError(f"--config {path}: {key} = {value!r}: true or false is needed")
        unexpected = isinstance(value, bool) and key not in switches
        if unexpected or (isinstance(value, dict) and key not in tables):
            raise InputError(f"--config {path}: {key} = {value}: a text, a number or a list is needed")
    return renamed


def _first_problem(model: type[BaseModel], error: ValidationError, prefix: str) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]).replace("_", "-")
    if problem["type"] == "extra_forbidden":
        known = [name.replace("_", "-") for name in model.model_fields]
        return f"{prefix}{key}: unknown; {unknown(key, known, 'options')}"
    if problem["type"] == "value_error":
        return f"{prefix}{key} {problem['input']!r}: {problem['ctx']['error']}"
    return f"{prefix}{key} {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
