"""What was under way when a process ended is known afterwards, and only that."""

import subprocess
import sys

from hpc_ds.simulate.started import Started, deaths, forget, tidy


def killed(folder, name, *indices):
    """Say what a process had under way that was then killed."""
    own = Started(folder, name)
    for index in indices:
        own.say(index)


def test_the_last_sample_of_each_process_that_did_not_end_in_order_is_remembered(tmp_path):
    killed(tmp_path, "first-0", 3, 12345678, 7)
    killed(tmp_path, "first-1", 8)
    killed(tmp_path, "second-0", 7)
    ended = Started(tmp_path, "second-1")
    ended.say(9)
    ended.close()
    assert deaths(tmp_path) == {7: (2, ""), 8: (1, "")}


def test_a_sample_can_be_forgotten(tmp_path):
    killed(tmp_path, "first-0", 7)
    killed(tmp_path, "first-1", 8)
    forget(tmp_path, 7)
    forget(tmp_path, 6)
    assert deaths(tmp_path) == {8: (1, "")}


def test_a_folder_without_records_is_removed_and_no_other(tmp_path):
    assert deaths(tmp_path) == {}
    killed(tmp_path, "first-0", 7)
    tidy(tmp_path)
    assert deaths(tmp_path) == {7: (1, "")}
    forget(tmp_path, 7)
    tidy(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_record_says_nothing(tmp_path):
    killed(tmp_path, "first-0", 7)
    (tmp_path / "started" / "first-0").write_text("")
    assert deaths(tmp_path) == {}


def test_a_process_that_lets_no_thread_run_is_ended_and_what_it_did_is_known(tmp_path):
    code = (
        "import ctypes, pathlib, sys\n"
        "from hpc_ds.simulate.started import Started\n"
        "own = Started(pathlib.Path(sys.argv[1]), 'first-0')\n"
        "for index in (7, 8):\n"
        "    own.say(index)\n"
        "    own.end_process_after(0.2)\n"
        "    if index == 7: own.go_on()\n"
        "def holds_the_interpreter():\n"
        "    ctypes.PyDLL(None).sleep(1000)\n"
        "holds_the_interpreter()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    ((index, (count, stack)),) = deaths(tmp_path).items()
    assert (index, count) == (8, 1) and "holds_the_interpreter" in stack
