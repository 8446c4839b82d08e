"""Train networks and answer: the one function behind `hpc-ds learn` and behind studies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpc_ds.learn.computed import ComputedData
from hpc_ds.learn.distributed import check_devices, join, learn_world
from hpc_ds.learn.evaluation import Evaluation, climatology, evaluate
from hpc_ds.learn.evaluation_file import write_evaluation
from hpc_ds.learn.group import Group
from hpc_ds.learn.member import Place, train_member
from hpc_ds.learn.network_file import save_network
from hpc_ds.learn.normaliser import check_splits
from hpc_ds.learn.outcome import FORMAT, Outcome, State
from hpc_ds.learn.plan import Plan, make_plan
from hpc_ds.learn.prediction import load_run
from hpc_ds.learn.predictor import Predictor
from hpc_ds.learn.recovery import TrainingFailure
from hpc_ds.learn.reduction import check_ranks
from hpc_ds.learn.schedules import ENDLESS
from hpc_ds.learn.settings import GROWABLE, Settings, make_settings
from hpc_ds.learn.threading import set_threads
from hpc_ds.learn.trainer import TrainingResult
from hpc_ds.learn.uncertainty import Ensemble, member_groups
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.allocator import keep_freed_memory
from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import RunFolder, read_config
from hpc_ds.runtime.world import World, install_abort_hook

Tell = Callable[[str], None]

SUMMARY = "summary.json"
EVALUATION = "evaluation.h5"


def train(
    network: str,
    data: str | os.PathLike[str] | ComputedData,
    *,
    folder: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    world: World | None = None,
    deadline: Deadline | None = None,
    tell: Tell | None = None,
    **values: Any,
) -> Outcome:
    """Train a network, or an ensemble of them, on a data set; collective.

    Parameters
    ----------
    network : str
        A built-in name, ``path/to/file.py:name`` or the name of a plug-in.
    data : str, Path or ComputedData
        Folder of a training set, an HDF5 or NPZ file of arrays, or samples that are computed when they are read.
    folder : str or Path
        Run folder; what it holds is continued.
    options : mapping, optional
        Of the network, e.g. ``{"width": 64}``.
    settings : Settings, optional
        By default made from `values`: ``train("fno", "data/burgers", folder="runs/fno", epochs=100)``.
    world : World, optional
        The ranks; all ranks of the job by default.
    deadline : Deadline, optional
        When to stop in good order.
    tell : callable, optional
        Told, on rank 0, of remarks and warnings, a line each; by default prints on stderr.

    Returns
    -------
    Outcome
        What the folder now holds, on all ranks. ``state`` is ``stopped`` when the deadline came first: the same call
        continues.

    Raises
    ------
    InputError
        Data, a network or settings that cannot be, or that do not fit each other or the ranks; nothing is written.
    TrainingFailure
        A loss became NaN or exploded; the message names the sample.
    StorageError
        The disk refuses. The same call continues when it is mended.

    Notes
    -----
    With the reproducible reduction the network's bits depend on configuration and data alone: not on the number of
    ranks, nor on whether the training was stopped or killed and continued.
    """
    if world is None:
        world = learn_world()
        install_abort_hook(world)
    settings = settings or make_settings(values)
    tell = tell if tell is not None else _teller(world)
    path = Path(os.path.abspath(folder))
    crowded = set_threads(settings.threads, world)
    keep_freed_memory()
    plan = agreed(world, make_plan, network, data, options or {}, settings)
    check_devices(world, settings.comm, settings.device)
    if settings.members == 1:
        check_ranks(settings.reduction, settings.lanes, world.size)
    if settings.reduction == "sharded" and settings.batch < world.size:
        raise InputError(
            f"--batch {settings.batch} is less than {world.size} ranks: a rank would have no sample"
        )
    world.root_first(_check_growth, path, settings)
    check_splits([dataset for split, dataset in plan.splits.items() if split != "train"], world)
    for line in (*plan.remarks, *filter(None, [crowded])):
        tell(line)
    growable = GROWABLE | {"data.path"} | ({"epochs"} if settings.schedule in ENDLESS else set())
    with RunFolder.open(path, "learn", plan.config, growable, world, sys.argv, settings.seed) as opened:
        tell(_estimate(plan))
        plan = _with_climatology(plan, world)
        results, predictors = _train_all(plan, path, world, deadline or Deadline(None), tell)
        outcome = _conclude(plan, path, results, predictors, world)
        world.root_first(_set_state, opened, outcome)
        if not world.is_root:
            opened.set_state(outcome.state)
        return outcome


def _check_growth(path: Path, settings: Settings) -> None:
    """Refuse fewer epochs than the folder's training was to have."""
    if (path / "config.toml").exists():
        epochs = read_config(path).get("epochs")
        if isinstance(epochs, int) and settings.epochs < epochs:
            raise InputError(
                f"--epochs {settings.epochs}: the training in {path} is for {epochs} epochs, which can only grow"
            )


def _with_climatology(plan: Plan, world: World) -> Plan:
    """Return the plan with the mean target over the training split, where a metric needs it; collective."""
    if "acc" not in plan.settings.metrics:
        return plan
    with join(world, plan.settings.comm, "cpu") as group:
        return replace(plan, climatology=climatology(plan.train, group, plan.settings.batch))


def member_folder(path: Path, member: int, members: int) -> Path:
    """Return where a network of a training lies: the run folder itself if it is the only one."""
    return path if members == 1 else path / "members" / f"{member:03d}"


Results = list[TrainingResult | TrainingFailure]


