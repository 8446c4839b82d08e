"""Logs stay short while somebody writes, and their end can be read."""

import pytest

from hpc_ds.simulate import logs


@pytest.fixture
def log(tmp_path):
    return tmp_path / "one.log"


def test_tail_begins_where_the_sample_began(log):
    log.write_text("earlier\nlater\n")
    assert logs.tail(log, len("earlier\n")) == "later"


def test_tail_is_short(log):
    log.write_text("x" * 100_000)
    assert len(logs.tail(log)) == 4096


def test_tail_of_a_log_that_was_cut_is_its_end(log):
    log.write_text("what is left")
    assert logs.tail(log, 10**7) == "what is left"


def test_no_log_has_no_tail(log):
    assert logs.tail(log) == ""


def test_a_short_log_is_left_alone(log):
    log.write_text("x" * logs.LARGEST)
    logs.cut(log)
    assert log.stat().st_size == logs.LARGEST


def test_a_long_log_keeps_its_end_and_can_be_written_on(log):
    with open(log, "ab", buffering=0) as writer:
        writer.write(b"x" * logs.LARGEST + b"the end\n")
        logs.cut(log)
        writer.write(b"and more\n")
    assert log.stat().st_size < 100_000
    assert logs.tail(log).endswith("the end\nand more")
    assert b"\0" not in log.read_bytes()


@pytest.mark.parametrize(("text", "left"), [("", False), ("words", True)])
def test_only_an_empty_log_is_removed(text, left, log):
    log.write_text(text)
    logs.remove_if_empty(log)
    assert log.exists() == left
