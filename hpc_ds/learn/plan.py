"""What a training is to be: data, network and loss, checked on each rank before anything is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hpc_ds.learn.augment import Augment, make_augment
from hpc_ds.learn.computed import ComputedData
from hpc_ds.learn.dataset import Dataset, available_splits, open_dataset
from hpc_ds.learn.losses import Loss, make_loss, outputs_needed
from hpc_ds.learn.metrics import Metric, make_metrics
from hpc_ds.learn.networks import build_network, count_parameters
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.order import Order, count_classes
from hpc_ds.learn.predictor import Card, describe
from hpc_ds.learn.pretrained import Loaded, freeze, load_pretrained
from hpc_ds.learn.settings import Settings
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, philox_key
from hpc_ds.runtime.user_code import source_hash
from hpc_ds.store.training_set import TrainingSet

_INIT, _AUGMENT = name_key("learn.init"), name_key("learn.member-augment")
_HASHED = 2**26


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a training is made of, but for the ranks."""

    reference: str
    """The network's name."""
    options: Mapping[str, Any]
    settings: Settings
    splits: Mapping[str, Dataset]
    """train, and valid and test where there are such."""
    card: Card
    parameters: int
    config: Mapping[str, Any]
    """By which a run folder knows whose it is."""
    remarks: tuple[str, ...]
    """What the user should know, a line each."""
    train_of: Callable[[int], Dataset] | None = None
    """Makes the train split of each member, where it is not the same for all."""
    climatology: NDArray[np.float64] | None = None
    """Mean target at each point over the training split, for metrics that need it."""

    @property
    def train(self) -> Dataset:
        """What is learned from."""
        return self.splits["train"]

    @property
    def valid(self) -> Dataset | None:
        """By what the best epoch is chosen."""
        return self.splits.get("valid")

    def training(self, member: int) -> Dataset:
        """Return what a member of the ensemble learns from."""
        return self.train if self.train_of is None else self.train_of(member)

    def order(self, member: int) -> Order:
        """Return the order in which a member of the ensemble sees the samples."""
        train = self.training(member)
        return Order(len(train), self.settings, train.labels(), member)

    def network(self, member: int) -> nn.Module:
        """Return a network with the initial weights of that member, on the CPU, in the precision of the settings."""
        settings = self.settings
        torch.manual_seed(int(philox_key(settings.seed, _INIT, member)[0]))
        network, _ = _network(self.reference, self.options, self.card, settings)
        return network.double() if settings.precision == "float64" else network

    def augment(self, inputs: Normaliser, member: int = 0) -> Augment | None:
        """Return the random symmetries of a member of the ensemble, None where there are none."""
        spread = inputs.std.cpu().numpy() if len(inputs.std) else None
        seed = int(philox_key(self.settings.seed, _AUGMENT, member)[0] >> np.uint64(1))
        return make_augment(self.settings.model_copy(update={"seed": seed}), self.train, spread)

    def loss(self, target: Normaliser) -> Loss:
        """Return what is made small."""
        labels = self.train.labels()
        counts = None if labels is None else count_classes(labels, self.card.target_shape[0])
        return make_loss(self.settings.loss, self.card.task, self.card.axes, target, counts)

    def metrics(self, spread: bool | None = None) -> list[Metric]:
        """Return what networks are judged by; with a spread those about it, too."""
        with_spread = self.card.spread if spread is None else spread
        mean = np.zeros(self.card.target_shape) if self.climatology is None else self.climatology
        return make_metrics(self.card.task, self.settings.metrics, self.card.axes, with_spread, mean)


