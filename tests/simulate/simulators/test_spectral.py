"""The simulators of Burgers' equation and of flow on the torus give declared fields, each sample by itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hpc_ds.physics.navier_stokes import velocity
from hpc_ds.physics.random_fields import periodic_field
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import stream
from hpc_ds.simulate.simulator import Skip
from hpc_ds.simulate.simulators import burgers, navier_stokes

SMALL = {
    "burgers": (burgers.build, {"resolution": 64, "solver_resolution": 256, "times": 3, "step": 0.01}),
    "navier-stokes": (
        navier_stokes.build,
        {"resolution": 16, "solver_resolution": 32, "times": 3, "final_time": 2.0, "velocity": True},
    ),
}


def small(name, **options):
    build, common = SMALL[name]
    return build({**common, **options})


def samples(simulator, indices):
    """Fields of these samples, computed in one block."""
    middle = simulator.space.from_unit(((np.arange(64) + 0.5) / 64)[:, None])
    parameters = [{key: column[i] for key, column in middle.items()} for i in indices]
    return simulator.simulate_block(parameters, [stream(7, i) for i in indices])


@pytest.mark.parametrize("name", SMALL)
def test_fields_are_the_declared_ones(name):
    simulator = small(name)
    found = samples(simulator, range(8))
    assert len(found) == simulator.block == 8
    for fields in found:
        simulator.layout.checked(fields)
    assert [column.name for column in simulator.layout.columns] == ["viscosity"]


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_is_the_same_whatever_its_neighbours(name):
    simulator = small(name)
    together, others = samples(simulator, range(8)), samples(simulator, [20, 21, 2, 23, 24, 25, 26, 27])
    alone = samples(simulator, [2] * 8)
    for field, values in together[2].items():
        assert values.tobytes() == others[2][field].tobytes() == alone[2][field].tobytes()


@pytest.mark.parametrize("name", SMALL)
def test_stored_points_are_some_of_the_solvers(name):
    fine, coarse = (samples(small(name, resolution=n), range(8)) for n in (32, 16))
    every = (slice(None), *(slice(None, None, 2),) * (1 if name == "burgers" else 2))
    for one, two in zip(fine, coarse):
        assert all(np.array_equal(one[field][every], two[field]) for field in one)


def test_burgers_begins_with_the_random_field():
    found = samples(small("burgers"), range(8))
    for i, fields in enumerate(found):
        drawn = periodic_field(stream(7, i), (256,), 25.0, 5.0, 2.0, zero_mean=True, cutoff=85)
        assert fields["u"][0] == pytest.approx(drawn[::4], abs=1e-14)


def test_flow_begins_with_the_random_vorticity_and_its_velocity():
    found = samples(small("navier-stokes", resolution=32), range(8))
    for i, fields in enumerate(found):
        drawn = periodic_field(stream(7, i), (32, 32), 7**1.5, 7.0, 2.5, zero_mean=True, cutoff=10)
        assert fields["vorticity"][0] == pytest.approx(drawn, abs=1e-14)
        assert fields["velocity"][0] == pytest.approx(velocity(drawn), abs=1e-14)


@pytest.mark.parametrize(
    ("name", "viscosity", "options"),
    [
        ("burgers", 1e-4, {}),
        ("burgers", 1e-2, {"sigma": 25e6}),
        ("navier-stokes", 1e-7, {"final_time": 20.0, "forcing": 1.0}),
    ],
)
def test_a_sample_that_the_grid_does_not_resolve_is_skipped(name, viscosity, options):
    simulator = small(name, **options)
    viscosities = [1.0] * 3 + [viscosity] + [1.0] * 4
    found = simulator.simulate_block(
        [{"viscosity": one} for one in viscosities], [stream(7, i) for i in range(8)]
    )
    assert isinstance(found[3], Skip) and "raise solver_resolution, shorten step" in str(found[3])
    if name == "burgers" and not options:
        assert not any(isinstance(one, Exception) for lane, one in enumerate(found) if lane != 3)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("burgers", {"resolution": 100}, "burgers: resolution 100: a power of two"),
        ("burgers", {"resolution": 512}, "raise the latter"),
        ("burgers", {"solver_resolution": 0}, "power of two"),
        ("burgers", {"viscosity": 1.0}, "burgers: viscosity: unknown"),
        ("burgers", {"step": 0.0}, "greater than 0"),
        ("burgers", {"final_time": float("inf")}, "finite"),
        ("navier-stokes", {"resolution": 33}, "navier-stokes: resolution 33: a power of two"),
        ("navier-stokes", {"solver_resolution": 8}, "raise the latter"),
        ("navier-stokes", {"times": 1}, "times 1"),
    ],
)
def test_wrong_options_are_named(name, options, words):
    with pytest.raises(InputError, match=words):
        small(name, **options)


def test_the_time_step_follows_the_grid_alone():
    assert navier_stokes.build({}).options["step"] == 0.02
    assert navier_stokes.build({"solver_resolution": 128}).options["step"] == 0.01
    assert navier_stokes.build({"solver_resolution": 128, "step": 0.005}).options["step"] == 0.005


def test_building_a_simulator_compiles_nothing():
    code = (
        "import sys; from hpc_ds.simulate.simulators import burgers, navier_stokes; burgers.build({}); "
        "navier_stokes.build({}); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
