"""The parts of a training, put together by whoever knows network and data, and run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from hpc_ds.learn.activations import recomputed
from hpc_ds.learn.group import Group
from hpc_ds.learn.session import Session
from hpc_ds.learn.session import TrainingResult as TrainingResult
from hpc_ds.learn.settings import Settings
from hpc_ds.learn.step import repeatable
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.snapshot import Snapshots

if TYPE_CHECKING:
    from hpc_ds.learn.dataset import Dataset
    from hpc_ds.learn.feeder import Feeder
    from hpc_ds.learn.metrics import Metric
    from hpc_ds.learn.order import Order
    from hpc_ds.learn.predictor import Predictor


@dataclass
class Trainer:
    """The parts of a training, and the loop over them."""

    predictor: Predictor
    """On the group's device, in the precision of the settings, with the same weights on all ranks."""
    train: Dataset
    valid: Dataset | None
    order: Order
    feeder: Feeder
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Sequence[Metric]
    """The first tells which epoch is the best."""
    settings: Settings
    group: Group
    snapshots: Snapshots
    history_file: str | os.PathLike[str]
    progress: Callable[[int, int], Progress]
    """Makes the progress of (steps in all, steps done by earlier sessions)."""
    deadline: Deadline
    tell: Callable[[str], None] = print
    """Told, on rank 0, of roll-backs, a line each."""
    member: int = 0
    """Which network of an ensemble this is."""
    on_epoch: Callable[[dict[str, Any]], None] | None = None
    """Called on rank 0 with each epoch's entry of history.json."""
    block: int = 0
    """Samples that are validated together; by default as many as there are in a batch."""

    def run(self) -> TrainingResult:
        """Train, from the newest snapshot on if there is one; collective.

        Returns
        -------
        TrainingResult
            ``stopped`` when the deadline came first: then a snapshot was written, from which another call goes on to
            the same result, bit for bit, on any number of ranks that the reduction takes.

        Raises
        ------
        TrainingFailure
            A loss is NaN or explodes, on all ranks; the last snapshot is from before.
        InputError
            The number of ranks does not fit, or the snapshots are of a later format.
        StorageError
            The disk refuses a snapshot or the history.
        """
        network, checkpoints = self.predictor.network, self.settings.activation_checkpoints
        with repeatable(self.group.device), recomputed(network) if checkpoints else nullcontext():
            return Session(self).run()
