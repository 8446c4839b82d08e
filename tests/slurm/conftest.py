"""What the tests on a real SLURM share: the cluster, a computation that lasts as long as told, its right answer."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
OPTIONS = ("--draws=800", "--tuning=64", "--replicas=4", "--sweeps=1", "--seed=5", "--checkpoint-every=0.2")
# srun waits a minute for ranks that one which died has left behind; the tests have no time for that.
MACHINES = """
[hasty]
like = "slurm"
launcher_options = ["--wait=5"]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all tests of this folder their marker."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm(plain_environment: dict[str, str]):
    """Return the cluster; skip where there can be none."""
    spec = importlib.util.spec_from_file_location("slurm_cluster", HERE / "cluster.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reason = module.absent() or _wrong_mpi()
    if reason:
        pytest.skip(f"a SLURM of our own {reason}")
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    cluster = module.Cluster({**plain_environment, **threads, "PATH": path})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(autouse=True)
def empty_queue(slurm) -> Iterator[None]:
    """Leave no job to the next test."""
    yield
    slurm.clear()


class Line:
    """The posterior of a straight line, computed as slowly as told; its answer does not depend on how it was got."""

    LIKELIHOODS = 8200  # about what the slower of two ranks computes

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(HERE / "line.py", folder)
        x = np.arange(40) / 20.0
        y = 1.0 + 2.0 * x + 0.2 * np.sin(37.0 * np.arange(40) ** 2)
        np.savetxt(folder / "line.csv", np.column_stack([x, y]), delimiter=",", header="x,y", comments="")

    def command(self, out: object, *more: str) -> list[str]:
        """Return the command that computes it into the folder `out`."""
        model = f"{self.folder / 'line.py'}:model"
        return ["hpc-ds", "infer", model, str(self.folder / "line.csv"), "--out", str(out), *OPTIONS, *more]

    def answer(self, out: Path) -> dict[str, object]:
        """Return all that must not depend on interruptions: the posterior byte by byte, and the summary."""
        summary = json.loads((out / "summary.json").read_text())
        return {"posterior": (out / "posterior" / "line.h5").read_bytes(), "models": summary["models"]}


@pytest.fixture(scope="session")
def line(tmp_path_factory) -> Line:
    return Line(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="session")
def uninterrupted(line: Line, slurm, tmp_path_factory) -> dict[str, object]:
    """Return the answer of a run on one rank that no scheduler knew of."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    outcome = slurm.run(*line.command(out), timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    return line.answer(out)


@pytest.fixture
def submit(slurm, tmp_path):
    """Submit with the command itself: `submit("--chain", 3, command=[...])`; return the numbers of the jobs.

    `pause` is how long one likelihood of the line takes. A submission that is refused returns the completed process.
    """

    def submit_job(*options: object, command: list[str], pause: float = 0.0, machine: str = "slurm"):
        (tmp_path / "machines.toml").write_text(MACHINES)
        words = ["hpc-ds", "submit", "--machine", machine, *options, "--", *command]
        variables = {"PAUSE": str(pause), "HPC_DS_MACHINES": str(tmp_path / "machines.toml")}
        outcome = slurm.run(*words, cwd=tmp_path, **variables)
        if outcome.returncode != 0:
            return outcome
        return re.search(r"^submitted: ([\d ]+) \(", outcome.stdout, re.MULTILINE).group(1).split()

    return submit_job


def _wrong_mpi() -> str:
    """Return why the ranks of a step could not find each other through PMIx."""
    try:
        from mpi4py import get_config  # noqa: F401 - asks for the package, not for MPI_Init
    except ImportError:
        return "needs mpi4py"
    recorded = Path(sys.executable).parents[1] / "hpc-ds" / "mpiexec"
    mpiexec = recorded.read_text().strip() if recorded.exists() else "mpiexec"
    with contextlib.suppress(OSError):
        said = subprocess.run([mpiexec, "--version"], capture_output=True, text=True).stdout
        if "Open MPI" in said or "OpenRTE" in said:
            return ""
    return "needs Open MPI, whose ranks speak PMIx"
