"""The doctor under a launcher: what the ranks find together, on any number of ranks."""

import time

import pytest

from hpc_ds.jobs.doctor import Situation, diagnose, launched_world
from hpc_ds.jobs.doctor.ranks import check_ranks, clock_offsets
from hpc_ds.runtime.world import get_world

pytestmark = pytest.mark.mpi


def test_the_ranks_of_one_machine_find_nothing_wrong():
    world = get_world()
    findings = check_ranks(world, Situation())
    assert [finding for finding in findings if finding.state == "wrong"] == []
    assert world.allgather(findings) == [findings] * world.size
    assert findings[0].found.startswith(str(world.size))
    assert launched_world() is world


def test_a_clock_that_is_ahead_is_measured():
    world = get_world()
    ahead = 100.0 * world.rank
    offsets = clock_offsets(world, range(world.size), clock=lambda: time.time() + ahead)
    expected = {rank: pytest.approx(100.0 * rank, abs=5.0) for rank in range(world.size)}
    assert offsets == expected


def test_what_differs_on_one_rank_is_found():
    world = get_world()
    situation = Situation(environ={"PJM_MPI_PROC": str(world.size + 1)})
    assert check_ranks(world, situation)[0].state == "note"


@pytest.mark.timeout(240)
def test_all_ranks_have_the_same_diagnosis(mpi_tmp_path):
    world = get_world()
    findings = diagnose(Situation(mpi_tmp_path), world)
    assert world.allgather(findings) == [findings] * world.size
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    assert {"ranks", "compiled kernels", "run folder"} <= set(names) or world.size == 1
