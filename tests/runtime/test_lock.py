"""One process at a time: the living are respected, the dead are not waited for."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from hpc_ds.runtime import lock
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.lock import FolderLock, Holder

HOLDS = """
import sys, time
from hpc_ds.runtime.lock import FolderLock
FolderLock.acquire(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""

RACES = """
import sys, time
from pathlib import Path
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.lock import FolderLock
folder, go, end = map(Path, sys.argv[1:])
print("ready", flush=True)
while not go.exists():
    pass
try:
    FolderLock.acquire(folder)
    print("held", flush=True)
except InputError:
    print("refused", flush=True)
while not end.exists():
    time.sleep(0.01)
"""


@pytest.fixture
def child(repository, plain_environment):
    """Start Python code in a process of its own; what still runs at the end is killed."""
    children = []

    def start(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, cwd=repository, env=plain_environment, **options))
        return children[-1]

    yield start
    for process in children:
        process.kill()
        process.communicate()


def write_lock(folder, holder, age=0.0):
    path = folder / lock.NAME
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, (time.time() - age,) * 2)
    return path


def elsewhere():
    return replace(Holder.this_process(), host="node7", machine="node7 boot pid", token="theirs")


def test_lock_is_there_while_held_and_gone_after(tmp_path):
    own = FolderLock.acquire(tmp_path)
    assert lock.is_held(tmp_path) and lock.read_holder(own.path).pid == os.getpid()
    assert os.listdir(tmp_path) == [lock.NAME]
    own.release()
    own.release()
    assert os.listdir(tmp_path) == [] and not lock.is_held(tmp_path)


def test_a_living_holder_is_named_and_nothing_is_written(tmp_path, child):
    process = child(HOLDS, tmp_path)
    assert process.stdout.readline() == "held\n"
    before = (tmp_path / lock.NAME).read_bytes()
    with pytest.raises(InputError, match=f"in use by process {process.pid} on"):
        FolderLock.acquire(tmp_path)
    assert (tmp_path / lock.NAME).read_bytes() == before and os.listdir(tmp_path) == [lock.NAME]


def test_a_stopped_process_is_alive(tmp_path, child):
    process = child(HOLDS, tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    os.utime(tmp_path / lock.NAME, (0, 0))
    with pytest.raises(InputError, match="in use"):
        FolderLock.acquire(tmp_path)


def test_a_killed_holder_is_replaced_at_once_saying_so(tmp_path, child, capsys):
    process = child(HOLDS, tmp_path)
    process.stdout.readline()
    process.kill()
    process.wait()
    assert not lock.is_held(tmp_path)
    FolderLock.acquire(tmp_path).release()
    assert f"taken over from process {process.pid}" in capsys.readouterr().err


def test_a_killed_holder_that_nobody_waited_for_is_dead(tmp_path, child):
    process = child(HOLDS, tmp_path)
    process.stdout.readline()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie still has its pid
    FolderLock.acquire(tmp_path).release()


def test_a_pid_that_was_given_to_another_process_is_no_holder(tmp_path):
    write_lock(tmp_path, replace(Holder.this_process(), started="1", token="theirs"))
    own = FolderLock.acquire(tmp_path)
    assert lock.read_holder(own.path).started != "1"
    own.release()


def test_another_machine_silent_for_a_minute_is_dead(tmp_path, capsys):
    write_lock(tmp_path, elsewhere(), age=61.0)
    assert not lock.is_held(tmp_path)
    FolderLock.acquire(tmp_path).release()
    assert "taken over" in capsys.readouterr().err


def test_another_machine_that_beats_while_watched_is_alive(tmp_path):
    path = write_lock(tmp_path, elsewhere(), age=1.0)
    assert lock.is_held(tmp_path)
    beat = threading.Timer(0.6, os.utime, [path])
    beat.start()
    with pytest.raises(InputError, match="node7"):
        FolderLock.acquire(tmp_path)
    beat.join()


def test_another_machine_that_falls_silent_while_watched_is_dead(tmp_path, capsys):
    write_lock(tmp_path, elsewhere(), age=1.0)
    FolderLock.acquire(tmp_path, stale=2.0).release()
    assert "sign of life" in capsys.readouterr().err


def test_the_same_host_name_after_a_reboot_is_another_machine(tmp_path):
    write_lock(tmp_path, replace(Holder.this_process(), machine="before the reboot"), age=61.0)
    FolderLock.acquire(tmp_path).release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "a"}'])
def test_a_damaged_lock_is_dead_after_a_minute(tmp_path, content):
    path = tmp_path / lock.NAME
    path.write_text(content)
    assert lock.is_held(tmp_path)
    os.utime(path, (0, 0))
    FolderLock.acquire(tmp_path).release()


@pytest.mark.parametrize("stale", [False, True])
def test_of_two_that_race_one_wins(tmp_path, child, stale):
    for trial in range(4):
        folder = tmp_path / f"run{trial}"
        folder.mkdir()
        if stale:
            write_lock(folder, replace(Holder.this_process(), started="1", token="theirs"))
        go, end = tmp_path / f"go{trial}", tmp_path / f"end{trial}"
        racers = [child(RACES, folder, go, end) for _ in range(2)]
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2
        go.touch()
        assert sorted(racer.stdout.readline() for racer in racers) == ["held\n", "refused\n"]
        end.touch()
        for racer in racers:
            racer.wait()


def test_a_takeover_that_was_killed_halfway_is_repeated(tmp_path):
    dead = replace(Holder.this_process(), started="1", token="theirs")
    write_lock(tmp_path, dead)
    (tmp_path / ".lock.takeover").write_text(json.dumps(asdict(dead)))
    own = FolderLock.acquire(tmp_path)
    assert os.listdir(tmp_path) == [lock.NAME]
    own.release()


def test_without_hard_links_the_lock_still_excludes(tmp_path, monkeypatch):
    def refuse(*names):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    own = FolderLock.acquire(tmp_path)
    with pytest.raises(InputError, match="in use"):
        FolderLock.acquire(tmp_path)
    own.release()
    assert os.listdir(tmp_path) == []


def test_the_heart_beats(tmp_path):
    own = FolderLock.acquire(tmp_path, beat=0.05)
    os.utime(own.path, (0, 0))
    wait_until(lambda: own.path.stat().st_mtime > 0)
    own.release()


def test_a_lock_that_was_taken_away_is_noticed_and_left_alone(tmp_path):
    own = FolderLock.acquire(tmp_path, beat=0.05)
    path = write_lock(tmp_path, elsewhere())
    wait_until(lambda: own.lost)
    own.release()
    assert lock.read_holder(path).token == "theirs"


def test_a_forked_child_does_not_release_its_parents_lock(tmp_path):
    own = FolderLock.acquire(tmp_path)
    pid = os.fork()
    if pid == 0:
        own.release()
        os._exit(0)
    os.waitpid(pid, 0)
    assert lock.is_held(tmp_path)
    own.release()


def wait_until(condition):
    while not condition():
        time.sleep(0.01)
