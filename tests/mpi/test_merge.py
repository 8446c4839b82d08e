"""The merged set is the same, byte for byte, on any number of ranks, written in any way."""

import errno
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.world import World, get_world
from hpc_ds.store import swap
from hpc_ds.store.design_file import write_design
from hpc_ds.store.journal import Journals
from hpc_ds.store.layout import Axis, Boundary, Column, Field, Layout, axis
from hpc_ds.store.merge import merge
from hpc_ds.store.shard import ShardWriter

pytestmark = pytest.mark.mpi

N = 23
WRITERS = ["posix", "mpiio", "hdf5"]
LAYOUT = Layout(
    "ranks",
    (axis("x", 0.0, 1.0, 16, endpoint=False), axis("y", 0.0, 1.0, 8)),
    Axis("time", np.linspace(0.0, 1.0, 3)),
    (
        Field("u"),
        Field("v", 1),
        Field("w", 2),
        Field("bed", dims=("x",), time_varying=False),
        Field("e", dims=()),
        Field("score", dims=(), time_varying=False),
    ),
    (Boundary("PERIODIC", ("x",)), Boundary("WALL", ("y",))),
    (Column("a"),),
)


@pytest.fixture
def world():
    return get_world()


@pytest.fixture
def folder(world, tmp_path_factory):
    """A folder that all ranks see."""
    return Path(world.bcast(str(tmp_path_factory.mktemp("merge")) if world.is_root else ""))


def write_run(run, indices, name, shards=3):
    run.mkdir(exist_ok=True)
    write_json(run / "layout.json", LAYOUT.to_dict())
    write_design(run, {"a": np.arange(N) / 7.0}, {})
    for number in range(shards):
        with ShardWriter(run, f"{name}-{number}", LAYOUT) as writer:
            for index in indices[number::shards]:
                rng = np.random.default_rng(index)
                fields = {
                    item.name: rng.normal(size=LAYOUT.shape(item.name)).astype(np.float32)
                    for item in LAYOUT.fields
                }
                writer.append(index, fields, 0.1)


def hashes(run):
    paths = [*sorted((run / "data").rglob("*.h5")), run / "stats.yaml"]
    return {str(path.relative_to(run)): sha256(path.read_bytes()).hexdigest() for path in paths}


def merged_serially(run, **options):
    write_run(run, range(N), "serial", shards=1)
    merge(run, World(), **options)
    return hashes(run)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("per_file", [None, 2])
def test_the_bytes_are_those_of_a_serial_merge(world, folder, writer, per_file):
    expected = world.root_first(lambda: merged_serially(folder / "serial", samples_per_file=per_file))
    world.root_first(write_run, folder / "run", range(N), "run")
    report = merge(folder / "run", world, writer=writer, samples_per_file=per_file)
    assert report.samples == N
    assert report.writer == writer or world.size == 1
    assert world.root_first(hashes, folder / "run") == expected
    assert world.allgather(report) == [report] * world.size


def test_a_set_grows_on_other_ranks(world, folder):
    expected = world.root_first(lambda: merged_serially(folder / "serial"))
    world.root_first(write_run, folder / "run", range(9), "first")
    merge(folder / "run", world, writer="mpiio")
    world.root_first(write_run, folder / "run", range(9, N), "second")
    merge(folder / "run", world)
    assert world.root_first(hashes, folder / "run") == expected


def test_more_ranks_than_samples(world, folder):
    world.root_first(write_run, folder / "run", range(2), "few", 1)
    assert merge(folder / "run", world).samples == 2


def test_every_rank_hears_of_damaged_samples(world, folder):
    def prepare():
        write_run(folder / "run", range(N), "run")
        for index in (0, N - 1):
            entry = Journals.read(folder / "run").done[index]
            with ShardWriter(folder / "run", f"wrong-{index}", LAYOUT) as writer:
                writer.journal.lost(entry)
                writer.journal.done(entry._replace(crc=entry.crc ^ 1, row=entry.row + 1000))

    world.root_first(prepare)
    report = merge(folder / "run", world)
    assert report.damaged == (0, N - 1)
    assert not world.root_first((folder / "run" / "data").exists)


