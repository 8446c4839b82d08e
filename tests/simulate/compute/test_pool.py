"""Whatever a simulator does to its process: the sample is set aside with the right reason, and the rest finishes."""

import json
import os
import pickle
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.simulate import logs, tasks
from hpc_ds.simulate.dispatch import Halt
from hpc_ds.simulate.pool import Pool
from hpc_ds.store.design_file import write_design
from hpc_ds.store.journal import Entry, Journal

HARMLESS = ["prints", "leaves a thread", "reads"]
DEADLY = {
    "exits": ("exited", "exit code 3"),
    "sys.exit": ("exited", "exit code 4"),
    "crashes": ("exited", "SIGSEGV"),
    "killed": ("killed", "SIGKILL"),
    "leaves a child": ("exited", "exit code 5"),
    "hangs": ("timeout", "limit of 0.5 s"),
    "holds the GIL": ("timeout", "limit of 0.5 s"),
}


def settled(report):
    return sorted([index for index, _ in report.done] + [failure.index for failure in report.failed])


@pytest.mark.parametrize("answer", DEADLY)
def test_a_sample_that_ends_its_process_loses_only_itself(answer, make_run):
    run = make_run(["fine", answer, "fine"])
    report = run.compute(sample_limit=0.5)
    kind, words = DEADLY[answer]
    assert [(failure.index, failure.kind) for failure in report.failed] == [(1, kind)]
    assert words in report.failed[0].message
    assert sorted(run.journals.done) == [0, 2]
    assert run.journals.failed[1].kind == kind
    assert run.quarantined(1)["parameters"] == {"a": 1.0, "what": answer}


def test_failures_of_a_living_process_do_not_end_it(make_run):
    run = make_run(["raises", "nan", "shape", "missing", "text", "skips", "fine"])
    report = run.compute()
    kinds = [failure.kind for failure in report.failed]
    assert kinds == ["raised", "invalid", "invalid", "invalid", "invalid", "skipped"]
    assert [index for index, _ in report.done] == [6]
    assert len(list((run.path / "journal").iterdir())) == 1
    assert "ValueError" in run.quarantined(0)["traceback"]
    assert run.quarantined(0)["log"] == "the last words"


@pytest.mark.parametrize("answer", HARMLESS)
def test_what_is_no_failure_is_done(answer, make_run):
    report = make_run([answer, "fine"]).compute()
    assert [index for index, _ in report.done] == [0, 1]


def test_what_is_printed_goes_to_a_log_of_bounded_size(make_run):
    run = make_run(["prints"] * 4)
    run.compute()
    (log,) = (run.path / "logs").iterdir()
    assert 0 < log.stat().st_size < logs.LARGEST + 6_000_000
    assert logs.tail(log).endswith("and past Python")


def test_a_crash_is_told_with_the_python_stack(make_run):
    run = make_run(["crashes"])
    run.compute()
    assert "about to crash" in run.quarantined(0)["log"]
    assert "zoo.py" in run.quarantined(0)["log"]


def test_what_was_killed_is_tried_again(make_run):
    run = make_run(["succeeds later", "killed"])
    report = run.compute(retries=2)
    assert [index for index, _ in report.done] == [0]
    assert run.quarantined(1)["attempts"] == 3


@pytest.mark.parametrize("answer", ["exits", "hangs"])
def test_a_lane_that_ends_the_process_loses_only_itself(answer, make_run):
    whole = make_run(["fine"] * 5, "block")
    whole.compute()
    run = make_run(["fine", answer, "fine", "fine", "fine"], "block")
    report = run.compute(sample_limit=0.3)
    assert [failure.index for failure in report.failed] == [1]
    assert settled(report) == list(range(5))
    assert run.crcs() == {index: crc for index, crc in whole.crcs().items() if index != 1}


def test_what_was_journalled_before_a_death_is_not_computed_again(make_run, monkeypatch):
    """A process journals its sample, and is killed before it says so."""
    run = make_run(["tells its pid", "fine"])
    pool = run.pool()

    def settle(name, read=pool._settled):
        journal = Journal(run.path, name)
        journal.done(Entry(0, name, 0, 0, 1.5, 0.0))
        return read(name)

    monkeypatch.setattr(pool, "_settled", settle)
    try:
        report = pool.run(replace(run.order, sample_limit=0.5))
    finally:
        pool.close()
    assert report.done[0] == (0, 1.5)
    assert [index for index, _ in report.done] == [0, 1]
    assert not report.failed


def test_stop_leaves_the_rest(make_run):
    report = make_run(["fine", "stops", "fine"]).compute()
    assert (report.failed[0].kind, report.left) == ("stop", [2])


def test_nothing_is_started_that_would_not_end_in_time(make_run):
    run = make_run(["takes long"] * 3)
    report = run.compute(ends_at=time.time() + 3600.0, expected=4000.0)
    assert (report.done, report.left) == ([], [0, 1, 2])


