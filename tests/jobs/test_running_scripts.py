"""What scripts do when they run: deadline, notice, exit codes, and whether a chain goes on."""

import os
import signal
import subprocess
import time

import pytest

from hpc_ds.jobs import local, slurm

STATE = '{"format": 1, "kind": "infer", "state": "%s"}'
SRUN_TWICE = """
if [ "$*" = --mpi=list ]; then echo pmix; exit; fi
while [ "${1#--}" != "$1" ]; do shift; done
"$@" && exec "$@"
"""
STUBBORN = """
trap 'echo told; sleep 0.3; exit 75' USR1
touch running
while :; do sleep 0.05; done
"""


def wait_for(path):
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def chained(make, bench, **given):
    job = make("slurm", chain=3, **given)
    return job, bench.write(job, slurm.render(job))


def record(job, code):
    (job.folder / "ended").mkdir(exist_ok=True)
    (job.folder / "ended" / "0").write_text(f"{code}\n")


def test_the_command_gets_its_words_its_threads_and_the_end_of_the_job(make, bench):
    bench.program(
        "hpc-ds",
        'echo "words: $*"; echo "threads: $OMP_NUM_THREADS"; echo "left: $((HPC_DS_DEADLINE - $(date +%s)))"',
    )
    job = make("slurm", threads=3, command=("hpc-ds", "infer", "a b", "caf\u00e9"))
    code, told = bench.run(bench.write(job, slurm.render(job)))
    assert code == 0 and "words: infer a b caf\u00e9" in told and "threads: 3" in told
    assert (
        3590 <= int(told.partition("left: ")[2].split()[0]) <= 3600
    )  # what squeue says, not the two hours asked for


def test_without_an_answer_of_squeue_the_limit_counts_from_now(make, bench):
    bench.program("squeue", "exit 1")
    bench.program("hpc-ds", 'echo "left: $((HPC_DS_DEADLINE - $(date +%s)))"')
    job = make("slurm")
    _, told = bench.run(bench.write(job, slurm.render(job)))
    assert 7190 <= int(told.partition("left: ")[2].split()[0]) <= 7200


def test_a_short_job_may_use_most_of_its_time(make, bench):
    # hpc-ds stops 60 s before HPC_DS_DEADLINE; a job of 100 s must not stop after 40.
    bench.program("squeue", "exit 1")
    bench.program("hpc-ds", 'echo "left: $((HPC_DS_DEADLINE - $(date +%s) - 60))"')
    job = make("slurm", seconds=100.0)
    _, told = bench.run(bench.write(job, slurm.render(job)))
    assert 85 <= int(told.partition("left: ")[2].split()[0]) <= 90


def test_without_the_mpi_plugin_nothing_starts(make, bench):
    bench.program("srun", 'if [ "$1" = --mpi=list ]; then echo "none pmi2"; else touch started; fi')
    job = make("slurm")
    code, told = bench.run(bench.write(job, slurm.render(job)))
    assert code == 2 and "no MPI plugin pmix" in told and not (bench.folder / "started").exists()


def test_a_module_that_does_not_load_ends_the_job(make, bench):
    bench.program("hpc-ds", "touch started")
    job = make("slurm", modules=("nosuch/1",))
    code, told = bench.run(bench.write(job, slurm.render(job)))
    assert code == 1 and "module" in told and not (bench.folder / "started").exists()


