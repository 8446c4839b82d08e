"""The gradient of a batch does not depend on the number of ranks that share it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hpc_ds.learn.distributed import join, learn_world
from hpc_ds.learn.reduction import make_reducer
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

pytestmark = pytest.mark.mpi

STEPS = 20
BATCH = 22
SAMPLES = (
    49  # the last batch of an epoch holds 5 samples: some lanes and, on four ranks, whole ranks have none
)
X = torch.randn(SAMPLES, 2, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.randn(SAMPLES, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def world():
    return learn_world()


@pytest.fixture(params=["mpi", "gloo"])
def group(request, world):
    with join(world, comm=request.param, device="cpu") as joined:
        yield joined


def network(statistics: bool) -> nn.Module:
    torch.manual_seed(3)
    between = [nn.BatchNorm2d(6), nn.GELU(), nn.Dropout(0.25)] if statistics else [nn.GELU()]
    # A bias before BatchNorm has a gradient of mere rounding errors, which Adam would blow up.
    first = nn.Conv2d(2, 6, 3, padding=1, bias=not statistics)
    return nn.Sequential(first, *between, nn.Conv2d(6, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 3))


def batches(steps: int = STEPS):
    for step in range(steps):
        order = np.random.default_rng(step // 3).permutation(SAMPLES)
        yield step, order[step % 3 * BATCH : (step % 3 + 1) * BATCH]


def train(kind, group, *, statistics=True, lanes=8, accumulate=1, steps=range(STEPS), state=None):
    """Return network, reducer, optimiser and the norms after the steps."""
    made = network(statistics)
    reducer = make_reducer(kind, made, group, lanes, accumulate)
    optimiser = torch.optim.AdamW(made.parameters(), 1e-2)
    if state is not None:
        reducer.load_state(optimiser, state)
    norms = []
    for step, batch in batches():
        if step not in steps:
            continue
        for key, samples in reducer.pieces(batch):
            if len(samples):
                with reducer.piece(key, len(samples) / len(batch)):
                    torch.manual_seed(1000 * step + key)
                    error = (reducer.network(X[samples]) - Y[samples]).square().sum()
                    (error / len(batch)).backward()
        norms.append(reducer.finish())
        optimiser.step()
    return made, reducer, optimiser, norms


def bits(made: nn.Module, norms) -> bytes:
    return (
        b"".join(tensor.numpy().tobytes() for tensor in made.state_dict().values())
        + np.array(norms).tobytes()
    )


def numbers(state) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().double() for tensor in state.values()])


def alone():
    return join(World(), device="cpu")


@pytest.mark.parametrize(("lanes", "accumulate"), [(8, 1), (12, 2), (4, 3)])
@pytest.mark.parametrize("statistics", [True, False])
def test_parameters_have_the_bits_of_one_rank_after_twenty_steps(statistics, lanes, accumulate, group, world):
    if world.size == 3:
        pytest.skip("3 ranks cannot share a binary tree")
    options = {"statistics": statistics, "lanes": lanes, "accumulate": accumulate}
    found, _, _, norms = train("reproducible", group, **options)
    every = world.allgather(bits(found, norms))
    expected = world.bcast(bits(*train("reproducible", alone(), **options)[::3]) if world.is_root else b"")
    assert all(one == expected for one in every)


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_fast_agrees_with_reproducible_to_rounding_on_any_number_of_ranks(
    statistics, accumulate, group, world
):
    options = {"statistics": statistics, "accumulate": accumulate}
    found, _, _, norms = train("fast", group, **options)
    assert len(set(world.allgather(bits(found, norms)))) == 1
    expected, _, _, expected_norms = train("reproducible", alone(), **options)
    torch.testing.assert_close(
        numbers(found.state_dict()), numbers(expected.state_dict()), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-4)


def test_fast_takes_more_ranks_than_lanes_and_buckets_smaller_than_a_layer(group, monkeypatch):
    monkeypatch.setattr("hpc_ds.learn.buckets.SMALLEST", 200)
    found, reducer, _, _ = train("fast", group, lanes=2)
    assert len(reducer._buckets) > 3
    expected, _, _, _ = train("reproducible", alone(), lanes=2)
    torch.testing.assert_close(
        numbers(found.state_dict()), numbers(expected.state_dict()), rtol=1e-5, atol=1e-5
    )


def test_ranks_that_cannot_share_the_lanes_are_refused(group, world):
    if world.size == 3:
        with pytest.raises(InputError, match=r"3 ranks: --lanes 8 can be shared by 1, 2, 4 or 8 ranks; "):
            make_reducer("reproducible", network(True), group, 8)
    if world.size > 1:
        with pytest.raises(InputError, match=rf"{world.size} ranks: --lanes 7 can be shared by 1 rank"):
            make_reducer("reproducible", network(True), group, 7)


def test_a_gradient_that_is_not_finite_on_one_rank_shows_in_the_norm_on_all(group, world):
    for kind in ("fast", "reproducible", "sharded"):
        if kind == "reproducible" and world.size == 3:
            continue
        made = network(False)
        reducer = make_reducer(kind, made, group, 4)
        for key, samples in reducer.pieces(np.arange(BATCH)):
            with reducer.piece(key, len(samples) / BATCH):
                scale = float("inf") if BATCH - 1 in samples else 1.0
                (reducer.network(X[samples]) * scale).sum().backward()
        assert not np.isfinite(world.allgather(reducer.finish())).any()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_sharded_agrees_with_one_rank_to_rounding(accumulate, group, world):
    _, reducer, optimiser, norms = train("sharded", group, statistics=False, accumulate=accumulate)
    state = reducer.state(optimiser)
    expected, _, _, expected_norms = train("fast", alone(), statistics=False)
    assert len(set(world.allgather(tuple(norms)))) == 1
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-4)
    if world.is_root:
        torch.testing.assert_close(
            numbers(state["network"]), numbers(expected.state_dict()), rtol=1e-5, atol=1e-5
        )
    if world.size > 1:
        parameter = next(reducer.network.parameters())
        assert 0 < parameter.to_local().numel() < parameter.numel() or world.rank > 0


def test_sharded_continues_from_its_whole_state(group, world):
    def state_after(steps, state=None):
        _, reducer, optimiser, _ = train("sharded", group, steps=steps, state=state)
        return world.bcast(copy.deepcopy(reducer.state(optimiser)))

    half = state_after(range(10))
    whole = state_after(range(STEPS))["network"]
    again = state_after(range(10, STEPS), half)["network"]
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_sharded_keeps_running_statistics_alike_on_all_ranks(group, world):
    made, _, _, _ = train("sharded", group)
    mean = made[1].running_mean.numpy().tobytes()
    assert len(set(world.allgather(mean))) == 1
    assert made[1].num_batches_tracked == STEPS
