"""The command: what it shows, what it warns of, and what it leaves alone."""

import json
import subprocess
import sys
import tomllib

import numpy as np
import pytest

HPC_DS = [sys.executable, "-c", "from hpc_ds.cli import main; main()"]
SHORT = ("--draws", "60", "--tuning", "32")
HEAVY = {"mpi4py", "torch", "dask", "distributed", "numba"}
VERBS = (
    "studies",
    "run",
    "infer",
    "simulate",
    "merge",
    "check",
    "report",
    "status",
    "compare",
    "init",
    "submit",
    "doctor",
    "scaling",
)

MODEL = """
from hpc_ds.infer import Model, normal
model = Model("own", {"a": normal(0, 1)}, lambda theta, data: -0.5 * float(theta @ theta))
batched = Model("own", {"a": normal(0, 1)}, lambda theta, data: -0.5 * theta[:, 0] ** 2, form="batched", block=4)
"""


@pytest.fixture
def hpc_ds(monkeypatch, capsys, tmp_path):
    """Run the command in this process and in a folder of its own: `hpc_ds("status", "run")`, or with `code=75`.

    Returns stdout and stderr.
    """

    def run(*words, code=0):
        from hpc_ds import cli
        from hpc_ds.runtime.leaving import guarded

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["hpc-ds", *map(str, words)])
        capsys.readouterr()
        found = guarded(cli._command)
        told = capsys.readouterr()
        assert found == code, told.err
        return told

    return run


@pytest.fixture
def line(tmp_path):
    """Return a data file with one peak."""
    x = np.linspace(0.0, 3.0, 40)
    y = np.exp(-((x - 1.2) ** 2) / 0.1) + 0.02 * np.sin(37.0 * np.arange(40) ** 2)
    np.savetxt(tmp_path / "line.csv", np.column_stack([x, y]), delimiter=",", header="x,y", comments="")
    return tmp_path / "line.csv"


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(MODEL)
    return "own.py:model"


# ---- help, and what a login node may run ------------------------------------------------------------------------


def test_help_of_the_command_names_all_verbs(hpc_ds):
    told = hpc_ds("--help").out
    assert [verb for verb in VERBS if verb not in told] == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(hpc_ds, verb):
    assert f"hpc-ds {verb}" in hpc_ds(verb, "--help").out


def test_help_of_infer_documents_every_setting(hpc_ds, monkeypatch):
    from hpc_ds.infer import Settings

    monkeypatch.setenv("COLUMNS", "200")
    told = hpc_ds("infer", "--help").out
    flags = ["--move" if name == "moves" else f"--{name.replace('_', '-')}" for name in Settings.model_fields]
    assert [flag for flag in flags if flag not in told] == []


def test_command_without_words_shows_its_help(hpc_ds):
    told = hpc_ds(code=2)
    assert "infer" in told.out + told.err


def test_version(hpc_ds):
    from hpc_ds import __version__

    assert hpc_ds("--version").out == f"hpc-ds {__version__}\n"


def test_studies_are_listed_with_their_reference_figures(hpc_ds):
    told = hpc_ds("studies").out
    assert "spectrum: How many peaks" in told and "244.21" in told


@pytest.fixture(scope="module")
def finished(tmp_path_factory, repository, plain_environment):
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "own.py").write_text(MODEL)
    words = ["infer", f"{folder / 'own.py'}:model", "--out", str(folder / "run"), *SHORT]
    subprocess.run([*HPC_DS, *words], cwd=repository, env=plain_environment, capture_output=True, check=True)
    return folder / "run"


