"""Sums over lanes whose bits do not depend on how many ranks share the lanes: one fixed tree of additions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hpc_ds.learn.distributed import Group


@dataclass(frozen=True)
class Partial:
    """A partial sum: one flat tensor, and the views on it that have the shapes of what is added up."""

    flat: Tensor
    views: Sequence[Tensor]


class TreeSum:
    """The sum of 2^k leaves by a balanced binary tree, in at most k + 1 partial sums.

    Leaf 0 is added to leaf 1, leaf 2 to leaf 3, these pairs to each other, and so on: like carries of a binary
    counter. A rank that holds an aligned run of 2^m leaves computes a whole branch of the tree, which
    `sum_over_ranks` continues, so that the result is that of one rank with all leaves, bit for bit.

    Parameters
    ----------
    new : callable
        Makes a partial sum. What it holds is overwritten, save where no view lies.
    """

    def __init__(self, new: Callable[[], Partial]) -> None:
        self._new = new
        self._branches: list[Partial | None] = []
        self._spare: list[Partial] = []

    def add(self, leaf: Sequence[Tensor]) -> None:
        """Add the next leaf: tensors of the views' shapes, which are read only."""
        carry = self._take(0)
        if carry is None:
            carry, level = self._spare.pop() if self._spare else self._new(), 0
            torch._foreach_copy_(carry.views, leaf)
        else:
            torch._foreach_add_(carry.views, leaf)
            level = 1
            while (other := self._take(level)) is not None:
                carry.flat.add_(other.flat)
                self._spare.append(other)
                level += 1
        self._branches += [None] * (level + 1 - len(self._branches))
        self._branches[level] = carry

    def total(self) -> Partial:
        """Return the sum of the leaves since the last call; `recycle` it when it is no longer read.

        Raises
        ------
        ValueError
            Their number is no power of two.
        """
        whole = [branch for branch in self._branches if branch is not None]
        if len(whole) != 1:
            raise ValueError("the number of leaves is no power of two")
        self._branches.clear()
        return whole[0]

    def recycle(self, total: Partial) -> None:
        """Give the memory of a sum back."""
        self._spare.append(total)

    def _take(self, level: int) -> Partial | None:
        if level >= len(self._branches):
            return None
        branch, self._branches[level] = self._branches[level], None
        return branch


def split_lanes(lanes: int) -> tuple[int, int]:
    """Return (odd, leaves) with lanes = odd * leaves and leaves the largest power of two that divides `lanes`.

    A leaf of the tree is `odd` neighbouring lanes, summed one after the other; as many ranks as divide the
    leaves can share the tree.
    """
    leaves = lanes & -lanes
    return lanes // leaves, leaves


def tree_sum(parts: Tensor) -> Tensor:
    """Return the sum of `parts` (2^k, n) over its first axis by a balanced binary tree of neighbours."""
    while len(parts) > 1:
        parts = parts[0::2] + parts[1::2]
    return parts[0]


def sum_over_ranks(flat: Tensor, group: Group) -> None:
    """Replace each rank's branch of the tree by the whole sum, the same bits on all ranks; collective.

    Ranks that can swap go up the tree by halves: with each neighbouring branch they exchange half of what they hold,
    each adds the half that it keeps, and the same way back joins the sums: the bytes of a ring all-reduce in
    2 log2(size) messages, the largest of them between neighbouring ranks (recursive halving and doubling, Thakur,
    Rabenseifner & Gropp, Int. J. High Perform. Comput. Appl. 19 (2005) 49). The others exchange all segments at once
    in 2 (size - 1) messages. Both add the same numbers in the same order.

    Parameters
    ----------
    flat : (size * k,) Tensor
        Overwritten; `size` is a power of two.
    """
    if group.size == 1:
        return
    if group.can_swap:
        _sum_by_halves(flat, group)
        return
    branches = group.all_to_all(flat).view(group.size, -1)
    group.all_gather(tree_sum(branches), out=flat)


def _sum_by_halves(flat: Tensor, group: Group) -> None:
    spare = flat.new_empty(len(flat) // 2)
    start, stop = 0, len(flat)
    way: list[tuple[int, slice, slice]] = []
    for level in range(group.size.bit_length() - 1):
        partner, middle = group.rank ^ (1 << level), (start + stop) // 2
        lower, upper = slice(start, middle), slice(middle, stop)
        kept, given = (lower, upper) if group.rank < partner else (upper, lower)
        received = spare[: middle - start]
        group.swap(flat[given], received, partner)
        pair = (flat[kept], received) if group.rank < partner else (received, flat[kept])
        torch.add(*pair, out=flat[kept])
        way.append((partner, kept, given))
        start, stop = kept.start, kept.stop
    for partner, kept, given in reversed(way):
        group.swap(flat[kept], flat[given], partner)
