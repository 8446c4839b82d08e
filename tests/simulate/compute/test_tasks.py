"""Runs that share a worker keep their hands off each other's compute processes, and none keeps its own for ever."""

import threading
from dataclasses import replace
from typing import ClassVar

import pytest

from hpc_ds.simulate import tasks
from hpc_ds.simulate.orders import Order, Report


class Crew:
    """Compute processes of which only is told what happens to them."""

    made: ClassVar[list["Crew"]] = []

    def __init__(self, folder, session, processes):
        self.name, self.closed = f"{folder}/{session}", False
        self.waits, self.let_go = threading.Event(), threading.Event()
        self.made.append(self)

    def run(self, order):
        if order.indices == (0,):
            self.waits.set()
            assert self.let_go.wait(10)
        return Report(worker=self.name)

    def close(self):
        self.closed = True


@pytest.fixture
def made(monkeypatch):
    """Return the crews that were made, in their order."""
    tasks.close()
    monkeypatch.setattr(tasks, "Pool", Crew)
    monkeypatch.setattr(Crew, "made", [])
    yield Crew.made
    tasks.close()


def order(folder, session="s", indices=(1,)):
    return Order(folder, session, indices)


def test_runs_that_share_a_worker_have_processes_of_their_own(made):
    answers = [tasks.run_order(order(folder)).worker for folder in "abab"]
    assert answers == ["a/s", "b/s"] * 2
    assert len(made) == 2 and not any(crew.closed for crew in made)


def test_the_end_of_one_run_leaves_the_processes_of_the_others(made):
    for folder in "ab":
        tasks.run_order(order(folder))
    tasks.close("a", "s")
    tasks.close("a", "s")
    assert [crew.closed for crew in made] == [True, False]


def test_a_new_session_of_a_run_closes_the_processes_of_the_old_one(made):
    for folder, session in (("a", "old"), ("b", "old"), ("a", "new")):
        tasks.run_order(order(folder, session))
    assert [crew.closed for crew in made] == [True, False, False]


def test_processes_that_were_started_before_are_used(made):
    tasks.prestart("a", "s", 2)
    assert tasks.run_order(order("a")).worker == "a/s" and len(made) == 1


def test_idle_processes_are_closed_and_busy_ones_are_not(made):
    tasks.run_order(order("a"))
    busy = threading.Thread(target=tasks.run_order, args=(order("b", indices=(0,)),))
    busy.start()
    assert made[1].waits.wait(10)
    tasks.close_idle(1000.0)
    assert not made[0].closed
    tasks.close_idle(0.0)
    assert [crew.closed for crew in made] == [True, False]
    made[1].let_go.set()
    busy.join()
    tasks.close_idle(0.0)
    assert made[1].closed


def test_after_they_were_closed_for_idleness_an_order_starts_new_ones(made):
    tasks.run_order(order("a"))
    tasks.close_idle(0.0)
    tasks.run_order(order("a"))
    assert [crew.closed for crew in made] == [True, False]


def test_an_installed_crew_takes_the_orders_and_is_never_idle(made):
    own = Crew("own", "crew", 1)
    tasks.install("a", "s", own)
    tasks.close_idle(0.0)
    assert tasks.run_order(order("a")).worker == "own/crew"
    tasks.close()
    assert own.closed and made == [own]


def test_an_error_does_not_keep_processes_busy(made, monkeypatch):
    def fail(self, order):
        raise OSError("full")

    monkeypatch.setattr(Crew, "run", fail)
    with pytest.raises(OSError, match="full"):
        tasks.run_order(order("a"))
    tasks.close_idle(0.0)
    assert made[0].closed


def test_two_runs_on_one_worker_really_compute(make_run):
    runs = [make_run(["fine", "fine"]) for _ in range(2)]
    for run in runs:
        tasks.prestart(str(run.path), "test", 1)
    try:
        for index in (0, 1):
            for run in runs:
                report = tasks.run_order(replace(run.order, indices=(index,)))
                assert [done for done, _ in report.done] == [index]
        assert [len(list((run.path / "journal").iterdir())) for run in runs] == [1, 1]
    finally:
        tasks.close()
