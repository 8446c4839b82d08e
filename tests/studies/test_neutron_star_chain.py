"""The study of neutron stars from end to end, small: its files, its figures, and a kill anywhere."""

import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.world import World
from hpc_ds.store.netcdf import read_group
from hpc_ds.studies.neutron_star import chain
from hpc_ds.studies.neutron_star.comparison import COMPARISON, PUBLISHED_RMS, QUANTILES, SUMMARY
from hpc_ds.studies.neutron_star.mock import Ensemble

TOY = Path(__file__).with_name("toy_chain.py")
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def toy():
    """Return the module toy_chain.py, which tests in importlib mode cannot import."""
    spec = importlib.util.spec_from_file_location("toy_chain", TOY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the run folder of a whole chain."""
    place = tmp_path_factory.mktemp("study") / "run"
    subprocess.run([sys.executable, TOY, place], env=ALONE, check=True, timeout=280)
    return place


@pytest.fixture(scope="module")
def summary(folder):
    return json.loads((folder / SUMMARY).read_text())


def settled(folder, name):
    """Return a file's bytes, of summary.json without what depends on the clock."""
    file = folder / name
    if file.suffix != ".json":
        return file.read_bytes()
    return json.dumps({**json.loads(file.read_text()), "seconds": None, "session": None})


def test_networks_have_the_published_sizes(summary):
    assert summary["networks"]["fixed"]["parameters"] == 6145
    assert summary["networks"]["fixed"]["layers"] == "30-60-40-40-5"
    assert summary["networks"]["known"]["parameters"] == 7705
    assert summary["networks"]["known"]["layers"] == "56-60-40-40-5"


def test_the_row_of_radius_errors_has_the_published_masses(summary):
    row = summary["radius_error"]
    assert row["mass"] == [0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8] and row["published"] == list(PUBLISHED_RMS)
    assert all(0.0 < error < 2.0 for name in ("network", "prior_mean", "exact") for error in row[name])


def test_bands_are_ordered_and_small_stars_make_matter_soft(folder):
    for name, axis in (
        ("mass_radius", "mass"),
        ("pressure_density", "energy_density"),
        ("sound_speed", "segment"),
    ):
        found = read_group(folder / COMPARISON, name)
        assert found["quantile"].tolist() == list(QUANTILES)
        for source in ("prior", "posterior", "posterior_all"):
            bands = found[source]
            known = np.isfinite(bands).all(axis=0)
            assert known.any() and bands.shape == (5, len(found[axis]))
            assert (np.diff(bands[:, known], axis=0) >= 0.0).all()
        assert found["members"].shape == (2, len(found[axis]))
    wide = read_group(folder / COMPARISON, "mass_radius")
    at = np.searchsorted(wide["mass"], 1.4)
    observed = np.mean(
        [star["radius"] for star in json.loads((folder / SUMMARY).read_text())["observations"]]
    )
    low, high = wide["posterior"][[0, -1], at]
    assert observed < wide["prior"][2, at] and low < high < wide["prior"][2, at], "the stars are small ones"


def test_evidence_and_the_share_of_the_prior_stand_side_by_side(summary):
    assert [one["name"] for one in summary["models"]] == ["3 segments", "5 segments"]
    assert sum(one["probability"] for one in summary["models"]) == pytest.approx(1.0)
    assert all(0.9 < one["prior_share"] < 1.0 for one in summary["models"])


def test_all_fourteen_stars_are_told_with_their_sources(summary):
    assert len(summary["observations"]) == 14
    assert all(star["source"] and star["radius"] for star in summary["observations"])
    kinds = {star["kind"] for star in summary["observations_all"]}
    assert kinds == {"pulse profile", "mass", "quiescent", "burster"}


def test_a_bootstrap_draws_equations_of_state_and_not_their_copies():
    numbers = np.arange(50.0)
    whole = Ensemble(np.tile(numbers[:, None], 5), np.tile(numbers[:, None], 3), np.tile(numbers[:, None], 3))
    first, second = (chain.resampled(whole, 1, member) for member in (0, 1))
    assert len(first) == 50 and len(np.unique(first.mass[:, 0])) < 50
    assert (first.mass[:, 0] == first.speeds_squared[:, 0]).all()
    assert not np.array_equal(first.mass, second.mass)
    assert np.array_equal(first.mass, chain.resampled(whole, 1, 0).mass)


def test_a_finished_chain_computes_nothing_again(toy, folder):
    before = {name: (folder / name).stat().st_mtime_ns for name in toy.FILES[2:]}
    seconds = json.loads((folder / SUMMARY).read_text())["seconds"]
    assert toy.run(folder, World())
    assert seconds and json.loads((folder / SUMMARY).read_text())["seconds"] == seconds
    assert {name: (folder / name).stat().st_mtime_ns for name in toy.FILES[2:]} == before


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_at_quick_scale_networks_know_radii_and_bands_of_the_exact_posterior_are_right(tmp_path):
    run = [
        sys.executable,
        "-c",
        "from hpc_ds.cli import main; main()",
        "run",
        "neutron-star",
        "--out",
        tmp_path / "run",
    ]
    subprocess.run(run, env=ALONE, check=True, timeout=1000)
    summary = json.loads((tmp_path / "run" / SUMMARY).read_text())
    row, calibrated = summary["radius_error"], summary["calibration"]
    assert max(row["network"]) < 0.25 and (2.0 * np.array(row["network"]) < row["prior_mean"]).all()
    assert calibrated["uniform"]
    assert all(one["within"] > 0.9 for one in calibrated["network"]["quantities"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_anywhere_the_same_command_ends_with_the_same_files(toy, folder, tmp_path):
    rng = random.Random(3)
    place, kills = tmp_path / "killed", 0
    while True:
        process = subprocess.Popen([sys.executable, TOY, place], env=ALONE)
        try:
            code = process.wait(timeout=rng.uniform(4.0, 12.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            time.sleep(0.2)
        else:
            assert code == 0
            break
    assert kills >= 2
    for name in toy.FILES:
        assert settled(place, name) == settled(folder, name), name