def _train_all(
    plan: Plan, path: Path, world: World, deadline: Deadline, tell: Tell
) -> tuple[Results, list[Predictor]]:
    """Train all members on groups of ranks; return all results on all ranks, and this rank's own predictors."""
    settings = plan.settings
    mine, members, deal = member_groups(world, settings.members, lambda size: _fits(settings, size))
    if deal.remark():
        tell(deal.remark())
    own: dict[int, TrainingResult | TrainingFailure] = {}
    predictors: list[Predictor] = []
    if mine is not None:
        with join(mine, settings.comm, settings.device) as group:
            for member in members:
                place = _place(plan, path, member, world)
                try:
                    result, predictor = train_member(plan, member, place, group, deadline, tell)
                except TrainingFailure as failure:
                    own[member] = failure
                    continue
                own[member] = result
                predictors.append(predictor)
        mine.free()
    found = {member: result for part in world.allgather(own) for member, result in part.items()}
    return [found[member] for member in sorted(found)], predictors


def _fits(settings: Settings, size: int) -> bool:
    try:
        check_ranks(settings.reduction, settings.lanes, size)
    except InputError:
        return False
    return True


def _place(plan: Plan, path: Path, member: int, world: World) -> Place:
    members = plan.settings.members
    label = plan.reference if members == 1 else f"{plan.reference}, member {member + 1} of {members}"
    return Place(member_folder(path, member, members), world, path / "progress.jsonl", label)


def _conclude(
    plan: Plan, path: Path, results: Results, predictors: Sequence[Predictor], world: World
) -> Outcome:
    """Evaluate what was trained and write the answer; collective."""
    for member, result in enumerate(results):
        if isinstance(result, TrainingFailure):
            which = f"member {member + 1} of {len(results)}: " if len(results) > 1 else ""
            raise TrainingFailure(f"{which}{result}")
    done = [result for result in results if isinstance(result, TrainingResult)]
    state: State = "stopped" if any(result.state == "stopped" for result in done) else "done"
    summary = _summary(plan, done)
    note = next((result.note for result in done if result.state == state), "")
    if state == "done":
        summary["metrics"] = _evaluate(plan, path, predictors, world)
    summary["state"] = state
    world.root_first(write_json, path / SUMMARY, summary)
    return Outcome(str(path), state, note, summary)


def _evaluate(
    plan: Plan, path: Path, predictors: Sequence[Predictor], world: World
) -> dict[str, dict[str, float]]:
    """Write how good the network, or all members as one, is on valid and test; return the metrics; collective."""
    settings = plan.settings
    with join(world, settings.comm, settings.device) as group:
        predictor = _whole(plan, path, predictors, group)
        spread = plan.card.task != "classify" and (plan.card.spread or settings.members > 1)
        metrics = plan.metrics(spread)
        found: dict[str, Evaluation] = {}
        for split in ("valid", "test"):
            if split in plan.splits:
                dataset = plan.splits[split]
                found[split] = evaluate(
                    predictor.with_spread, dataset, group, settings.batch, metrics, keep=True
                )
    reached = {split: dict(evaluation.metrics) for split, evaluation in found.items()}
    world.root_first(_write_found, path, found, reached, predictors if settings.members == 1 else ())
    return reached


def _whole(plan: Plan, path: Path, predictors: Sequence[Predictor], group: Group) -> Predictor | Ensemble:
    """Return the network, or all members as one, on all ranks; read from files where others wrote them."""
    settings = plan.settings
    if settings.members == 1 and (settings.reduction != "sharded" or group.size == 1):
        return predictors[0]
    group.world.barrier()
    return agreed(group.world, load_run, path, group.device)


def _write_found(
    path: Path,
    found: Mapping[str, Evaluation],
    reached: Mapping[str, Mapping[str, float]],
    predictors: Sequence[Predictor],
) -> None:
    if found:
        write_evaluation(path / EVALUATION, found)
    for predictor in predictors:
        save_network(path / "network", predictor, reached)


def _summary(plan: Plan, results: Sequence[TrainingResult]) -> dict[str, Any]:
    last = [result.history.epochs[-1] for result in results if result.history.epochs]
    return {
        "format": FORMAT,
        "kind": "learn",
        "network": plan.reference,
        "parameters": plan.parameters,
        "task": plan.card.task,
        "samples": {split: len(dataset) for split, dataset in plan.splits.items()},
        "inputs": list(plan.card.input_names),
        "targets": list(plan.card.target_names),
        "members": len(results),
        "epochs": plan.settings.epochs,
        "epochs_done": min((len(result.history.epochs) for result in results), default=0),
        "best_epoch": results[0].best_epoch if len(results) == 1 else None,
        "train_loss": sum(epoch.train_loss for epoch in last) / len(last) if last else None,
        "seconds": max((result.seconds for result in results), default=0.0),
        "reduction": plan.settings.reduction,
        "roll_backs": sum(len(result.history.troubles) for result in results),
        "metrics": {},
    }


def _estimate(plan: Plan) -> str:
    """Say before the work what it is, in one line."""
    settings = plan.settings
    steps = -(-plan.order(0).length // settings.batch) * settings.epochs
    shapes = " to ".join(" x ".join(map(str, s)) for s in (plan.card.input_shape, plan.card.target_shape))
    return (
        f"{plan.reference}: {plan.parameters:,} parameters, {len(plan.train):,} samples of {shapes}, "
        f"{steps:,} steps of {settings.batch}"
    )


def _set_state(opened: RunFolder, outcome: Outcome) -> None:
    opened.set_state(outcome.state, outcome.note or None)


def _teller(world: World) -> Tell:
    def tell(line: str) -> None:
        if world.is_root:
            print(f"hpc-ds: {line}", file=sys.stderr, flush=True)

    return tell
