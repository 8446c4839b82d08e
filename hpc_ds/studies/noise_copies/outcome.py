"""What came out, for scripts and for the report: errors of each variant, and variants against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.atomic import replacing, write_json
from hpc_ds.studies import STUDIES
from hpc_ds.studies.noise_copies import problem
from hpc_ds.studies.noise_copies.training import EVERY, Trained
from hpc_ds.studies.noise_copies.variants import (
    ALL_LAYERS,
    BIAS,
    COPIES,
    DROPOUT,
    FIRST_LAYER,
    FRESH,
    MAIN,
    NONE,
    ONE_LAYER,
    RELU,
    SIGMOID,
    Scale,
    Variant,
)

STUCK = 0.5
"""A training error above this share of the values' standard deviation: the network found one peak at most."""

FLAT = 1e-3
"""A network whose answers differ by less than this, wherever it is asked, is dead."""

CURVES = "results.npz"
"""The file of points and predictions, beside ``summary.json``."""


@dataclass(frozen=True)
class Claim:
    """Something that the published slides say, as a comparison of `variant` with `other`."""

    said: str
    expected: str
    """better, same or worse."""
    variant: Variant
    other: Variant


CLAIMS = (
    Claim("100 copies better than none", "better", Variant(MAIN, COPIES[2]), Variant(MAIN, NONE)),
    Claim("100 copies better than 1", "better", Variant(MAIN, COPIES[2]), Variant(MAIN, COPIES[0])),
    Claim(
        "bias jitter the same as input noise",
        "same",
        Variant(MAIN, BIAS),
        Variant(MAIN, FRESH),
    ),
    Claim(
        "layer 1 jitter the same as bias jitter",
        "same",
        Variant(MAIN, FIRST_LAYER),
        Variant(MAIN, BIAS),
    ),
    Claim(
        "jitter of all layers better than of layer 1",
        "better",
        Variant(MAIN, ALL_LAYERS),
        Variant(MAIN, FIRST_LAYER),
    ),
    Claim("dropout the same as 100 copies", "same", Variant(MAIN, DROPOUT), Variant(MAIN, COPIES[2])),
    Claim("ReLU worse than leaky ReLU", "worse", Variant(RELU, COPIES[2]), Variant(MAIN, COPIES[2])),
    Claim("sigmoid better than leaky ReLU", "better", Variant(SIGMOID, COPIES[2]), Variant(MAIN, COPIES[2])),
    Claim(
        "one hidden layer worse than two", "worse", Variant(ONE_LAYER, COPIES[2]), Variant(MAIN, COPIES[2])
    ),
)
"""What the published slides say of the 118-parameter networks; they say nothing that can be compared in numbers."""


def write(folder: Path, trained: Mapping[Variant, Trained], scale: Scale, seed: int) -> None:
    """Write ``summary.json`` and, before it, the curves (`StorageError` where the disk refuses)."""
    with replacing(folder / CURVES) as file:
        np.savez_compressed(file, **_curves(trained, scale, seed))
    write_json(folder / "summary.json", summary(trained, scale))


def summary(trained: Mapping[Variant, Trained], scale: Scale) -> dict[str, Any]:
    """Return the content of ``summary.json``."""
    card = STUDIES.get("noise-copies")
    return {
        "format": 1,
        "kind": "study",
        "study": "noise-copies",
        "title": card.title if card else "",
        "source": card.source if card else "",
        "points": problem.POINTS,
        "seeds": scale.seeds,
        "steps": scale.steps,
        "main": MAIN.name,
        "stuck_above": STUCK,
        "variants": [_entry(variant, found) for variant, found in trained.items()],
        "gains": [
            {"variant": variant.name, **paired(found, trained[plain])}
            for variant, found in trained.items()
            if (plain := Variant(variant.network, NONE)) in trained and plain != variant
        ],
        "claims": [
            _judged(claim, trained) for claim in CLAIMS if {claim.variant, claim.other} <= set(trained)
        ],
    }


def paired(one: Trained, other: Trained) -> dict[str, Any]:
    """Compare two variants seed by seed.

    Returns
    -------
    dict
        ``wins``: seeds in which `one` errs less; ``seeds``; ``ratio``: the median over seeds of the test error of
        `one` by that of `other`; ``low`` and ``high``: its 95 % interval, from order statistics and so without
        assuming a distribution; ``verdict``: better, worse or open, whether all of the interval is below 1, above
        it, or neither.
    """
    ratios = np.sort(one.test / other.test)
    low, high = _interval(ratios)
    return {
        "wins": int(np.sum(ratios < 1.0)),
        "seeds": len(ratios),
        "ratio": float(np.median(ratios)),
        "low": low,
        "high": high,
        "verdict": "better" if high < 1.0 else "worse" if low > 1.0 else "open",
    }


def _interval(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bounds between which the median lies with at least 95 %; without bounds below six values."""
    from scipy.stats import binom

    rank = int(binom.ppf(0.025, len(ordered), 0.5))
    if rank < 1:
        return -np.inf, np.inf
    return float(ordered[rank - 1]), float(ordered[-rank])


def _entry(variant: Variant, found: Trained) -> dict[str, Any]:
    network, treatment = variant.network, variant.treatment
    return {
        "name": variant.name,
        "network": network.name,
        "widths": network.widths,
        "activation": network.activation,
        "parameters": network.parameters,
        "treatment": treatment.kind,
        "copies": treatment.copies,
        "amount": treatment.amount,
        "test": _quartiles(found.test),
        "train": _quartiles(found.train),
        "stuck": int(np.sum(found.train > STUCK * found.spread)),
        "dead": int(np.sum(found.swing < FLAT)),
        "errors": {"test": found.test, "train": found.train},
    }


def _judged(claim: Claim, trained: Mapping[Variant, Trained]) -> dict[str, Any]:
    one, other = trained[claim.variant], trained[claim.other]
    return {
        "said": claim.said,
        "expected": claim.expected,
        "variant": claim.variant.name,
        "other": claim.other.name,
        **paired(one, other),
    }


def _quartiles(values: NDArray[np.float64]) -> dict[str, float]:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"25%": float(low), "median": float(middle), "75%": float(high)}


def _curves(trained: Mapping[Variant, Trained], scale: Scale, seed: int) -> dict[str, Any]:
    """Return places (grid,), truth there, the seeds' points (seeds, POINTS) and predictions by variant."""
    x = problem.fine_grid()[::EVERY]
    points = np.array([problem.points(seed, unit) for unit in range(scale.seeds)])
    curves = {f"prediction/{variant.name}": found.prediction for variant, found in trained.items()}
    return {"x": x, "truth": problem.f(x), "points": points, "values": problem.f(points), **curves}
