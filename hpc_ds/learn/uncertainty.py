"""Deep ensembles: members trained on groups of ranks side by side, and one prediction with a spread made of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpc_ds.runtime.world import World

_SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Deal:
    """Which ranks train which members of an ensemble."""

    groups: tuple[tuple[int, ...], ...]
    """Ranks of each group, all of one size."""
    members: tuple[tuple[int, ...], ...]
    """Members of each group, which it trains one after the other."""
    idle: tuple[int, ...]
    """Ranks that train none."""

    def of(self, rank: int) -> int | None:
        """Return the number of the group that `rank` is in, None if it idles."""
        return next((g for g, ranks in enumerate(self.groups) if rank in ranks), None)

    def remark(self) -> str:
        """Return what is to be said of ranks that idle, in one line; empty if none does."""
        if not self.idle:
            return ""
        ranks = sum(map(len, self.groups)) + len(self.idle)
        members = sum(map(len, self.members))
        return (
            f"{len(self.idle)} of {ranks} ranks idle: {members} members are trained on {len(self.groups)} groups of "
            f"{len(self.groups[0])}"
        )


def deal(ranks: int, members: int, fits: Callable[[int], bool] = lambda size: True) -> Deal:
    """Deal the members of an ensemble to groups of neighbouring ranks.

    There are as many groups as members, or as ranks if these are fewer; each takes the largest size that `fits` and
    for which there are ranks enough. Members are dealt in turn: group g of G trains g, g + G, g + 2 G, ...

    Parameters
    ----------
    ranks, members : int
        How many there are.
    fits : callable
        Whether a group of that size can train; one rank always can.
    """
    count = min(ranks, members)
    size = next(size for size in range(ranks // count, 0, -1) if size == 1 or fits(size))
    groups = tuple(tuple(range(g * size, (g + 1) * size)) for g in range(count))
    return Deal(
        groups,
        tuple(tuple(range(g, members, count)) for g in range(count)),
        tuple(range(count * size, ranks)),
    )


def member_groups(
    world: World, members: int, fits: Callable[[int], bool] = lambda size: True
) -> tuple[World | None, tuple[int, ...], Deal]:
    """Return the world of this rank's group, the members that it trains, and the whole deal; collective.

    The caller frees the group's world. A rank that idles has None and no members. See `deal`.
    """
    dealt = deal(world.size, members, fits)
    number = dealt.of(world.rank)
    if number is None:
        return None, (), dealt
    return world.split(dealt.groups[number]), dealt.members[number], dealt


class Ensemble(nn.Module):
    """Several trained networks as one: their mean, and a spread of what they differ and what they say themselves.

    It stands wherever a `hpc_ds.learn.predictor.Predictor` does: ``ensemble(inputs)`` and
    ``ensemble.with_spread(inputs)``, in physical units.

    Parameters
    ----------
    members : sequence of Predictor
        Of the same task and shapes.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        r"""Return the mean of the members' predictions, (n, \*target_shape); of classes, their probabilities."""
        return torch.stack([member(inputs) for member in self.members]).mean(0)

    def with_spread(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the mean and the spread of `combined`; of classes the mean probabilities and None."""
        values, spreads = self.by_member(inputs)
        if self.members[0].card.task == "classify":
            return values.mean(0), None
        return combined(values, spreads)

    def by_member(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the predictions of all members and, where they give them, their spreads: (members, n, ...)."""
        pairs = [member.with_spread(inputs) for member in self.members]
        spreads = [spread for _, spread in pairs if spread is not None]
        values = torch.stack([value for value, _ in pairs])
        return values, torch.stack(spreads) if spreads else None


def combined(values: Tensor, spreads: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return mean and spread (standard deviation) of the predictions of an ensemble.

    The variance is that between members, sum (value - mean)^2/(m - 1), plus, where members give a spread, the mean of
    their own variances (Lakshminarayanan et al. 2017, section 2.4, with the unbiased variance between members). One
    member has no variance between.

    Parameters
    ----------
    values : (members, n, ...)
        Predictions.
    spreads : (members, n, ...), optional
        The members' standard deviations.
    """
    mean = values.mean(0)
    between = values.var(0, correction=1) if len(values) > 1 else torch.zeros_like(mean)
    within = 0.0 if spreads is None else spreads.square().mean(0)
    return mean, (between + within).sqrt()


def entropy(probability: Tensor) -> Tensor:
    """Return -sum p log p over the last axis, in nats: how undecided a prediction is."""
    return -(probability * probability.clamp(min=_SMALLEST).log()).sum(-1)


def mutual_information(probability: Tensor) -> Tensor:
    """Return by how many nats the members of an ensemble disagree, (n,).

    Entropy of the mean minus mean of the entropies, zero where all say the same (Depeweg et al. 2018, equation 3).

    Parameters
    ----------
    probability : (members, n, classes)
        Of each member.
    """
    return (entropy(probability.mean(0)) - entropy(probability).mean(0)).clamp(min=0.0)
