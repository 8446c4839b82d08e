"""Apply a trained network to new data, over all ranks, into one HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpc_ds.learn.distributed import Device, join, learn_world
from hpc_ds.learn.metrics import Records, sample_error
from hpc_ds.learn.network_file import load_network
from hpc_ds.learn.new_samples import Later, NewSamples, check_split, open_samples, own_split, read_block
from hpc_ds.learn.prediction_file import Column, PredictionFile, check_free
from hpc_ds.learn.predictor import Card, Predictor, misfit
from hpc_ds.learn.recorders import Batch
from hpc_ds.learn.rollout import Feedback, feedback, roll_out
from hpc_ds.learn.threading import set_threads
from hpc_ds.learn.uncertainty import Ensemble
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.amounts import size_text
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import read_config, read_state
from hpc_ds.runtime.world import World

Tell = Callable[[str], None]
Problem = OSError | InputError


def predict(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    split: str | None = None,
    batch: int = 32,
    rollout: int = 0,
    world: World | None = None,
    device: Device = "auto",
    threads: int = 1,
    tell: Tell = lambda line: None,
) -> Path:
    r"""Predict all samples of `data` with the network of a training; collective.

    Samples are predicted in fixed blocks, block k on rank k modulo the number of ranks, so that the file has the same
    bytes on any number of them. It holds ``sample`` (n,); ``prediction`` (n, \*target_shape), and ``spread`` where the
    network or an ensemble gives one; of classes ``probability`` (n, classes) and ``class`` (n,); and ``error`` (n,)
    where the data say what is right; its attribute ``not_finite`` counts samples with a NaN or infinity in what the
    network sees or says.

    Parameters
    ----------
    run : str or Path
        Folder of a training, of an ensemble's, or one that holds ``network.json``.
    data : str or Path
        Folder of a training set, or an ``.h5`` or ``.npz`` file: see `hpc_ds.learn.new_samples.open_samples`.
    out : str or Path, optional
        The file to write; by default ``predictions/`` of the run, named after the data.
    split : str, optional
        Of a training set, and of a file of arrays that the training itself read, by default ``test``; of other files
        all samples, which ``all`` asks for of any.
    batch : int
        Samples that are predicted together; part of the result's bits.
    rollout : int
        Of networks that predict the next times of their inputs: how often they are applied, each time to what they
        said before; ``prediction`` then is (n, rollout, \*target_shape) and ``error`` (n, rollout), NaN where the data
        end before the step does. 0 applies them once.
    world : World, optional
        The ranks; by default all.
    device : {"auto", "cpu", "cuda"}
        "auto" takes CUDA where it is present.
    threads : int
        Of each rank; part of the result's bits.
    tell : callable
        Told in a line what is done, and of what is doubtful: a training that is not done, values that are not finite.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        On all ranks and before work begins: no network, no such data, data that do not fit it, a file that is there
        already.
    StorageError
        The disk refuses.
    """
    world = world or learn_world()
    if batch < 1 or rollout < 0:
        raise InputError(f"--batch {batch}, --rollout {rollout}: --batch is at least 1, --rollout at least 0")
    check_split(split)
    target = Path(out) if out is not None else _default_out(Path(run), Path(data), split)
    world.root_first(check_free, target)
    remark = set_threads(threads, world)
    with join(world, device=device) as group:
        network = agreed(world, load_run, run, group.device)
        card = card_of(network)
        own = "" if split else world.root_first(_own_split, Path(run), Path(data))
        samples = agreed(world, open_samples, data, card, lambda shape: _misfit(network, shape), split or own)
        feed = feedback(card) if rollout else None
        job = agreed(world, _Job, network, card, samples, batch, rollout, feed, group.device)
        tell(f"{job.told(bool(own))} to {target}")
        for doubt in (remark, world.root_first(unfinished, run)):
            if doubt:
                tell(f"warning: {doubt}")
        file = PredictionFile(target, job.columns(), len(samples.dataset), job.attributes(), world)
        doubt = job.run(file, world)
        if doubt:
            tell(f"warning: {target}: {doubt}")
    return target


def load_run(run: str | os.PathLike[str], device: torch.device | str = "cpu") -> Predictor | Ensemble:
    """Return the network of a run folder, or all those of an ensemble as one.

    Raises
    ------
    InputError
        There is none, or a damaged one; members of an ensemble that do not belong together, or of which some are
        missing.
    """
    members = sorted(path.parent.parent for path in Path(run).glob("members/*/network/network.json"))
    _check_complete(Path(run), [member.name for member in members])
    if not members:
        return load_network(run, device)
    networks = [load_network(member, device) for member in members]
    for place, network in zip(members, networks, strict=True):
        if _likeness(network.card) != _likeness(networks[0].card):
            raise InputError(f"{place}: another network than that of {members[0]}; they are no ensemble")
    return Ensemble(networks).eval()


def unfinished(run: str | os.PathLike[str]) -> str:
    """Say that the training of a run folder is not done; empty where it is, or where the folder does not tell."""
    if not (Path(run) / "state.json").exists():
        return ""
    found = read_state(run)
    if found["state"] == "done":
        return ""
    state = "killed" if found["state"] == "running" and not found["alive"] else found["state"]
    return f"{run}: the training is not done ({state}): this network is not its last word"


def card_of(network: Predictor | Ensemble) -> Card:
    """Return what a network is; of an ensemble what its members are."""
    return network.members[0].card if isinstance(network, Ensemble) else network.card


class _Job:
    """What is predicted of the samples, block by block."""

    def __init__(
        self,
        network: Predictor | Ensemble,
        card: Card,
        samples: NewSamples,
        block: int,
        rollout: int,
        feed: Feedback | None,
        device: torch.device,
    ) -> None:
        self.network, self.card, self.samples = network, card, samples
        self.block, self.rollout, self.feed, self.device = block, rollout, feed, device
        self.count = len(samples.dataset)
        self.error, self.needs, self.reduce = sample_error(card.task)
        self.judged = samples.with_targets
        self.later = Later(samples, feed.steps, rollout) if feed and self.judged else None
        if not self.count:
            raise InputError(f"{samples.dataset.source.place}: holds no samples")
        self.shape, self.with_spread = self._probe()

    def told(self, own: bool) -> str:
        """Say in one line what will be done; `own` if the split was chosen because the training read the file."""
        values = self.count * int(np.prod(self.shape)) * (2 if self.with_spread else 1)
        members = f" by {len(self.network.members)} networks" if isinstance(self.network, Ensemble) else ""
        split = f" of the {self.samples.split} split" if self.samples.split else ""
        why = " (the training read the others; --split all takes every row)" if own else ""
        return f"{self.count} samples{split}{why}{members}, about {size_text(4 * values)},"

    def columns(self) -> list[Column]:
        """Return the arrays of the file."""
        names = {"names": list(self.card.target_names)}
        if self.card.task == "classify":
            made = [Column("probability", self.shape, "<f4", names), Column("class", (), "<i8", names)]
        else:
            axes = ["sample", *(["rollout"] if self.rollout else []), "channel"]
            axes += [axis.name for axis in self.card.axes][: len(self.shape) - len(axes) + 1]
            made = [Column("prediction", self.shape, "<f4", {**names, "axes": axes})]
        if self.with_spread:
            made.append(Column("spread", self.shape, "<f4", names))
        if self.judged:
            steps = (self.rollout,) if self.rollout else ()
            made.append(Column("error", steps, "<f8", {"metric": self.error}))
        return [Column("sample", (), "<i8", {}), *made]

    def attributes(self) -> dict[str, Any]:
        """Return what the file says of itself."""
        networks = self.network.members if isinstance(self.network, Ensemble) else [self.network]
        return {
            "task": self.card.task,
            "network": self.card.reference,
            "weights_sha256": [network.identity for network in networks],
            "data": self.samples.dataset.source.place,
            "split": self.samples.split,
            "inputs": list(self.samples.dataset.input_names),
            "rollout": self.rollout,
        }

    def run(self, file: PredictionFile, world: World) -> str:
        """Predict this rank's blocks and end the file; collective. Return what is doubtful of it, or nothing."""
        records: list[tuple[int, Records]] = []
        wrong: list[int] = []
        problem: Problem | None = None
        try:
            for first, inputs, targets in self._blocks(world):
                values, found = self._predicted(inputs)
                numbers = np.arange(first, first + len(inputs), dtype="<i8")
                for name, stored in {"sample": numbers, **found}.items():
                    file.write(name, first, stored)
                sound = np.all([_finite(part) for part in (inputs, *found.values())], axis=0)
                wrong.extend(numbers[~sound].tolist())
                if targets is not None:
                    records.append((first, self._recorded(values, targets)))
        except (OSError, InputError) as error:
            problem = error
        if self.judged:
            problem = self._write_errors(file, world.gather(records), problem)
        counts = world.allgather((len(wrong), min(wrong, default=self.count)))
        total, least = sum(count for count, _ in counts), min(number for _, number in counts)
        file.finish(problem, {"not_finite": total})
        return self._doubt(total, least) if total else ""

    def _doubt(self, count: int, first: int) -> str:
        where = self.samples.dataset.where(first)
        return (
            f"{count} of {self.count} samples hold a NaN or infinity in what the network sees or says, the first is "
            f"sample {first} ({where})"
        )

    def _write_errors(self, file: PredictionFile, gathered: Any, problem: Problem | None) -> Problem | None:
        """Write the error of each sample, which may need the records of all; NaN where it cannot be said."""
        parts = sorted((part for of_rank in gathered or () for part in of_rank), key=lambda part: part[0])
        if problem is not None or sum(len(next(iter(part.values()))) for _, part in parts) < self.count:
            return problem  # a rank met a problem, or this is not the root
        joined = {name: np.concatenate([part[name] for _, part in parts]) for name in self.needs}
        errors = np.full((self.count, max(1, self.rollout)), np.nan, dtype="<f8")
        for step in range(errors.shape[1]):
            sound = np.all([_finite(values[:, step]) for values in joined.values()], axis=0)
            if sound.any():
                errors[sound, step] = self.reduce(
                    {name: values[sound, step] for name, values in joined.items()}
                )
        try:
            file.write("error", 0, errors if self.rollout else errors[:, 0])
        except OSError as error:
            return error
        return None

    def _blocks(self, world: World) -> Iterator[tuple[int, NDArray[np.float32], NDArray[Any] | None]]:
        """Yield this rank's blocks; the next is read meanwhile."""

        def read(first: int) -> tuple[int, NDArray[np.float32], NDArray[Any] | None]:
            numbers = np.arange(first, min(first + self.block, self.count))
            inputs, targets = read_block(self.samples, numbers, self.card)
            return first, inputs, targets if self.later is None else self.later.targets(numbers)

        starts = range(world.rank * self.block, self.count, world.size * self.block)
        with ThreadPoolExecutor(1, "prediction") as reader:
            ahead = None
            for first in starts:
                coming = reader.submit(read, first)
                if ahead is not None:
                    yield ahead.result()
                ahead = coming
            if ahead is not None:
                yield ahead.result()

    def _predicted(self, inputs: NDArray[np.float32]) -> tuple[Tensor, Mapping[str, NDArray[Any]]]:
        """Return the predictions of one block, and its arrays."""
        values, spread = self._apply(torch.from_numpy(inputs).to(self.device))
        stored = values.float().cpu().numpy()
        if self.card.task == "classify":
            return values, {"probability": stored, "class": stored.argmax(axis=1).astype("<i8")}
        spreads = {} if spread is None else {"spread": spread.float().cpu().numpy()}
        return values, {"prediction": stored, **spreads}

    def _recorded(self, values: Tensor, targets: NDArray[Any]) -> Records:
        """Return what the errors of one block are made of, (n, steps, ...)."""
        right = torch.from_numpy(targets).to(self.device)
        steps = max(1, self.rollout)
        if self.rollout:
            values, right = values.flatten(0, 1), right.flatten(0, 1)
        batch = Batch(values.double(), right if self.card.task == "classify" else right.double())
        numbers = {name: _numbers(record(batch)) for name, record in self.needs.items()}
        return {name: found.reshape(-1, steps, *found.shape[1:]) for name, found in numbers.items()}

    def _apply(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.inference_mode():
            if self.feed is None:
                return self.network.with_spread(inputs)
            return roll_out(self.network, inputs, self.feed, self.rollout), None

    def _probe(self) -> tuple[tuple[int, ...], bool]:
        """Return the shape of one sample's prediction and whether there is a spread, by predicting the first one."""
        inputs, _ = read_block(self.samples, np.arange(1), self.card)
        values, spread = self._apply(torch.from_numpy(inputs).to(self.device))
        return tuple(values.shape[1:]), spread is not None


def _misfit(network: Predictor | Ensemble, shape: tuple[int, ...]) -> str:
    return misfit(network.members[0] if isinstance(network, Ensemble) else network, shape)


def _check_complete(run: Path, found: Sequence[str]) -> None:
    """Refuse an ensemble some of whose members have no network yet."""
    if not (run / "config.toml").exists():
        return
    members = read_config(run).get("members", 1)
    wanted = (
        [f"{member:03d}" for member in range(members)] if isinstance(members, int) and members > 1 else []
    )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(
            f"{run}: {len(missing)} of {members} members have no network yet ({', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}); the same hpc-ds learn command trains them"
        )


def _own_split(run: Path, data: Path) -> str:
    """Return ``test`` where the data are a file of which the training read other rows, else nothing."""
    if not (run / "config.toml").exists():
        return ""
    trained_on = read_config(run).get("data", {})
    same = isinstance(trained_on, dict) and _real(trained_on.get("path", "")) == _real(data)
    return own_split(data) if same else ""


def _real(path: str | Path) -> str:
    return os.path.realpath(path)


def _finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which samples hold finite numbers only, (n,)."""
    return np.isfinite(values).reshape(len(values), -1).all(axis=1)


def _likeness(card: Card) -> tuple[Any, ...]:
    return (card.task, card.input_shape, card.target_shape, card.input_names, card.target_names)


def _numbers(values: Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()


def _default_out(run: Path, data: Path, split: str | None) -> Path:
    name = data.name if data.suffix not in (".h5", ".hdf5", ".npz") else data.stem
    return run / "predictions" / f"{name}{f'-{split}' if split else ''}.h5"
