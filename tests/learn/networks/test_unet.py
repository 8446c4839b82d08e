"""U-Nets on grids of any size."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hpc_ds.learn.networks import build_network, count_parameters
from hpc_ds.runtime.errors import InputError

PERIODIC, BOUNDED = SimpleNamespace(periodic=True), SimpleNamespace(periodic=False)


def unet(grid, channels=1, outputs=1, axes=(), **options):
    torch.manual_seed(1)
    return build_network("unet", options, (channels, *grid), (outputs, *grid), "fields", axes)


def test_number_of_parameters_is_that_of_the_published_network():
    """7,763,041: the U-Net of Buda et al. (2019), three channels in, one out, 32 on the finest of five grids."""
    network = unet((256, 256), channels=3, width=32, depth=4, normalisation="batch")
    assert count_parameters(network) == 7_763_041


@pytest.mark.parametrize("grid", [(16,), (17,), (100,), (16, 16), (19, 33), (16, 17, 18)])
@pytest.mark.parametrize("axis", [PERIODIC, BOUNDED])
def test_any_grid_comes_back_as_it_was(grid, axis):
    network = unet(grid, channels=2, outputs=3, axes=[axis] * len(grid), width=4, depth=3)
    assert network(torch.randn(2, 2, *grid)).shape == (2, 3, *grid)


@pytest.mark.parametrize("normalisation", ["group", "none"])
def test_on_a_periodic_grid_a_shift_goes_through(normalisation):
    # By multiples of 2^depth, the coarsest spacing; beyond zeros it does not.
    x = torch.randn(1, 1, 32, 24)
    for boundary, equal in (("periodic", True), ("zeros", False)):
        network = (
            unet((32, 24), width=4, depth=2, normalisation=normalisation, boundary=boundary).double().eval()
        )
        shifted = network(x.double().roll((8, -4), (2, 3))).roll((-8, 4), (2, 3))
        assert torch.allclose(shifted, network(x.double()), atol=1e-12) is equal


def test_axes_say_where_the_grid_goes_round():
    x = torch.randn(1, 1, 16, 16).double()
    network = unet((16, 16), axes=[PERIODIC, BOUNDED], width=4, depth=2).double().eval()
    along, across = (network(x.roll(4, axis)).roll(-4, axis) for axis in (2, 3))
    assert torch.allclose(along, network(x), atol=1e-12)
    assert not torch.allclose(across, network(x), atol=1e-3)


def test_it_takes_another_resolution_than_it_was_built_for():
    network = unet((32,), width=4, depth=2)
    assert network(torch.randn(1, 1, 71)).shape == (1, 1, 71)


def test_a_grid_of_too_few_points_is_told_what_fits():
    with pytest.raises(InputError, match=r"^unet: option depth 4: needs 16 .* found 9; depth 3 fits$"):
        unet((64, 9))


def test_inputs_and_targets_need_one_grid():
    with pytest.raises(InputError, match=r"^unet: needs inputs and targets on one grid"):
        build_network("unet", {}, (1, 32), (1, 64), "fields")


@pytest.mark.parametrize("normalisation", ["group", "batch", "none"])
def test_it_learns_a_derivative(normalisation):
    network = unet((32,), width=8, depth=2, normalisation=normalisation, boundary="periodic")
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    x = torch.randn(16, 1, 32)
    x = (x + x.roll(1, 2) + x.roll(-1, 2)) / 3
    target = (x.roll(-1, 2) - x.roll(1, 2)) / 2
    losses = []
    for _ in range(60):
        loss = ((network(x) - target) ** 2).mean() / (target**2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
