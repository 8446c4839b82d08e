import math

import numpy as np
import pytest
import torch

from hpc_ds.learn.networks import waves
from hpc_ds.learn.networks.spectral import SpectralConvolution
from hpc_ds.learn.networks.waves import wave_counts

GRIDS = [
    ((16,), (6,)),
    ((17,), (7,)),
    ((8,), (16,)),  # the last wave is the Nyquist wave
    ((7,), (16,)),
    ((16, 12), (6, 8)),
    ((9, 15), (5, 7)),
    ((6, 8), (16, 16)),
    ((7, 5), (16, 16)),
    ((6, 8, 10), (4, 4, 6)),
    ((5, 4, 6), (8, 8, 8)),
]


def naive(convolution, x):
    """Mix the kept waves of a full FFT one after another."""
    grid, d = x.shape[1:-1], x.ndim - 2
    axes = tuple(range(1, d + 1))
    spectrum = torch.fft.rfftn(x, dim=axes, norm="forward")
    weight = torch.complex(convolution.weight.select(d, 0), convolution.weight.select(d, 1))
    out = torch.zeros(*spectrum.shape[:-1], weight.shape[-1], dtype=spectrum.dtype)
    modes, counts = convolution.modes, wave_counts(convolution.modes)
    for index in np.ndindex(*counts):
        k = [i - m // 2 for i, m in zip(index[:-1], modes)] + [index[-1]]
        fits = all(-(n // 2) <= kj <= (n - 1) // 2 for kj, n in zip(k[:-1], grid)) and k[-1] <= grid[-1] // 2
        if fits:
            at = (slice(None), *(kj % n for kj, n in zip(k, grid)))
            out[at] = spectrum[at] @ weight[index]
    y = torch.fft.irfftn(out, s=grid, dim=axes, norm="forward")
    return y if convolution.bias is None else y + convolution.bias


def points(*grid):
    ticks = [torch.arange(n, dtype=torch.float64) / n for n in grid]
    return torch.stack(torch.meshgrid(*ticks, indexing="ij"), -1)


def set_multiplier(convolution, multiplier):
    """Let the convolution multiply wave k by `multiplier(k)`, complex."""
    modes, d = convolution.modes, len(convolution.modes)
    with torch.no_grad():
        for index in np.ndindex(*wave_counts(modes)):
            k = [i - m // 2 for i, m in zip(index[:-1], modes)] + [index[-1]]
            value = multiplier(np.array(k))
            convolution.weight[index][0, 0, 0], convolution.weight[index][1, 0, 0] = value.real, value.imag
    return d


@pytest.mark.parametrize(("grid", "modes"), GRIDS)
def test_convolution_is_what_full_ffts_give(grid, modes):
    torch.manual_seed(0)
    convolution = SpectralConvolution(3, 2, modes).double()
    x = torch.randn(2, *grid, 3, dtype=torch.float64, requires_grad=True)
    found, expected = convolution(x), naive(convolution, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    g = torch.randn_like(found)
    wanted = (x, convolution.weight, convolution.bias)
    for one, other in zip(torch.autograd.grad(found, wanted, g), torch.autograd.grad(expected, wanted, g)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("grid", "modes"), GRIDS)
def test_ffts_of_many_waves_give_what_matrices_give(grid, modes, monkeypatch):
    torch.manual_seed(0)
    convolution = SpectralConvolution(3, 2, modes).double()
    x = torch.randn(2, *grid, 3, dtype=torch.float64)
    expected = convolution(x)
    monkeypatch.setattr(waves, "MANY", 0)
    torch.testing.assert_close(convolution(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("refinement", [1, 2, 4])
def test_derivative_of_a_band_limited_function_is_exact_on_any_grid(refinement):
    convolution = SpectralConvolution(1, 1, (12, 12), bias=False).double()
    set_multiplier(convolution, lambda k: 2j * math.pi * k[0])
    x = points(16 * refinement, 15 * refinement)
    phase = 2 * math.pi * (3 * x[..., 0] - 5 * x[..., 1]) + 0.3
    u = torch.sin(phase) + torch.cos(2 * math.pi * 2 * x[..., 0])
    expected = 6 * math.pi * torch.cos(phase) - 4 * math.pi * torch.sin(2 * math.pi * 2 * x[..., 0])
    torch.testing.assert_close(convolution(u[None, ..., None])[0, ..., 0], expected, rtol=0, atol=1e-12)


def test_one_fitted_to_a_multiplier_has_the_same_error_on_finer_grids():
    def sample(n, count=24):
        generator = torch.Generator().manual_seed(3)
        a, b = torch.randn(2, count, 8, generator=generator, dtype=torch.float64)
        k, x = torch.arange(8), torch.arange(n, dtype=torch.float64) / n
        wave = 2 * math.pi * k[:, None] * x
        shifted = wave - 2 * math.pi * 0.1 * k[:, None]  # u(x) to u(x - 0.1)
        u, v = (a @ torch.cos(w) + b @ torch.sin(w) for w in (wave, shifted))
        return u[..., None], v[..., None]

    torch.manual_seed(0)
    convolution = SpectralConvolution(1, 1, (15,)).double()
    optimiser = torch.optim.LBFGS(
        convolution.parameters(),
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )
    u, v = sample(32)

    def closure():
        optimiser.zero_grad()
        loss = (convolution(u) - v).square().mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        errors = [float((convolution(u) - v).norm() / v.norm()) for u, v in map(sample, (32, 64, 128))]
    assert max(errors) < 1e-6
    assert max(errors) < 1.01 * min(errors) + 1e-12


@pytest.mark.parametrize(("grid", "modes"), [((6,), (4,)), ((4, 5), (3, 4)), ((2, 3, 4), (2, 3, 2))])
def test_first_and_second_derivatives_are_right(grid, modes):
    torch.manual_seed(0)
    convolution = SpectralConvolution(2, 2, modes).double()
    x = torch.randn(2, *grid, 2, dtype=torch.float64, requires_grad=True)

    def function(x, weight, bias):
        return torch.func.functional_call(convolution, {"weight": weight, "bias": bias}, x)

    tensors = (x, convolution.weight.detach().requires_grad_(), convolution.bias.detach().requires_grad_())
    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


@pytest.mark.parametrize("modes", [(32,), (16, 16), (8, 6, 4), (7, 5)])
def test_parameters_are_counted_by_the_formula(modes):
    convolution = SpectralConvolution(5, 3, modes)
    count = math.prod(modes[:-1]) * (modes[-1] // 2 + 1)
    assert sum(p.numel() for p in convolution.parameters()) == 2 * count * 5 * 3 + 3
    assert all(not p.is_complex() for p in convolution.parameters())


def test_a_sample_does_not_feel_the_others_of_its_batch():
    torch.manual_seed(0)
    convolution = SpectralConvolution(4, 4, (8, 8))
    x = torch.randn(4, 16, 16, 4)
    other = torch.cat([x[:1], torch.full_like(x[1:], torch.nan)])
    assert torch.equal(convolution(x)[0], convolution(other)[0])


def test_tables_made_for_inference_serve_training():
    convolution = SpectralConvolution(1, 1, (6,))
    x = torch.randn(1, 23, 1)
    with torch.inference_mode():
        expected = convolution(x).clone()
    found = convolution(x.requires_grad_())
    found.sum().backward()
    assert torch.equal(found, expected)
