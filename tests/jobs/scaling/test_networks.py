"""Messages cost what Hockney's model says, and collective calls what their rounds do."""

import pytest

from hpc_ds.jobs.scaling.networks import NETWORKS, PYTHON, network
from hpc_ds.runtime.errors import InputError

TOFU = NETWORKS["tofu-d"]


def test_a_message_costs_latency_and_bytes_of_the_ranks_share():
    share = 38.1e9 / 48
    assert TOFU.message(1e6, distance=48) == pytest.approx(PYTHON + 1.2e-6 + 1e6 / share)


def test_ranks_of_a_node_do_not_use_the_network():
    assert TOFU.message(8, distance=1) < TOFU.message(8, distance=48)


def test_a_rank_alone_on_its_node_is_bound_by_one_link():
    assert network("tofu-d", ranks_per_node=1).bandwidth == 6.35e9


def test_rounds_between_nodes_are_those_that_do_not_fit_into_one():
    four = network("tofu-d", ranks_per_node=4)
    assert four.rounds(16) == pytest.approx(2 * four.inner_latency + 2 * four.latency)
    assert four.rounds(1) == 0.0


def test_an_all_to_all_has_one_latency_a_rank_and_an_all_reduce_two_a_doubling():
    one = network("tofu-d", ranks_per_node=1)
    assert one.all_to_all(1025, 0.0) == pytest.approx(PYTHON + 1024 * one.latency)
    assert one.all_reduce(1024, 0.0) == pytest.approx(PYTHON + 20 * one.latency)


@pytest.mark.parametrize("call", ["all_reduce", "all_gather", "all_to_all", "broadcast", "gather"])
def test_a_rank_alone_sends_nothing(call):
    assert getattr(TOFU, call)(1, 1e9) == 0.0


def test_every_figure_says_where_it_is_from():
    for each in NETWORKS.values():
        assert each.sources
        for _, source in each.sources:
            assert source.split(":")[0].split(" ")[0] in ("published", "measured", "assumed")


def test_an_unknown_network_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'tofu-d'"):
        network("tofu-e")
