import numpy as np
import pytest
import torch

from hpc_ds.runtime.random import stream
from hpc_ds.studies.noise_copies.network import STANDARD, Jitter, forward, initial
from hpc_ds.studies.noise_copies.noise import Noise
from hpc_ds.studies.noise_copies.problem import POINTS, f, points
from hpc_ds.studies.noise_copies.variants import (
    BIAS,
    LARGE,
    MIDDLE,
    NOISE,
    ONE_LAYER,
    SCALES,
    SIGMOID,
    SMALL,
    Network,
    Variant,
)

UNITS = (0, 1, 2)
NETWORKS = (SMALL, MIDDLE, LARGE, SIGMOID, ONE_LAYER, Network((1, 5, 3, 1), "relu"))


def drawn(*shape, key=0):
    return torch.from_numpy(stream(3, 99, key).standard_normal(shape))


@pytest.mark.parametrize(("network", "number"), [(SMALL, 13), (MIDDLE, 33), (LARGE, 118), (ONE_LAYER, 118)])
def test_networks_have_the_published_numbers_of_parameters(network, number):
    assert network.parameters == number
    assert initial(network, 0, UNITS).shape == (3, number)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.name)
def test_a_batched_network_is_the_plain_one_of_each_unit(network):
    parameters, x = initial(network, 5, UNITS), drawn(3, POINTS)
    found = forward(network, parameters, x)
    kinds = {"leaky-relu": torch.nn.LeakyReLU, "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}
    for unit in UNITS:
        layers = []
        for out, fan_in in network.shapes:
            layers += [torch.nn.Linear(fan_in, out, dtype=torch.float64), kinds[network.activation]()]
        plain = torch.nn.Sequential(*layers[:-1])
        torch.nn.utils.vector_to_parameters(parameters[unit], plain.parameters())
        expected = plain(STANDARD * (x[unit, :, None] - 0.5))[:, 0]
        torch.testing.assert_close(found[unit], expected, rtol=1e-13, atol=1e-13)


def test_first_weights_are_the_same_in_every_company_and_differ_between_seeds():
    whole, alone = initial(LARGE, 7, UNITS), initial(LARGE, 7, [2])
    assert torch.equal(whole[2:], alone)
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(initial(LARGE, 8, [2]), alone)


def test_no_scale_trains_the_same_variant_twice():
    for scale in SCALES.values():
        names = [variant.name for variant in scale.variants]
        assert len(names) == len(set(names))
        assert scale.seeds >= 20


def gradient(network, parameters, x, jitter):
    """Of the mean squared error from the true function."""
    leaf = parameters.clone().requires_grad_()
    y = torch.from_numpy(f(x.numpy()))
    loss = ((forward(network, leaf, x, jitter) - y) ** 2).mean(dim=1).sum()
    return torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.name)
def test_jitter_of_the_first_bias_is_noise_on_the_inputs_common_to_the_batch(network):
    # W1 (x + dx) + b1 = W1 x + (b1 + W1 dx): the same answers, and the same gradients of all parameters.
    parameters, x = (
        initial(network, 5, UNITS),
        torch.from_numpy(np.array([points(1, unit) for unit in UNITS])),
    )
    dx = 0.3 * drawn(3, 1)
    moved, jittered = Jitter(inputs=dx.expand(-1, POINTS)), Jitter(shifts=(dx,))
    torch.testing.assert_close(
        forward(network, parameters, x, moved), forward(network, parameters, x, jittered), rtol=0, atol=1e-13
    )
    there, here = gradient(network, parameters, x, moved), gradient(network, parameters, x, jittered)
    assert there.abs().max() > 1e-3
    torch.testing.assert_close(there, here, rtol=0, atol=1e-13)


def test_noise_that_differs_between_points_is_no_jitter_of_the_bias():
    parameters, x = initial(LARGE, 5, UNITS), drawn(3, POINTS)
    dx = 0.3 * drawn(3, POINTS)
    there = gradient(LARGE, parameters, x, Jitter(inputs=dx))
    here = gradient(LARGE, parameters, x, Jitter(shifts=(dx.mean(dim=1, keepdim=True),)))
    assert (there - here).abs().max() > 1e-3


def test_the_jitter_of_the_bias_has_the_covariance_of_the_weights_times_the_noise():
    weight = initial(LARGE, 5, [0])[0, :9].numpy()
    noise = Noise(Variant(LARGE, BIAS), 11, [0])
    moved = np.array([weight * noise.at(step).shifts[0].item() for step in range(20_000)])
    expected = (STANDARD * NOISE) ** 2 * np.outer(weight, weight)  # weights act on STANDARD times x
    # The relative standard error of a variance from n draws is sqrt(2 / n) = 1 %.
    np.testing.assert_allclose(np.cov(moved.T), expected, rtol=0.04, atol=0)


def mean_square(network, parameters, x, y, s):
    """Return the mean over dx ~ N(0, s^2) of (f(x + dx) - y)^2, by a quadrature exact to the 60th power."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    shifted = x + s * torch.from_numpy(nodes)
    answers = forward(network, parameters, shifted[None])[0]
    return float(torch.from_numpy(weights / weights.sum()) @ (answers - y) ** 2)


def expansion(network, parameters, x, y, s, curvature=True):
    """Return (f - y)^2 + s^2 [f'^2 + (f - y) f''] at x: Bishop, Neural Computation 7 (1995) 108."""
    at = torch.tensor([[x]], dtype=torch.float64, requires_grad=True)
    value = forward(network, parameters, at).sum()
    slope = torch.autograd.grad(value, at, create_graph=True)[0].sum()
    bend = torch.autograd.grad(slope, at)[0].item()
    miss = value.item() - y
    return miss**2 + s**2 * (slope.item() ** 2 + (miss * bend if curvature else 0.0))


@pytest.mark.parametrize(("curvature", "order"), [(True, 4), (False, 2)])
def test_noise_is_tikhonov_regularisation_up_to_the_fourth_power_of_its_strength(curvature, order):
    # Without the term of the second derivative the remainder is only of second order: the test can tell.
    parameters = 2.0 * initial(SIGMOID, 5, [0])
    x, y, s = 0.37, 0.8, 0.01
    remainders = [
        mean_square(SIGMOID, parameters, x, y, width) - expansion(SIGMOID, parameters, x, y, width, curvature)
        for width in (2 * s, s)
    ]
    assert np.log2(remainders[0] / remainders[1]) == pytest.approx(order, abs=0.05)
