"""Damaged snapshots, missing draws and full disks are told in a line, and what can be saved is saved."""

import resource
import subprocess

import pytest

from hpc_ds.runtime.errors import InputError

# ---- damaged ----------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(runs, models, tmp_path):
    """Return the folder of a run that was stopped while it sampled."""
    folder = tmp_path / "run"
    while not list(folder.glob("draws/*")):
        assert runs.sample(models, folder, looks=2) == "stopped"
    assert runs.sample(models, folder, looks=2) == "stopped"
    return folder


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def test_damaged_snapshot_is_said_and_the_older_one_used(runs, models, stopped, reference):
    _, newer = sorted(stopped.glob("snapshots/*"), key=lambda path: int(path.stem.partition("-")[2]))
    flip_a_byte(newer)
    said = []
    assert runs.sample(models, stopped, said=said) == "done"
    assert len(said) == 1 and said[0].startswith(f"{newer}: damaged")
    runs.assert_same(stopped, reference)


def test_without_a_sound_snapshot_the_run_begins_anew(runs, models, stopped, reference):
    for path in stopped.glob("snapshots/*"):
        flip_a_byte(path)
    said = []
    assert runs.sample(models, stopped, said=said) == "done"
    assert len(said) == 3 and "no sound snapshot is left" in said[2]
    runs.assert_same(stopped, reference)


def test_missing_draws_are_bad_input(runs, models, stopped):
    sorted(stopped.glob("draws/*"))[0].unlink()
    with pytest.raises(InputError, match=r"draws from scan 0 on are missing, the snapshot counts \d+"):
        runs.sample(models, stopped)


# ---- full -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [4_000, 40_000], ids=["first snapshot", "posterior"])
def test_limit_on_file_sizes_is_told_and_overcome(
    runs, study, repository, plain_environment, start, reference, tmp_path, limit
):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = tmp_path / "run"
    words = list(map(str, runs.command(study, out)))
    result = subprocess.run(
        [*runs.HPC_DS, *words],
        cwd=repository,
        env=plain_environment,
        preexec_fn=limited,
        capture_output=True,
        text=True,
        timeout=150,
    )
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    assert result.returncode == 1 and len(errors) == 1 and "Traceback" not in result.stderr
    assert "cannot be written (File too large)" in errors[0] and "same command again" in errors[0]
    assert start(runs.command(study, out)).wait()[0] == 0
    runs.assert_same(out, reference)


@pytest.fixture
def small_disk(needs_root, tmp_path):
    """Mount a tmpfs of 200 KiB; `grow()` makes it large."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    if not mount("size=200k"):
        pytest.skip("needs the right to mount a tmpfs")
    folder_and_more = folder, lambda: mount("remount,size=64m")
    yield folder_and_more
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_full_disk_is_told_and_overcome(runs, study, start, reference, small_disk, ranks):
    disk, grow = small_disk
    out = disk / "run"
    code, said = start(runs.command(study, out), ranks).wait()
    errors = [line for line in said.splitlines() if line.startswith("hpc-ds: error")]
    assert code == 1 and len(errors) == 1 and "Traceback" not in said
    assert "cannot be written (No space left on device)" in errors[0]
    assert runs.snapshots_written(out) > 0
    assert grow()
    assert start(runs.command(study, out), ranks).wait()[0] == 0
    runs.assert_same(out, reference)
