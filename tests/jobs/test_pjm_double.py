"""PJM's double: it rejects what the manual rejects, and chains of real runs reach the end through it.

It is a double: what it does is what we read of PJM, not PJM.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

DOUBLE = Path(__file__).resolve().parent / "pjm_double"
HPC_DS = Path(sys.executable).with_name("hpc-ds")
HEAD = '#!/bin/bash\n#PJM -L "node=1"\n#PJM -L "elapse=60"\n'


class Machine:
    """A folder, the double's commands, and time that runs `scale` times as long as ours."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **environment,
            "PATH": f"{DOUBLE}:{Path(sys.executable).parent}:{environment['PATH']}",
            "PJM_DOUBLE_HOME": str(folder / "pjm"),
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        }

    def scale(self, scale: float) -> None:
        self.environment["PJM_DOUBLE_SCALE"] = str(scale)

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def script(self, body: str, head: str = HEAD) -> str:
        path = self.folder / "job.sh"
        path.write_text(head + body)
        return str(path)

    def hold(self) -> None:
        """Keep jobs in the queue until `ended` is called: a first step must not end before the second is submitted."""
        (self.folder / "pjm").mkdir(exist_ok=True)
        (self.folder / "pjm" / "hold").touch()

    def ended(self, seconds: float = 60.0) -> dict[str, tuple[str, str]]:
        """Wait until no job is left and return state and exit code of each."""
        (self.folder / "pjm" / "hold").unlink(missing_ok=True)
        end = time.monotonic() + seconds
        while self.run("pjstat").stdout.strip():
            assert time.monotonic() < end, self.run("pjstat").stdout
            time.sleep(0.1)
        lines = [line.split() for line in self.run("pjstat", "-H").stdout.splitlines()]
        return {line[0]: (line[2], line[3]) for line in lines}


@pytest.fixture
def pjm(tmp_path, plain_environment):
    """Return the double's machine, and kill what is left on it afterwards."""
    machine = Machine(tmp_path, plain_environment)
    machine.scale(0.05)
    yield machine
    left = {
        line.split()[0].partition("_")[0].partition("[")[0]
        for line in machine.run("pjstat").stdout.splitlines()
    }
    machine.run("pjdel", *left)


# ---- what it rejects ------------------------------------------------------------------------------------------------

