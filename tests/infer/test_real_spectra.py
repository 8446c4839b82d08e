"""Measured and certified spectra: NIST's Gauss1 and Gauss2, and photoemission of PET, C 1s and O 1s.

Certified values: NIST StRD (B. Rust 1996), y = b1 exp(-b2 x) + two peaks b3 exp(-(x - b4)^2 / b5^2) + noise of
standard deviation 2.5. PET: textbook positions of C-C, C-O and O-C=O and their areas 3 : 1 : 1.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.infer import sample
from hpc_ds.infer.models.spectrum import SpectrumOptions, spectrum_models, warnings_for
from hpc_ds.store.table import Table, read_xy

pytestmark = pytest.mark.needs_data

FWHM = 2.0 * np.sqrt(np.log(2.0))  # of exp(-(x / b)^2), in b


@pytest.fixture
def nist(data_folder, tmp_path):
    """Return a function that reads a NIST set: its points, from a CSV file as a user has, and certified values."""

    def read(name: str) -> tuple[Table, dict[str, float]]:
        lines = (data_folder / "nist_strd" / f"{name}.dat").read_text().splitlines()
        b = [float(line.split()[4]) for line in lines if line.strip()[:1] == "b" and " = " in line]
        y, x = np.array([line.split() for line in lines[60:310]], dtype=float).T
        path = tmp_path / f"{name}.csv"
        np.savetxt(path, np.column_stack([x, y]), delimiter=",", header="x,y", comments="")
        return read_xy(path), _parameters(b, float(x[0]))

    return read


def _parameters(b: list[float], start: float) -> dict[str, float]:
    """Certified b1 ... b8 as our parameters; our background has its amplitude at the first x."""
    return {
        "background_amplitude": b[0] * np.exp(-b[1] * start),
        "background_decay": 1.0 / b[1],
        "amplitude[1]": b[2],
        "position[1]": b[3],
        "width[1]": FWHM * b[4],
        "amplitude[2]": b[5],
        "position[2]": b[6],
        "width[2]": FWHM * b[7],
    }


@pytest.fixture
def xps(data_folder):
    """Return a function that reads a photoemission spectrum between two binding energies in eV."""

    def read(name: str, low: float, high: float) -> Table:
        table = read_xy(Path(data_folder) / "xps_lg4x" / f"{name}.csv")
        inside = (table.x >= low) & (table.x <= high)
        return dataclasses.replace(table, x=table.x[inside], y=table.y[inside])

    return read


def _models(table, options, **settings):
    return {
        model["name"]: model
        for model in sample(spectrum_models(table, options), **settings).summary()["models"]
    }


def _assert_certified(parameters, certified):
    for name, value in certified.items():
        assert parameters[name]["2.5%"] < value < parameters[name]["97.5%"], name


# ---- NIST --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Gauss1", "Gauss2"])
def test_certified_values_lie_inside_the_intervals_with_the_stated_noise(nist, name):
    table, certified = nist(name)
    options = SpectrumOptions(peaks=(1, 2), background="exponential", noise=2.5)
    models = _models(table, options, draws=2500, tuning=1000, seed=1)
    _assert_certified(models["K=2"]["parameters"], certified)
    assert models["K=2"]["probability"] > 0.999
    assert models["K=2"]["verdict"]["trust"]


@pytest.mark.parametrize("name", ["Gauss1", "Gauss2"])
def test_certified_values_and_the_noise_are_found_where_it_is_unknown(nist, name):
    """The noise drawn has the certified residual standard deviation 2.3 in both sets; 2.5 is within two sd of it."""
    table, certified = nist(name)
    options = SpectrumOptions(peaks=(2,), background="exponential", noise="estimate")
    found = _models(table, options, draws=2500, tuning=1000, seed=2)["K=2"]["parameters"]
    _assert_certified(found, certified)
    assert abs(found["noise"]["mean"] - 2.5) < 0.3
    assert 0.09 < found["noise"]["sd"] < 0.13  # sigma / sqrt(2 n)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["estimate", 2.5])
@pytest.mark.parametrize("name", ["Gauss1", "Gauss2"])
def test_two_peaks_are_the_most_probable_of_one_to_three(nist, name, noise):
    table, certified = nist(name)
    options = SpectrumOptions(peaks=(1, 2, 3), background="exponential", noise=noise)
    models = _models(table, options, draws=8000, tuning=2000, seed=1)
    assert models["K=2"]["probability"] > 0.7
    assert models["K=1"]["probability"] < 1e-6
    _assert_certified(models["K=2"]["parameters"], certified)
    assert all(models[f"K={k}"]["verdict"]["trust"] for k in (2, 3))


# ---- photoemission -----------------------------------------------------------------------------------------


def test_pet_shows_its_three_carbon_atoms(xps):
    table = xps("PET_C1s", 282.0, 290.0)
    options = SpectrumOptions(peaks=(2, 3), shape="pseudo-voigt", background="shirley", noise="counting")
    models = _models(table, options, draws=1500, tuning=1200, seed=1)
    assert models["K=3"]["log_evidence"] > models["K=2"]["log_evidence"] + 50.0
    found = models["K=3"]["parameters"]
    for k, energy in enumerate((284.7, 286.3, 288.7), start=1):
        assert abs(found[f"position[{k}]"]["mean"] - energy) < 0.2
        assert found[f"position[{k}]"]["sd"] < 0.03
        assert 0.6 < found[f"width[{k}]"]["mean"] < 1.4
    area = [models["K=3"]["derived"][f"area[{k}]"]["mean"] for k in (1, 2, 3)]
    assert 0.25 < area[1] / area[0] < 0.45
    assert 0.25 < area[2] / area[0] < 0.45


def test_noise_of_pet_is_that_of_counted_electrons(xps):
    """The scatter grows with the signal: a user is told, and the factor is near 1."""
    table = xps("PET_C1s", 279.0, 294.0)
    said = warnings_for(table, spectrum_models(table, SpectrumOptions(peaks=(1,), noise="estimate")))
    assert any("--noise counting" in line for line in said)
    narrow = xps("PET_C1s", 287.6, 289.6)  # one peak and its feet
    options = SpectrumOptions(peaks=(1,), shape="pseudo-voigt", background="linear", noise="counting")
    found = _models(narrow, options, draws=1500, tuning=800, seed=1)["K=1"]["parameters"]
    assert found["noise_factor"]["2.5%"] < 1.3
    assert found["noise_factor"]["97.5%"] > 0.9


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_pet_shows_its_shake_up_beside_the_three_peaks(xps):
    table = xps("PET_C1s", 280.0, 294.0)
    options = SpectrumOptions(peaks=(3, 4, 5), shape="pseudo-voigt", background="shirley", noise="counting")
    models = _models(table, options, draws=10_000, tuning=2000, seed=1)
    assert models["K=3"]["probability"] < 1e-6
    found = models["K=4"]["parameters"]
    for k, energy in enumerate((284.7, 286.3, 288.7, 291.2), start=1):
        assert abs(found[f"position[{k}]"]["50%"] - energy) < 0.3
    assert 0.9 < found["noise_factor"]["mean"] < 1.4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_carbon_and_oxygen_lines_stand_where_they_are_tabulated(xps):
    """C 1s of adventitious carbon near 284.6 eV, and O 1s, uncorrected for charging, near 533 eV."""
    carbon = SpectrumOptions(peaks=(3,), shape="pseudo-voigt", background="shirley", noise="counting")
    found = _models(xps("C1s_sample", 280.0, 295.0), carbon, draws=6000, tuning=2000, seed=1)["K=3"]
    assert abs(found["parameters"]["position[1]"]["50%"] - 284.5) < 0.3
    assert 0.9 < found["parameters"]["noise_factor"]["mean"] < 1.4
    oxygen = SpectrumOptions(peaks=(1, 2), shape="pseudo-voigt", background="shirley", noise="estimate")
    models = _models(xps("111216_0459_O1s", 525.0, 540.0), oxygen, draws=6000, tuning=2000, seed=1)
    assert abs(models["K=2"]["parameters"]["position[1]"]["50%"] - 533.2) < 0.3
    assert 0.04 < models["K=2"]["parameters"]["noise"]["mean"] < 0.08
