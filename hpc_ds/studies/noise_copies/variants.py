"""What is compared: networks, ways to disturb their training, and how many of each a scale takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["none", "copies", "fresh", "bias", "first-layer", "all-layers", "dropout"]

NOISE = 0.02
"""Standard deviation s of the noise on x; the peaks are 0.07 and 0.11 wide."""

DROPPED = 0.1
"""Share of the first hidden layer's units that dropout silences."""


@dataclass(frozen=True)
class Network:
    """A fully connected network from one number to one number."""

    widths: tuple[int, ...]
    activation: str = "leaky-relu"
    """leaky-relu, relu or sigmoid, after every layer but the last."""

    @property
    def name(self) -> str:
        """The name, such as ``1-9-9-1 leaky-relu``."""
        return f"{'-'.join(map(str, self.widths))} {self.activation}"

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The layers' (outputs, inputs)."""
        return tuple(zip(self.widths[1:], self.widths[:-1], strict=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of weights and biases of each layer in turn."""
        return tuple(size for out, fan_in in self.shapes for size in (out * fan_in, out))

    @property
    def parameters(self) -> int:
        """How many numbers training adapts."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Treatment:
    """What disturbs the training; a step always sees every point once."""

    kind: Kind
    """none; copies: x + dx fixed once; fresh: x + dx anew in each step, independent for each point;
    bias: the first layer's bias jitters by W1 dx, one dx for a whole step; first-layer: its weights as well;
    all-layers: both in every layer; dropout: of units after the first layer."""
    amount: float = 0.0
    """Standard deviation s of dx, or the share of units that dropout silences."""
    copies: int = 0
    """How many noisy copies of the points there are, for kind copies."""

    @property
    def name(self) -> str:
        """The name, such as ``copies-100 0.02``."""
        if self.kind == "none":
            return "none"
        number = f"-{self.copies}" if self.kind == "copies" else ""
        return f"{self.kind}{number} {self.amount:g}"


@dataclass(frozen=True)
class Variant:
    """A network and what disturbs its training."""

    network: Network
    treatment: Treatment

    @property
    def name(self) -> str:
        """The name, which keys random numbers and files."""
        return f"{self.network.name} {self.treatment.name}"


@dataclass(frozen=True)
class Scale:
    """How large the study is."""

    seeds: int
    """Trainings of each variant; each has points and first weights of its own."""
    block: int
    """Seeds that are trained together; it shapes the last bits, so it never depends on the ranks."""
    steps: int
    """Steps of each training."""
    variants: tuple[Variant, ...]


NONE = Treatment("none")
COPIES = tuple(Treatment("copies", NOISE, number) for number in (1, 10, 100))
FRESH = Treatment("fresh", NOISE)
BIAS = Treatment("bias", NOISE)
FIRST_LAYER = Treatment("first-layer", NOISE)
ALL_LAYERS = Treatment("all-layers", NOISE)
DROPOUT = Treatment("dropout", DROPPED)
EVERY = (NONE, *COPIES, FRESH, BIAS, FIRST_LAYER, ALL_LAYERS, DROPOUT)

SMALL, MIDDLE, LARGE = (Network(widths) for widths in ((1, 2, 2, 1), (1, 4, 4, 1), (1, 9, 9, 1)))
"""The published networks: 13, 33 and 118 parameters."""

RELU, SIGMOID = Network((1, 9, 9, 1), "relu"), Network((1, 9, 9, 1), "sigmoid")
SMALL_RELU = Network((1, 2, 2, 1), "relu")
"""Few enough units for all of one layer to die."""

ONE_LAYER = Network((1, 39, 1))
"""One hidden layer with as many parameters as 1-9-9-1."""

MAIN = LARGE


def _each(networks: Iterable[Network], treatments: Iterable[Treatment]) -> tuple[Variant, ...]:
    chosen = tuple(treatments)
    return tuple(Variant(network, treatment) for network in networks for treatment in chosen)


_OTHERS = (RELU, SIGMOID, ONE_LAYER)
_STRENGTHS = (
    *(Treatment("copies", amount, 100) for amount in (0.005, 0.01, 0.04)),
    Treatment("dropout", 0.2),
)

SCALES = {
    "quick": Scale(
        seeds=20,
        block=20,
        steps=4000,
        variants=(
            *_each((MAIN,), EVERY),
            *_each((SMALL, MIDDLE), (NONE, COPIES[0], COPIES[2])),
            *_each((*_OTHERS, SMALL_RELU), (NONE, COPIES[2])),
        ),
    ),
    "full": Scale(
        seeds=100,
        block=50,
        steps=20_000,
        variants=(
            *_each((MAIN, SMALL, MIDDLE), EVERY),
            *_each((MAIN,), _STRENGTHS),
            *_each(_OTHERS, (NONE, COPIES[2], FRESH)),
            *_each((SMALL_RELU,), (NONE, COPIES[2])),
        ),
    ),
}
"""quick: under a minute on two cores; full: every variant, with a hundred seeds."""
