"""Which peak is which: label the peaks of every draw so that each label is the same peak throughout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_STARTS = 12
_STEPS = 20
_TRIAL_DRAWS = 400  # the labels are found from so many draws, then given to all
_NARROWEST = 1e-3  # of the spread of a feature over all peaks: a label no narrower than that

Array = NDArray[np.float64]


def match_peaks(peaks: Mapping[str, Array]) -> NDArray[np.int64]:
    """Return the order of the peaks in every draw that makes each label as narrow as it can be.

    A peak that wanders while the others stand (one more than the data need) keeps a label of its own, where sorting
    by position would shift the labels of all peaks that it passes. Labels run in the order of median positions.

    Parameters
    ----------
    peaks : dict of (..., peaks) float64
        ``amplitude``, ``position`` and ``width`` or ``precision`` of like peaks, numbered arbitrarily.

    Returns
    -------
    (..., peaks) int64
        For `numpy.take_along_axis` along the last axis.

    Notes
    -----
    Relabelling to independent normal laws of each label, which is Stephens, JRSS-B 62 (2000) 795, algorithm 1: assign
    every draw's peaks at the least total -log density, estimate the laws, repeat. As that can end in a local
    optimum, it begins with the peaks sorted and with several draws as templates, and the best end counts.
    """
    width = "width" if "width" in peaks else "precision"
    shape = peaks["position"].shape
    count = shape[-1]
    features = np.stack([peaks["position"], np.log(peaks[width]), peaks["amplitude"]], axis=-1)
    features = features.reshape(-1, count, 3)
    by_position = np.argsort(features[..., 0], axis=-1, kind="stable")
    if count == 1:
        return by_position.reshape(shape)
    spread = features.reshape(-1, 3).std(axis=0)
    features = features / np.where(spread > 0.0, spread, 1.0)
    some = np.unique(np.linspace(0, len(features) - 1, _TRIAL_DRAWS).astype(int))
    means, sds = _best_labels(features[some], by_position[some])
    order = _assign(features, means, sds)
    positions = np.take_along_axis(features[..., 0], order, axis=-1)
    order = order[:, np.argsort(np.median(positions, axis=0), kind="stable")]
    return order.reshape(shape)


def _best_labels(features: Array, by_position: NDArray[np.int64]) -> tuple[Array, Array]:
    """Means and standard deviations (labels, features) of the best of several ends."""
    templates = np.linspace(0, len(features) - 1, min(_STARTS, len(features))).astype(int)
    starts = [by_position] + [
        _assign(features, features[one], np.ones_like(features[one])) for one in templates
    ]
    ends = [_refine(features, start) for start in starts]
    _, means, sds = min(ends, key=lambda end: end[0])
    return means, sds


def _refine(features: Array, order: NDArray[np.int64]) -> tuple[float, Array, Array]:
    """Repeat estimating and assigning; return the sum of log widths, which measures the end, and the laws."""
    for _ in range(_STEPS):
        labelled = np.take_along_axis(features, order[..., None], axis=1)
        means, sds = labelled.mean(axis=0), np.maximum(labelled.std(axis=0), _NARROWEST)
        changed = _assign(features, means, sds)
        if np.array_equal(changed, order):
            break
        order = changed
    return float(np.log(sds).sum()), means, sds


def _assign(features: Array, means: Array, sds: Array) -> NDArray[np.int64]:
    """Which peak of each draw (draws, labels) takes which label, at the least total cost."""
    from scipy.optimize import linear_sum_assignment

    distance = (features[:, None, :, :] - means[:, None, :]) / sds[:, None, :]
    cost = np.sum(distance**2, axis=-1)  # (draws, labels, peaks); what a label adds alone decides nothing
    order = np.argmin(cost, axis=-1)
    clashing = np.flatnonzero(np.any(np.diff(np.sort(order, axis=-1), axis=-1) == 0, axis=-1))
    for d in clashing:
        order[d] = linear_sum_assignment(cost[d])[1]
    return order
