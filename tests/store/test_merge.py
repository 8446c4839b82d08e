"""A merged set depends on the finished samples alone; nothing that goes wrong on the way loses one."""

import errno
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.world import World
from hpc_ds.store import swap, well
from hpc_ds.store.check import check
from hpc_ds.store.journal import Journals
from hpc_ds.store.merge import merge, recover
from hpc_ds.store.moments import Moments
from hpc_ds.store.shard import ShardWriter
from hpc_ds.store.sources import find_sources
from hpc_ds.store.split import SPLITS, split_codes
from hpc_ds.store.training_set import TrainingSet

N = 30
DONE = [index for index in range(N) if index not in (3, 17)]  # two samples failed


@pytest.fixture
def run(zoo, tmp_path):
    """A run folder before its merge."""
    zoo.write_run(tmp_path / "run", DONE, N)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def expected(zoo, tmp_path_factory):
    """Hashes of the merged set."""
    folder = tmp_path_factory.mktemp("expected") / "run"
    zoo.write_run(folder, DONE, N, shards=1)
    merge(folder, World())
    return zoo.hashes(folder)


def indices_of(split, indices=DONE):
    return [index for index in indices if SPLITS[split_codes([index])[0]] == split]


def damage(path, position, length=4):
    with open(path, "r+b") as file:
        file.seek(position)
        old = file.read(length)
        file.seek(position)
        file.write(bytes(byte ^ 0xFF for byte in old))


def damage_shard_row(run, index):
    entry = Journals.read(run).done[index]
    path = run / "shards" / f"{entry.shard}.h5"
    with h5py.File(path) as file:
        dataset = file["fields/velocity"]
        stride = dataset[0].nbytes
        position = dataset.id.get_offset() + entry.row * stride + 8
    damage(path, position)


# ---- what is merged ----------------------------------------------------------------------------------------


def test_every_finished_sample_is_in_its_split_in_design_order(run, zoo):
    report = merge(run, World())
    assert report.counts == {split: len(indices_of(split)) for split in SPLITS}
    assert report.samples == len(DONE)
    assert report.changed
    assert report.stats_from == "train"
    for split in SPLITS:
        with TrainingSet(run, split) as opened:
            chosen = indices_of(split)
            assert list(opened.design_index) == chosen
            for name in ("energy", "vorticity", "velocity", "strain", "mask", "score"):
                assert np.array_equal(opened.read(name), [zoo.sample(index)[name] for index in chosen])
            assert list(opened.parameters["scheme"]) == list(zoo.columns(chosen)["scheme"])


def test_shards_go_and_journals_stay(run):
    merge(run, World())
    assert not (run / "shards").exists()
    assert len(Journals.read(run).done) == len(DONE)
    assert sorted(path.name for path in run.iterdir()) == [
        "data",
        "design.h5",
        "index.h5",
        "journal",
        "layout.json",
        "stats.yaml",
    ]


def test_statistics_are_those_of_the_training_samples(run, zoo):
    merge(run, World())
    stats = TrainingSet(run).statistics
    samples = [zoo.sample(index) for index in indices_of("train")]
    velocity = np.array([sample["velocity"] for sample in samples], dtype=np.float64)
    assert np.allclose(stats["mean"]["velocity"], velocity.mean(axis=(0, 1, 2, 3)), rtol=1e-12)
    assert np.allclose(stats["std"]["velocity"], velocity.std(axis=(0, 1, 2, 3)), rtol=1e-12)
    delta = np.diff(np.array([sample["vorticity"] for sample in samples], dtype=np.float64), axis=1)
    assert np.isclose(stats["std_delta"]["vorticity"], delta.std(), rtol=1e-12)


def test_a_set_without_training_samples_has_statistics_of_all(zoo, tmp_path):
    chosen = [index for index in range(40) if split_codes([index])[0] != 0][:3]
    zoo.write_run(tmp_path / "run", chosen)
    report = merge(tmp_path / "run", World())
    assert report.stats_from == "all"
    assert report.counts["train"] == 0
    assert not (tmp_path / "run" / "data" / "train").exists()


