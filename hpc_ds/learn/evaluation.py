"""How good predictions of a data set are: computed by all ranks, the same bits on any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpc_ds.learn.metrics import Metric, Values, sample_error
from hpc_ds.learn.recorders import Batch, Recorder
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

if TYPE_CHECKING:
    from hpc_ds.learn.dataset import Dataset

PLACES = ("best", "median", "worst")
"""Samples that are shown, by their error."""

_ROUNDS = 64
"""Blocks of each rank between two gatherings: bounds a message, of which MPI may not carry 2 GiB."""

Prediction: TypeAlias = Tensor | tuple[Tensor, Tensor | None]


class Ranks(Protocol):
    """Who evaluates together, and where: a `hpc_ds.learn.distributed.Group`."""

    @property
    def world(self) -> World:
        """The ranks."""

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One sample that is shown."""

    sample: int
    error: float
    arrays: Mapping[str, NDArray[Any]]
    r"""input, target, prediction and, where there is one, spread; (channels, \*grid) float32 each."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found on one part of the data."""

    task: str
    names: tuple[str, ...]
    """Of the target's channels, numbers or classes."""
    input_names: tuple[str, ...]
    metrics: Mapping[str, float]
    """On all ranks, as all above."""
    details: Mapping[str, Values]
    """``metric/by_target``, ``metric/by_class``, ``accuracy/confusion``, ``calibration_error/reliability`` (bins of
    confidence, accuracy, count); on all ranks."""
    not_finite: NDArray[np.int64]
    """Numbers of the samples whose prediction is NaN or infinite, in order; on all ranks."""
    metric: str = ""
    """What `error` is."""
    sample: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """(n,) numbers of the samples; on the root, as all below."""
    error: Values = field(default_factory=lambda: np.empty(0))
    """(n,) by which samples are ranked; NaN where the prediction is."""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Of scalars target, prediction and, where there is one, spread, (n, D); of classes label (n,) and probability
    (n, classes); of fields nothing."""
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    """Of fields, by `PLACES`, where they were asked for."""


def evaluate(
    predict: Callable[[Tensor], Prediction],
    dataset: Dataset,
    group: Ranks,
    block: int,
    metrics: Sequence[Metric],
    keep: bool = False,
) -> Evaluation:
    r"""Evaluate predictions of all samples of `dataset`; collective over `group`.

    Samples ``block * k`` to ``block * (k + 1)`` are predicted together, on rank ``k % size``; the bits of the result
    depend on `block`, not on the number of ranks. All ranks call `predict` equally often (one without a block left
    predicts another's and drops it), so that it may itself be collective.

    Parameters
    ----------
    predict : callable
        (n, \*input_shape) float32 on the group's device, as the data set holds them, to predictions in physical units:
        (n, \*target_shape), or those and their standard deviations or None. For classes, probabilities. Gradients are
        switched off around it; evaluation mode is the caller's to set.
    dataset : Dataset
        What to predict.
    group : Group
        Ranks and device.
    block : int
        Samples that are predicted together.
    metrics : sequence of Metric
        From `hpc_ds.learn.metrics.make_metrics`.
    keep : bool
        Whether fields of the best, the median and the worst sample are kept.

    Raises
    ------
    InputError
        There is no sample, or one holds NaN or infinity; on all ranks.
    ValueError
        Predictions of another shape than the targets.
    """
    survey = _Survey(predict, dataset, group, block)
    title, needs, error = sample_error(dataset.task)
    recorders = {**needs, **{name: f for metric in metrics for name, f in metric.needs.items()}}
    records, faults = survey.gathered(recorders)
    world = group.world
    found = world.root_first(_reduced, metrics, records, faults)
    errors = error(records) if world.is_root else np.empty(0)
    pictures = survey.pictures(errors) if keep and dataset.task == "fields" else {}
    return Evaluation(
        dataset.task,
        tuple(dataset.target_names),
        tuple(dataset.input_names),
        *found,
        title,
        np.arange(len(errors)),
        errors,
        _arrays(dataset.task, records),
        pictures,
    )


def climatology(dataset: Dataset, group: Ranks, block: int) -> Values:
    r"""Return the mean target over all samples at each point, (channels, \*grid) float64; collective over `group`.

    The same bits on any number of ranks. `InputError` as in `evaluate`.
    """
    world = group.world
    total = np.zeros(dataset.target_shape)
    faults: list[Fault] = []
    for read in _read(dataset, _Blocks(len(dataset), block, world)):
        own = (read.targets.sum(0, dtype=np.float64), read.faults) if read.block.mine else None
        for part in filter(None, world.gather(own) or ()):
            total += part[0]
            faults += part[1]
    world.root_first(_refuse, faults)
    return world.bcast(total / len(dataset))


# Blocks


@dataclass(frozen=True, eq=False)
class _Block:
    """Samples that are predicted together."""

    number: int
    samples: NDArray[np.int64]
    mine: bool
    """Whether this rank answers for them."""


class _Blocks:
    """The blocks of samples, and those of this rank in rounds of equal number on all ranks."""

    def __init__(self, samples: int, block: int, world: World) -> None:
        if samples == 0:
            raise InputError("there are no samples to evaluate")
        self._samples, self._block, self._world = samples, block, world
        self.count = -(-samples // block)

    def __iter__(self) -> Iterator[_Block]:
        size = self._world.size
        for start in range(0, self.count, size):
            number = start + self._world.rank
            yield self.of(min(number, self.count - 1), number < self.count)

    def of(self, number: int, mine: bool = True) -> _Block:
        """Return the block of that number."""
        start = number * self._block
        return _Block(number, np.arange(start, min(start + self._block, self._samples)), mine)

    def holding(self, sample: int) -> _Block:
        """Return the block that a sample is of."""
        return self.of(sample // self._block)


Fault = tuple[int, str]
"""A sample and what is wrong with it, in one line."""


@dataclass(frozen=True, eq=False)
class _Read:
    """A block with its inputs and targets; zeros where they could not be read."""

    block: _Block
    inputs: NDArray[np.float32]
    targets: NDArray[Any]
    faults: list[Fault]


def _read(dataset: Dataset, blocks: Iterable[_Block]) -> Iterator[_Read]:
    """Yield the blocks; each is read while the one before it is at work."""
    with ThreadPoolExecutor(1, "evaluation") as reader:
        ahead = None
        for block in blocks:
            coming = reader.submit(_read_block, dataset, block)
            if ahead is not None:
                yield ahead.result()
            ahead = coming
        if ahead is not None:
            yield ahead.result()


def _read_block(dataset: Dataset, block: _Block) -> _Read:
    n = len(block.samples)
    inputs = np.empty((n, *dataset.input_shape), np.float32)
    of_classes = dataset.task == "classify"
    targets = np.empty(n, np.int64) if of_classes else np.empty((n, *dataset.target_shape), np.float32)
    try:
        dataset.read(block.samples, inputs, targets)
    except InputError as error:  # kept: the other ranks go on, and must hear of it when they next meet
        return _Read(
            block, np.zeros_like(inputs), np.zeros_like(targets), [(int(block.samples[0]), str(error))]
        )
    faults = [
        (int(sample), f"{dataset.where(int(sample))}: the {what} holds NaN or infinity")
        for what, values in (("input", inputs), ("target", targets))
        for sample in block.samples[~np.isfinite(values.reshape(n, -1)).all(1)]
    ]
    return _Read(block, inputs, targets, faults)


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        more = f" (and {len(faults) - 1} more such)" if len(faults) > 1 else ""
        raise InputError(min(faults)[1] + more)


class _Survey:
    """The blocks of a data set and what is predicted of them."""

    def __init__(
        self, predict: Callable[[Tensor], Prediction], dataset: Dataset, group: Ranks, block: int
    ) -> None:
        self._predict, self._dataset, self._group = predict, dataset, group
        self._blocks = _Blocks(len(dataset), block, group.world)

    def gathered(self, recorders: Mapping[str, Recorder]) -> tuple[dict[str, Values], list[Fault]]:
        """Return the records of all samples, and the faults that were met; both empty elsewhere than on the root."""
        joined: list[_Part] = []
        waiting: list[_Part] = []
        for rounds, read in enumerate(_read(self._dataset, self._blocks), 1):
            # Of a block that is another's, too: what is wrong with the predictions must meet all ranks.
            part = _Part(read.block.number, _recorded(self._batch(read), recorders), read.faults)
            if read.block.mine:
                waiting.append(part)
            if rounds % _ROUNDS == 0:
                joined += _joined(self._group.world, waiting)
                waiting = []
        joined += _joined(self._group.world, waiting)
        joined.sort(key=lambda part: part.number)
        names = joined[0].records if joined else ()
        records = {name: np.concatenate([part.records[name] for part in joined]) for name in names}
        return records, [fault for part in joined for fault in part.faults]

    def pictures(self, errors: Values) -> dict[str, Picture]:
        """Return the samples of the least, the median and the largest error, on the root."""
        world = self._group.world
        order = np.argsort(errors, kind="stable")
        rows = (0, (len(order) - 1) // 2, len(order) - 1)
        chosen = world.bcast([int(order[row]) for row in rows] if world.is_root else [])
        pictures = {}
        blocks = [self._blocks.holding(sample) for sample in chosen]
        for place, sample, read in zip(PLACES, chosen, _read(self._dataset, blocks)):
            batch = self._batch(read)
            row = sample - int(read.block.samples[0])
            if world.is_root:
                pictures[place] = Picture(sample, float(errors[sample]), _shown(batch, read.inputs, row))
        return pictures

    def _batch(self, read: _Read) -> Batch:
        device = self._group.device
        # Not inference mode: what a network caches at its first call must do for training as well.
        with torch.no_grad():
            predicted = self._predict(torch.from_numpy(read.inputs).to(device))
        values, spread = predicted if isinstance(predicted, tuple) else (predicted, None)
        right = (len(read.inputs), *self._dataset.target_shape)
        for what, found in (("predictions", values), ("spreads", spread)):
            if found is not None and tuple(found.shape) != right:
                raise ValueError(f"{what} have the shape {tuple(found.shape)}, not {right}")
        target = torch.from_numpy(read.targets).to(device)
        target = target if target.dtype == torch.int64 else target.double()
        return Batch(values.double(), target, None if spread is None else spread.double())


@dataclass(frozen=True, eq=False)
class _Part:
    """What is recorded of a block."""

    number: int
    records: dict[str, Values]
    faults: list[Fault]


def _joined(world: World, parts: list[_Part]) -> list[_Part]:
    return [part for of_rank in world.gather(parts) or () for part in of_rank]


# Results


def _predictions(batch: Batch) -> dict[str, Tensor]:
    parts = {"target": batch.target, "prediction": batch.prediction, "spread": batch.spread}
    return {name: part for name, part in parts.items() if part is not None}


def _recorded(batch: Batch, recorders: Mapping[str, Recorder]) -> dict[str, Values]:
    """Return the records of a block; of scalars its predictions, too."""
    recorded = {name: _numbers(recorder(batch)) for name, recorder in recorders.items()}
    predictions = _predictions(batch)
    finite = torch.stack(
        [torch.isfinite(part).flatten(1).all(1) for part in predictions.values() if part.ndim > 1]
    )
    if batch.target.ndim == 2:
        recorded |= {name: _numbers(part) for name, part in predictions.items()}
    return recorded | {"finite": _numbers(finite.all(0))}


def _numbers(values: Tensor) -> Values:
    return values.double().cpu().numpy()


def _reduced(
    metrics: Sequence[Metric], records: Mapping[str, Values], faults: Sequence[Fault]
) -> tuple[dict[str, float], dict[str, Values], NDArray[np.int64]]:
    """Return metrics, details and the samples without a finite prediction; with such a sample no metric has a value."""
    _refuse(faults)
    not_finite = np.flatnonzero(records["finite"] == 0.0)
    if not_finite.size:
        return {metric.name: float("nan") for metric in metrics}, {}, not_finite
    details = {f"{m.name}/{name}": detail(records) for m in metrics for name, detail in m.details.items()}
    return {metric.name: metric.reduce(records) for metric in metrics}, details, not_finite


def _arrays(task: str, records: Mapping[str, Values]) -> dict[str, NDArray[Any]]:
    if task == "classify" and records:
        return {"label": records["label"].astype(np.int64), "probability": records["probability"]}
    return {name: records[name] for name in ("target", "prediction", "spread") if name in records}


def _shown(batch: Batch, inputs: NDArray[np.float32], row: int) -> dict[str, NDArray[Any]]:
    parts = {name: _numbers(part[row]).astype(np.float32) for name, part in _predictions(batch).items()}
    return {"input": inputs[row], **parts}
