"""The running mean of weights is the formula, of BatchNorm's statistics too, and comes and goes bit for bit."""

import pytest
import torch
from torch import nn

from hpc_ds.learn.ema import WeightMean


def network():
    torch.manual_seed(2)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    made.register_parameter("modes", nn.Parameter(torch.randn(3, dtype=torch.complex64)))
    return made


def moved(made):
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter))
    made[0:2](torch.randn(8, 3))


def test_mean_follows_the_formula():
    made = network()
    mean = WeightMean(made, 0.4)
    expected = {name: tensor.to(torch.complex128) for name, tensor in made.state_dict().items()}
    for update in range(1, 20):
        moved(made)
        mean.update()
        decay = min(0.4, (1 + update) / (10 + update))
        expected = {
            name: decay * expected[name] + (1 - decay) * tensor for name, tensor in made.state_dict().items()
        }
    expected["1.num_batches_tracked"] = made[1].num_batches_tracked
    with mean.in_place():
        for name, tensor in made.state_dict().items():
            assert torch.allclose(
                tensor.to(torch.complex128), expected[name].to(torch.complex128), rtol=1e-5
            ), name


def test_weights_are_the_networks_own_again_afterwards():
    made = network()
    mean = WeightMean(made, 0.9)
    moved(made)
    mean.update()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with pytest.raises(ZeroDivisionError), mean.in_place():
        assert not torch.equal(made[0].weight, before["0.weight"])
        raise ZeroDivisionError
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())


def test_mean_goes_on_from_where_it_was():
    whole, cut = network(), network()
    mean, first = WeightMean(whole, 0.9), WeightMean(cut, 0.9)
    for made, its in ((whole, mean), (cut, first)):
        torch.manual_seed(5)
        moved(made)
        its.update()
    with first.in_place():
        kept = {name: tensor.clone() for name, tensor in cut.state_dict().items()}
    weights = {name: tensor.clone() for name, tensor in cut.state_dict().items()}
    cut.load_state_dict(kept)
    second = WeightMean(cut, 0.9)
    second.begin(1)
    cut.load_state_dict(weights)
    for made, its in ((whole, mean), (cut, second)):
        torch.manual_seed(6)
        moved(made)
        its.update()
    with mean.in_place(), second.in_place():
        assert all(torch.equal(tensor, cut.state_dict()[name]) for name, tensor in whole.state_dict().items())
