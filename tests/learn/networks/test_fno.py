import math
from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hpc_ds.learn.networks import channel_mlp, fno, fourier_block
from hpc_ds.learn.networks.fno import FNO, Options, build
from hpc_ds.runtime.errors import InputError

SMALL = {"width": 6, "layers": 2, "modes": (4,)}
LINEAR = {
    "layers": 1,
    "lifting": 0,
    "projection": 0,
    "channel_mlp": 0,
    "positions": False,
    "width": 2,
    "modes": (8,),
}


@dataclass
class Axis:
    periodic: bool


def make(grid, inputs=2, outputs=1, axes=(), **options):
    torch.manual_seed(0)
    return build(Options(**{**SMALL, **options}), (inputs, *grid), (outputs, *grid), "fields", axes)


def naive(network: FNO, x: torch.Tensor) -> torch.Tensor:
    """Write the network out with FFTs and channels first, for even modes that the grid holds."""
    grid = x.shape[2:]
    d = len(grid)
    places = torch.meshgrid(*(torch.arange(n, dtype=x.dtype) / n for n in grid), indexing="ij")
    x = torch.cat([x, torch.stack(places).expand(len(x), -1, *grid)], 1)

    def linear(layer, x):
        y = torch.einsum("oi,bi...->bo...", layer.weight, x)
        return y if layer.bias is None else y + layer.bias.view(-1, *[1] * d)

    def mlp(layers, x):
        return linear(layers.second, functional.gelu(linear(layers.first, x)))

    axes, shifted = tuple(range(2, 2 + d)), tuple(range(2, 1 + d))

    def convolve(layer, x):
        spectrum = torch.fft.rfftn(x, dim=axes)
        spectrum = torch.fft.fftshift(spectrum, dim=shifted) if shifted else spectrum
        kept = [slice(n // 2 - m // 2, n // 2 + m // 2) for n, m in zip(grid[:-1], layer.modes)]
        kept = (..., *kept, slice(0, layer.modes[-1] // 2 + 1))
        weight = torch.complex(layer.weight.select(d, 0), layer.weight.select(d, 1))
        out = torch.zeros_like(spectrum)
        out[kept] = torch.einsum("bi...,...io->bo...", spectrum[kept], weight)
        out = torch.fft.ifftshift(out, dim=shifted) if shifted else out
        return torch.fft.irfftn(out, s=grid, dim=axes) + layer.bias.view(-1, *[1] * d)

    x = mlp(network.lifting, x)
    for block in network.blocks:
        h = convolve(block.convolution, x) + linear(block.skip, x)
        h = h if block.last else functional.gelu(h)
        if block.channel_mlp is not None:
            h = mlp(block.channel_mlp, h) + block.gate.view(-1, *[1] * d) * x
            h = h if block.last else functional.gelu(h)
        x = h
    return mlp(network.projection, x)


def outcome(network, x):
    """Output and all gradients of a loss that treats no output alike."""
    x = x.clone().requires_grad_()
    network.zero_grad()
    y = network(x)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in network.parameters())]


def assert_same(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm().clamp_min(1e-12)) < tolerance


@pytest.mark.parametrize(
    ("grid", "options"),
    [
        ((16,), {}),
        ((15,), {"channel_mlp": 0}),
        ((8, 12), {"layers": 3}),
        ((9, 8), {"channel_mlp": 0, "modes": (4, 6)}),
        ((4, 6, 8), {"channel_mlp": 1.0}),
    ],
)
def test_network_is_what_its_equations_say(grid, options):
    network, x = make(grid, **options).double(), torch.randn(3, 2, *grid, dtype=torch.float64)
    found = outcome(network, x)
    expected = outcome_of_naive(network, x)
    assert_same(found, expected, 1e-12)


def outcome_of_naive(network, x):
    class Naive(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return naive(self.network, x)

    return outcome(Naive(), x)


VARIANTS = [{}, {"channel_mlp": 0}, {"width": 33, "padding": (0.2,)}]


def plain_outcome(network, x, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(channel_mlp, "is_fusible", lambda *tensors: False)
        patched.setattr(fourier_block, "is_fusible", lambda *tensors: False)
        return outcome(network, x)


@pytest.mark.parametrize("options", VARIANTS)
def test_fused_pieces_give_what_plain_operations_give(options, monkeypatch):
    network, x = make((12, 20), layers=3, **options).double(), torch.randn(3, 2, 12, 20, dtype=torch.float64)
    monkeypatch.setattr(channel_mlp, "CHUNK", 1500)  # pieces that do not divide the grid
    assert_same(outcome(network, x), plain_outcome(network, x, monkeypatch), 1e-12)


@pytest.mark.parametrize("options", VARIANTS)
def test_compiled_loops_round_no_worse_than_torch(options, monkeypatch):
    network, x = make((12, 20), layers=3, **options), torch.randn(3, 2, 12, 20)
    found, plain = outcome(network, x), plain_outcome(network, x, monkeypatch)
    exact = outcome(network.double(), x.double())
    assert_same(found[:1], exact[:1], 3e-6)

    def error(computed):
        return sum(
            float((one - other).norm() / other.norm()) for one, other in zip(computed, exact, strict=True)
        )

    assert error(found) < 1.5 * error(plain)


@pytest.mark.parametrize("options", [{}, {"channel_mlp": 0}])
def test_first_and_second_derivatives_are_right(options):
    network = make((4, 5), width=3, **options).double()
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    names, tensors = zip(*((n, p.detach().requires_grad_()) for n, p in network.named_parameters()))

    def function(x, *parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters)), x)

    assert torch.autograd.gradcheck(function, (x, *tensors), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (x, *tensors), fast_mode=True)


def test_parameters_are_as_many_as_those_of_neuraloperator():
    network = build(Options(modes=(16, 16), width=32), (1, 64, 64), (1, 64, 64), "fields")
    complex_numbers = sum(block.convolution.weight.numel() // 2 for block in network.blocks)
    reals = sum(p.numel() for p in network.parameters()) - 2 * complex_numbers
    assert reals + complex_numbers == 602_977  # it counts a complex number once
    assert complex_numbers == 4 * 16 * 9 * 32 * 32


def test_linear_network_learns_a_spectral_multiplier_and_keeps_its_error_on_finer_grids():
    """Heat: u(x, 0) to u(x, t), waves damped by exp(-k^2 t)."""
    wave = torch.arange(1, 4, dtype=torch.float64)

    def sample(n):
        generator = torch.Generator().manual_seed(5)
        a, b = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
        phase = 2 * math.pi * wave[:, None] * torch.arange(n, dtype=torch.float64) / n
        damping = torch.exp(-0.2 * wave**2)[:, None]
        cosine, sine = torch.cos(phase), torch.sin(phase)
        return tuple((a @ (f * cosine) + b @ (f * sine))[:, None] for f in (1.0, damping))

    network = make((16,), 1, 1, **LINEAR).double()
    optimiser = torch.optim.LBFGS(
        network.parameters(),
        max_iter=500,
        tolerance_grad=1e-13,
        tolerance_change=1e-18,
        line_search_fn="strong_wolfe",
    )
    u, v = sample(16)

    def closure():
        optimiser.zero_grad()
        loss = (network(u) - v).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimiser.step(closure)
    errors = [float((network(u) - v).norm() / v.norm()) for u, v in map(sample, (16, 32, 64))]
    assert max(errors) < 1e-6
    assert max(errors) - min(errors) < 1e-9


def test_export_is_the_network():
    network = make((12, 10)).eval()
    x = torch.randn(3, 2, 12, 10)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: batch},))
    for inputs in (x, torch.randn(5, 2, 12, 10)):
        torch.testing.assert_close(program.module()(inputs), network(inputs), rtol=1e-5, atol=1e-6)


