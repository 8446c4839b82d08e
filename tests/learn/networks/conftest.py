"""What torchvision 0.29.2 calls its parameters, and weights that any program can write down."""

from __future__ import annotations

import json
import lzma
import math
from pathlib import Path

import pytest
import torch

from hpc_ds.learn.networks import build_network


@pytest.fixture(scope="session")
def torchvision_shapes():
    """Shapes of the entries of state_dict() by network and name, as torchvision 0.29.2 has them."""
    file = Path(__file__).with_name("torchvision-0.29.2.json.xz")
    return json.loads(lzma.decompress(file.read_bytes()))["networks"]


@pytest.fixture
def shapes_of():
    def shapes(reference, options, inputs, outputs, task="classify"):
        with torch.device("meta"):
            state = build_network(reference, options, inputs, outputs, task).state_dict()
        return {name: list(tensor.shape) for name, tensor in state.items()}

    return shapes


@pytest.fixture
def patterned():
    """Fill a network, in float64, with cosines of about the size of random weights; in the order of their names."""

    def fill(network):
        network.double().eval()
        for i, (name, tensor) in enumerate(sorted(network.state_dict().items())):
            if not tensor.is_floating_point():
                continue
            pattern = torch.cos(1.7 * torch.arange(tensor.numel(), dtype=torch.float64) ** 1.1 + i)
            pattern = pattern.reshape(tensor.shape)
            if tensor.ndim > 1:
                tensor.copy_(pattern * 2.0 / math.sqrt(tensor[0].numel()))
            else:
                tensor.copy_(0.1 * pattern + (1.0 if name.endswith(("weight", "running_var")) else 0.0))
        return network

    return fill


@pytest.fixture
def waves():
    """Two images of three channels, in float64."""

    def images(size):
        numbers = torch.arange(2 * 3 * size * size, dtype=torch.float64)
        return torch.sin(0.37 * numbers**1.05).reshape(2, 3, size, size)

    return images
