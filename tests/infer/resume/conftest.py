"""What tests of interrupted runs share: models of all forms, an uninterrupted run, and commands to be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

HPC_DS = [sys.executable, "-c", "from hpc_ds.cli import main; main()"]
OPTIONS = {"draws": 1200, "tuning": 128, "replicas": 6, "checkpoint_every": 0.05}

MODELS = '''
"""One model of each form for the same straight line."""
import math
import os
import numpy as np
from hpc_ds.infer import Model, log_uniform, normal, uniform
from hpc_ds.infer.models.spectrum import SpectrumOptions, spectrum_models
from hpc_ds.store.table import Table

PRIORS = {"slope": normal(0.0, 5.0), "intercept": uniform(-10.0, 10.0), "noise": log_uniform(0.01, 10.0)}

def of_one(theta, data):
    residual = data[1] - theta[0] * data[0] - theta[1]
    return -0.5 * float(residual @ residual) / theta[2] ** 2 - residual.size * math.log(theta[2])

def of_many(theta, data):
    residual = data[1] - theta[:, :1] * data[0] - theta[:, 1:2]
    return -0.5 * (residual**2).sum(axis=1) / theta[:, 2] ** 2 - data.shape[1] * np.log(theta[:, 2])

def in_loops(theta, data):
    total = 0.0
    for i in range(data.shape[1]):
        residual = (data[1, i] - theta[0] * data[0, i] - theta[1]) / theta[2]
        total -= 0.5 * residual * residual + math.log(theta[2])
    return total

def models(data):
    table = Table(x=data[0], y=data[1], sigma=None, x_name="x", y_name="y", path="line.csv")
    return [
        *spectrum_models(table, SpectrumOptions(peaks=(2,), background="linear")),
        Model("compiled", PRIORS, in_loops, form="compiled"),
        Model("batched", PRIORS, of_many, form="batched", block=4),
        Model("python", PRIORS, of_one),
    ]

calls = 0

def of_a_failing_rank(theta, data):
    global calls
    calls += 1
    rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("PMI_RANK") or "0"
    if rank == os.environ.get("FAILING_RANK") and calls == 50:
        raise ArithmeticError("negative mass")
    return of_one(theta, data)

failing = Model("failing", PRIORS, of_a_failing_rank)
'''


@pytest.fixture(scope="session")
def runs():
    """Return the helpers of this file."""
    helpers = (sample, answer, assert_same, command, snapshots_written, await_snapshots, kill_at_random, Job)
    return SimpleNamespace(HPC_DS=HPC_DS, OPTIONS=OPTIONS, **{helper.__name__: helper for helper in helpers})


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Return a folder with data and models of all four forms."""
    folder = tmp_path_factory.mktemp("study")
    x = np.arange(40) / 20.0
    y = 1.0 + 2.0 * x + 0.2 * np.sin(37.0 * np.arange(40) ** 2)
    np.savetxt(folder / "line.csv", np.column_stack([x, y]), delimiter=",", header="x,y", comments="")
    (folder / "forms.py").write_text(MODELS)
    return folder


@pytest.fixture(scope="session")
def models(study):
    from hpc_ds.infer.model import load_models
    from hpc_ds.store.table import read_columns

    return load_models(f"{study / 'forms.py'}:models", read_columns(study / "line.csv")[1])


