"""Steps come in order and complete, errors of the thread reach the consumer, and nothing is left behind."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch

from hpc_ds.learn.feeder import Feeder
from hpc_ds.runtime.errors import InputError


class Squares:
    """A data set whose input is the sample's number and whose target is its square."""

    task = "fields"
    input_shape, target_shape = (1, 4), (2, 4)

    def __init__(self, bad=None, seconds=0.0):
        self.bad, self.seconds, self.reads = bad, seconds, []

    def read(self, samples, inputs, targets=None):
        self.reads.append(len(samples))
        time.sleep(self.seconds)
        if self.bad is not None and self.bad in samples:
            raise InputError(f"sample {self.bad} cannot be read")
        inputs[...] = samples[:, None, None]
        if targets is not None:
            targets[...] = (samples**2)[:, None, None]


class Classes(Squares):
    task = "classify"
    target_shape = (3,)

    def read(self, samples, inputs, targets=None):
        inputs[...] = samples[:, None, None]
        targets[...] = samples % 3


def steps(count, lanes=3, size=8):
    order = np.random.default_rng(1).permutation(count * size)
    return [np.array_split(order[step * size : (step + 1) * size], lanes) for step in range(count)]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "hpc-ds feeder"]


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_all_pieces_come_in_order(prefetch):
    feeder = Feeder(Squares(), "cpu", prefetch)
    plan = steps(20)
    for _ in range(2):  # its memory serves several epochs
        seen = 0
        for pieces, pairs in zip(plan, feeder.batches(plan, 1)):
            assert [len(x) for x, _ in pairs] == [len(piece) for piece in pieces]
            for piece, (x, y) in zip(pieces, pairs):
                assert torch.equal(x[:, 0, 0], torch.from_numpy(piece).float())
                assert torch.equal(y[:, 1, 3], torch.from_numpy(piece**2).float())
            seen += 1
        assert seen == 20
        assert not threads()


def test_steps_and_pieces_may_have_any_size():
    plan = [
        [np.arange(3), np.arange(0)],
        [],
        [np.arange(50)],
        [np.array([7])],
    ]
    sizes = [[len(x) for x, _ in pairs] for pairs in Feeder(Squares(), "cpu", 2).batches(plan, 1)]
    assert sizes == [[3, 0], [], [50], [1]]


def test_classes_are_integers_and_fields_as_wanted():
    (x, y), *_ = next(iter(Feeder(Classes(), "cpu", 2, dtype=torch.float64).batches(steps(1), 1)))
    assert (x.dtype, y.dtype, y.ndim) == (torch.float64, torch.int64, 1)


def test_a_step_is_not_overwritten_before_the_next_is_asked_for():
    dataset = Squares()
    feeder = Feeder(dataset, "cpu", 2)
    plan = steps(6)
    for pieces, pairs in zip(plan, feeder.batches(plan, 1)):
        time.sleep(0.01)  # the thread has read all that it may
        assert torch.equal(pairs[0][0][:, 0, 0], torch.from_numpy(pieces[0]).float())


def test_it_reads_no_further_ahead_than_it_may():
    dataset = Squares()
    batches = Feeder(dataset, "cpu", 3).batches(steps(20), 1)
    next(batches)
    deadline = time.monotonic() + 10
    while len(dataset.reads) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(dataset.reads) == 4
    batches.close()


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_error_comes_where_its_step_is_asked_for(prefetch):
    plan = steps(10)
    bad = int(plan[4][1][0])
    seen = 0
    with pytest.raises(InputError, match=f"sample {bad} cannot be read"):
        for _ in Feeder(Squares(bad), "cpu", prefetch).batches(plan, 1):
            seen += 1
    assert seen == 4
    assert not threads()


def test_an_error_of_the_plan_comes_too():
    def plan():
        yield [np.arange(4)]
        raise ZeroDivisionError

    batches = Feeder(Squares(), "cpu", 2).batches(plan(), 1)
    next(batches)
    with pytest.raises(ZeroDivisionError):
        next(batches)


def test_whoever_stops_early_leaves_no_thread():
    batches = Feeder(Squares(), "cpu", 3).batches(([np.arange(4)] for _ in itertools.count()), 1)
    for _ in range(5):
        next(batches)
    assert len(threads()) == 1
    batches.close()
    assert not threads()


def test_augmentation_sees_samples_and_epoch():
    def augment(samples, epoch, inputs, targets):
        inputs += 1000 * epoch
        targets -= samples[:, None, None]

    pieces = [np.array([3, 5])]
    ((x, y),) = next(Feeder(Squares(), "cpu", 2, augment).batches([pieces], 7))
    assert x[:, 0, 0].tolist() == [7003, 7005]
    assert y[:, 0, 0].tolist() == [6, 20]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_steps_travel_to_the_device():
    plan = steps(50, size=4096)
    work = torch.randn(2048, 2048, device="cuda")
    for pieces, pairs in zip(plan, Feeder(Squares(), "cuda", 3).batches(plan, 1)):
        work = (work @ work).clamp(-1.0, 1.0)
        for piece, (x, y) in zip(pieces, pairs):
            assert x.device.type == "cuda"
            assert torch.equal(x[:, 0, 0].cpu(), torch.from_numpy(piece).float())
            assert torch.equal(y[:, 0, 0].cpu(), torch.from_numpy(piece**2).float())
