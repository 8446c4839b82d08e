"""Whatever launches it, a cluster computes, survives its workers, keeps strangers out and goes when it is told."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SQUARES = [i * i for i in range(20)]


@pytest.mark.parametrize("ranks", [1, 3])
def test_each_rank_supervises_a_worker_that_is_its_child(use, ranks):
    found, code, stderr = use("compute", "processes=1", ranks=ranks)
    assert found == {"squares": SQUARES, "workers": ranks, "supervisors": ranks}
    assert code == 0 and _without_launcher(stderr) == ""


def test_dask_mpi_makes_ranks_workers(use):
    found, code, stderr = use("compute", "launcher=dask-mpi", ranks=3)
    assert found["squares"] == SQUARES and found["workers"] == 1
    assert code == 0 and _without_launcher(stderr) == ""


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_killed_worker_is_replaced_and_only_its_task_is_lost(use, ranks):
    found, code, stderr = use("lose_a_worker", "processes=1", ranks=ranks)
    assert found["error"] == "KilledWorker" and found["quickly"] and found["back"]
    assert found["squares"] == SQUARES and found["workers"] == ranks
    assert code == 0 and _without_launcher(stderr) == ""


def test_a_result_that_is_lost_with_its_worker_is_not_computed_again(use):
    found, code, _ = use("lose_a_result", "processes=1")
    assert found == {"status": "cancelled", "times": 1} and code == 0


def test_a_result_that_is_lost_while_it_is_fetched_is_an_error_too(use):
    found, code, _ = use("lose_a_result_on_its_way", "processes=1")
    assert found == {"error": "FutureCancelledError", "times": 1} and code == 0


@pytest.mark.parametrize("way", ["processes=1", "launcher=dask-mpi"])
def test_an_error_of_the_client_ends_all_ranks_in_order(use, way):
    _, code, stderr = use("fail", way, ranks=3)
    assert code == 1 and stderr.count("ValueError: the drive failed") == 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_workers_that_cannot_start_are_told_and_not_tried_for_ever(use, ranks):
    found, code, stderr = use("report_trouble", ranks=ranks)
    assert found["trouble"].startswith("no such library") and code == 0
    assert stderr.count("has no worker: no such library") == ranks


@pytest.mark.parametrize(("launcher", "ranks"), [("supervised", 2), ("supervised", 1), ("dask-mpi", 3)])
def test_only_the_keys_open_the_only_sockets_there_are(use, launcher, ranks):
    found, _, _ = use("look_at_sockets", f"launcher={launcher}", ranks=ranks)
    assert set(found["strangers"]) == {"other keys", "no keys"}
    assert "came in" not in found["strangers"].values()
    assert found["hosts"] == ([] if launcher == "dask-mpi" else ["127.0.0.1"]) and found["others"] == []
    assert found["secrets"] == []


def test_a_signal_to_any_rank_reaches_the_client(hanging, left):
    top, below = hanging(3)
    ranks = [process for process in below if process.ppid() == top.pid]
    ranks[-1].send_signal(signal.SIGUSR1)
    stdout, _ = top.communicate(timeout=60)
    assert '{"reason": "signal SIGUSR1"}' in stdout and top.returncode == 0
    assert left(below) == []


def test_a_signal_to_the_whole_process_group_stops_without_noise(hanging, left):
    top, below = hanging()
    for process in [*below, top]:
        process.send_signal(signal.SIGTERM)
    stdout, stderr = top.communicate(timeout=60)
    assert (
        '{"reason": "signal SIGTERM"}' in stdout and top.returncode == 0 and _without_launcher(stderr) == ""
    )
    assert left(below) == []


def test_nothing_outlives_a_lone_client(hanging, left):
    top, below = hanging()
    top.kill()
    assert below and left(below) == []


def test_nothing_outlives_rank_0(hanging, left):
    top, below = hanging(3)
    ranks = sorted(
        (p for p in below if p.ppid() == top.pid), key=lambda p: int(p.environ()["OMPI_COMM_WORLD_RANK"])
    )
    ranks[0].kill()
    assert left(below) == [] and top.wait(30) != 0


def test_nothing_outlives_the_launcher(hanging, left):
    top, below = hanging(3)
    top.kill()
    assert len(below) >= 6 and left(below) == []


def test_an_existing_scheduler_computes_and_stays(use, tmp_path):
    code = (
        "from distributed import LocalCluster\n"
        "with LocalCluster(n_workers=1, threads_per_worker=2, protocol='tcp', dashboard_address=':0') as cluster:\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    input()\n"
    )
    program = tmp_path / "existing.py"
    program.write_text(f"if __name__ == '__main__':\n    {code.replace(chr(10), chr(10) + '    ')}")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, str(program)], **pipes) as other:
        address = other.stdout.readline().strip()
        for _ in range(2):
            found, code, stderr = use("compute", f"scheduler={address}", ranks=2)
            assert found["squares"] == SQUARES and code == 0
            assert f"ranks 1 to 1 idle: the workers of {address} compute" in stderr
        other.communicate("\n", timeout=60)


@pytest.mark.parametrize(
    ("settings", "ranks", "message"),
    [
        (["launcher=dask-mpi"], 2, "started as 2 of the 3 ranks or more that it needs"),
        (["launcher=local"], 2, "--launcher local: started as 2 ranks"),
        (["scheduler=here"], 1, "an address like tcp://10.0.0.1:8786"),
        (["scheduler=http://10.0.0.1:80"], 1, "an address like tcp://10.0.0.1:8786"),
    ],
)
def test_what_cannot_be_is_one_line(use, settings, ranks, message):
    _, code, stderr = use("compute", *settings, ranks=ranks)
    lines = [line for line in stderr.splitlines() if line.startswith("hpc-ds: error:")]
    assert code == 2 and len(lines) == 1 and message in lines[0] and "Traceback" not in stderr


def _without_launcher(stderr):
    """Return what the launcher did not say itself."""
    return "\n".join(line for line in stderr.splitlines() if not line.startswith("mpi: "))
