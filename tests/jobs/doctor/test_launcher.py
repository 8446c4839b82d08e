"""Launchers that belong to another MPI, refuse, hang or are not there are told apart."""

import shutil

import pytest

from hpc_ds.jobs.doctor.launcher import NAME, check_launcher, family_of

RANKS = "FAKE_SIZE=$ranks FAKE_RANK=$rank"


def look(machine, found, **options):
    return found(check_launcher, machine.situation(**options))[NAME]


def test_ranks_that_find_each_other_are_all_right(machine, found):
    machine.mpi()
    machine.mpiexec(f"env {RANKS}")
    told = look(machine, found, ranks=3)
    assert told.state == "ok" and "3 ranks find each other" in told.found


def test_an_mpiexec_of_another_mpi_starts_singletons(machine, found):
    machine.mpi()
    path = machine.mpiexec("")
    told = look(machine, found)
    assert told.state == "wrong"
    assert f"{path} starts 2 singletons" in told.found and "mpi4py's, which is Fake MPI" in told.found
    assert "launch/" in told.cure


def test_the_child_gets_nothing_of_the_launcher_that_started_the_doctor(machine, found):
    machine.mpi()
    machine.mpiexec('if [ -n "$PMI_SIZE$OMPI_COMM_WORLD_SIZE" ]; then exit 9; fi; env ' + RANKS)
    assert look(machine, found, PMI_SIZE="8", OMPI_COMM_WORLD_SIZE="8").state == "ok"


def test_ranks_whose_launcher_writes_what_they_say_into_files_are_heard(
    machine, found, tmp_path, monkeypatch
):
    machine.mpi()
    machine.mpiexec(f"mkdir -p output.7/0/1; exec >output.7/0/1/stdout.1.$rank; env {RANKS}")
    monkeypatch.chdir(tmp_path)
    assert look(machine, found).state == "ok"
    assert not list(tmp_path.glob(".doctor-*"))


def test_a_launcher_that_refuses_root_but_works_is_noted(machine, found):
    machine.mpi()
    refuse = (
        'if [ -z "$OMPI_ALLOW_RUN_AS_ROOT" ]; then echo "an attempt to run as root" >&2; exit 1; fi; env '
    )
    machine.mpiexec(refuse + RANKS)
    machine.environ.pop("OMPI_ALLOW_RUN_AS_ROOT", None)
    told = look(machine, found)
    assert told.state == "note" and told.cure.startswith("export OMPI_ALLOW_RUN_AS_ROOT=1")


def test_a_launcher_that_hangs_is_wrong_but_on_a_login_node_it_may_be_forbidden(machine, found):
    machine.mpi()
    machine.mpiexec("sleep 600; ")
    told = found(check_launcher, machine.situation(), seconds=0.5)[NAME]
    assert told.state == "wrong" and "no answer within 0.5 s" in told.found
    machine.command("sbatch", "exit 0")
    told = found(check_launcher, machine.situation(), seconds=0.5)[NAME]
    assert told.state == "note" and told.cure == "srun --mpi=pmix -n 2 hpc-ds doctor"


def test_a_launcher_that_fails_passes_its_words_on(machine, found):
    machine.mpi()
    machine.mpiexec("echo 'no licence' >&2; exit 3;")
    assert "exit code 3: no licence" in look(machine, found).found


def test_no_launcher_is_noted(machine, found):
    assert look(machine, found).state == "note"


def test_in_a_job_srun_is_tried_with_its_plugin(machine, found):
    machine.mpi()
    script = 'if [ "$1" = --mpi=list ]; then echo "MPI plugin types are..."; echo pmix; exit; fi\n'
    script += '[ "$1" = --mpi=pmix ] || exit 1\nshift 5\n'
    machine.command("srun", script + 'for r in 0 1; do FAKE_SIZE=2 FAKE_RANK=$r "$@"; done')
    told = look(machine, found, SLURM_JOB_ID="7")
    assert told.state == "ok" and told.found.startswith("srun")


@pytest.mark.parametrize(
    "version, family",
    [
        ("mpiexec (OpenRTE) 4.1.4", "Open MPI"),
        ("mpiexec (Open MPI) 5.0.11", "Open MPI"),
        ("HYDRA build details:", "MPICH"),
        ("Intel(R) MPI Library for Linux* OS", "Intel MPI"),
        ("MVP 7", "MVP 7"),
    ],
)
def test_launchers_are_known_by_their_version(machine, version, family):
    assert family_of(str(machine.mpiexec("", version)), machine.situation()) == family


def test_the_mpi_of_this_environment_is_all_right(machine, found, mpiexec, plain_environment, repository):
    real = {**plain_environment, "PYTHONPATH": str(repository)}
    if not shutil.which("mpiexec", path=real["PATH"]):
        pytest.skip("needs an mpiexec on the PATH")
    machine.environ = {**real, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    told = look(machine, found)
    assert told.state == "ok", told