@pytest.mark.parametrize(
    "words",
    [["--help"], ["infer", "--help"], ["studies"], ["report", "RUN"], ["status", "RUN"]],
    ids=" ".join,
)
def test_what_login_nodes_run_loads_neither_mpi_nor_compilers(words, finished, repository, plain_environment):
    words = [str(finished) if word == "RUN" else word for word in words]
    code = f"""
import sys
from hpc_ds import cli
sys.argv = ["hpc-ds", *{words!r}]
code = cli._command()
print("loaded:", *sorted({{name.partition(".")[0] for name in sys.modules}}))
sys.exit(code)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, env=plain_environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert not set(result.stdout.rpartition("loaded:")[2].split()) & HEAVY


def test_importing_the_package_loads_nothing(repository, plain_environment):
    code = "import sys; import hpc_ds; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        env=plain_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(result.stdout.split()) & (HEAVY | {"numpy", "h5py", "typer", "pydantic"})


# ---- looking at runs ----------------------------------------------------------------------------------------------


def test_status_of_a_finished_run(hpc_ds, finished):
    assert hpc_ds("status", finished).out == f"{finished}: done\nown: 92 of 92 scans, sampling\n"


def test_status_of_a_run_at_work_a_killed_and_a_stopped_one(hpc_ds, tmp_path):
    from hpc_ds.runtime.folder import RunFolder
    from hpc_ds.runtime.progress import Progress
    from hpc_ds.runtime.world import World

    def opened():
        return RunFolder.open(tmp_path / "run", "infer", {}, set(), World(), ["test"], 1)

    with opened() as folder, Progress(World(), folder / "progress.jsonl", 500, "K=1") as progress:
        progress.update(30, phase="tuning 2")
        assert hpc_ds("status", "run").out == "run: running\nK=1: 30 of 500 scans, tuning 2\n"
    killed = "run: killed; the same command goes on from here\n"
    assert hpc_ds("status", "run").out.startswith(killed)
    with opened() as folder:
        folder.set_state("stopped")
    assert hpc_ds("status", "run").out.startswith("run: stopped; the same command goes on from here\n")
    with pytest.raises(ArithmeticError), opened():
        raise ArithmeticError("negative mass")
    failed = "run: failed (ArithmeticError: negative mass); the same command goes on from here\n"
    assert hpc_ds("status", "run").out.startswith(failed)


def test_report_is_written_anew(hpc_ds, finished):
    (finished / "report.html").unlink()
    assert hpc_ds("report", finished).out == f"report: {finished / 'report.html'}\n"
    assert (finished / "report.html").stat().st_size > 10_000


def test_compare_lays_two_runs_side_by_side(hpc_ds, finished):
    rows = hpc_ds("compare", finished, finished).out.splitlines()
    assert rows[1].startswith("log evidence own") and rows[1].endswith("+0.0 sigma")
    assert rows[2].startswith("own a")


def test_report_of_an_unfinished_run_is_refused(hpc_ds, tmp_path):
    from hpc_ds.runtime.folder import RunFolder
    from hpc_ds.runtime.world import World

    RunFolder.open(tmp_path / "run", "infer", {}, set(), World(), ["test"], 1).close()
    for verb in (["report", "run"], ["compare", "run", "run"]):
        assert "no results yet" in hpc_ds(*verb, code=2).err


# ---- a run from a configuration file -------------------------------------------------------------------------------


def uncommented(text):
    """Return a configuration as `hpc-ds init` prints it, with all its settings in force."""
    lines = text.splitlines()
    assert all(line == "" or line.startswith("# ") for line in lines)
    return "\n".join(line.removeprefix("# ") for line in lines if " = " in line and line[2:3].islower())


@pytest.mark.parametrize("model", ["spectrum", "linear", "own.py:model"])
def test_configuration_of_init_is_accepted_when_uncommented(hpc_ds, line, own, tmp_path, model):
    text = uncommented(hpc_ds("init", "infer", model).out)
    values = tomllib.loads(text)
    assert values["draws"] == 10_000 and ("peaks" in values) == (model == "spectrum")
    (tmp_path / "run.toml").write_text(text)
    short = [*SHORT, "--out", "run", "--replicas", "4", *(["--peaks", "1"] if model == "spectrum" else [])]
    hpc_ds("infer", model, line, "--config", "run.toml", *short)
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["draws"] == 60 and config["seed"] == values["seed"]


def test_flags_win_over_the_configuration_file(hpc_ds, line, tmp_path):
    options = 'out = "from-file"\npeaks = 1\nseed = 7\ndraws = 60\ntuning = 16\nreplicas = 4\n'
    (tmp_path / "run.toml").write_text(options + '[prior]\nposition = "uniform(0, 2)"\n')
    hpc_ds("infer", "spectrum", line, "--config", "run.toml", "--seed", "8", "--tuning", "32")
    config = tomllib.loads((tmp_path / "from-file" / "config.toml").read_text())
    assert (config["seed"], config["tuning"], config["draws"]) == (8, 32, 60)
    assert config["peaks"] == [1] and config["prior"] == {"position": "uniform(0, 2)"}


def test_run_folder_holds_what_was_promised(hpc_ds, line, tmp_path):
    told = hpc_ds("infer", "spectrum", line, "--peaks", "1:2", *SHORT, "--out", "run")
    assert "disk about" in told.err and "memory about" in told.err
    assert "K=1" in told.out and told.out.endswith("report.html\n")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {
        "config.toml",
        "provenance.json",
        "progress.jsonl",
        "summary.json",
        "report.html",
        "posterior",
    }
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [model["name"] for model in summary["models"]] == ["K=1", "K=2"]
    one = summary["models"][0]
    assert {"log_evidence", "log_evidence_error", "probability", "free_energy"} <= set(one)
    assert set(one["parameters"]["position[1]"]) >= {"mean", "sd", "2.5%", "50%", "97.5%", "ess", "r_hat"}
    assert one["free_energy"] == -one["log_evidence"]


def test_time_limit_ends_with_exit_code_75(hpc_ds, own):
    told = hpc_ds("infer", own, "--time", "0.001", *SHORT, "--out", "run", code=75)
    assert "stopped: time limit of 0.001 s; the same command goes on from here" in told.err
    assert "goes on from here" in hpc_ds("status", "run").out


# ---- warnings that do not stop a run ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("3,0.1\n1,0.9\n2,0.5\n1.5,0.7\n0.5,0.2\n2.5,0.4\n", "ascending"),
        ("1,0.1\n1,0.2\n1.5,0.7\n2,0.5\n2.2,0.4\n2.6,0.2\n", "x is repeated"),
        ("1,0.1,0.1,9\n2,0.5,0.1,9\n3,0.3,0.1,9\n4,0.1,0.1,9\n", "column"),
        ("1,0.1\n2,0.5\n3,0.2\n", "K=1 has 4 parameters and the data only 3 points"),
    ],
    ids=["unsorted", "duplicated", "columns", "few points"],
)
def test_doubtful_data_are_warned_of_and_used(hpc_ds, tmp_path, rows, said):
    (tmp_path / "data.csv").write_text(rows)
    told = hpc_ds("infer", "spectrum", "data.csv", "--peaks", "1", *SHORT, "--replicas", "4", "--out", "run")
    warnings = [row for row in told.err.splitlines() if row.startswith("hpc-ds: warning: ")]
    assert len([row for row in warnings if said in row]) == 1, told.err


def test_more_replicas_than_can_help_are_warned_of(hpc_ds, own):
    told = hpc_ds("infer", own, *SHORT, "--replicas", "40", "--out", "run")
    assert "warning: own/0: 40 replicas are more than can help; 4 exchange well enough" in told.err


def test_replicas_that_help_are_not_warned_of(hpc_ds, own):
    assert "more than can help" not in hpc_ds("infer", own, *SHORT, "--replicas", "5", "--out", "run").err


def test_ranks_that_cannot_help_idle_and_it_says_so(mpiexec, repository, own, tmp_path):
    pytest.importorskip("mpi4py")
    words = ["infer", "own.py:batched", "--replicas", "8", *SHORT, "--out", "run"]
    result = mpiexec(3, [*HPC_DS, *words], cwd=tmp_path, env={"PYTHONPATH": str(repository)})
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("1 of 3 ranks idle: the replicas cannot be shared among more than 2") == 1
