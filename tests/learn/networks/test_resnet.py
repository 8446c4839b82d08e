"""Residual networks are torchvision's, entry by entry and number by number."""

from __future__ import annotations

import math

import pytest
import torch

from hpc_ds.learn.networks import build_network, count_parameters
from hpc_ds.learn.networks.batch_norm import BatchNorm1d

COUNTS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("layers", COUNTS)
def test_entries_are_torchvisions(layers, shapes_of, torchvision_shapes):
    assert shapes_of(f"resnet{layers}", {}, (3, 64, 64), (1000,)) == torchvision_shapes[f"resnet{layers}"]


@pytest.mark.parametrize("layers", COUNTS)
def test_number_of_parameters_is_torchvisions(layers):
    with torch.device("meta"):
        network = build_network(f"resnet{layers}", {}, (3, 64, 64), (1000,), "classify")
    assert count_parameters(network) == COUNTS[layers]


# First logits of torchvision 0.29.2 for the weights and images of conftest.py, in float64.
@pytest.mark.parametrize(
    ("name", "logits"),
    [
        ("resnet18", [[-0.3547973836, 1.312586878, -7.388279889], [2.855006373, 1.358809299, -5.671834235]]),
        (
            "resnet50",
            [[-10798.19956, -13075.20074, -24223.35095], [-9739.860156, -11879.48195, -21864.97816]],
        ),
    ],
)
def test_outputs_are_torchvisions(name, logits, patterned, waves):
    network = patterned(build_network(name, {}, (3, 64, 64), (1000,), "classify"))
    with torch.no_grad():
        found = network(waves(64))[:, :3]
    assert torch.allclose(found, torch.tensor(logits, dtype=torch.float64), rtol=1e-7)


def test_weights_begin_with_the_variance_of_he():
    torch.manual_seed(1)
    network = build_network("resnet18", {}, (3, 64, 64), (10,), "classify")
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            error = module.weight.std().item() / math.sqrt(2.0 / fan_out) - 1.0
            assert abs(error) < 5.0 / math.sqrt(2.0 * module.weight.numel()), name


def test_the_small_stem_keeps_the_grid():
    network = build_network("resnet18", {"stem": "small"}, (2, 16, 16), (4,), "classify").eval()
    x = torch.zeros(1, 2, 16, 16)
    assert network.maxpool(network.conv1(x)).shape == (1, 64, 16, 16)
    assert network.layer4(network.layer3(network.layer2(network.layer1(network.conv1(x))))).shape[2:] == (
        2,
        2,
    )


def test_the_dense_head_has_a_hidden_layer():
    network = build_network("resnet18", {"head": "dense", "dropout": 0.3}, (3, 32, 32), (4,), "scalars")
    linear = count_parameters(build_network("resnet18", {}, (3, 32, 32), (4,), "scalars")) - (512 * 4 + 4)
    assert count_parameters(network) == linear + (512 * 1024 + 1024) + (1024 * 4 + 4)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0"])
def test_a_single_small_image_can_be_trained_on(name):
    network = build_network(name, {"head": "dense"}, (1, 16, 16), (2,), "classify").train()
    network(torch.randn(1, 1, 16, 16)).sum().backward()  # ends as one point: nothing to take a variance of
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_a_single_value_is_normalised_by_the_running_statistics():
    layer = BatchNorm1d(3).train()
    layer(torch.randn(16, 3) * 2.0 + 5.0)
    before = layer.running_mean.clone()
    x = torch.randn(1, 3)
    found = layer(x)
    assert torch.allclose(found, (x - layer.running_mean) / torch.sqrt(layer.running_var + layer.eps))
    assert torch.equal(layer.running_mean, before)