def test_the_samples_of_a_split_can_be_spread_over_files(run, zoo):
    report = merge(run, World(), samples_per_file=10)
    names = sorted(path.name for path in (run / "data" / "train").iterdir())
    assert names == [f"zoo_train_{number:04d}.h5" for number in range(3)]
    assert report.files == 5
    with TrainingSet(run) as train:
        assert list(train.design_index) == indices_of("train")


def test_fractions_choose_the_splits(run):
    report = merge(run, World(), fractions=(0.0, 0.0, 1.0))
    assert report.counts == {"train": 0, "valid": 0, "test": len(DONE)}


# ---- the same bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", ["posix", "mpiio", "hdf5"])
@pytest.mark.parametrize("shards", [1, 3])
def test_bytes_depend_on_neither_the_shards_nor_the_writer(zoo, tmp_path, expected, writer, shards):
    zoo.write_run(tmp_path / "run", DONE, N, shards=shards, max_rows=3)
    merge(tmp_path / "run", World(), writer=writer)
    assert zoo.hashes(tmp_path / "run") == expected


def test_bytes_do_not_depend_on_when(run, zoo, expected):
    script = (
        "from hpc_ds.store.merge import merge\nfrom hpc_ds.runtime.world import World\n"
        f"merge({str(run)!r}, World())"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "TZ": "Asia/Tokyo"})
    assert zoo.hashes(run) == expected


def test_a_second_merge_changes_nothing(run, zoo, expected):
    merge(run, World())
    before = {path: path.stat().st_mtime_ns for path in (run / "data").rglob("*.h5")}
    report = merge(run, World())
    assert not report.changed
    assert report.samples == len(DONE)
    assert {path: path.stat().st_mtime_ns for path in (run / "data").rglob("*.h5")} == before
    assert zoo.hashes(run) == expected


def test_kept_shards_that_are_merged_already_are_not_written_again(run, zoo, expected):
    merge(run, World(), keep_shards=True)
    assert not merge(run, World(), keep_shards=True).changed
    assert (run / "shards").exists()
    assert not merge(run, World()).changed
    assert not (run / "shards").exists()
    assert zoo.hashes(run) == expected


def test_a_kept_shard_with_another_result_is_merged(run, zoo):
    merge(run, World(), keep_shards=True)
    with ShardWriter(run, "other", zoo.layout) as writer:
        writer.journal.lost(Journals.read(run).done[5])
        writer.append(5, zoo.sample(1005), 0.1)
    assert merge(run, World()).changed
    assert find_sources(run).crc(5) == zoo.crc(1005)


@pytest.mark.parametrize("writer", ["posix", "mpiio", "hdf5"])
def test_a_set_without_axes_is_merged_grows_and_passes_the_check(series, tmp_path, writer):
    series.write_run(tmp_path / "once", range(N))
    merge(tmp_path / "once", World())
    run = tmp_path / "run"
    series.write_run(run, range(12), 12)
    merge(run, World(), writer=writer)
    series.write_run(run, range(12, N), N, start=1)
    assert merge(run, World(), writer=writer).damaged == ()
    assert series.hashes(run) == series.hashes(tmp_path / "once")
    assert [finding for finding in check(run) if finding.severity == "error"] == []
    with TrainingSet(run) as train:
        signals = [series.sample(index)["signal"] for index in train.design_index]
        assert np.array_equal(np.reshape(train.read("signal"), np.shape(signals)), signals)


@pytest.mark.parametrize("keep", [False, True])
def test_a_set_that_grows_is_the_set_that_was_large_at_once(zoo, tmp_path, expected, keep):
    run = tmp_path / "run"
    zoo.write_run(run, DONE[:12], 13)
    merge(run, World(), keep_shards=keep)
    zoo.write_run(run, DONE[12:], N, start=1)
    merge(run, World())
    assert zoo.hashes(run) == expected


