"""Journals keep every whole line, whoever was killed while writing, and say the same in any order of reading."""

import itertools
import os
import resource
import shutil
import zlib

import pytest

from hpc_ds.runtime.errors import StorageError
from hpc_ds.store.journal import Entry, Journal, Journals


def entry(index, shard="a.000", row=0, crc=7):
    return Entry(index, shard, row, crc, 0.02, 1.7e9 + 0.1)


def lines_of(folder, name):
    return (folder / "journal" / f"{name}.jsonl").read_bytes().splitlines(keepends=True)


def append(folder, name, data):
    with open(folder / "journal" / f"{name}.jsonl", "ab") as file:
        file.write(data)


def test_done_and_failed_samples_are_read_back(tmp_path):
    journal = Journal(tmp_path, "a")
    journal.done(entry(3))
    journal.failed(4, "raised", "no\n convergence", 2)
    journal.closed()
    journals = Journals.read(tmp_path)
    assert journals.done == {3: entry(3)}
    failure = journals.failed[4]
    assert (failure.kind, failure.message, failure.attempts) == ("raised", "no convergence", 2)
    assert journals.damaged == 0


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("\N{GRINNING FACE}" * 400,) * 2,
        ("\x01" * 600, "\x01" * 500),
        ("\udc80" * 600, ("\\udc80" * 600)[:500]),
    ],
)
def test_messages_of_any_characters_fit_into_a_line(tmp_path, message, kept):
    Journal(tmp_path, "a").failed(4, "raised", message, 2)
    journals = Journals.read(tmp_path)
    assert journals.failed[4].message == kept
    assert journals.damaged == 0


def test_a_journal_without_lines_leaves_no_file(tmp_path):
    journal = Journal(tmp_path, "a")
    journal.closed()
    journal.sync()
    journal.close()
    assert list(tmp_path.iterdir()) == []
    assert Journals.read(tmp_path).done == {}


def test_one_process_can_be_read_alone(tmp_path):
    Journal(tmp_path, "a").done(entry(1))
    Journal(tmp_path, "b").done(entry(2))
    assert Journals.read_one(tmp_path, "b").done == {2: entry(2)}
    assert Journals.read_one(tmp_path, "c").done == {}


def test_refresh_reads_only_what_was_added(tmp_path, monkeypatch):
    first, second = Journal(tmp_path, "a"), Journal(tmp_path, "b")
    first.done(entry(1))
    journals = Journals.read(tmp_path)
    opened = []
    read = Journals._read
    monkeypatch.setattr(Journals, "_read", lambda self, name: opened.append(name) or read(self, name))
    assert journals.refresh() == 0 and opened == []
    second.done(entry(2))
    second.done(entry(5))
    assert journals.refresh() == 2 and opened == ["b.jsonl"]
    assert sorted(journals.done) == [1, 2, 5]


def test_a_torn_last_line_waits_for_its_end(tmp_path):
    journal = Journal(tmp_path, "a")
    journal.done(entry(1))
    journal.done(entry(2))
    whole = b"".join(lines_of(tmp_path, "a"))
    path = tmp_path / "journal" / "a.jsonl"
    cut = len(whole) - 7
    path.write_bytes(whole[:cut])
    journals = Journals.read(tmp_path)
    assert (sorted(journals.done), journals.damaged) == ([1], 0)
    append(tmp_path, "a", whole[cut:])
    assert journals.refresh() == 1
    assert (sorted(journals.done), journals.damaged) == ([1, 2], 0)


def test_any_wrong_byte_makes_a_line_count_for_nothing(tmp_path):
    journal = Journal(tmp_path, "a")
    journal.done(entry(1))
    journal.done(entry(2))
    first, second = lines_of(tmp_path, "a")
    path = tmp_path / "journal" / "a.jsonl"
    for place in range(len(first) - 1):
        damaged = bytearray(first)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged) + second)
        journals = Journals.read(tmp_path)
        assert sorted(journals.done) == [2]
        # A byte that turned into the end of a line makes two bad lines of one.
        assert journals.damaged >= 1


def test_a_line_of_another_version_is_passed_over(tmp_path):
    Journal(tmp_path, "a").done(entry(1))
    text = b'{"event":"paused"}'
    append(tmp_path, "a", b"%08x %s\n" % (zlib.crc32(text), text))
    journals = Journals.read(tmp_path)
    assert (sorted(journals.done), journals.damaged) == ([1], 1)


