"""The models agree with what can be said without them, and show what the designs remove."""

import pytest

from hpc_ds.jobs.scaling import infer, learn, simulate
from hpc_ds.jobs.scaling.networks import Network, network
from hpc_ds.jobs.scaling.prediction import Prediction, table

TOFU = network("tofu-d")
IDEAL = Network("ideal", 0.0, float("inf"), float("inf"), 1, 0.0, float("inf"))


@pytest.mark.parametrize("model", [infer, learn, simulate])
@pytest.mark.parametrize("ranks", [128, 1024, 8192])
def test_no_efficiency_is_above_one(model, ranks):
    for predict in (model.predict, model.predict_plain):
        assert 0 < predict(model.Sizes(), TOFU, ranks).efficiency <= 1


@pytest.mark.parametrize("model", [infer, learn, simulate])
def test_losses_and_even_work_make_the_time(model):
    one = model.predict(model.Sizes(), TOFU, 1000)
    assert one.compute == pytest.approx(one.one_rank / 1000)
    assert all(loss >= 0 for loss in one.losses.values())
    assert one.seconds == pytest.approx(one.compute + sum(one.losses.values()))


@pytest.mark.parametrize("model", [infer, learn, simulate])
@pytest.mark.parametrize("name", ["tofu-d", "infiniband"])
def test_the_design_is_far_above_the_plain_one_on_many_ranks(model, name):
    ranks, sizes = 65_536, model.Sizes()
    ours, plain = (predict(sizes, network(name), ranks) for predict in (model.predict, model.predict_plain))
    assert ours.efficiency > 1.3 * plain.efficiency


def test_ladders_that_fit_exchange_without_messages():
    one = infer.predict(infer.Sizes(ladders=64, levels=8), TOFU, 64)
    assert one.losses["the exchange within ladders"] == 0
    assert one.losses["replicas do not divide among the ranks"] == pytest.approx(0)


def test_ranks_above_the_replicas_idle():
    sizes = infer.Sizes(ladders=10, levels=8, noise=0.0, unit=1.0)
    some, more = (infer.predict(sizes, TOFU, ranks).efficiency for ranks in (80, 160))
    assert more == pytest.approx(some / 2, rel=0.02)


def test_ranks_that_no_binary_tree_holds_idle():
    sizes = learn.Sizes(noise=0.0, unit=1.0)
    assert learn.predict(sizes, TOFU, 1000).efficiency == pytest.approx(0.512, rel=0.02)
    assert learn.predict(learn.Sizes(noise=0.0, unit=1.0, reduction="fast"), TOFU, 1000).efficiency > 0.95


def test_the_sum_of_gradients_approaches_its_bytes():
    """2 (1 - 1/P) bytes each way over one link, and nothing else, as latencies vanish."""
    alone = Network("link", 0.0, 1e6, 1e6, 1, 0.0, 1e6)
    sizes = learn.Sizes(weights=1_000_000, batch=64)
    found = learn.predict(sizes, alone, 64).losses["the sum of gradients"]
    assert found == pytest.approx(2 * 4e6 * (1 - 1 / 64) / 1e6, rel=1e-3)


def test_a_batch_that_grows_keeps_the_time_of_a_step():
    sizes = learn.Sizes(weak=True, batch=8192, noise=0.0)
    few, many = (learn.predict(sizes, IDEAL, ranks) for ranks in (1024, 65_536))
    assert many.compute == pytest.approx(few.compute, rel=0.05)


def test_one_scheduler_limits_what_several_do_not():
    sizes = simulate.Sizes(unit=60.0)
    plain = simulate.predict_plain(sizes, TOFU, 100_000)
    assert plain.limit[0] == "the scheduler hands out orders"
    # 3 ms an order: it must hand out a million or so, in 1200 s in which the workers could compute all samples
    assert simulate.orders(sizes.samples, 100_000, sizes.unit) * simulate.ORDER > 1200
    assert plain.efficiency < 0.5 < 0.9 < simulate.predict(sizes, TOFU, 100_000).efficiency


def test_the_table_names_what_costs_most():
    one = Prediction(10, 100.0, 10.0, {"this": 1.0, "that": 4.0})
    assert one.limit == ("that", pytest.approx(4 / 15))
    assert one.efficiency == pytest.approx(10 / 15)
    lines = table([one], [one], "plain")
    assert "66.7 %" in lines[1] and "that (26.7 %)" in lines[1]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((infer, "SEGMENT"), ("hpc_ds.infer.sampler", "_SEGMENT_SECONDS")),
        ((infer, "SCRIBE"), ("hpc_ds.infer.sampler", "RANKS_OF_A_SCRIBE")),
        ((learn, "BUCKETS"), ("hpc_ds.learn.buckets", "BUCKETS")),
        ((learn, "SAFE_POINT"), ("hpc_ds.learn.pace", "EVERY")),
        ((simulate, "RANKS_EACH"), ("hpc_ds.simulate.shares", "RANKS_EACH")),
        ((simulate, "TARGET"), ("hpc_ds.simulate.batches", "TARGET")),
        ((simulate, "ORDERS_A_SECOND"), ("hpc_ds.simulate.batches", "_WORKERS_PER_SECOND")),
    ],
)
def test_constants_are_those_of_the_engines(ours, theirs):
    """The model imports no engine, as those import numba, torch or Dask: so its copies are compared here."""
    import importlib

    assert getattr(*ours) == getattr(importlib.import_module(theirs[0]), theirs[1])
