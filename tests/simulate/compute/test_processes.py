"""No process outlives its parent, and none leaves anything behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.simulate.pool import Pool

BABYSITTER = """
import sys
from hpc_ds.simulate.orders import Order
from hpc_ds.simulate.pool import Pool
folder, indices = sys.argv[1], tuple(map(int, sys.argv[2].split(",")))
pool = Pool(folder, "test", 1)
pool.run(Order(folder, "test", indices))
print("done", flush=True)
sys.stdin.read()
"""


def children(pid):
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def all_children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(text) for task in tasks for text in (task / "children").read_text().split()}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def soon(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def babysitter(plain_environment):
    """Start a process with a pool of its own that works off an order."""
    started = []

    def start(run, indices):
        command = [sys.executable, "-c", BABYSITTER, str(run.path), indices]
        environment = {**plain_environment, "ZOO": os.environ["ZOO"]}
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's help is Linux's")
@pytest.mark.parametrize("answer", ["tells its pid", "holds the GIL"])
def test_a_busy_process_dies_with_its_babysitter(answer, make_run, babysitter):
    run = make_run([answer])
    parent = babysitter(run, "0")
    assert soon(lambda: all_children(parent.pid))
    assert soon(lambda: any((run.path / "logs").iterdir()))
    (child,) = all_children(parent.pid)
    parent.kill()
    parent.wait()
    assert soon(lambda: not is_alive(child), 3.0)


def test_an_idle_process_dies_with_its_babysitter(make_run, babysitter):
    parent = babysitter(make_run(["fine"]), "0")
    assert parent.stdout.readline() == "done\n"
    (child,) = all_children(parent.pid)
    parent.kill()
    parent.wait()
    assert soon(lambda: not is_alive(child), 3.0)


def test_signals_to_all_processes_of_a_job_do_not_end_a_sample(make_run):
    run = make_run(["takes long", "takes long"])
    pool = run.pool()
    pool.run(replace(run.order, indices=(0,)))
    child = pool._desks[0].child()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
        os.kill(child.pid, number)
    report = pool.run(replace(run.order, indices=(1,)))
    assert [index for index, _ in report.done] == [1]
    assert pool._desks[0].child().pid == child.pid
    pool.close()


def test_closing_kills_what_does_not_end(make_run, tmp_path):
    run = make_run(["tells its pid"])
    pool = run.pool()
    errors = []

    def work():
        try:
            pool.run(run.order)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert soon(lambda: any(tmp_path.glob("pid-*")))
    pid = int(next(tmp_path.glob("pid-*")).name.removeprefix("pid-"))
    pool.close()
    thread.join(10.0)
    assert not thread.is_alive()
    assert not is_alive(pid)
    assert "being closed" in errors[0]


def restart(run, times):
    """Return the descriptors and children that this process has more after so many deaths of compute processes."""
    pool = run.pool()
    pool.run(replace(run.order, indices=(0,)))
    before = (len(os.listdir("/proc/self/fd")), len(all_children(os.getpid())))
    for _ in range(times):
        pool.run(replace(run.order, indices=(1,)))
    pool.run(replace(run.order, indices=(0,)))
    after = (len(os.listdir("/proc/self/fd")), len(all_children(os.getpid())))
    pool.close()
    return before, after


def test_restarts_leak_neither_descriptors_nor_zombies(make_run):
    before, after = restart(make_run(["fine", "exits"]), 4)
    assert before == after


@pytest.mark.slow
def test_a_hundred_restarts_leak_nothing(make_run):
    before, after = restart(make_run(["fine", "exits"]), 100)
    assert before == after


def test_a_closed_pool_leaves_no_process(make_run):
    run = make_run(["fine"])
    before = all_children(os.getpid())
    pool = Pool(str(run.path), "test", 3)
    pool.run(run.order)
    pool.close()
    assert all_children(os.getpid()) == before


def test_the_side_of_the_babysitter_loads_nothing_heavy(plain_environment):
    code = "import sys, hpc_ds.simulate.tasks; print(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", code], env=plain_environment, capture_output=True, text=True
    )
    assert not set(result.stdout.split()) & {
        "numpy",
        "h5py",
        "dask",
        "distributed",
        "numba",
        "mpi4py",
        "torch",
    }


def kill_at_random(run, kills, seed=1):
    """Compute all samples while processes are killed at random moments; return the report."""
    random = np.random.default_rng(seed)
    pool = run.pool(2)
    half = len(run.answers) // 2
    orders = [
        replace(run.order, indices=part, retries=kills) for part in (range(half), range(half, 2 * half))
    ]
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(pool.run, replace(order, indices=tuple(order.indices))) for order in orders]
        for _ in range(kills):
            time.sleep(random.uniform(0.0, 1.5))
            for pid in random.permutation(sorted(all_children(os.getpid())))[:1]:
                os.kill(int(pid), signal.SIGKILL)
        reports = [future.result() for future in futures]
    pool.close()
    return reports


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_a_storm_of_kills_neither_loses_nor_repeats_a_sample(kills, make_run):
    run = make_run(["naps"] * (40 * kills))
    reports = kill_at_random(run, kills)
    assert sorted(index for report in reports for index, _ in report.done) == list(range(len(run.answers)))
    lines = [line for path in (run.path / "journal").iterdir() for line in path.read_text().splitlines()]
    assert sum('"done"' in line for line in lines) == len(run.answers)
