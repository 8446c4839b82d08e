"""Kill it anywhere: stopped, killed or out of disk, a run that is given again ends as if nothing had happened."""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

HPC_DS = [sys.executable, "-c", "from hpc_ds.cli import main; main()"]
OPTIONS = {"draws": 1200, "tune": 128, "replicas": 6, "checkpoint_every": 0.05}
LEFT_OUT = ("cpu_seconds",)  # the only figures of a summary that are measured, not computed

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

KILLED_AT_A_FILE_OPERATION = """
import os, signal
left = int(os.environ["KILLED_AT"])

def counted(operation):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **options)
    return call

for name in ("fsync", "replace", "unlink", "link"):
    setattr(os, name, counted(getattr(os, name)))
from hpc_ds.cli import main
main()
"""


# ---- runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a folder with data and models of all four forms."""
    folder = tmp_path_factory.mktemp("study")
    x = np.arange(40) / 20.0
    y = 1.0 + 2.0 * x + 0.2 * np.sin(37.0 * np.arange(40) ** 2)
    np.savetxt(folder / "line.csv", np.column_stack([x, y]), delimiter=",", header="x,y", comments="")
    (folder / "forms.py").write_text(MODELS)
    return folder


@pytest.fixture(scope="module")
def models(study):
    from hpc_ds.infer.model import load_models
    from hpc_ds.store.table import read_columns

    return load_models(f"{study / 'forms.py'}:models", read_columns(study / "line.csv")[1])


@pytest.fixture(scope="module")
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
    for model in summary["models"]:
        for key in LEFT_OUT:
            model["diagnostics"].pop(key, None)
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
def start(repository, plain_environment):
    """Start `hpc-ds` with some words on some ranks: `start(words, ranks=2)`."""

    def start_job(words, ranks=1, **options):
        if ranks > 1:
            pytest.importorskip("mpi4py")
            if not any(shutil.which(name) for name in ("mpiexec", "mpirun")):
                pytest.skip("needs MPI: there is no mpiexec here")
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
    job.wait()


# ---- killed -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def survivor(study, repository, plain_environment, tmp_path_factory):
    """Return the folder of a run that was killed four times and then finished."""
    chance, out = random.Random(1), tmp_path_factory.mktemp("survivor") / "run"
    for _ in range(4):
        kill_at_random(Job(repository, plain_environment, command(study, out)), out, chance)
    assert Job(repository, plain_environment, command(study, out)).wait()[0] == 0
    return out


def test_run_killed_at_random_moments_ends_like_the_uninterrupted_one(survivor, reference):
    assert_same(survivor, reference)


def test_finished_run_given_again_answers_without_sampling(survivor, study, start):
    before, kept = answer(survivor), sorted(path.name for path in survivor.glob("snapshots/*"))
    code, said = start(command(study, survivor)).wait()
    assert code == 0 and "log evidence" in said and "report:" in said
    assert answer(survivor) == before
    assert sorted(path.name for path in survivor.glob("snapshots/*")) == kept


def test_run_killed_on_two_ranks_goes_on_with_another_number_of_ranks(study, start, reference, tmp_path):
    out = tmp_path / "run"
    for ranks, victim in ((2, None), (3, 1)):
        job = start(command(study, out), ranks)
        await_snapshots(job, out, 4)
        job.signal(signal.SIGKILL, victim)
        assert job.wait()[0] != 0
    assert start(command(study, out), 2).wait()[0] == 0
    assert_same(out, reference)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_run_killed_twenty_times_on_one_to_four_ranks(study, start, reference, tmp_path):
    chance, out = random.Random(20), tmp_path / "run"
    for _ in range(20):
        ranks = chance.randint(1, 4)
        victim = chance.choice([None, chance.randrange(ranks)])
        kill_at_random(start(command(study, out), ranks), out, chance, victim)
    assert start(command(study, out), 3).wait()[0] == 0
    assert_same(out, reference)


