"""The entry points: what set-up decides on different machines, and how commands are put on ranks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
TOOLS = """as awk bash cat cut dirname env gcc grep head id ld ldd lscpu mkdir mktemp nproc printf readlink rm
    sed sort stat tail tr uname"""


@pytest.fixture
def machine(tmp_path):
    """Return a machine of our making: one folder of commands is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS.split():
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    (folder / "python3").symlink_to(sys._base_executable)
    return Machine(folder)


class Machine:
    def __init__(self, folder):
        self.folder = folder

    def add(self, name, script):
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def run(self, script, *arguments, **variables):
        environment = {"PATH": str(self.folder), "HOME": os.environ.get("HOME", "/"), **variables}
        return subprocess.run(
            [LAUNCH / script, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )

    def plan(self, *arguments, **variables):
        outcome = self.run("setup.sh", "--plan", *arguments, **variables)
        assert outcome.returncode == 0, outcome.stderr
        lines = [line.split(": ", 1) for line in outcome.stdout.splitlines() if not line.startswith("setup:")]
        return dict(lines)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_and_parses(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_setup_goes_on_serially_without_mpi_and_without_the_right_to_install_it(machine):
    machine.add("id", "echo 1000")
    machine.add("apt-get", "exit 1")
    plan = machine.plan()
    assert plan["apt"] == "nothing"
    assert plan["mpi"] == "none: no mpicc on the PATH; serial"
    assert plan["h5py"] == "serial wheel"


def test_setup_takes_open_mpi_and_its_hdf5_from_debian_as_root(machine):
    machine.add("id", "echo 0")
    machine.add("apt-get", "exit 1")
    machine.add("dpkg", "exit 1")
    plan = machine.plan()
    assert {"openmpi-bin", "libopenmpi-dev", "libhdf5-openmpi-dev"} <= set(plan["apt"].split())
    assert plan["mpi"] == "Open MPI from apt"
    assert plan["h5py"] == "parallel, built on the HDF5 from apt"


def test_setup_asks_for_chromium_for_the_tests_only(machine):
    machine.add("id", "echo 0")
    machine.add("apt-get", "exit 1")
    machine.add("dpkg", "exit 1")
    assert "chromium" not in machine.plan()["apt"]
    assert {"chromium", "chromium-driver"} <= set(machine.plan("--dev")["apt"].split())


def test_setup_asks_for_slurm_for_the_tests_only(machine):
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("needs a machine without a SLURM of its own")
    machine.add("id", "echo 0")
    machine.add("apt-get", "exit 1")
    machine.add("dpkg", "exit 1")
    daemons = {"slurmctld", "slurmd", "slurm-client", "munge"}
    assert not daemons & set(machine.plan()["apt"].split())
    assert daemons <= set(machine.plan("--dev")["apt"].split())
    assert not daemons & set(machine.plan("--dev", SLURM_CONF="/site/slurm.conf")["apt"].split())


def test_setup_takes_a_loaded_mpicc_as_it_is_even_as_root_on_debian(machine):
    if not shutil.which("mpicc"):
        pytest.skip("needs an mpicc to load")
    machine.add("id", "echo 0")
    machine.add("apt-get", "exit 1")
    machine.add("dpkg", "exit 1")
    machine.add("mpicc", f'exec {shutil.which("mpicc")} "$@"')
    plan = machine.plan()
    assert "mpi" not in plan["apt"]
    assert plan["mpi"].endswith(f"({machine.folder}/mpicc)")


def test_setup_says_that_a_broken_mpicc_is_no_mpi(machine):
    machine.add("mpicc", "echo 'licence expired' >&2; exit 1")
    outcome = machine.run("setup.sh", "--plan")
    assert "does not compile (licence expired)" in outcome.stdout
    assert "mpi: none" in outcome.stdout


def test_setup_refuses_an_old_python_in_one_line(machine):
    machine.add("python3.9", "exit 1")
    outcome = machine.run("setup.sh", "--plan", HPC_DS_PYTHON="python3.9")
    assert outcome.returncode != 0
    assert outcome.stderr == "setup: HPC_DS_PYTHON=python3.9 is no Python 3.11 or newer\n"


def test_setup_keeps_the_torch_of_a_site(machine):
    itself, torch = '*sys.executable*) echo "$0"', "*importlib.metadata*) echo 2.5.1+rocm6"
    machine.add("python3", f'case "$*" in {itself} ;; {torch} ;; *) exec {sys._base_executable} "$@" ;; esac')
    assert machine.plan()["torch"].startswith("2.5.1+rocm6 of ")


def test_setup_takes_torch_from_the_index_that_is_named(machine):
    plan = machine.plan(HPC_DS_TORCH_INDEX="https://example.org/cpu")
    assert plan["torch"].endswith("from https://example.org/cpu")


def test_plan_changes_nothing(machine, tmp_path):
    machine.plan(HPC_DS_VENV=str(tmp_path / "environment"))
    assert not (tmp_path / "environment").exists()


def test_setup_in_an_active_environment_starts_from_the_python_that_it_was_made_from(machine, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "active"], check=True)
    plan = machine.plan(HPC_DS_PYTHON=str(tmp_path / "active/bin/python3"))
    assert not plan["python"].startswith(str(tmp_path)), "it would remove what it makes the new one from"


def test_unknown_argument_of_setup_is_refused(machine):
    outcome = machine.run("setup.sh", "--fast")
    assert outcome.returncode == 2
    assert "unknown argument --fast" in outcome.stderr


def test_mpi_runs_plainly_on_one_rank_and_says_so(machine):
    machine.add("mpiexec", "exit 1")
    outcome = machine.run("mpi.sh", "-n", "1", "printf", "ran", HPC_DS_VENV="/nowhere")
    assert outcome.stdout == "ran"
    assert outcome.stderr == "mpi: one rank: running without mpiexec\n"


def test_mpi_runs_on_one_rank_where_there_is_no_mpi_and_says_so(machine):
    outcome = machine.run("mpi.sh", "-n", "4", "printf", "ran", HPC_DS_VENV="/nowhere")
    assert outcome.stdout == "ran"
    assert outcome.stderr == "mpi: there is no MPI here: running on one rank instead of 4\n"


@pytest.mark.parametrize("ranks, expected", [(2, False), (3, True)])
def test_open_mpi_oversubscribes_only_when_there_are_more_ranks_than_cores(machine, ranks, expected):
    machine.add("nproc", "echo 2")
    machine.add("lscpu", "printf '0,0,0\\n1,1,0\\n'")
    machine.add("mpiexec", 'if [ "$1" = --version ]; then echo "mpiexec (OpenRTE) 4.1.4"; else echo "$@"; fi')
    outcome = machine.run("mpi.sh", "-n", str(ranks), "true", HPC_DS_VENV="/nowhere")
    assert ("--oversubscribe" in outcome.stdout) is expected
    assert outcome.stdout.endswith(f"-n {ranks} true\n")


def test_mpich_gives_way_only_when_there_are_more_ranks_than_cores(machine):
    machine.add("nproc", "echo 2")
    machine.add("lscpu", "printf '0,0,0\\n1,1,0\\n'")
    run = 'echo "${MPIR_CVAR_ENABLE_HEAVY_YIELD:-0}" "$@"'
    machine.add("mpiexec", f'if [ "$1" = --version ]; then echo HYDRA; else {run}; fi')
    assert machine.run("mpi.sh", "-n", "2", "true", HPC_DS_VENV="/nowhere").stdout == "0 -n 2 true\n"
    assert machine.run("mpi.sh", "-n", "3", "true", HPC_DS_VENV="/nowhere").stdout == "1 -n 3 true\n"


# What `mpiexec --version` begins with, and what shows that two ranks of one thread are bound to cores of their own.
FAMILIES = {
    "mpiexec (OpenRTE) 4.1.4": "--map-by slot:PE=1 --bind-to core",
    "mpiexec (Open MPI) 5.0.11": "--map-by slot:PE=1 --bind-to core",
    "HYDRA build details:": "-bind-to core:1",
    "Intel(R) MPI Library for Linux* OS": "PIN=on CELL=core DOMAIN=1:compact",
}


@pytest.fixture
def two_cores(machine):
    """Return a machine of two cores whose mpiexec prints what it is told; `bound` are other programs' cores."""

    def make(version, bound="0-1"):
        machine.add("nproc", "echo 2")
        machine.add("lscpu", "printf '0,0,0\\n1,1,0\\n'")
        machine.add(
            "sed", f'case "$*" in *Cpus_allowed_list*) echo 0-1 ;; *) exec {shutil.which("sed")} "$@" ;; esac'
        )
        status = f"printf 'Name: x\\nVmRSS: 1 kB\\nCpus_allowed_list: {bound}\\n'"
        kernel = "printf 'Name: kthread\\nCpus_allowed_list: 1\\n'"
        others = f"/proc/*) {status}; {kernel} ;; */online) echo 0-1 ;;"
        machine.add("cat", f'case "$*" in {others} *) exec {shutil.which("cat")} "$@" ;; esac')
        variables = "PIN=$I_MPI_PIN CELL=$I_MPI_PIN_CELL DOMAIN=$I_MPI_PIN_DOMAIN OMP=$OMP_NUM_THREADS"
        machine.add(
            "mpiexec", f'if [ "$1" = --version ]; then echo "{version}"; else echo "$@ {variables}"; fi'
        )
        return lambda *words, **variables: machine.run("mpi.sh", *words, HPC_DS_VENV="/nowhere", **variables)

    return make


@pytest.mark.parametrize("version", FAMILIES)
def test_ranks_are_bound_only_when_that_is_asked_for(two_cores, version):
    run = two_cores(version)
    assert FAMILIES[version] in run("-n", "2", "--bind", "true").stdout
    assert FAMILIES[version] not in run("-n", "2", "true").stdout


def test_intel_mpi_binds_by_itself_and_is_told_not_to(two_cores):
    assert "PIN=off" in two_cores("Intel(R) MPI Library")("-n", "2", "true").stdout


@pytest.mark.parametrize("version", FAMILIES)
def test_ranks_for_which_there_are_too_few_cores_are_not_bound(two_cores, version):
    run = two_cores(version)
    for words, told in ((["-n", "3"], "3 ranks of 1"), (["-n", "2", "-t", "2"], "2 ranks of 2")):
        outcome = run(*words, "--bind", "true")
        assert f"{told} threads do not fit 2 cores: binding nothing" in outcome.stderr
        assert (
            "core:" not in outcome.stdout and "slot:" not in outcome.stdout and "PIN=on" not in outcome.stdout
        )


def test_ranks_are_not_bound_where_other_programs_are(two_cores):
    outcome = two_cores("HYDRA", bound="1")("-n", "2", "--bind", "true")
    assert outcome.stderr == "mpi: other programs are bound to cores of this machine: binding nothing\n"
    assert "bind-to" not in outcome.stdout


def test_threads_of_a_rank_win_over_the_environment(two_cores):
    run = two_cores("HYDRA")
    assert "OMP=2" in run("-n", "2", "-t", "2", "true", OMP_NUM_THREADS="5").stdout
    assert "OMP=5" in run("-n", "2", "true", OMP_NUM_THREADS="5").stdout


def test_too_many_threads_are_told(two_cores):
    outcome = two_cores("HYDRA")("-n", "2", "-t", "4", "true")
    assert outcome.stderr == "mpi: 2 ranks of 4 threads take turns on 2 cores: -t 1 is faster\n"
    assert two_cores("HYDRA")("-n", "64", "true").stderr == "", (
        "ranks of one thread that take turns are usual"
    )


@pytest.mark.parametrize("words", [["-t"], ["-t", "0"], ["-t", "two"], ["--bound"]])
def test_options_of_mpi_that_are_wrong_are_refused(machine, words):
    outcome = machine.run("mpi.sh", "-n", "2", *words, "true", HPC_DS_VENV="/nowhere")
    assert outcome.returncode == 2
    assert outcome.stderr.count("\n") == 1 and "usage: launch/mpi.sh -n N" in outcome.stderr


@pytest.mark.parametrize("arguments", [[], ["-n"], ["-n", "zero", "true"], ["-n", "0", "true"], ["-n", "2"]])
def test_mpi_explains_itself_when_called_wrongly(machine, arguments):
    outcome = machine.run("mpi.sh", *arguments, HPC_DS_VENV="/nowhere")
    assert outcome.returncode == 2
    assert "usage: launch/mpi.sh -n N [-t THREADS] [--bind] command" in outcome.stderr


def test_ranks_get_one_thread_each_unless_told_otherwise(machine):
    command = ["-n", "1", "bash", "-c", "echo $OMP_NUM_THREADS $NUMBA_NUM_THREADS"]
    assert machine.run("mpi.sh", *command, HPC_DS_VENV="/nowhere").stdout == "1 1\n"
    assert machine.run("mpi.sh", *command, HPC_DS_VENV="/nowhere", OMP_NUM_THREADS="3").stdout == "3 1\n"


def test_the_container_takes_files_that_are_there_and_its_steps_parse(tmp_path):
    text = (LAUNCH / "apptainer.def").read_text()
    sections = dict(re.findall(r"^%(\w+)\n((?:(?!%).*\n?)*)", text, re.MULTILINE))
    taken = [line.split()[0] for line in sections["files"].splitlines() if line.strip()]
    assert {"hpc_ds", "launch", "setup.cfg"} <= set(taken)
    assert [name for name in taken if not (LAUNCH.parent / name).exists()] == []
    for name in ("post", "environment", "runscript", "test"):
        done = subprocess.run(["sh", "-n"], input=sections[name], text=True, capture_output=True)
        assert (name, done.returncode, done.stderr) == (name, 0, "")
