"""Groups of ranks compute samples together: the right ones, on any number of groups, and failures harm no other."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.runtime.world import get_world
from hpc_ds.simulate import ClusterSettings, generate
from hpc_ds.simulate.cluster import run_on_cluster
from hpc_ds.simulate.dispatch import Halt
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.settings import Settings
from hpc_ds.store.design_file import read_design
from hpc_ds.store.quarantine import read_failures
from hpc_ds.store.training_set import TrainingSet

pytestmark = pytest.mark.mpi(min_size=2)

CELLS, STEPS, KEPT = 24, 20, 3
SOLVER = f"""
import sys

import numpy as np
from hpc_ds.simulate import Retry, Skip, Stop, declare

declared = declare(
    parameters={{"kappa": "uniform(0.1, 0.4)"}},
    axes={{"x": {{"low": 0.0, "high": 1.0, "size": {CELLS}, "endpoint": False}}}},
    times=np.linspace(0, 1, {KEPT}),
    fields={{"u": {{"units": "K"}}}},
    ranks=2,
)


@declared
def heat(parameters, rng, comm):
    rank, size = comm.Get_rank(), comm.Get_size()
    u = np.array_split(rng.normal(size={CELLS}), size)[rank]
    kept = [u]
    for _ in range({STEPS} * ({KEPT} - 1)):
        left = comm.sendrecv(u[-1], (rank + 1) % size, source=(rank - 1) % size)
        right = comm.sendrecv(u[0], (rank - 1) % size, source=(rank + 1) % size)
        wide = np.concatenate([[left], u, [right]])
        u = u + parameters["kappa"] * (wide[2:] - 2 * u + wide[:-2])
        kept.append(u)
    pieces = comm.gather(np.array(kept[::{STEPS}]))
    return {{"u": np.concatenate(pieces, axis=1)}} if rank == 0 else None


calls = 0


@declared
def troubled(parameters, rng, comm):
    global calls
    rank, answer = comm.Get_rank(), int(40 * (parameters["kappa"] - 0.1))
    calls += 1
    comm.isend(answer, 1 - rank, tag=7).Free()  # of a sample that fails, nobody receives it
    if answer == 0 and rank == 1:
        raise ValueError("on the second rank")
    if answer == 1 and rank == 0:
        raise ValueError("on the first rank")
    if answer == 2:
        raise Skip("on all ranks")
    if answer == 3 and rank == 1:
        sys.exit(4)
    if answer == 4 and rank == 1:
        raise Odd("cannot be", "pickled")
    if answer == 5 and rank == 1 and calls % 2:
        raise Retry("only now and then")
    assert comm.recv(source=1 - rank, tag=7) == answer
    u = np.full(({KEPT}, {CELLS}), float(answer))
    return {{"u": u * np.nan if answer == 6 else u[1:] if answer == 7 else u}}


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(f"{{first}} {{second}}")


@declared
def stops(parameters, rng, comm):
    if comm.Get_rank() == 1:
        raise Stop("the mesh is missing")
    raise ValueError("for another reason")


@declared
def global_numbers(parameters, rng, comm):
    mine = np.random.normal(size=({KEPT}, {CELLS})) + rng.normal()
    assert all(np.array_equal(mine, other) for other in comm.allgather(mine)), "ranks have different numbers"
    return {{"u": mine}}
