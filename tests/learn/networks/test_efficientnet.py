"""EfficientNets are torchvision's, entry by entry and number by number, and the plasma study's by their size."""

from __future__ import annotations

import math

import pytest
import torch

from hpc_ds.learn.networks import build_network, count_parameters
from hpc_ds.learn.networks.efficientnet import StochasticDepth

COUNTS = [5_288_548, 7_794_184, 9_109_994, 12_233_232, 19_341_616, 30_389_784, 43_040_704, 66_347_960]


@pytest.mark.parametrize("size", range(8))
def test_entries_are_torchvisions(size, shapes_of, torchvision_shapes):
    found = shapes_of(f"efficientnet-b{size}", {}, (3, 64, 64), (1000,))
    assert found == torchvision_shapes[f"efficientnet_b{size}"]


@pytest.mark.parametrize("size", range(8))
def test_number_of_parameters_is_torchvisions(size):
    with torch.device("meta"):
        network = build_network(f"efficientnet-b{size}", {}, (3, 64, 64), (1000,), "classify")
    assert count_parameters(network) == COUNTS[size]


# First logits of torchvision 0.29.2 for the weights and images of conftest.py, in float64. B5 normalises with another
# eps than B0.
@pytest.mark.parametrize(
    ("name", "logits"),
    [
        (
            "efficientnet-b0",
            [[0.1607896405, -0.2468100512, -0.1237630108], [0.1608438124, -0.2469990931, -0.123795168]],
        ),
        (
            "efficientnet-b5",
            [[1.264543152, 0.07614330465, -2.798821663], [1.250061627, 0.09299469262, -2.737596154]],
        ),
    ],
)
def test_outputs_are_torchvisions(name, logits, patterned, waves):
    network = patterned(build_network(name, {}, (3, 64, 64), (1000,), "classify"))
    with torch.no_grad():
        found = network(waves(64))[:, :3]
    assert torch.allclose(found, torch.tensor(logits, dtype=torch.float64), rtol=1e-7)


def test_b4_with_the_dense_head_has_the_published_number_of_parameters():
    """19,520,098 for three classes, where Keras counts running statistics and the 7 numbers of its normalisation."""
    with torch.device("meta"):
        network = build_network("efficientnet-b4", {"head": "dense"}, (3, 128, 128), (3,), "classify")
    running = sum(b.numel() for name, b in network.named_buffers() if name.endswith(("_mean", "_var")))
    assert count_parameters(network) + running + 7 == 19_520_098
    trunk = count_parameters(network.features)
    assert (trunk, running) == (17_548_616, 125_200 + 2 * 1792)


def test_weights_begin_as_torchvisions():
    torch.manual_seed(1)
    network = build_network("efficientnet-b0", {}, (3, 64, 64), (100,), "classify")
    first, last = network.features[0][0].weight, network.classifier[1]
    assert first.std().item() == pytest.approx(math.sqrt(2.0 / (32 * 9)), rel=0.1)
    assert last.weight.abs().max().item() == pytest.approx(0.1, rel=1e-3) and not last.bias.any()


def test_stochastic_depth_keeps_the_mean():
    torch.manual_seed(1)
    layer, x = StochasticDepth(0.25).train(), torch.ones(20_000, 2, 1, 1)
    y = layer(x)
    assert y.unique().tolist() == pytest.approx([0.0, 1.0 / 0.75])
    assert torch.equal(y[:, 0], y[:, 1])  # samples go as a whole
    assert y.mean().item() == pytest.approx(1.0, abs=5 * math.sqrt(0.25 / 0.75 / 20_000))
    assert torch.equal(layer.eval()(x), x)


def test_training_depends_on_torchs_generator_only():
    network = build_network("efficientnet-b0", {}, (1, 32, 32), (2,), "classify").train()
    x = torch.randn(4, 1, 32, 32)
    torch.manual_seed(5)
    first = network(x)
    torch.manual_seed(5)
    assert torch.equal(first, network(x))
    assert not torch.equal(first, network(x))
