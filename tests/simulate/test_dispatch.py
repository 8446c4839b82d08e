"""The client's loop against a cluster that lives, dies, lies and runs out of time."""

import queue
import threading
import time
from types import SimpleNamespace

import pytest

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.world import World
from hpc_ds.simulate.dispatch import HOPELESS, LOST, Dispatch, Halt
from hpc_ds.simulate.orders import Failure, Order, Report


class KilledWorker(Exception):
    """Named as Dask's."""


class Future:
    def __init__(self, work, order):
        self.status, self._work, self._order = "pending", work, order

    def add_done_callback(self, callback):
        self._callback = callback

    def finish(self):
        try:
            self._result, self.status = self._work(self._order), "finished"
        except Exception as error:
            self._error, self.status = error, "error"
        self._callback(self)

    def result(self):
        if self.status == "error":
            raise self._error
        return self._result


class FakeCluster:
    """Works orders off in a thread of its own, one after the other."""

    def __init__(self, slots=2, trouble=None):
        self.client, self._slots, self._trouble = self, slots, trouble
        self.orders, self.most = [], 0
        self._waiting = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def slots(self):
        return self._slots

    def trouble(self):
        return self._trouble

    def submit(self, run, order, **_):
        future = Future(run, order)
        self.orders.append(order)
        self._waiting.put(future)
        self.most = max(self.most, self._waiting.qsize())
        return future

    def _serve(self):
        while True:
            future = self._waiting.get()
            while not hasattr(future, "_callback"):
                pass
            future.finish()


class FakeLedger:
    def __init__(self):
        self.settled, self.aside = set(), []

    def refresh(self):
        return self.settled

    def set_aside(self, failure):
        self.settled.add(failure.index)
        self.aside.append(failure)


@pytest.fixture
def dispatch(tmp_path):
    def make(run, cluster=None, deadline=None, block=1):
        ledger = FakeLedger()
        progress = Progress(World(), None, 100, "test")
        template = Order(str(tmp_path), "s", ())
        made = Dispatch(
            cluster or FakeCluster(),
            template,
            block,
            ledger,
            deadline or Deadline(None, environ={}),
            progress,
            0,
            run,
        )
        return SimpleNamespace(work_off=made.work_off, tally=made.tally, ledger=ledger)

    return make


def all_done(order):
    return Report(done=[(index, 0.01) for index in order.indices])


def test_all_samples_are_done(dispatch):
    run = dispatch(all_done)
    assert run.work_off(range(100))
    assert run.tally.done == 100 and run.tally.lost == 0 and run.tally.stopped is None
    assert run.tally.seconds == pytest.approx(1.0)


def test_no_more_orders_are_at_hand_than_twice_the_compute_processes(dispatch):
    cluster = FakeCluster(slots=3)
    assert dispatch(all_done, cluster).work_off(range(200))
    assert cluster.most <= 6


def test_failures_are_counted_and_do_not_end_the_work(dispatch):
    def run(order):
        return Report(
            done=[(index, 0.1) for index in order.indices if index % 10],
            failed=[Failure(index, "raised", "no") for index in order.indices if index % 10 == 0],
        )

    made = dispatch(run)
    assert made.work_off(range(40))
    assert made.tally.done == 36
    assert sorted(failure.index for failure in made.tally.failed) == [0, 10, 20, 30]


def test_what_a_dead_worker_journalled_is_not_ordered_again(dispatch):
    seen = []

    def run(order):
        seen.extend(order.indices)
        if order.indices == (7,) and seen.count(7) == 1:
            raise KilledWorker
        if 3 in order.indices and seen.count(3) == 1:
            made.ledger.settled.add(3)
            raise KilledWorker
        return all_done(order)

    made = dispatch(run, FakeCluster(slots=50))
    assert made.work_off(range(10))
    assert seen.count(3) == 1, "it was journalled before its worker died"
    assert seen.count(7) == 2
    assert made.tally.done == 10 and made.tally.lost == 1


