"""The command `hpc-ds submit`: what it prints, what it refuses, and what it leaves unloaded."""

import os
import subprocess
import sys

import pytest

HEAVY = {"mpi4py", "torch", "dask", "distributed", "numba", "h5py"}
INFER = ("--", "hpc-ds", "infer", "spectrum", "data.csv", "--out", "runs/first")


@pytest.fixture
def submit(monkeypatch, capsys, tmp_path, tmp_path_factory):
    """Run `hpc-ds submit` in this process: `submit("--machine", "slurm", ..., code=2)`; returns stdout and stderr."""

    nobody = tmp_path_factory.mktemp("nobody")  # no cluster that happens to be here
    for name in ("scontrol", "sinfo"):
        (nobody / name).write_text("#!/bin/sh\nexit 1\n")
        (nobody / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{nobody}:{os.environ['PATH']}")

    def run(*words, code=0):
        from hpc_ds import cli
        from hpc_ds.runtime.leaving import guarded

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["hpc-ds", "submit", *words])
        capsys.readouterr()
        found = guarded(cli._command)
        told = capsys.readouterr()
        assert found == code, told.err
        return told

    return run


def test_the_issue_s_first_example(submit):
    told = submit(
        *("--machine", "fugaku", "--group", "hp230257", "--nodes", "96", "--time", "6:00:00", "--dry-run"),
        *("--", "hpc-ds", "run", "spectrum", "--scale", "full", "--out", "runs/full"),
    ).out
    assert "#PJM -g hp230257" in told and '--mpi "max-proc-per-node=48"' in told
    assert "cost: at most 576 node-hours a job" in told


@pytest.mark.parametrize(
    ("words", "folder"),
    [(("spectrum",), "runs/spectrum"), (("neutron-star", "--scale", "full"), "runs/neutron-star-full")],
)
def test_a_study_without_a_folder_gets_its_own(submit, words, folder):
    """A chain ends by what that folder says: the script must name it."""
    told = submit(
        "--machine", "slurm", "--time", "10", "--chain", "2", "--dry-run", "--", "hpc-ds", "run", *words
    ).out
    assert f"--out {folder})" in told and f"out={folder}\n" in told


def test_the_issue_s_second_example(submit):
    words = (
        "--machine",
        "slurm",
        "--partition",
        "cpu",
        "--nodes",
        "4",
        "--time",
        "2:00:00",
        "--chain",
        "5",
        "--dry-run",
    )
    told = submit(*words, *INFER)
    assert told.out.count("submit: sbatch") == 5 and "at most 40 node-hours in all (5 links)" in told.out
    assert "give --ranks-per-node" in told.err


def test_a_dry_run_writes_nothing(submit, tmp_path):
    submit("--machine", "slurm", "--time", "1h", "--dry-run", *INFER)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_an_option_is_checked_value_by_value(submit):
    told = submit("--machine", "slurm", "--time", "1h", "--dry-run", "--sweep", "draws=100,200", *INFER).out
    assert "--out runs/first/draws=200 --draws 200" in told and "sweep: 2 points, a job each" in told
    told = submit(
        "--machine", "slurm", "--time", "1h", "--dry-run", "--sweep", "draws=100,many", *INFER, code=2
    ).err
    assert "--draws" in told


