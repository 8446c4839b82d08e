"""Bad input: one line that names what is wrong, exit code 2, no traceback, and nothing is written."""

import sys
from pathlib import Path

import numpy as np
import pytest

HPC_DS = [sys.executable, "-c", "from hpc_ds.cli import main; main()"]

MODELS = """
import os
import numpy as np
from hpc_ds.infer import Model, normal, uniform

def model(likelihood, form="python", **options):
    return Model("own", {"a": normal(0, 1), "b": uniform(0, 1)}, likelihood, form=form, block=4, **options)

def divides_by_zero(theta, data):
    return 1 / 0

def raises_on_rank_1(theta, data):
    if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")) == "1":
        raise OSError("no such library here")
    return 0.0

def uses_what_numba_cannot_compile(theta, data):
    return float(str(theta[0]).strip() or open("x").read())

raising = model(divides_by_zero)
compiled_raising = model(lambda theta, data: data[7, 0], form="compiled")
not_compiling = model(uses_what_numba_cannot_compile, form="compiled")
elsewhere = model(raises_on_rank_1)
nan = model(lambda theta, data: float("nan"))
infinite = model(lambda theta, data: float("inf"))
text = model(lambda theta, data: "zero")
vector = model(lambda theta, data: np.zeros(3))
batch_of_one = model(lambda theta, data: 0.0, form="batched")
batch_of_columns = model(lambda theta, data: theta, form="batched")
batch_with_nan = model(lambda theta, data: theta[:, 0] * np.nan, form="batched")
sound = model(lambda theta, data: -0.5 * float(theta @ theta))
twins = [sound, sound]
number = 3

def fixed_only(data):
    return Model("own", {"a": 3.0}, divides_by_zero)

def stops(data):
    raise RuntimeError("the table has no header")
"""


# ---- running, and looking at what it left -------------------------------------------------------------------


@pytest.fixture
def line(tmp_path):
    """Return a sound data file of 30 points."""
    x = np.linspace(0.0, 3.0, 30)
    np.savetxt(tmp_path / "line.csv", np.column_stack([x, np.exp(-(x**2))]), delimiter=",")
    return tmp_path / "line.csv"


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(MODELS)
    return tmp_path / "own.py"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Give a command that must be refused; return its one line: `refused("infer", ..., out="run")`."""

    def refuse(*words, out="run"):
        from hpc_ds import cli
        from hpc_ds.runtime.leaving import guarded

        monkeypatch.chdir(tmp_path)
        before = contents(tmp_path)
        more = ["--out", out] if out else []
        monkeypatch.setattr(sys, "argv", ["hpc-ds", *map(str, words), *more])
        capsys.readouterr()
        assert guarded(cli._command) == 2
        assert contents(tmp_path) == before
        return the_line(capsys.readouterr().err)

    return refuse


def contents(folder):
    """Return all files below a folder; what Python caches beside a user's model is none of the run's."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def the_line(stderr):
    lines = [line for line in stderr.splitlines() if line.startswith("hpc-ds")]
    assert len(lines) == 1 and lines[0].startswith("hpc-ds: error: ") and "Traceback" not in stderr, stderr
    return lines[0].removeprefix("hpc-ds: error: ")


# ---- data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ["data.csv", "no data"]),
        ("# nothing but a comment\n", ["data.csv", "no data"]),
        ("x\n1\n2\n3\n", ["data.csv", "column"]),
        ("x,y\n1,2\n2,three\n3,4\n", ["data.csv, line 3", "three"]),
        ("x,y\n1,2\n2,nan\n3,4\n", ["data.csv, line 3", "nan"]),
        ("1 2\n2 3\ninf 4\n", ["data.csv, line 3", "inf"]),
        ("x,y,sigma\n1,2,0.1\n2,3,0\n3,4,0.1\n", ["data.csv, line 3", "sigma"]),
        ("x,y,sigma\n1,2,0.1\n2,3,-1\n3,4,0.1\n", ["data.csv, line 3", "sigma"]),
        ("1,2\n1,3\n1,4\n", ["data.csv", "different x"]),
        ("1,2\n2,3\n", ["data.csv", "3 points"]),
    ],
)
def test_unusable_data_are_refused_with_the_place(refused, tmp_path, content, said):
    (tmp_path / "data.csv").write_text(content)
    line = refused("infer", "spectrum", "data.csv")
    assert [word for word in said if word not in line] == []


