"""Weight decay goes where it belongs, and many tensors in one call give the bits of the plain loop."""

import pytest
import torch
from torch import nn

from hpc_ds.learn.optimisers import make_optimiser, parameters_of, set_rate, spared_from_decay
from hpc_ds.learn.settings import Settings


def network():
    torch.manual_seed(1)
    made = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(8, 3), nn.LayerNorm((3,))
    )
    made.register_parameter("scales", nn.Parameter(torch.ones(4, 1)))
    made.register_parameter("head_bias", nn.Parameter(torch.zeros(1, 3)))
    return made


def test_biases_and_normalisations_are_spared():
    spared = spared_from_decay(network())
    assert sorted(spared) == ["0.bias", "1.bias", "1.weight", "3.bias", "4.bias", "4.weight", "head_bias"]


def test_decoupled_decay_shrinks_weights_and_nothing_else():
    made = network()
    optimiser = make_optimiser(made, Settings(learning_rate=0.1, weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    spared = spared_from_decay(made)
    for name, parameter in made.named_parameters():
        factor = 1.0 if name in spared else 1.0 - 0.1 * 0.5
        assert torch.equal(parameter.detach(), before[name] * factor), name


@pytest.mark.parametrize("name, kind", [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_others_decay_every_parameter(name, kind):
    optimiser = make_optimiser(network(), Settings(optimiser=name, weight_decay=0.01))
    assert isinstance(optimiser, kind)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.01]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_updates_are_those_of_the_plain_loop(name):
    states = []
    for foreach in (True, False):
        made = network()
        optimiser = make_optimiser(made, Settings(optimiser=name))
        for group in optimiser.param_groups:
            assert group["foreach"]
            group["foreach"] = foreach
        generator = torch.Generator().manual_seed(3)
        for _ in range(20):
            for parameter in made.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()
        states.append(made.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_frozen_parameters_are_left_out():
    made = network()
    made[0].requires_grad_(False)
    optimiser = make_optimiser(made, Settings())
    assert len(parameters_of(optimiser)) == len(list(made.parameters())) - 2


def test_rate_is_that_of_all_groups():
    optimiser = make_optimiser(network(), Settings())
    set_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]


def test_complex_weights_are_trained():
    made = nn.Module()
    made.register_parameter("modes", nn.Parameter(torch.ones(2, 2, dtype=torch.complex64)))
    optimiser = make_optimiser(made, Settings(learning_rate=0.1))
    made.modes.grad = torch.full((2, 2), 1.0 + 1.0j)
    optimiser.step()
    assert torch.allclose(made.modes.detach(), torch.full((2, 2), 0.9 - 0.1j), atol=1e-4)
