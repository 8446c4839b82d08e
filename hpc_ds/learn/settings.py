"""What a user can set of a training: one source for checks, command line and manual."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hpc_ds.runtime.options import checked

GROWABLE = frozenset({"epochs", "patience", "snapshot_every", "on_trouble", "comm", "prefetch"})
"""Settings that may differ when a training is continued. `epochs` may grow only where the schedule does not depend on
it."""

Task = Literal["auto", "fields", "scalars", "classify"]
Reduction = Literal["reproducible", "fast", "sharded"]
Device = Literal["auto", "cpu", "cuda"]
Sampling = Literal["uniform", "balanced", "over", "under", "hard"]


class Settings(BaseModel):
    """Settings of a training; its result depends on all but `snapshot_every`, `on_trouble`, `comm` and `prefetch`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    input: tuple[str, ...] = ()
    """What the network sees, e.g. u:0 (a field at the first time), u:0:10 (ten times as channels), nu (a parameter),
    several of them with commas; by default all fields at the first time."""

    target: tuple[str, ...] = ()
    """What it learns, written likewise, e.g. u:-1; by default all fields at the last time."""

    window: tuple[int, int] | None = None
    """n,m: every n successive times of a sample predict the m that follow, of the fields that --input and --target
    name without times."""

    task: Task = "auto"
    """fields, scalars or classify; found from the targets by default."""

    epochs: int = Field(default=100, ge=1)
    """How often each sample is seen."""

    batch: int = Field(default=32, ge=1)
    """Samples in a step, over all ranks."""

    lanes: int = Field(default=8, ge=1)
    """Parts of a batch whose gradients are computed alone and summed in a fixed tree: the result does not depend on the
    number of ranks, which must divide it."""

    reduction: Reduction = "reproducible"
    """reproducible: the same bits on 1, 2, 4 ... ranks; fast: the same to rounding, gradients travel while the next are
    computed; sharded: parameters are split over the ranks, for networks that do not fit."""

    accumulate: int = Field(default=1, ge=1)
    """Pieces in which each lane (each rank's share, where fast) is computed one after the other, to save memory."""

    seed: int = Field(default=1, ge=0, lt=2**63)
    """Seed of initial weights, order, dropout and augmentation."""

    loss: str | None = None
    """relative-l2, h1, latitude-l2, l2, l1, huber=DELTA, msle, cross-entropy, weighted-cross-entropy,
    focal=GAMMA,ALPHA, gaussian (mean and spread); by default relative-l2 for fields, l2 for scalars, cross-entropy for
    classes."""

    metrics: tuple[str, ...] = ()
    """What networks are judged by, the first chooses the best epoch; for instance relative_l2, vrmse, acc, or
    precision_at_recall=0.79 of two classes; by default the task's usual ones."""

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    """adamw, adam or sgd (momentum 0.9)."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Peak of the learning rate."""

    weight_decay: float = Field(default=1e-4, ge=0.0)
    """Weight decay; of adamw decoupled, and never of biases and normalisations."""

    schedule: Literal["cosine", "step", "constant", "one-cycle"] = "cosine"
    """How the learning rate goes, step by step."""

    warmup: int = Field(default=0, ge=0)
    """Steps of linear warm-up."""

    step_every: int = Field(default=100, ge=1)
    """Epochs after which schedule step multiplies the learning rate."""

    step_factor: float = Field(default=0.5, gt=0.0, le=1.0)
    """By how much."""

    clip: float | None = Field(default=None, gt=0.0)
    """Largest norm of the gradient; longer ones are shortened."""

    ema: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Decay of a running mean of the weights, which is then what is validated and kept, e.g. 0.999."""

    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """bfloat16 computes matrix products in half the bytes, by autocast; float64 trains in double precision (files hold
    predictions in single)."""

    activation_checkpoints: bool = False
    """Compute activations anew on the way back, to save memory."""

    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation after which the training ends."""

    sampling: Sampling = "uniform"
    """Of classes: balanced draws all equally often, over repeats rare ones, under leaves out frequent ones, hard takes
    under's rest by the loss that it had."""

    hard_ratio: float = Field(default=1.0, gt=0.0)
    """Samples of the most frequent class beside each other one, for under and hard."""

    augment: tuple[str, ...] = ()
    """Random symmetries, in turn: flip, transpose (of vectors with their components; fields without components keep
    their sign, as a vorticity does not), roll, noise=SIGMA, or your own file.py:name."""

    normalise: bool = True
    """Bring inputs and targets to mean 0 and spread 1; the figures are kept within the network."""

    weights: str | None = None
    """Weights file to begin with, of torch.save; layers whose shape differs in the head are begun anew."""

    freeze: tuple[str, ...] = ()
    """Beginnings of names of parameters that stay as they are, e.g. features.0."""

    members: int = Field(default=1, ge=1)
    """Networks trained side by side on groups of ranks: an ensemble, whose spread is an error bar."""

    bootstrap: bool = False
    """Each member sees samples drawn with replacement."""

    on_trouble: Literal["stop", "roll-back"] = "stop"
    """When a loss is NaN or explodes: stop and say at which sample, or go back to the beginning of the epoch with
    half the learning rate."""

    snapshot_every: float = Field(default=300.0, ge=0.0)
    """Seconds between snapshots; one is written at the end of an allotted time anyway."""

    device: Device = "auto"
    """auto takes CUDA where it is present."""

    threads: int = Field(default=1, ge=1)
    """Threads a rank, BLAS included; part of the result's bits."""

    comm: Literal["auto", "mpi", "gloo", "nccl"] = "auto"
    """What carries gradients between ranks."""

    prefetch: int = Field(default=4, ge=0)
    """Batches that are read ahead in the background."""

    @field_validator("input", "target", "metrics", "augment", "freeze", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("window", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        try:
            pair = tuple(int(part) for part in (value.split(",") if isinstance(value, str) else value))
        except (TypeError, ValueError):
            pair = ()
        if value is None:
            return None
        if len(pair) != 2 or pair[0] < 1 or pair[1] < 0:
            raise ValueError("two numbers of times are needed, such as 4,1 (or 4,0: the last of the four)")
        return pair

    @model_validator(mode="after")
    def _fit(self) -> Settings:
        if self.batch < self.lanes and self.reduction == "reproducible":
            raise ValueError(f"--batch {self.batch} is less than --lanes {self.lanes}: a lane would be empty")
        return self


EXAMPLES = {
    name: json.dumps(
        {
            "input": "u:0",
            "target": "u:-1",
            "window": "4,1",
            "loss": "relative-l2",
            "clip": 1.0,
            "ema": 0.999,
            "patience": 20,
            "augment": "flip,roll",
            "weights": "b4_imagenet.pth",
            "freeze": "features.0",
        }.get(name, field.default)
    )
    for name, field in Settings.model_fields.items()
}
"""A value of each setting as TOML writes it: the default, or what one might set."""


def make_settings(values: Mapping[str, Any]) -> Settings:
    """Return checked settings (`InputError`: one line that names the first wrong key)."""
    return checked(Settings, values)
