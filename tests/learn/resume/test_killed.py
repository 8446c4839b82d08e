"""Kill it anywhere: a training that is killed at random moments and given again ends as if nothing had happened."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "toy_training.py"
OPTIONS = {"epochs": 20, "on_trouble": "roll-back"}


def newest(folder):
    counters = [int(path.stem.partition("-")[2]) for path in Path(folder).glob("snapshots/snapshot-*.bin")]
    return max(counters, default=0)


@pytest.fixture
def train(request, repository, plain_environment):
    """Train on some ranks in a process group of its own, killed after so many more snapshots if that is asked for."""

    def run(folder, ranks=1, kill_after=None, **options):
        words = [sys.executable, str(PROGRAM), str(folder), json.dumps({**OPTIONS, **options})]
        if ranks > 1:
            request.getfixturevalue("mpiexec")
            words = [str(repository / "launch" / "mpi.sh"), "-n", str(ranks), *words]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        environment = {**plain_environment, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(words, env=environment, start_new_session=True, text=True, **pipes) as child:
            if kill_after is not None:
                wanted = newest(folder) + kill_after
                while newest(folder) < wanted and child.poll() is None:
                    time.sleep(0.002)
                for pid in ranks_of(child.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            _, said = child.communicate(timeout=120)
        assert (child.returncode == 0) == (kill_after is None), said
        return json.loads((folder / "answer.json").read_text()) if kill_after is None else None

    return run


def ranks_of(parent):
    """Return the processes below one: ranks have groups of their own, which a kill of the launcher's does not reach."""
    children = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, ahead = [], [parent]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def parts(answer):
    weights, history, best = answer
    return weights, history["epochs"], history["steps"], best


@pytest.fixture(scope="module")
def whole(tmp_path_factory, plain_environment):
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), json.dumps(OPTIONS)],
        env={**plain_environment, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=120,
        capture_output=True,
    )
    return json.loads((folder / "answer.json").read_text())


def test_training_killed_at_random_moments_ends_like_the_uninterrupted_one(train, whole, tmp_path):
    chance = random.Random(4)
    for _ in range(4):
        train(tmp_path, kill_after=chance.randint(1, 25))
    assert newest(tmp_path) > 4
    assert parts(train(tmp_path)) == parts(whole)


def test_training_killed_on_two_ranks_goes_on_with_another_number_of_ranks(train, whole, tmp_path):
    train(tmp_path, ranks=2, kill_after=9)
    assert parts(train(tmp_path)) == parts(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_killed_twelve_times_on_one_to_four_ranks(train, whole, tmp_path):
    chance = random.Random(12)
    for _ in range(12):
        train(tmp_path, ranks=chance.choice([1, 2, 4]), kill_after=chance.randint(1, 9))
    assert parts(train(tmp_path, ranks=4)) == parts(whole)