def test_a_long_message_is_cut_so_that_the_line_stays_short(tmp_path):
    Journal(tmp_path, "a").failed(1, "raised", "ü" * 100_000, 1)
    (line,) = lines_of(tmp_path, "a")
    assert len(line) < 4096
    assert Journals.read(tmp_path).failed[1].message == "ü" * 500


# ---- what several processes say of one sample ---------------------------------------------------------------


def read_in_every_order(folder, names):
    """Read the journals in all orders, and return what they all say."""
    answers = []
    for order in itertools.permutations(names):
        journals = Journals(folder)
        for name in order:
            journals._read(f"{name}.jsonl")
        answers.append((journals.done, journals.failed, journals.contradictions))
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def test_of_a_sample_computed_twice_the_same_row_counts_whoever_is_read_first(tmp_path):
    for name in ("c", "a", "b"):
        Journal(tmp_path, name).done(entry(1, f"{name}.000", row=5))
    done, _, contradictions = read_in_every_order(tmp_path, "abc")
    assert done == {1: entry(1, "a.000", row=5)}
    assert contradictions == set()


def test_different_results_of_one_sample_are_a_contradiction(tmp_path):
    Journal(tmp_path, "a").done(entry(1, "a.000", crc=1))
    Journal(tmp_path, "b").done(entry(1, "b.000", crc=2))
    assert read_in_every_order(tmp_path, "ab")[2] == {1}


def test_a_done_sample_is_not_failed(tmp_path):
    Journal(tmp_path, "a").failed(1, "killed", "", 5)
    Journal(tmp_path, "b").done(entry(1))
    done, failed, _ = read_in_every_order(tmp_path, "ab")
    assert (sorted(done), failed) == ([1], {})


def test_a_withdrawn_failure_is_open_until_it_fails_again(tmp_path):
    worker, client, later = (Journal(tmp_path, name) for name in ("worker", "client", "later"))
    worker.failed(1, "raised", "first", 3)
    client.again(Journals.read(tmp_path).failed[1])
    assert read_in_every_order(tmp_path, ("worker", "client"))[1] == {}
    later.failed(1, "raised", "second", 3)
    failed = read_in_every_order(tmp_path, ("worker", "client", "later"))[1]
    assert failed[1].message == "second"


def test_withdrawing_takes_back_all_failures_of_a_sample(tmp_path):
    for name in ("a", "b"):
        Journal(tmp_path, name).failed(1, "killed", name, 5)
    Journal(tmp_path, "client").again(Journals.read(tmp_path).failed[1])
    assert read_in_every_order(tmp_path, ("a", "b", "client"))[1] == {}


def test_a_lost_row_is_not_done_until_it_is_computed_again(tmp_path):
    Journal(tmp_path, "a").done(entry(1, "a.000", row=4))
    Journal(tmp_path, "b").lost(entry(1, "a.000", row=4))
    assert read_in_every_order(tmp_path, "ab")[0] == {}
    Journal(tmp_path, "c").done(entry(1, "c.000", row=0))
    assert read_in_every_order(tmp_path, "abc")[0] == {1: entry(1, "c.000", row=0)}


def test_a_lost_row_leaves_the_other_copies_of_the_sample(tmp_path):
    for name in "abc":
        Journal(tmp_path, name).done(entry(1, f"{name}.000"))
    Journal(tmp_path, "d").lost(entry(1, "a.000"))
    assert read_in_every_order(tmp_path, "abcd")[0] == {1: entry(1, "b.000")}


# ---- disks that refuse --------------------------------------------------------------------------------------


def test_a_line_cut_by_a_full_disk_does_not_spoil_the_next(tmp_path):
    journal = Journal(tmp_path, "a")
    journal.done(entry(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(journal.path) + 30, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"a\.jsonl: cannot be written"):
            journal.done(entry(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.done(entry(3))
    journals = Journals.read(tmp_path)
    assert (sorted(journals.done), journals.damaged) == ([1, 3], 1)


def test_a_vanished_folder_is_told_in_one_line(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(StorageError, match="No such file or directory"):
        Journal(folder, "a").done(entry(1))
    folder.mkdir()
    journal = Journal(folder, "a")
    journal.done(entry(1))
    shutil.rmtree(folder)
    with pytest.raises(StorageError, match="the file was removed while it was written"):
        journal.done(entry(2))


def test_no_two_processes_write_one_journal(tmp_path):
    Journal(tmp_path, "a").done(entry(1))
    with pytest.raises(StorageError, match="File exists"):
        Journal(tmp_path, "a").done(entry(2))