def make_plan(
    reference: str,
    data: str | os.PathLike[str] | ComputedData,
    options: Mapping[str, Any],
    settings: Settings,
) -> Plan:
    """Return the plan of a training.

    Parameters
    ----------
    reference : str
        A built-in network, ``path/to/file.py:name`` or a plug-in.
    data : str, Path or ComputedData
        Folder of a training set, a file of arrays, or splits that are computed when they are read.
    options : mapping
        Of the network.
    settings : Settings

    Raises
    ------
    InputError
        In one line: data that are not there, incomplete or do not fit the selection; a network or an option that is
        unknown or does not take such data; a loss of another task; a weights file of another network.
    """
    splits, place, content = _opened(data, settings)
    train = splits["train"]
    _check_kin(splits)
    spread = outputs_needed(settings.loss, train.task, 1) == 2
    card = describe(reference, options, train, spread)
    network, loaded = _network(reference, options, card, settings)
    remarks = [] if "valid" in splits else ["no validation split: the weights of the last epoch are kept"]
    remarks += [str(loaded)] if loaded else []
    remarks += [] if isinstance(data, ComputedData) else _unseen(data, train)
    own = [text for text in (reference, *settings.augment) if ".py:" in text]
    config = {
        "network": reference,
        "options": dict(options),
        "source": {text: source_hash(text.rpartition(":")[0]) for text in own},
        "data": {"path": place, "content": content},
        **settings.model_dump(),
        "weights_content": _hash([Path(settings.weights)]) if settings.weights else None,
    }
    plan = Plan(
        reference,
        options,
        settings,
        splits,
        card,
        count_parameters(network),
        config,
        tuple(remarks),
        data.train_of if isinstance(data, ComputedData) else None,
    )
    plan.augment(Normaliser.identity())
    plan.loss(Normaliser.identity())
    _check_first(plan.metrics())
    plan.order(0)
    return plan


def _opened(
    data: str | os.PathLike[str] | ComputedData, settings: Settings
) -> tuple[dict[str, Dataset], str, str]:
    """Return the splits of a data set, where it lies, and a hash of what it holds."""
    if isinstance(data, ComputedData):
        return dict(data.splits), data.name, data.content
    there = available_splits(data)
    wanted = [split for split in ("train", "valid", "test") if split in there or split == "train"]
    splits: dict[str, Dataset] = {split: open_dataset(data, split, settings) for split in wanted}
    return splits, os.path.abspath(data), _content(Path(data), splits)


def _network(
    reference: str, options: Mapping[str, Any], card: Card, settings: Settings
) -> tuple[nn.Module, Loaded | None]:
    network = build_network(reference, options, card.input_shape, card.output_shape, card.task, card.axes)
    loaded = load_pretrained(network, settings.weights) if settings.weights else None
    if settings.freeze:
        freeze(network, settings.freeze)
    return network, loaded


def _check_kin(splits: Mapping[str, Dataset]) -> None:
    """Refuse splits whose samples are of another shape than those of the training."""
    train = splits["train"]
    for split, dataset in splits.items():
        for what in ("input_shape", "target_shape", "target_names"):
            here, there = getattr(dataset, what), getattr(train, what)
            if here != there:
                raise InputError(f"{dataset.source.place}: {what} {here} of split {split}; train has {there}")


def _unseen(data: str | os.PathLike[str], train: Dataset) -> list[str]:
    """Say which parameters of a training set differ from sample to sample and are neither input nor target."""
    if not Path(data).is_dir():
        return []
    used = {part.name for part in (*train.selection.inputs, *train.selection.targets)}
    with TrainingSet(data, "train") as stored:
        varying = [name for name, values in stored.parameters.items() if (values != values[0]).any()]
    unseen = [name for name in varying if name not in used]
    if not unseen:
        return []
    verb, them = ("differs", "it") if len(unseen) == 1 else ("differ", "them")
    seen = ",".join(map(str, (*train.selection.inputs, *unseen)))
    return [
        f"{', '.join(unseen)} {verb} from sample to sample, and the network does not see {them}: "
        f"--input {seen} shows {them}"
    ]


def _check_first(metrics: list[Metric]) -> None:
    """Refuse a first metric that does not say which of two networks is better."""
    if metrics[0].smaller_is_better is None:
        raise InputError(
            f"--metrics {metrics[0].name}: does not say which epoch is the best; name another one before it"
        )


def _content(path: Path, splits: Mapping[str, Dataset]) -> str:
    """Return a hash of data: of a training set's statistics and the sizes of its files, or of files of arrays."""
    if not path.is_dir():
        return _hash(sorted({file.path for dataset in splits.values() for file in dataset.source.files}))
    digest = hashlib.sha256()
    statistics = path / "stats.yaml"
    digest.update(statistics.read_bytes() if statistics.is_file() else b"")
    for file in sorted((path / "data").glob("*/*")):
        digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
    return digest.hexdigest()


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            while block := stream.read(_HASHED):
                digest.update(block)
    return digest.hexdigest()
