"""Processes of a run are killed at random moments, any of them; what it leaves in the end does not show it."""

import collections
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

SOLVER = """
import time
import numpy as np
from hpc_ds.simulate import declare

@declare(
    parameters={"a": "uniform(0, 1)", "b": "normal(0, 1)"},
    axes={"x": np.linspace(0, 1, 128)},
    times=np.linspace(0, 1, 9),
    fields={"u": {}, "v": {"rank": 1}, "total": {"dims": []}},
)
def simulate(parameters, rng):
    time.sleep(0.02)
    u = parameters["a"] + parameters["b"] * rng.normal(size=(9, 128))
    return {"u": u, "v": u[..., None], "total": u.sum(axis=1)}
"""
COMMAND = "from hpc_ds.cli import main; main()"
MARK = "HPC_DS_STORM"


def started(ranks, samples, out, where, environment):
    """Start the command on so many ranks; all its processes carry a mark in their environment."""
    launcher = []
    if ranks > 1:
        launcher = [shutil.which("mpiexec"), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    words = ["simulate", "solver.py:simulate", "--samples", str(samples), "--out", out]
    words += ["--processes", "1"]
    return subprocess.Popen(
        [*launcher, sys.executable, "-c", COMMAND, *words],
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=open(Path(where, "stderr"), "ab"),
    )


def processes(mark):
    """Return the living processes of the job by what they are: worker, compute, rank, launcher."""
    found = collections.defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if f"{MARK}={mark}".encode() not in (entry / "environ").read_bytes():
                continue
            words = (entry / "cmdline").read_text().split("\0")
        except OSError:
            continue
        found[kind_of(words)].append(int(entry.name))
    return found


def kind_of(words):
    if "hpc_ds.simulate.dask_worker" in words:
        return "worker"
    if "hpc_ds.simulate.compute" in words:
        return "compute"
    if words and os.path.basename(words[0]) in ("mpiexec", "mpirun", "orterun", "prterun"):
        return "launcher"
    return "rank" if COMMAND in words else "other"


def kill_one(mark, dice, kinds):
    """Kill a process of one of these kinds; return whether there was one."""
    alive = processes(mark)
    kind = dice.choice(kinds)
    if not alive[kind]:
        return False
    try:
        os.kill(dice.choice(alive[kind]), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def await_the_end(mark, seconds=30.0):
    """Wait until no process of the job is left, not even a child of a child."""
    end = time.monotonic() + seconds
    while True:
        left = {kind: pids for kind, pids in processes(mark).items() if pids}
        if not left:
            return
        assert time.monotonic() < end, f"orphans: {left}"
        time.sleep(0.05)


def contents(folder):
    files = [*sorted((folder / "data").rglob("*.h5")), folder / "stats.yaml"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def times_journalled(folder):
    counts = collections.Counter()
    for path in (folder / "journal").glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                event = json.loads(line[9:])
            except ValueError:
                continue  # torn by a kill
            if event["event"] == "done":
                counts[event["index"]] += 1
    return counts


@pytest.fixture
def place(tmp_path):
    (tmp_path / "solver.py").write_text(SOLVER)
    return tmp_path


@pytest.fixture
def marked(plain_environment):
    mark = uuid.uuid4().hex
    extra = {MARK: mark, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return mark, plain_environment | extra


def undisturbed(place, samples, environment):
    job = started(1, samples, "calm", place, environment)
    assert job.wait(timeout=240) == 0
    return contents(place / "calm")


def assert_whole(place, samples, expected):
    assert contents(place / "run") == expected
    counts = times_journalled(place / "run")
    assert set(counts) == set(range(samples)), "no sample is lost"
    assert set(counts.values()) == {1}, "none is computed again once it is journalled"


def storm(place, marked, samples, kills, kinds, ranks, seed):
    mark, environment = marked
    dice = random.Random(seed)
    expected = undisturbed(place, samples, environment)
    done = 0
    for _ in range(20 * kills):
        job = started(dice.choice(ranks), samples, "run", place, environment)
        while job.poll() is None:
            time.sleep(dice.uniform(0.1, 1.5))
            if done < kills and job.poll() is None:
                done += kill_one(mark, dice, kinds)
        await_the_end(mark)
        if job.returncode == 0:
            break
    assert job.returncode == 0, (place / "stderr").read_text()[-3000:]
    assert_whole(place, samples, expected)
    return done


needs_mpi = pytest.mark.skipif(shutil.which("mpiexec") is None, reason="no mpiexec")


def test_a_local_run_survives_the_death_of_its_workers(place, marked):
    assert storm(place, marked, 250, 3, ["worker", "compute"], [1], seed=1) >= 2


@needs_mpi
def test_a_run_under_mpiexec_that_only_loses_workers_ends_by_itself(place, marked):
    mark, environment = marked
    dice = random.Random(2)
    expected = undisturbed(place, 300, environment)
    job = started(3, 300, "run", place, environment)
    kills = 0
    while job.poll() is None:
        time.sleep(dice.uniform(0.2, 1.0))
        if kills < 4 and processes(mark)["compute"]:
            kills += kill_one(mark, dice, ["worker", "worker", "compute"])
    assert job.returncode == 0, (place / "stderr").read_text()[-3000:]
    assert kills >= 2
    await_the_end(mark)
    assert_whole(place, 300, expected)


@needs_mpi
def test_a_run_whose_ranks_or_launcher_die_is_continued(place, marked):
    assert storm(place, marked, 400, 3, ["rank", "launcher"], [2, 3], seed=3) >= 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@needs_mpi
def test_fifty_kills_anywhere_leave_no_trace(place, marked):
    kinds = ["worker", "worker", "compute", "compute", "rank", "launcher"]
    assert storm(place, marked, 3000, 50, kinds, [1, 2, 3, 4], seed=4) >= 50
