"""A chain of jobs that its limits interrupt ends early, with the answer of a run that nothing interrupted."""

import json
import subprocess
import sys

import pytest

LOADED = """
import json, sys
from hpc_ds.cli import main
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)))
"""


def scans_done(out):
    """Return how many scans a run has done by its own account."""
    path = out / "progress.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["done"] for line in lines[:-1]), default=0)


def test_limit_strikes_and_the_chain_goes_on_to_the_answer(slurm, submit, line, uninterrupted, tmp_path):
    out = tmp_path / "run"
    seconds = 45  # a link has about 30: SLURM gives notice up to half a minute early
    options = ("--nodes", 2, "--ranks-per-node", 1, "--time", "1:00", "--chain", 5)
    links = submit(*options, command=line.command(out), pause=seconds / line.LIKELIHOODS)
    assert len(links) == 5
    slurm.until(lambda: scans_done(out) > 0, 60, "the first link samples")
    status = subprocess.run(
        [sys.executable, "-c", LOADED, "status", str(out)],
        env=slurm.environment,
        capture_output=True,
        text=True,
    )
    *said, modules = status.stdout.splitlines()
    assert said[0].endswith("run: running") and "of 864 scans" in said[1]
    assert not {"mpi4py", "torch", "dask", "numba"} & set(json.loads(modules))

    slurm.await_end(links, 240)
    codes = [slurm.job(link)["ExitCode"] for link in links]
    ran = codes.index("0:0") + 1
    assert 1 < ran < 5, "the limit struck, and the last links had nothing left to do"
    assert codes == ["75:0"] * (ran - 1) + ["0:0"] * (6 - ran)
    assert "stopped: " in slurm.log(links[0])
    assert "nothing left" in slurm.log(links[-1])
    assert line.answer(out) == uninterrupted


@pytest.mark.parametrize("how", ["successors", "requeue"])
def test_notice_reaches_all_ranks_and_work_goes_on(slurm, submit, line, uninterrupted, tmp_path, how):
    out = tmp_path / "run"
    options = (
        "--nodes",
        2,
        "--ranks-per-node",
        1,
        "--time",
        "30:00",
        "--chain",
        3,
        *(["--requeue"] if how == "requeue" else []),
    )
    links = submit(*options, command=line.command(out), pause=0.001)
    assert len(links) == (3 if how == "successors" else 1)
    slurm.until(lambda: scans_done(out) > 0, 60, "the first link samples")
    slurm.ask("scancel", "--signal=USR1", "--batch", links[0])
    if how == "requeue":
        slurm.until(lambda: slurm.job(links[0])["Restarts"] == "1", 60, "the job is requeued")
    else:
        slurm.await_end(links[:1], 60)
        assert slurm.job(links[0])["ExitCode"] == "75:0"
    assert "stopped: signal SIGUSR1" in slurm.log(links[0])
    slurm.await_end(links, 200)
    assert slurm.job(links[-1])["ExitCode"] == "0:0"
    assert line.answer(out) == uninterrupted


def test_a_rank_that_is_killed_costs_its_link_not_the_answer(slurm, submit, line, uninterrupted, tmp_path):
    out = tmp_path / "run"
    options = ("--nodes", 2, "--ranks-per-node", 1, "--time", "30:00", "--chain", 2)
    links = submit(*options, command=line.command(out), pause=0.001, machine="hasty")
    slurm.until(lambda: scans_done(out) > 0, 60, "the first link samples")
    slurm.kill_ranks(links[0], 1)
    slurm.await_end(links, 200)
    assert slurm.job(links[1])["ExitCode"] == "0:0"
    assert line.answer(out) == uninterrupted


def test_srun_that_says_0_of_a_cancelled_link_is_not_believed(slurm, submit, line, tmp_path):
    out = tmp_path / "run"
    options = ("--nodes", 2, "--ranks-per-node", 1, "--time", "30:00", "--chain", 2)
    # A scan takes longer than srun's patience with ranks that were told to end: it gives up, and its exit code is 0.
    links = submit(*options, command=line.command(out), pause=2.0)
    slurm.until(lambda: "temperatures" in slurm.log(links[0]), 60, "the first link samples")
    slurm.ask("scancel", links[0])
    slurm.until(
        lambda: {"temperatures", "nothing"} & {*slurm.log(links[1]).split()}, 90, "the second link decides"
    )
    assert "nothing left" not in slurm.log(links[1])


def test_a_mistake_ends_the_chain_at_once(slurm, submit, line, tmp_path):
    links = submit("--time", "30:00", "--chain", 3, command=line.command(tmp_path / "run", "--peaks", "2"))
    slurm.await_end(links, 60)
    assert [slurm.job(link)["ExitCode"] for link in links] == ["2:0"] * 3
    assert "an earlier link failed with exit code 2" in slurm.log(links[2])
