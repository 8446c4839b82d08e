"""Several writers and several schedulers change who does what, and not one bit of the answer."""

import numpy as np
import pytest

from hpc_ds.infer import priors as laws
from hpc_ds.infer.model import Model
from hpc_ds.infer.pieces import plan
from hpc_ds.infer.run import sample
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World, get_world
from hpc_ds.simulate.shares import Council, run_on_shares

pytestmark = pytest.mark.mpi


@pytest.fixture
def world():
    return get_world()


def models():
    prior = {"a": laws.normal(0.0, 1.0), "b": laws.uniform(-1.0, 1.0)}
    return [
        Model(name, prior, lambda theta, data: -3.0 * float(theta @ theta), form="python") for name in "xyz"
    ]


# ---- scribes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def two_ranks_each(monkeypatch):
    """Two ranks to a scribe, and replicas of equal cost: measured costs would let noise say which scribe writes."""
    from hpc_ds.infer import sampler

    def place(shared, models, costs, ranks):
        return plan(shared, models, [1.0] * len(costs), ranks)

    monkeypatch.setattr(sampler, "RANKS_OF_A_SCRIBE", 2)
    monkeypatch.setattr(sampler, "plan", place)


def test_draws_of_several_scribes_are_those_of_one_rank(world, mpi_tmp_path, two_ranks_each):
    settings = {"draws": 60, "tuning": 32, "replicas": 5, "checkpoint_every": 0.01}
    found = sample(models(), folder=mpi_tmp_path / "several", world=world, **settings)
    if world.is_root:
        alone = sample(models(), folder=mpi_tmp_path / "one", world=World(), **settings)
        for ours, theirs in zip(found.models, alone.models, strict=True):
            assert np.array_equal(ours.log_likelihood, theirs.log_likelihood)
            assert ours.log_evidence == theirs.log_evidence
        names = {path.stem.partition(".")[2] for path in (mpi_tmp_path / "several" / "draws").iterdir()}
        assert names == ({""} if world.size <= 2 else {"0", "1"})


def test_a_lost_file_of_one_scribe_is_noticed(world, mpi_tmp_path, two_ranks_each):
    if world.size != 4:
        pytest.skip("needs two scribes")
    settings = {"draws": 60, "tuning": 32, "replicas": 5}
    folder = mpi_tmp_path / "several"
    sample(models(), folder=folder, world=world, **settings)
    if world.is_root:
        next((folder / "draws").glob("*.1.h5")).unlink()
    world.barrier()
    with pytest.raises(InputError, match=r"draws from scan 0 on of \d of 3 ensembles are missing"):
        sample(models(), folder=folder, world=world, **{**settings, "draws": 90})


# ---- several schedulers ------------------------------------------------------------------------------------------


def test_crews_are_neighbours_and_their_answers_come_in_order(world):
    schedulers = min(2, world.size)

    def run(crew, council):
        assert (council is not None) == (crew.rank == 0)
        ranks = crew.allgather(world.rank)
        return ranks if council is not None else None

    found = run_on_shares(world, schedulers, run, Deadline(None, environ={}))
    if world.is_root:
        assert [rank for ranks in found for rank in ranks] == list(range(world.size))
        assert len(found) == schedulers


def test_what_one_crew_raises_all_ranks_raise_and_the_other_crews_stop(world):
    if world.size < 2:
        pytest.skip("needs two crews")
    deadline = Deadline(None, environ={})

    class Bare:
        client = dashboard = None

        def slots(self):
            return 1

        def trouble(self):
            return None

    def run(crew, council):
        if council is None:
            return None
        if council.share.number == 1:
            raise InputError("sample 7: the simulator said Stop")
        cluster = council.attended(Bare())
        while deadline.reason() is None:
            cluster.slots()
        return None

    with pytest.raises(InputError, match="sample 7"):
        run_on_shares(world, 2, run, deadline)


def test_the_first_client_hears_how_far_the_others_are(world):
    council = Council(world, Deadline(None, environ={}))
    council.total(10 * (world.rank + 1))
    world.barrier()

    def told():
        council._hear()
        return council.total(10)

    if world.is_root:
        expected = 10 * world.size * (world.size + 1) // 2
        while told() != expected:
            pass
    world.barrier()


@pytest.mark.slow
def test_a_training_set_has_the_bytes_of_one_scheduler(world, mpi_tmp_path):
    from hpc_ds.simulate import ClusterSettings, generate

    found = []
    for schedulers in (1, min(2, world.size)):
        folder = mpi_tmp_path / str(len(found))
        outcome = generate(
            "burgers",
            folder=folder,
            samples=24,
            options={"resolution": 64},
            cluster=ClusterSettings(schedulers=schedulers, processes=1),
            world=world,
            tell=lambda line: None,
        )
        assert outcome.state == "done" and outcome.done == 24
        files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
        found.append({path.relative_to(folder): path.read_bytes() for path in files})
        world.barrier()
    assert found[0] == found[1]
