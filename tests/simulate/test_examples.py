"""The files that `hpc-ds init simulate` writes: they load as they are, and do what they say."""

import tomllib

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate.design import make_design
from hpc_ds.simulate.examples import example
from hpc_ds.simulate.simulators import BUILT_IN, load_simulator


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_simulators_load_with_their_example(name, tmp_path):
    (tmp_path / "space.toml").write_text(example(name))
    found = load_simulator(name, {}, str(tmp_path / "space.toml"))
    assert found.space == load_simulator(name).space


def commented_code(text, before, after):
    """Return the lines of a comment between two lines, as they would stand in a file."""
    lines = [line.removeprefix("#") for line in text.splitlines()]
    return "\n".join(line[5:] for line in lines[lines.index(before) + 1 : lines.index(after)])


def test_example_of_a_function_runs(tmp_path):
    reference = f"{tmp_path}/my.py:simulate"
    text = example(reference)
    code = commented_code(
        text,
        " The function gets one sample's parameters and the sample's own random numbers, and returns its fields:",
        " The same can be said in Python, by @hpc_ds.simulate.declare(...) above the function.",
    )
    (tmp_path / "my.py").write_text(code)
    (tmp_path / "space.toml").write_text(text)
    found = load_simulator(reference, {}, str(tmp_path / "space.toml"))
    columns = make_design(found.space, "sobol", 16, 1)
    assert (columns["noise"] <= 0.1 * columns["speed"]).all()
    rng = np.random.default_rng(0)
    found.layout.checked(found.simulate({"speed": 1.0, "noise": 0.01}, rng))
    assert load_simulator(reference, {}, str(tmp_path / "space.toml")).layout.shape("u") == (11, 64)


def test_example_of_a_program_runs(tmp_path):
    text = example("program")
    said = [
        line.removeprefix("#")
        for line in text.splitlines()
        if line.startswith(("#     BEGIN", "#          "))
    ]
    (tmp_path / "wave.awk.template").write_text("\n".join(said))
    (tmp_path / "solver.toml").write_text(text)
    found = load_simulator(str(tmp_path / "solver.toml"))
    u = found.layout.checked(found.simulate({"speed": 0.7}, np.random.default_rng(0)))["u"]
    np.testing.assert_allclose(u, np.sin(2 * np.pi * (np.arange(32) / 32 - 0.7)), atol=1e-5)
    assert example("solver.toml") == text


def test_declared_function_gets_its_own_parameters(tmp_path):
    (tmp_path / "own.py").write_text(
        "from hpc_ds.simulate import declare\n"
        '@declare(parameters={"a": {"choices": ["x \\"y\\"", "z"]}}, constraints=["a != \'z\'"], fields={"u": {}})\n'
        "def f(parameters, rng): pass\n"
    )
    data = tomllib.loads(example(f"{tmp_path}/own.py:f"))
    assert data == {"constraints": ["a != 'z'"], "parameters": {"a": {"choices": ['x "y"', "z"]}}}


def test_unknown_simulator_is_told():
    with pytest.raises(InputError, match="did you mean 'burgers'"):
        example("burgrs")
