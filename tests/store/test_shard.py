"""What is journalled can be read, whatever happened to the process that wrote it."""

import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
import zlib

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.errors import StorageError
from hpc_ds.store import shard_file
from hpc_ds.store.journal import Journals
from hpc_ds.store.layout import Axis, Field, Layout, axis
from hpc_ds.store.moments import Moments
from hpc_ds.store.shard import DamagedRow, ShardReader, ShardWriter, read_row, shard_exists

WRITER = """
import sys
import numpy as np
from hpc_ds.store.layout import Axis, Field, Layout, axis
from hpc_ds.store.shard import ShardWriter

layout = Layout("k", (axis("x", 0, 1, 4096),), Axis("time", np.arange(8.0)), (Field("u"), Field("e", dims=())))
writer = ShardWriter(sys.argv[1], sys.argv[2], layout, max_rows=50)
print("ready", flush=True)
for index in range(10**9):
    rng = np.random.default_rng(index)
    sample = {"u": rng.random((8, 4096), np.float32), "e": rng.random(8, np.float32)}
    writer.append(index, sample, 0.0)
"""


def small_layout(nx=64):
    """Return a layout whose samples have 4 * nx bytes."""
    return Layout("small", (axis("x", 0.0, 1.0, nx),), Axis("time", np.zeros(1)), (Field("u"),))


def small_sample(layout, index):
    return {"u": np.random.default_rng(index).random(layout.shape("u"), np.float32)}


def shard_paths(folder):
    return sorted((folder / "shards").glob("*.h5"))


