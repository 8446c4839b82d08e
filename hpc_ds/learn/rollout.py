"""Predict further than one window: the outputs of a network become its next inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hpc_ds.learn.predictor import Card
from hpc_ds.runtime.errors import InputError

_NAME = re.compile(r"(.+):t([+-]\d+)?")
"""Names of a window's channels: t is the last time that the network sees."""


@dataclass(frozen=True)
class Feedback:
    """Which channel of the last inputs or outputs becomes which input of the next step."""

    place: tuple[int, ...]
    """For each input channel its place among the last inputs followed by the outputs."""
    steps: int
    """Times that one application of the network goes forward."""

    def next_inputs(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        r"""Return the inputs of the next step, (n, channels, \*grid)."""
        return torch.cat([inputs, outputs], dim=1)[:, list(self.place)]


def feedback(card: Card) -> Feedback:
    """Return how the network `card` is fed with its own outputs.

    Raises
    ------
    InputError
        Its targets are not the next times of its inputs.
    """
    if card.task == "classify" or not card.selection.get("window"):
        raise InputError(
            f"--rollout: {card.reference} was trained without --window: its outputs are not its next inputs"
        )
    seen, said = _times(card.input_names), _times(card.target_names)
    missing = [name for name in seen if name not in said]
    if missing or not seen:
        raise InputError(
            f"--rollout: {card.reference} sees {', '.join(missing) or 'nothing that varies in time'} and does not "
            "predict it: there is no next step"
        )
    steps = min(max(said[name]) for name in seen)
    places = [
        _source(name, card.input_names, card.target_names, steps) if _parsed(name) else place
        for place, name in enumerate(card.input_names)
    ]
    return Feedback(tuple(places), steps)


def roll_out(predict: Callable[[Tensor], Tensor], inputs: Tensor, feedback: Feedback, steps: int) -> Tensor:
    r"""Apply a network `steps` times, each time to what it said before.

    Parameters
    ----------
    predict : callable
        (n, \*input_shape) to (n, \*target_shape), both in physical units.
    inputs : (n, \*input_shape) tensor
        What the first step sees.
    feedback : Feedback
    steps : int
        At least 1.

    Returns
    -------
    (n, steps, \*target_shape) tensor
    """
    said = []
    for _ in range(steps):
        said.append(predict(inputs))
        inputs = feedback.next_inputs(inputs, said[-1].to(inputs.dtype))
    return torch.stack(said, dim=1)


def _source(name: str, inputs: Sequence[str], targets: Sequence[str], steps: int) -> int:
    """Return where the channel `name` of the next inputs stands among the last inputs and outputs."""
    base, time = _parsed(name) or (name, 0)
    later = (base, time + steps)
    for offset, names in ((0, inputs), (len(inputs), targets)):
        for place, other in enumerate(names):
            if _parsed(other) == later:
                return offset + place
    raise InputError(
        f"--rollout: the network does not give {base} at time t{later[1]:+d}, which its next step needs"
    )


def _times(names: Sequence[str]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name in names:
        parsed = _parsed(name)
        if parsed is not None:
            found.setdefault(parsed[0], []).append(parsed[1])
    return found


def _parsed(name: str) -> tuple[str, int] | None:
    match = _NAME.fullmatch(name)
    return None if match is None else (match[1], int(match[2] or 0))
