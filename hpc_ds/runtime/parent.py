"""A child process that does not outlive its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process (SIGKILL) when its parent ends; at once if that has happened already.

    Linux only, nothing elsewhere. By "parent" the kernel means the *thread* that started this process: start
    children from a thread that lives as long as the process.

    Parameters
    ----------
    parent : int
        Process id of the parent, as the parent itself knows it.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
