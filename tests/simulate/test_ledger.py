"""What a run folder knows of its samples, when shards vanish, rows are damaged, and failures are mended."""

import numpy as np
import pytest

from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.orders import Failure
from hpc_ds.store.design_file import write_design
from hpc_ds.store.layout import Axis, Field, Layout, axis
from hpc_ds.store.quarantine import failure_path
from hpc_ds.store.shard import ShardWriter

LAYOUT = Layout("line", (axis("x", 0.0, 1.0, 4),), Axis("time", np.array([0.0, 1.0])), (Field("u"),))


@pytest.fixture
def folder(tmp_path):
    write_design(tmp_path, {"a": np.arange(6.0)})
    return tmp_path


def record(folder, name, *indices):
    writer = ShardWriter(folder, name, LAYOUT)
    for index in indices:
        writer.append(index, {"u": np.full((2, 4), index, np.float32)}, 1.0, 0.0)
    writer.close()


def test_a_sample_that_stood_in_two_shards_is_withdrawn_when_both_are_gone(folder):
    record(folder, "first", 0, 1)
    record(folder, "second", 0, 1, 2)
    record(folder, "third", 2, 3)
    for path in (folder / "shards").glob("[fs]*.h5"):
        path.unlink()
    ledger = FolderLedger(folder, "next")
    assert ledger.withdraw_gone() == 2
    assert ledger.done == {2, 3}, "what stands in the third still counts"
    assert all(entry.shard.startswith("third") for entry in ledger.entries.values())
    assert ledger.withdraw_gone() == 0
    ledger.close()
    assert FolderLedger(folder, "later").done == {2, 3}


def test_a_damaged_sample_is_lost_in_all_its_rows(folder):
    record(folder, "first", 0, 1)
    record(folder, "second", 0)
    ledger = FolderLedger(folder, "next")
    ledger.lose([0])
    assert ledger.done == {1} == ledger.refresh()
    ledger.close()


def test_records_of_failures_go_when_the_sample_is_done(folder):
    ledger = FolderLedger(folder, "next")
    for index in (0, 1):
        ledger.set_aside(Failure(index, "killed", "its workers died"))
    record(folder, "late", 1)
    ledger.refresh()
    assert ledger.tidy() == 1
    assert failure_path(folder, 0).exists() and not failure_path(folder, 1).exists()
    assert ledger.tidy() == 0
    ledger.close()
