"""The study of neutron stars gives the same files on any number of ranks."""

import importlib.util
import json
from pathlib import Path

import pytest

from hpc_ds.runtime.world import World, get_world

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def toy():
    """Return the module toy_chain.py, which tests in importlib mode cannot import."""
    place = Path(__file__).parents[1] / "studies" / "toy_chain.py"
    spec = importlib.util.spec_from_file_location("toy_chain", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settled(file):
    """Return a file's bytes, of summary.json without what depends on the clock."""
    if file.suffix != ".json":
        return file.read_bytes()
    return {**json.loads(file.read_text()), "seconds": None, "session": None}


def test_files_are_the_same_on_this_number_of_ranks_and_on_one(toy, tmp_path):
    world = get_world()
    folder = Path(world.bcast(str(tmp_path)))
    if world.is_root:
        assert toy.run(folder / "alone", World())
    world.barrier()
    assert toy.run(folder / "together", world)
    if world.is_root:
        for name in toy.FILES:
            assert settled(folder / "together" / name) == settled(folder / "alone" / name), name
