"""A run folder belongs to one configuration and one process; the rest is refused with nothing written."""

import json
import os
import signal
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from hpc_ds.runtime import atomic, lock
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.folder import RunFolder, read_config, read_state
from hpc_ds.runtime.world import World

CONFIG = {
    "model": "spectrum",
    "peaks": (1, 2),
    "noise": {"kind": "fixed", "sigma": 0.1},
    "draws": 100,
    "none": None,
}

OPENS = """
import sys, time
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import RunFolder
from hpc_ds.runtime.world import World
try:
    RunFolder.open(sys.argv[1], "infer", {"draws": 100}, {"draws"}, World(), ["hpc-ds"], 1)
    print("open", flush=True)
    time.sleep(60)
except InputError as error:
    print(error, flush=True)
"""

KILLED_AFTER = """
import os, signal, sys
from hpc_ds.runtime import atomic
from hpc_ds.runtime.folder import RunFolder
from hpc_ds.runtime.world import World
left = int(sys.argv[2])
real = os.replace
def replace(*names):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    real(*names)
os.replace = replace
RunFolder.open(sys.argv[1], "infer", {"draws": 100}, set(), World(), ["hpc-ds"], 1)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "mine"


def open_run(path, config=CONFIG, growable=frozenset({"draws"}), kind="infer"):
    return RunFolder.open(path, kind, config, growable, World(), ["hpc-ds", "infer", "spectrum"], 7)


def contents(folder):
    return {entry: (folder / entry).read_bytes() for entry in sorted(os.listdir(folder))}


def refused(path, match, **changes):
    """Assert that opening is refused in one line and that nothing is written."""
    before = contents(path)
    with pytest.raises(InputError, match=match) as caught:
        open_run(path, **changes)
    assert "\n" not in str(caught.value) and contents(path) == before


def test_a_new_folder_tells_configuration_provenance_and_state(path):
    with open_run(path) as run:
        assert run.previous_state is None and run.state == "running" and run / "x" == path / "x"
        state = read_state(path)
        assert (state["format"], state["kind"], state["state"], state["alive"]) == (
            1,
            "infer",
            "running",
            True,
        )
    assert read_config(path) == {
        "model": "spectrum",
        "peaks": [1, 2],
        "noise": {"kind": "fixed", "sigma": 0.1},
        "draws": 100,
    }
    told = json.loads((path / "provenance.json").read_text())
    assert (told["seed"], told["ranks"], told["command"]) == (7, 1, ["hpc-ds", "infer", "spectrum"])
    assert len(told["sessions"]) == 1 and told["versions"]["numpy"] == np.__version__
    assert sorted(os.listdir(path)) == ["config.toml", "provenance.json", "state.json"]


def test_the_same_command_continues_and_knows_how_it_ended(path):
    for ending in ("stopped", "done"):
        with open_run(path) as run:
            run.set_state(ending, "a note")
        assert (read_state(path)["state"], read_state(path)["note"]) == (ending, "a note")
    with open_run(path) as run:
        assert run.previous_state == "done"
    assert len(json.loads((path / "provenance.json").read_text())["sessions"]) == 3


def test_relative_paths_stay_valid_when_the_working_directory_changes(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_run("runs/mine") as run:
        assert run.path == path


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"noise": {"kind": "fixed", "sigma": 0.2}}, r"noise\.sigma is 0\.1 there and 0\.2 here"),
        ({"noise": {"kind": "fixed"}}, r"noise\.sigma is 0\.1 there and \(not set\) here"),
        ({"peaks": (1, 3)}, r"peaks\[1\] is 2 there and 3 here"),
        ({"peaks": (1, 2, 3)}, r"peaks\[2\] is \(not set\) there and 3 here"),
        ({"background": "linear"}, r"background is \(not set\) there and 'linear' here"),
        ({"model": None}, r"model is 'spectrum' there and \(not set\) here"),
        ({"noise": 0.1}, r"noise is \(not set\) there and 0\.1 here"),
    ],
)
def test_another_configuration_is_refused_naming_the_first_difference(path, change, match):
    open_run(path).close()
    refused(path, match, config={**CONFIG, **change})


def test_what_may_grow_may_differ_and_the_file_follows(path):
    open_run(path).close()
    open_run(path, {**CONFIG, "draws": 500}).close()
    assert read_config(path)["draws"] == 500


def test_growing_reaches_into_tables_and_not_beyond(path):
    nested = {"sampler": {"draws": 1, "scans": 2}, "samplers": 3}
    open_run(path, nested).close()
    refused(path, r"samplers is 3", config={**nested, "samplers": 4}, growable={"sampler"})
    grown = {"sampler": {"draws": 9, "scans": 9, "time": 5}, "samplers": 3}
    open_run(path, grown, {"sampler"}).close()
    assert read_config(path) == grown
    refused(path, r"sampler\.scans is 9", config=nested, growable={"sampler.draws"})


@pytest.mark.parametrize(
    "value", [0.1 + 0.2, float("nan"), float("inf"), 'σ = "1"\n', [], {}, [[1], []], True, 2**60]
)
def test_values_of_every_kind_equal_themselves(path, value):
    open_run(path, {"value": value}).close()
    open_run(path, {"value": value}).close()


def test_a_run_of_another_kind_is_refused(path):
    open_run(path).close()
    refused(path, "holds a run of infer, not of learn", kind="learn")


def test_a_foreign_folder_is_refused(path):
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("years of work")
    refused(path, "not empty and no run folder.*thesis.tex")


def test_an_empty_folder_is_welcome(path):
    path.mkdir(parents=True)
    open_run(path).close()


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is no folder"):
        open_run(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("below", ["", "new/run"])
def test_no_permission_is_refused_before_anything_is_made(tmp_path, unprivileged, repository, below):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    result = unprivileged([sys.executable, "-c", OPENS, closed / below], cwd=repository)
    assert "no permission to write in" in result.stdout and result.stdout.count("\n") == 1
    assert os.listdir(closed) == []


def test_a_folder_in_use_is_refused_naming_who_uses_it(path, repository, plain_environment):
    command = [sys.executable, "-c", OPENS, str(path)]
    with subprocess.Popen(command, cwd=repository, env=plain_environment, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"open\n"
        refused(path, f"in use by process {child.pid}", config={"draws": 100})
        child.kill()
    assert (read_state(path)["state"], read_state(path)["alive"]) == ("running", False)
    with open_run(path, {"draws": 100}) as run:
        assert run.previous_state == "running"


@pytest.mark.parametrize("renames", range(3))
def test_killed_while_opening_the_same_command_still_works(path, repository, plain_environment, renames):
    command = [sys.executable, "-c", KILLED_AFTER, str(path), str(renames)]
    child = subprocess.run(command, cwd=repository, env=plain_environment, check=False)
    assert child.returncode == -signal.SIGKILL
    open_run(path, {"draws": 100}).close()
    assert sorted(os.listdir(path)) == ["config.toml", "provenance.json", "state.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": "one", "kind": "infer", "state": "x"}']
)
def test_a_damaged_state_is_refused(path, text):
    open_run(path).close()
    (path / "state.json").write_text(text)
    refused(path, "state.json: damaged")


def test_a_damaged_configuration_is_refused(path):
    open_run(path).close()
    (path / "config.toml").write_text("draws = ")
    refused(path, "config.toml: damaged")


def test_a_later_format_is_refused(path):
    open_run(path).close()
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "format": 2}))
    refused(path, "format 2.*update")


def test_an_exception_leaves_the_state_failed_and_the_folder_free(path):
    with pytest.raises(ZeroDivisionError), open_run(path):
        1 / 0  # noqa: B018
    assert (read_state(path)["state"], read_state(path)["alive"]) == ("failed", False)
    assert "ZeroDivisionError" in read_state(path)["note"]


def test_an_interrupt_leaves_the_state_stopped(path):
    with pytest.raises(KeyboardInterrupt), open_run(path):
        raise KeyboardInterrupt
    assert read_state(path)["state"] == "stopped"


def test_a_state_that_was_set_is_not_overwritten_by_a_later_exception(path):
    with pytest.raises(KeyError), open_run(path) as run:
        run.set_state("done")
        raise KeyError
    assert read_state(path)["state"] == "done"


def test_an_unknown_state_is_refused(path):
    with open_run(path) as run, pytest.raises(ValueError, match="running, stopped, done, failed"):
        run.set_state("finished")


def test_a_folder_that_was_taken_over_is_written_no_more(path):
    run = open_run(path)
    run._lock.lost = True
    with pytest.raises(StorageError, match="taken this folder over"):
        run.ensure_held()
    with pytest.raises(StorageError):
        run.set_state("done")
    assert read_state(path)["state"] == "running"
    run.close()


def test_a_full_disk_is_told_and_the_run_can_go_on_later(small_disk):
    path = small_disk / "run"
    open_run(path).close()
    before = contents(path)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(StorageError, match="No space left"):
        open_run(path)
    assert contents(path) == before
    ballast.unlink()
    open_run(path).close()


def test_readers_refuse_what_is_no_run_folder(tmp_path):
    for read in (read_state, read_config):
        with pytest.raises(InputError, match="no run folder"):
            read(tmp_path)
        with pytest.raises(InputError, match="no run folder"):
            read(tmp_path / "absent")


def test_readers_leave_no_trace(path):
    open_run(path).close()
    before = contents(path)
    read_state(path), read_config(path)
    assert contents(path) == before


def test_leftovers_of_a_killed_writer_are_removed(path):
    open_run(path).close()
    atomic.temporary_beside(path / "summary.json").write_text("half")
    open_run(path).close()
    assert not any(atomic.is_leftover(entry) for entry in path.iterdir())


def test_configuration_file_is_plain_toml(path):
    open_run(path).close()
    assert tomllib.loads((path / "config.toml").read_text())["noise"]["sigma"] == 0.1


def test_lock_is_hidden_and_gone_after_closing(path):
    run = open_run(path)
    assert (path / lock.NAME).exists() and lock.NAME.startswith(".")
    run.close()
    run.close()
    assert not (path / lock.NAME).exists()