def test_files_can_be_cut_anew_without_shards(run, zoo, expected):
    merge(run, World(), samples_per_file=4)
    assert merge(run, World()).changed
    assert zoo.hashes(run) == expected


def test_an_old_file_can_be_opened_while_it_is_replaced(run, zoo):
    merge(run, World(), samples_per_file=4)
    with TrainingSet(run) as train:
        view = train.read("vorticity", 2)
        merge(run, World())
        assert np.array_equal(view, zoo.sample(indices_of("train")[2])["vorticity"])


# ---- damage ------------------------------------------------------------------------------------------------


def test_damaged_samples_are_named_and_nothing_is_swapped(run, zoo, expected):
    for index in (5, 20):
        damage_shard_row(run, index)
    report = merge(run, World())
    assert report.damaged == (5, 20)
    assert not report.changed
    assert not (run / "data").exists()
    assert not (run / swap.PART).exists()
    for index in (5, 20):
        journals = Journals.read(run)
        with ShardWriter(run, f"again-{index}", zoo.layout) as writer:
            writer.journal.lost(journals.done[index])
            writer.append(index, zoo.sample(index), 0.1)
    assert merge(run, World()).damaged == ()
    assert zoo.hashes(run) == expected


def test_a_damaged_row_is_taken_from_the_older_set(zoo, run, expected):
    merge(run, World(), keep_shards=True, samples_per_file=4)
    damage_shard_row(run, 5)
    report = merge(run, World())
    assert report.changed and report.damaged == ()
    assert zoo.hashes(run) == expected


def test_an_older_row_of_another_result_does_not_stand_for_a_damaged_one(zoo, run):
    merge(run, World())
    with ShardWriter(run, "other", zoo.layout) as writer:
        writer.journal.lost(Journals.read(run).done[5])
        writer.append(5, zoo.sample(1005), 0.1)
    damage_shard_row(run, 5)
    assert merge(run, World()).damaged == (5,)


def test_a_data_file_that_is_broken_is_bad_input(run):
    merge(run, World())
    with h5py.File(next((run / "data" / "train").iterdir()), "r+") as file:
        del file["hpc_ds/moments"]
    with pytest.raises(InputError, match="has lost the moments of its samples"):
        merge(run, World(), samples_per_file=4)
    assert not (run / swap.PART).exists()


def test_an_error_without_a_name_keeps_its_traceback(run, monkeypatch):
    def stumble(*_args):
        raise LookupError("no such thing")

    monkeypatch.setattr("hpc_ds.store.copying._Block.fill", stumble)
    with pytest.raises(RuntimeError, match="LookupError: no such thing") as caught:
        merge(run, World())
    assert "in stumble" in caught.value.__notes__[0]
    assert not (run / swap.PART).exists()


def test_a_damaged_row_of_a_data_file_counts_no_longer(zoo, run, expected):
    merge(run, World())
    path = next((run / "data" / "train").iterdir())
    damage(path, well.targets(path, zoo.layout)["velocity"].offset + 12)
    victim = indices_of("train")[0]
    report = merge(run, World(), samples_per_file=4)
    assert report.damaged == (victim,)
    assert victim not in find_sources(run).indices
    with ShardWriter(run, "again", zoo.layout) as writer:
        writer.append(victim, zoo.sample(victim), 0.1)
    assert merge(run, World()).damaged == ()
    assert zoo.hashes(run) == expected
    assert victim in find_sources(run).rows


def test_a_sample_whose_shard_is_gone_does_not_count(run):
    entry = Journals.read(run).done[5]
    (run / "shards" / f"{entry.shard}.h5").unlink()
    assert 5 not in find_sources(run).indices


