"""A supervisor keeps one worker alive, gives up on one that cannot live, and never waits for ever."""

import os
import signal
import sys
import time

import pytest

from hpc_ds.simulate import supervisor as module
from hpc_ds.simulate.supervisor import ATTEMPTS, Invitation, Plan, Supervisor

INVITATION = Invitation("tls://127.0.0.1:1", "127.0.0.1", "certificate", "private")

OBEDIENT = """
import sys
lines = [sys.stdin.readline(), sys.stdin.readline()]
print("ready", flush=True)
print("a word to the log", file=sys.stderr, flush=True)
sys.stdin.read()
"""
DEAF = "import signal, sys, time\nprint('ready', flush=True)\nwhile True: time.sleep(1)"
READY_AND_GONE = "print('ready', flush=True)"
HOPELESS = "import sys\nprint('first', file=sys.stderr)\nsys.exit('second')"


@pytest.fixture
def supervise(tmp_path):
    supervisors = []

    def start(code):
        plan = Plan(str(tmp_path), "session", 1, "rank0")
        supervisors.append(Supervisor(plan, [sys.executable, "-c", code]))
        return supervisors[-1]

    yield start
    for supervisor in supervisors:
        supervisor.stop()


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_worker_is_replaced_and_its_last_words_are_kept(supervise, tmp_path):
    supervisor = supervise(OBEDIENT)
    supervisor.introduce(INVITATION)
    until(lambda: supervisor.pid is not None)
    time.sleep(0.5)  # it has said that it is ready
    first = supervisor.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.pid not in (None, first))
    assert supervisor.started == 2 and supervisor.trouble is None
    text = (tmp_path / "logs" / "worker-session-rank0.log").read_text()
    assert "worker rank0.1 ended, killed by SIGKILL\n    a word to the log\n" in text


def test_a_worker_that_never_gets_ready_is_given_up_with_its_last_line(supervise):
    supervisor = supervise(HOPELESS)
    until(lambda: supervisor.trouble is not None)
    assert supervisor.trouble == "second" and supervisor.started == ATTEMPTS
    time.sleep(0.3)
    assert supervisor.started == ATTEMPTS and supervisor.pid is None


def test_a_worker_that_neither_joins_nor_ends_is_killed_and_counts_as_failed(supervise, monkeypatch):
    monkeypatch.setattr(module, "_JOINING", 0.1)
    supervisor = supervise("import time; time.sleep(100)")
    until(lambda: supervisor.trouble is not None)
    assert supervisor.trouble == "the worker ended, killed by SIGKILL"


def test_a_command_that_is_not_there_is_trouble(tmp_path):
    supervisor = Supervisor(Plan(str(tmp_path), "session", 1, "rank0"), ["/nowhere/python"])
    until(lambda: supervisor.trouble is not None)
    assert supervisor.trouble == "/nowhere/python: No such file or directory"
    supervisor.stop()


def test_a_worker_that_dies_as_soon_as_it_is_ready_is_not_replaced_in_a_hurry(supervise):
    supervisor = supervise(READY_AND_GONE)
    until(lambda: supervisor.started == 3)
    assert supervisor.trouble is None


def test_a_worker_that_obeys_ends_at_the_end_of_its_input(supervise):
    supervisor = supervise(OBEDIENT)
    supervisor.introduce(INVITATION)
    until(lambda: supervisor.pid is not None)
    pid = supervisor.pid
    supervisor.stop()
    assert not lives(pid) and supervisor.started == 1


def test_a_worker_that_does_not_listen_is_killed(supervise):
    supervisor = supervise(DEAF)
    until(lambda: supervisor.pid is not None)
    pid = supervisor.pid
    supervisor.stop()
    assert not lives(pid)
