"""What the model says of one number of ranks, and the table of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """Where the time of a run on so many ranks goes."""

    ranks: int
    one_rank: float
    """Seconds of the same work on one rank."""
    compute: float
    """Seconds that the work would take if it were shared evenly."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Seconds beside that, by cause; a cause is told as what limits."""

    @property
    def seconds(self) -> float:
        """Seconds of the run."""
        return self.compute + sum(self.losses.values())

    @property
    def efficiency(self) -> float:
        """Speed-up by ranks."""
        return self.one_rank / (self.ranks * self.seconds)

    @property
    def limit(self) -> tuple[str, float]:
        """The cause that costs most, and its share of the time."""
        cause = max(self.losses, key=lambda name: self.losses[name])
        return cause, self.losses[cause] / self.seconds


def table(ours: Sequence[Prediction], plain: Sequence[Prediction], plain_name: str) -> list[str]:
    """Return lines of text: efficiency by ranks, what costs most, and the efficiency of a plainer design."""
    lines = [f"{'ranks':>8} {'efficiency':>10} {'speed-up':>10} {plain_name:>22}  what costs most"]
    for one, other in zip(ours, plain):
        cause, share = one.limit
        said = f"{cause} ({100 * share:.1f} %)" if share >= 0.0005 else "nothing above 0.05 %"
        speed = one.efficiency * one.ranks
        lines.append(
            f"{one.ranks:>8,} {100 * one.efficiency:>8.1f} % {speed:>10,.0f} {100 * other.efficiency:>20.1f} %  {said}"
        )
    return lines
