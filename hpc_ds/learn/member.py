"""One network of a training: its parts put together, trained by a group of ranks, and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hpc_ds.learn.events import Events
from hpc_ds.learn.feeder import Feeder
from hpc_ds.learn.group import Group
from hpc_ds.learn.network_file import save_network
from hpc_ds.learn.normaliser import fit_normalisers
from hpc_ds.learn.plan import Plan
from hpc_ds.learn.predictor import Predictor
from hpc_ds.learn.trainer import Trainer, TrainingResult
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.snapshot import Snapshots
from hpc_ds.runtime.world import World


@dataclass(frozen=True)
class Place:
    """Where a network's files lie, and who shows how it goes."""

    folder: Path
    """Of the network: the run folder, or one for each member of an ensemble."""
    world: World
    """Of all ranks: only its rank 0 shows anything."""
    progress_file: Path
    label: str

    def progress(self, total: int, done: int) -> Progress:
        """Return the progress of so many steps."""
        return Progress(self.world, self.progress_file, total, self.label, done)


def train_member(
    plan: Plan, member: int, place: Place, group: Group, deadline: Deadline, tell: Callable[[str], None]
) -> tuple[TrainingResult, Predictor]:
    """Train a network from where its folder has it, and keep it there; collective over `group`.

    Of a sharded training only rank 0 returns the whole network; the others read it from the folder.

    Raises
    ------
    TrainingFailure
        On all ranks of the group, as `Trainer.run`.
    InputError
        On all ranks of the group: data that hold a NaN, or that a rank cannot read.
    StorageError
        The disk refuses.
    """
    settings, train = plan.settings, plan.training(member)
    inputs, targets = fit_normalisers(train, settings, group)
    predictor = Predictor(plan.card, plan.network(member), inputs, targets).to(group.device)
    dtype = torch.float64 if settings.precision == "float64" else torch.float32
    feeder = Feeder(train, group.device, settings.prefetch, plan.augment(inputs, member), dtype)
    group.world.root_first(_make_folder, place.folder)
    events = Events(place.folder / "events")
    trainer = Trainer(
        predictor=predictor,
        train=train,
        valid=plan.valid,
        order=plan.order(member),
        feeder=feeder,
        loss=plan.loss(predictor.target).to(group.device),
        metrics=plan.metrics(),
        settings=settings,
        group=group,
        snapshots=Snapshots(place.folder / "snapshots"),
        history_file=place.folder / "history.json",
        progress=place.progress,
        deadline=deadline,
        tell=tell,
        member=member,
        on_epoch=events.epoch,
    )
    try:
        result = trainer.run()
    finally:
        events.close()
    if settings.reduction == "sharded" and group.size > 1:
        predictor = Predictor(plan.card, plan.network(member), inputs, targets)
        group.world.root_first(_fill, predictor, result)
    group.world.root_first(save_network, place.folder / "network", predictor)
    return replace(result, weights={}), predictor


def _fill(predictor: Predictor, result: TrainingResult) -> None:
    """Give a whole network the weights that were split over the ranks: rank 0 has them together."""
    state = {name: torch.from_numpy(array) for name, array in result.weights.items()}
    predictor.network.load_state_dict(state)


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
