"""Random symmetries of inputs and targets, whose random numbers belong to seed, epoch and sample."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.learn.channels import Channel, channel_groups
from hpc_ds.learn.dataset import Dataset
from hpc_ds.learn.settings import Settings
from hpc_ds.learn.source import GridAxis
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, philox_key, stream
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.user_code import in_one_line, load_object
from hpc_ds.store.split import hashed

SYMMETRIES = ("flip", "transpose", "roll", "noise=SIGMA", "path/to/file.py:name")
"""What ``--augment`` knows."""

_KEY = name_key("learn.augment")
_DRAWS = 64
"""Random numbers of a sample in an epoch, over all symmetries."""

Values = NDArray[Any]
Move = Callable[["Draw", Values, Values], None]


class Draw:
    """The random numbers of some samples in an epoch."""

    def __init__(self, seed: int, epoch: int, samples: NDArray[np.int64]) -> None:
        self.seed, self.epoch, self.samples = seed, epoch, samples
        self._key = philox_key(seed, _KEY, epoch)[0]
        self._next = itertools.count()

    def uniform(self) -> NDArray[np.float64]:
        """Return the next number in [0, 1) of each sample, (n,)."""
        with np.errstate(over="ignore"):
            counters = self.samples.astype(np.uint64) * np.uint64(_DRAWS) + np.uint64(next(self._next))
            return hashed(counters + self._key)

    def generator(self, place: int, sample: int) -> np.random.Generator:
        """Return the generator of a sample for the symmetry at `place` of the list."""
        return stream(self.seed, _KEY, self.epoch, place, int(self.samples[sample]))


class Augment:
    """Random symmetries in turn, changed in place.

    Parameters
    ----------
    settings : Settings
        Of which `augment` and `seed` count.
    dataset : Dataset
        Whose grid and channels are to be turned.
    spread : (channels,) array, optional
        Standard deviation of the input channels, by which ``noise`` is scaled; 1 by default.

    Raises
    ------
    InputError
        An unknown symmetry, one that the grid or the fields do not have, or a user's file that cannot be loaded.
    """

    def __init__(
        self, settings: Settings, dataset: Dataset, spread: NDArray[np.float64] | None = None
    ) -> None:
        self.seed = settings.seed
        self._moves = [_move(text, place, dataset, spread) for place, text in enumerate(settings.augment)]

    def __call__(self, samples: NDArray[np.int64], epoch: int, inputs: Values, targets: Values) -> None:
        r"""Change some samples in place.

        Parameters
        ----------
        samples : (n,) int64
            Their numbers, which with seed and epoch decide all.
        epoch : int
            Number of the epoch.
        inputs : (n, \*input_shape) array
            Overwritten.
        targets : (n, \*target_shape) array, or (n,) of classes
            Overwritten, consistently; numbers and classes stay as they are.
        """
        draw = Draw(self.seed, epoch, samples)
        for move in self._moves:
            move(draw, inputs, targets)


def make_augment(
    settings: Settings, dataset: Dataset, spread: NDArray[np.float64] | None = None
) -> Augment | None:
    """Return what ``--augment`` asks for, None if nothing (`InputError` as in `Augment`)."""
    return Augment(settings, dataset, spread) if settings.augment else None


def _move(text: str, place: int, dataset: Dataset, spread: NDArray[np.float64] | None) -> Move:
    name, _, value = text.partition("=")
    if name == "noise" and value:
        return _noise(text, value, place, dataset, spread)
    if ".py:" in text:
        return _user(text, place)
    known: Mapping[str, Callable[[str, Dataset], Move]] = {
        "flip": _flip,
        "transpose": _transpose,
        "roll": _roll,
    }
    if text not in known:
        raise InputError(f"--augment {text}: {unknown(text, SYMMETRIES, 'known')}")
    if len(dataset.input_shape) == 1:
        raise InputError(f"--augment {text}: the inputs are numbers and lie on no grid")
    return known[text](text, dataset)


def _sides(dataset: Dataset) -> list[tuple[int, tuple[Channel, ...]]]:
    """Return which of inputs (0) and targets (1) are fields, with their channels."""
    sides = [(0, dataset.input_channels), (1, dataset.target_channels)]
    return sides if dataset.task == "fields" else sides[:1]


# Each symmetry: checked once, and a function that is called with every piece of a batch


def _flip(text: str, dataset: Dataset) -> Move:
    """Reverse each grid axis for half of the samples; components along it change their sign."""
    signs = [
        (side, np.array([[-1.0 if channel.component.count(axis) % 2 else 1.0 for channel in channels]]))
        for axis in range(len(dataset.axes))
        for side, channels in _sides(dataset)
    ]
    sides = len(_sides(dataset))

    def move(draw: Draw, inputs: Values, targets: Values) -> None:
        for axis in range(len(dataset.axes)):
            chosen = np.flatnonzero(draw.uniform() < 0.5)
            for side, sign in signs[axis * sides : (axis + 1) * sides]:
                values = (inputs, targets)[side]
                turned = np.flip(values[chosen], axis + 2)
                values[chosen] = turned * sign.reshape(1, -1, *(1,) * (values.ndim - 2)).astype(values.dtype)

    return move


def _transpose(text: str, dataset: Dataset) -> Move:
    """Exchange each pair of like axes for half of the samples, and the components along them."""
    axes = dataset.axes
    pairs = [
        (one, other)
        for one, other in itertools.combinations(range(len(axes)), 2)
        if _alike(axes[one], axes[other])
    ]
    if not pairs:
        raise InputError(f"--augment {text}: no two axes of the grid are alike")
    places = {
        (pair, side): _exchanged(text, channels, pair) for pair in pairs for side, channels in _sides(dataset)
    }

    def move(draw: Draw, inputs: Values, targets: Values) -> None:
        for pair in pairs:
            chosen = np.flatnonzero(draw.uniform() < 0.5)
            for side, _ in _sides(dataset):
                values = (inputs, targets)[side]
                turned = np.swapaxes(values[chosen], pair[0] + 2, pair[1] + 2)
                values[chosen] = turned[:, places[pair, side]]

    return move


def _alike(one: GridAxis, other: GridAxis) -> bool:
    """Tell whether two axes have the same points, but for where they begin, and the same ends."""
    here, there = one.coordinates, other.coordinates
    if len(here) != len(there) or one.periodic != other.periodic or one.units != other.units:
        return False
    on_globe = any(axis.name.startswith(("lat", "lon", "theta", "phi")) for axis in (one, other))
    step = abs(here[-1] - here[0]) / max(len(here) - 1, 1)
    return not on_globe and bool(np.allclose(here - here[0], there - there[0], rtol=0.0, atol=1e-3 * step))


def _exchanged(text: str, channels: tuple[Channel, ...], pair: tuple[int, int]) -> NDArray[np.int64]:
    """Return for each channel the one that it becomes when two axes are exchanged."""
    swap = {pair[0]: pair[1], pair[1]: pair[0]}
    places = np.arange(len(channels))
    for (name, _), group in channel_groups(channels).items():
        for component, place in group.items():
            partner = tuple(swap.get(axis, axis) for axis in component)
            if partner not in group:
                raise InputError(
                    f"--augment {text}: needs all components of {name}; {channels[place].name} stands alone"
                )
            places[place] = group[partner]
    return places


def _roll(text: str, dataset: Dataset) -> Move:
    """Shift periodic axes by any number of points."""
    periodic = [place for place, axis in enumerate(dataset.axes) if axis.periodic]
    if not periodic:
        raise InputError(f"--augment {text}: no axis of the grid is periodic")
    sides = [side for side, _ in _sides(dataset)]

    def move(draw: Draw, inputs: Values, targets: Values) -> None:
        for axis in periodic:
            size = len(dataset.axes[axis].coordinates)
            first = (draw.uniform() * size).astype(np.int64)
            index = (np.arange(size) - first[:, None]) % size
            for side in sides:
                values = (inputs, targets)[side]
                shape = [len(values), *(1,) * (values.ndim - 1)]
                shape[axis + 2] = size
                values[...] = np.take_along_axis(values, index.reshape(shape), axis + 2)

    return move


def _noise(text: str, value: str, place: int, dataset: Dataset, spread: NDArray[np.float64] | None) -> Move:
    """Add normal numbers to the fields of the input, or to all of it where there is none."""
    try:
        sigma = float(value)
    except ValueError:
        sigma = -1.0
    if not 0.0 <= sigma < np.inf:
        raise InputError(
            f"--augment {text}: noise=SIGMA needs a number of at least 0, in spreads of each channel"
        )
    fields = np.array([channel.on_grid for channel in dataset.input_channels])
    noisy = np.flatnonzero(fields if fields.any() else ~fields)
    scale = sigma * (np.ones(len(fields)) if spread is None else np.asarray(spread))[noisy]
    scale = scale.reshape(-1, *(1,) * (len(dataset.input_shape) - 1))

    def move(draw: Draw, inputs: Values, targets: Values) -> None:
        shape = (len(noisy), *inputs.shape[2:])
        for row in range(len(inputs)):
            normal = draw.generator(place, row).standard_normal(shape, dtype=np.float32)
            inputs[row, noisy] += (scale * normal).astype(inputs.dtype)

    return move


def _user(text: str, place: int) -> Move:
    """Call the user's function (inputs, targets, rng) for one sample after the other."""
    function = load_object(text, "an augmentation")
    path = text.rpartition(":")[0]

    def move(draw: Draw, inputs: Values, targets: Values) -> None:
        for row in range(len(inputs)):
            seen, learned = inputs[row].copy(), targets[row].copy()
            try:
                pair = function(seen, learned, draw.generator(place, row))
                inputs[row], targets[row] = _checked_pair(pair, inputs[row].shape, targets[row].shape)
            except Exception as error:
                raise InputError(f"--augment {in_one_line(path, error)}") from error

    return move


def _checked_pair(pair: Any, *shapes: Sequence[int]) -> tuple[Values, Values]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError("two arrays must be returned: inputs, targets")
    found = tuple(np.asarray(values) for values in pair)
    for values, shape, name in zip(found, shapes, ("inputs", "targets")):
        if values.shape != tuple(shape):
            raise ValueError(f"returned {name} of shape {values.shape}; {tuple(shape)} is right")
    return found[0], found[1]
