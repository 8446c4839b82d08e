"""Fully connected networks, of all values of a sample or of each point of a grid alone."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from hpc_ds.runtime.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
"""Activations by name."""

BOUNDS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

Activation = Literal["relu", "gelu", "silu", "tanh"]


class Options(BaseModel):
    """Options of mlp."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    layers: tuple[int, ...] = (60, 40, 40)
    """Widths of the hidden layers, e.g. 60-40-40; none is a linear map."""

    activation: Activation = "gelu"
    """relu, gelu, silu or tanh."""

    output: Literal["linear", "tanh", "sigmoid"] = "linear"
    """What bounds the outputs: linear (nothing), tanh or sigmoid."""

    output_bias: float = Field(default=0.0, allow_inf_nan=False)
    """Where the last layer's outputs begin, before they are bounded."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability with which a hidden value is left out."""

    pointwise: bool = False
    """Of fields: the same small network at each point of the grid, from its channels to the target's; it then takes any
    grid."""

    @field_validator("layers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, int):
            return (value,)
        if isinstance(value, str):
            return [word for word in value.replace(",", "-").split("-") if word.strip() not in ("", "none")]
        return value

    @field_validator("layers")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in value):
            raise ValueError("widths of 1 or more are needed, such as 60-40-40")
        return value


def build(options: Options, inputs: tuple[int, ...], outputs: tuple[int, ...], task: str) -> nn.Module:
    """Return the network from `inputs` to `outputs`.

    Raises
    ------
    InputError
        ``pointwise``, and inputs and outputs have no grid, or not the same one.
    """
    if not options.pointwise:
        return MLP(options, inputs, outputs)
    if task != "fields" or inputs[1:] != outputs[1:] or len(inputs) == 1:
        raise InputError(f"option pointwise: needs fields on one grid; found {inputs} to {outputs}")
    return PointwiseMLP(options, inputs[0], outputs[0])


class MLP(nn.Module):
    """All values of a sample, linear layers with activations between, all values of the target."""

    def __init__(self, options: Options, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        super().__init__()
        self.outputs = outputs
        self.layers = _layers(options, math.prod(inputs), math.prod(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, *outputs) of (n, *inputs)."""
        return self.layers(x.flatten(1)).unflatten(1, self.outputs)


class PointwiseMLP(nn.Module):
    """The same at each point of a grid."""

    def __init__(self, options: Options, channels: int, outputs: int) -> None:
        super().__init__()
        self.layers = _layers(options, channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return (n, outputs, \*grid) of (n, channels, \*grid)."""
        return self.layers(x.movedim(1, -1)).movedim(-1, 1)


def _layers(options: Options, first: int, last: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in zip((first, *options.layers), options.layers):
        layers += [nn.Linear(before, width), ACTIVATIONS[options.activation]()]
        layers += [nn.Dropout(options.dropout)] if options.dropout else []
    final = nn.Linear((first, *options.layers)[-1], last)
    if options.output_bias:
        nn.init.constant_(final.bias, options.output_bias)
    layers.append(final)
    layers += [BOUNDS[options.output]()] if options.output != "linear" else []
    return nn.Sequential(*layers)
