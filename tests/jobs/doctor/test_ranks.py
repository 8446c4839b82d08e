"""What ranks find together is judged rightly, from machines of our making."""

import pytest

from hpc_ds.jobs.doctor.finding import Finding, merged, worst
from hpc_ds.jobs.doctor.ranks import (
    Seat,
    fingerprint,
    judge_clocks,
    judge_cores,
    judge_latency,
    judge_size,
    judge_software,
    nearest_offset,
)


def seats(*cores, threads=1, host="n1", cores_of_host=4):
    return [Seat(host, frozenset(each), threads, cores_of_host) for each in cores]


def test_ranks_with_cores_of_their_own_are_all_right():
    assert judge_cores(seats({0}, {1}, {2}, {3})).state == "ok"
    assert judge_cores(seats({0, 1}, {2, 3}, threads=2)).state == "ok"
    unbound = judge_cores(seats(*[range(4)] * 4) + seats(*[range(4)] * 4, host="n2"))
    assert (
        unbound.state == "ok" and unbound.found == "8 ranks on 2 machines, each with cores for its 1 thread"
    )


def test_ranks_bound_to_one_core_while_others_idle_are_noted():
    told = judge_cores(seats({0}, {0}))
    assert told.state == "note" and "2 ranks with 2 threads share 1 of 4 cores: they are bound" in told.found
    assert "--cpus-per-task=1" in told.cure


def test_a_rank_bound_to_fewer_cores_than_it_has_threads_is_noted():
    told = judge_cores(seats({0}, {1}, threads=2))
    assert told.state == "note" and "srun --cpus-per-task=2" in told.cure


def test_more_threads_than_the_machine_has_cores_are_noted_with_the_number_that_fits():
    told = judge_cores(seats(range(4), range(4), threads=4))
    assert told.state == "note" and "OMP_NUM_THREADS=2" in told.cure
    told = judge_cores(seats(*[range(4)] * 8))
    assert told.state == "note" and "they take turns" in told.found


def test_only_the_crowded_machine_is_named():
    told = judge_cores(seats({0}, {1}) + seats({0}, {0}, host="n2"))
    assert told.found.startswith("on n2: ")


def test_the_number_of_ranks_is_compared_with_what_scheduler_and_launcher_say():
    assert judge_size(4, {}).state == "ok"
    assert judge_size(4, {"SLURM_STEP_NUM_TASKS": "4", "PMI_SIZE": "4"}).state == "ok"
    told = judge_size(1, {"PJM_MPI_PROC": "48"})
    assert told.state == "note" and "PJM_MPI_PROC=48" in told.found and told.cure.startswith("mpiexec -n 48")


@pytest.mark.parametrize("skew, state", [(0.5, "ok"), (-5.0, "note"), (45.0, "wrong"), (-45.0, "wrong")])
def test_the_machine_with_the_worst_clock_is_named(skew, state):
    told = judge_clocks({"n1": 0.0, "n2": 0.01, "n3": skew})
    assert told.state == state
    if state != "ok":
        assert told.found.startswith(f"n3 is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}")


def test_the_answer_that_came_soonest_tells_the_offset():
    # A clock 100 s ahead; the first answer was on its way for 8 s, nearly all of it before it was given.
    assert nearest_offset([(0.0, 107.9, 8.0), (10.0, 110.1, 10.2)]) == pytest.approx(100.0)


def test_one_machine_has_one_clock():
    assert judge_clocks({"n1": 0.0}).found == "one machine, one clock"


def test_other_software_on_a_rank_is_wrong():
    same = {"numpy": "2.4", "files": "ab"}
    assert judge_software([("n1", same), ("n1", {"numpy": "2.4"}), ("n2", same)]).state == "ok"
    told = judge_software([("n1", same), ("n2", {**same, "files": "cd"}), ("n3", same)])
    assert told.state == "wrong" and told.found == "files is ab on n1 (rank 0) and cd on n2"


def test_a_changed_file_changes_the_fingerprint(tmp_path):
    (tmp_path / "a.py").write_text("a = 1")
    before = fingerprint(True, tmp_path)
    assert before == fingerprint(True, tmp_path)
    (tmp_path / "a.py").write_text("a = 2")
    assert before != fingerprint(True, tmp_path)
    assert set(before) - set(fingerprint(False, tmp_path)) == {"the package's files (sha256)"}


def test_a_slow_allgather_is_noted():
    assert judge_latency(1e-6, 2e-5).state == "ok"
    assert judge_latency(1e-6, 5e-3).state == "note"


def test_findings_of_many_machines_become_one_that_names_those_with_the_worst():
    good, bad = (
        Finding("cache", "ok", "/work"),
        Finding("cache", "wrong", "/home cannot be written", "export X=1"),
    )
    assert merged([("n1", [good]), ("n2", [good])]) == [good]
    assert merged([("n1", [bad]), ("n2", [bad])]) == [bad]
    told = merged([("n1", [good]), *((f"n{k}", [bad]) for k in range(2, 7))])
    assert told == [
        Finding("cache", "wrong", "on n2, n3, n4 and 2 more: /home cannot be written", "export X=1")
    ]
    assert worst(told) == "wrong" and worst([]) == "ok"