@pytest.mark.parametrize("writer", WRITERS)
def test_every_rank_hears_that_one_cannot_write(world, folder, monkeypatch, writer):
    world.root_first(write_run, folder / "run", range(N), "run")
    expected = world.root_first(lambda: merged_serially(folder / "serial"))
    if world.rank == world.size - 1:
        from hpc_ds.store import writers

        def refuse(*_args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

        for kind in (writers._Posix, writers._MpiIO, writers._Hdf5):
            monkeypatch.setattr(kind, "write", refuse)
    with pytest.raises(StorageError, match="somewhere: cannot be written"):
        merge(folder / "run", world, writer=writer)
    monkeypatch.undo()
    world.barrier()
    assert not world.root_first((folder / "run" / swap.PART).exists)
    merge(folder / "run", world, writer=writer)
    assert world.root_first(hashes, folder / "run") == expected


ERRORS = {
    "bad input": (InputError("one.h5: damaged"), InputError, "one.h5: damaged"),
    "a disk": (OSError(errno.EIO, os.strerror(errno.EIO), "somewhere"), StorageError, "somewhere: cannot"),
    "anything": (LookupError("no such thing"), RuntimeError, "LookupError: no such thing"),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_every_rank_raises_what_one_met_while_it_read(world, folder, monkeypatch, writer, error):
    world.root_first(write_run, folder / "run", range(N), "run")
    raised, kind, message = error
    if world.rank == world.size - 1:

        def refuse(*_args):
            raise raised

        monkeypatch.setattr("hpc_ds.store.sources.SourceReader.read_into", refuse)
    with pytest.raises(kind, match=message):
        merge(folder / "run", world, writer=writer)
    assert not world.root_first((folder / "run" / swap.PART).exists)


@pytest.mark.parametrize("writer", ["mpiio", "hdf5"])
def test_every_rank_hears_that_one_cannot_reach_the_files(world, folder, monkeypatch, writer):
    world.root_first(write_run, folder / "run", range(N), "run")
    if world.rank == world.size - 1:
        refused = OSError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")
        monkeypatch.setattr("hpc_ds.store.writers._reached", lambda _files: refused)
    if world.size > 1:
        with pytest.raises(StorageError, match="somewhere: cannot be written"):
            merge(folder / "run", world, writer=writer, samples_per_file=2)
    monkeypatch.undo()
    assert merge(folder / "run", world, writer=writer, samples_per_file=2).samples == N


def test_every_rank_hears_that_one_could_not_open_a_file(world, folder, monkeypatch):
    world.root_first(write_run, folder / "run", range(N), "run")
    if world.size == 1:
        pytest.skip("MPI-IO is taken between ranks only")
    from mpi4py import MPI

    if world.rank == world.size - 1:
        real, calls = MPI.File.Open, []

        class Refusing:
            @staticmethod
            def Open(*args):  # noqa: N802
                calls.append(real(*args))
                if len(calls) == 2:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "somewhere")
                return calls[-1]

        monkeypatch.setattr(MPI, "File", Refusing)
    with pytest.raises(StorageError, match="somewhere: cannot be written"):
        merge(folder / "run", world, writer="mpiio", samples_per_file=5)
    monkeypatch.undo()
    assert merge(folder / "run", world, writer="mpiio").samples == N


def test_large_blocks_are_written_in_pieces(world, folder, monkeypatch):
    expected = world.root_first(lambda: merged_serially(folder / "serial"))
    world.root_first(write_run, folder / "run", range(N), "run")
    monkeypatch.setattr("hpc_ds.store.writers._PIECE", 1000)
    merge(folder / "run", world, writer="mpiio")
    assert world.root_first(hashes, folder / "run") == expected


def test_every_rank_hears_of_bad_input(world, folder):
    with pytest.raises(InputError, match=r"layout\.json"):
        merge(folder, world)
    world.root_first(write_run, folder / "run", range(N), "run")
    with pytest.raises(InputError, match="add up to 1"):
        merge(folder / "run", world, fractions=(1.0, 1.0, 1.0))
