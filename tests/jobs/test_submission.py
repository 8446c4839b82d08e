"""Submission: scripts in a folder of their own, ids, and the scheduler's refusal in its own words."""

import json
import os
import subprocess
import time

import pytest

from hpc_ds.jobs.submission import layout, new_folder, preview, submit, what_next
from hpc_ds.runtime.errors import InputError

COUNTING = 'n=$(cat {0}/n 2>/dev/null || echo 10); echo $((n + 1)) >{0}/n; echo "$@" >>{0}/calls; echo $n'
REFUSING = (
    'echo "$@" >>{0}/calls; [ $(wc -l <{0}/calls) -lt 3 ] && echo 7 && exit\n'
    'echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1'
)


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    """Return a function that puts a fake program first on the PATH; what it was called with stands in `calls`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def make(name, body):
        (programs / name).write_text(f"#!/bin/bash\n{body.format(tmp_path)}\n")
        (programs / name).chmod(0o755)

    return make


def calls(tmp_path):
    return (tmp_path / "calls").read_text().splitlines()


def test_a_chain_is_submitted_link_after_link(make, scheduler, tmp_path):
    scheduler("sbatch", COUNTING)
    job = make("slurm", chain=3)
    assert submit(job) == ["10", "11", "12"]
    script = str(job.folder / "job.sh")
    assert calls(tmp_path) == [
        f"--parsable {script} 1",
        f"--parsable --dependency=afterany:10 {script} 2",
        f"--parsable --dependency=afterany:11 {script} 3",
    ]
    assert json.loads((job.folder / "submission.json").read_text())["ids"] == ["10", "11", "12"]
    assert os.access(script, os.X_OK)


def test_what_can_be_done_next_is_said(make):
    told = "\n".join(what_next(make("slurm", chain=2), ["10", "11"]))
    assert "squeue -j 10,11" in told and "hpc-ds status runs/first" in told and "scancel 10 11" in told
    assert "pjdel 64" in "\n".join(what_next(make("pjm", chain=2), ["64_1", "64_2"]))


def test_a_refusal_is_told_in_the_scheduler_s_words_and_what_was_submitted_is_cancelled(
    make, scheduler, tmp_path
):
    scheduler("sbatch", REFUSING)
    scheduler("scancel", 'echo "$@" >{0}/cancelled')
    with pytest.raises(
        InputError, match=r"sbatch refuses \(exit code 1\): sbatch: error: QOSMaxSubmitJobPerUserLimit"
    ):
        submit(make("slurm", chain=4))
    assert (tmp_path / "cancelled").read_text() == "7 7\n"


def test_a_job_that_was_never_submitted_leaves_nothing(make, scheduler, tmp_path):
    scheduler("sbatch", "echo 'sbatch: error: Invalid account' >&2; exit 1")
    job = make("slurm")
    with pytest.raises(InputError, match="Invalid account"):
        submit(job)
    assert not (tmp_path / "runs").exists()


def test_folders_that_were_there_before_stay(make, scheduler, tmp_path):
    scheduler("sbatch", "exit 1")
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError):
        submit(make("slurm"))
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(InputError, match=r"cannot be made \(File exists\); choose another --out-logs"):
        submit(make("slurm", folder=tmp_path / "mine"))
    assert (tmp_path / "mine" / "file").exists()


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_submitted(make, scheduler, tmp_path):
    scheduler("sbatch", COUNTING)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be made \(Not a directory\)"):
        submit(make("slurm", folder=tmp_path / "file" / "jobs" / "1"))
    assert not (tmp_path / "calls").exists()


def test_an_interrupt_between_links_cancels_those_that_were_submitted(make, scheduler, tmp_path, monkeypatch):
    scheduler("sbatch", COUNTING)
    scheduler("scancel", 'echo "$@" >{0}/cancelled')
    job, run = make("slurm", chain=3), subprocess.run

    def interrupted(words, **more):
        if words[0] == "sbatch" and words[-1] == "3":
            raise KeyboardInterrupt
        return run(words, **more)

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit(job)
    assert (tmp_path / "cancelled").read_text() == "10 11\n"


def test_a_scheduler_s_command_that_is_no_program_is_said(make, scheduler, tmp_path, monkeypatch):
    scheduler("sbatch", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "sbatch").write_bytes(b"\x7fELF, but not for this machine")
    with pytest.raises(InputError, match="sbatch: cannot be run"):
        submit(make("slurm"))


def test_an_answer_without_an_id_is_no_submission(make, scheduler):
    scheduler("sbatch", "echo submitted, thank you")
    with pytest.raises(InputError, match="no job id; it said: submitted, thank you"):
        submit(make("slurm"))


def test_without_the_scheduler_s_command_nothing_is_written(make, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    job = make("fugaku", group="g")
    with pytest.raises(InputError, match="pjsub: not found"):
        submit(job)
    assert not job.folder.exists()


def test_a_scheduler_that_we_do_not_speak_is_said(make):
    with pytest.raises(InputError, match="NQSV"):
        preview(make("earth-simulator"))


def test_folders_lie_beside_the_run_folder_and_are_counted(tmp_path):
    assert new_folder("runs/first/", "x", tmp_path) == tmp_path / "runs" / "first.jobs" / "1"
    (tmp_path / "runs" / "first.jobs" / "1").mkdir(parents=True)
    assert new_folder("runs/first", "x", tmp_path).name == "2"
    assert new_folder(None, "x", tmp_path) == tmp_path / "x.jobs" / "1"
    assert new_folder("/abs/run", "x", tmp_path).parent.as_posix() == "/abs/run.jobs"


def test_a_staged_environment_is_packed(make, scheduler, tmp_path):
    scheduler("sbatch", "echo 7")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").write_text("")
    job = make("slurm", venv=str(tmp_path / "venv"), stage_venv=True)
    submit(job)
    listed = subprocess.run(
        ["tar", "-tf", job.folder / "venv.tar"], capture_output=True, text=True, check=True
    )
    assert "./bin/python" in listed.stdout.split()


def test_a_local_chain_runs_in_the_background_to_its_end(make, tmp_path):
    program = tmp_path / "count.sh"
    program.write_text(
        "#!/bin/bash\nn=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; [ $n = 2 ] || exit 75\n"
    )
    program.chmod(0o755)
    job = make("local", command=(str(program),), chain=5)
    (pid,) = submit(job)
    end = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}/cwd") and time.monotonic() < end:  # a dead one not waited for has none
        time.sleep(0.05)
    assert (tmp_path / "n").read_text() == "3\n"  # stopped twice, then done; the rest had nothing to do


def test_the_layout_says_what_each_rank_has_and_warns_of_straddling(make):
    told = layout(make("fugaku", group="g", nodes=2, ranks_per_node=4, threads=12))
    assert told == (
        "layout: 2 x 4 ranks, 8 in all, of 12 threads, on 48 cores in 4 memory domains a node, 7 GiB a rank at most"
    )
    assert "straddle" in layout(make("fugaku", group="g", ranks_per_node=3, threads=16))
    assert layout(make("slurm")) == "layout: 1 x 1 rank, 1 in all, of 1 thread"


def test_the_public_names_do_the_same(make, tmp_path):
    from hpc_ds import jobs

    job = jobs.make_job({**make("slurm", nodes=2).model_dump(), "machine": jobs.machine("slurm")})
    assert jobs.preview(job) == preview(make("slurm", nodes=2))


def test_the_preview_shows_script_commands_cost_and_doubts(make):
    told = preview(make("fugaku", group="g", nodes=2, chain=2))
    assert "#PJM -g g" in told and "submit: pjsub -z jid --step --sparam sn=1 " in told
    assert "--sparam jid=ID-OF-LINK-1,sn=2,sd=ec==0:all:1" in told
    assert "at most 8 node-hours in all (2 links)" in told and "not verified: step_end" in told
