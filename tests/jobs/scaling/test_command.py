"""`hpc-ds scaling` prints the table, refuses what cannot be, and imports nothing heavy."""

import subprocess
import sys

import pytest

from hpc_ds import cli
from hpc_ds.runtime.errors import InputError


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*words):
        monkeypatch.setattr(sys, "argv", ["hpc-ds", "scaling", *words])
        assert cli._command() == 0
        return capsys.readouterr().out.splitlines()

    return command


@pytest.mark.parametrize("engine", ["infer", "simulate", "learn"])
def test_a_line_for_each_number_of_ranks(run, engine):
    lines = run(engine, "--ranks", "64,4096", "--network", "infiniband")
    assert lines[0].startswith(f"{engine} on infiniband")
    assert [line.split()[0] for line in lines[2:]] == ["64", "4,096"]


def test_sizes_are_options(run):
    (few,) = run("infer", "--ladders", "10", "--levels", "5", "--ranks", "100")[2:]
    (many,) = run("infer", "--ladders", "100", "--levels", "5", "--ranks", "100")[2:]
    assert float(few.split()[1]) < 51 < float(many.split()[1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("infer", "--network", "infinibnad"), "did you mean 'infiniband'"),
        (("infer", "--ranks", "10,ten"), "--ranks 10,ten: write numbers above 0"),
        (("infer", "--ladders", "0"), "ladders"),
        (("simulate", "--measure"), "give --unit SECONDS"),
    ],
)
def test_bad_input_is_told_in_one_line(run, words, said):
    with pytest.raises(InputError) as error:
        run(*words)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_nothing_heavy_is_imported():
    code = (
        "import sys; sys.argv = ['hpc-ds', 'scaling', 'infer', '--ranks', '100'];"
        "from hpc_ds import cli; cli._command();"
        "print([name for name in ('mpi4py', 'torch', 'dask', 'distributed', 'numba', 'h5py') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
