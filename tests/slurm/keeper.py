"""Starts the daemons that it is told to; when its standard input closes, ends them and removes all that they left.

What turns itself into a daemon below this process becomes its child (Linux's sub-reaper), so nothing escapes, and
nothing outlives the tests even when they are killed. One line of JSON in: the words, the environment and the log of a
command; one line out: its pid. The folder of all their files is this program's argument.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def main() -> None:
    """Start what the lines of standard input say until they end."""
    if ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    signal.signal(signal.SIGCHLD, bury)
    for line in sys.stdin:
        order = json.loads(line)
        with open(order["log"], "ab") as log:
            child = subprocess.Popen(
                order["words"],
                env=order["environment"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        print(child.pid, flush=True)
    end_all()
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def bury(*_: object) -> None:
    """Take the exit codes of the dead, so that no zombies stay."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_all() -> None:
    """Kill all descendants, again and again: some may have been starting others."""
    while living := descendants(os.getpid()):
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
        bury()


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below `root`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found, new = [], [root]
    while new:
        new = [child for pid in new for child in children.get(pid, [])]
        found += new
    return found


if __name__ == "__main__":
    main()
