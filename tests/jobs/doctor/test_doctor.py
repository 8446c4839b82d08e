"""The verb: what it prints, its exit code, and what it leaves alone."""

import json
import os
import subprocess
import sys

from hpc_ds.jobs.doctor import Finding
from hpc_ds.jobs.doctor.child import Outcome, run
from hpc_ds.jobs.doctor.diagnosis import examine, leads
from hpc_ds.jobs.doctor.table import show

HEAVY = {"mpi4py", "torch", "dask", "distributed", "numba", "h5py", "numpy"}
COMMAND = [sys.executable, "-c", "from hpc_ds.cli import main; main()", "doctor"]


def loaded(code, repository, environment):
    names = "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    outcome = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{names}"],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "loaded:" in outcome.stdout, outcome.stderr
    return set(outcome.stdout.split("loaded:")[1].split())


def test_importing_the_doctor_loads_nothing_heavy(repository, plain_environment):
    assert (
        not loaded("import hpc_ds.jobs.doctor, hpc_ds.jobs.doctor.table", repository, plain_environment)
        & HEAVY
    )


def test_a_whole_examination_loads_neither_mpi_nor_compilers_into_its_own_process(
    repository, plain_environment
):
    code = "from hpc_ds import cli; sys.argv = ['hpc-ds', 'doctor']\ncode = cli._command()"
    assert not loaded(code, repository, plain_environment) & (HEAVY - {"numpy"})


def doctor(environment, repository, *words):
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_findings_are_told_as_json_and_nothing_else(repository, plain_environment, tmp_path):
    outcome = doctor(plain_environment, repository, "--json", "--out", tmp_path, "--ranks", "2")
    told = json.loads(outcome.stdout)
    assert outcome.stderr == ""
    assert told["format"] == 1 and told["state"] in ("ok", "note", "wrong")
    assert outcome.returncode == (1 if told["state"] == "wrong" else 0)
    assert {"MPI launcher", "threads", "compiled kernels", "file locks"} <= {
        each["name"] for each in told["findings"]
    }


def test_something_wrong_ends_with_exit_code_1_and_its_cure(repository, plain_environment):
    outcome = doctor({**plain_environment, "NUMBA_CACHE_DIR": "/proc/nowhere"}, repository)
    assert outcome.returncode == 1
    assert "wrong compiled kernels: /proc/nowhere cannot be written here" in outcome.stdout
    assert "\ncompiled kernels (wrong):\n    export NUMBA_CACHE_DIR=" in outcome.stdout
    assert "will stop or spoil runs" in outcome.stdout.splitlines()[-1]


def test_ranks_that_cannot_talk_are_told_once_and_all_fail(repository, machine):
    machine.mpi()
    told = []
    for rank in "01":
        environment = {**machine.environ, "PMI_SIZE": "2", "PMI_RANK": rank}
        outcome = doctor(environment, repository)
        assert outcome.returncode == 1
        told.append([line for line in outcome.stdout.splitlines() if line.startswith("wrong ranks:")])
    assert [len(each) for each in told] == [1, 0]
    assert "launched as 2 ranks, but mpi4py sees one" in told[0][0]


def test_a_terminal_gets_a_table_and_commands_to_copy_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    cure = "export A=" + "x" * 200
    show([Finding("one", "ok", "fine"), Finding("two", "wrong", "bad", cure)])
    told = capsys.readouterr().out
    assert f"\n    {cure}\n" in told
    assert told.splitlines()[-1] == "hpc-ds doctor: 1 thing will stop or spoil runs"
    assert "checked" in told
    monkeypatch.setenv("TERM", "dumb")
    show([Finding("one", "ok", "fine")])
    assert capsys.readouterr().out.startswith("ok    one: fine\n")


def test_the_first_of_the_launched_processes_speaks():
    assert leads({}) and leads({"PMI_RANK": "0"}) and leads({"SLURM_PROCID": "0", "PMIX_RANK": "0"})
    assert not leads({"PMI_RANK": "1"}) and not leads({"OMPI_COMM_WORLD_RANK": "3"})


def test_a_check_that_cannot_be_done_is_a_finding(machine):
    def check_moon(situation):
        raise OSError("too far")
        yield

    assert examine(machine.situation(), (check_moon,)) == [
        Finding("moon", "note", "could not be looked at: too far")
    ]


def test_a_child_past_its_time_is_killed_with_its_children():
    outcome = run(["/bin/sh", "-c", "echo begun; sleep 600 & sleep 600"], os.environ, seconds=0.5)
    assert outcome == Outcome(None, "begun\n", "no answer within 0.5 s")


def test_a_command_that_is_not_there_is_an_outcome_too(machine):
    assert (
        run(["/no/such/command"], machine.environ).last_words == "/no/such/command: No such file or directory"
    )
