"""Simulators by name: built-in ones, and those of installed packages."""

import subprocess
import sys

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate.simulators import BUILT_IN, load_simulator


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_simulators_load_and_declare_what_they_give(name):
    found = load_simulator(name)
    assert found.name == name
    assert found.layout.fields
    assert found.layout.columns == found.space.columns
    found.space.from_unit(np.full((2, found.space.dimension), 0.5))


def test_unknown_name_is_told_with_the_nearest():
    with pytest.raises(
        InputError, match=r"simulator 'burger': did you mean 'burgers'\? .* or give path/to/file.py:name"
    ):
        load_simulator("burger")


PLUGIN = """
from hpc_ds.simulate import declare

@declare(parameters={"a": {"bounds": [0, 1]}}, fields={"u": {"time_varying": False}})
def wave(parameters, rng):
    return {"u": parameters["a"]}
"""

ENTRY = "[hpc_ds.plugins]\nsimulate.wave = wave_package:wave\ninfer.wave = wave_package:other\n"

SCRIPT = """
from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate.simulators import load_simulator
found = load_simulator("wave")
print(found.name, found.simulate({"a": 2.0}, None), found.space.names)
print(found.identity)
try:
    load_simulator("wve")
except InputError as error:
    print(error)
"""


def test_installed_package_adds_a_simulator(tmp_path):
    (tmp_path / "wave_package.py").write_text(PLUGIN)
    metadata = tmp_path / "wave_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wave-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{SCRIPT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "wave {'u': 2.0} ('a',)"
    assert lines[1] == "{'plugin': 'wave', 'version': 'wave-package 1.0'}", "another version is another run"
    assert "did you mean 'wave'" in lines[2]
