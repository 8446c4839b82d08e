"""A user's own Python function as a simulator: ``simulate(parameters, rng)`` in a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.user_code import in_one_line, load_object, source_hash
from hpc_ds.simulate.declarations import SECTIONS, count_of, layout_of, read_sections, space_of
from hpc_ds.simulate.parameters import SPACE_KEYS
from hpc_ds.simulate.reading import check_keys
from hpc_ds.simulate.simulator import Simulator
from hpc_ds.simulate.spaces import with_space

F = TypeVar("F", bound=Callable[..., Any])

_DECLARED = "__hpc_ds_simulator__"


def declare(**sections: Any) -> Callable[[F], F]:
    """Declare what the function below takes and gives; the function itself stays as it is.

    Parameters
    ----------
    parameters : mapping
        What each parameter can be: see `ParameterSpace.from_dict`.
    constraints : sequence of str, optional
        Conditions that every sample satisfies.
    axes : mapping
        Spatial dimensions by name, in the order of the arrays: coordinates, an `Axis`, or a table of ``low``, ``high``,
        ``size``, ``endpoint``, ``units``. Left out if there are none.
    times : array, Axis or mapping, optional
        The moments that are kept; left out if nothing varies in time.
    fields : mapping or list of Field
        What is returned, by name: tables of ``units``, ``rank`` (0 scalar, 1 vector, 2 tensor), ``time_varying``,
        ``dims``, ``symmetric``, ``antisymmetric``. Axes of an array: time, space, components.
    boundaries : list or mapping, optional
        `Boundary` objects or tables of ``kind`` (periodic, wall, open), ``dims``, ``sides``, ``fields``.
    grid_type : str, optional
        ``cartesian`` (default) or ``spherical``.
    attributes : mapping, optional
        More to be written into the files: a title, a source, an equation.
    block : int, optional
        Samples that the function computes at once: it then takes lists of `block` parameters and random generators, and
        returns as many results.
    ranks : int, optional
        MPI ranks that compute one sample together: the function then takes ``(parameters, rng, comm)``.

    Raises
    ------
    InputError
        An unknown argument, or the function cannot be called so.

    Examples
    --------
    >>> @declare(
    ...     parameters={"rate": {"distribution": "log_uniform(0.1, 10)", "units": "1/s"}},
    ...     times=[0.0, 1.0, 2.0],
    ...     fields={"mass": {"units": "kg"}},
    ... )
    ... def simulate(parameters, rng):
    ...     return {"mass": [2.0 ** -(parameters["rate"] * t) for t in (0.0, 1.0, 2.0)]}
    """
    check_keys(sections, SECTIONS, "declare(...)")

    def keep(function: F) -> F:
        setattr(function, _DECLARED, dict(sections))
        return function

    return keep


def load_function(reference: str, options: Mapping[str, Any], parameters_file: str | None) -> Simulator:
    """Return the simulator that ``path/to/file.py:name`` is.

    The name is a function, declared by `declare` or by the parameter file; a `Simulator`; or a function of one
    argument, the options, that returns one.

    Raises
    ------
    InputError
        In one line: the file cannot be loaded, the name is no such thing, or too little is declared.
    """
    path = reference.rpartition(":")[0]
    found = load_object(reference, "a simulator")
    return simulator_of(found, reference, options, parameters_file, {"sha256": source_hash(path)})


def simulator_of(
    found: Any,
    reference: str,
    options: Mapping[str, Any],
    parameters_file: str | None,
    identity: Mapping[str, Any],
) -> Simulator:
    """Return the simulator that the object `found` is, makes or computes; see `load_function`."""
    if _builds(found):
        made = _built(found, reference, options)
    elif options:
        raise InputError(f"{reference}: option '{next(iter(options))}'; this simulator has none")
    elif isinstance(found, Simulator):
        made = found
    else:
        return _function(found, reference, parameters_file, identity)
    made = replace(made, identity={**identity, **made.identity})
    if parameters_file is None:
        return made
    return with_space(made, read_sections(parameters_file, SPACE_KEYS), parameters_file)


def _function(
    function: Any, reference: str, parameters_file: str | None, identity: Mapping[str, Any]
) -> Simulator:
    if not callable(function) or inspect.isclass(function):
        raise InputError(
            f"{reference}: found {_kind(function)}; a function simulate(parameters, rng) is needed"
        )
    declared: Mapping[str, Any] = getattr(function, _DECLARED, {})
    said = {} if parameters_file is None else read_sections(parameters_file)
    where = reference if parameters_file is None else parameters_file
    # A space of the function's own is not replaced here but narrowed below, where names and units are compared.
    kept = SPACE_KEYS if "parameters" in declared else ()
    sections = {**declared, **{key: value for key, value in said.items() if key not in kept}}
    _check_declared(sections, reference, parameters_file)
    space = space_of(sections, reference if kept else where)
    block, ranks = count_of(sections, "block", where), count_of(sections, "ranks", where)
    if block > 1 and ranks > 1:
        raise InputError(f"{where}: block = {block} and ranks = {ranks}; only one of them can be above 1")
    _check_signature(function, reference, 3 if ranks > 1 else 2)
    name = name_of(reference)
    made = Simulator(
        name=name,
        space=space,
        layout=layout_of(name, sections, space.columns, where),
        simulate=function if block == 1 else None,
        simulate_block=function if block > 1 else None,
        block=block,
        ranks=ranks,
        identity=identity,
    )
    return with_space(made, said, where) if kept and set(said) & set(SPACE_KEYS) else made


def name_of(reference: str) -> str:
    """Return the name of a set of ``path/to/file.py:name``: that of the function, or of its file if that says more."""
    path, _, name = reference.rpartition(":")
    return Path(path).stem if name in ("simulate", "simulator", "run", "main", "build") else name


def _builds(found: Any) -> bool:
    """Whether it is a function of one argument, the options, and no declared simulator."""
    if not inspect.isfunction(found) or hasattr(found, _DECLARED):
        return False
    return len(inspect.signature(found).parameters) == 1


def _built(build: Callable[..., Any], reference: str, options: Mapping[str, Any]) -> Simulator:
    try:
        made = build(options)
    except InputError as error:
        raise InputError(f"{reference}: {error}") from error
    except Exception as error:
        raise InputError(in_one_line(inspect.getsourcefile(build) or reference, error)) from error
    if not isinstance(made, Simulator):
        raise InputError(
            f"{reference}: a function of one argument, the options, must return a Simulator, found {_kind(made)}; "
            "simulate(parameters, rng) takes two"
        )
    return made


def _check_declared(sections: Mapping[str, Any], reference: str, parameters_file: str | None) -> None:
    for needed in ("parameters", "fields"):
        if needed not in sections:
            file = parameters_file or "a file given with --parameters"
            raise InputError(
                f"{reference}: declares no {needed}; write @hpc_ds.simulate.declare({_EXAMPLES[needed]}, ...) "
                f"above it, or [{needed}.NAME] in {file} ('hpc-ds init simulate {reference}' writes an example)"
            )


_EXAMPLES = {
    "parameters": 'parameters={"NAME": {"bounds": [0, 1]}}',
    "fields": 'fields={"NAME": {"units": "m/s"}}, axes={"x": numpy.linspace(0, 1, 64)}',
}


def _check_signature(function: Callable[..., Any], reference: str, count: int) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # compiled functions tell nothing
        return
    try:
        signature.bind(*[None] * count)
    except TypeError:
        wanted = "(parameters, rng)" if count == 2 else "(parameters, rng, comm)"
        raise InputError(f"{reference}: takes {signature}; {wanted} is needed") from None


def _kind(found: Any) -> str:
    return f"the class {found.__name__}" if inspect.isclass(found) else f"{found!r:.60}"
