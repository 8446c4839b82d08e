"""One rank needs nothing special, and a launcher is recognised by its environment."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hpc_ds.runtime import world as module
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World, get_world, install_abort_hook, launched_ranks, without_launcher

WITHOUT_MPI4PY = """
import sys
sys.modules["mpi4py"] = None
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import get_world
try:
    print(get_world().size)
except InputError as error:
    print(error)
"""


def run(code, repository, environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_every_call_of_a_lone_rank_answers_at_once():
    world = World()
    out = np.zeros(2)
    world.allgather_floats(np.array([1.0, 2.0]), [2], out)
    world.barrier()
    world.free()
    assert (world.rank, world.size, world.comm, world.is_root) == (0, 1, None, True)
    assert (world.bcast("a"), world.gather("a"), world.allgather("a")) == ("a", ["a"], ["a"])
    assert world.any(True) is True and world.any(0) is False and out.tolist() == [1.0, 2.0]
    assert world.root_first(max, 3, 4) == 4


def test_a_lone_rank_splits_into_itself():
    assert World().split([0]).size == 1 and World().split([]) is None


@pytest.mark.parametrize("ranks", [[1], [-1], [0, 0]])
def test_ranks_that_do_not_exist_or_repeat_are_refused(ranks):
    with pytest.raises(ValueError, match="each must be given once"):
        World().split(ranks)


def test_a_lone_rank_raises_and_exits_as_usual():
    with pytest.raises(ZeroDivisionError):
        World().root_first(lambda: 1 / 0)
    with pytest.raises(SystemExit) as caught:
        World().abort(3)
    assert caught.value.code == 3


def test_the_hook_leaves_a_lone_rank_alone():
    before = sys.excepthook
    install_abort_hook(World())
    assert sys.excepthook is before


@pytest.mark.parametrize(
    ("environ", "ranks"),
    [
        ({}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, None),  # a batch script, not a step
        ({"OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "2"}, 4),
        ({"PMI_SIZE": "8", "PMI_RANK": "0"}, 8),
        ({"MPI_LOCALNRANKS": "2"}, 0),
        ({"PMIX_RANK": "0"}, 0),
        ({"PMIX_RANK": "3", "SLURM_PROCID": "3", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "16"}, 16),
        ({"PMI_RANK": "3", "SLURM_PROCID": "3", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "16"}, 16),
        ({"SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}, None),
    ],
)
def test_launchers_are_told_apart_by_their_variables(environ, ranks):
    assert launched_ranks(environ) == ranks


def test_srun_without_an_mpi_plugin_is_refused_with_the_cure():
    environ = {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    with pytest.raises(InputError, match="--mpi=pmix"):
        launched_ranks(environ)


def test_a_launcher_without_mpi4py_is_bad_input_with_the_cure(repository, plain_environment):
    told = run(WITHOUT_MPI4PY, repository, {**plain_environment, "OMPI_COMM_WORLD_SIZE": "2"})
    assert "pip install mpi4py" in told and told.count("\n") == 1


def test_one_rank_under_a_launcher_needs_no_mpi4py(repository, plain_environment):
    assert run(WITHOUT_MPI4PY, repository, {**plain_environment, "OMPI_COMM_WORLD_SIZE": "1"}) == "1\n"


def test_ranks_of_another_mpi_are_refused_not_run_as_singles(repository, plain_environment):
    pytest.importorskip("mpi4py")
    code = WITHOUT_MPI4PY.replace('sys.modules["mpi4py"] = None\n', "")
    told = run(code, repository, {**plain_environment, "MV2_COMM_WORLD_SIZE": "3"})
    assert "launched as 3 ranks, but mpi4py sees one" in told


def test_children_that_are_no_ranks_do_not_inherit_the_launcher():
    kept = {"PATH": "/bin", "OMPI_ALLOW_RUN_AS_ROOT": "1", "SLURM_JOB_ID": "7"}
    scrubbed = {"OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0", "PMI_FD": "3", "SLURM_PROCID": "1"}
    assert without_launcher({**kept, **scrubbed}) == kept
    assert launched_ranks(without_launcher({**os.environ, **scrubbed})) is None


def test_the_world_is_made_once(monkeypatch):
    monkeypatch.setattr(module, "launched_ranks", lambda environ: None)
    module._the_world.cache_clear()
    assert get_world() is get_world()
    module._the_world.cache_clear()


def test_a_lone_rank_finds_what_it_posted_to_itself_once():
    world = World()
    world.post("a", 0)
    world.post({"b": 1}, 0)
    assert world.poll() == [(0, "a"), (0, {"b": 1})] and world.poll() == []
    with pytest.raises(ValueError, match="each must be given once"):
        world.post("c", 1)