def test_several_threads_share_a_pool(make_run):
    run = make_run(["fine", "exits", "fine", "nan"] * 4)
    pool = run.pool(2)
    reports = []
    halves = [replace(run.order, indices=tuple(range(start, 16, 2))) for start in range(2)]
    threads = [threading.Thread(target=lambda half=half: reports.append(pool.run(half))) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert sorted(settled(reports[0]) + settled(reports[1])) == list(range(16))


# ---- what concerns all samples -----------------------------------------------------------------------------


def test_a_missing_folder_is_told_in_one_line(tmp_path, make_run):
    order = replace(make_run(["fine"]).order, folder=str(tmp_path / "nowhere"))
    pool = Pool(order.folder, "test", 1)
    with pytest.raises(InputError, match="there is no such run folder"):
        pool.run(order)
    pool.close()


def test_a_simulator_that_cannot_be_loaded_is_told_in_one_line(make_run, tmp_path):
    run = make_run(["fine"])
    recipe = json.loads((run.path / "simulator.json").read_text())
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module\n")
    (run.path / "simulator.json").write_text(json.dumps({**recipe, "reference": f"{broken}:simulate"}))
    with pytest.raises(InputError, match="no_such_module"):
        run.compute()


def test_a_simulator_that_changed_is_refused(make_run):
    run = make_run(["fine"])
    recipe = json.loads((run.path / "simulator.json").read_text())
    (run.path / "simulator.json").write_text(json.dumps({**recipe, "identity": {"sha256": "other"}}))
    with pytest.raises(InputError, match="has changed since this run began"):
        run.compute()


def test_a_process_that_dies_while_it_starts_is_told_by_its_last_line(make_run, tmp_path):
    run = make_run(["fine"])
    recipe = json.loads((run.path / "simulator.json").read_text())
    broken = tmp_path / "broken.py"
    broken.write_text("import os\nprint('no licence for this machine', flush=True)\nos._exit(7)\n")
    (run.path / "simulator.json").write_text(json.dumps({**recipe, "reference": f"{broken}:simulate"}))
    with pytest.raises(Halt, match=r"cannot start: no licence for this machine; .*/logs$"):
        run.compute()


def test_a_compute_process_that_breaks_halts_the_run_in_one_line_with_its_log(make_run, monkeypatch):
    run = make_run(["fine"])
    (run.path / "design.h5").unlink()
    write_design(
        run.path, {"a": np.zeros(1)}
    )  # the parameter `what` is gone: no sample can be set aside for that
    order = replace(run.order, indices=(0, 7))
    pool = run.pool()
    with pytest.raises(
        Halt, match=r"^a compute process broke: IndexError: .*7.* \(see .*/logs/.*\.log\)$"
    ) as caught:
        pool.run(order)
    pool.close()
    assert "\n" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (Halt, str(caught.value))
    log = Path(str(caught.value).rpartition("(see ")[2].rstrip(")"))
    assert "IndexError" in log.read_text()


def test_a_disk_that_refuses_ends_the_order(make_run):
    run = make_run(["fine", "fine"])
    (run.path / "shards").write_text("in the way")
    with pytest.raises(StorageError, match="shards"):
        run.compute()
    assert not (run.path / "failed").exists()


def test_after_an_error_the_pool_works_again(make_run):
    run = make_run(["fine", "fine"])
    (run.path / "shards").write_text("in the way")
    pool = run.pool()
    with pytest.raises(StorageError):
        pool.run(run.order)
    (run.path / "shards").unlink()
    assert settled(pool.run(run.order)) == [0, 1]
    pool.close()


# ---- the task ----------------------------------------------------------------------------------------------


def test_the_task_uses_the_processes_that_were_started_before(make_run):
    run = make_run(["fine", "fine"])
    tasks.prestart(str(run.path), "test", 1)
    try:
        first, second = (tasks.run_order(replace(run.order, indices=(index,))) for index in (0, 1))
        assert [index for index, _ in first.done + second.done] == [0, 1]
        assert len(list((run.path / "journal").iterdir())) == 1
    finally:
        tasks.close()


def test_another_session_gets_processes_of_its_own(make_run):
    run = make_run(["fine", "fine"])
    tasks.prestart(str(run.path), "test", 1)
    try:
        tasks.run_order(replace(run.order, indices=(0,)))
        tasks.run_order(replace(run.order, indices=(1,), session="next"))
        assert len(list((run.path / "journal").iterdir())) == 2
    finally:
        tasks.close()


def test_a_process_that_died_while_idle_is_replaced(make_run):
    run = make_run(["fine", "fine"])
    pool = run.pool()
    pool.run(replace(run.order, indices=(0,)))
    os.kill(pool._desks[0].child().pid, signal.SIGKILL)
    assert settled(pool.run(replace(run.order, indices=(1,)))) == [1]
    pool.close()