@pytest.fixture(scope="session")
def reference(tmp_path_factory, models):
    """Return the answer of the uninterrupted run."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    assert sample(models, folder) == "done"
    return answer(folder)


class AfterLooks:
    """A deadline that comes after so many looks at the clock: a stop at a safe point, known beforehand."""

    def __init__(self, looks):
        self.looks = looks

    def agreed(self, world):
        self.looks -= 1
        return self.looks < 0


def sample(models, folder, looks=10**9, said=None, **changed):
    """Run or continue in this process, as the command does; return the state that the folder is left in."""
    from hpc_ds.infer import Settings
    from hpc_ds.infer.run import sample as run
    from hpc_ds.runtime.folder import RunFolder
    from hpc_ds.runtime.world import World

    settings, world = Settings(**{**OPTIONS, **changed}), World()
    growable = {"draws", "checkpoint_every"}
    with RunFolder.open(
        folder, "infer", settings.model_dump(), growable, world, ["test"], settings.seed
    ) as held:
        options = {"deadline": AfterLooks(looks), "warn": [].append if said is None else said.append}
        run(models, settings=settings, folder=held, world=world, **options)
        return held.state


def answer(folder):
    """Return all that must not depend on interruptions: the posterior files byte by byte, and the summary."""
    summary = json.loads((Path(folder) / "summary.json").read_text())
    files = {path.name: path.read_bytes() for path in sorted((Path(folder) / "posterior").iterdir())}
    return {"models": summary["models"], "best": summary["best"], "posterior": files}


def assert_same(folder, reference):
    """Compare part by part, so that a failure names the part."""
    found = answer(folder)
    assert found["models"] == reference["models"]
    assert found["best"] == reference["best"]
    assert sorted(found["posterior"]) == sorted(reference["posterior"])
    assert [name for name, data in reference["posterior"].items() if found["posterior"][name] != data] == []


def command(study, out, *more, models="models", **changed):
    words = [f"--{name.replace('_', '-')}={value}" for name, value in {**OPTIONS, **changed}.items()]
    return ["infer", f"{study / 'forms.py'}:{models}", study / "line.csv", "--out", out, *words, *more]


class Job:
    """A command at work on some ranks, in a session of its own."""

    def __init__(self, repository, environment, words, ranks=1, program=HPC_DS[-1], **variables):
        self.token = uuid.uuid4().hex
        launcher = [str(repository / "launch" / "mpi.sh"), "-n", str(ranks)] if ranks > 1 else []
        full = [*launcher, sys.executable, "-c", program, *map(str, words)]
        environment = {**environment, **variables, "HPC_DS_TEST": self.token}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(
            full, cwd=repository, env=environment, text=True, start_new_session=True, **pipes
        )

    def ranks(self):
        """Return the pids of its ranks in their order."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                variables = dict(
                    word.split("=", 1) for word in (entry / "environ").read_text().split("\0") if "=" in word
                )
                is_rank = "hpc_ds.cli" in (entry / "cmdline").read_text().split("\0")[2]
            except (OSError, IndexError, UnicodeDecodeError):
                continue
            if is_rank and variables.get("HPC_DS_TEST") == self.token:
                rank = variables.get("OMPI_COMM_WORLD_RANK") or variables.get("PMI_RANK") or "0"
                found[int(rank)] = int(entry.name)
        return [found[rank] for rank in sorted(found)]

    def signal(self, number, rank=None):
        """Send a signal to one rank, or to all."""
        pids = self.ranks()
        for pid in pids if rank is None else pids[rank : rank + 1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def reap(self, patience=30):
        """Wait until a job is gone of which a rank was killed; a launcher that hangs is killed as a scheduler would.

        Open MPI 4's mpiexec was seen to wait for ever when a rank died while it was connecting to it.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=patience)
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()

    def wait(self, timeout=150):
        """Return exit code and output once all ranks are gone."""
        try:
            output, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            os.killpg(self.process.pid, signal.SIGKILL)
            pytest.fail(f"did not end:\n{self.process.communicate()[0]}")
        end = time.monotonic() + 20
        while self.ranks() and time.monotonic() < end:
            time.sleep(0.05)
        assert not self.ranks()
        return self.process.returncode, output


@pytest.fixture
def start(request, repository, plain_environment):
    """Start `hpc-ds` with some words on some ranks: `start(words, ranks=2)`; skips if they need MPI in vain."""

    def start_job(words, ranks=1, **options):
        if ranks > 1:
            pytest.importorskip("mpi4py")
            request.getfixturevalue("mpiexec")
        return Job(repository, plain_environment, words, ranks, **options)

    return start_job


def snapshots_written(folder):
    counters = [int(path.stem.partition("-")[2]) for path in Path(folder).glob("snapshots/snapshot-*.bin")]
    return max(counters, default=0)


def await_snapshots(job, folder, more):
    """Wait until so many more snapshots are written, or the job is over."""
    wanted = snapshots_written(folder) + more
    while snapshots_written(folder) < wanted and job.process.poll() is None:
        time.sleep(0.01)


def kill_at_random(job, folder, chance, rank=None):
    """Send SIGKILL at a random moment: while it starts, or some snapshots later."""
    if chance.random() < 0.25:
        time.sleep(chance.uniform(0.2, 2.0))
    else:
        await_snapshots(job, folder, chance.randint(1, 4))
        time.sleep(chance.uniform(0.0, 0.1))
    job.signal(signal.SIGKILL, rank)
    job.reap()
