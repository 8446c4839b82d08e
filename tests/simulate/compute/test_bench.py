"""Samples are computed in units, tried again, set aside and recorded, here without processes and files."""

import time

import numpy as np
import pytest
import zoo  # found by conftest.py

from hpc_ds.runtime.errors import StorageError
from hpc_ds.runtime.random import stream
from hpc_ds.simulate.bench import Bench
from hpc_ds.simulate.simulator import Retry, Simulator, Skip, Stop
from hpc_ds.store.layout import FieldError


class Given:
    """Samples with given answers instead of a run folder."""

    layout = zoo.LAYOUT

    def __init__(self, answers, simulator=zoo.block):
        self.answers, self.simulator = answers, simulator

    def parameters(self, index):
        return {"a": float(index), "what": self.answers.get(index, "fine")}

    def rng(self, index):
        return stream(1, index)

    def seed_globals(self, number):
        np.random.seed(number)


class Kept:
    """A recorder that keeps what it is given."""

    def __init__(self):
        self.bytes, self.aside = {}, {}

    def record(self, index, fields, seconds, started):
        self.bytes[index] = zoo.LAYOUT.checked(fields)["u"].tobytes()

    def set_aside(self, sample):
        self.aside[sample.index] = sample


class Trial:
    def __init__(self, tmp_path, answers=None, simulator=zoo.block):
        self.kept, self.events = Kept(), []
        self.bench = Bench(Given(answers or {}, simulator), self.kept, self.say, tmp_path / "log")

    def say(self, *event, now=False):
        self.events.append(event)

    def work(self, units, ends_at=None, expected=0.0, retries=0, aside=()):
        self.bench.work(aside, units, ends_at, expected, retries, False)

    def told(self, name):
        return [event[1:] for event in self.events if event[0] == name]


