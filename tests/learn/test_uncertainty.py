"""Ensembles: who trains what, and what their predictions make together."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hpc_ds.learn.uncertainty import Ensemble, combined, deal, entropy, member_groups, mutual_information
from hpc_ds.runtime.world import World


class Member(nn.Module):
    """Predicts a constant, with a spread where it has one."""

    def __init__(self, value, spread=None, task="scalars"):
        super().__init__()
        self.value, self.spread = value, spread
        self.card = SimpleNamespace(task=task)

    def forward(self, inputs):
        return self.with_spread(inputs)[0]

    def with_spread(self, inputs):
        value = torch.as_tensor(self.value, dtype=torch.float64).expand(len(inputs), -1)
        return value, None if self.spread is None else torch.full_like(value, self.spread)


@pytest.mark.parametrize(
    ("ranks", "members", "groups", "dealt", "idle"),
    [
        (1, 3, [(0,)], [(0, 1, 2)], ()),
        (2, 5, [(0,), (1,)], [(0, 2, 4), (1, 3)], ()),
        (4, 2, [(0, 1), (2, 3)], [(0,), (1,)], ()),
        (7, 3, [(0, 1), (2, 3), (4, 5)], [(0,), (1,), (2,)], (6,)),
        (3, 3, [(0,), (1,), (2,)], [(0,), (1,), (2,)], ()),
    ],
)
def test_members_are_dealt_in_turn_to_groups_of_neighbours(ranks, members, groups, dealt, idle):
    found = deal(ranks, members)
    assert (list(found.groups), list(found.members), found.idle) == (groups, dealt, idle)
    assert sorted(member for part in found.members for member in part) == list(range(members))


def test_groups_take_the_largest_size_that_can_train():
    found = deal(14, 2, lambda size: size in (1, 2, 4, 8))
    assert found.groups == ((0, 1, 2, 3), (4, 5, 6, 7)) and found.idle == tuple(range(8, 14))
    assert found.remark() == "6 of 14 ranks idle: 2 members are trained on 2 groups of 4"
    assert deal(4, 2).remark() == ""
    assert deal(3, 1, lambda size: False).groups == ((0,),)


def test_one_rank_trains_all_members_in_turn():
    world, members, dealt = member_groups(World(), 4)
    assert world.size == 1 and members == (0, 1, 2, 3) and dealt.of(0) == 0


def test_spread_of_members_without_one_is_their_standard_deviation():
    values = torch.tensor([[1.0], [2.0], [6.0]], dtype=torch.float64)
    mean, spread = combined(values)
    assert mean.item() == pytest.approx(3.0) and spread.item() == pytest.approx(math.sqrt(7.0))


def test_variance_is_that_between_members_and_the_mean_of_their_own():
    values = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    _, spread = combined(values, torch.tensor([[1.0], [2.0]], dtype=torch.float64))
    assert spread.item() ** 2 == pytest.approx(2.0 + (1.0 + 4.0) / 2)


def test_a_single_member_has_no_spread_of_its_own_making():
    mean, spread = combined(torch.tensor([[4.0]]))
    assert mean.item() == 4.0 and spread.item() == 0.0
    assert combined(torch.tensor([[4.0]]), torch.tensor([[0.5]]))[1].item() == 0.5


def test_an_ensemble_is_a_predictor():
    ensemble = Ensemble([Member([1.0, 0.0], 1.0), Member([3.0, 0.0], 2.0)])
    inputs = torch.zeros(5, 2)
    mean, spread = ensemble.with_spread(inputs)
    assert mean.shape == spread.shape == (5, 2) and torch.equal(ensemble(inputs), mean)
    assert spread[0].tolist() == pytest.approx([math.sqrt(4.5), math.sqrt(2.5)])
    assert ensemble.by_member(inputs)[0].shape == (2, 5, 2)


def test_an_ensemble_of_classifiers_gives_mean_probabilities():
    ensemble = Ensemble([Member([0.9, 0.1], task="classify"), Member([0.5, 0.5], task="classify")])
    probability, spread = ensemble.with_spread(torch.zeros(3, 1))
    assert spread is None and probability[0].tolist() == pytest.approx([0.7, 0.3])


def test_entropy_of_even_odds_is_the_logarithm_of_the_number_of_classes():
    assert entropy(torch.full((2, 4), 0.25)).tolist() == pytest.approx([math.log(4.0)] * 2)
    assert entropy(torch.tensor([1.0, 0.0])).item() == 0.0


def test_mutual_information_is_zero_of_members_that_agree_and_log_2_of_two_that_contradict():
    agree = torch.tensor([[[0.7, 0.3]], [[0.7, 0.3]]])
    contradict = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert mutual_information(agree).item() == pytest.approx(0.0, abs=1e-6)
    assert mutual_information(contradict).item() == pytest.approx(math.log(2.0))


def test_an_ensemble_is_no_worse_than_its_mean_member():
    # Squared error is convex: that of the mean is the mean of those less the variance between members.
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.normal(size=(50, 1)))
    values = target + torch.from_numpy(rng.normal(size=(7, 50, 1)))
    mean, spread = combined(values)
    of_mean, of_members = (mean - target).square().mean(), (values - target).square().mean()
    assert (of_members - of_mean).item() == pytest.approx((spread.square().mean() * 6 / 7).item())
