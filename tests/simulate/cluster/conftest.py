"""What tests of the cluster share: a program that uses one, and a look at who is left when it has ended."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

USE = Path(__file__).parent / "use.py"


@pytest.fixture
def use(mpiexec, tmp_path):
    """Run use.py on so many ranks: returns what it printed last, its exit code and its stderr."""

    def run(way, *settings, ranks=1):
        done = mpiexec(ranks, [sys.executable, USE, tmp_path, way, *settings], timeout=100)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        return (json.loads(lines[-1]) if lines else None), done.returncode, done.stderr

    return run


@pytest.fixture
def hanging(repository, plain_environment, tmp_path):
    """Start use.py so that it hangs once its cluster is up: returns its process and a list of all below it."""
    started = []

    def start(ranks=1):
        command = [repository / "launch" / "mpi.sh", "-n", ranks, sys.executable, USE, tmp_path, "hang"]
        pipes = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        top = subprocess.Popen([str(word) for word in command], env=plain_environment, **pipes)
        started.append(top)
        assert json.loads(top.stdout.readline()) == {"up": True}
        below = psutil.Process(top.pid).children(recursive=True)
        started.extend(below)
        return top, below

    yield start
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            process.send_signal(signal.SIGKILL)
    for process in started:
        if isinstance(process, subprocess.Popen):
            process.communicate()


@pytest.fixture
def left():
    """Return which of these processes still live after they had a while to end."""

    def look(processes, seconds=15.0):
        end = time.monotonic() + seconds
        living = processes
        while living and time.monotonic() < end:
            time.sleep(0.05)
            living = [process for process in living if _lives(process)]
        return living

    return look


def _lives(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
