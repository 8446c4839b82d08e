"""A file is the old one or the new one, whatever happens in between."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime import atomic
from hpc_ds.runtime.errors import StorageError

KILLED_BEFORE_RENAME = """
import os, signal, sys
from hpc_ds.runtime import atomic
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_text(sys.argv[1], "new")
"""

FULL_DISK = """
import errno, resource, sys
from hpc_ds.runtime import atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    atomic.write_bytes(sys.argv[1], b"n" * 100_000)
except OSError as error:
    print(type(error).__name__, errno.errorcode[error.errno], error, sep="|")
"""

NO_PERMISSION = """
import sys
from hpc_ds.runtime import atomic
try:
    atomic.write_text(sys.argv[1], "new")
except OSError as error:
    print(error)
"""


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    return path


def names(folder):
    return sorted(os.listdir(folder))


def test_written_is_read(tmp_path):
    atomic.write_bytes(tmp_path / "b", b"\x00\xff")
    atomic.write_text(tmp_path / "t", "σ = 0.1\n")
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert (tmp_path / "t").read_text(encoding="utf-8") == "σ = 0.1\n"
    assert names(tmp_path) == ["b", "t"]


def test_json_speaks_numpy_and_paths_and_has_no_nan(tmp_path):
    value = {
        "a": np.float64(0.1),
        "b": np.arange(2),
        "p": Path("x/y"),
        1: (np.nan, -np.inf, True, None),
        "s": {2, 1},
    }
    atomic.write_json(tmp_path / "j", value)
    assert json.loads((tmp_path / "j").read_text()) == {
        "a": 0.1,
        "b": [0, 1],
        "p": "x/y",
        "1": [None, None, True, None],
        "s": [1, 2],
    }


def test_json_refuses_what_it_cannot_express_before_touching_the_file(old):
    with pytest.raises(TypeError, match="object"):
        atomic.write_json(old, {"a": object()})
    assert old.read_text() == "old" and names(old.parent) == ["file"]


def test_an_exception_while_writing_keeps_the_old_file(old):
    with pytest.raises(KeyError), atomic.replacing(old) as file:
        file.write(b"half")
        raise KeyError
    assert old.read_text() == "old" and names(old.parent) == ["file"]


def test_new_content_shows_only_when_complete(old):
    with atomic.replacing(old) as file:
        file.write(b"new" * 10_000)
        file.flush()
        assert old.read_text() == "old"
    assert old.read_text() == "new" * 10_000


def test_kill_between_writing_and_renaming_keeps_the_old_file(old, repository, plain_environment):
    child = subprocess.run(
        python(KILLED_BEFORE_RENAME, old), cwd=repository, env=plain_environment, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert old.read_text() == "old" and len(names(old.parent)) == 2
    atomic.remove_leftovers(old.parent)
    assert names(old.parent) == ["file"]


def test_full_disk_keeps_the_old_file_and_leaves_nothing(old, repository, plain_environment):
    command = python(FULL_DISK, old)
    options = {"cwd": repository, "env": plain_environment, "capture_output": True, "text": True}
    kind, code, text = subprocess.run(command, check=True, **options).stdout.split("|")
    assert (kind, code) == ("StorageError", "EFBIG") and str(old) in text
    assert old.read_text() == "old" and names(old.parent) == ["file"]


def test_no_space_on_a_small_disk_keeps_the_old_file(small_disk):
    path = small_disk / "file"
    atomic.write_text(path, "old")
    with pytest.raises(StorageError) as caught:
        atomic.write_bytes(path, b"n" * 2**21)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old" and names(small_disk) == ["file"]


def test_no_permission_is_told_with_the_file(old, unprivileged, repository):
    old.parent.chmod(0o555)
    result = unprivileged(python(NO_PERMISSION, old), cwd=repository)
    old.parent.chmod(0o755)
    assert str(old) in result.stdout and "Permission denied" in result.stdout
    assert old.read_text() == "old" and names(old.parent) == ["file"]


def test_a_file_system_that_cannot_sync_directories_is_no_error(old, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.write_text(old, "new")
    assert old.read_text() == "new"
