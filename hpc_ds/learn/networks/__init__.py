"""Networks by name: built-in ones, those of a user's own file, and those of installed packages."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.options import checked
from hpc_ds.runtime.plugins import plugin, plugin_names
from hpc_ds.runtime.suggest import unknown

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import nn

Shape = tuple[int, ...]
r"""Of one sample: (channels, \*grid), or (features,) where there is no grid."""


class BuiltIn(NamedTuple):
    """Where a network's code is, and what it can take."""

    module: str
    """Has ``class Options(BaseModel)`` and ``build(options, inputs, outputs, task) -> nn.Module``."""
    preset: Mapping[str, Any] = {}
    """Options that the name stands for."""
    grids: tuple[int, ...] = (1, 2, 3)
    """Numbers of dimensions of the inputs' grid that it takes; 0 is no grid."""
    tasks: tuple[str, ...] = ("fields",)
    """What it can learn."""


_HERE = "hpc_ds.learn.networks"


def _of_images(module: str, preset: Mapping[str, Any] | None = None) -> BuiltIn:
    return BuiltIn(f"{_HERE}.{module}", preset or {}, grids=(2,), tasks=("classify", "scalars"))


BUILT_IN: dict[str, BuiltIn] = {
    "mlp": BuiltIn(f"{_HERE}.mlp", grids=(0, 1, 2, 3), tasks=("fields", "scalars", "classify")),
    "unet": BuiltIn(f"{_HERE}.unet"),
    "fno": BuiltIn(f"{_HERE}.fno"),
    **{f"fno{d}d": BuiltIn(f"{_HERE}.fno", grids=(d,)) for d in (1, 2, 3)},
    "tfno": BuiltIn(f"{_HERE}.tucker_fno"),
    **{f"tfno{d}d": BuiltIn(f"{_HERE}.tucker_fno", grids=(d,)) for d in (1, 2, 3)},
    **{f"resnet{n}": _of_images("resnet", {"layers": n}) for n in (18, 34, 50, 101, 152)},
    **{f"efficientnet-b{n}": _of_images("efficientnet", {"size": f"b{n}"}) for n in range(8)},
    "inception-v3": _of_images("inception"),
}
"""Networks that `hpc-ds learn` knows."""


def build_network(
    reference: str,
    options: Mapping[str, Any] | None,
    inputs: Sequence[int],
    outputs: Sequence[int],
    task: str,
    axes: Sequence[Any] = (),
) -> nn.Module:
    r"""Return a network with new weights, drawn from torch's generator.

    Parameters
    ----------
    reference : str
        A name of `BUILT_IN`, ``path/to/file.py:name`` of a function ``(inputs, outputs, **options) -> nn.Module``, or
        NAME of an installed package's entry point ``learn.NAME`` in the group ``hpc_ds.plugins``.
    options : mapping
        The network's options, e.g. ``{"width": 64}``.
    inputs : sequence of int
        Shape of one sample: (channels, \*grid), or (features,).
    outputs : sequence of int
        Shape of what comes of it: (channels, \*grid) for fields, (D,) for scalars, (classes,) for classes, whose
        outputs are logits.
    task : str
        ``fields``, ``scalars`` or ``classify``.
    axes : sequence
        The grid's axes, each with an attribute ``periodic``, for networks that make use of it.

    Raises
    ------
    InputError
        In one line: no such network, an option that is unknown or cannot be, or a network that does not take such data.
    """
    given = {str(key).replace("-", "_"): value for key, value in (options or {}).items()}
    inputs, outputs = tuple(map(int, inputs)), tuple(map(int, outputs))
    if reference in BUILT_IN:
        return _built_in(reference, given, inputs, outputs, task, axes)
    from hpc_ds.learn.networks import user_network

    if ":" in reference:
        return user_network.load_network_function(reference, given, inputs, outputs)
    if reference.endswith(".py"):
        raise InputError(f"network {reference}: say which function of the file, as in {reference}:build")
    offered = plugin("learn", reference)
    if offered is None:
        raise InputError(
            f"network '{reference}': {unknown(reference, network_names())}; or give path/to/file.py:name"
        )
    return user_network.call_network_function(offered, reference, given, inputs, outputs)


def network_names() -> list[str]:
    """Return the names of all networks that there are: built-in ones, then those of installed packages."""
    return [*BUILT_IN, *plugin_names("learn")]


def network_options(reference: str) -> type[BaseModel] | None:
    """Return the options of a built-in network, each with its description; None for another one."""
    if reference not in BUILT_IN:
        return None
    return import_module(BUILT_IN[reference].module).Options


def count_parameters(network: nn.Module) -> int:
    """Return how many real numbers the parameters of a network are; a complex one is two."""
    return sum(_reals(parameter) for parameter in network.parameters())


def _reals(parameter: Any) -> int:
    return int(parameter.numel()) * (2 if parameter.is_complex() else 1)


def _built_in(
    name: str, given: Mapping[str, Any], inputs: Shape, outputs: Shape, task: str, axes: Sequence[Any]
) -> nn.Module:
    entry = BUILT_IN[name]
    _check_data(name, entry, inputs, outputs, task)
    for key in entry.preset:
        if key in given:
            raise InputError(
                f"{name}: option {key} {given[key]}: the name says it, {name} has {entry.preset[key]}"
            )
    module = import_module(entry.module)
    chosen = checked(module.Options, {**entry.preset, **given}, f"{name}: option ")
    known = {"axes": axes} if "axes" in inspect.signature(module.build).parameters else {}
    try:
        return module.build(chosen, inputs, outputs, task, **known)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _check_data(name: str, entry: BuiltIn, inputs: Shape, outputs: Shape, task: str) -> None:
    if task not in entry.tasks:
        able = [other for other, one in BUILT_IN.items() if task in one.tasks]
        raise InputError(
            f"{name}: learns {_either(_TASKS[one] for one in entry.tasks)}, not {_TASKS.get(task, repr(task))}"
            + (f"; {', '.join(able)} do" if able else "")
        )
    dimensions = len(inputs) - 1
    if dimensions not in entry.grids:
        raise InputError(
            f"{name}: takes {_grids(entry.grids)}; the inputs, {told(inputs)}, have {_grids((dimensions,))}"
        )


_TASKS = {"fields": "fields", "scalars": "scalars", "classify": "classes"}


def told(shape: Sequence[int]) -> str:
    """Return a shape as a message shows it: ``3 x 64 x 64``."""
    return " x ".join(map(str, shape))


def _grids(dimensions: Sequence[int]) -> str:
    named = [f"{d}-d" for d in dimensions if d]
    grids = f"a {_either(named)} grid" if named else ""
    return _either(([grids] if grids else []) + (["no grid"] if 0 in dimensions else []))


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
