"""Begin with weights that were learned elsewhere: torchvision's files, or those of an own training."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpc_ds.learn.networks import told
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown


@dataclass(frozen=True)
class Loaded:
    """What became of the tensors of a weights file and of a network's own."""

    path: str
    taken: tuple[str, ...]
    """As they are in the file."""
    adapted: tuple[str, ...]
    """The first convolution's, brought to another number of channels."""
    new: tuple[str, ...]
    """Of the network's head, left as they were drawn."""
    unused: tuple[str, ...]
    """Of the file's head, left aside."""

    def __str__(self) -> str:
        parts = [f"{self.path}: {len(self.taken)} tensors taken"]
        for names, what in (
            (self.adapted, "adapted to the number of channels"),
            (self.new, "begun anew"),
            (self.unused, "of the file not used"),
        ):
            parts += [f"{_some(names)} {what}"] if names else []
        return "; ".join(parts)


def load_pretrained(network: nn.Module, path: str | os.PathLike[str]) -> Loaded:
    """Give a network the weights of a file, and say what became of each.

    The names and shapes must be the network's, but for two places. The first convolution may have been learned for
    another number of channels: each of the network's then begins with the mean over the file's, scaled so that equal
    channels give what they gave there. Of the head (`head_names` of the network, or else its last layer) the layers
    that the file does not have in this shape are left as they are.

    Parameters
    ----------
    network : nn.Module
        Its parameters and buffers are changed, in their own precision and on their own device.
    path : str or Path
        File of ``torch.save``: a table of tensors by name, as it is, below ``model``, ``state_dict`` or ``network``, or
        as ``network/weights.pt`` of a training, whose normalisations are not taken.

    Raises
    ------
    InputError
        In one line: no such file or no weights in it, pickled code, numbers that are not finite, or weights of another
        network, with the first keys that are missing, unexpected or of another shape.
    """
    own = network.state_dict()
    found = _without_prefix(read_weights(path), own)
    head = _head_names(network)
    first = _first_convolution(network)
    adapted = {first} if _fits_otherwise(first, found, own) else set()
    taken = {name for name in own if name in found and _alike(found[name], own[name])}
    anew = {_layer(name) for name in own.keys() | found.keys() if _within(name, head) and name not in taken}
    taken = {name for name in taken if not (_within(name, head) and _layer(name) in anew)}
    optional = {name for name in own if _within(name, head) or name.endswith(_COUNTER)}
    _check_rest(path, own, found, taken | adapted, optional, head)
    _check_finite(path, found, taken | adapted)
    values = {name: found[name] for name in taken}
    values |= {name: _of_channels(found[name], own[name].shape[1]) for name in adapted}
    network.load_state_dict({**own, **values})
    return Loaded(
        os.fspath(path),
        tuple(name for name in own if name in taken),
        tuple(adapted),
        tuple(name for name in own if name not in values and not name.endswith(_COUNTER)),
        tuple(name for name in found if name not in values),
    )


def freeze(network: nn.Module, beginnings: Sequence[str]) -> tuple[str, ...]:
    """Keep parts of a network as they are while the rest learns, and return the names of their parameters.

    Batch normalisations in these parts normalise by their running statistics, in training too, and those stay.

    Parameters
    ----------
    network : nn.Module
    beginnings : sequence of str
        Beginnings of names of parameters, up to a dot: ``features.1`` is not ``features.10``.

    Raises
    ------
    InputError
        No parameter has such a name, or none is left to be learned.
    """
    names = [name for name, _ in network.named_parameters()]
    for beginning in beginnings:
        if not any(_within(name, [beginning]) for name in names):
            parts = _parts(names, depth=beginning.count(".") + 1)
            raise InputError(
                f"--freeze {beginning}: no parameter begins so; {unknown(beginning, parts, 'parts')}"
            )
    frozen = tuple(name for name in names if _within(name, beginnings))
    kept = set(frozen)
    if not any(
        parameter.requires_grad and name not in kept for name, parameter in network.named_parameters()
    ):
        raise InputError(f"--freeze {','.join(beginnings)}: nothing is left to be learned")
    for name, parameter in network.named_parameters():
        if name in kept:
            parameter.requires_grad_(False)
    for name, module in network.named_modules():
        if getattr(module, "running_mean", None) is not None and _within(name, beginnings):
            module.register_forward_pre_hook(_stay_in_eval)
    return frozen


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a weights file by name; code in it is not run (`InputError` as `load_pretrained`)."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; a weights file of torch.save is needed")
    if Path(path).stat().st_size == 0:
        raise InputError(f"{path}: empty; a weights file of torch.save is needed")
    try:
        with warnings.catch_warnings():  # of a TorchScript program torch warns before it refuses
            warnings.simplefilter("ignore")
            data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # torch raises what its zip reader and its unpickler raise
        raise InputError(_unreadable(path, str(error))) from None
    state = _table(data)
    if state is None:
        raise InputError(f"{path}: holds {type(data).__name__}, no table of weights by name")
    return state