def test_a_sample_whose_workers_always_die_is_set_aside(dispatch):
    seen = []

    def run(order):
        seen.extend(order.indices)
        if 4 in order.indices:
            raise KilledWorker
        return all_done(order)

    made = dispatch(run)
    assert made.work_off(range(8))
    assert seen.count(4) == LOST
    assert [failure.index for failure in made.ledger.aside] == [4]
    assert made.tally.done == 7


@pytest.mark.parametrize("error", [InputError("my.py: no"), StorageError(28, "full", "x"), ValueError("bug")])
def test_what_all_samples_share_ends_the_work(dispatch, error):
    def run(order):
        raise error

    with pytest.raises(type(error), match=str(error).split(":")[0][:5]):
        dispatch(run).work_off(range(8))


def test_a_simulator_that_says_stop_ends_the_run(dispatch):
    def run(order):
        return Report(failed=[Failure(order.indices[0], "stop", "no licence")])

    with pytest.raises(Halt, match="simulator said Stop: no licence"):
        dispatch(run).work_off(range(8))


def test_a_run_without_hope_ends_before_it_has_tried_all(dispatch):
    def run(order):
        return Report(
            failed=[Failure(index, "invalid", "field 'u' has shape (2,)") for index in order.indices]
        )

    made = dispatch(run)
    with pytest.raises(Halt, match=r"all failed alike \(invalid: field 'u' has shape \(2,\)\)"):
        made.work_off(range(100 * HOPELESS))
    assert len(made.tally.failed) < 2 * HOPELESS


def test_samples_that_fail_for_different_reasons_do_not_end_the_run(dispatch):
    def run(order):
        return Report(failed=[Failure(index, "raised", f"index {index}") for index in order.indices])

    assert dispatch(run).work_off(range(3 * HOPELESS))


def test_workers_that_cannot_start_end_the_work(dispatch):
    with pytest.raises(Halt, match="workers cannot start: no module"):
        dispatch(all_done, FakeCluster(slots=0, trouble="no module")).work_off(range(3))


def test_nothing_is_begun_that_would_not_end_in_time(dispatch):
    def run(order):
        return Report(done=[(index, 50.0) for index in order.indices])

    cluster = FakeCluster(slots=1)
    made = dispatch(run, cluster, Deadline(60.0, environ={}))
    assert not made.work_off(range(100))
    assert made.tally.stopped == "no sample more would end in the time that is left"
    assert made.tally.done < 10, "samples of 62.5 s do not fit into 60 s once that is known"


def test_orders_carry_the_end_of_the_time(dispatch):
    cluster = FakeCluster(slots=1)
    dispatch(all_done, cluster, Deadline(1000.0, environ={})).work_off(range(3))
    assert all(order.ends_at is not None for order in cluster.orders)
    cluster = FakeCluster(slots=1)
    dispatch(all_done, cluster).work_off(range(3))
    assert all(order.ends_at is None for order in cluster.orders)


def test_what_workers_leave_for_lack_of_time_stops_the_run(dispatch):
    def run(order):
        return Report(done=[(order.indices[0], 0.1)], left=list(order.indices[1:]))

    made = dispatch(run, FakeCluster(slots=1), block=4)
    assert not made.work_off(range(12))
    assert made.tally.done >= 1


def test_a_signal_ends_the_work_within_seconds_although_much_time_is_left(dispatch, monkeypatch):
    monkeypatch.setattr("hpc_ds.simulate.dispatch._GRACE", 0.3)
    deadline = Deadline(3600.0, environ={})

    def run(order):
        deadline.stop("signal SIGTERM")
        time.sleep(20)
        return all_done(order)

    start = time.monotonic()
    assert not dispatch(run, FakeCluster(slots=1), deadline).work_off(range(100))
    assert time.monotonic() - start < 10, "it does not wait for what is at work"


def test_a_signal_ends_the_work(dispatch):
    deadline = Deadline(None, environ={})

    def run(order):
        if 20 in order.indices:
            deadline.stop("signal SIGTERM")
        return all_done(order)

    made = dispatch(run, FakeCluster(slots=1), deadline)
    assert not made.work_off(range(10**4))
    assert made.tally.stopped == "signal SIGTERM"
    assert made.tally.done < 10**4
