"""The reduction on one rank: gradients, buffers, refusals."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hpc_ds.learn.buckets import lanes_matter
from hpc_ds.learn.distributed import join
from hpc_ds.learn.flat import Layout, MovingBuffers, trainable
from hpc_ds.learn.reduction import check_ranks, make_reducer
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

KINDS = ["reproducible", "fast", "sharded"]
X = torch.randn(23, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randn(23, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def group():
    return join(World(), device="cpu")


def plain() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))


def with_statistics() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Dropout(0.2), nn.Linear(9, 3))


def step(reducer, batch: np.ndarray) -> float:
    for key, samples in reducer.pieces(batch):
        if len(samples):
            with reducer.piece(key, len(samples) / len(batch)):
                torch.manual_seed(key)
                error = (reducer.network(X[samples]) - Y[samples]).square().sum()
                (error / len(batch)).backward()
    return reducer.finish()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("samples", [23, 5])
def test_the_gradient_is_that_of_the_whole_batch(kind, accumulate, samples, group):
    network = plain()
    whole = copy.deepcopy(network)
    batch = np.arange(samples)[::-1].copy()
    norm = step(make_reducer(kind, network, group, 12, accumulate), batch)
    ((whole(X[batch]) - Y[batch]).square().sum() / samples).backward()
    for found, expected in zip(network.parameters(), whole.parameters()):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-5, atol=1e-6)
    assert norm == pytest.approx(
        float(torch.cat([p.grad.flatten() for p in whole.parameters()]).norm()), rel=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_begins_anew(kind, group):
    network = plain()
    reducer = make_reducer(kind, network, group, 4)
    first = step(reducer, np.arange(20))
    assert step(reducer, np.arange(20)) == first
    network[0].weight.grad.fill_(7.0)
    assert step(reducer, np.arange(20)) == first


def test_running_statistics_are_the_mean_over_lanes_weighted_by_samples(group):
    network = with_statistics()
    start = network[0](X).detach()
    step(make_reducer("reproducible", network, group, 4), np.arange(23))
    lanes = np.array_split(np.arange(23), 4)
    expected = sum(len(lane) / 23 * start[lane].mean(0) for lane in lanes) * 0.1
    torch.testing.assert_close(network[1].running_mean, expected, rtol=1e-5, atol=1e-7)
    assert network[1].num_batches_tracked == 1


def test_fast_and_reproducible_agree_to_rounding_with_statistics_and_dropout(group):
    found = []
    for kind in ("reproducible", "fast"):
        network = with_statistics()
        optimiser = torch.optim.SGD(network.parameters(), 0.1)
        reducer = make_reducer(kind, network, group, 8)
        for number in range(5):
            step(reducer, np.roll(np.arange(23), number)[:20])
            optimiser.step()
        found.append(torch.cat([tensor.flatten().double() for tensor in network.state_dict().values()]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_nothing_moves_stays_bit_for_bit(kind, group):
    network = plain()
    network.register_buffer("mask", torch.tensor([0.1, float("-inf"), 1 / 3]))
    network.register_buffer("codes", torch.tensor([2**40 + 1, -3]))
    network.register_buffer("flags", torch.tensor([True, False]))
    before = copy.deepcopy(dict(network.named_buffers()))
    step(make_reducer(kind, network, group, 8), np.arange(23))
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name]) and buffer.dtype == before[name].dtype


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_parameters_are_left_alone(kind, group):
    network = plain()
    network[0].requires_grad_(False)
    step(make_reducer(kind, network, group, 8), np.arange(23))
    assert network[0].weight.grad is None and network[2].weight.grad is not None


@pytest.mark.parametrize("kind", ["reproducible", "fast"])
def test_unused_parameters_have_zero_gradients(kind, group):
    network = plain()
    network.register_parameter("unused", nn.Parameter(torch.ones(3)))
    step(make_reducer(kind, network, group, 8), np.arange(23))
    assert torch.equal(network.unused.grad, torch.zeros(3))


class Complex(nn.Module):
    """A complex linear map beside a tensor in another memory format."""

    def __init__(self) -> None:
        super().__init__()
        self.odd = nn.Parameter(torch.ones(3))
        self.matrix = nn.Parameter(torch.randn(3, 6, dtype=torch.complex64))
        self.kernel = nn.Parameter(torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.to(self.matrix.dtype) @ self.matrix.T).abs() * self.odd + self.kernel.square().sum(
            (0, 2, 3)
        )


@pytest.mark.parametrize("kind", ["reproducible", "fast"])
def test_complex_parameters_and_memory_formats_are_kept(kind, group):
    torch.manual_seed(2)
    network = Complex()
    whole = copy.deepcopy(network)
    norm = step(make_reducer(kind, network, group, 8), np.arange(23))
    ((whole(X) - Y).square().sum() / 23).backward()
    for found, expected in zip(network.parameters(), whole.parameters()):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-5)
        assert found.grad.stride() == found.stride()
    square = sum(float(p.grad.abs().double().square().sum()) for p in whole.parameters())
    assert norm == pytest.approx(square**0.5, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_tells_of_gradients_that_are_not_finite(kind, group):
    network = plain()
    with torch.no_grad():
        network[0].weight[0, 0] = float("nan")
    assert not np.isfinite(step(make_reducer(kind, network, group, 4), np.arange(8)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_continues_in_another_reducer(kind, group):
    def trained(steps, state=None):
        network = with_statistics()
        reducer = make_reducer(kind, network, group, 4)
        optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
        if state is not None:
            reducer.load_state(optimiser, state)
        for number in steps:
            step(reducer, np.roll(np.arange(23), number)[:20])
            optimiser.step()
        return copy.deepcopy(reducer.state(optimiser))

    whole = trained(range(6))["network"]
    halves = trained(range(3, 6), trained(range(3)))["network"]
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_constants_that_are_not_saved_are_no_moving_buffers():
    network = with_statistics()
    network.register_buffer("grid", torch.zeros(1000), persistent=False)
    assert MovingBuffers(network).size == 9 + 9 + 1


@pytest.mark.parametrize(
    ("network", "matter"),
    [
        (plain(), False),
        (with_statistics(), True),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)), False),
        (nn.GroupNorm(1, 4), False),
        (nn.LSTM(2, 2, num_layers=2, dropout=0.1), True),
        (type("StochasticDepth", (nn.Module,), {})(), True),
    ],
)
def test_lanes_matter_to_networks_with_statistics_or_random_numbers(network, matter):
    assert lanes_matter(network) is matter


def test_parameters_of_several_precisions_or_none_are_refused():
    network = plain()
    network[2].double()
    with pytest.raises(InputError, match=r"float32, float64"):
        Layout(trainable(network), 0, 1)
    with pytest.raises(InputError, match="no trainable parameters"):
        Layout(trainable(network.requires_grad_(False)), 0, 1)


@pytest.mark.parametrize(
    ("lanes", "ranks", "words"),
    [
        (8, 3, "3 ranks: --lanes 8 can be shared by 1, 2, 4 or 8 ranks; --reduction fast takes any number"),
        (8, 16, "16 ranks: --lanes 8 can be shared by 1, 2, 4 or 8 ranks (--lanes 16 by 16); "),
        (12, 8, "8 ranks: --lanes 12 can be shared by 1, 2 or 4 ranks (--lanes 8 by 8); "),
        (7, 2, "2 ranks: --lanes 7 can be shared by 1 rank (--lanes 2 by 2); "),
    ],
)
def test_ranks_that_cannot_share_the_lanes_hear_which_could(lanes, ranks, words):
    with pytest.raises(InputError) as refused:
        check_ranks("reproducible", lanes, ranks)
    assert str(refused.value).startswith(words)
    check_ranks("fast", lanes, ranks)
    check_ranks("sharded", lanes, ranks)


@pytest.mark.parametrize(("lanes", "ranks"), [(8, 1), (8, 2), (8, 8), (12, 4), (7, 1), (24, 8)])
def test_ranks_that_divide_the_tree_are_taken(lanes, ranks):
    check_ranks("reproducible", lanes, ranks)
