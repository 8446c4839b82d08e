"""Simulators that misbehave in every way, as a user's file would hold them."""

import ctypes
import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from hpc_ds.simulate.simulator import Retry, Simulator, Skip, Stop
from hpc_ds.store.layout import Axis, Field, Layout, axis

LAYOUT = Layout("zoo", (axis("x", 0.0, 1.0, 8),), Axis("time", np.array([0.0, 1.0])), (Field("u"),))
LANES = 4


def fields(parameters, rng):
    return {"u": parameters["a"] + rng.normal(size=(2, 8))}


def raise_(*_):
    print("the last words")
    raise ValueError("no\ngood")


def fail_to_open(*_):
    raise OSError("no licence")


def fill_the_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "/scratch/mesh")


def retry(*_):
    raise Retry("the network is down")


def skip(*_):
    raise Skip("no steady state")


def stop(*_):
    raise Stop("the table of opacities is missing")


def hang(*_):
    time.sleep(1000.0)


def hold_the_gil(*_):
    ctypes.PyDLL(None).sleep(1000)


def exit_3(*_):
    os._exit(3)


def sys_exit(*_):
    sys.exit(4)


def crash(*_):
    print("about to crash")
    ctypes.string_at(0)


def be_killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_child(*_):
    """End, but leave a process behind that holds all pipes open."""
    if os.fork() == 0:
        time.sleep(1000.0)
    os._exit(5)


def print_much(parameters, rng):
    print("x" * 5_000_000)
    os.write(1, b"and past Python\n")
    return fields(parameters, rng)


def leave_a_thread(parameters, rng):
    threading.Thread(target=time.sleep, args=(1000.0,)).start()
    return fields(parameters, rng)


def read_the_input(parameters, rng):
    sys.stdin.read()
    return fields(parameters, rng)


def use_global_numbers(parameters, rng):
    return {"u": np.random.normal(size=(2, 8))}


def take_long(parameters, rng):
    time.sleep(0.3)
    return fields(parameters, rng)


def nap(parameters, rng):
    time.sleep(0.01)
    return fields(parameters, rng)


def succeed_later(parameters, rng):
    """Die at the first attempt, live at the second."""
    marker = Path(os.environ["ZOO"], str(int(parameters["a"])))
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return fields(parameters, rng)


def tell_the_pid(parameters, rng):
    Path(os.environ["ZOO"], f"pid-{os.getpid()}").touch()
    time.sleep(1000.0)


ANSWERS = {
    "fine": fields,
    "raises": raise_,
    "cannot open": fail_to_open,
    "fills the disk": fill_the_disk,
    "retries": retry,
    "skips": skip,
    "stops": stop,
    "hangs": hang,
    "holds the GIL": hold_the_gil,
    "nan": lambda *_: {"u": np.full((2, 8), np.nan)},
    "shape": lambda *_: {"u": np.zeros((3, 8))},
    "missing": lambda *_: {},
    "text": lambda *_: {"u": "nothing"},
    "exits": exit_3,
    "sys.exit": sys_exit,
    "crashes": crash,
    "killed": be_killed,
    "leaves a child": leave_a_child,
    "prints": print_much,
    "leaves a thread": leave_a_thread,
    "reads": read_the_input,
    "global numbers": use_global_numbers,
    "takes long": take_long,
    "naps": nap,
    "succeeds later": succeed_later,
    "tells its pid": tell_the_pid,
}


def simulate(parameters, rng):
    return ANSWERS[parameters["what"]](parameters, rng)


def simulate_block(parameters, rngs):
    """Four lanes: what a lane returns depends on its place too; those that are not fine concern all."""
    lanes = []
    for place, (one, rng) in enumerate(zip(parameters, rngs, strict=True)):
        values = ANSWERS[one["what"]](one, rng)
        lanes.append({"u": values["u"] + place} if "u" in values else values)
    return lanes


single = Simulator("zoo", None, LAYOUT, simulate)
block = Simulator("zoo", None, LAYOUT, simulate_block=simulate_block, block=LANES)
