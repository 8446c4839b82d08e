"""Grad-CAM against class activation maps, which are known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from hpc_ds.learn.attention import convolutions, grad_cam
from hpc_ds.learn.networks import build_network
from hpc_ds.runtime.errors import InputError

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Pooled(nn.Module):
    """Two convolutions, the mean over the grid, one linear layer."""

    def __init__(self, dimensions, outputs=3, inplace=False):
        super().__init__()
        convolution = CONVOLUTION[dimensions]
        self.first = convolution(2, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=inplace)
        self.second = convolution(4, 6, 3, stride=2, padding=1)
        self.fc = nn.Linear(6, outputs)

    def forward(self, x):
        return self.fc(self.second(self.act(self.first(x))).flatten(2).mean(2))


def network_of(dimensions, **options):
    torch.manual_seed(1)
    return Pooled(dimensions, **options).double()


def images(dimensions, count=5):
    return torch.randn(count, 2, *(8, 6, 4)[:dimensions], dtype=torch.float64)


def refusal(*arguments, **options):
    with pytest.raises(InputError) as caught:
        grad_cam(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("target", [None, 1, [2, 0, 1, 1, 2]])
def test_behind_a_mean_and_a_linear_layer_it_is_the_class_activation_map(dimensions, target):
    """y_c = sum_k w_ck mean(A_k) + b: dy_c/dA_k = w_ck / Z at each of Z places, so the map is sum_k w_ck A_k / Z."""
    network, x = network_of(dimensions), images(dimensions)
    with torch.no_grad():
        activation, scores = network.second(network.act(network.first(x))), network(x)
        which = scores.argmax(1) if target is None else torch.as_tensor(target).expand(len(x))
        cam = torch.einsum("nk,nk...->n...", network.fc.weight[which], activation) / activation[0, 0].numel()
    signed = grad_cam(network, x, target=target, upsample=False, signed=True)
    assert torch.allclose(signed, cam, rtol=1e-12, atol=1e-14)
    assert torch.equal(grad_cam(network, x, target=target, upsample=False), signed.clamp(min=0))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0"])
def test_of_built_in_networks_too(name):
    torch.manual_seed(2)
    network = build_network(name, {}, (1, 64, 64), (3,), "classify").eval()
    x = torch.randn(2, 1, 64, 64)
    kept = []
    handle = network.get_submodule(network.attention_layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output.detach())
    )
    with torch.no_grad():
        scores = network(x)
    handle.remove()
    linear = network.fc if name == "resnet18" else network.classifier[1]
    cam = torch.einsum("nk,nkhw->nhw", linear.weight[scores.argmax(1)], kept[0]) / kept[0][0, 0].numel()
    found = grad_cam(network, x, upsample=False, signed=True)
    assert (found - cam).abs().max() < 1e-6 * cam.abs().max()


def test_inceptions_map_sees_all_branches():
    with torch.device("meta"):  # to draw 24 million weights takes longer than the test
        network = build_network("inception-v3", {}, (1, 112, 112), (2,), "classify").eval()
    network.to_empty(device="cpu").load_state_dict(
        {k: torch.ones_like(v) for k, v in network.state_dict().items()}
    )
    assert grad_cam(network, torch.randn(1, 1, 112, 112), upsample=False).shape == (1, 2, 2)
    assert network.attention_layer == "Mixed_7c"


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_maps_come_on_the_inputs_grid(dimensions):
    network, x = network_of(dimensions), images(dimensions)
    small = grad_cam(network, x, upsample=False)
    found = grad_cam(network, x)
    assert found.shape == (5, *x.shape[2:]) and small.shape != found.shape
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[dimensions]
    assert torch.equal(found, functional.interpolate(small[:, None], size=x.shape[2:], mode=mode)[:, 0])


def test_any_layer_can_be_named_before_a_layer_in_place_too():
    x = images(2)
    plain, inplace = network_of(2), network_of(2, inplace=True)
    found = grad_cam(plain, x, "first")
    assert found.shape == (5, 8, 6) and found.any()
    assert torch.equal(found, grad_cam(inplace, x, "first"))
    assert not torch.equal(found, grad_cam(plain, x, "act"))


def test_the_map_is_where_the_object_is():
    """One filter answers to a bright pixel, and only class 1 counts it."""
    network = network_of(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.first.weight[0, 0, 1, 1] = 1.0
        network.second.weight[0, 0, 1, 1] = 1.0
        network.fc.weight[1, 0] = 1.0
    x = torch.zeros(1, 2, 8, 6, dtype=torch.float64)
    x[0, 0, 4, 2] = 1.0
    assert grad_cam(network, x, "first")[0].nonzero().tolist() == [[4, 2]]
    assert not grad_cam(network, x, "first", target=0).any()


def test_fields_are_asked_by_channel():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.Conv1d(4, 2, 1)).double()
    x = torch.randn(3, 1, 8, dtype=torch.float64)
    activation = network[0](x)
    expected = torch.einsum("k,nkx->nx", network[1].weight[1, :, 0], activation) / 8
    assert torch.allclose(grad_cam(network, x, "0", 1, signed=True), expected)


def test_the_size_of_a_block_does_not_matter():
    network, x = network_of(2), images(2, 7)
    assert torch.allclose(grad_cam(network, x, block=3), grad_cam(network, x), rtol=1e-12, atol=1e-15)


def test_nothing_of_the_network_is_changed():
    network = build_network("resnet18", {"dropout": 0.5}, (1, 32, 32), (2,), "classify").train()
    network.bn1.eval()
    network.requires_grad_(False)  # maps need no gradient of the weights
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        first, second = (grad_cam(network, torch.ones(2, 1, 32, 32)) for _ in range(2))
    assert torch.equal(first, second) and not first.requires_grad
    assert network.training and network.layer1.training and not network.bn1.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.layer4._forward_hooks


def test_an_unknown_layer_is_told_those_that_there_are():
    told = refusal(network_of(2), images(2), "secnd")
    assert "did you mean 'second'? convolutions are first, second" in told
    network = build_network("resnet18", {}, (2, 32, 32), (2,), "classify")
    assert len(convolutions(network)) == 20 and convolutions(network)[0] == "conv1"
    network = build_network("efficientnet-b0", {}, (2, 32, 32), (2,), "classify")
    told = refusal(network, torch.zeros(1, 2, 32, 32), "features.9")
    assert "features.8" in told and "more" in told and len(told) < 400


@pytest.mark.parametrize(
    ("layer", "target", "words"),
    [
        ("fc", None, "layer 'fc' gives 5 x 3, no channels on a grid"),
        ("second", 3, "target 3: the outputs are 0 ... 2"),
        ("second", -1, "target -1: the outputs are 0 ... 2"),
        ("second", [0, 1], "2 targets for 5 samples"),
    ],
)
def test_what_has_no_map_is_refused(layer, target, words):
    assert words in refusal(network_of(2), images(2), layer, target)


def test_layers_without_part_or_influence_are_refused():
    class Idle(Pooled):
        def __init__(self):
            super().__init__(2)
            self.idle, self.vain = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x):
            self.vain(x)
            return super().forward(x)

    network, x = Idle().double(), images(2)
    assert "takes no part" in refusal(network, x, "idle")
    assert "has no influence" in refusal(network, x, "vain")
    assert "no convolutional layer" in refusal(nn.Sequential(nn.Flatten(), nn.Linear(96, 2)).double(), x)
