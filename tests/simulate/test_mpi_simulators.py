"""MPI simulators under mpiexec: what ends the job is told, and the next start goes on without it."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hpc_ds.store.journal import Journals
from hpc_ds.store.quarantine import read_failures

pytestmark = pytest.mark.slow

SOLVER = """
import ctypes
import os
import time

import numpy as np
from hpc_ds.simulate import declare

declared = declare(
    parameters={"a": "uniform(0, 1)"},
    axes={"x": {"low": 0.0, "high": 1.0, "size": 64}},
    fields={"u": {"time_varying": False}},
    ranks=2,
)


@declared
def slow(parameters, rng, comm):
    time.sleep(0.1)
    return {"u": comm.allreduce(comm.Get_rank() + parameters["a"]) + rng.normal(size=64)}


@declared
def one_raises(parameters, rng, comm):
    if 0.4 < parameters["a"] < 0.5 and comm.Get_rank() == 1:
        raise ValueError("nobody hears me")
    return slow(parameters, rng, comm)


@declared
def one_hangs(parameters, rng, comm):
    if 0.4 < parameters["a"] < 0.5 and comm.Get_rank() == 1:
        time.sleep(1000.0)
    return slow(parameters, rng, comm)


@declared
def one_holds_the_interpreter(parameters, rng, comm):
    if 0.4 < parameters["a"] < 0.5 and comm.Get_rank() == 0:
        ctypes.PyDLL(None).sleep(1000)
    return slow(parameters, rng, comm)


@declared
def one_dies(parameters, rng, comm):
    if 0.4 < parameters["a"] < 0.5 and comm.Get_rank() == 1:
        os._exit(7)
    return slow(parameters, rng, comm)
"""

IMPATIENT = (
    "from hpc_ds.simulate import rank_group; rank_group.PATIENCE = 1.0; from hpc_ds.cli import main; main()"
)


@pytest.fixture
def simulate(mpiexec, tmp_path):
    """Run the command on so many ranks; it waits a second only for ranks that do not come."""
    (tmp_path / "solver.py").write_text(SOLVER)

    def run(out, function, *words, ranks=2, samples=8):
        reference = ["simulate", f"solver.py:{function}", "--samples", samples, "--out", out]
        return mpiexec(ranks, [sys.executable, "-c", IMPATIENT, *reference, *words], cwd=tmp_path)

    return run


def hashes(folder: Path) -> dict[str, str]:
    paths = [*sorted((folder / "data").rglob("*.h5")), folder / "stats.yaml"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def failed(folder: Path) -> dict[int, str]:
    return {failure.index: failure.kind for failure in read_failures(folder)}


def test_one_process_is_told_how_many_are_needed(simulate):
    done = simulate("set", "slow", ranks=1)
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 2 and len(errors) == 1
    assert "slow: computes a sample on 2 MPI ranks, found 1: start it with mpiexec -n 2" in errors[0]


def test_ranks_that_make_no_group_idle_and_say_so(simulate):
    done = simulate("set", "slow", ranks=3)
    assert done.returncode == 0
    assert done.stderr.count("rank 2 idles: 3 is no multiple of the 2 ranks") == 1


def test_a_rank_that_fails_while_the_other_waits_for_it_ends_the_job_and_the_next_start_goes_on(
    simulate, tmp_path
):
    first = simulate("set", "one_raises")
    assert first.returncode == 1
    assert "failed on this rank while the others of its group wait for it" in first.stderr
    assert "ValueError: nobody hears me" in first.stderr
    (kind,) = failed(tmp_path / "set").values()
    assert kind == "raised"
    assert simulate("set", "one_raises").returncode == 3
    assert len(failed(tmp_path / "set")) == 1


def test_a_sample_beyond_its_limit_ends_the_job_and_the_next_start_goes_on(simulate, tmp_path):
    first = simulate("set", "one_hangs", "--sample-limit", "1")
    assert first.returncode == 1 and "ran past its limit of 1 s; ranks cannot be taken out" in first.stderr
    assert list(failed(tmp_path / "set").values()) == ["timeout"]
    assert simulate("set", "one_hangs", "--sample-limit", "1").returncode == 3
    assert len(failed(tmp_path / "set")) == 1


def test_a_sample_beyond_its_limit_that_lets_no_thread_run_is_set_aside_by_the_next_start(simulate, tmp_path):
    words = ("one_holds_the_interpreter", "--sample-limit", "0.5", "--retries", "9")
    assert simulate("set", *words).returncode == 1
    assert simulate("set", *words).returncode == 3
    (failure,) = read_failures(tmp_path / "set")
    assert failure.kind == "timeout" and "one_holds_the_interpreter" in failure.log


def test_a_sample_that_ends_the_job_again_and_again_is_set_aside(simulate, tmp_path):
    for _ in range(2):
        assert simulate("set", "one_dies", "--retries", "1").returncode not in (0, 3)
        assert failed(tmp_path / "set") == {}
    assert simulate("set", "one_dies", "--retries", "1").returncode == 3
    (failure,) = read_failures(tmp_path / "set")
    assert (failure.kind, failure.attempts) == ("killed", 2)
    assert failure.message == "the job ended 2 times while it was computed"
    assert not (tmp_path / "set" / "started").exists()


def test_any_rank_killed_at_any_moment_costs_nothing_but_time(
    simulate, repository, plain_environment, tmp_path
):
    assert simulate("undisturbed", "slow", samples=60).returncode == 0
    draw = random.Random(4)
    command = [repository / "launch" / "mpi.sh", "-n", "4", sys.executable, "-c", IMPATIENT, "simulate"]
    command += ["solver.py:slow", "--samples", "60", "--out", "killed", "--retries", "9"]
    settled = []
    for _ in range(4):
        job = subprocess.Popen(
            [str(word) for word in command],
            cwd=tmp_path,
            env=plain_environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        kill_a_rank(job, tmp_path / "killed", (settled[-1] if settled else 0) + draw.randint(1, 6), draw)
        assert job.wait(60) not in (0, 3)
        settled.append(len(Journals.read(tmp_path / "killed").done))
    assert settled == sorted(settled)
    assert simulate("killed", "slow", "--retries", "9", ranks=4, samples=60).returncode == 0
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "undisturbed")
    lines = [line for path in (tmp_path / "killed" / "journal").iterdir() for line in path.open()]
    assert sum('"done"' in line for line in lines) == 60, "none is computed twice"


def kill_a_rank(job: subprocess.Popen, folder: Path, at: int, draw: random.Random) -> None:
    """Kill a random rank once so many samples are journalled."""
    end = time.monotonic() + 60
    while len(Journals.read(folder).done) < at:
        assert time.monotonic() < end and job.poll() is None
        time.sleep(0.01)
    children = psutil.Process(job.pid).children(recursive=True)
    ranks = [child.pid for child in children if "simulate" in child.cmdline()]
    os.kill(draw.choice(ranks), signal.SIGKILL)
