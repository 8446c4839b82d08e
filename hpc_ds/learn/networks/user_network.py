"""A user's own network: a Python function ``(inputs, outputs, **options) -> nn.Module``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.user_code import in_one_line, load_object

Shape = tuple[int, ...]


def load_network_function(
    reference: str, options: Mapping[str, Any], inputs: Shape, outputs: Shape
) -> nn.Module:
    """Return what the function ``path/to/file.py:name`` makes of these shapes; see `call_network_function`."""
    found = load_object(reference, "a network")
    return call_network_function(found, reference, options, inputs, outputs)


def call_network_function(
    function: Any, reference: str, options: Mapping[str, Any], inputs: Shape, outputs: Shape
) -> nn.Module:
    """Return ``function(inputs, outputs, **options)`` once two samples of zeros have gone through it.

    Torch's random numbers go on after those that the function drew, whatever that trial drew.

    Raises
    ------
    InputError
        In one line: it is no such function, an option is not one of its, it fails, or what it makes is no network, has
        nothing to learn, or gives outputs of another shape.
    """
    _check_call(function, reference, options)
    where = _source(function, reference)
    try:
        network = function(inputs, outputs, **options)
    except InputError as error:
        raise InputError(f"{reference}: {error}") from error
    except Exception as error:
        raise InputError(in_one_line(where, error)) from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{reference}: gave {type(network).__name__}; a torch.nn.Module is needed")
    _check_outputs(network, reference, where, inputs, outputs)
    return network


def _check_call(function: Any, reference: str, options: Mapping[str, Any]) -> None:
    wanted = "a function (inputs, outputs, **options) that returns a torch.nn.Module is needed"
    if not callable(function) or isinstance(function, nn.Module):
        raise InputError(f"{reference}: found {type(function).__name__}; {wanted}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # compiled functions tell nothing
        return
    try:
        signature.bind((1,), (1,))
    except TypeError:
        required = [p for p in signature.parameters.values() if p.default is inspect.Parameter.empty]
        missing = [p.name for p in required[2:] if p.name not in options and p.kind not in _VARIADIC]
        if missing:
            raise InputError(f"{reference}: needs the option {missing[0]}: {signature}") from None
        if len(signature.parameters) < 2:
            raise InputError(f"{reference}: takes {signature}; {wanted}") from None
    names = [
        p.name for p in list(signature.parameters.values())[2:] if p.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    for key in options:
        if key not in names and not open_ended:
            raise InputError(f"{reference}: option {key}: unknown; {unknown(key, names, 'options')}")


_VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def _check_outputs(network: nn.Module, reference: str, where: str, inputs: Shape, outputs: Shape) -> None:
    found = _trial(network, where, inputs)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"{reference}: the network has no parameter to be learned")
    if not isinstance(found, torch.Tensor):
        raise InputError(f"{reference}: the network gives {type(found).__name__}; one tensor is needed")
    if tuple(found.shape) != (2, *outputs):
        raise InputError(
            f"{reference}: of two samples {(2, *inputs)} the network makes {tuple(found.shape)}; "
            f"{(2, *outputs)} is needed"
        )


def _trial(network: nn.Module, where: str, inputs: Shape) -> Any:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return network(torch.zeros(2, *inputs))
    except Exception as error:
        raise InputError(in_one_line(where, error)) from error
    finally:
        for module, training in modes:
            module.training = training


def _source(function: Any, reference: str) -> str:
    try:
        return inspect.getsourcefile(function) or reference
    except TypeError:
        return reference
