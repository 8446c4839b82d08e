"""Learning rates as pure functions of the step: cosine, step, constant and one-cycle, with linear warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable

from hpc_ds.learn.settings import Settings

Schedule = Callable[[int], float]

ENDLESS = frozenset({"step", "constant"})
"""Schedules that do not depend on the number of epochs, so that a training with them may grow."""

RISE = 0.3
"""Part of one-cycle in which the rate rises (Smith and Topin 2018), unless the warm-up says how many steps."""

_START = 25.0
_END = 1e4
"""One-cycle begins at peak / _START and ends at peak / (_START * _END)."""


def make_schedule(settings: Settings, steps_per_epoch: int) -> Schedule:
    """Return the learning rate as a function of the step, counted from 0 over all epochs.

    Parameters
    ----------
    settings : Settings
        Which schedule, its peak, warm-up and epochs.
    steps_per_epoch : int
        Steps in an epoch.

    Notes
    -----
    Warm-up of w steps: the rate of step t is (t + 1) / w of the peak for t < w; cosine and step begin after it. Of
    one-cycle it is the length of the rise.
    """
    peak, total, warmup = settings.learning_rate, settings.epochs * steps_per_epoch, settings.warmup
    if settings.schedule == "one-cycle":
        return lambda step: one_cycle(step, peak, total, warmup or RISE * total)
    if settings.schedule == "cosine":
        return lambda step: _warmed(step, warmup, peak) or cosine(step - warmup, peak, total - warmup)
    if settings.schedule == "step":
        every, factor = settings.step_every * steps_per_epoch, settings.step_factor
        return lambda step: _warmed(step, warmup, peak) or staircase(step - warmup, peak, every, factor)
    return lambda step: _warmed(step, warmup, peak) or peak


def cosine(step: int, peak: float, total: int) -> float:
    """Return half a cosine from `peak` at step 0 to 0 at step `total` (Loshchilov and Hutter 2017, eq. 5)."""
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, total))))


def staircase(step: int, peak: float, every: int, factor: float) -> float:
    """Return `peak`, multiplied by `factor` after each `every` steps."""
    return peak * factor ** (step // every)


def one_cycle(step: int, peak: float, total: int, rise: float) -> float:
    """Return a rise from peak / 25 to `peak` in `rise` steps, then a fall to peak / 250,000, both half cosines.

    Smith and Topin (2018), as torch's ``OneCycleLR`` has it: the last of `total` steps has the least rate.
    """
    top = max(1e-9, rise - 1.0)
    if step <= top:
        return _between(peak / _START, peak, step / top)
    return _between(peak, peak / _START / _END, min(1.0, (step - top) / max(1.0, total - 1.0 - top)))


def _between(first: float, last: float, part: float) -> float:
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * part))


def _warmed(step: int, warmup: int, peak: float) -> float:
    """Return the rate of a step of the warm-up, 0 after it."""
    return peak * (step + 1) / warmup if step < warmup else 0.0