# ---- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data/notes.txt", "data/train/foreign.h5", "data/extra/a.h5"])
def test_what_is_not_ours_is_not_replaced(run, name):
    path = run / name
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="was not written by a merge"):
        merge(run, World())
    assert path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"writer": "pigeon"}, "writer 'pigeon' is not known; there are auto, posix, mpiio, hdf5"),
        ({"fractions": (1.0, 1.0, 1.0)}, "add up to 1"),
        ({"samples_per_file": 0}, "at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(run, options, message):
    with pytest.raises(InputError, match=message):
        merge(run, World(), **options)
    assert not (run / swap.PART).exists()


def test_a_folder_without_a_layout_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"layout\.json: no such file"):
        merge(tmp_path, World())


def test_nothing_done_is_nothing_merged(zoo, tmp_path):
    zoo.write_run(tmp_path / "run", [], 5, shards=0)
    report = merge(tmp_path / "run", World())
    assert report.samples == 0
    assert not report.changed


def test_parameters_that_the_design_lacks_are_named(run, zoo):
    from hpc_ds.store.design_file import write_design

    write_design(run, {"viscosity": np.ones(N)}, {})
    with pytest.raises(InputError, match="parameter 'scheme' of the layout is not in the design"):
        merge(run, World())


# ---- a disk that refuses -----------------------------------------------------------------------------------


def refuse(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "function"),
    [("os", "pwrite"), ("hpc_ds.store.well", "create"), ("hpc_ds.store.merge", "write_index")],
)
def test_a_full_disk_leaves_everything_as_it_was(run, zoo, expected, monkeypatch, module, function):
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[module], function, refuse)
        with pytest.raises(StorageError, match="No space left on device"):
            merge(run, World())
    assert not (run / swap.PART).exists()
    assert not (run / "data").exists()
    merge(run, World())
    assert zoo.hashes(run) == expected


