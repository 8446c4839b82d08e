"""The study of neutron stars at a size that ends in seconds: `python toy_chain.py FOLDER`."""

import sys
from pathlib import Path

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import get_world
from hpc_ds.studies.neutron_star import chain
from hpc_ds.studies.neutron_star.calibration.settings import Settings

TOY = chain.Scale(
    equations=300,
    members=2,
    copies=4,
    epochs=2,
    learning_rate=5e-3,
    draws=40,
    tuning=20,
    segments=(3, 5),
)

FILES = (
    "summary.json",
    "comparison.h5",
    "ensemble/stats.yaml",
    "posterior/summary.json",
    "posterior-all/summary.json",
    "calibration/calibration.h5",
)
"""Files that are the same bytes whoever made them; summary.json but for the seconds."""


def shrink():
    """Make the study's quick scale as small as `TOY`."""
    chain.SCALE_OF["quick"] = TOY
    chain.scale_settings = lambda scale, seed: Settings(
        seed, truths=16, effective=20.0, round_draws=100, rounds=1, exchange=0
    )


def run(folder, world=None, deadline=None):
    """Run the whole chain into `folder`."""
    shrink()
    world = world or get_world()
    return chain.chain(Path(folder), "quick", 5, world, deadline or Deadline(environ={}), lambda line: None)


if __name__ == "__main__":
    sys.exit(0 if run(sys.argv[1]) else 75)
