"""The command on neutron stars: a run from stars to the report, resumed, and what is refused before work starts."""

import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

STARS = """
[[star]]
name = "A"
mass = 1.4
mass_errors = 0.1
radius = 12.0
radius_errors = [0.5, 0.7]

[[star]]
name = "B"
grid = "grid.txt"
"""
SHORT = ("--segments", "2,3", "--draws", "60", "--tuning", "32", "--sweeps", "1", "--replicas", "4")
STOPPING = ("--time", "0.001")


@pytest.fixture
def stars(tmp_path) -> Path:
    """Return a sound file of two stars."""
    radius, mass = np.meshgrid(np.linspace(8.0, 16.0, 33), np.linspace(0.9, 2.1, 25), indexing="ij")
    density = np.exp(-0.5 * (((radius - 11.5) / 1.0) ** 2 + ((mass - 1.6) / 0.2) ** 2))
    np.savetxt(tmp_path / "grid.txt", np.column_stack([radius.ravel(), mass.ravel(), density.ravel()]))
    (tmp_path / "stars.toml").write_text(STARS)
    return tmp_path / "stars.toml"


@pytest.fixture
def hpc_ds(monkeypatch, capsys, tmp_path):
    """Run the command in this process and in a folder of its own; return stdout and stderr."""

    def run(*words, code=0):
        from hpc_ds import cli
        from hpc_ds.runtime.leaving import guarded

        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(sys, "argv", ["hpc-ds", *map(str, words)])
        capsys.readouterr()
        found = guarded(cli._command)
        told = capsys.readouterr()
        assert found == code, told.err
        return told

    return run


@pytest.fixture
def refused(hpc_ds, tmp_path):
    """Give a command that must be refused; return its one line; nothing may have been written."""

    def refuse(*words):
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        told = hpc_ds("infer", *words, "--out", "run", code=2).err
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        lines = [line for line in told.splitlines() if line.startswith("hpc-ds")]
        assert len(lines) == 1 and "Traceback" not in told, told
        return lines[0].removeprefix("hpc-ds: error: ")

    return refuse


def test_stars_to_report(hpc_ds, stars, tmp_path):
    told = hpc_ds("infer", "neutron-star", stars, *SHORT, "--out", "run")
    assert "What the cuts leave: a maximum mass of 1.97" in told.out and "3 segments" in told.out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [entry["name"] for entry in summary["models"]] == ["2 segments", "3 segments"]
    assert [star["form"] for star in summary["observations"]] == ["errors", "grid"]
    assert summary["options"]["least_maximum_mass"] == 1.97
    for entry, segments in zip(summary["models"], (2, 3), strict=True):
        assert 0.5 < entry["prior_share"] < 1.0 and 0.0 < entry["prior_share_error"] < 0.05
        assert len(entry["information_gain"]) == segments
        assert entry["derived"]["maximum_mass"]["2.5%"] >= 1.97
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What do 2 stars of stars.toml tell of dense matter?" in page and "How many peaks" not in page


def test_run_that_was_stopped_goes_on_to_the_same_bits(hpc_ds, stars, tmp_path):
    words = ("infer", "neutron-star", stars, *SHORT, "--segments", "2", "--out")
    hpc_ds(*words, "whole")
    hpc_ds(*words, "stopped", *STOPPING, code=75)
    hpc_ds(*words, "stopped")
    whole, stopped = (
        (tmp_path / run / "posterior" / "2 segments.h5").read_bytes() for run in ("whole", "stopped")
    )
    assert whole == stopped


def test_published_stars_are_chosen_by_kind_and_name(hpc_ds, tmp_path):
    words = ("infer", "neutron-star", "observed", *SHORT, "--kinds", "pulse profile,mass", "--out", "run")
    told = hpc_ds(*words, "--stars", "J0030+0451, J0348+0432")
    assert "J0348+0432 is given too" in told.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [(star["name"], star["kind"]) for star in summary["observations"]] == [
        ("J0030+0451", "pulse profile"),
        ("J0348+0432", "mass"),
    ]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What do 2 observed stars tell of dense matter?" in page and "Antoniadis et al. 2013" in page


def test_configuration_to_start_from_is_one(hpc_ds, stars, tmp_path):
    text = hpc_ds("init", "infer", "neutron-star").out
    options = [
        line.removeprefix("# ") for line in text.split("# stars.toml is")[0].splitlines() if " = " in line
    ]
    unwanted = ("out", "time", "stars", "kinds", "draws", "tuning", "moves", "replicas", "segments")
    kept = [line for line in options if not line.startswith(unwanted)]
    (tmp_path / "run.toml").write_text("\n".join(kept))
    words = ("infer", "neutron-star", stars, *SHORT, "--config", "run.toml", "--out", "run")
    hpc_ds(*words, *STOPPING, code=75)
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["causal"] is True and config["density_ratio"] == 8.0


def test_stars_of_the_configuration_are_read(hpc_ds, tmp_path):
    text = hpc_ds("init", "infer", "neutron-star").out.split("or by samples.")[1]
    stars = "\n".join(line.removeprefix("# ").removeprefix("#") for line in text.splitlines())
    first = stars.split("[[star]]")[1]
    (tmp_path / "stars.toml").write_text(f"[[star]]{first}")
    hpc_ds("infer", "neutron-star", "stars.toml", *SHORT, "--out", "run", *STOPPING, code=75)


# ---- bad input ------------------------------------------------------------------------------------------------

