"""Darcy flow and the Lorenz-96 systems as simulators: what they declare they give, whatever else is computed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hpc_ds.physics import darcy as darcy_flow
from hpc_ds.physics.lorenz96 import TwoLevel, small_scale_effect, trajectory
from hpc_ds.physics.random_fields import neumann_field
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import stream
from hpc_ds.simulate.design import make_design
from hpc_ds.simulate.parameters import sample_of
from hpc_ds.simulate.simulator import Skip
from hpc_ds.simulate.simulators import load_simulator
from hpc_ds.store.layout import Layout

SMALL = {
    "darcy": {"nodes": 17, "refinement": 2},
    "lorenz96": {"sites": 12, "frames": 30, "spin_up": 1.0},
    "lorenz96-two-level": {"sites": 6, "sectors": 4, "frames": 5, "spin_up": 1.0},
}
PUBLISHED = {"low": 3.0, "high": 12.0, "inverse_length": 3.0}


def samples(simulator, indices):
    """Fields as they are stored, of the samples of these design indices."""
    unit = np.random.default_rng(0).random((8, simulator.space.dimension))
    columns = simulator.space.from_unit(unit)
    return [
        simulator.layout.checked(simulator.simulate(sample_of(columns, i), stream(7, i))) for i in indices
    ]


@pytest.mark.parametrize("name", SMALL)
def test_fields_are_the_declared_ones_and_the_layout_can_be_written(name):
    simulator = load_simulator(name, SMALL[name])
    (sample,) = samples(simulator, [0])
    assert list(sample) == [field.name for field in simulator.layout.fields]
    assert [column.name for column in simulator.layout.columns] == list(simulator.space.names)
    again = Layout.from_dict(simulator.layout.to_dict())
    assert again.to_dict() == simulator.layout.to_dict()
    assert simulator.space.dimension >= 1


@pytest.mark.parametrize("name", SMALL)
def test_bits_of_a_sample_do_not_depend_on_what_is_computed_beside_it(name):
    forward = samples(load_simulator(name, SMALL[name]), [0, 1, 2])
    backward = samples(load_simulator(name, SMALL[name]), [2, 1, 0])[::-1]
    alone = samples(load_simulator(name, SMALL[name]), [1])
    for field in forward[1]:
        assert np.array_equal(forward[1][field], backward[1][field])
        assert np.array_equal(forward[1][field], alone[0][field])
        assert not np.array_equal(forward[0][field], forward[1][field])


@pytest.mark.parametrize("name", SMALL)
def test_wrong_options_are_named(name):
    with pytest.raises(InputError, match=rf"^{name}: size: unknown; .*options"):
        load_simulator(name, {"size": 3})
    first = next(iter(SMALL[name]))
    with pytest.raises(InputError, match=f"^{name}: {first} 'many': "):
        load_simulator(name, {first: "many"})


def test_published_darcy_set_comes_from_fixed_parameters():
    simulator = load_simulator("darcy", {"nodes": 22, "refinement": 5})
    sample = simulator.simulate(PUBLISHED, stream(1, 2))
    field = neumann_field(stream(1, 2), (106, 106), 3.0, 3.0, 2.0, zero_mean=True)
    coefficient = np.where(field >= 0.0, 12.0, 3.0)
    assert np.array_equal(sample["coefficient"], coefficient[::5, ::5])
    assert np.array_equal(sample["pressure"], darcy_flow.pressure(coefficient)[::5, ::5])


def test_darcy_defaults_are_the_published_grids():
    layout = load_simulator("darcy").layout
    assert layout.shape("pressure") == (85, 85)
    assert "421 nodes" in layout.attributes["method"]


def test_log_normal_deviation_is_that_of_the_logarithm():
    simulator = load_simulator("darcy", {"coefficient": "log-normal", "nodes": 17, "refinement": 1})
    parameters = {"median": 2.0, "deviation": 0.7, "inverse_length": 3.0}
    logarithms = np.stack(
        [np.log(simulator.simulate(parameters, stream(3, i))["coefficient"] / 2.0) for i in range(400)]
    )
    # Nodes on the walls stand for less area than those inside: the trapezoid rule.
    weights = np.ones(17)
    weights[[0, -1]] = 0.5
    variance = np.einsum("nij,i,j->", logarithms**2, weights, weights) / (400 * 16**2)
    assert np.sqrt(variance) == pytest.approx(0.7, rel=0.06)


@pytest.mark.parametrize("name", ["low", "high", "inverse_length"])
def test_darcy_parameters_without_a_meaning_are_refused_before_work(tmp_path, name):
    file = tmp_path / "space.toml"
    file.write_text(f'[parameters.{name}]\ndistribution = "fixed(-1)"\n')
    space = load_simulator("darcy", {}, str(file)).space
    with pytest.raises(InputError, match=f"{name} > 0"):
        make_design(space, "sobol", 4, 1)


def test_lorenz_frames_begin_after_the_spin_up():
    options = {"sites": 10, "step": 0.02, "every": 5, "frames": 4, "spin_up": 3.0}
    simulator = load_simulator("lorenz96", options)
    found = simulator.simulate({"forcing": 8.0}, stream(4))["x"]
    start = 8.0 + stream(4).standard_normal(10)
    every = trajectory(start, 8.0, step=0.02, frames=166)
    assert np.array_equal(found, every[150::5])
    assert simulator.layout.times.coordinates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_stored_effect_is_that_of_the_stored_small_scale():
    simulator = load_simulator("lorenz96-two-level", SMALL["lorenz96-two-level"])
    parameters = {"forcing": 18.0, "coupling": 0.8, "amplitude_ratio": 9.0, "time_ratio": 8.0}
    sample = simulator.simulate(parameters, stream(5))
    constants = TwoLevel(18.0, 0.8, 9.0, 8.0)
    assert np.array_equal(sample["effect"], small_scale_effect(sample["y"], constants))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lorenz96", {"forcing": 8.0}),
        (
            "lorenz96-two-level",
            {"forcing": 20.0, "coupling": 1.0, "amplitude_ratio": 10.0, "time_ratio": 10.0},
        ),
    ],
)
def test_a_step_that_is_too_long_sets_the_sample_aside(name, parameters):
    simulator = load_simulator(name, {"step": 0.5, "spin_up": 50.0})
    with pytest.raises(Skip, match=r"steps of 0\.5 are too long"):
        simulator.simulate(parameters, stream(6))


@pytest.mark.parametrize("name", SMALL)
def test_declaring_a_simulator_compiles_nothing(name):
    code = (
        "import sys; from hpc_ds.simulate.simulators import load_simulator; "
        f"load_simulator('{name}'); print(*{{'numba', 'dask', 'mpi4py.MPI', 'torch'}} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""