def test_trace_is_the_network():
    network, x = make((12, 10)).eval(), torch.randn(3, 2, 12, 10)
    traced = torch.jit.trace(network, (x,), check_trace=False)
    torch.testing.assert_close(traced(x), network(x), rtol=1e-5, atol=1e-6)


def test_checkpoints_change_nothing():
    network, x = make((12, 10)), torch.randn(3, 2, 12, 10)

    class Checkpointed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return checkpoint(self.network, x, use_reentrant=False)

    assert all(
        torch.equal(a, b) for a, b in zip(outcome(network, x), outcome(Checkpointed(), x), strict=True)
    )


def test_autocast_halves_only_the_precision_of_matrix_products():
    network, x = make((12, 10)), torch.randn(3, 2, 12, 10)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x)
    y.float().sum().backward()
    assert float((y - network(x)).norm() / network(x).norm()) < 0.03


def test_function_transforms_see_the_network():
    network, x = make((12, 10)).double(), torch.randn(3, 2, 12, 10, dtype=torch.float64)
    direction = torch.randn_like(x)
    _, slope = torch.func.jvp(network, (x,), (direction,))
    step = 1e-5
    difference = (network(x + step * direction) - network(x - step * direction)) / (2 * step)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.vmap(lambda one: network(one[None])[0])(x), network(x))


