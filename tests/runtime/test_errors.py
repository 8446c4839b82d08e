"""Errors that a user sees are one line, and they survive the way between ranks."""

import errno
import pickle

from hpc_ds.runtime.errors import InputError, StorageError


def test_storage_error_names_file_cause_and_cure_in_one_line():
    text = str(StorageError(errno.ENOSPC, "No space left on device", "runs/a/state.json"))
    assert "runs/a/state.json" in text and "No space left on device" in text and "\n" not in text


def test_errors_can_be_pickled():
    storage = pickle.loads(pickle.dumps(StorageError(errno.ENOSPC, "full", "a.json")))
    assert (type(storage), storage.errno, storage.filename) == (StorageError, errno.ENOSPC, "a.json")
    assert str(pickle.loads(pickle.dumps(InputError("data.csv, line 3: text")))) == "data.csv, line 3: text"
