"""Can the answer be trusted: effective sample size, R-hat, round trips, and a verdict in plain words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENOUGH_ROUND_TRIPS = 10
ENOUGH_DRAWS = 100
LARGEST_R_HAT = (
    1.05  # 1.01 is advised for four chains (Vehtari et al. 2021); halves of one ladder scatter more
)
LARGEST_ERROR = 0.5
LARGEST_GAP = 4.0
"""In units of the error, as `hpc_ds.infer.evidence.Evidence.disagreement`."""


@dataclass(frozen=True)
class Mixing:
    """How well one parameter was sampled (Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021)."""

    ess: float
    """Bulk effective sample size."""
    ess_tail: float
    r_hat: float
    """Split R-hat; a single ladder is cut in two chains first."""


def mixing(draws: NDArray[np.float64]) -> Mixing:
    """Return effective sample sizes and R-hat of (copies, draws), by arviz; NaN where the draws are all alike."""
    import arviz

    if np.ptp(draws) == 0.0 or draws.shape[1] < 8:
        return Mixing(float("nan"), float("nan"), float("nan"))
    chains = draws if len(draws) > 1 else draws[:, : draws.shape[1] // 2 * 2].reshape(2, -1)
    return Mixing(
        float(arviz.ess(draws, method="bulk")),
        float(arviz.ess(draws, method="tail")),
        float(arviz.rhat(chains)),
    )


@dataclass(frozen=True)
class Verdict:
    """Whether to trust a model's figures, and if not, why."""

    trust: bool
    text: str


def judge(
    round_trips: int, mixings: list[Mixing], log_evidence_error: float, gap: float, possible: bool = True
) -> Verdict:
    """Return the verdict on one model.

    Parameters
    ----------
    round_trips : int
        Journeys of replicas from prior to posterior and back, over all copies.
    mixings : list of Mixing
        Of the parameters.
    log_evidence_error : float
    gap : float
        Difference of the forward stepping stone and the log evidence in units of its error.
    possible : bool
        Whether every draw at beta = 1 has a likelihood above zero.
    """
    if not possible:
        return Verdict(False, "run longer: no state with a likelihood above zero was found at beta = 1")
    reasons = []
    if round_trips < ENOUGH_ROUND_TRIPS:
        trips = "round trip" if round_trips == 1 else "round trips"
        reasons.append(f"{round_trips} {trips} only")
    least = min((m.ess for m in mixings if np.isfinite(m.ess)), default=np.inf)
    if least < ENOUGH_DRAWS:
        reasons.append(f"{least:.0f} effective draws only")
    largest = max((m.r_hat for m in mixings if np.isfinite(m.r_hat)), default=1.0)
    if largest > LARGEST_R_HAT:
        reasons.append(f"R-hat is {largest:.2f}")
    if not log_evidence_error <= LARGEST_ERROR:
        reasons.append(f"log evidence is uncertain by {log_evidence_error:.2f}")
    if gap > LARGEST_GAP:
        reasons.append("estimates of the log evidence disagree")
    return Verdict(not reasons, "run longer: " + ", ".join(reasons) if reasons else "trust this")
