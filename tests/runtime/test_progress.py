"""Progress is shown to people and recorded for programs, and never in the way."""

import io
import json
import resource
import sys

import pytest

from hpc_ds.runtime import progress
from hpc_ds.runtime.progress import Progress, read_progress
from hpc_ds.runtime.world import World


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def time(self):
            return self.now

    fake = Clock()
    monkeypatch.setattr(progress, "time", fake)
    return fake


@pytest.fixture
def path(tmp_path):
    return tmp_path / "progress.jsonl"


def test_at_most_a_line_a_second_is_recorded_and_the_last_one_always(clock, path):
    with Progress(World(), path, 100, "K=3") as shown:
        for done in range(1, 31):
            clock.now += 0.1
            shown.update(done, swap=0.5)
    lines = read_progress(path)
    assert [line["done"] for line in lines] == [1, 11, 21, 30]
    assert lines[0] == {"swap": 0.5, "time": 1000.1, "label": "K=3", "done": 1, "total": 100}


def test_a_plain_line_a_minute_with_the_time_left(clock, path, capsys):
    with Progress(World(), path, 1000, "tuning") as shown:
        for done in range(1, 151):
            clock.now += 1.0
            shown.update(done, barrier=4.23456)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "tuning: 60 of 1000 (6 %), 15 min 40 s left, barrier 4.235",
        "tuning: 120 of 1000 (12 %), 14 min 40 s left, barrier 4.235",
        "tuning: 150 of 1000 (15 %), 14 min 10 s left, barrier 4.235",
    ]


def test_what_earlier_sessions_did_is_no_speed_of_this_one(clock, capsys):
    with Progress(World(), None, 1000, "sampling", done=900) as shown:
        clock.now += 60.0
        shown.update(950)
    assert "1 min left" in capsys.readouterr().err


def test_an_unknown_total_is_no_error(clock, path, capsys):
    with Progress(World(), path, None, "waiting") as shown:
        shown.update(7)
    assert capsys.readouterr().err == "waiting: 7\n" and read_progress(path)[-1]["total"] is None


def test_other_ranks_are_silent(path, capsys):
    other = World()
    other.rank = 1
    with Progress(other, path, 10, "x") as shown:
        shown.update(5)
    assert not path.exists() and capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress(World(), path, 10, "K=[3]") as shown:
        shown.update(10, swap=0.25)
    text = terminal.getvalue()
    assert "K=[3]" in text and "10/10" in text and "swap 0.25" in text


def test_a_torn_last_line_does_not_spoil_the_next(path):
    path.write_text('{"done": 1}\n{"done": 2, "to')
    with Progress(World(), path, 10, "x") as shown:
        shown.update(3)
    assert [line["done"] for line in read_progress(path)] == [1, 3]


def test_not_a_number_is_recorded_as_null(path):
    with Progress(World(), path, 10, "x") as shown:
        shown.update(1, loss=float("nan"))
    assert json.loads(path.read_text())["loss"] is None


def test_no_file_is_no_progress(path):
    assert read_progress(path) == []


def test_a_full_disk_is_told_once_and_the_work_goes_on(clock, path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    shown = Progress(World(), path, 10, "x")
    shown.update(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, limits[1]))
    try:
        for done in (2, 3, 4):
            clock.now += 2.0
            shown.update(done)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    clock.now += 2.0
    shown.update(5)
    shown.close()
    assert [line["done"] for line in read_progress(path)] == [1, 5]
    assert capsys.readouterr().err.count("the work goes on") == 1
