"""Stars of random equations of state as a simulator: known curves, both cuts, bits that depend on nothing else."""

import subprocess
import sys

import numpy as np
import pytest

from hpc_ds.physics import neutron_star as ns
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import stream
from hpc_ds.simulate.simulator import Skip
from hpc_ds.simulate.simulators import load_simulator
from hpc_ds.simulate.simulators.neutron_star import BLOCK, speed_names

SOFT, MIDDLE, STIFF = [0.05] * 5, [0.3, 0.4, 0.5, 0.4, 0.3], [0.9] * 5


def stars_of(simulator, rows):
    """Fields of these squared speeds of sound, computed in one block."""
    names = speed_names(len(rows[0]))
    parameters = [dict(zip(names, map(float, row))) for row in rows]
    return simulator.simulate_block(parameters, [stream(7, i) for i in range(len(rows))])


@pytest.fixture(scope="module")
def prior():
    """Squared speeds of sound, drawn as a run draws them, and their fields."""
    simulator = load_simulator("neutron-star")
    unit = np.random.default_rng(3).random((400, simulator.space.dimension))
    columns = simulator.space.from_unit(unit)
    speeds = np.stack([columns[name] for name in simulator.space.names], axis=1)
    found = stars_of(simulator, speeds)
    assert not any(isinstance(one, Exception) for one in found)
    return speeds, {name: np.stack([one[name] for one in found]) for name in found[0]}


def test_fields_are_the_declared_ones():
    simulator = load_simulator("neutron-star")
    (sample,) = stars_of(simulator, [MIDDLE])
    stored = simulator.layout.checked(sample)
    assert list(stored) == [field.name for field in simulator.layout.fields]
    assert stored["radius"].shape == (128,) and stored["maximum_mass"].shape == ()
    assert simulator.space.names == ("c2_1", "c2_2", "c2_3", "c2_4", "c2_5")
    assert simulator.space.dimension == 5 and simulator.block == BLOCK


def test_a_sample_is_the_same_whatever_its_neighbours():
    simulator = load_simulator("neutron-star")
    rows = np.random.default_rng(1).uniform(0.02, 0.98, (BLOCK, 5))
    together, backward = stars_of(simulator, rows), stars_of(simulator, rows[::-1])[::-1]
    alone = stars_of(simulator, [rows[2]] * BLOCK)
    for name, values in together[2].items():
        assert values.tobytes() == backward[2][name].tobytes() == alone[5][name].tobytes()


def test_prior_is_uniform_between_delta_and_one_less_delta(prior):
    assert prior[0].min() >= 0.02 and prior[0].max() <= 0.98
    wide = load_simulator("neutron-star", {"delta": 0.01, "segments": 3}).space
    found = wide.from_unit(np.array([[0.0] * 3, [0.5] * 3]))
    assert [found[name].tolist() for name in wide.names] == [pytest.approx([0.01, 0.5])] * 3


def test_cut_keeps_as_many_draws_as_it_should(prior):
    # 0.974 of 2200 in an independent computation; 400 draws have a standard error of 0.008
    assert prior[1]["accepted"].mean() == pytest.approx(0.974, abs=0.03)
    assert np.array_equal(prior[1]["accepted"] == 1.0, prior[1]["maximum_mass"] >= 1.97)


def test_stored_stars_are_those_that_are_integrated_one_by_one(prior):
    speeds, fields = (values[:20] if isinstance(values, np.ndarray) else values for values in prior)
    eos = ns.sound_speed_segments(speeds)
    density = fields["central_energy_density"][:20]
    stars = ns.integrate_stars(eos, ns.enthalpy_at(eos, density))
    assert stars.mass == pytest.approx(fields["mass"][:20], rel=3e-4)
    assert stars.radius == pytest.approx(fields["radius"][:20], rel=1e-4)
    assert stars.tidal == pytest.approx(fields["tidal_deformability"][:20], rel=5e-3)
    assert ns.pressure_at(eos, density) == pytest.approx(fields["central_pressure"][:20], rel=1e-9)