REJECTED = {
    "unknown option": (["-F", "x"], "invalid option -F"),
    "unknown resource": (["-L", "elaspe=60"], "invalid -L parameter elaspe"),
    "nodes over the group's": (["-L", "node=385"], "outside 1 to 384"),
    "unknown resource group": (["-L", "rscgrp=huge"], "resource group huge does not exist"),
    "elapse over the limit": (["-L", "elapse=73:00:00"], "over the limit"),
    "bulk and step": (["--bulk", "--step", "--sparam", "0-3"], "cannot be combined"),
    "bulk backwards": (["--bulk", "--sparam", "3-1"], "startbulkno-endbulkno"),
    "step without its job": (["--step", "--sparam", "jid=999,sn=2"], "does not exist"),
    "wrong statement": (["--step", "--sparam", "sn=2,sd=ec=0:all:1"], "invalid dependency"),
    "wrong parameter": (["--mpi", "procs=2"], "invalid --mpi parameter procs"),
    "variable without value": (["-x", "PJM_LLIO_GFSCACHE"], "VARIABLE=value"),
    "en dash": (["\u2013x", "A=1"], "one script file is needed"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_like_by_the_manual(case, pjm):
    words, told = REJECTED[case]
    done = pjm.run("pjsub", *words, pjm.script("true\n"))
    assert done.returncode == 1 and "[ERR.] PJM" in done.stderr and told in done.stderr
    assert pjm.run("pjstat").stdout == ""


def test_no_directive_after_the_first_command_counts(pjm):
    script = pjm.script('true\n#PJM -L "elapse=60"\n', head='#!/bin/bash\n#PJM -L "node=1"\n')
    assert "elapse=" in pjm.run("pjsub", script).stderr


# ---- what it gives --------------------------------------------------------------------------------------------------


def test_a_job_sees_the_documented_environment_and_not_the_login_shell_s(pjm):
    pjm.environment["LOGIN_SECRET"] = "1"
    done = pjm.run(
        "pjsub", "-N", "name", "-x", "A=1,B=2", "--mpi", "max-proc-per-node=4", pjm.script("env\n")
    )
    assert done.stdout == "[INFO] PJM 0000 pjsub Job 1000 submitted.\n"
    assert pjm.ended() == {"1000": ("EXT", "0")}
    seen = dict(line.partition("=")[::2] for line in (pjm.folder / "name.1000.out").read_text().splitlines())
    wanted = {
        "PJM_JOBID": "1000",
        "PJM_JOBNAME": "name",
        "PJM_ENVIRONMENT": "BATCH",
        "PJM_MPI_PROC": "4",
        "A": "1",
        "B": "2",
    }
    assert {name: seen.get(name) for name in wanted} == wanted
    assert "LOGIN_SECRET" not in seen and "PJM_BULKNUM" not in seen and "PJM_STEPNUM" not in seen


def test_bulk_jobs_know_their_number(pjm):
    script = pjm.script('echo "$PJM_BULKNUM" >"bulk-$PJM_BULKNUM"\n')
    assert pjm.run("pjsub", "-z", "jid", "--bulk", "--sparam", "0-2", script).stdout == "1000\n"
    pjm.ended()
    assert [(pjm.folder / f"bulk-{number}").read_text() for number in range(3)] == ["0\n", "1\n", "2\n"]


@pytest.mark.parametrize(
    ("statement", "ran"), [("ec==0:all:1", "12"), ("ec==75:all:1", "1"), ("ec!=75:all:1", "12")]
)
def test_steps_run_in_turn_unless_the_statement_deletes_them(pjm, statement, ran):
    pjm.hold()
    script = pjm.script('echo -n "$PJM_STEPNUM" >>ran; exit 75\n')
    assert pjm.run("pjsub", "-z", "jid", "--step", "--sparam", "sn=1", script).stdout == "1000_1\n"
    pjm.run("pjsub", "--step", "--sparam", f"jid=1000,sn=2,sd={statement}", script)
    pjm.ended()
    assert (pjm.folder / "ran").read_text() == ran


def test_at_the_limit_every_process_gets_sigxcpu_and_sigkill_10_s_later(pjm):
    pjm.scale(0.1)
    body = (
        "trap 'echo shell >>xcpu' XCPU\n"
        "(trap 'echo child >>xcpu' XCPU; while :; do read -rt 0.05 <> <(:); done) &\n"
        "while :; do read -rt 0.05 <> <(:); done\n"
    )
    script = pjm.script(body, head='#!/bin/bash\n#PJM -L "node=1,elapse=10"\n')
    pjm.run("pjsub", script)
    assert pjm.ended() == {"1000": ("EXT", "137")}
    assert sorted((pjm.folder / "xcpu").read_text().split()) == ["child", "shell"]


def test_pjdel_ends_a_job(pjm):
    pjm.run("pjsub", pjm.script("touch started; sleep 1000\n"))
    while not (pjm.folder / "started").exists():
        time.sleep(0.02)
    assert "Accepted" in pjm.run("pjdel", "1000").stdout
    assert pjm.ended()["1000"][0] == "CCL"
    assert "does not exist" in pjm.run("pjdel", "1000").stderr


# ---- chains through it ----------------------------------------------------------------------------------------------


def submit(pjm, *words):
    done = pjm.run(HPC_DS, "submit", "--machine", "pjm", "--queue", "small", "--venv", "", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


COUNT = """#!/bin/bash
trap 'echo stopped >>log; exit 75' USR1 XCPU
echo "$PJM_STEPNUM" >>log
[ "$PJM_STEPNUM" -lt 3 ] || exit 0
while :; do read -rt 0.05 <> <(:); done
"""


@pytest.fixture
def plain_mpiexec(pjm):
    """Put an mpiexec on the machine that starts the command once."""
    programs = pjm.folder / "bin"
    programs.mkdir()
    (programs / "mpiexec").write_text('#!/bin/bash\nshift 2\nexec "$@"\n')
    (programs / "mpiexec").chmod(0o755)
    pjm.environment["PATH"] = f"{programs}:{pjm.environment['PATH']}"


def test_a_chain_goes_on_until_it_is_done_and_the_rest_is_deleted(pjm, plain_mpiexec):
    (pjm.folder / "count.sh").write_text(COUNT)
    (pjm.folder / "count.sh").chmod(0o755)
    pjm.hold()
    submit(pjm, "--time", "40", "--chain", "5", "--", "./count.sh")
    states = pjm.ended()
    assert (pjm.folder / "log").read_text().split() == ["1", "stopped", "2", "stopped", "3"]
    assert [states[f"1000_{link}"] for link in range(1, 6)] == [
        ("EXT", "75"),
        ("EXT", "75"),
        ("EXT", "0"),
        ("CCL", "-"),
        ("CCL", "-"),
    ]


def test_a_chain_ends_early_when_a_link_fails(pjm, plain_mpiexec):
    (pjm.folder / "fail.sh").write_text('#!/bin/bash\necho "$PJM_STEPNUM" >>log; exit 2\n')
    (pjm.folder / "fail.sh").chmod(0o755)
    pjm.hold()
    submit(pjm, "--time", "40", "--chain", "3", "--name", "fails", "--", "./fail.sh")
    assert set(pjm.ended().values()) == {("EXT", "2")}
    assert (pjm.folder / "log").read_text() == "1\n"
    (third,) = (pjm.folder / "fails.jobs" / "1").glob("fails.1000_3.out")
    assert "failed with exit code 2, so the chain ends here" in third.read_text()


def test_a_sweep_is_a_bulk_job(pjm, plain_mpiexec):
    submit(
        pjm,
        "--time",
        "40",
        "--sweep",
        "nu=1,2,3,4,5",
        "--at-once",
        "2",
        "--",
        "bash",
        "-c",
        "echo {nu} >nu-{nu}",
    )
    assert len(pjm.ended()) == 2
    assert sorted(path.name for path in pjm.folder.glob("nu-*")) == [f"nu-{number}" for number in range(1, 6)]


def test_pjsub_s_refusal_is_passed_on(pjm, plain_mpiexec):
    pjm.environment["PJM_DOUBLE_GROUP_NEEDED"] = "1"
    done = pjm.run(HPC_DS, "submit", "--machine", "pjm", "--time", "40", "--", "true")
    assert (
        done.returncode == 2
        and "pjsub refuses (exit code 1): [ERR.] PJM 0001 pjsub no group was specified." in done.stderr
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_chain_cut_by_the_limit_gives_the_result_of_an_uninterrupted_run(pjm):
    if not shutil.which("mpiexec"):
        pytest.skip("needs MPI: there is no mpiexec here")
    x = np.linspace(0.0, 3.0, 60)
    y = np.exp(-((x - 1.2) ** 2) / 0.1) + 0.02 * np.sin(37.0 * np.arange(60) ** 2)
    np.savetxt(pjm.folder / "line.csv", np.column_stack([x, y]), delimiter=",", header="x,y", comments="")
    run = [HPC_DS, "infer", "spectrum", "line.csv", "--peaks", "1:2", "--noise", "0.02", "--replicas", "12"]
    run += ["--tuning", "200", "--draws", "5000", "--checkpoint-every", "0.5"]
    pjm.scale(1.0)
    submit(pjm, "--ranks-per-node", "2", "--time", "1h", "--chain", "4", "--", *run, "--out", "cut")
    for link in (1, 2):
        wait_for_a_snapshot_of(pjm.folder / "cut", link)
        (pjm.folder / "pjm" / "strike").touch()
        while (pjm.folder / "pjm" / "strike").exists():
            time.sleep(0.02)
    states = pjm.ended(400.0)
    assert [states[f"1000_{link}"][1] in ("75", "137") for link in (1, 2)] == [True, True], states
    assert (states["1000_3"], states["1000_4"]) == (("EXT", "0"), ("CCL", "-"))
    done = subprocess.run(
        [*map(str, run), "--out", "whole"], cwd=pjm.folder, env=pjm.environment, timeout=300
    )
    assert done.returncode == 0
    whole, cut = (json.loads((pjm.folder / name / "summary.json").read_text()) for name in ("whole", "cut"))
    assert cut["models"] == whole["models"]


def wait_for_a_snapshot_of(folder: Path, session: int) -> None:
    """Wait until the session, counted from 1, has begun and then saved something."""
    end, provenance = time.monotonic() + 200, folder / "provenance.json"
    while not provenance.exists() or len(json.loads(provenance.read_text())["sessions"]) < session:
        assert time.monotonic() < end, f"session {session} did not begin"
        time.sleep(0.05)
    began = time.time()
    while not any(path.stat().st_mtime > began for path in (folder / "snapshots").glob("*")):
        assert time.monotonic() < end, f"session {session} saved nothing"
        time.sleep(0.05)


def test_the_double_says_that_it_is_one(repository):
    page = repository / "docs" / "clusters.md"
    assert "double" in page.read_text()
    assert os.access(DOUBLE / "pjsub", os.X_OK)