"""


@pytest.fixture
def world():
    return get_world()


@pytest.fixture
def place(world, mpi_tmp_path):
    if world.is_root:
        (mpi_tmp_path / "solver.py").write_text(SOLVER)
    world.barrier()
    return mpi_tmp_path


@pytest.fixture
def run(world, place):
    """Generate a set with a function of the solver; collective over `ranks`."""

    def start(out, function="heat", samples=12, ranks=None, cluster=None, deadline=None, **values):
        return generate(
            f"{place}/solver.py:{function}",
            folder=place / out,
            settings=Settings(samples=samples, **values),
            cluster=cluster,
            world=ranks or world,
            deadline=deadline or Deadline(None, environ={}),
            tell=lambda line: None,
        )

    return start


def hashes(folder: Path) -> dict[str, str]:
    paths = [*sorted((folder / "data").rglob("*.h5")), folder / "stats.yaml"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def heat_alone(kappa: float, rng: np.random.Generator) -> np.ndarray:
    """Solve on one rank what `heat` solves in pieces."""
    u = rng.normal(size=CELLS)
    kept = [u]
    for _ in range(STEPS * (KEPT - 1)):
        u = u + kappa * (np.roll(u, -1) - 2 * u + np.roll(u, 1))
        kept.append(u)
    return np.array(kept[::STEPS], dtype=np.float32)


def test_a_solver_in_pieces_gives_the_solution_of_the_whole(world, place, run):
    outcome = run("set", split=(1, 0, 0), seed=5)
    assert (outcome.state, outcome.done, outcome.failed) == ("done", 12, 0)
    kappas = read_design(place / "set").columns["kappa"]
    with TrainingSet(place / "set") as found:
        for index, kappa in enumerate(kappas):
            expected = heat_alone(kappa, stream(5, name_key("sample"), index))
            assert np.array_equal(found.read("u", index), expected)


def test_the_bytes_do_not_depend_on_the_number_of_groups(world, place, run):
    run("all")
    two = world.split([0, 1])
    if two is not None:
        run("two", ranks=two)
        two.free()
    world.barrier()
    assert hashes(place / "all") == hashes(place / "two")


def test_all_ranks_of_a_group_have_the_same_random_numbers(run):
    assert run("set", "global_numbers", samples=4).failed == 0


def test_a_sample_that_fails_on_any_rank_is_set_aside_and_its_messages_reach_no_other(world, place, run):
    outcome = run("set", "troubled", samples=24, split=(1, 0, 0))
    answers = [int(40 * (kappa - 0.1)) for kappa in read_design(place / "set").columns["kappa"]]
    assert set(answers) >= set(range(8))
    kinds = {0: "raised", 1: "raised", 2: "skipped", 3: "raised", 4: "raised", 6: "invalid", 7: "invalid"}
    failures = read_failures(place / "set")
    assert {failure.index: failure.kind for failure in failures} == {
        index: kinds[answer] for index, answer in enumerate(answers) if answer in kinds
    }
    words = {
        0: ["ValueError: on the second rank", "raised on rank 1 of the group", "in troubled"],
        1: ["ValueError: on the first rank", "in troubled"],
        3: ["exit code 4"],
        4: ["Odd: cannot be pickled"],
    }
    for failure in failures:
        told = failure.message + failure.traceback
        assert all(word in told for word in words.get(answers[failure.index], []))
        assert "rank_group.py" not in told and "bench.py" not in told
    with TrainingSet(place / "set") as found:
        values = [found.read("u", row)[0, 0] for row in range(outcome.done)]
    assert values == [answer for answer in answers if answer not in kinds]


def test_stop_on_one_rank_ends_the_run_on_all(run):
    with pytest.raises(Halt, match="the mesh is missing"):
        run("set", "stops")


def test_a_reason_to_stop_on_the_last_rank_stops_all_and_the_next_start_goes_on(world, place, run):
    deadline = Deadline(None, environ={})
    if world.rank == world.size - 1:
        deadline.stop("so it was")
    stopped = run("set", samples=2000, deadline=deadline)
    assert (stopped.state, stopped.note) == ("stopped", "so it was")
    assert stopped.done < 2000


def test_no_sample_is_started_that_would_not_end_in_time(run):
    outcome = run("set", samples=4, deadline=Deadline(1e-3, environ={}))
    assert (outcome.state, outcome.done) == ("stopped", 0)


def test_the_workers_of_a_scheduler_that_runs_already_are_no_place_for_it(world, place):
    job = Job(str(place), "session", "heat", None, 1, 2, 0, 1)
    settings = ClusterSettings(scheduler="tls://10.0.0.1:8786")
    with pytest.raises(InputError, match="runs on the ranks of this job"):
        run_on_cluster(world, settings, job, lambda cluster: None, Deadline(None, environ={}))


def test_too_few_ranks_are_refused_on_all(world, run):
    alone = world.split([world.rank])
    with pytest.raises(InputError, match="on 2 MPI ranks, found 1: start it with mpiexec -n 2"):
        run(f"set{world.rank}", ranks=alone)
    alone.free()
