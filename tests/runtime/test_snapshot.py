"""Snapshots come back bit for bit, and damage is noticed, told and survived."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from hpc_ds.runtime import snapshot
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.snapshot import Snapshots

KILLED_AT_RANDOM = """
import sys
import numpy as np
from hpc_ds.runtime.snapshot import Snapshots
snapshots = Snapshots(sys.argv[1])
step = 0
while True:
    step += 1
    snapshots.save({"x": np.full(20_000, step)}, {"step": step})
    print(step, flush=True)
"""


@pytest.fixture
def told():
    return []


@pytest.fixture
def snapshots(tmp_path, told):
    return Snapshots(tmp_path / "snapshots", told.append)


def save(snapshots, *steps):
    return [snapshots.save({"x": np.full(10, float(step))}, {"step": step}) for step in steps]


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def names(snapshots):
    return sorted(os.listdir(snapshots.directory))


def test_nothing_saved_is_nothing_loaded(snapshots, told):
    assert snapshots.load() is None and told == [] and not snapshots.directory.exists()


def test_arrays_and_meta_come_back_exactly(snapshots):
    arrays = {
        "float": np.array([0.1, np.nan, -np.inf, 5e-324]),
        "integer": np.arange(2**63 - 2, 2**63, dtype=np.uint64),
        "scalar": np.array(3.5),
        "empty": np.empty((0, 3), dtype=np.float32),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "strided": np.arange(10)[::3],
        "text": np.array(["K=1", "σ"]),
        "flag": np.array([[True], [False]]),
        "complex": np.array([1 + 2j]),
        "big-endian": np.array([1, 2], dtype=">i4"),
    }
    meta = {"beta": 0.1 + 0.2, "seed": 2**100, "nested": {"list": [1, None, "a"]}}
    snapshots.save(arrays, meta)
    loaded, loaded_meta = snapshots.load()
    assert loaded_meta == meta and list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        assert loaded[name].tobytes() == array.tobytes()
        assert loaded[name].flags.writeable and loaded[name].flags.owndata


def test_the_last_two_are_kept_and_the_newest_is_loaded(snapshots):
    save(snapshots, 1, 2, 3, 4)
    assert names(snapshots) == ["snapshot-3.bin", "snapshot-4.bin"]
    assert snapshots.load()[1] == {"step": 4}


def test_counting_goes_on_in_a_later_session(snapshots):
    save(snapshots, 1, 2)
    (path,) = save(Snapshots(snapshots.directory), 3)
    assert path.name == "snapshot-3.bin" and len(names(snapshots)) == 2


@pytest.mark.parametrize("position", [0, 5, 20, 40, -40, -1])
def test_any_flipped_bit_is_noticed_and_the_older_one_used(snapshots, told, position):
    flip(save(snapshots, 1, 2)[1], position)
    assert snapshots.load()[1] == {"step": 1}
    assert len(told) == 1 and "snapshot-2.bin" in told[0] and "damaged" in told[0]


@pytest.mark.parametrize("size", [0, 3, 16, 30, 60, 200])
def test_a_torn_snapshot_is_noticed_and_the_older_one_used(snapshots, told, size):
    path = save(snapshots, 1, 2)[1]
    assert size < path.stat().st_size
    os.truncate(path, size)
    assert snapshots.load()[1] == {"step": 1} and len(told) == 1


def test_two_damaged_ones_are_told_and_the_work_begins_anew(snapshots, told):
    for path in save(snapshots, 1, 2):
        flip(path, -1)
    assert snapshots.load() is None
    assert len(told) == 3 and "from the beginning" in told[-1]
    save(snapshots, 7)
    assert names(snapshots) == ["snapshot-3.bin"] and snapshots.load()[1] == {"step": 7}


def test_a_damaged_one_never_pushes_a_sound_one_out(snapshots):
    flip(save(snapshots, 1, 2)[1], -1)
    snapshots.load()
    save(snapshots, 3)
    assert names(snapshots) == ["snapshot-1.bin", "snapshot-3.bin"]


def test_loading_changes_nothing_on_disk(snapshots):
    flip(save(snapshots, 1, 2)[1], -1)
    snapshots.load()
    assert names(snapshots) == ["snapshot-1.bin", "snapshot-2.bin"]


def test_warnings_go_to_stderr_by_default(tmp_path, capsys):
    quiet = Snapshots(tmp_path)
    flip(save(quiet, 1)[0], -1)
    assert quiet.load() is None and "damaged" in capsys.readouterr().err


def test_full_disk_leaves_the_older_snapshots(small_disk, told):
    snapshots = Snapshots(small_disk, told.append)
    save(snapshots, 1, 2)
    with pytest.raises(StorageError, match="No space"):
        snapshots.save({"x": np.zeros(2**18)}, {"step": 3})
    assert names(snapshots) == ["snapshot-1.bin", "snapshot-2.bin"] and snapshots.load()[1] == {"step": 2}


def test_kill_at_any_moment_leaves_a_sound_snapshot(tmp_path, told, repository, plain_environment):
    for trial in range(5):
        folder = tmp_path / str(trial)
        command = [sys.executable, "-c", KILLED_AT_RANDOM, str(folder)]
        with subprocess.Popen(
            command, cwd=repository, env=plain_environment, stdout=subprocess.PIPE
        ) as child:
            lines = [int(child.stdout.readline()) for _ in range(3 + trial)]
            child.send_signal(signal.SIGKILL)
            lines += [int(line) for line in child.stdout]
        arrays, meta = Snapshots(folder, told.append).load()
        assert meta["step"] in (lines[-1], lines[-1] + 1)
        assert np.all(arrays["x"] == meta["step"]) and told == []
        save(Snapshots(folder), 0)
        assert len(os.listdir(folder)) == 2


@pytest.mark.parametrize("array", [np.array([object()]), np.zeros(2, dtype=[("a", "f8")])])
def test_objects_and_records_are_refused(snapshots, array):
    with pytest.raises(TypeError, match="'bad'"):
        snapshots.save({"bad": array}, {})
    assert not snapshots.directory.exists()


def test_a_later_format_is_refused_not_taken_for_damage(snapshots, monkeypatch):
    monkeypatch.setattr(snapshot, "FORMAT", 2)
    save(snapshots, 1)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"format 2.*update"):
        snapshots.load()


def test_a_foreign_file_in_the_folder_is_left_alone(snapshots):
    save(snapshots, 1)
    (snapshots.directory / "notes.txt").write_text("mine")
    save(snapshots, 2, 3)
    assert names(snapshots) == ["notes.txt", "snapshot-2.bin", "snapshot-3.bin"]
