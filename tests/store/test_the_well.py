"""The Well's own reader loads a merged set, and returns what ours does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpc_ds.runtime.world import World
from hpc_ds.store.merge import merge
from hpc_ds.store.well_file import data_files

HERE = Path(__file__).parent
PACKAGE = Path(sys.prefix) / "hpc-ds" / "the_well"


@pytest.fixture(scope="module")
def merged(zoo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("well") / "run"
    zoo.write_run(folder, range(30))
    merge(folder, World(), samples_per_file=11)
    return folder


@pytest.fixture(scope="module")
def environment():
    if not (PACKAGE / "the_well").is_dir():
        pytest.skip(f"needs The Well's package in {PACKAGE}: launch/setup.sh --dev installs it")
    return {**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE.parents[1]}"}


def test_its_reader_returns_the_same_fields_scalars_and_statistics(merged, environment):
    command = [sys.executable, HERE / "well_comparison.py", merged]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("equal\n")
    assert len(data_files(merged, "train")) > 1  # several files