@pytest.mark.parametrize(
    "moments", [(5, 14), pytest.param(range(1, 60, 4), marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_run_killed_between_any_two_file_operations(study, start, reference, models, tmp_path, moments):
    out = tmp_path / "run"
    words = command(study, out)
    first = start(words)
    await_snapshots(first, out, 3)
    first.signal(signal.SIGKILL)
    first.wait()
    for moment in moments:
        start(words, program=KILLED_AT_A_FILE_OPERATION, KILLED_AT=str(moment)).wait()
    assert start(words).wait()[0] == 0
    assert_same(out, reference)


# ---- stopped ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [0, 1, 2, 3], ids=["components", "compiled", "batched", "python"])
def test_run_stopped_at_many_safe_points_ends_like_the_uninterrupted_one(models, form, tmp_path):
    one = [models[form]]
    assert sample(one, tmp_path / "whole", draws=200) == "done"
    sessions = 0
    while sample(one, tmp_path / "cut", looks=sessions % 4, draws=200) == "stopped":
        sessions += 1
    assert sessions > 10
    assert_same(tmp_path / "cut", answer(tmp_path / "whole"))


def test_time_limit_and_signals_stop_in_good_order(study, start, reference, tmp_path):
    out = tmp_path / "run"
    code, said = start(command(study, out, "--time", "0.1")).wait()
    assert code == 75 and "stopped: time limit of 0.1 s; the same command goes on from here" in said
    assert json.loads((out / "state.json").read_text())["state"] == "stopped"
    for name, ranks, rank in (("SIGTERM", 1, 0), ("SIGUSR1", 2, 1)):
        job = start(command(study, out), ranks)
        await_snapshots(job, out, 2)
        job.signal(getattr(signal, name), rank)
        code, said = job.wait()
        assert code == 75 and said.count(f"stopped: signal {name}") == 1
    assert start(command(study, out), 1).wait()[0] == 0
    assert_same(out, reference)


# ---- given again ------------------------------------------------------------------------------------------------


def test_finished_run_grows_to_what_a_single_run_gives(models, reference, tmp_path):
    for draws in (300, 777, OPTIONS["draws"]):
        assert sample(models, tmp_path / "run", draws=draws) == "done"
    assert_same(tmp_path / "run", reference)


def test_run_cannot_shrink(study, start, tmp_path, models):
    out = tmp_path / "run"
    from hpc_ds.infer import Settings
    from hpc_ds.infer.run import check_growth
    from hpc_ds.runtime.errors import InputError

    sample(models[3:], out, looks=2)
    with pytest.raises(
        InputError, match=r"--draws 300: the run in .* is for 1200 draws, which can only grow"
    ):
        check_growth(str(out), Settings(draws=300))
    check_growth(str(out), Settings(draws=1300))
    check_growth(str(tmp_path / "new"), Settings(draws=300))


# ---- damaged ----------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(models, tmp_path):
    """Return the folder of a run that was stopped while it sampled."""
    folder = tmp_path / "run"
    while not list(folder.glob("draws/*")):
        assert sample(models, folder, looks=2) == "stopped"
    assert sample(models, folder, looks=2) == "stopped"
    return folder


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def test_damaged_snapshot_is_said_and_the_older_one_used(models, stopped, reference):
    _, newer = sorted(stopped.glob("snapshots/*"), key=lambda path: int(path.stem.partition("-")[2]))
    flip_a_byte(newer)
    said = []
    assert sample(models, stopped, said=said) == "done"
    assert len(said) == 1 and said[0].startswith(f"{newer}: damaged")
    assert_same(stopped, reference)


def test_without_a_sound_snapshot_the_run_begins_anew(models, stopped, reference):
    for path in stopped.glob("snapshots/*"):
        flip_a_byte(path)
    said = []
    assert sample(models, stopped, said=said) == "done"
    assert len(said) == 3 and "no sound snapshot is left" in said[2]
    assert_same(stopped, reference)


def test_missing_draws_are_told_in_one_line(stopped, study, start):
    chunk = sorted(stopped.glob("draws/*"))[0]
    chunk.unlink()
    from hpc_ds.infer.archive import Archive
    from hpc_ds.runtime.errors import InputError

    class Folder:
        def __truediv__(self, name):
            return stopped / name

    with pytest.raises(InputError, match=r"draws from scan 0 on are missing, the snapshot counts \d+"):
        Archive(Folder()).load()


# ---- full -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [4_000, 40_000], ids=["first snapshot", "posterior"])
def test_limit_on_file_sizes_is_told_and_overcome(
    study, repository, plain_environment, start, reference, tmp_path, limit
):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = tmp_path / "run"
    words = list(map(str, command(study, out)))
    result = subprocess.run(
        [*HPC_DS, *words],
        cwd=repository,
        env=plain_environment,
        preexec_fn=limited,
        capture_output=True,
        text=True,
        timeout=150,
    )
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    assert result.returncode == 1 and len(errors) == 1 and "Traceback" not in result.stderr
    assert "cannot be written (File too large)" in errors[0] and "same command again" in errors[0]
    assert start(command(study, out)).wait()[0] == 0
    assert_same(out, reference)


@pytest.fixture
def small_disk(needs_root, tmp_path):
    """Mount a tmpfs of 200 KiB; `grow()` makes it large."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    if not mount("size=200k"):
        pytest.skip("needs the right to mount a tmpfs")
    folder_and_more = folder, lambda: mount("remount,size=64m")
    yield folder_and_more
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_full_disk_is_told_and_overcome(study, start, reference, small_disk, ranks):
    disk, grow = small_disk
    out = disk / "run"
    code, said = start(command(study, out), ranks).wait()
    errors = [line for line in said.splitlines() if line.startswith("hpc-ds: error")]
    assert code == 1 and len(errors) == 1 and "Traceback" not in said
    assert "cannot be written (No space left on device)" in errors[0]
    assert snapshots_written(out) > 0
    assert grow()
    assert start(command(study, out), ranks).wait()[0] == 0
    assert_same(out, reference)


# ---- one rank raises --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 1])
def test_one_rank_that_raises_ends_all_with_its_traceback(study, start, tmp_path, rank):
    words = command(study, tmp_path / "run", models="failing")
    code, said = start(words, 2, FAILING_RANK=str(rank)).wait(timeout=60)
    assert code not in (0, 75)
    assert f"rank {rank} of 2 failed and ends all ranks" in said
    assert "in of_a_failing_rank" in said and "ArithmeticError: negative mass" in said
    assert f"rank {1 - rank} of 2 failed" not in said