@pytest.fixture
def small_disk(needs_root, tmp_path):
    """Mount a tmpfs of one mebibyte, or skip where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# ---- rows ---------------------------------------------------------------------------------------------------


def test_samples_of_every_kind_of_field_are_read_back(zoo, tmp_path):
    with ShardWriter(tmp_path, "a", zoo.layout) as writer:
        entries = {index: writer.append(index, zoo.sample(index), 0.5) for index in (7, 3, 11)}
    assert Journals.read(tmp_path).done == entries
    with ShardReader(tmp_path, zoo.layout) as reader:
        for index, entry in entries.items():
            found = reader.read(entry)
            assert list(found) == [field.name for field in zoo.layout.fields]
            for name, values in zoo.sample(index).items():
                np.testing.assert_array_equal(found[name], values)
    assert list(read_row(tmp_path, entries[3], zoo.layout)) == list(found)


def test_the_checksum_is_that_of_the_fields_in_their_declared_order(zoo, tmp_path):
    with ShardWriter(tmp_path, "a", zoo.layout) as writer:
        shuffled = dict(reversed(zoo.sample(3).items()))
        entry = writer.append(3, shuffled, 0.5)
    assert entry.crc == zlib.crc32(b"".join(values.tobytes() for values in zoo.sample(3).values()))
    assert entry.crc == zoo.crc(3)


def test_a_shard_is_plain_hdf5_already_while_it_is_written(zoo, tmp_path):
    writer = ShardWriter(tmp_path, "a", zoo.layout, max_rows=5)
    for index in (7, 3):
        entry = writer.append(index, zoo.sample(index), 0.5)
    assert shard_exists(tmp_path, entry.shard) and not shard_exists(tmp_path, "b")
    with h5py.File(shard_paths(tmp_path)[0]) as file:
        assert file["index"][:].tolist() == [7, 3, -1, -1, -1]
        assert file["crc32"][:2].tolist() == [zoo.crc(7), zoo.crc(3)]
        for name, values in zoo.sample(3).items():
            np.testing.assert_array_equal(file["fields"][name][1], values)
    writer.close()


def test_rows_that_are_not_written_take_no_disk(tmp_path):
    layout = small_layout(2**16)
    with ShardWriter(tmp_path, "a", layout) as writer:
        writer.append(0, small_sample(layout, 0), 0.5)
    status = shard_paths(tmp_path)[0].stat()
    assert status.st_size > 100 * layout.sample_bytes
    assert status.st_blocks * 512 < 2 * layout.sample_bytes


def test_nothing_is_made_before_the_first_sample(zoo, tmp_path):
    with ShardWriter(tmp_path, "a", zoo.layout) as writer:
        writer.sync()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_rows_are_read_into_the_rows_of_a_buffer(tmp_path):
    layout = small_layout()
    with ShardWriter(tmp_path, "a", layout) as writer:
        entries = [writer.append(index, small_sample(layout, index), 0.5) for index in range(3)]
    buffer = np.zeros((3, *layout.shape("u")), np.float32)
    with ShardReader(tmp_path, layout) as reader:
        for row, entry in enumerate(entries):
            reader.read_into(entry, {"u": buffer[row]})
        with pytest.raises(ValueError, match="does not take 64 float32 in a row"):
            reader.read_into(entries[0], {"u": np.zeros((1, 128), np.float32)[:, ::2]})
    for row in range(3):
        np.testing.assert_array_equal(buffer[row], small_sample(layout, row)["u"])


def test_moments_of_a_row_are_those_of_its_fields(zoo, tmp_path):
    with ShardWriter(tmp_path, "a", zoo.layout) as writer:
        entry = writer.append(3, zoo.sample(3), 0.5)
    wanted = Moments(zoo.layout).of_sample(zoo.sample(3))
    with ShardReader(tmp_path, zoo.layout) as reader:
        assert reader.moments(entry).tobytes() == wanted.tobytes()
    with h5py.File(shard_paths(tmp_path)[0], "r+") as file:
        file["moments"][0] = 0.0
    with ShardReader(tmp_path, zoo.layout) as reader:
        assert reader.moments(entry).tobytes() == wanted.tobytes()


def test_a_full_shard_is_followed_by_the_next(tmp_path):
    layout = small_layout()
    with ShardWriter(tmp_path, "a", layout, max_bytes=3 * layout.sample_bytes) as writer:
        entries = [writer.append(index, small_sample(layout, index), 0.5) for index in range(8)]
    assert [path.stem for path in shard_paths(tmp_path)] == ["a.000", "a.001", "a.002"]
    assert [(entry.shard, entry.row) for entry in entries[2:4]] == [("a.000", 2), ("a.001", 0)]
    with ShardReader(tmp_path, layout, open_files=1) as reader:
        for index in (0, 7, 1, 4):
            np.testing.assert_array_equal(reader.read(entries[index])["u"], small_sample(layout, index)["u"])


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 64)), np.zeros((1, 63), np.float32), np.zeros((1, 128), np.float32)[:, ::2]],
    ids=["type", "shape", "strides"],
)
def test_fields_that_are_not_those_of_the_layout_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"field u: .* is not a row of"):
        ShardWriter(tmp_path, "a", small_layout()).append(0, {"u": wrong}, 0.5)
    assert list(tmp_path.iterdir()) == []


# ---- damage -------------------------------------------------------------------------------------------------


@pytest.fixture
def one_row(tmp_path):
    layout = small_layout()
    with ShardWriter(tmp_path, "a", layout, max_rows=2) as writer:
        entry = writer.append(0, small_sample(layout, 0), 0.5)
    return layout, entry, shard_paths(tmp_path)[0]


def refusal(folder, entry, layout):
    with pytest.raises(DamagedRow) as caught:
        read_row(folder, entry, layout)
    assert "\n" not in str(caught.value) and "a.000.h5: " in str(caught.value)
    return str(caught.value)


def test_a_damaged_row_is_noticed(one_row, tmp_path):
    layout, entry, path = one_row
    with h5py.File(path, "r+") as file:
        file["fields/u"][0, 0, 17] += 1e-6
    assert "the journal says" in refusal(tmp_path, entry, layout)


def test_a_row_beyond_the_shard_is_noticed(one_row, tmp_path):
    layout, entry, _ = one_row
    for row in (-1, 2, 10**9):
        assert f"has no row {row} " in refusal(tmp_path, entry._replace(row=row), layout)


def test_a_missing_a_cut_and_a_foreign_shard_are_noticed(one_row, tmp_path):
    layout, entry, path = one_row
    whole = path.read_bytes()
    for content in (whole[:5000], whole[:100], b"", b"text"):
        path.write_bytes(content)
        assert "cannot be opened" in refusal(tmp_path, entry, layout)
    with h5py.File(path, "w") as file:
        file["u"] = 1.0
    assert "not a shard of format 1" in refusal(tmp_path, entry, layout)
    path.unlink()
    assert "cannot be opened" in refusal(tmp_path, entry, layout)


def test_a_shard_that_is_cut_while_it_is_open_is_noticed(one_row, tmp_path):
    layout, entry, path = one_row
    with ShardReader(tmp_path, layout) as reader:
        reader.read(entry)
        os.truncate(path, 100)
        with pytest.raises(DamagedRow, match="ends before row 0"):
            reader.read(entry)


# ---- kills --------------------------------------------------------------------------------------------------


def kill_after(seconds, folder, name, repository, environment):
    """Let a process append rows for a random while, kill it, and return how many it journalled."""
    command = [sys.executable, "-c", WRITER, str(folder), name]
    pipe = {"stdout": subprocess.PIPE, "cwd": repository, "env": environment}
    with subprocess.Popen(command, **pipe) as child:
        child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


def check_kills(trials, folder, repository, environment):
    waits = np.random.default_rng(trials).uniform(0.0, 0.15, trials)
    layout = Layout(
        "k", (axis("x", 0, 1, 4096),), Axis("time", np.arange(8.0)), (Field("u"), Field("e", dims=()))
    )
    rows = 0
    for trial, seconds in enumerate(waits):
        run = folder / f"run{trial}"
        run.mkdir()
        kill_after(seconds, run, "a", repository, environment)
        journals = Journals.read(run)
        assert journals.damaged == 0
        assert sorted(journals.done) == list(range(len(journals.done)))
        with ShardReader(run, layout) as reader:
            for index, entry in journals.done.items():
                rng = np.random.default_rng(index)
                np.testing.assert_array_equal(reader.read(entry)["u"], rng.random((8, 4096), np.float32))
                reader.moments(entry)
        for path in shard_paths(run):
            with h5py.File(path) as file:
                assert len(file["index"]) == 50
        rows += len(journals.done)
    return rows


def test_every_journalled_row_survives_a_kill(tmp_path, repository, plain_environment):
    assert check_kills(4, tmp_path, repository, plain_environment) > 0


@pytest.mark.parametrize("step", ["ftruncate", "pwrite"])
def test_a_shard_that_is_being_made_is_none_yet(tmp_path, monkeypatch, step):
    class Killed(BaseException):
        """Like a kill: nothing is tidied up that an end by exception would tidy up."""

    def kill(*_):
        raise Killed

    layout = small_layout()
    monkeypatch.setattr(os, step, kill)
    with pytest.raises(Killed):
        ShardWriter(tmp_path, "a", layout).append(0, small_sample(layout, 0), 0.5)
    assert shard_paths(tmp_path) == []
    assert len(list((tmp_path / "shards").iterdir())) == 1


@pytest.mark.slow
def test_every_journalled_row_survives_many_kills(tmp_path, repository, plain_environment):
    assert check_kills(40, tmp_path, repository, plain_environment) > 1000


# ---- disks that refuse --------------------------------------------------------------------------------------


def test_a_full_disk_costs_one_sample_and_no_earlier_one(small_disk):
    layout = small_layout(16 * 1024)
    writer = ShardWriter(small_disk, "a", layout)
    with pytest.raises(StorageError, match=r"a\.000\.h5: cannot be written \(No space left on device\)"):
        for index in range(100):
            writer.append(index, small_sample(layout, index), 0.5)
    done = Journals.read(small_disk).done
    assert 5 < len(done) < 17 and len(done) == index
    with ShardReader(small_disk, layout) as reader:
        for number, entry in done.items():
            np.testing.assert_array_equal(reader.read(entry)["u"], small_sample(layout, number)["u"])
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    entry = writer.append(index, small_sample(layout, index), 0.5)
    assert (entry.shard, entry.row) == ("a.000", index)
    writer.close()
    assert Journals.read(small_disk).done[index] == entry


def test_a_disk_that_is_full_from_the_beginning_keeps_no_half_shard(small_disk):
    (small_disk / "ballast").write_bytes(bytes(2**20 - 4096 * 2))
    layout = small_layout()
    with pytest.raises(StorageError, match="No space left on device"):
        ShardWriter(small_disk, "a", layout).append(0, small_sample(layout, 0), 0.5)
    assert shard_paths(small_disk) == []


def test_a_limit_of_file_size_makes_shards_shorter(tmp_path):
    layout = small_layout(2**14)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * layout.sample_bytes, limits[1]))
    try:
        with ShardWriter(tmp_path, "a", layout) as writer:
            entries = [writer.append(index, small_sample(layout, index), 0.5) for index in range(20)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {entry.shard for entry in entries} == {"a.000", "a.001", "a.002"}
    for index, entry in enumerate(entries):
        np.testing.assert_array_equal(
            read_row(tmp_path, entry, layout)["u"], small_sample(layout, index)["u"]
        )


@pytest.mark.parametrize("number", range(5))
def test_an_error_of_the_disk_in_any_write_of_a_row_loses_that_row_only(tmp_path, monkeypatch, number):
    layout = small_layout()
    writer = ShardWriter(tmp_path, "a", layout)
    writer.append(0, small_sample(layout, 0), 0.5)
    calls = []

    def broken(*arguments):
        calls.append(arguments)
        if len(calls) > number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pwrite(*arguments)

    pwrite = os.pwrite
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="Input/output error"):
        patch.setattr(os, "pwrite", broken)
        writer.append(1, small_sample(layout, 1), 0.5)
    assert sorted(Journals.read(tmp_path).done) == [0]
    assert writer.append(1, small_sample(layout, 1), 0.5).row == 1
    writer.close()
    for index, entry in Journals.read(tmp_path).done.items():
        np.testing.assert_array_equal(
            read_row(tmp_path, entry, layout)["u"], small_sample(layout, index)["u"]
        )


def test_short_writes_and_reads_are_continued(tmp_path, monkeypatch):
    layout = small_layout()
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, data[:100], offset))
    monkeypatch.setattr(os, "preadv", lambda file, into, offset: preadv(file, [into[0][:77]], offset))
    with ShardWriter(tmp_path, "a", layout) as writer:
        entry = writer.append(0, small_sample(layout, 0), 0.5)
    np.testing.assert_array_equal(read_row(tmp_path, entry, layout)["u"], small_sample(layout, 0)["u"])


def test_a_sync_that_fails_beside_the_next_samples_is_told(tmp_path, monkeypatch):
    layout = small_layout()
    writer = ShardWriter(tmp_path, "a", layout, max_rows=1)
    writer.append(0, small_sample(layout, 0), 0.5)

    def broken(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(StorageError, match=r"a\.00\d\.h5: .*Input/output error"):
            for index in range(1, 4):
                writer.append(index, small_sample(layout, index), 0.5)
    writer.close()


def test_a_vanished_folder_is_told_in_one_line(tmp_path):
    layout = small_layout()
    with pytest.raises(StorageError, match="No such file or directory"):
        ShardWriter(tmp_path / "run", "a", layout).append(0, small_sample(layout, 0), 0.5)


# ---- the file itself ----------------------------------------------------------------------------------------


def test_places_that_were_planned_are_those_that_hdf5_finds(zoo, tmp_path):
    path = tmp_path / "shards" / "a.h5"
    descriptor, planned = shard_file.create(path, zoo.layout, 5, 1000)
    os.close(descriptor)
    found = shard_file.read_places(path)
    assert (found.rows, dict(found.data_sets)) == (planned.rows, dict(planned.data_sets))
    ends = sorted((offset, offset + 1000 * stride) for offset, stride in found.data_sets.values())
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ends))
    assert ends[-1][1] <= path.stat().st_size == planned.size


def test_importing_the_store_is_cheap(repository):
    heavy = "{'numba', 'dask', 'distributed', 'torch', 'scipy'}"
    code = (
        "import sys; import hpc_ds.store.shard, hpc_ds.store.design_file, hpc_ds.store.quarantine; "
        f"sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)
