"""How good predicted classes are: numbers from the probabilities of all samples and their labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Probability = NDArray[np.float64]
"""(n, classes) float64, rows of sum 1."""
Labels = NDArray[np.int64]
"""(n,) numbers of classes."""

_SMALLEST = float(np.finfo(np.float32).tiny)
"""Probability below which a logarithm is taken of this one: what float32, in which they come, can still tell of 0."""


def confusion(probability: Probability, label: Labels) -> NDArray[np.float64]:
    """Return how many samples of each class (row) were predicted as each class (column), (classes, classes)."""
    classes = probability.shape[1]
    pairs = label * classes + probability.argmax(1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.float64)


def accuracy(probability: Probability, label: Labels) -> float:
    """Part of the samples whose most probable class is right."""
    return float((probability.argmax(1) == label).mean())


def recall(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of each class's samples that was found, (classes,), from `confusion`; NaN for a class without samples."""
    return _divided(np.diag(counts), counts.sum(1))


def precision(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of the predictions of each class that is right, (classes,), from `confusion`; NaN if there are none."""
    return _divided(np.diag(counts), counts.sum(0))


def f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall, (classes,): 2 TP/(2 TP + FP + FN); NaN for a class never met."""
    return _divided(2.0 * np.diag(counts), counts.sum(0) + counts.sum(1))


def surprise(probability: Probability, label: Labels) -> NDArray[np.float64]:
    """-log p of the right class, (n,): the cross entropy of each sample."""
    return -np.log(np.maximum(_of_label(probability, label), _SMALLEST))


def brier(probability: Probability, label: Labels) -> float:
    """Mean over samples of the sum over classes of (p - [right])^2 (Brier 1950): 0 to 2."""
    return float((np.square(probability).sum(1) - 2.0 * _of_label(probability, label) + 1.0).mean())


def roc_areas(probability: Probability, label: Labels) -> NDArray[np.float64]:
    """Area below the receiver operating characteristic of each class against the rest, (classes,).

    The part of pairs of one sample of the class and one of the rest that its probability puts in the right order,
    ties counted half (Mann and Whitney). NaN for a class without samples or without others.
    """
    from scipy.stats import rankdata

    areas = np.full(probability.shape[1], np.nan)
    for c in range(len(areas)):
        of_class = label == c
        inside, outside = int(of_class.sum()), int((~of_class).sum())
        if inside and outside:
            ranks = rankdata(probability[:, c])[of_class].sum()
            areas[c] = (ranks - inside * (inside + 1) / 2) / (inside * outside)
    return areas


def precision_at_recall(score: NDArray[np.float64], positive: NDArray[np.bool_], wanted: float) -> float:
    """Return the best precision over all thresholds of `score` that find at least a part `wanted` of the positives.

    Parameters
    ----------
    score : (n,) float64
        Samples with a score at or above the threshold are called positive; equal scores are called alike.
    positive : (n,) bool
        Which are.
    wanted : float
        Recall, 0 < wanted <= 1.

    Returns
    -------
    float
        NaN without positives.
    """
    if not positive.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    found = np.cumsum(positive[order])
    # A threshold cannot part samples of equal score: only the last of them counts.
    last = np.append(np.diff(score[order]) != 0.0, True)
    enough = last & (found >= wanted * found[-1] * (1.0 - 1e-12))
    return float((found / np.arange(1, len(found) + 1))[enough].max())


def _of_label(probability: Probability, label: Labels) -> NDArray[np.float64]:
    return probability[np.arange(len(label)), label]


def _divided(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
