"""Simulators by name: built-in ones, those of a user's own file or program, and those of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.plugins import GROUP, plugin, plugin_names
from hpc_ds.runtime.suggest import unknown
from hpc_ds.simulate.declarations import read_sections
from hpc_ds.simulate.parameters import SPACE_KEYS
from hpc_ds.simulate.program import load_program
from hpc_ds.simulate.python_function import load_function, simulator_of
from hpc_ds.simulate.simulator import Simulator
from hpc_ds.simulate.spaces import with_space

BUILT_IN = {
    "burgers": "hpc_ds.simulate.simulators.burgers",
    "navier-stokes": "hpc_ds.simulate.simulators.navier_stokes",
    "darcy": "hpc_ds.simulate.simulators.darcy",
    "lorenz96": "hpc_ds.simulate.simulators.lorenz96",
    "lorenz96-two-level": "hpc_ds.simulate.simulators.lorenz96_two_level",
    "neutron-star": "hpc_ds.simulate.simulators.neutron_star",
}
"""Modules of the simulators that `hpc-ds simulate` knows; each has ``build(options) -> Simulator``."""


def load_simulator(
    reference: str, options: Mapping[str, Any] | None = None, parameters_file: str | None = None
) -> Simulator:
    """Return a simulator, ready to run.

    Parameters
    ----------
    reference : str
        A name of `BUILT_IN`, ``path/to/file.py:name``, ``path/to/solver.toml``, or NAME of an installed package's entry
        point ``simulate.NAME`` in the group ``hpc_ds.plugins``.
    options : mapping, optional
        The simulator's options, e.g. ``{"resolution": 128}``.
    parameters_file : str, optional
        TOML file of parameters in place of the simulator's own, for a Python function also of its fields.

    Raises
    ------
    InputError
        In one line: there is no such simulator, it cannot be loaded, or an option or parameter is not one of its.
    """
    given = dict(options or {})
    if reference in BUILT_IN:
        made: Simulator = import_module(BUILT_IN[reference]).build(given)
        return _narrowed(made, parameters_file)
    if reference.endswith(".toml"):
        return load_program(reference, given, parameters_file)
    if ":" in reference:
        return load_function(reference, given, parameters_file)
    if reference.endswith(".py"):
        raise InputError(f"simulator {reference}: say which function of the file, as in {reference}:simulate")
    offered = plugin("simulate", reference)
    if offered is None:
        known = unknown(reference, [*BUILT_IN, *plugin_names("simulate")])
        raise InputError(
            f"simulator '{reference}': {known}; or give path/to/file.py:name or path/to/solver.toml"
        )
    identity = {"plugin": reference, "version": _version(reference)}
    return simulator_of(offered, reference, given, parameters_file, identity)


def _version(reference: str) -> str:
    """Return the name and version of the package that offers a plug-in."""
    from importlib.metadata import entry_points

    found = next(iter(entry_points(group=GROUP, name=f"simulate.{reference}")), None)
    offers = found.dist if found is not None else None
    return f"{offers.name} {offers.version}" if offers is not None else ""


def _narrowed(made: Simulator, parameters_file: str | None) -> Simulator:
    if parameters_file is None:
        return made
    return with_space(made, read_sections(parameters_file, SPACE_KEYS), parameters_file)
