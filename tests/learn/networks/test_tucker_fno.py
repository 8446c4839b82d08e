import math

import pytest
import torch

from hpc_ds.learn.networks.tucker_fno import Options, TuckerConvolution, build, tucker_product, tucker_ranks


def test_product_is_the_sum_over_core_and_factors():
    torch.manual_seed(0)
    core = torch.randn(2, 2, 3, 2, dtype=torch.float64)
    factors = [torch.randn(2, length, r, dtype=torch.float64) for length, r in zip((5, 4, 6), (2, 3, 2))]
    a, b, c = (torch.complex(*factor) for factor in factors)
    expected = torch.einsum("xyz,ax,by,cz->abc", torch.complex(*core), a, b, c)
    torch.testing.assert_close(torch.complex(*tucker_product(core, factors)), expected)


@pytest.mark.parametrize("shape", [(16, 9, 32, 32), (17, 64, 64), (8, 8, 5, 20, 20)])
@pytest.mark.parametrize("rank", [0.05, 0.1, 0.5])
def test_ranks_give_about_the_wanted_share_of_numbers(shape, rank):
    ranks = tucker_ranks(shape, rank)
    numbers = math.prod(ranks) + sum(length * r for length, r in zip(shape, ranks))
    assert numbers / math.prod(shape) == pytest.approx(rank, rel=0.25)
    assert all(1 <= r <= length for r, length in zip(ranks, shape))


def test_dense_weight_has_the_spread_of_dense_convolutions():
    torch.manual_seed(0)
    weights = torch.stack([TuckerConvolution(16, 16, (8, 8), rank=0.3).dense_weight() for _ in range(20)])
    assert float(weights.square().mean()) == pytest.approx(2 / 32 / 2, rel=0.35)


def test_derivatives_are_right():
    torch.manual_seed(0)
    convolution = TuckerConvolution(3, 3, (4, 4), rank=0.5).double()
    names, tensors = zip(*((n, p.detach().requires_grad_()) for n, p in convolution.named_parameters()))
    x = torch.randn(2, 5, 6, 3, dtype=torch.float64, requires_grad=True)

    def function(x, *parameters):
        return torch.func.functional_call(convolution, dict(zip(names, parameters)), x)

    assert torch.autograd.gradcheck(function, (x, *tensors), fast_mode=True)


def test_network_is_smaller_and_takes_any_grid():
    sizes = []
    for rank in (0.1, 0.5):
        network = build(Options(modes=(8, 8), width=16, rank=rank), (1, 16, 16), (2, 16, 16), "fields")
        sizes.append(sum(p.numel() for p in network.parameters()))
        assert network(torch.randn(2, 1, 16, 16)).shape == (2, 2, 16, 16)
        network(torch.randn(2, 1, 11, 30)).sum().backward()
        assert all(p.grad is not None for p in network.parameters())
    assert sizes[0] < 0.5 * sizes[1]


def test_export_is_the_network():
    torch.manual_seed(0)
    network = build(Options(modes=(6,), width=6, layers=2), (1, 12), (1, 12), "fields").eval()
    x = torch.randn(3, 1, 12)
    torch.testing.assert_close(
        torch.export.export(network, (x,)).module()(x), network(x), rtol=1e-5, atol=1e-6
    )