def test_a_staged_environment_is_there_once_a_node_and_gone_after_the_job(make, bench):
    storage = bench.folder / "node"
    (bench.folder / "venv" / "bin").mkdir(parents=True)
    (bench.folder / "venv" / "bin" / "hpc-ds").write_text('print("staged from", __file__)')
    storage.mkdir()
    bench.program("srun", SRUN_TWICE)
    job = make("slurm", venv=str(bench.folder / "venv"), stage_venv=True)
    script = bench.write(job, slurm.render(job))
    subprocess.run(["tar", "-cf", job.folder / "venv.tar", "-C", bench.folder / "venv", "."], check=True)
    code, told = bench.run(script, TMPDIR=str(storage))
    assert code == 0 and f"staged from {storage}/hpc-ds-first-" in told
    assert list(storage.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_notice_reaches_the_ranks_and_their_exit_code_is_the_job_s(make, bench, number):
    bench.program("hpc-ds", STUBBORN)
    job, script = chained(make, bench)
    child = bench.start(script, 1)
    wait_for(bench.folder / "running")
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 75 and "told" in out and "link 2 goes on" in err
    assert (job.folder / "ended" / "0").read_text() == "75\n"


def test_a_script_with_a_clock_tells_the_ranks_itself(make, bench):
    bench.program("hpc-ds", STUBBORN)
    job = make("local", seconds=2.0, notice=1.0)
    code, told = bench.run(bench.write(job, local.render(job)))
    assert code == 75 and "told" in told


def test_the_signal_of_pjm_s_limit_is_passed_on_too(make, bench):
    bench.program("hpc-ds", STUBBORN)
    job = make("local", seconds=600.0)
    child = bench.start(bench.write(job, local.render(job)))
    wait_for(bench.folder / "running")
    child.send_signal(signal.SIGXCPU)
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 75 and "told" in out


@pytest.mark.parametrize("before", ["75", "137", "143", "152", "9", ""])
def test_the_next_link_goes_on_after_a_stop_or_a_kill(make, bench, before):
    bench.program("hpc-ds", "touch started")
    job, script = chained(make, bench)
    record(job, before)
    code, _ = bench.run(script, 2)
    assert code == 0 and (bench.folder / "started").exists()
    assert (job.folder / "ended" / "0").read_text() == "0\n"


@pytest.mark.parametrize(
    ("before", "told"), [("1", "failed with exit code 1"), ("2", "failed with exit code 2")]
)
def test_the_chain_ends_early_after_a_failure_and_says_so(make, bench, before, told):
    bench.program("hpc-ds", "touch started")
    job, script = chained(make, bench)
    record(job, before)
    code, said = bench.run(script, 2)
    assert code == int(before) and told in said and not (bench.folder / "started").exists()


def test_a_killed_link_leaves_no_exit_code_of_the_link_before(make, bench):
    bench.program("hpc-ds", STUBBORN)
    job, script = chained(make, bench)
    record(job, "75")
    child = bench.start(script, 2)
    wait_for(bench.folder / "running")
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
    assert not (job.folder / "ended" / "0").exists()


def test_nothing_is_left_to_do_when_the_run_folder_says_done(make, bench):
    bench.program("hpc-ds", "touch started")
    _, script = chained(make, bench)
    (bench.folder / "runs" / "first").mkdir(parents=True)
    (bench.folder / "runs" / "first" / "state.json").write_text(STATE % "done")
    code, told = bench.run(script, 2)
    assert code == 0 and "nothing left" in told and not (bench.folder / "started").exists()


def test_a_folder_that_was_done_before_the_submission_may_grow(make, bench):
    (bench.folder / "runs" / "first").mkdir(parents=True)
    (bench.folder / "runs" / "first" / "state.json").write_text(STATE % "done")
    time.sleep(0.02)
    bench.program("hpc-ds", "touch started")
    _, script = chained(make, bench)
    assert bench.run(script, 1)[0] == 0 and (bench.folder / "started").exists()


def test_tasks_of_a_sweep_do_their_points_in_turn(make, bench):
    bench.program("hpc-ds", 'echo "$*" >>"log-$SLURM_ARRAY_TASK_ID"')
    machine = make("slurm").machine.model_copy(update={"max_submitted": 2})
    job = make("slurm", machine=machine, sweep=["seed=1,2,3,4,5"])
    script = bench.write(job, slurm.render(job))
    for task in range(2):
        assert bench.run(script, SLURM_ARRAY_TASK_ID=str(task))[0] == 0
    seeds = [
        [line.split()[-1] for line in (bench.folder / f"log-{task}").read_text().splitlines()]
        for task in range(2)
    ]
    assert seeds == [["1", "3", "5"], ["2", "4"]]


def test_a_task_that_is_stopped_leaves_the_other_points_to_the_next_link(make, bench):
    bench.program("hpc-ds", 'echo "$*" >>log; [ "${*: -1}" != 2 ] || exit 75')
    machine = make("slurm").machine.model_copy(update={"max_submitted": 1})
    job = make("slurm", machine=machine, sweep=["seed=1,2,3"])
    assert bench.run(bench.write(job, slurm.render(job)))[0] == 75
    assert [line.split()[-1] for line in (bench.folder / "log").read_text().splitlines()] == ["1", "2"]


def test_a_failing_point_does_not_stop_the_others_but_shows_in_the_exit_code(make, bench):
    bench.program("hpc-ds", 'echo "$*" >>log; [ "${*: -1}" != 2 ] || exit 1')
    job = make("local", sweep=["seed=1,2,3"])
    assert bench.run(bench.write(job, local.render(job)))[0] == 1
    assert len((bench.folder / "log").read_text().splitlines()) == 3


def test_requeue_asks_for_another_round_only_after_75(make, bench):
    bench.program("scontrol", 'echo "$*" >scontrol-said')
    job = make("slurm", chain=3, requeue=True)
    script = bench.write(job, slurm.render(job))
    bench.program("hpc-ds", "exit 75")
    assert bench.run(script)[0] == 75
    assert (bench.folder / "scontrol-said").read_text() == "requeue 7\n"
    (bench.folder / "scontrol-said").unlink()
    assert bench.run(script, SLURM_RESTART_COUNT="2")[0] == 75
    bench.program("hpc-ds", "exit 0")
    assert bench.run(script)[0] == 0
    assert not (bench.folder / "scontrol-said").exists()
