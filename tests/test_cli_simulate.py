"""The verbs simulate, merge and check as a user types them: exit codes, refusals in one line, and what they leave."""

import json
import subprocess
import sys

import pytest

from hpc_ds.store.training_set import TrainingSet

HPC_DS = [sys.executable, "-c", "from hpc_ds.cli import main; main()"]

SOLVER = """
import os, time
from hpc_ds.simulate import declare

DECLARED = dict(parameters={"a": "uniform(0, 1)", "b": "uniform(1, 2)"}, fields={"u": {"time_varying": False}},
                axes={"x": [0.0, 0.5, 1.0]})

@declare(**DECLARED)
def line(parameters, rng):
    return {"u": [parameters["a"], parameters["b"], rng.uniform()]}

@declare(**DECLARED)
def bad(parameters, rng):
    if parameters["a"] < 0.25:
        raise ArithmeticError("a is small")
    if parameters["a"] < 0.5:
        return {"u": [float("nan"), 0, 0]}
    if parameters["a"] < 0.6:
        return {"u": [0.0]}
    if parameters["a"] < 0.7:
        os._exit(3)
    if parameters["a"] < 0.8:
        time.sleep(100)
    return line(parameters, rng)

@declare(**DECLARED)
def slow(parameters, rng):
    time.sleep(1.0)
    return line(parameters, rng)

def plain(parameters, rng):
    return {}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "solver.py").write_text(SOLVER)
    return tmp_path


@pytest.fixture
def hpc_ds(place, plain_environment):
    """Run the command as a process of its own in the folder of the test."""

    def run(*words, code=0):
        done = subprocess.run(
            [*HPC_DS, *map(str, words)],
            cwd=place,
            env=plain_environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def contents(folder):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def refused(place, monkeypatch, capsys):
    """Give a command that must be refused, having changed nothing; return its one line."""

    def refuse(*words, out="set"):
        from hpc_ds import cli
        from hpc_ds.runtime.leaving import guarded

        monkeypatch.chdir(place)
        before = contents(place)
        more = ["--out", out] if out else []
        monkeypatch.setattr(sys, "argv", ["hpc-ds", *map(str, words), *more])
        capsys.readouterr()
        assert guarded(cli._command) == 2
        assert contents(place) == before
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hpc-ds")]
        assert len(lines) == 1 and lines[0].startswith("hpc-ds: error: ")
        return lines[0].removeprefix("hpc-ds: error: ")

    return refuse


def test_a_set_is_made_checked_grown_and_looked_at(hpc_ds, place):
    told = hpc_ds("simulate", "solver.py:line", "--samples", 10, "--out", "set")
    assert "line: 10 of 10 samples" in told.stdout and "report.html" in told.stdout
    assert hpc_ds("check", "set").stdout.endswith("set: 0 errors, 0 warnings\n")
    assert "done" in hpc_ds("status", "set").stdout
    hpc_ds("simulate", "solver.py:line", "--samples", 20, "--out", "set")
    summary = json.loads((place / "set/summary.json").read_text())
    assert (summary["kind"], summary["samples"], summary["done"], summary["failed"]) == (
        "simulate",
        20,
        20,
        0,
    )
    assert sum(summary["splits"].values()) == 20
    hpc_ds("simulate", "solver.py:line", "--samples", 20, "--out", "other")
    assert "same" in hpc_ds("compare", "set", "other").stdout.lower()
    assert (place / "set/report.html").stat().st_size > 10_000


def test_bad_samples_are_set_aside_and_the_exit_code_says_so(hpc_ds, place):
    told = hpc_ds(
        "simulate",
        "solver.py:bad",
        "--samples",
        24,
        "--sample-limit",
        2,
        "--retries",
        0,
        "--out",
        "set",
        code=3,
    )
    summary = json.loads((place / "set/summary.json").read_text())
    kinds = summary["failure_kinds"]
    assert set(kinds) == {"raised", "invalid", "exited", "timeout"}
    assert summary["done"] + sum(kinds.values()) == 24 and summary["done"] > 0
    assert "--retry-failed" in told.stdout
    assert "0 errors" in hpc_ds("check", "set").stdout


def test_a_run_that_its_time_limit_cuts_ends_with_75_and_goes_on(hpc_ds, place):
    words = ("simulate", "solver.py:slow", "--samples", 24, "--processes", 2, "--out", "set")
    told = hpc_ds(*words, "--time", "8s", code=75)
    assert "the same hpc-ds simulate command goes on from here" in told.stdout
    assert "stopped" in hpc_ds("status", "set").stdout
    hpc_ds(*words)
    assert json.loads((place / "set/summary.json").read_text())["done"] == 24


def test_a_damaged_set_does_not_pass_the_check(hpc_ds, place):
    hpc_ds("simulate", "solver.py:line", "--samples", 10, "--split", "1,0,0", "--out", "set")
    (file,) = (place / "set/data/train").glob("*.h5")
    with TrainingSet(place / "set", "train") as found:
        needle = found.read("u", 3).tobytes()
    data = bytearray(file.read_bytes())
    data[data.index(needle)] ^= 1
    file.write_bytes(data)
    told = hpc_ds("check", "set", code=1).stdout
    assert "error" in told and "checksum" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("burger",), ["simulator 'burger'", "did you mean 'burgers'"]),
        (("solver.py:nothing",), ["solver.py", "nothing"]),
        (("nowhere.py:f",), ["nowhere.py"]),
        (("nowhere.toml",), ["nowhere.toml"]),
        (("solver.py:plain",), ["solver.py:plain", "declares no"]),
        (("solver.py:line", "--samples", "0"), ["--samples", "0"]),
        (("solver.py:line", "--samples", "-3"), ["--samples"]),
        (("solver.py:line", "--samples", "100000000000"), ["--samples"]),
        (("solver.py:line", "--design", "soboll"), ["soboll", "did you mean 'sobol'"]),
        (("solver.py:line", "--design", "nowhere.csv"), ["nowhere.csv"]),
        (("solver.py:line", "--split", "0.5,0.1,0.1"), ["--split", "add up to 1"]),
        (("solver.py:line", "--split", "a,b"), ["--split"]),
        (("solver.py:line", "--sample-limit", "soon"), ["--sample-limit", "soon"]),
        (("solver.py:line", "--watch", "w"), ["--watch w", "there are u"]),
        (("solver.py:line", "--time", "never"), ["--time", "never"]),
        (("solver.py:line", "--parameters", "nowhere.toml"), ["nowhere.toml"]),
        (("burgers", "--option", "resolution"), ["--option 'resolution'", "name=value"]),
        (("burgers", "--option", "resolutions=64"), ["resolutions", "did you mean 'resolution'"]),
        (("burgers", "--option", "resolution=65"), ["resolution", "power of two"]),
        (("solver.py:line", "--launcher", "slurm"), ["--launcher", "slurm"]),
        (("solver.py:line", "--launcher", "dask-mpi"), ["dask-mpi", "3 ranks"]),
        (("solver.py:line", "--dashboard"), ["--dashboard", "pip install bokeh"]),
        (("solver.py:line", "--interface", "nosuch0"), ["nosuch0"]),
        (("solver.py:line", "--processes", "0"), ["--processes"]),
    ],
)
def test_bad_input_is_refused_in_one_line(refused, words, said):
    line = refused("simulate", *words)
    assert [word for word in said if word not in line] == [], line


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("[parameters.a]\nbounds = [2, 1]\n", ["space.toml", "'a'", "2", "1"]),
        ("[parameters.c]\nbounds = [0, 1]\n", ["space.toml", "'c'"]),
        ("[parameters.a]\nbound = [0, 1]\n", ["space.toml", "bound", "did you mean 'bounds'"]),
        ("[parameters.a]\ndistribution = 'normall(0, 1)'\n", ["space.toml", "normall"]),
        ("[parameters.a]\nbounds = [0, nan]\n", ["space.toml", "'a'"]),
        ("[parameters.a\n", ["space.toml", "TOML"]),
        ("", ["space.toml"]),
    ],
)
def test_a_bad_parameter_file_is_refused_in_one_line(refused, place, space, said):
    (place / "space.toml").write_text(space)
    line = refused("simulate", "solver.py:line", "--parameters", "space.toml")
    assert [word for word in said if word not in line] == [], line


def test_a_run_folder_is_needed(refused):
    assert "--out" in refused("simulate", "solver.py:line", out=None)


def test_a_config_file_gives_options_and_flags_win(hpc_ds, place):
    (place / "run.toml").write_text('samples = 6\nout = "set"\nkeep-shards = true\nsplit = [1, 0, 0]\n')
    hpc_ds("simulate", "solver.py:line", "--config", "run.toml", "--samples", 4)
    summary = json.loads((place / "set/summary.json").read_text())
    assert summary["samples"] == 4 and summary["splits"]["train"] == 4
    assert list((place / "set/shards").glob("*.h5"))


@pytest.mark.parametrize("verb", ["merge", "check"])
def test_merge_and_check_need_a_simulation(refused, place, verb):
    assert "nowhere" in refused(verb, "nowhere", out=None)


def test_help_documents_every_setting(monkeypatch, capsys):
    from hpc_ds import cli
    from hpc_ds.simulate import ClusterSettings, Settings

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["hpc-ds", "simulate", "--help"])
    cli._command()
    told = capsys.readouterr().out
    names = [*Settings.model_fields, *ClusterSettings.model_fields]
    assert [name for name in names if f"--{name.replace('_', '-')}" not in told] == []
