"""A machine of our making: commands, Python packages and variables that the doctor meets."""

import os
from pathlib import Path

import pytest

from hpc_ds.jobs.doctor import Situation

FAKE_MPI4PY = """
import os
from types import SimpleNamespace
size, rank = int(os.environ.get("FAKE_SIZE", 1)), int(os.environ.get("FAKE_RANK", 0))
world = SimpleNamespace(Get_size=lambda: size, Get_rank=lambda: rank)
MPI = SimpleNamespace(
    COMM_WORLD=world, get_vendor=lambda: ("Fake MPI", (1, 0)), Get_library_version=lambda: "Fake MPI 1.0, package: x"
)
rc = SimpleNamespace()
"""
FAKE_H5PY = """
from types import SimpleNamespace
__version__ = "3.16"
get_config = lambda: SimpleNamespace(mpi={parallel})
"""


class Machine:
    """Commands in a folder that begins the PATH, packages in one that begins the PYTHONPATH."""

    def __init__(self, folder: Path, repository: Path, environ: dict[str, str]) -> None:
        self.bin, self.packages, self.runs = (folder / name for name in ("bin", "packages", "runs"))
        for each in (self.bin, self.packages, self.runs):
            each.mkdir()
        self.environ = {
            name: value for name, value in environ.items() if not name.startswith(("SLURM_", "PJM_", "PBS_"))
        }
        self.environ |= {
            # Without the folders of real launchers and schedulers; env and bash are enough for stubs.
            "PATH": str(self.bin),
            "PYTHONPATH": f"{self.packages}:{repository}",
        }

    def command(self, name: str, script: str) -> Path:
        """Put a command on the PATH."""
        path = self.bin / name
        path.write_text(f"#!/bin/bash\nPATH={os.defpath}\n{script}\n")
        path.chmod(0o755)
        return path

    def mpiexec(self, each_rank: str, version: str = "HYDRA build details:") -> Path:
        """Put an mpiexec on the PATH that runs its command once a rank, with `each_rank` before it."""
        return self.command(
            "mpiexec",
            f'if [ "$1" = --version ]; then echo "{version}"; exit 0; fi\n'
            'while [ "$1" != -n ]; do shift; done\nranks=$2; shift 2\n'
            f'for ((rank = 0; rank < ranks; rank++)); do {each_rank} "$@" || exit; done',
        )

    def package(self, name: str, text: str) -> None:
        """Let Python find a package of this text before any other of the name."""
        (self.packages / f"{name}.py").write_text(text)

    def mpi(self, parallel: bool = True) -> None:
        """Let Python find an MPI, and an h5py that is parallel or not."""
        self.package("mpi4py", FAKE_MPI4PY)
        self.package("h5py", FAKE_H5PY.format(parallel=parallel))

    def situation(self, ranks: int | None = None, **variables: str) -> Situation:
        """Return what the checks are told of this machine."""
        return Situation(self.runs, ranks, {**self.environ, **variables})


@pytest.fixture
def machine(tmp_path, repository, plain_environment):
    return Machine(tmp_path, repository, plain_environment)


@pytest.fixture
def found():
    """Run a check and return its findings by name."""

    def run(check, *arguments, **options):
        return {finding.name: finding for finding in check(*arguments, **options)}

    return run