def test_masses_are_even_and_end_with_the_maximum(prior):
    mass = prior[1]["mass"]
    assert (mass[:, 0] == 0.2).all() and np.array_equal(mass[:, -1], prior[1]["maximum_mass"])
    steps = np.diff(mass, axis=1)
    assert steps == pytest.approx(np.broadcast_to(steps.mean(1, keepdims=True), steps.shape), rel=1e-9)
    for name in ("central_pressure", "central_energy_density"):
        assert (np.diff(prior[1][name], axis=1) > 0.0).all()
    assert (np.diff(prior[1]["tidal_deformability"], axis=1) < 0.0).all()


def test_radius_between_stored_stars_is_that_of_the_curve(prior):
    speeds, fields = prior
    kept = fields["accepted"] == 1.0
    masses = np.linspace(0.6, 1.8, 25)
    exact = ns.radius_at(ns.mass_radius_curves(ns.sound_speed_segments(speeds[kept]), points=512), masses)
    between = [np.interp(masses, m, r) for m, r in zip(fields["mass"][kept], fields["radius"][kept])]
    assert np.abs(between - exact).max() < 0.02  # km; the observed errors are 0.5 km


@pytest.mark.parametrize(
    ("speeds", "options", "accepted"),
    [
        (SOFT, {}, 0.0),
        (SOFT, {"least_maximum_mass": 0.0}, 1.0),
        (MIDDLE, {}, 1.0),
        (STIFF, {}, 1.0),
        (STIFF, {"least_maximum_mass": 3.9}, 0.0),
        (STIFF, {"strict_causality": True}, 0.0),
        (MIDDLE, {"strict_causality": True}, 1.0),
    ],
)
def test_what_the_cuts_exclude_is_stored_and_marked(speeds, options, accepted):
    (sample,) = stars_of(load_simulator("neutron-star", options), [speeds])
    assert sample["accepted"] == accepted
    if options.get("strict_causality"):
        assert (sample["largest_sound_speed_squared"] <= 1.0) == accepted


@pytest.mark.parametrize("options", [{"least_maximum_mass": 9.0}, {"least_maximum_mass": 3.8, "segments": 3}])
def test_a_cut_that_no_equation_of_state_meets_is_refused(options):
    least = options["least_maximum_mass"]
    with pytest.raises(
        InputError, match=rf"least-maximum-mass {least:g}: .* maximum masses are below 3\.\d+"
    ):
        load_simulator("neutron-star", options)


def test_a_star_that_never_gets_so_heavy_is_skipped_without_its_neighbours():
    found = stars_of(load_simulator("neutron-star", {"lowest_mass": 1.0}), [MIDDLE, SOFT, STIFF])
    assert isinstance(found[1], Skip) and str(found[1]).endswith("is not above the lowest_mass of 1")
    assert not any(isinstance(found[i], Exception) for i in (0, 2))


@pytest.mark.parametrize("segments", [1, 3, 4, 7])
@pytest.mark.parametrize("delta", [0.02, 0.05])
def test_corners_of_the_prior_have_stars(segments, delta):
    rows = [[delta] * segments, [1.0 - delta] * segments, [delta] + [1.0 - delta] * (segments - 1)]
    simulator = load_simulator("neutron-star", {"segments": segments, "delta": delta})
    for sample in stars_of(simulator, rows):
        simulator.layout.checked(sample)


def test_wrong_options_are_named():
    for options, message in (
        ({"size": 3}, "^neutron-star: size: unknown"),
        ({"delta": 0.5}, r"^neutron-star: delta 0\.5"),
        ({"segments": 0}, "^neutron-star: segments 0"),
        ({"lowest_mass": 0.1}, r"^neutron-star: lowest-mass 0\.1"),
    ):
        with pytest.raises(InputError, match=message):
            load_simulator("neutron-star", options)


def test_a_speed_that_is_not_positive_is_refused_before_work(tmp_path):
    from hpc_ds.simulate.design import make_design

    file = tmp_path / "space.toml"
    file.write_text('[parameters.c2_2]\ndistribution = "fixed(-1)"\n')
    with pytest.raises(InputError, match="c2_2 > 0"):
        make_design(load_simulator("neutron-star", {}, str(file)).space, "sobol", 4, 1)


def test_declaring_the_simulator_compiles_nothing():
    code = (
        "import sys; from hpc_ds.simulate.simulators import load_simulator; load_simulator('neutron-star'); "
        "print(*{'numba', 'dask', 'mpi4py.MPI', 'torch', 'scipy.interpolate'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""