@pytest.fixture
def trial(tmp_path):
    return lambda *args, **options: Trial(tmp_path, *args, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the bytes of a full block of samples."""
    trial = Trial(tmp_path_factory.mktemp("whole"))
    trial.work([[0, 1, 2, 3], [4, 5, 6, 7]])
    return trial.kept.bytes


@pytest.mark.parametrize("units", [[[0, 1, 2, 3]], [[2], [0, 3], [1]], [[3, 1]], [[4, 5], [6], [1]]])
def test_bytes_of_a_sample_do_not_depend_on_the_units(units, trial, whole):
    one = trial()
    one.work(units)
    assert sorted(one.kept.bytes) == sorted(index for unit in units for index in unit)
    assert all(whole[index] == value for index, value in one.kept.bytes.items())


@pytest.mark.parametrize("answer", ["raises", "nan", "shape", "missing", "skips"])
def test_a_bad_lane_loses_only_itself(answer, trial, whole):
    one = trial({1: answer})
    one.work([[0, 1, 2, 3]])
    assert one.kept.bytes == {index: whole[index] for index in (0, 2, 3)}
    assert list(one.kept.aside) == [1]


RETURNED = {
    "no answer": (ValueError("no answer"), "raised", "ValueError: no answer"),
    "no state": (Skip("no steady state"), "skipped", "no steady state"),
    "no network": (Retry("the network is down"), "gave up", "the network is down"),
    "no field": (FieldError("field 'u' diverged"), "invalid", "field 'u' diverged"),
    "no table": (Stop("the table is missing"), "stop", "the table is missing"),
}


def returning(errors):
    """Return a block simulator whose lanes hold exceptions: `errors` by word, each a list that is used up."""

    def lanes(parameters, rngs):
        return [
            errors[one["what"]].pop(0) if errors.get(one["what"]) else zoo.fields(one, rng)
            for one, rng in zip(parameters, rngs, strict=True)
        ]

    return Simulator("zoo", None, zoo.LAYOUT, simulate_block=lanes, block=4)


@pytest.mark.parametrize("answer", ["no answer", "no state", "no network", "no field"])
def test_an_exception_that_a_lane_holds_fails_that_sample_alone(answer, trial):
    error, kind, message = RETURNED[answer]
    one = trial({1: answer}, simulator=returning({answer: [error]}))
    one.work([[0, 1, 2, 3], [4, 5, 6, 7]])
    assert one.told("failed") == [(1, kind, message)]
    assert sorted(one.kept.bytes) == [0, 2, 3, 4, 5, 6, 7]


def test_a_stop_that_a_lane_holds_is_told_with_its_own_sample(trial):
    error, kind, message = RETURNED["no table"]
    one = trial({2: "no table"}, simulator=returning({"no table": [error]}))
    one.work([[0, 1, 2, 3], [4, 5]])
    assert one.told("failed") == [(2, kind, message)]
    assert sorted(one.kept.bytes) == [0, 1, 3], "what was computed is kept"
    assert one.told("left") == [([4, 5],)]
    assert one.kept.aside == {}


def test_a_passing_reason_that_a_lane_holds_is_tried_again_alone(trial, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    one = trial({1: "busy"}, simulator=returning({"busy": [Retry("busy")]}))
    one.work([[0, 1, 2, 3]], retries=2)
    assert [event[0] for event in one.told("start")] == [[0, 1, 2, 3], [1]]
    assert sorted(one.kept.bytes) == [0, 1, 2, 3]


def test_a_passing_reason_that_stays_is_given_up(trial, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    one = trial({1: "busy"}, simulator=returning({"busy": [Retry("busy")] * 99}))
    one.work([[0, 1]], retries=2)
    assert one.told("failed") == [(1, "gave up", "busy")]
    assert one.kept.aside[1].attempts == 3
    assert list(one.kept.bytes) == [0]


def test_a_block_that_returns_too_few_samples_is_invalid(trial):
    short = Simulator("zoo", None, zoo.LAYOUT, simulate_block=lambda *_: [], block=4)
    one = trial(simulator=short)
    one.work([[0, 1]])
    assert [sample.kind for sample in one.kept.aside.values()] == ["invalid", "invalid"]


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ("raises", "raised", "ValueError: no good"),
        ("skips", "skipped", "no steady state"),
        ("retries", "gave up", "the network is down"),
        ("cannot open", "raised", "OSError: no licence"),
        ("nan", "invalid", "field 'u' holds 16 of 16 values that are NaN or infinite"),
        ("shape", "invalid", "field 'u' has shape (3, 8): (2, 8) is declared"),
        ("missing", "invalid", "field 'u' is declared but was not returned"),
    ],
)
def test_failures_are_told_by_kind_and_in_one_line(answer, kind, message, trial):
    one = trial({5: answer}, simulator=zoo.single)
    one.work([[5], [6]])
    assert one.told("failed") == [(5, kind, message)]
    assert list(one.kept.bytes) == [6]


@pytest.mark.parametrize(
    ("answer", "attempts"), [("cannot open", 3), ("retries", 3), ("raises", 1), ("nan", 1)]
)
def test_only_passing_reasons_are_tried_again(answer, attempts, trial, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    one = trial({0: answer}, simulator=zoo.single)
    one.work([[0]], retries=2)
    assert one.kept.aside[0].attempts == attempts == len(one.told("start"))


def test_traceback_begins_in_the_simulator(trial):
    one = trial({0: "raises"}, simulator=zoo.single)
    one.work([[0]])
    assert "zoo.py" in one.kept.aside[0].traceback
    assert "bench.py" not in one.kept.aside[0].traceback


def test_no_sample_is_blamed_for_a_full_disk(trial):
    one = trial({0: "fills the disk"}, simulator=zoo.single)
    with pytest.raises(StorageError, match="/scratch/mesh"):
        one.work([[0], [1]])
    assert one.kept.aside == {}


def test_stop_leaves_the_rest(trial):
    one = trial({1: "stops"}, simulator=zoo.single)
    one.work([[0], [1], [2], [3]])
    assert one.told("failed") == [(1, "stop", "the table of opacities is missing")]
    assert one.told("left") == [([2, 3],)]
    assert one.kept.aside == {}


def test_global_random_numbers_belong_to_the_sample(trial):
    answers = dict.fromkeys(range(4), "global numbers")
    forth, back = (trial(answers, simulator=zoo.single) for _ in range(2))
    forth.work([[0], [1], [2], [3]])
    back.work([[3], [2], [1], [0]])
    assert forth.kept.bytes == back.kept.bytes
    assert len(set(forth.kept.bytes.values())) == 4


def test_nothing_is_started_that_would_not_end_in_time(trial):
    one = trial(simulator=zoo.single)
    one.work([[0], [1]], ends_at=time.time() + 50.0, expected=60.0)
    assert one.told("left") == [([0, 1],)]
    assert one.kept.bytes == {}


def test_the_first_sample_is_started_if_any_time_is_left(trial):
    one = trial({0: "takes long"}, simulator=zoo.single)
    one.work([[0], [1]], ends_at=time.time() + 0.35)
    assert list(one.kept.bytes) == [0]
    assert one.told("left") == [([1],)]


def test_what_took_its_process_along_is_set_aside_with_its_log(trial):
    one = trial()
    one.work([], aside=[(7, "exited", "it crashed", "last words", 3)])
    sample = one.kept.aside[7]
    assert (sample.kind, sample.log, sample.attempts, sample.parameters["a"]) == (
        "exited",
        "last words",
        3,
        7.0,
    )
    assert one.told("failed") == [(7, "exited", "it crashed")]


def test_the_time_of_a_pause_is_nobodys(trial, monkeypatch):
    """The clock of the babysitter stops when a simulation ends, also by an exception."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    one = trial({0: "retries"}, simulator=zoo.single)
    one.work([[0]], retries=1)
    assert [event[0] for event in one.events[:4]] == ["start", "computed", "start", "computed"]
