"""A cluster is brought up and taken down by any number of ranks, and they agree on how it ended."""

import operator

import pytest

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import get_world
from hpc_ds.simulate.cluster import run_on_cluster
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.settings import ClusterSettings

pytestmark = pytest.mark.mpi


@pytest.fixture
def world():
    return get_world()


@pytest.fixture
def use(world, mpi_tmp_path):
    """Call `drive(cluster)` on a cluster of all ranks; collective."""
    job = Job(str(mpi_tmp_path), "session", "none", None, 1, 1, 0, 1)

    def run(drive, **settings):
        deadline = Deadline(None, environ={})
        return run_on_cluster(world, ClusterSettings(**settings), job, drive, deadline), deadline

    return run


def test_the_first_rank_has_the_answer_and_the_others_have_none(world, use):
    def drive(cluster):
        futures = [cluster.client.submit(operator.mul, i, i, pure=False) for i in range(10)]
        return [future.result() for future in futures]

    answer, _ = use(drive, processes=1)
    assert answer == ([i * i for i in range(10)] if world.is_root else None)


@pytest.mark.slow
def test_clusters_can_follow_each_other_and_an_error_of_the_client_is_one_of_all_ranks(world, use):
    def refuse(cluster):
        raise InputError("space.toml: bounds reversed")

    with pytest.raises(InputError, match="bounds reversed"):
        use(refuse, processes=1)
    answer, _ = use(lambda cluster: cluster.client.submit(max, 3, 4).result(), processes=1)
    assert answer == (4 if world.is_root else None)


@pytest.mark.slow
def test_a_reason_to_stop_on_the_last_rank_is_one_for_the_client(world, mpi_tmp_path):
    deadline = Deadline(None, environ={})
    if world.rank == world.size - 1:
        deadline.stop("so it was")

    def drive(cluster):
        while deadline.reason() is None:
            cluster.slots()
        return deadline.reason()

    job = Job(str(mpi_tmp_path), "session", "none", None, 1, 1, 0, 1)
    answer = run_on_cluster(world, ClusterSettings(processes=1), job, drive, deadline)
    assert answer == ("so it was" if world.is_root else None)


@pytest.mark.slow
def test_too_few_ranks_for_dask_mpi_are_refused_on_all(world, use):
    if world.size < 3:
        with pytest.raises(InputError, match="3 ranks or more"):
            use(lambda cluster: None, launcher="dask-mpi")
    else:
        answer, _ = use(lambda cluster: cluster.client.submit(max, 3, 4).result(), launcher="dask-mpi")
        assert answer == (4 if world.is_root else None)
