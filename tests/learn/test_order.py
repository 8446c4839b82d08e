"""The order is a function of seed, member and epoch, and classes come as often as the sampling says."""

import numpy as np
import pytest

from hpc_ds.learn.order import Order, count_classes
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError

LABELS = np.array([0] * 60 + [1] * 20 + [2] * 7)


def order(labels=None, n=87, member=0, **values):
    return Order(n, make_settings(values), labels, member)


def test_each_sample_comes_once_an_epoch_in_an_order_of_its_own():
    first, again = order(seed=3), order(seed=3)
    assert np.array_equal(np.sort(first.epoch(1)), np.arange(87))
    assert np.array_equal(first.epoch(5), again.epoch(5))  # whatever was asked before
    others = [order(seed=3).epoch(2), order(seed=4).epoch(1), order(seed=3, member=1).epoch(1)]
    assert not any(np.array_equal(first.epoch(1), other) for other in others)
    assert first.epoch(1).dtype == np.int64


def test_the_order_never_changes_between_versions():
    assert order(seed=1, n=8).epoch(1).tolist() == [0, 4, 3, 5, 7, 2, 1, 6]


def test_bootstrap_members_draw_samples_with_replacement_once():
    members = [order(bootstrap=True, member=member) for member in (0, 1)]
    first, second = members[0].epoch(1), members[0].epoch(2)
    assert len(first) == 87
    assert np.array_equal(np.sort(first), np.sort(second))
    assert not np.array_equal(first, second)
    assert not np.array_equal(np.sort(first), np.sort(members[1].epoch(1)))
    # One in e is left out: 87 / e = 32, with a standard deviation of about 3.
    assert 20 < 87 - len(set(first.tolist())) < 44


@pytest.mark.parametrize(
    ("sampling", "ratio", "counts"),
    [
        ("balanced", 1.0, [29, 29, 29]),
        ("over", 1.0, [60, 60, 60]),
        ("under", 1.0, [27, 20, 7]),
        ("under", 2.0, [54, 20, 7]),
        ("under", 9.0, [60, 20, 7]),
        ("hard", 0.5, [14, 20, 7]),
    ],
)
def test_classes_come_as_often_as_the_sampling_says(sampling, ratio, counts):
    chosen = order(LABELS, sampling=sampling, hard_ratio=ratio)
    samples = chosen.epoch(1)
    assert count_classes(LABELS[samples], 3).tolist() == counts
    assert chosen.length == len(samples) == sum(counts)
    repeats = np.bincount(samples, minlength=87)
    for each in range(3):
        of_class = repeats[each == LABELS]
        assert of_class.max() - of_class.min() <= 1  # each once before one is taken again
    assert not np.array_equal(samples, chosen.epoch(2))
    assert len(set(LABELS[samples[:10]].tolist())) > 1


def test_what_under_leaves_out_changes_from_epoch_to_epoch():
    chosen = order(LABELS, sampling="under")
    seen = set().union(*(chosen.epoch(epoch).tolist() for epoch in range(20)))
    assert seen == set(range(87))


def test_hard_takes_the_samples_with_the_largest_losses():
    losses = np.linspace(0.0, 1.0, 87)
    losses[:60] = np.random.default_rng(1).permutation(60)
    losses[5] = np.nan  # never seen
    chosen = order(LABELS, sampling="hard", hard_ratio=0.5)
    frequent = [sample for sample in chosen.epoch(2, losses).tolist() if sample < 60]
    expected = np.argsort(-np.nan_to_num(losses[:60], nan=np.inf))[:14]
    assert sorted(frequent) == sorted(expected.tolist())
    assert np.array_equal(chosen.epoch(2, losses), chosen.epoch(2, losses))


def test_sampling_by_classes_needs_them():
    with pytest.raises(InputError, match="--sampling over: needs classes"):
        order(sampling="over")
    with pytest.raises(InputError, match="no sample of class number 1"):
        order(np.array([0, 2, 2]), n=3, sampling="balanced")