def test_missing_data_file_is_refused(refused):
    assert refused("infer", "spectrum", "nowhere.csv").startswith("nowhere.csv: no such file")
    assert "a data file is needed" in refused("infer", "spectrum")


# ---- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--peaks", "0"], ["--peaks '0'", "at least 1"]),
        (["--peaks", "5:3"], ["--peaks '5:3'", "1:6"]),
        (["--peaks", "some"], ["--peaks 'some'", "1:6"]),
        (["--peaks", ""], ["--peaks"]),
        (["--shape", "square"], ["--shape 'square'", "lorentzian"]),
        (["--background", "cubic"], ["--background 'cubic'", "shirley"]),
        (["--noise", "pink"], ["--noise 'pink'", "estimate"]),
        (["--noise", "0"], ["--noise 0", "greater than 0"]),
        (["--noise", "-1"], ["--noise -1", "greater than 0"]),
        (["--noise", "given"], ["--noise given", "third column"]),
        (["--noise", "poisson", "--background", "constant"], ["--noise poisson", "counts"]),
        (["--priors", "flat"], ["--priors 'flat'", "nagata2012"]),
        (["--prior", "width=normal(1, 2)"], ["width=normal(1, 2)", "greater than 0"]),
        (["--prior", "width=uniform(-1, 2)"], ["width=uniform(-1, 2)", "-1"]),
        (["--prior", "noise=fixed(0)"], ["noise", "greater than 0"]),
        (["--shape", "pseudo-voigt", "--prior", "mixing=uniform(0, 2)"], ["mixing", "between 0 and 1"]),
        (["--prior", "position=norml(1.5, 0.4)"], ["norml", "normal"]),
        (["--prior", "position=normal(1.5, -0.4)"], ["normal(1.5, -0.4)"]),
        (["--prior", "position normal"], ["position normal", "name=prior"]),
        (["--prior", "height=normal(1.5, 0.4)"], ["height", "no such parameter", "position"]),
        (["--prior", "position[9]=normal(1.5, 0.4)"], ["position[9]", "1 to 6"]),
        (["--terms", "x"], ["--terms", "spectrum", "--peaks"]),
        (["--move", "jump"], ["'jump'", "metropolis"]),
        (["--draws", "0"], ["--draws 0", "20"]),
        (["--draws", "many"], ["--draws", "integer"]),
        (["--tuning", "1"], ["--tuning 1", "16"]),
        (["--replicas", "1"], ["--replicas 1", "2"]),
        (["--copies", "0"], ["--copies 0", "1"]),
        (["--seed", "-1"], ["--seed -1", "0"]),
        (["--checkpoint-every", "0"], ["--checkpoint-every 0", "greater than 0"]),
        (["--time", "soon"], ["--time", "'soon'", "2:00:00"]),
        (["--time", "0"], ["--time", "more than 0"]),
        (["--peeks", "3"], ["--peeks", "--peaks"]),
        (["--config", "nowhere.toml"], ["--config nowhere.toml", "No such file"]),
        (["spare"], ["spare"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_refused_with_what_would_be_right(refused, line, options, said):
    told = refused("infer", "spectrum", line, *options)
    assert [word for word in said if word not in told] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("peeks = 3\n", ["'peeks' is no option", "peaks"]),
        ("peaks = \n", ["no TOML"]),
        ("noise = true\n", ["noise = True", "a text, a number"]),
        ("draws = 'many'\n", ["--draws 'many'", "integer"]),
        ("shape = 'square'\n", ["--shape 'square'"]),
        ("[prior]\nposition = 3\n", ["prior '3': unknown", "normal(mean, sd)"]),
        ("[peaks]\nposition = 3\n", ["peaks", "a text, a number"]),
    ],
)
def test_wrong_configuration_files_are_refused(refused, line, tmp_path, content, said):
    (tmp_path / "run.toml").write_text(content)
    told = refused("infer", "spectrum", line, "--config", "run.toml")
    assert [word for word in said if word not in told] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["infer", "spektrum", "line.csv", "--out", "run"], ["model 'spektrum'", "spectrum, linear"]),
        (["infer", "spectrum", "line.csv"], ["--out", "run folder is needed"]),
        (["infer"], ["Missing argument"]),
        (["run", "spektrum", "--out", "run"], ["study 'spektrum'", "spectrum"]),
        (["run", "spectrum", "--scale", "huge", "--out", "run"], ["--scale 'huge'", "quick or full"]),
        (["run"], ["Missing argument"]),
        (["init", "dinner"], ["init dinner", "infer"]),
        (["status", "nowhere"], ["nowhere", "no run folder"]),
        (["report", "nowhere"], ["nowhere", "no such folder"]),
        (["compare", "nowhere", "nowhere"], ["nowhere", "no such folder"]),
        (["inver"], ["inver"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_commands_are_refused(refused, line, words, said):
    told = refused(*words, out=None)
    assert [word for word in said if word not in told] == []


# ---- models of the user's own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raising", ["ZeroDivisionError: division by zero", "own.py, line 10"]),
        ("compiled_raising", ["IndexError"]),
        ("not_compiling", ["does not compile"]),
        ("nan", ["returned nan at a = ", "minus infinity"]),
        ("infinite", ["returned inf at a = "]),
        ("text", ["str", "numbers are needed"]),
        ("vector", ["shape (3,)", "one number is needed"]),
        ("batch_of_one", ["shape ()", "(4,) is needed"]),
        ("batch_of_columns", ["shape (4, 2)", "(4,) is needed"]),
        ("batch_with_nan", ["returned nan at a = "]),
        ("twins", ["two models are called 'own'"]),
        ("number", ["own.py:number", "int"]),
        ("fixed_only", ["own.py:fixed_only"]),
        ("stops", ["own.py:stops", "RuntimeError: the table has no header"]),
        ("absent", ["no 'absent' in it"]),
    ],
)
def test_unusable_models_are_refused_before_work_starts(refused, line, own, name, said):
    told = refused("infer", f"own.py:{name}", line)
    assert [word for word in said if word not in told] == []