_COUNTER = "num_batches_tracked"
"""Buffer of normalisations that older files have not, and that nothing here reads."""

_TABLES = ("model", "state_dict", "network", "model_state_dict", "model_ema")
_PREFIXES = ("network.", "module.", "_orig_mod.", "model.")


def _unreadable(path: str | os.PathLike[str], error: str) -> str:
    code = re.search(r"(?:GLOBAL|global:?|class) '?([\w.]+\.\w+)", error)
    if code and ("Unsupported" in error or "unsupported" in error):
        return (
            f"{path}: holds pickled code ({code[1]}), which is not run; "
            "write only the weights: torch.save(network.state_dict(), path)"
        )
    if "TorchScript" in error:
        return (
            f"{path}: a TorchScript program; write only its weights: torch.save(program.state_dict(), path)"
        )
    return f"{path}: cannot be read as weights of torch.save: damaged, or another kind of file"


def _table(data: Any) -> dict[str, Tensor] | None:
    if not isinstance(data, Mapping):
        return None
    if data and all(isinstance(value, Tensor) for value in data.values()):
        return {str(name): value for name, value in data.items()}
    inner = [_table(data[key]) for key in _TABLES if isinstance(data.get(key), Mapping)]
    return inner[0] if inner else None


def _without_prefix(found: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of what was wrapped: a predictor's network, a module of DDP, a compiled one."""
    for prefix in _PREFIXES:
        if any(name.startswith(prefix) for name in own):
            continue
        inner = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
        found = inner or found
    return found


def _head_names(network: nn.Module) -> tuple[str, ...]:
    declared = getattr(network, "head_names", None)
    if declared is not None:
        return tuple(declared)
    names = [name for name, _ in network.named_parameters()]
    return (_layer(names[-1]),) if names else ()


def _first_convolution(network: nn.Module) -> str:
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            return f"{name}.weight" if name else "weight"
    return ""


def _fits_otherwise(name: str, found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether the two differ in the number of channels only."""
    if name not in found or name not in own:
        return False
    there, here = found[name].shape, own[name].shape
    return len(there) == len(here) and there[0] == here[0] and there[1] != here[1] and there[2:] == here[2:]


def _of_channels(weight: Tensor, channels: int) -> Tensor:
    scale = weight.shape[1] / channels
    return (weight.mean(1, keepdim=True) * scale).expand(-1, channels, *weight.shape[2:])


def _check_rest(
    path: str | os.PathLike[str],
    own: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    used: set[str],
    optional: set[str],
    head: Sequence[str],
) -> None:
    """Refuse a file that lacks something, has something else, or has it in another shape."""
    missing = [name for name in own if name not in found and name not in optional]
    unexpected = [name for name in found if name not in own and not _within(name, head)]
    other = [name for name in own if name in found and name not in used and name not in optional]
    told_other = [f"{name} {told(found[name].shape)}, not {told(own[name].shape)}" for name in other]
    kinds = ((missing, "missing"), (unexpected, "unexpected"), (told_other, "of another shape"))
    parts = [f"{len(names)} {what} ({_some(names)})" for names, what in kinds if names]
    if parts or not used:
        raise InputError(f"{path}: weights of another network: {', '.join(parts) or 'nothing in common'}")


def _check_finite(path: str | os.PathLike[str], found: Mapping[str, Tensor], used: set[str]) -> None:
    for name in sorted(used):
        if not bool(torch.isfinite(found[name]).all()):
            raise InputError(f"{path}: {name} holds numbers that are not finite")


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_complex() == other.is_complex()


def _within(name: str, beginnings: Iterable[str]) -> bool:
    return any(name == beginning or name.startswith(f"{beginning}.") for beginning in beginnings)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _parts(names: Iterable[str], depth: int) -> list[str]:
    """Return the beginnings of names, of `depth` words, in order."""
    return list(dict.fromkeys(".".join(_layer(name).split(".")[:depth]) or name for name in names))


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _stay_in_eval(module: nn.Module, inputs: Any) -> None:
    module.training = False
