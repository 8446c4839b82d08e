"""A trained network as two files: ``network.json`` says what it is, ``weights.pt`` holds the numbers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpc_ds.learn.networks import build_network, count_parameters
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.predictor import Card, Predictor
from hpc_ds.learn.source import GridAxis
from hpc_ds.runtime import atomic
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.user_code import source_hash

FORMAT = 1

_AXIS = ("name", "coordinates", "periodic", "units")

CARD = "network.json"
WEIGHTS = "weights.pt"

_NEXT = "weights.next.pt"
"""New weights, until the card that describes them is in its place: see `save_network`."""


def save_network(
    folder: str | os.PathLike[str], predictor: Predictor, metrics: Mapping[str, Any] | None = None
) -> None:
    """Write a network into `folder`, in the place of an older one; by one process at a time.

    A kill at any moment leaves the older network or the new one: the new weights lie beside the old ones until the
    card that carries their hash has been replaced.

    Parameters
    ----------
    folder : str or Path
        Made where it is missing.
    predictor : Predictor
    metrics : dict, optional
        What it reached, e.g. ``{"valid": {"relative_l2": 0.01}}``.

    Raises
    ------
    StorageError
        The disk refuses.
    InputError
        The user's own file of the network is gone.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    card = _card_json(predictor, predictor.metrics if metrics is None else metrics)
    _settle(place)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in predictor.state_dict().items()}
    with atomic.replacing(place / _NEXT) as file:
        torch.save(state, file)
    card["weights"] = {"file": WEIGHTS, "sha256": _digest(place / _NEXT)}
    atomic.write_json(place / CARD, card)
    os.replace(place / _NEXT, place / WEIGHTS)


def load_network(folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Predictor:
    """Read the network that `save_network` wrote; it is ready for use, not for training.

    Parameters
    ----------
    folder : str or Path
        ``network/`` of a training, or the training's own folder.
    device : str or torch.device
        Where the weights go.

    Raises
    ------
    InputError
        In one line: no network there, a damaged or foreign file, weights that are not those that the card describes,
        one of a later format, or a user's own network whose file is gone or has another text.
    """
    place = Path(folder)
    if not (place / CARD).exists() and (place / "network" / CARD).exists():
        place = place / "network"
    data = _read_card(place / CARD)
    card = _card(place / CARD, data)
    _check_source(place / CARD, card.reference, data.get("source"))
    weights = _find_weights(place, data["weights"]["sha256"])
    state = _read_weights(weights)
    predictor = _assembled(place, card, state)
    predictor.metrics = data.get("metrics") or {}
    predictor.identity = data["weights"]["sha256"]
    return predictor.to(device).eval().requires_grad_(False)


# Writing


def _card_json(predictor: Predictor, metrics: Mapping[str, Any]) -> dict[str, Any]:
    card = predictor.card
    own = _own_file(card.reference)
    name = card.reference.rpartition(":")[2]
    return {
        "format": FORMAT,
        "reference": f"{own.resolve()}:{name}" if own else card.reference,
        "source": source_hash(own) if own else None,
        "options": card.options,
        "task": card.task,
        "inputs": {"shape": card.input_shape, "names": card.input_names},
        "targets": {"shape": card.target_shape, "names": card.target_names},
        "classes": card.target_names if card.task == "classify" else None,
        "axes": [{key: getattr(axis, key) for key in _AXIS} for axis in card.axes],
        "selection": card.selection,
        "window": card.selection.get("window"),
        "spread": card.spread,
        "parameters": count_parameters(predictor.network),
        "metrics": metrics,
        "torch": str(torch.__version__),
    }


def _settle(place: Path) -> None:
    """Finish what a killed `save_network` began, so that the card's weights are not written over."""
    if (place / _NEXT).exists() and (place / CARD).exists():
        told = _read_card(place / CARD).get("weights", {}).get("sha256")
        if told == _digest(place / _NEXT):
            os.replace(place / _NEXT, place / WEIGHTS)


# Reading


def _read_card(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{file.parent}: no trained network there (no {CARD}); give the folder of --out of hpc-ds learn"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: damaged, no network ({error})") from None
    version = data.get("format") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{file}: no network of hpc-ds learn (it has no format)")
    if version > FORMAT:
        raise InputError(f"{file}: format {version}, this version knows {FORMAT}: update hpc_ds")
    return data


def _card(file: Path, data: Mapping[str, Any]) -> Card:
    try:
        str(data["weights"]["sha256"])
        return Card(
            str(data["reference"]),
            dict(data["options"]),
            str(data["task"]),
            tuple(map(int, data["inputs"]["shape"])),
            tuple(map(int, data["targets"]["shape"])),
            tuple(map(str, data["inputs"]["names"])),
            tuple(map(str, data["targets"]["names"])),
            tuple(
                GridAxis(**{**axis, "coordinates": np.array(axis["coordinates"])}) for axis in data["axes"]
            ),
            dict(data.get("selection") or {}),
            bool(data.get("spread", False)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file}: damaged, not all of a network is there ({error!r})") from None


def _check_source(file: Path, reference: str, known: str | None) -> None:
    """Refuse a user's own network whose text is not the one that was trained."""
    own = _own_file(reference)
    if own is None:
        return
    if not own.is_file():
        raise InputError(
            f"{file}: the network's own file {own} is gone; bring it back, or say in 'reference' where it is now"
        )
    if known is not None and source_hash(own) != known:
        raise InputError(
            f"{own}: changed since the network was trained with it, which {file} cannot vouch for; "
            "bring back that text, or train anew"
        )


def _find_weights(place: Path, digest: str) -> Path:
    for file in (place / WEIGHTS, place / _NEXT):
        if file.is_file() and _digest(file) == digest:
            return file
    if not (place / WEIGHTS).is_file():
        raise InputError(f"{place / WEIGHTS}: no such file, though {CARD} is there: copy the whole folder")
    raise InputError(
        f"{place / WEIGHTS}: damaged, or not the weights that {CARD} describes (another SHA-256)"
    )


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its zip reader and unpickler raise
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file}: cannot be read as weights ({reason})") from None
    named = isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())
    if not named:
        raise InputError(f"{file}: holds no table of weights by name")
    return state


def _assembled(place: Path, card: Card, state: Mapping[str, Tensor]) -> Predictor:
    parts = [name for name in state if name.startswith("network.") and state[name].is_floating_point()]
    dtype = state[parts[0]].dtype if parts else torch.float32
    with _building(dtype):
        network = build_network(
            card.reference, card.options, card.input_shape, card.output_shape, card.task, card.axes
        )
    try:
        normalisers = [
            Normaliser(state[f"{side}.mean"], state[f"{side}.std"]) for side in ("input", "target")
        ]
        predictor = Predictor(card, network, *normalisers)
        # assign: numbers keep the precision in which they were trained
        predictor.load_state_dict(dict(state), strict=True, assign=True)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{place / WEIGHTS}: not the weights of {card.reference}: {_first_key(error)}"
        ) from None
    return predictor


@contextmanager
def _building(dtype: torch.dtype) -> Iterator[None]:
    """Build in that precision, and leave torch's random numbers as they were."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def _first_key(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    return " ".join((lines or [str(error)])[0].split())[:300].rstrip(".")


# Shared


def _own_file(reference: str) -> Path | None:
    """Return the file of ``path/to/file.py:name``; None for a name."""
    path = reference.rpartition(":")[0]
    return Path(path) if path.endswith(".py") else None


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