ONE = '[[star]]\nname = "A"\nmass = 1.4\nmass_errors = 0.1\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ["stars.toml: has no [[star]]"]),
        ("[[stars]]\n", ["stars.toml: 'stars'", "did you mean 'star'"]),
        ("mass,radius\n1.4,12\n", ["stars.toml: no TOML"]),
        ('[[star]]\nname = "A"\nmass = 1.4\n', ["stars.toml, star 1", "its mass 1.4 has no error", "mass_errors"]),
        (ONE + "radius = 12\n", ["star A: its radius 12 has no error; give radius_errors"]),
        (ONE + "raduis = 12\n", ["star 1: 'raduis': did you mean 'radius'?"]),
        (ONE + ONE, ["star A stands twice"]),
        (ONE.replace("1.4", "5.4"), ["observation 'A': mass 5.4 +- 0.1 lies outside", "1 to 3."]),
        (ONE + "radius = 12000\nradius_errors = 100\n", ["'A': radius 12000 +- 100 lies outside", "km are needed"]),
        ('[[star]]\nname = "A"\ngrid = "none.txt"\n', ["star 1: ", "none.txt: cannot be read"]),
    ],
)  # fmt: skip
def test_stars_that_cannot_be_are_refused(refused, tmp_path, content, said):
    (tmp_path / "stars.toml").write_text(content)
    told = refused("neutron-star", "stars.toml", *SHORT)
    assert [word for word in said if word not in told] == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("10 1 1\n11 1 1\n10 2 1\n11 2 nan\n", "must be finite"),
        ("10 1 1\n11 1 1\n10 2 1\n11 2 -1\n", "the density is -1 at 11 km, 2 Msun"),
        ("10 1 1\n11 1 1\n10 2 1\n", "each pair is needed once"),
        ("1 10 1\n1 11 1\n2 10 1\n2 11 1\n", "its masses 10 to 11 lie outside"),
        ("1 1 1\n1 2 1\n2 1 1\n2 2 1\n", "its radii 1 to 2 lie outside"),
        ("10 1\n11 1\n", "found 2 columns; R (km), M (Msun) and density are needed"),
        ("", "has no numbers"),
    ],
)
def test_grids_that_cannot_be_are_refused(refused, tmp_path, rows, said):
    (tmp_path / "stars.toml").write_text('[[star]]\nname = "A"\ngrid = "grid.txt"\n')
    (tmp_path / "grid.txt").write_text(rows)
    assert said in refused("neutron-star", "stars.toml", *SHORT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--segments", "0"], ["--segments '0'", "1 to 20"]),
        (["--segments", "5:3"], ["--segments '5:3'", "upwards"]),
        (["--segments", "21"], ["--segments '21'", "1 to 20"]),
        (["--segments", "some"], ["--segments 'some'", "3,4,5,7"]),
        (["--segments", ""], ["--segments ''"]),
        (["--delta", "0.5"], ["--delta 0.5", "between 0 and 0.5"]),
        (["--delta", "nan"], ["--delta nan"]),
        (["--least-maximum-mass", "-1"], ["--least-maximum-mass -1", "0 or above"]),
        (["--least-maximum-mass", "4.5"], ["least_maximum_mass 4.5", "maximum masses are below"]),
        (["--least-maximum-mass", "3.9"], ["--least-maximum-mass 3.9", "none of 400 equations of state"]),
        (["--density-ratio", "1"], ["--density-ratio 1", "above 1"]),
        (["--stars", "C"], ["--stars 'C'", "known are A, B"]),
        (["--kinds", "burster"], ["--kinds", "'observed'"]),
        (["--peaks", "3"], ["--peaks: no option of model neutron-star", "--segments"]),
        (["--noise", "0.1"], ["--noise: no option of model neutron-star"]),
        (["--prior", "a=normal(0, 1)"], ["--prior: no option of model neutron-star"]),
        (["--move", "permute"], ["'permute' is no move", "slice"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_options_are_refused(refused, stars, options, said):
    told = refused("neutron-star", "stars.toml", "--segments", "5", *options)
    assert [word for word in said if word not in told] == []


@pytest.mark.parametrize(
    ("model", "said"),
    [("neutron-star", "a data file is needed, or 'observed'"), ("spectrum", "a data file is needed")],
)
def test_data_that_miss_are_told_before_the_folder(hpc_ds, model, said):
    told = hpc_ds("infer", model, code=2).err
    assert said in told and "--out" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["neutron-star"], ["a data file is needed", "observed"]),
        (["neutron-star", "nowhere.toml"], ["nowhere.toml: No such file"]),
        (["neutron-star", "observed", "--kinds", "bursters"], ["--kinds 'bursters': did you mean 'burster'?"]),
        (["neutron-star", "observed", "--stars", "J0030"], ["--stars 'J0030'", "did you mean 'J0030+0451'?"]),
        (["neutron-star", "observed", "--kinds", "mass", "--stars", "M13"], ["--stars 'M13'", "J0348+0432"]),
        (["neutron-stars", "observed"], ["model 'neutron-stars': did you mean 'neutron-star'?"]),
        (["spectrum", "stars.toml", "--segments", "5"], ["--segments: no option of model spectrum"]),
        (["linear", "stars.toml", "--no-causal"], ["--causal: no option of model linear"]),
    ],
    ids=lambda value: " ".join(value),
)  # fmt: skip
def test_wrong_commands_are_refused(refused, stars, words, said):
    told = refused(*words)
    assert [word for word in said if word not in told] == []
