"""Kill it anywhere: a run that is stopped or killed and given again ends as if nothing had happened."""

import json
import random
import shutil
import signal

import pytest

KILLED_AT_A_FILE_OPERATION = """
import os, signal
left = int(os.environ["KILLED_AT"])

def counted(operation):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **options)
    return call

for name in ("fsync", "replace", "unlink", "link"):
    setattr(os, name, counted(getattr(os, name)))
from hpc_ds.cli import main
main()
"""


# ---- killed -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def survivor(runs, study, repository, plain_environment, tmp_path_factory):
    """Return the folder of a run that was killed four times and then finished."""
    chance, out = random.Random(1), tmp_path_factory.mktemp("survivor") / "run"
    for _ in range(4):
        runs.kill_at_random(runs.Job(repository, plain_environment, runs.command(study, out)), out, chance)
    assert runs.Job(repository, plain_environment, runs.command(study, out)).wait()[0] == 0
    return out


def test_run_killed_at_random_moments_ends_like_the_uninterrupted_one(runs, survivor, reference):
    runs.assert_same(survivor, reference)


def test_finished_run_given_again_answers_without_sampling(runs, survivor, study, start):
    before, kept = runs.answer(survivor), sorted(path.name for path in survivor.glob("snapshots/*"))
    code, said = start(runs.command(study, survivor)).wait()
    assert code == 0 and "log evidence" in said and "report:" in said
    assert runs.answer(survivor) == before
    assert sorted(path.name for path in survivor.glob("snapshots/*")) == kept


def test_run_killed_on_two_ranks_goes_on_with_another_number_of_ranks(
    runs, study, start, reference, tmp_path
):
    out = tmp_path / "run"
    for ranks, victim in ((2, None), (3, 1)):
        job = start(runs.command(study, out), ranks)
        runs.await_snapshots(job, out, 4)
        job.signal(signal.SIGKILL, victim)
        assert job.wait()[0] != 0
    assert start(runs.command(study, out), 2).wait()[0] == 0
    runs.assert_same(out, reference)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_run_killed_twenty_times_on_one_to_four_ranks(runs, study, start, reference, tmp_path):
    chance, out = random.Random(20), tmp_path / "run"
    for _ in range(20):
        ranks = chance.randint(1, 4)
        victim = chance.choice([None, chance.randrange(ranks)])
        runs.kill_at_random(start(runs.command(study, out), ranks), out, chance, victim)
    assert start(runs.command(study, out), 3).wait()[0] == 0
    runs.assert_same(out, reference)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_run_killed_between_any_two_file_operations(runs, study, start, reference, tmp_path):
    out = tmp_path / "run"
    words = runs.command(study, out)
    for moment in range(1, 60, 4):
        start(words, program=KILLED_AT_A_FILE_OPERATION, KILLED_AT=str(moment)).wait()
    assert start(words).wait()[0] == 0
    runs.assert_same(out, reference)


def test_run_killed_while_it_writes_its_answer_writes_it_whole(
    runs, survivor, study, start, reference, tmp_path
):
    out = tmp_path / "run"
    shutil.copytree(survivor, out)
    for moment in (14, 21):
        job = start(runs.command(study, out), program=KILLED_AT_A_FILE_OPERATION, KILLED_AT=str(moment))
        assert job.wait()[0] == -signal.SIGKILL
    assert start(runs.command(study, out)).wait()[0] == 0
    runs.assert_same(out, reference)


# ---- stopped ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [0, 1, 2, 3], ids=["components", "compiled", "batched", "python"])
def test_run_stopped_at_many_safe_points_ends_like_the_uninterrupted_one(runs, models, form, tmp_path):
    one = [models[form]]
    assert runs.sample(one, tmp_path / "whole", draws=200) == "done"
    sessions = 0
    while runs.sample(one, tmp_path / "cut", looks=sessions % 4, draws=200) == "stopped":
        sessions += 1
    assert sessions > 10
    runs.assert_same(tmp_path / "cut", runs.answer(tmp_path / "whole"))


def test_time_limit_and_signals_stop_in_good_order(runs, study, start, reference, tmp_path):
    out = tmp_path / "run"
    code, said = start(runs.command(study, out, "--time", "0.1")).wait()
    assert code == 75 and "stopped: time limit of 0.1 s; the same command goes on from here" in said
    assert json.loads((out / "state.json").read_text())["state"] == "stopped"
    for name, ranks, rank in (("SIGTERM", 1, 0), ("SIGUSR1", 2, 1)):
        job = start(runs.command(study, out), ranks)
        runs.await_snapshots(job, out, 2)
        job.signal(getattr(signal, name), rank)
        code, said = job.wait()
        assert code == 75 and said.count(f"stopped: signal {name}") == 1
    assert start(runs.command(study, out), 1).wait()[0] == 0
    runs.assert_same(out, reference)


# ---- given again ------------------------------------------------------------------------------------------------


def test_finished_run_grows_to_what_a_single_run_gives(runs, models, reference, tmp_path):
    for draws in (300, 777, runs.OPTIONS["draws"]):
        assert runs.sample(models, tmp_path / "run", draws=draws) == "done"
    runs.assert_same(tmp_path / "run", reference)


def test_run_cannot_shrink(runs, study, start, tmp_path, models):
    out = tmp_path / "run"
    from hpc_ds.infer import Settings
    from hpc_ds.infer.run import check_growth
    from hpc_ds.runtime.errors import InputError

    runs.sample(models[3:], out, looks=2)
    with pytest.raises(
        InputError, match=r"--draws 300: the run in .* is for 1200 draws, which can only grow"
    ):
        check_growth(str(out), Settings(draws=300))
    check_growth(str(out), Settings(draws=1300))
    check_growth(str(tmp_path / "new"), Settings(draws=300))
