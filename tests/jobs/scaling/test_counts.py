"""Counted in closed form: what the model says of sizes that the engines themselves know."""

import pickle

import numpy as np
import pytest

from hpc_ds.jobs.scaling import counts, simulate
from hpc_ds.jobs.scaling.counting import CountingComm


class Comm:
    """Stands for MPI's."""

    def Get_rank(self):  # noqa: N802
        return 0

    def bcast(self, value):
        return value

    def Allgatherv(self, send, receive):  # noqa: N802
        pass

    def Allreduce(self, send, receive, operation=None):  # noqa: N802
        pass

    def Create_group(self, group):  # noqa: N802
        return Comm()

    def Get_size(self):  # noqa: N802
        return 1


def test_buffers_count_by_their_bytes_and_objects_by_their_pickle():
    comm = CountingComm(Comm())
    comm.Allgatherv(np.zeros(3), [np.zeros(6)])
    comm.Allreduce(1, np.zeros(1, np.int32))
    assert comm.bcast({"a": 1}) == {"a": 1}
    assert comm.calls == {"Allgatherv": 1, "Allreduce": 1, "bcast": 1}
    assert comm.sent == {"Allgatherv": 24, "Allreduce": 4, "bcast": len(pickle.dumps({"a": 1}))}


def test_communicators_made_from_it_count_into_the_same_place():
    comm = CountingComm(Comm())
    comm.Create_group(None).bcast(None)
    assert comm.calls == {"Create_group": 1, "bcast": 1}
    assert comm.Get_size() == 1 and "Get_size" not in comm.calls


def test_the_bytes_of_a_draw_are_those_of_the_engine():
    from hpc_ds.infer.explorers import Record

    record = Record.empty(7, levels=5, parameters=3)
    size = record.energies.nbytes + record.draws.nbytes + record.log_prior.nbytes
    assert size == 7 * counts.draw_bytes(5, 3)


def test_the_bytes_of_a_state_are_those_of_the_engine():
    from hpc_ds.infer import ensemble, priors
    from hpc_ds.infer.explorers import columns_of
    from hpc_ds.infer.model import Model
    from hpc_ds.infer.settings import Settings

    prior = {name: priors.normal(0.0, 1.0) for name in "abc"}
    model = Model("m", prior, lambda theta, data: -float(theta @ theta), form="python")
    one = ensemble.begin(model, 0, 0, Settings(replicas=6))
    sent = [one.theta, one.stream, *one.ladder, *one.counts]
    expected = counts.state_bytes(6, 3, columns_of(model))
    assert sum(array.nbytes for array in sent) == expected


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_the_flat_vector_has_the_length_of_the_engines(ranks):
    import torch
    from torch import nn

    from hpc_ds.learn.flat import Layout

    parameters = [nn.Parameter(torch.zeros(size)) for size in (330, 17, 3)]
    assert counts.flat_length([330, 17, 3], 5, ranks) == Layout(parameters, 5, ranks).length


def test_the_reproducible_sum_sends_the_bytes_of_a_ring():
    assert counts.reproducible_bytes(1024, 8) == 2 * 4 * 1024 * 7 // 8
    assert counts.reproducible_calls(3, 8) == {"Sendrecv": 18}
    assert not counts.reproducible_calls(3, 1)


@pytest.mark.parametrize(
    ("samples", "slots", "unit"), [(5000, 4, 0.02), (300, 7, 0.3), (40, 16, 2.0), (999, 300, 0.5)]
)
def test_orders_are_as_many_as_the_engine_cuts(samples, slots, unit):
    from hpc_ds.simulate.batches import Batches
    from hpc_ds.simulate.dispatch import AHEAD

    batches, number = Batches(range(samples), 1), 0
    while batches:
        batches.take(None if number < AHEAD * slots else unit, slots)
        number += 1
    assert simulate.orders(samples, slots, unit) == number
