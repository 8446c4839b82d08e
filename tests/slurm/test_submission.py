"""What SLURM refuses is passed on in its own words; a sweep is an array whose tasks go on by themselves."""

import pytest

REFUSED_BY_SBATCH = {
    "--constraint=vector": "Invalid feature specification",
    "--reservation=mine": "Requested reservation is invalid",
}
REFUSED_BEFOREHAND = {
    ("--nodes", 3): "--nodes 3",
    ("--partition", "nowhere"): "main, one",
    ("--partition", "one", "--nodes", 2): "--nodes 2",
    ("--partition", "one", "--time", "1:00:00"): "00:02:00",
    ("--ranks-per-node", 3): "has 2",
}


def refused(slurm, outcome):
    """Return the one line that a refused submission says; no job was left in the queue."""
    assert outcome.returncode == 2
    assert not slurm.ask("squeue", "-h", "-a").strip()
    (said,) = [text for text in outcome.stderr.splitlines() if "warning" not in text]
    return said


@pytest.mark.parametrize("directive, words", REFUSED_BY_SBATCH.items())
def test_words_of_sbatch_are_passed_on(slurm, submit, line, tmp_path, directive, words):
    options = ("--time", "1:00", "--chain", 3, f"--directive={directive}")
    said = refused(slurm, submit(*options, command=line.command(tmp_path / "run")))
    assert "sbatch refuses" in said and words in said


@pytest.mark.parametrize("options, words", REFUSED_BEFOREHAND.items())
def test_what_the_partition_cannot_take_is_refused(slurm, submit, line, tmp_path, options, words):
    time = () if "--time" in options else ("--time", "1:00")
    said = refused(slurm, submit(*time, *options, command=line.command(tmp_path / "run")))
    assert words in said


def test_sweep_is_an_array_and_a_stopped_task_goes_on_in_the_next_link(
    slurm, submit, line, uninterrupted, tmp_path
):
    out = tmp_path / "run"
    options = ("--ranks-per-node", 1, "--time", "30:00", "--sweep", "seed=5,6", "--chain", 2)
    links = submit(*options, command=line.command(out), pause=0.0005)
    assert len(links) == 2
    slurm.until(lambda: (out / "seed=5" / "snapshots").exists(), 60, "the first task samples")
    slurm.ask("scancel", "--signal=USR1", "--batch", f"{links[0]}_0")
    slurm.await_end(links, 150)
    codes = {f"{job['ArrayJobId']}_{job['ArrayTaskId']}": job["ExitCode"] for job in slurm.of(links)}
    assert codes == {
        f"{links[0]}_0": "75:0",
        f"{links[0]}_1": "0:0",
        f"{links[1]}_0": "0:0",
        f"{links[1]}_1": "0:0",
    }
    assert line.answer(out / "seed=5") == uninterrupted
    assert line.answer(out / "seed=6") != uninterrupted


@pytest.mark.parametrize("nodes, ranks", [(1, 2), (2, 2)])
def test_job_has_all_its_ranks_and_its_answer(slurm, submit, line, uninterrupted, tmp_path, nodes, ranks):
    out = tmp_path / "run"
    options = ("--time", "30:00", "--nodes", nodes, "--ranks-per-node", ranks)
    jobs = submit(*options, command=line.command(out))
    slurm.await_end(jobs, 200)
    assert slurm.job(jobs[0])["ExitCode"] == "0:0"
    assert f"on {nodes * ranks} ranks" in slurm.log(jobs[0])
    assert line.answer(out) == uninterrupted
