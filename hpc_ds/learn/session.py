"""One run of a training: the loop over epochs and steps, with snapshots and stops at safe points."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from hpc_ds.learn import resume
from hpc_ds.learn.ema import WeightMean
from hpc_ds.learn.evaluation import evaluate
from hpc_ds.learn.history import Epoch, History
from hpc_ds.learn.pace import EpochLosses, Pace
from hpc_ds.learn.recovery import ROLL_BACKS, TrainingFailure, Trouble, explosion, not_finite
from hpc_ds.learn.reduction import make_reducer
from hpc_ds.learn.schedules import make_schedule
from hpc_ds.learn.step import Pieces, Step, Tensors, freeze_statistics
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.errors import InputError

if TYPE_CHECKING:
    from hpc_ds.learn.trainer import Trainer

_HISTORY_EVERY = 1.0
"""Seconds between two writings of history.json at least: short epochs shall not wait for the disk."""


@dataclass(frozen=True)
class TrainingResult:
    """What `Trainer.run` did; the predictor then has the weights that are kept, each rank its part where sharded."""

    state: Literal["done", "stopped"]
    best_epoch: int | None
    """Epoch of the weights that are kept; None where there is no validation: those of the last step."""
    history: History
    seconds: float
    """Of all sessions, of the epochs that are over."""
    note: str
    """Why it ended, in a few words; empty where all epochs are done."""
    weights: resume.Arrays = field(default_factory=dict, repr=False)
    """Where the network is sharded over ranks: the whole weights that are kept, by name, on rank 0; else nothing."""


class Session:
    """One run of a trainer: what it makes of the parts, and where it stands."""

    def __init__(self, parts: Trainer) -> None:
        self.parts, self.settings, self.group = parts, parts.settings, parts.group
        network = parts.predictor.network
        kind, lanes = self.settings.reduction, self.settings.lanes
        self.reducer = make_reducer(kind, network, self.group, lanes, self.settings.accumulate)
        self.step = Step(parts.predictor, parts.loss, self.reducer, self.settings, parts.member)
        self.mean = WeightMean(network, self.settings.ema) if self.settings.ema is not None else None
        self.weights = resume.Weights(self.reducer, self.step.optimiser, self.mean, self.group)
        self.pace = Pace(self.group.world, self.settings.snapshot_every)
        self._is_split = kind == "sharded" and self.group.size > 1
        fresh = resume.State(np.full(len(parts.train), math.nan))
        self.state = resume.load(parts.snapshots, self.weights) or fresh
        self._is_saved = self.state is not fresh
        self._per_epoch = self._steps(parts.order.length)
        self.schedule = make_schedule(self.settings, self._per_epoch)
        self._written = -math.inf
        self._begun = time.monotonic()

    def run(self) -> TrainingResult:
        """Run all epochs that are left, or until the deadline; collective."""
        total, done = self.settings.epochs * self._per_epoch, self._steps_done()
        if self._is_saved and self.group.rank == 0 and not self._is_over():
            self.parts.tell(f"goes on at epoch {self.state.epoch}, step {self.state.step + 1}")
        with self.parts.progress(total, min(done, total)) as self.progress:
            is_stopped = False
            while not self._is_over() and not is_stopped:
                is_stopped = self._run_epoch()
            return self._end(is_stopped)

    # An epoch

    def _run_epoch(self) -> bool:
        """Run the epoch that is under way to its end; return whether the deadline came first."""
        state = self.state
        self._samples = self.parts.order.epoch(state.epoch, state.known)
        self._losses = EpochLosses(len(self._samples), self.group, state.losses)
        self._begun = time.monotonic() - state.seconds
        if state.step == 0:
            self._remember()
        self._train_mode()
        trouble, is_stopped = self._run_steps()
        trouble = trouble or self._look()
        if trouble is not None:
            self._roll_back(trouble)
        elif not is_stopped:
            self._end_epoch()
        return is_stopped

    def _run_steps(self) -> tuple[Trouble | None, bool]:
        """Run the steps that are left of the epoch; return what went wrong, and whether the deadline came."""
        state, steps = self.state, self._steps(len(self._samples))
        left = range(state.step, steps)
        samples = ([self._samples[places] for _, places in self._pieces(step)] for step in left)
        reading = cast("Generator[Tensors, None, None]", self.parts.feeder.batches(samples, state.epoch))
        with closing(reading) as batches:
            for step in left:
                trouble = self._take_step(self._pieces(step), self._read(batches))
                if trouble is None and self.pace.is_due():
                    trouble = self._look()
                    if trouble is None and self._safe_point():
                        return None, True
                if trouble is not None:
                    return trouble, False
        return None, False

    def _read(self, batches: Iterator[Tensors]) -> Tensors | InputError:
        """Return the next step's tensors, or what this rank met where the others must hear of it first."""
        try:
            return next(batches)
        except InputError as error:
            if self.group.size == 1 or self._is_split:
                raise
            return error

    def _take_step(self, pieces: Pieces, tensors: Tensors | InputError) -> Trouble | None:
        state, batch = self.state, self.settings.batch
        first = state.step * batch
        count = min(batch, len(self._samples) - first)
        if isinstance(tensors, InputError):
            norm = self.step.spoil(pieces)
        else:
            norm = self.step.gradient(state.epoch, state.step, count, pieces, tensors, self._losses.own)
        if not math.isfinite(norm):
            return self._look() or self._name(first, first + count, pieces, tensors)
        self.step.update(self._rate(), norm)
        if self.mean is not None:
            self.mean.update()
        state.norms.append(norm)
        state.step += 1
        self._is_saved = False
        return None

    def _end_epoch(self) -> None:
        state = self.state
        rate = self._rate(state.step - 1)
        metrics = self._validate()
        entry = Epoch(
            state.epoch,
            rate,
            math.fsum(state.losses) / len(state.losses),
            math.fsum(state.norms) / len(state.norms),
            time.monotonic() - self._begun,
            metrics,
        )
        first = self.parts.metrics[0] if metrics else None
        smaller = first is None or first.smaller_is_better is not False
        if state.history.add(entry, first.name if first else None, smaller):
            kept = self.weights.network()
            state.best = kept if self.group.rank == 0 else {}
        means = self._step_means()
        state.history.steps.extend(means)
        state.watch.add(means)
        state.known[self._samples] = state.losses
        state.elapsed += entry.seconds
        state.begin_epoch(state.epoch + 1)
        self._is_saved = False
        self._publish(entry)

    def _validate(self) -> dict[str, float]:
        valid, predictor = self.parts.valid, self.parts.predictor
        if valid is None:
            return {}
        predictor.eval()
        block = self.parts.block or self.settings.batch
        with self.mean.in_place() if self.mean is not None else nullcontext():
            found = evaluate(predictor.with_spread, valid, self.group, block, self.parts.metrics)
        return dict(found.metrics)

    # Safe points

    def _look(self) -> Trouble | None:
        """Learn the losses of all ranks so far, and return whether one explodes; collective."""
        state = self.state
        state.losses = self._losses.share(min(state.step * self.settings.batch, len(self._samples)))
        if not len(state.losses):
            return None
        starts = range(0, len(state.losses), self.settings.batch)
        seen = self._samples[: len(state.losses)]
        return explosion(state.watch, state.losses, seen, starts, state.epoch)

    def _safe_point(self) -> bool:
        """Save if it is time, and return whether to stop; collective."""
        is_stopped = self.parts.deadline.agreed(self.group.world)
        if self.pace.agree() and not is_stopped:
            self._save()
        self._show()
        return is_stopped

    def _save(self) -> None:
        self.state.seconds = time.monotonic() - self._begun if self.state.step else 0.0
        resume.save(self.parts.snapshots, self.state, self.weights)
        self.pace.saved()
        self._is_saved = True

    def _show(self) -> None:
        state, history = self.state, self.state.history
        fields: dict[str, Any] = {"epoch": min(state.epoch, self.settings.epochs)}
        recent = state.losses[-self.settings.batch :]
        if len(recent):
            fields["loss"] = float(recent.mean())
        elif history.epochs:
            fields["loss"] = history.epochs[-1].train_loss
        if history.epochs and history.epochs[-1].valid:
            name = self.parts.metrics[0].name
            fields[name] = history.epochs[-1].valid[name]
        fields["samples_per_s"] = round(self.pace.rate(self._steps_done()) * self.settings.batch, 1)
        self.progress.update(self._steps_done(), **fields)

    def _publish(self, entry: Epoch) -> None:
        """Show an epoch that is over, and write the history now and then."""
        self._show()
        self.group.world.root_first(self._write_history, False)
        if self.group.rank == 0 and self.parts.on_epoch is not None:
            self.parts.on_epoch(dict(vars(entry)))

    def _write_history(self, is_last: bool) -> None:
        if is_last or time.monotonic() - self._written > _HISTORY_EVERY:
            self.state.history.write(Path(self.parts.history_file))
            self._written = time.monotonic()

    # Trouble

    def _name(self, first: int, stop: int, pieces: Pieces, tensors: Tensors | InputError) -> Trouble:
        """Find which sample made the step's gradient NaN or infinite; collective.

        Raises
        ------
        InputError
            None did: a rank could not read its samples. On all ranks.
        """
        tensors = agreed(self.group.world, _unless_error, tensors)
        batch = self._losses.share(stop)[first:]
        places = {
            int(place) - first: (inputs[row : row + 1], targets[row : row + 1])
            for (_, places), (inputs, targets) in zip(pieces, tensors)
            for row, place in enumerate(places)
        }
        what = not_finite(
            self.group.world,
            batch,
            self._samples[first:stop],
            [] if self._is_split else list(places),  # a split network computes nothing on one rank alone
            lambda place: self.step.alone(*places[place]),
        )
        return Trouble(self.state.epoch, self.state.step + 1, what)

    def _roll_back(self, trouble: Trouble) -> None:
        """Go back to the beginning of the epoch with half the learning rate, or give up; collective."""
        state = self.state
        done = len(state.history.troubles)
        if self.settings.on_trouble == "stop":
            raise TrainingFailure(str(trouble))
        if done == ROLL_BACKS:
            raise TrainingFailure(f"{trouble}; it was rolled back {done} times before")
        if state.start_updates is None:
            raise TrainingFailure(f"{trouble}; the epoch began without --on-trouble roll-back")
        state.factor *= 0.5
        state.history.troubles.append({**vars(trouble), "factor": state.factor})
        if self.group.rank == 0:
            self.parts.tell(
                f"warning: {trouble}; back to the beginning of the epoch with {state.factor:g} of the learning rate"
            )
        self.weights.load_all(state.start, state.start_updates)
        state.begin_epoch(state.epoch)

    def _remember(self) -> None:
        """Keep everything as it is at the beginning of an epoch, if it may be needed; collective."""
        self.state.start, self.state.start_updates = {}, None
        if self.settings.on_trouble == "roll-back":
            whole = self.weights.all()
            if self.group.rank == 0:
                self.state.start = {name: array.copy() for name, array in whole.items()}
            self.state.start_updates = self.mean.updates if self.mean is not None else 0

    # The end

    def _end(self, is_stopped: bool) -> TrainingResult:
        state = self.state
        self._show()
        if not self._is_saved:
            self._save()
        self.group.world.root_first(self._write_history, True)
        best = state.history.best_epoch
        kept = state.best if best is not None else self.weights.network()
        self.weights.load_network(kept)
        self.parts.predictor.eval()
        note = (self.parts.deadline.reason() or "") if is_stopped else self._why_over()
        seconds = state.elapsed + (state.seconds if is_stopped else 0.0)
        return TrainingResult(
            "stopped" if is_stopped else "done",
            best,
            state.history,
            seconds,
            note,
            kept if self._is_split else {},
        )

    def _is_over(self) -> bool:
        return self.state.epoch > self.settings.epochs or self._is_patience_out()

    def _is_patience_out(self) -> bool:
        return self.state.step == 0 and self.state.history.is_patience_out(self.settings.patience)

    def _why_over(self) -> str:
        if not self._is_patience_out():
            return ""
        return f"no better validation in {self.settings.patience} epochs"

    # Small things

    def _steps(self, samples: int) -> int:
        return -(-samples // self.settings.batch)

    def _steps_done(self) -> int:
        return (self.state.epoch - 1) * self._per_epoch + self.state.step

    def _rate(self, step: int | None = None) -> float:
        """Return the learning rate of the next step, or of another one of the epoch."""
        of_epoch = self.state.step if step is None else step
        return self.schedule((self.state.epoch - 1) * self._per_epoch + of_epoch) * self.state.factor

    def _pieces(self, step: int) -> Pieces:
        """Return this rank's pieces of a step: keys, and the places of their samples in the epoch."""
        first = step * self.settings.batch
        places = np.arange(first, min(first + self.settings.batch, len(self._samples)))
        return [(key, part) for key, part in self.reducer.pieces(places) if len(part)]

    def _step_means(self) -> list[float]:
        starts = range(self.settings.batch, len(self.state.losses), self.settings.batch)
        return [float(part.mean()) for part in np.split(self.state.losses, starts)]

    def _train_mode(self) -> None:
        self.parts.predictor.train()
        freeze_statistics(self.parts.predictor.network)


def _unless_error(tensors: Tensors | InputError) -> Tensors:
    if isinstance(tensors, InputError):
        raise tensors
    return tensors