def test_a_sample_does_not_feel_the_others_of_its_batch():
    network, x = make((12, 10)), torch.randn(4, 2, 12, 10)
    other = torch.cat([x[:1], torch.full_like(x[1:], torch.nan)])
    assert torch.equal(network(x)[0], network(other)[0])
    assert network(other)[1:].isnan().all()


def test_any_grid_is_taken_whatever_the_network_was_built_for():
    network = make((16, 16), modes=(8, 8), padding=(0.1,))
    for grid in ((16, 16), (32, 64), (5, 7), (3, 4), (31, 33)):
        assert network(torch.randn(2, 2, *grid)).shape == (2, 1, *grid)


def test_padding_is_for_axes_that_are_not_periodic():
    axes = [Axis(periodic=True), Axis(periodic=False)]
    assert make((16, 16), axes=axes, padding=(0.1,)).padding == (0.0, 0.1)
    assert make((16, 16), padding=(0.1,)).padding == (0.1, 0.1)
    assert make((16, 16), axes=axes, padding=(0.2, 0.0)).padding == (0.2, 0.0)


def test_options_are_read_from_words():
    options = Options.model_validate({"modes": "16,8", "padding": "0.1"})
    assert (options.modes, options.padding) == ((16, 8), (0.1,))
    assert make((64,), modes=(), channel_mlp=0, width=64).blocks[0].convolution.modes == (32,)
    assert make((6, 64), modes=()).blocks[0].convolution.modes == (6, 16)


@pytest.mark.parametrize(
    ("options", "inputs", "outputs", "words"),
    [
        ({"modes": (40,)}, (1, 32), (1, 32), "modes: 40 waves .* 32 points"),
        ({"modes": (4, 4)}, (1, 32), (1, 32), "modes: 2 numbers for 1 axes"),
        ({"padding": (0.1, 0.1, 0.1)}, (1, 32, 32), (1, 32, 32), "padding: 3 numbers for 2 axes"),
        ({}, (1, 32), (1, 64), "one grid"),
        ({}, (7,), (3,), "one grid"),
    ],
)
def test_what_does_not_fit_is_refused(options, inputs, outputs, words):
    with pytest.raises(InputError, match=words):
        build(Options(**options), inputs, outputs, "fields")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_the_cpu_gives():
    network, x = make((12, 10)).double(), torch.randn(3, 2, 12, 10, dtype=torch.float64)
    expected = outcome(network, x)
    found = [t.cpu() for t in outcome(network.cuda(), x.cuda())]
    assert_same(found, expected, 1e-12)


def test_positions_are_in_the_unit_interval():
    places = fno.positions((4, 2), torch.empty(0))
    assert places.shape == (4, 2, 2)
    assert places[:, 0, 0].tolist() == [0.0, 0.25, 0.5, 0.75]
    assert places[0, :, 1].tolist() == [0.0, 0.5]