@pytest.mark.parametrize("stuck", ["data.old", "shards"])
def test_what_cannot_be_removed_after_the_swap_is_left_for_the_next_time(
    zoo, tmp_path, expected, monkeypatch, stuck
):
    run = tmp_path / "run"
    zoo.write_run(run, DONE[:12], 13)
    merge(run, World())
    zoo.write_run(run, DONE[12:], N, start=1)
    unlink = os.unlink

    def busy(path, *args, dir_fd=None, **kwargs):
        place = path if dir_fd is None else os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        if stuck in str(place):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        unlink(path, *args, dir_fd=dir_fd, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", busy)
        assert merge(run, World()).changed
        recover(run)
        assert (run / stuck).exists()
    assert zoo.hashes(run) == expected
    assert not merge(run, World()).changed
    assert not (run / stuck).exists()
    assert zoo.hashes(run) == expected


def test_too_little_room_is_said_before_anything_is_written(run, monkeypatch):
    monkeypatch.setattr("hpc_ds.store.well.row_bytes", lambda layout: 2**50)
    with pytest.raises(StorageError, match=r"GiB are needed and .* GiB are free"):
        merge(run, World())
    assert not (run / swap.PART).exists()


@pytest.mark.parametrize("writer", ["posix", "mpiio", "hdf5"])
def test_a_really_full_disk_is_one_line(zoo, tmp_path, needs_root, writer):
    large = type(zoo)(nx=64, ny=32)
    disk = tmp_path / "disk"
    disk.mkdir()
    large.write_run(tmp_path / "run", range(20))
    wanted = well.row_bytes(large.layout) * 20
    options = f"size={shard_bytes(tmp_path / 'run') + int(1.5 * wanted)}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=False).returncode:
        pytest.skip("needs a mount")
    try:
        shutil.copytree(tmp_path / "run", disk / "run")
        rest = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "ballast").write_bytes(bytes(rest - wanted // 2))
        script = (
            "import os\nfrom hpc_ds.store import merge_plan\nfrom hpc_ds.store.merge import merge\n"
            "from hpc_ds.runtime.world import World\nmerge_plan._check_space = lambda place, wanted: None\n"
            f"merge({str(disk / 'run')!r}, World(), writer={writer!r})"
        )
        result = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 1
        assert "StorageError" in result.stderr.splitlines()[-1]
        assert "No space left" in result.stderr.splitlines()[-1]
        (disk / "ballast").unlink()
        assert not (disk / "run" / swap.PART).exists()
        merge(disk / "run", World(), writer=writer)
        merge(tmp_path / "run", World())
        assert large.hashes(disk / "run") == large.hashes(tmp_path / "run")
    finally:
        subprocess.run(["umount", disk], check=True)


def shard_bytes(run):
    return sum(path.stat().st_blocks * 512 for path in run.rglob("*") if path.is_file())


# ---- a kill at any step ------------------------------------------------------------------------------------

# What a merge does to the disk. Each call is a step; the process ends before or after the k-th.
STEPS = (
    (os, "rename"),
    (os, "replace"),
    (os, "fsync"),
    (os, "pwrite"),
    (os, "unlink"),
    (os, "rmdir"),
    (well, "create"),
)


def merge_and_die(run, step):
    """Merge in a child that ends at the given step without a word; return whether it got so far."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    try:
        left = [step]

        def mortal(function):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return function(*args, **kwargs)

            return call

        for module, name in STEPS:
            setattr(module, name, mortal(getattr(module, name)))
        merge(run, World())
        os._exit(0)
    finally:
        os._exit(1)


def survives_all_kills(prepare, check, tmp_path):
    step = 0
    while True:
        run = tmp_path / f"run{step}"
        prepare(run)
        killed = merge_and_die(run, step)
        check(run)
        shutil.rmtree(run)
        if not killed:
            return step
        step += 1


@pytest.mark.slow
def test_a_first_merge_that_is_killed_anywhere_is_made_good_by_the_next(zoo, tmp_path, expected):
    zoo.write_run(tmp_path / "origin", DONE, N)

    def check(run):
        recover(run)
        assert find_sources(run).indices.tolist() == DONE
        merge(run, World())
        assert zoo.hashes(run) == expected
        assert not [path for path in run.iterdir() if path.name.startswith("data.")]

    steps = survives_all_kills(lambda run: shutil.copytree(tmp_path / "origin", run), check, tmp_path)
    assert steps > 40


@pytest.mark.slow
def test_a_merge_of_a_grown_set_that_is_killed_anywhere_loses_no_sample(zoo, tmp_path, expected):
    origin = tmp_path / "origin"
    zoo.write_run(origin, DONE[:12], 13)
    merge(origin, World())
    zoo.write_run(origin, DONE[12:], N, start=1)

    def check(run):
        recover(run)
        assert find_sources(run).indices.tolist() == DONE
        found = {name: len(TrainingSet(run, name)) for name in SPLITS}  # the old set or the new one, whole
        assert found in (
            {name: len(indices_of(name, DONE[:12])) for name in SPLITS},
            {name: len(indices_of(name)) for name in SPLITS},
        )
        merge(run, World())
        assert zoo.hashes(run) == expected

    steps = survives_all_kills(lambda run: shutil.copytree(origin, run), check, tmp_path)
    assert steps > 40


@pytest.mark.slow
def test_recovery_can_be_killed_too(zoo, tmp_path, expected):
    origin = tmp_path / "origin"
    zoo.write_run(origin, DONE, N)
    merge(origin, World(), keep_shards=True)
    os.rename(origin / "data", origin / "data.next")
    os.rename(origin / "stats.yaml", origin / "data.next" / "stats.yaml")
    shutil.copytree(origin / "data.next", origin / "data")

    def check(run):
        recover(run)
        assert find_sources(run).rows.keys() == set(DONE)
        assert zoo.hashes(run) == expected

    assert survives_all_kills(lambda run: shutil.copytree(origin, run), check, tmp_path) > 10


def test_moments_in_the_files_are_those_of_the_samples(run, zoo):
    merge(run, World())
    moments = Moments(zoo.layout)
    with h5py.File(run / "data" / "test" / "zoo_test_0000.h5") as file:
        expected = [moments.of_sample(zoo.sample(index)) for index in indices_of("test")]
        assert np.array_equal(file["hpc_ds/moments"], expected)
