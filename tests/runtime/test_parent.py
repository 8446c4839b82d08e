"""A child that asked for it dies with its parent, busy or not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpc_ds.runtime.parent import end_with_parent

CHILD = """
import sys, time
from hpc_ds.runtime.parent import end_with_parent
end_with_parent(int(sys.argv[1]))
print("here", flush=True)
time.sleep(1000)
"""

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_dies_with_its_parent(plain_environment):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], env=plain_environment, **pipes) as parent:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    end = time.monotonic() + 10.0
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_alive(child)


def test_a_child_whose_parent_is_gone_already_dies_at_once(plain_environment):
    nobody = str(os.getpid() + 1)
    result = subprocess.run([sys.executable, "-c", CHILD, nobody], env=plain_environment, capture_output=True)
    assert (result.returncode, result.stdout) == (-signal.SIGKILL, b"")


def test_a_child_of_this_process_goes_on():
    end_with_parent(os.getppid())
