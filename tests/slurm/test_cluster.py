"""What job scripts rely on: with PMIx the ranks of a step are one world, without it each is alone."""

import sys

import pytest

WORLD = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
nodes = world.gather(os.environ["SLURMD_NODENAME"])
if world.rank == 0:
    print(world.size, *sorted(nodes))
"""


@pytest.mark.parametrize("nodes, ranks", [(1, 2), (2, 2), (2, 4)])
def test_ranks_of_a_step_are_one_world_under_pmix(slurm, nodes, ranks):
    options = ("--mpi=pmix", f"--nodes={nodes}", f"--ntasks={ranks}", "--cpu-bind=cores")
    outcome = slurm.run("srun", "--quiet", *options, sys.executable, "-c", WORLD)
    places = [f"node{1 + rank // (ranks // nodes)}" for rank in range(ranks)]
    assert outcome.stdout.split() == [str(ranks), *places], outcome.stderr


def test_ranks_of_a_step_find_no_world_without_pmix(slurm):
    outcome = slurm.run("srun", "--quiet", "--mpi=none", "--ntasks=2", sys.executable, "-c", WORLD)
    assert outcome.returncode != 0 or outcome.stdout.split() == ["1", "node1"] * 2
