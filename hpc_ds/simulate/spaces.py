"""A user's own parameter space in place of a simulator's: the same names, other values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulator import Simulator
from hpc_ds.simulate.variables import Choices, Integers, Variable


def with_space(simulator: Simulator, said: Mapping[str, Any], where: str) -> Simulator:
    """Return the simulator with parameters as a user wants them.

    Parameters
    ----------
    simulator : Simulator
        What it declares, holds for each parameter that is not named.
    said : mapping
        ``parameters`` and perhaps ``constraints``, which then replace the simulator's own.
    where : str
        The file that says so, for messages.

    Raises
    ------
    InputError
        A name that the simulator does not have, other units than its own, or values of another kind.
    """
    own = simulator.space.to_dict()
    given = said.get("parameters", {})
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: parameters = {given!r}; a table [parameters.NAME] for each is needed")
    for name in given:
        if name not in simulator.space.names:
            known = unknown(name, simulator.space.names, f"those of {simulator.name}")
            raise InputError(f"{where}: no parameter '{name}'; {known}")
    parameters = {**own["parameters"], **given}
    space = ParameterSpace.from_dict(parameters, said.get("constraints", own["constraints"]), where)
    pairs = zip(simulator.space.variables, space.variables, strict=True)
    space = replace(space, variables=tuple(_agreeing(old, new, where) for old, new in pairs))
    return replace(simulator, space=space, layout=replace(simulator.layout, columns=space.columns))


def _agreeing(own: Variable, wanted: Variable, where: str) -> Variable:
    """Return what is wanted, in the simulator's units, if it is something that the simulator can take."""
    if wanted.units not in ("", own.units):
        raise InputError(
            f"{where}: parameter '{own.name}': units '{wanted.units}'; the simulator takes '{own.units}'"
        )
    if set(wanted.words) - set(own.words) or bool(wanted.words) != bool(own.words):
        raise InputError(f"{where}: parameter '{own.name}': {wanted.describe()}; {own.describe()} is needed")
    if _is_integer(own) and not _is_integer(wanted):
        raise InputError(f"{where}: parameter '{own.name}': {wanted.describe()}; integers are needed")
    return replace(wanted, units=own.units)


def _is_integer(item: Variable) -> bool:
    return isinstance(item, Integers) or (isinstance(item, Choices) and isinstance(item.values[0], int))
