"""Fully connected networks against hand-computed cases."""

from __future__ import annotations

import pytest
import torch

from hpc_ds.learn.networks import build_network, count_parameters
from hpc_ds.runtime.errors import InputError


def test_number_of_parameters_is_that_of_its_layers():
    network = build_network("mlp", {"layers": "60-40-40"}, (7,), (3,), "scalars")
    assert count_parameters(network) == (7 * 60 + 60) + (60 * 40 + 40) + (40 * 40 + 40) + (40 * 3 + 3)


@pytest.mark.parametrize(
    ("given", "widths"), [("8", (8,)), (8, (8,)), ("8,4", (8, 4)), ([8, 4], (8, 4)), ("none", ())]
)
def test_layers_are_written_in_many_ways(given, widths):
    network = build_network("mlp", {"layers": given}, (5,), (1,), "scalars")
    assert tuple(m.out_features for m in network.modules() if hasattr(m, "out_features")) == (*widths, 1)


@pytest.mark.parametrize("given", ["8-x", "8-0", [-1]])
def test_widths_that_are_none_are_refused(given):
    with pytest.raises(InputError, match=r"^mlp: option layers"):
        build_network("mlp", {"layers": given}, (5,), (1,), "scalars")


def test_a_network_of_two_layers_is_what_the_hand_computes():
    network = build_network("mlp", {"layers": "2", "activation": "relu"}, (2,), (1,), "scalars")
    first, _, last = network.layers
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 0.5]]))
        first.bias.copy_(torch.tensor([0.0, -1.0]))
        last.weight.copy_(torch.tensor([[3.0, -2.0]]))
        last.bias.fill_(0.25)
    # (1, 3): relu(-2, 2.5) = (0, 2.5), 3 * 0 - 2 * 2.5 + 0.25
    assert network(torch.tensor([[1.0, 3.0]])).item() == pytest.approx(-4.75)


def test_fields_come_back_in_their_shape():
    network = build_network("mlp", {}, (2, 5, 4), (3, 6), "fields")
    assert network(torch.zeros(7, 2, 5, 4)).shape == (7, 3, 6)


def test_a_pointwise_network_knows_nothing_of_neighbours():
    torch.manual_seed(1)
    network = build_network("mlp", {"pointwise": True, "layers": "6"}, (2, 5, 4), (3, 5, 4), "fields")
    assert count_parameters(network) == (2 * 6 + 6) + (6 * 3 + 3)
    x = torch.randn(3, 2, 9, 8)  # another grid than that it was built for
    y = x.clone()
    y[:, :, 0, 0] += 1.0
    change = (network(y) - network(x)).abs().sum((0, 1))
    assert change[0, 0] > 0 and change.sum() == change[0, 0]


def test_a_pointwise_network_needs_one_grid():
    for outputs, task in (((3, 5), "fields"), ((3,), "scalars")):
        with pytest.raises(InputError, match=r"^mlp: option pointwise"):
            build_network("mlp", {"pointwise": True}, (2, 4), outputs, task)


def test_dropout_acts_in_training_only():
    network = build_network("mlp", {"dropout": 0.5}, (4,), (1,), "scalars")
    x = torch.ones(1, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
