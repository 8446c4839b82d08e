"""The tree of sums is one and the same however many ranks share its lanes."""

import numpy as np
import pytest
import torch

from hpc_ds.learn.tree import Partial, TreeSum, split_lanes, tree_sum


def reference(lanes: np.ndarray) -> np.ndarray:
    """The tree by its definition: leaves of neighbours in sequence, then halves of halves."""
    odd = len(lanes)
    while odd % 2 == 0:
        odd //= 2
    if len(lanes) > odd:
        half = len(lanes) // 2
        return reference(lanes[:half]) + reference(lanes[half:])
    total = lanes[0].copy()
    for lane in lanes[1:]:
        total += lane
    return total


def by_ranks(lanes: np.ndarray, ranks: int) -> np.ndarray:
    """What `ranks` ranks compute: each the branch of its lanes, then the tree over branches."""
    odd, leaves = split_lanes(len(lanes))
    tree = TreeSum(
        lambda: Partial(flat := torch.zeros(lanes.shape[1], dtype=torch.float32), [flat[:3], flat[3:]])
    )
    branches = []
    for rank in range(ranks):
        mine = lanes[rank * len(lanes) // ranks : (rank + 1) * len(lanes) // ranks]
        for leaf in mine.reshape(leaves // ranks, odd, -1):
            total = leaf[0].copy()
            for lane in leaf[1:]:
                total += lane
            tree.add([torch.from_numpy(total[:3]), torch.from_numpy(total[3:])])
        whole = tree.total()
        branches.append(whole.flat.clone())
        tree.recycle(whole)
    return tree_sum(torch.stack(branches)).numpy()


@pytest.mark.parametrize("lanes", range(1, 25))
def test_any_number_of_ranks_that_shares_the_leaves_gives_the_bits_of_the_tree(lanes):
    values = np.random.default_rng(lanes).standard_normal((lanes, 11)).astype(np.float32)
    ranks = [number for number in (1, 2, 4, 8) if split_lanes(lanes)[1] % number == 0]
    for number in ranks:
        assert by_ranks(values, number).tobytes() == reference(values).tobytes(), number


def test_the_tree_is_not_the_plain_sum():
    values = np.random.default_rng(0).standard_normal((8, 4096)).astype(np.float32)
    assert by_ranks(values, 2).tobytes() != np.add.reduce(values, axis=0).tobytes()


def test_leaves_that_are_no_power_of_two_are_refused():
    tree = TreeSum(lambda: Partial(flat := torch.zeros(2), [flat]))
    for _ in range(3):
        tree.add([torch.ones(2)])
    with pytest.raises(ValueError, match="power of two"):
        tree.total()


def test_partial_sums_are_few():
    made = []

    def new():
        flat = torch.zeros(1)
        made.append(flat)
        return Partial(flat, [flat])

    tree = TreeSum(new)
    for _ in range(2):
        for number in range(64):
            tree.add([torch.tensor([float(number)])])
        whole = tree.total()
        assert float(whole.flat) == 64 * 63 / 2
        tree.recycle(whole)
    assert len(made) <= 7
