"""Work stops in time, for every kind of limit and for signals."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hpc_ds.runtime.deadline import Deadline, parse_duration
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

INTERRUPTED_TWICE = """
import os, signal
from hpc_ds.runtime.deadline import Deadline
deadline = Deadline()
deadline.install_signals()
os.kill(os.getpid(), signal.SIGINT)
print(deadline.reason(), flush=True)
os.kill(os.getpid(), signal.SIGINT)
print("not reached")
"""


def test_without_limits_work_goes_on_for_ever():
    deadline = Deadline(environ={})
    assert deadline.reason() is None and deadline.seconds_left() == float("inf")
    assert deadline.agreed(World()) is False


def test_the_users_limit_counts_from_now_without_a_margin():
    deadline = Deadline(1000.0, environ={})
    assert 999.0 < deadline.seconds_left() <= 1000.0 and deadline.reason() is None


def test_an_expired_limit_says_so():
    deadline = Deadline(1e-9, environ={})
    assert "time limit" in deadline.reason() and deadline.agreed(World()) and deadline.seconds_left() < 0


@pytest.mark.parametrize("name", ["HPC_DS_DEADLINE", "SLURM_JOB_END_TIME"])
def test_the_end_of_the_job_counts_less_the_margin(name):
    deadline = Deadline(margin=100.0, environ={name: str(int(time.time()) + 1000)})
    assert 895.0 < deadline.seconds_left() < 901.0 and deadline.reason() is None
    over = Deadline(margin=100.0, environ={name: str(int(time.time()) + 99)})
    assert name in over.reason()


def test_the_earliest_limit_wins():
    soon, late = str(time.time() + 500), str(time.time() + 5000)
    deadline = Deadline(1000.0, margin=0.0, environ={"HPC_DS_DEADLINE": late, "SLURM_JOB_END_TIME": soon})
    assert 495.0 < deadline.seconds_left() <= 500.0


def test_a_clock_that_is_set_back_changes_nothing(monkeypatch):
    deadline = Deadline(margin=0.0, environ={"HPC_DS_DEADLINE": str(time.time() + 1000)})
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 999.0 < deadline.seconds_left() <= 1000.0


@pytest.mark.parametrize("text", ["tomorrow", "-5", "nan", "inf", "2026-01-01"])
def test_a_job_end_that_is_no_time_is_bad_input(text):
    with pytest.raises(InputError, match=r"HPC_DS_DEADLINE.*seconds since 1970"):
        Deadline(environ={"HPC_DS_DEADLINE": text})


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_not_above_zero_is_bad_input(seconds):
    with pytest.raises(InputError, match="above 0"):
        Deadline(seconds, environ={})


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM", "SIGXCPU", "SIGINT"])
def test_a_signal_asks_to_stop_and_does_not_kill(name):
    with Deadline(environ={}) as deadline:
        os.kill(os.getpid(), getattr(signal, name))
        assert deadline.reason() == f"signal {name}" and deadline.agreed(World())


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Deadline(environ={}) as deadline:
        deadline.install_signals()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_interrupt_stops_at_once(repository, plain_environment):
    command = [sys.executable, "-c", INTERRUPTED_TWICE]
    result = subprocess.run(
        command, cwd=repository, env=plain_environment, capture_output=True, text=True, check=False
    )
    assert result.stdout == "signal SIGINT\n" and "KeyboardInterrupt" in result.stderr
    assert "interrupt again" in result.stderr and result.returncode != 0


def test_in_a_side_thread_nothing_is_installed():
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=Deadline(environ={}).install_signals)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_first_reason_stays():
    deadline = Deadline(1e-9, environ={})
    deadline.stop("enough draws")
    deadline.stop("something else")
    assert deadline.reason() == "enough draws"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (" 2.5 ", 2.5),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5H", 5400),
        ("2d", 172800),
        ("30:00", 1800),
        ("90:00", 5400),
        ("2:00:00", 7200),
        ("100:00:30", 360030),
        ("1-12:00:00", 129600),
    ],
)
def test_durations_as_people_and_schedulers_write_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0:00", "-5", "5x", "h", "1:60", "1:75:00", "1-30:00", "1:2:3:4", "inf", "1e3"]
)
def test_other_durations_are_bad_input_in_one_line(text):
    with pytest.raises(InputError, match="1h30m") as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value) and repr(text) in str(caught.value)