def test_model_files_that_cannot_be_read_are_refused(refused, line, tmp_path):
    assert "nowhere.py: no such file" in refused("infer", "nowhere.py:model", line)
    (tmp_path / "typo.py").write_text("model = Model(\n")
    assert "typo.py: SyntaxError" in refused("infer", "typo.py:model", line)
    (tmp_path / "module.py").write_text("import no_such_module\n")
    assert "module.py: ModuleNotFoundError: No module named" in refused("infer", "module.py:model", line)


def test_options_of_built_in_models_are_refused_for_others(refused, line, own):
    assert "--peaks: no option of model own.py:sound" in refused(
        "infer", "own.py:sound", line, "--peaks", "2"
    )
    assert "--peaks: no option of model linear" in refused("infer", "linear", line, "--peaks", "2")


def test_moves_that_the_form_does_not_have_are_refused(refused, line, own):
    told = refused("infer", "own.py:sound", line, "--move", "permute")
    assert "'permute' is no move of model own" in told and "slice" in told


# ---- the run folder -------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path, line, own, monkeypatch):
    """Return the folder of a short run of `own.py:sound`."""
    from hpc_ds import cli

    monkeypatch.chdir(tmp_path)
    words = ["infer", "own.py:sound", str(line), "--draws", "40", "--tuning", "16", "--out", "run"]
    monkeypatch.setattr(sys, "argv", ["hpc-ds", *words])
    assert cli._command() == 0
    return tmp_path / "run"


