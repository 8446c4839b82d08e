"""A disk of one mebibyte, for tests of what happens when it is full."""

import subprocess

import pytest


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
