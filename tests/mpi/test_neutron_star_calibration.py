"""A calibration of posteriors does not depend on the number of ranks: not one byte of its files."""

from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World, get_world
from hpc_ds.studies.neutron_star.calibration.proposals import computed
from hpc_ds.studies.neutron_star.calibration.run import calibrate, run
from hpc_ds.studies.neutron_star.calibration.settings import Settings
from hpc_ds.studies.neutron_star.calibration.truths import mock_truths
from hpc_ds.studies.neutron_star.calibration.weights import Candidates

pytestmark = pytest.mark.mpi

SETTINGS = Settings(
    seed=3, truths=18, effective=30.0, round_draws=150, rounds=1, exchange=1, draws=24, tuning=16
)


@pytest.fixture(scope="module")
def problem():
    """Truths and candidates."""
    rng = np.random.default_rng(1)
    truths, others = (computed(rng.uniform(0.02, 0.98, (count, 5)), 1.97) for count in (30, 400))
    return mock_truths(truths, SETTINGS), Candidates.of(others, 400.0)


@pytest.fixture
def folder(tmp_path):
    """Return a folder that all ranks share."""
    return Path(get_world().bcast(str(tmp_path)))


def say_nothing(line):
    pass


class Stopping(Deadline):
    """A deadline that comes after so many questions."""

    def __init__(self, questions):
        super().__init__(environ={})
        self.left = questions

    def agreed(self, world):
        self.left -= 1
        return self.left < 0


def test_files_are_the_same_on_this_number_of_ranks_and_on_one(problem, folder):
    """Also where the ranks together are stopped in between."""
    world = get_world()
    if world.is_root:
        assert calibrate(folder / "alone", *problem, SETTINGS, World(), Deadline(environ={}), say_nothing)
    assert not calibrate(folder / "together", *problem, SETTINGS, world, Stopping(1), say_nothing)
    assert calibrate(folder / "together", *problem, SETTINGS, world, Deadline(environ={}), say_nothing)
    if world.is_root:
        for name in ("calibration.h5", "summary.json"):
            together, alone = ((folder / each / name).read_bytes() for each in ("together", "alone"))
            assert together == alone, name


def test_all_ranks_refuse_what_cannot_be_read(folder):
    with pytest.raises(InputError, match="nowhere"):
        run(
            folder / "c",
            folder / "nowhere",
            folder / "nowhere",
            SETTINGS,
            get_world(),
            Deadline(environ={}),
            say_nothing,
        )