def test_folder_of_another_configuration_is_refused_with_key_and_values(refused, finished, line, tmp_path):
    told = refused("infer", "own.py:sound", line, "--draws", "40", "--tuning", "32")
    assert "another configuration" in told and "tuning is 16 there and 32 here" in told
    with open(line, "a") as file:
        file.write("3.1,0.0\n")
    assert "data.sha256" in refused("infer", "own.py:sound", line, "--draws", "40", "--tuning", "16")


def test_changed_model_source_is_another_configuration(refused, finished, own, line):
    own.write_text(MODELS + "\n# changed\n")
    assert "source is" in refused("infer", "own.py:sound", line, "--draws", "40", "--tuning", "16")


def test_fewer_draws_than_before_are_refused(refused, finished, line):
    told = refused("infer", "own.py:sound", line, "--draws", "30", "--tuning", "16")
    assert "--draws 30" in told and "40 draws, which can only grow" in told


def test_folder_in_use_is_refused(refused, finished, line):
    from hpc_ds.runtime.lock import FolderLock

    lock = FolderLock.acquire(finished)
    try:
        told = refused("infer", "own.py:sound", line, "--draws", "40", "--tuning", "16")
    finally:
        lock.release()
    assert "in use by process" in told


def test_folder_that_is_no_run_folder_is_refused(refused, line, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.tex").write_text("Call me Ishmael.")
    assert "not empty and no run folder" in refused("infer", "spectrum", line, out="thesis")
    assert "no folder" in refused("infer", "spectrum", line, out="line.csv")


def test_folder_without_permission_is_refused(unprivileged, line, tmp_path, repository):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    words = [*HPC_DS, "infer", "spectrum", line, "--peaks", "1", "--out", closed / "run"]
    result = unprivileged(words, cwd=repository)
    assert result.returncode == 2 and "no permission to write" in the_line(result.stderr)
    assert not list(closed.iterdir())


def test_data_without_permission_are_refused(unprivileged, line, tmp_path, repository):
    line.chmod(0)
    result = unprivileged([*HPC_DS, "infer", "spectrum", line, "--out", tmp_path / "run"], cwd=repository)
    assert result.returncode == 2 and "line.csv" in the_line(result.stderr)
    assert not (tmp_path / "run").exists()


# ---- several ranks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["infer", "spectrum", "nowhere.csv"], "nowhere.csv: no such file"),
        (["infer", "spectrum", "line.csv", "--peeks", "3"], "--peeks"),
        (["infer", "own.py:elsewhere", "line.csv"], "OSError: no such library here"),
    ],
    ids=["on all ranks", "option", "on one rank"],
)
def test_bad_input_is_told_once_by_all_ranks_together(mpiexec, repository, own, line, tmp_path, words, said):
    pytest.importorskip("mpi4py")
    environment = {"PYTHONPATH": str(repository)}
    result = mpiexec(2, [*HPC_DS, *words, "--out", "run"], cwd=tmp_path, env=environment, timeout=60)
    assert result.returncode == 2 and said in the_line(result.stderr)
    assert not Path(tmp_path, "run").exists()


def test_bad_input_of_one_rank_alone_ends_all(mpiexec, repository):
    pytest.importorskip("mpi4py")
    code = """
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.leaving import guarded
from hpc_ds.runtime.world import get_world
def command():
    if get_world().rank == 1:
        raise InputError("the table of rank 1 is empty")
    get_world().barrier()
raise SystemExit(guarded(command))
"""
    result = mpiexec(2, [sys.executable, "-c", code], cwd=repository, timeout=60)
    assert result.returncode == 2 and "the table of rank 1 is empty (rank 1 of 2)" in the_line(result.stderr)
