"""What a result was made with can be read beside it."""

import subprocess
import sys

import pytest

from hpc_ds.runtime import provenance


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    try:
        git(folder, "init", "-q")
    except FileNotFoundError:
        pytest.skip("needs git")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def test_revision_is_the_checked_out_commit(checkout):
    assert provenance.git_revision(checkout) == git(checkout, "rev-parse", "HEAD")


def test_revision_of_packed_references_and_detached_head(checkout):
    git(checkout, "pack-refs", "--all")
    assert provenance.git_revision(checkout) == git(checkout, "rev-parse", "HEAD")
    git(checkout, "checkout", "-q", "--detach")
    assert provenance.git_revision(checkout) == git(checkout, "rev-parse", "HEAD")


def test_revision_of_a_worktree(checkout, tmp_path):
    git(checkout, "worktree", "add", "-q", str(tmp_path / "beside"))
    assert provenance.git_revision(tmp_path / "beside") == git(checkout, "rev-parse", "HEAD")


def test_no_checkout_or_no_commit_has_no_revision(tmp_path):
    assert provenance.git_revision(tmp_path) is None
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    assert provenance.git_revision(tmp_path) is None


def test_versions_are_told_without_importing(repository, plain_environment):
    code = (
        "import sys; from hpc_ds.runtime import provenance; v = provenance.versions(); "
        "assert v['numpy'] and v['python'] and set(v) >= {'hpc_ds', 'scipy', 'numba', 'mpi4py', 'h5py'}; "
        "assert not {'numpy', 'mpi4py', 'numba', 'scipy', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, env=plain_environment, check=True)


def test_sessions_are_appended_and_the_first_stays_on_top():
    first = provenance.session(1, ["hpc-ds", "infer"], 5)
    later = provenance.session(4, ["hpc-ds", "infer", "--time", "5m"], 5)
    whole = provenance.extended(provenance.extended(None, "infer", first), "infer", later)
    assert (whole["ranks"], whole["kind"], whole["format"]) == (1, "infer", 1)
    assert [session["ranks"] for session in whole["sessions"]] == [1, 4]


def test_damaged_provenance_is_told_and_begun_anew(tmp_path, capsys):
    path = tmp_path / "provenance.json"
    path.write_text("{")
    assert provenance.read(path) is None and "damaged" in capsys.readouterr().err
