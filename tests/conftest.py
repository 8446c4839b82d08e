"""What all tests share: the guard under mpiexec, and fixtures for data, ranks and rights."""

import contextlib
import ctypes
import faulthandler
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LAUNCHER_PREFIXES = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA_", "HYDI_", "MPIR_", "I_MPI_")
LAUNCHER_VARIABLES = ("MPI_LOCALNRANKS", "MPI_LOCALRANKID")
GRACE_SECONDS = 60.0  # how long after pytest-timeout's limit faulthandler, the last resort, ends the process
STDERR: pytest.StashKey[int] = pytest.StashKey()

Run = Callable[..., "subprocess.CompletedProcess[str]"]


# ---- the guard: a rank that fails or hangs ends all ranks -------------------------------------------------


class AbortOnFailure:
    """Reports and aborts: the others may be waiting in a collective call that this rank will never reach."""

    def __init__(self, world, stderr: int) -> None:
        self.world, self.stderr = world, stderr

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item):
        """Abort on a test that fails in any of its phases."""
        report = yield
        if report.failed:
            self.abort(report.nodeid, report.longreprtext)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Abort on a file that cannot be imported."""
        if report.failed:
            self.abort(report.nodeid, report.longreprtext)

    def pytest_internalerror(self, excrepr) -> None:
        """Abort on an error in pytest or a plugin."""
        self.abort("pytest itself", str(excrepr))

    def abort(self, what: str, why: str) -> None:
        """Write past pytest's capture, and end all ranks."""
        where = f"rank {self.world.Get_rank()} of {self.world.Get_size()}"
        text = f"\n==== {where}: {what}\n{why}\n==== 1 failed on {where}: all ranks end here\n"
        os.write(self.stderr, text.encode())
        self.world.Abort(1)


@pytest.hookimpl(trylast=True)  # the reporter that is silenced must be there
def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr before pytest captures it; set the guard, and let rank 0 alone talk."""
    config.stash[STDERR] = os.dup(2)
    if not config.getoption("--with-mpi", default=False):
        return
    from mpi4py import MPI

    if MPI.COMM_WORLD.Get_size() > 1:
        config.pluginmanager.register(AbortOnFailure(MPI.COMM_WORLD, config.stash[STDERR]))
    if MPI.COMM_WORLD.Get_rank() > 0:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        reporter._tw._file = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process lives


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """End the process, with the stacks of all its threads, when even pytest-timeout could not."""
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0]) if marker and marker.args else float(item.config.getini("timeout") or 0)
    if limit > 0:
        faulthandler.dump_traceback_later(limit + GRACE_SECONDS, exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


# ---- fixtures ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real data, or skip: they are not part of the repository."""
    folder = os.environ.get("HPC_DS_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"needs real data: HPC_DS_DATA={folder or '(unset)'} is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """Return the environment without the launcher's variables: for children that are not ranks."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(LAUNCHER_PREFIXES) and name not in LAUNCHER_VARIABLES
    }


@pytest.fixture
def mpiexec(plain_environment: dict[str, str]) -> Run:
    """Run a command on several ranks: `mpiexec(3, [sys.executable, "-c", "..."], timeout=60, env={...})`.

    Returns the completed process with its output as text. `env` adds to the environment. Skips without MPI.
    """
    if not _finds_mpi():
        pytest.skip("needs MPI: there is no mpiexec here")

    def run(ranks: int, command: Sequence[object], *, timeout: float = 120.0, cwd=None, env=None):
        full = [str(REPOSITORY / "launch" / "mpi.sh"), "-n", str(ranks), *map(str, command)]
        return _run_group(full, timeout, cwd=cwd, env={**plain_environment, **(env or {})})

    return run


@pytest.fixture
def needs_root() -> None:
    """Skip where the test does not run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def unprivileged(plain_environment: dict[str, str], tmp_path: Path) -> Run:
    """Run a command that file permissions bind, also as root: `unprivileged([sys.executable, ...])`.

    As root, the child keeps its user but loses the capabilities to pass over permission bits: unlike another
    user, it can still read an interpreter and a checkout below root's home. Skips where that cannot be.
    """

    def run(command: Sequence[object], *, timeout: float = 120.0, cwd=None, env=None):
        full = [str(word) for word in command]
        variables = {**plain_environment, **(env or {})}
        return _run_group(full, timeout, cwd=cwd, env=variables, preexec_fn=_obey_permissions)

    locked = tmp_path / "locked"
    locked.write_text("no entry")
    locked.chmod(0)
    with contextlib.suppress(subprocess.SubprocessError):
        if run(["cat", locked]).returncode != 0:
            locked.unlink()
            return run
    pytest.skip("needs a user whom file permissions bind: root's capabilities cannot be dropped here")


def _finds_mpi() -> bool:
    venv = Path(os.environ.get("HPC_DS_VENV") or REPOSITORY / ".venv")
    recorded = venv / "hpc-ds" / "mpiexec"
    if recorded.exists():
        return bool(recorded.read_text().strip())
    return any(shutil.which(name) for name in ("mpiexec", "mpirun"))


def _run_group(command: Sequence[str], timeout: float, **options) -> "subprocess.CompletedProcess[str]":
    """Run `command` in a process group of its own; past `timeout` seconds kill the group and fail."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes, **options) as child:
        try:
            stdout, stderr = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            stdout, stderr = child.communicate()
            pytest.fail(f"{' '.join(command)} did not end within {timeout} s\n{stdout}\n{stderr}")
    return subprocess.CompletedProcess(command, child.returncode, stdout, stderr)


def _obey_permissions() -> None:
    """As root, drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH for good from what is exec'ed next."""
    if os.geteuid() != 0:
        return
    drop_from_bounding_set = 24  # PR_CAPBSET_DROP of linux/prctl.h
    for capability in (1, 2):  # of linux/capability.h
        if ctypes.CDLL(None, use_errno=True).prctl(drop_from_bounding_set, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_CAPBSET_DROP)")
