"""A failed sample can be looked at: everything about it lies in one file."""

import numpy as np
import pytest

from hpc_ds.runtime.errors import StorageError
from hpc_ds.store.quarantine import FailedSample, read_failures, remove_failure, write_failure


def failed(index, **more):
    return FailedSample(index, {"a": 0.1, "n": 3, "scheme": "upwind"}, "raised", "division by zero", **more)


def test_failures_are_read_back_in_the_order_of_the_design(tmp_path):
    late = failed(1_000_000, attempts=3, traceback="Traceback\n  line", log="step 1\n")
    write_failure(tmp_path, late)
    path = write_failure(tmp_path, failed(7))
    assert path == tmp_path / "failed" / "000007.json"
    assert read_failures(tmp_path)[1] == late
    assert [sample.index for sample in read_failures(tmp_path)] == [7, 1_000_000]
    assert read_failures(tmp_path)[0].host and read_failures(tmp_path)[0].time > 1.7e9


def test_parameters_may_be_numpy_numbers(tmp_path):
    write_failure(tmp_path, FailedSample(0, {"a": np.float64(0.1), "n": np.int64(3)}, "timeout", "60 s"))
    assert read_failures(tmp_path)[0].parameters == {"a": 0.1, "n": 3}


def test_a_second_failure_takes_the_place_of_the_first(tmp_path):
    write_failure(tmp_path, failed(7))
    write_failure(tmp_path, failed(7, attempts=5))
    assert [sample.attempts for sample in read_failures(tmp_path)] == [5]


def test_removing_is_quiet_where_there_is_nothing(tmp_path):
    remove_failure(tmp_path, 7)
    write_failure(tmp_path, failed(7))
    remove_failure(tmp_path, 7)
    assert read_failures(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"index": 1}', b"\xff"])
def test_damaged_files_are_passed_over(tmp_path, content):
    write_failure(tmp_path, failed(7)).with_name("000008.json").write_bytes(content)
    assert [sample.index for sample in read_failures(tmp_path)] == [7]


def test_what_cannot_be_encoded_is_written_as_escapes(tmp_path):
    message = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_failure(
        tmp_path, FailedSample(7, {"file": message, message: [message]}, "raised", message, log=message)
    )
    found = read_failures(tmp_path)[0]
    assert found.message == found.log == found.parameters["file"] == "caf\\udce9"
    assert found.parameters["caf\\udce9"] == ["caf\\udce9"]


def test_no_folder_means_no_failures_and_cannot_take_any(tmp_path):
    assert read_failures(tmp_path / "run") == []
    with pytest.raises(StorageError, match="failed: cannot be written"):
        write_failure(tmp_path / "run", failed(7))