REFUSED = {
    "unknown machine": (("--machine", "fugako", "--time", "1h", *INFER), "did you mean 'fugaku'"),
    "no machine": (("--time", "1h", *INFER), "--machine: is needed"),
    "no time": (("--machine", "slurm", *INFER), "--time: is needed"),
    "no command": (("--machine", "slurm", "--time", "1h"), "no command"),
    "no duration": (("--machine", "slurm", "--time", "soon", *INFER), "duration 'soon'"),
    "no group": (("--machine", "fugaku", "--time", "1h", *INFER), "--group"),
    "false dash before an option": (
        ("--machine", "slurm", "\u2013\u2013nodes", "4", "--time", "1h", *INFER),
        "--nodes",
    ),
    "false dash in the command": (
        ("--machine", "slurm", "--time", "1h", *INFER, "\u2013draws", "9"),
        "EN DASH",
    ),
    "command not found": (
        ("--machine", "slurm", "--time", "1h", "--", "nosuch"),
        "command 'nosuch': not found",
    ),
    "unknown verb": (("--machine", "slurm", "--time", "1h", "--", "hpc-ds", "infre"), "did you mean 'infer'"),
    "unknown study": (
        ("--machine", "slurm", "--time", "1h", "--", "hpc-ds", "run", "spectrm", "--out", "r"),
        "did you mean 'spectrum'",
    ),
    "quotes in a directive": (
        ("--machine", "fugaku", "--group", "g", "--time", "1h", "--llio", 'a"b', *INFER),
        "--llio",
    ),
    "unknown option": (("--machine", "slurm", "--time", "1h", *INFER, "--drwas", "9"), "--drwas"),
    "unknown swept key": (
        ("--machine", "slurm", "--time", "1h", "--sweep", "drwas=1", *INFER),
        "did you mean 'draws'",
    ),
    "no scheduler here": (
        ("--machine", "fugaku", "--group", "g", "--time", "1h", "--", "hpc-ds", "run", "spectrum"),
        "pjsub: not found",
    ),
    "empty word": (("--machine", "slurm", "--time", "1h", "--", ""), "command '': not found"),
    "no verb": (("--machine", "slurm", "--time", "1h", "--", "hpc-ds"), "command 'hpc-ds': no verb"),
    "no link": (("--machine", "slurm", "--time", "1h", "--chain", "0", *INFER), "--chain 0"),
    "no number": (("--machine", "slurm", "--time", "1h", "--nodes", "two", *INFER), "--nodes"),
    "sweep without values": (("--machine", "slurm", "--time", "1h", "--sweep", "seed", *INFER), "seed=1,2,3"),
    "time over the queue's": (
        ("--machine", "fugaku", "--group", "g", "--time", "100h", *INFER),
        "at most 72:00:00",
    ),
    "no file of data": (("--machine", "slurm", "--time", "1h", *INFER), "no file or folder data.csv here"),
    "no script to check": (("--check", "nosuch.sh"), "--check nosuch.sh: cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_nothing_is_submitted(case, submit, tmp_path):
    words, told = REFUSED[case]
    lines = submit(*words, code=2).err.splitlines()
    assert len(lines) == 1 and told in lines[0] and lines[0].startswith("hpc-ds: error: ")
    assert list(tmp_path.iterdir()) == []


FILES = {
    "configuration": ("infer spectrum {0}/here --config nosuch.toml", "nosuch.toml"),
    "model": ("infer nosuch.py:model {0}/here", "nosuch.py"),
    "group within a file": ("infer spectrum nosuch.h5:/spectra/1", "nosuch.h5"),
    "training set": ("learn fno nosuch --out runs/fno", "nosuch"),
    "parameters": ("simulate burgers --parameters nosuch.toml", "nosuch.toml"),
    "design": ("simulate burgers --design nosuch.csv", "nosuch.csv"),
    "first of a sweep": ("infer spectrum {0}/{{file}}", "/b"),
}


@pytest.mark.parametrize("case", FILES)
def test_each_file_that_a_command_is_to_read_must_be_here(case, submit, tmp_path):
    command, told = FILES[case]
    (tmp_path / "here").touch()
    sweep = ("--sweep", "file=here,b") if "sweep" in case else ()
    words = ("--machine", "slurm", "--time", "1h", *sweep, "--", "hpc-ds", *command.format(tmp_path).split())
    assert f"{told} here; the job runs" in submit(*words, code=2).err
    assert f"{told} here; the job runs" in submit(*words[:4], "--dry-run", *words[4:]).err


def test_files_that_are_here_or_will_be_are_no_matter(submit, tmp_path):
    (tmp_path / "data.h5").touch()
    slurm = ("--machine", "slurm", "--time", "1h", "--dry-run")
    for words in (
        (*slurm, "--", "hpc-ds", "infer", "spectrum", "data.h5:/spectra/1"),
        (*slurm, "--", "hpc-ds", "infer", "neutron-star", "observed"),
        (*slurm, "--directive=--dependency=afterok:7", *INFER),
        (*slurm, "--", "cat", "nosuch"),
    ):
        assert "no file or folder" not in submit(*words).err


def test_what_of_here_does_not_reach_the_job_is_noticed(submit, monkeypatch):
    monkeypatch.setenv("LOADEDMODULES", "gcc/13:openmpi/5")
    words = ("--machine", "pjm", "--time", "1h", "--dry-run", "--venv", "nosuch")
    told = submit(*words, *INFER).err
    assert "modules that are loaded here (gcc/13:openmpi/5)" in told and "--venv nosuch: no virtual" in told
    assert "modules" not in submit(*words, "--module", "gcc/13", *INFER).err


def test_volumes_are_those_of_the_job_s_paths(submit):
    words = ("--machine", "fugaku", "--group", "g", "--time", "1h", "--dry-run", "--venv", "/vol0004/g/venv")
    study = ("--", "hpc-ds", "run", "spectrum")
    assert "#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004\n" in submit(*words, *study, "--out=/vol0003/g/r").out
    told = submit(*words, "--volume", "/vol0006", *study, "--out", "/vol0003/g/r").out
    assert "#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004:/vol0006\n" in told
    words = ("--machine", "fugaku", "--group", "g", "--time", "1h", "--dry-run", "--venv", "")
    assert "name those it needs with --volume" in submit(*words, *study).err


def test_our_lint_reads_what_the_user_adds(submit):
    told = submit("--machine", "slurm", "--time", "1h", "--dry-run", "--directive=--qso=high", *INFER).err
    assert "job.sh, line" in told and "did you mean 'qos'" in told


def test_a_script_of_anybody_s_is_looked_through(submit, tmp_path):
    (tmp_path / "job.sh").write_text("#PJM \u2013x PJM_LLIO_GFSCACHE=/vol0004\n")
    assert "job.sh, line 1: EN DASH" in submit("--check", "job.sh", code=1).out
    (tmp_path / "job.sh").write_text("#!/bin/bash\n#PJM -j\n")
    assert "nothing found" in submit("--check", "job.sh").out


def test_an_environment_for_the_login_node_s_processors_is_noticed(submit, tmp_path):
    elf = bytearray(64)
    elf[:6], elf[18] = b"\x7fELF\x02\x01", 0x3E
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    words = ("--machine", "fugaku", "--group", "g", "--time", "1h", "--dry-run", "--venv", "venv", *INFER)
    python.write_bytes(elf)
    assert "venv is for x86_64, compute nodes of fugaku are aarch64" in submit(*words).err
    elf[18] = 0xB7
    python.write_bytes(elf)
    assert "aarch64" not in submit(*words).err


def test_time_over_a_partition_s_limit_as_the_cluster_tells_it(submit, tmp_path_factory, monkeypatch):
    programs = tmp_path_factory.mktemp("programs")
    (programs / "scontrol").write_text(
        "#!/bin/sh\necho PartitionName=cpu Default=YES MaxTime=1:00:00 TotalNodes=4\n"
    )
    (programs / "sinfo").write_text("#!/bin/sh\necho 1 8\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    told = submit("--machine", "slurm", "--time", "2h", "--dry-run", *INFER, code=2).err
    assert "queue cpu of slurm gives jobs of this size at most 1:00:00" in told
    told = submit("--machine", "slurm", "--time", "1h", "--dry-run", *INFER).out
    assert "--ntasks-per-node=8" in told


def test_options_after_the_command_s_first_word_are_the_command_s(submit):
    told = submit(
        "--machine", "slurm", "--time", "1h", "--dry-run", "hpc-ds", "infer", "spectrum", "--time", "9m"
    ).out
    assert "command=(hpc-ds infer spectrum --time 9m)" in told


@pytest.mark.parametrize("words", [["import hpc_ds.jobs"], None], ids=["import", "dry-run"])
def test_neither_mpi_nor_torch_nor_compilers_are_loaded(words, repository, plain_environment):
    run = f"""
from hpc_ds import cli
words = "submit --machine fugaku --group g --time 1h --chain 2 --dry-run".split()
sys.argv = ["hpc-ds", *words, *{INFER}]
assert cli._command() == 0
"""
    names = "sorted({name.partition('.')[0] for name in sys.modules})"
    code = f"import sys\n{words[0] if words else run}\nprint('loaded:', *{names})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, env=plain_environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.rpartition("loaded:")[2].split()) & HEAVY
