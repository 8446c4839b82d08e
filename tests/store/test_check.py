"""A check passes what a merge makes, and finds each thing that is wrong with a set."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World
from hpc_ds.store.check import check
from hpc_ds.store.journal import Journals
from hpc_ds.store.merge import merge
from hpc_ds.store.shard import ShardWriter

TRAIN = Path("data", "train", "zoo_train_0000.h5")
DONE = [index for index in range(30) if index not in (3, 17)]


@pytest.fixture(scope="module")
def good(zoo, tmp_path_factory):
    """A merged set of 30 samples, of which two failed."""
    folder = tmp_path_factory.mktemp("good") / "run"
    zoo.write_run(folder, DONE, 30)
    with ShardWriter(folder, "failures", zoo.layout) as writer:
        for index in (3, 17):
            writer.journal.failed(index, "raised", "no convergence", 1)
    merge(folder, World(), samples_per_file=16)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(good, tmp_path / "run")


@pytest.fixture
def file(folder):
    with h5py.File(folder / TRAIN, "r+") as opened:
        yield opened


def errors(folder, **options):
    return [str(finding) for finding in check(folder, **options) if finding.severity == "error"]


def test_a_merged_set_has_nothing_wrong(good):
    assert check(good) == []


def test_a_set_without_its_run_folder_has_nothing_wrong(good, tmp_path):
    shutil.copytree(good / "data", tmp_path / "data")
    shutil.copy(good / "stats.yaml", tmp_path)
    assert check(tmp_path) == []


# ---- the layout of The Well --------------------------------------------------------------------------------


def replace(file, path, values, **attrs):
    old = dict(file[path].attrs)
    del file[path]
    file[path] = values
    for name, value in {**old, **attrs}.items():
        file[path].attrs[name] = value


def transposed(file):
    values = file["t0_fields/vorticity"][()]
    replace(file, "t0_fields/vorticity", np.swapaxes(values, 2, 3))


def without_axis(file):
    replace(file, "t0_fields/bed", file["t0_fields/bed"][:, :, 0], dim_varying=[True, False])


def axis_of_one_first(file):
    replace(file, "t0_fields/inflow", file["t0_fields/inflow"][:, :, :1], dim_varying=[False, True])


def time_last(file):
    replace(file, "t0_fields/vorticity", np.moveaxis(file["t0_fields/vorticity"][()], 1, 3))


def set_attribute(path, name, value):
    def change(file):
        del file[path].attrs[name]
        if value is not None:
            file[path].attrs[name] = value

    return change


def delete(path):
    def change(file):
        del file[path]

    return change


WRONG = {
    "no field group": (delete("t2_fields"), "t2_fields: there is no such group"),
    "no scalars": (delete("scalars"), "scalars: there is no such group"),
    "no boundaries": (delete("boundary_conditions"), "boundary_conditions: there is no such group"),
    "no dimensions": (delete("dimensions"), "dimensions: there is no such group"),
    "no time": (delete("dimensions/time"), "dimensions/time: there is no such data set"),
    "no coordinates": (delete("dimensions/y"), "dimensions/y: there is no such data set"),
    "space in another order": (
        transposed,
        "(16, 5, 4, 6); (16, 5, 6, 4) is right; its axes are in another order",
    ),
    "time last": (time_last, "its axes are in another order than samples, times, space, components"),
    "axis of length one": (axis_of_one_first, "t0_fields/inflow: has an axis of length 1 before others"),
    "wrong count": (
        set_attribute("/", "n_trajectories", 15),
        "has shape (16, 5, 6, 4); (15, 5, 6, 4) is right",
    ),
    "count no integer": (
        set_attribute("/", "n_trajectories", "16"),
        "n_trajectories is missing or not an integer",
    ),
    "no name": (set_attribute("/", "dataset_name", None), "dataset_name is missing or not a word"),
    "unknown grid": (set_attribute("/", "grid_type", "polar"), "grid_type is 'polar', not one of cartesian"),
    "wrong dimension": (set_attribute("/", "n_spatial_dims", 3), "n_spatial_dims is 3, but there are 2"),
    "parameter no attribute": (
        set_attribute("/", "viscosity", None),
        "'viscosity' is listed, but is no attribute",
    ),
    "dims no list": (
        set_attribute("dimensions", "spatial_dims", "xy"),
        "spatial_dims is missing or not a list",
    ),
    "flag no truth value": (
        set_attribute("t0_fields/vorticity", "time_varying", 1),
        "t0_fields/vorticity: the attribute time_varying is np.int64(1), not a truth value",
    ),
    "no flag": (
        set_attribute("scalars/energy", "sample_varying", None),
        "scalars/energy: the attribute sample_varying is missing; it must be a truth value",
    ),
    "flag of a coordinate": (
        set_attribute("dimensions/x", "time_varying", None),
        "dimensions/x: the attribute",
    ),
    "dim_varying of another length": (
        set_attribute("t1_fields/velocity", "dim_varying", [True]),
        "dim_varying is missing or not 2 truth values",
    ),
    "dim_varying of numbers": (
        set_attribute("t1_fields/velocity", "dim_varying", [1, 1]),
        "not 2 truth values",
    ),
    "no names": (
        set_attribute("t1_fields", "field_names", None),
        "t1_fields: the attribute field_names is missing",
    ),
    "named but absent": (
        delete("t1_fields/velocity"),
        "t1_fields/velocity: is among the field_names, but there",
    ),
    "scalar of another shape": (
        lambda file: replace(file, "scalars/viscosity", file["scalars/viscosity"][:][:, None]),
        "scalars/viscosity: has shape (16, 1); (16,) is right",
    ),
    "unknown boundary": (
        set_attribute("boundary_conditions/x_periodic", "bc_type", "ROBIN"),
        "bc_type is 'ROBIN', not one of WALL, OPEN, PERIODIC",
    ),
    "no mask": (delete("boundary_conditions/x_periodic/mask"), "x_periodic/mask: there is no such data set"),
    "mask of another axis": (
        set_attribute("boundary_conditions/x_periodic", "associated_dims", ["y"]),
        "x_periodic/mask: has shape (6,); (4,) is right",
    ),
    "boundary of nothing": (
        set_attribute("boundary_conditions/x_periodic", "associated_dims", ["z"]),
        "its associated dimension 'z' does not exist",
    ),
    "boundary without fields": (
        set_attribute("boundary_conditions/x_periodic", "associated_fields", None),
        "associated_fields is missing",
    ),
    "a name twice": (
        lambda file: (file.move("t0_fields/mask", "t0_fields/velocity"), rename(file, "mask", "velocity")),
        "two fields or scalars are called 'velocity'",
    ),
}


def rename(file, old, new):
    names = [new if name == old else name for name in file["t0_fields"].attrs["field_names"]]
    file["t0_fields"].attrs["field_names"] = names


@pytest.mark.parametrize("case", WRONG)
def test_what_breaks_a_rule_is_found(folder, case):
    change, message = WRONG[case]
    with h5py.File(folder / TRAIN, "r+") as file:
        change(file)
    found = errors(folder, values=False)
    assert any(message in line for line in found), found
    assert all(line.startswith(f"error: {TRAIN}") for line in found[:1])


ODD = {
    "lower case": (
        set_attribute("boundary_conditions/x_periodic", "bc_type", "periodic"),
        "bc_type is 'periodic'; PERIODIC is right",
    ),
    "dimension left out": (without_axis, "t0_fields/bed: leaves out a dimension; The Well's reader wants it"),
    "double precision": (
        lambda file: replace(file, "t0_fields/mask", file["t0_fields/mask"][()].astype(np.float64)),
        "t0_fields/mask: holds float64",
    ),
    "not listed": (
        lambda file: file.create_dataset("t0_fields/extra", data=1.0),
        "t0_fields/extra: is not among the field_names",
    ),
    "another group": (lambda file: file.create_group("notes"), "notes: is no part of The Well's layout"),
    "coordinates backwards": (
        lambda file: file["dimensions/x"].write_direct(file["dimensions/x"][()][::-1].copy()),
        "dimensions/x: its values do not increase",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_what_looks_odd_is_a_warning(folder, case):
    change, message = ODD[case]
    with h5py.File(folder / TRAIN, "r+") as file:
        change(file)
    found = [finding for finding in check(folder, values=False) if message in str(finding)]
    assert [finding.severity for finding in found] == ["warning"]


def test_a_file_that_is_cut_short_is_found(folder):
    with open(folder / TRAIN, "r+b") as file:
        file.truncate(1000)
    assert "cannot be opened as HDF5" in errors(folder)[0]


def test_files_of_different_sets_are_found(folder, zoo):
    type(zoo)(nx=8).write_file(folder / "data" / "train" / "zz.h5", [3])
    assert any(
        "data/train/zz.h5: its grid is not that of zoo_train_0000.h5" in line for line in errors(folder)
    )


def test_places_that_no_reader_looks_at_are_odd(folder):
    (folder / "data" / "holdout").mkdir()
    (folder / "data" / "train" / "notes.txt").write_text("")
    (folder / "data.part").mkdir()
    lines = [str(finding) for finding in check(folder, values=False)]
    assert any("data/holdout: is none of train, valid, test" in line for line in lines)
    assert any("data/train/notes.txt: ends with none of" in line for line in lines)
    assert any("data.part: a merge was interrupted" in line for line in lines)


def test_no_data_at_all_is_bad_input(tmp_path):
    with pytest.raises(
        InputError, match=r"no data files in data/train, data/valid, data/test; is it merged\?"
    ):
        check(tmp_path)


# ---- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_found(folder, value):
    with h5py.File(folder / TRAIN, "r+") as file:
        file["t1_fields/velocity"][4, 2, 1, 1, 0] = value
    assert (
        f"error: {TRAIN}: t1_fields/velocity: 1 values are NaN or infinite, in the samples in rows 4"
        in errors(folder)
    )


def test_frames_that_do_not_change_are_odd(folder):
    with h5py.File(folder / TRAIN, "r+") as file:
        file["t0_fields/vorticity"][2, 3] = file["t0_fields/vorticity"][2, 2]
        file["t0_fields/vorticity"][5, 1:] = 7.0
        file["t0_fields/vorticity"][6, 0] = 7.0  # an initial state may well be constant
        file["t1_fields/velocity"][7, 2, ..., 1] = 0.0
    lines = [str(finding) for finding in check(folder) if finding.severity == "warning"]
    place = f"warning: {TRAIN}: t0_fields/vorticity:"
    assert f"{place} 4 frames hold one value only, in the samples in rows 5" in lines
    assert f"{place} 4 frames equal the frame before, in the samples in rows 2, 5" in lines
    assert (
        f"warning: {TRAIN}: t1_fields/velocity: 1 frames hold one value only, in the samples in rows 7"
        in lines
    )


@pytest.mark.parametrize("name", ["t1_fields/velocity", "t0_fields/bed", "scalars/energy", "scalars/score"])
def test_a_value_that_is_not_what_was_written_is_found(folder, name):
    with h5py.File(folder / TRAIN, "r+") as file:
        file[name][3] = 0.25
    assert f"error: {TRAIN}: the checksums of the samples in rows 3 are wrong" in errors(folder)


def test_statistics_of_other_samples_are_found(folder):
    text = (folder / "stats.yaml").read_text()
    (folder / "stats.yaml").write_text(text.replace('"vorticity": ', '"vorticity": 0.1 #', 1))
    (line,) = errors(folder)
    assert line.startswith("error: stats.yaml: mean of vorticity is 0.1; the files give ")
    (folder / "stats.yaml").unlink()
    assert "error: stats.yaml: no such file" in errors(folder)[0]


# ---- our own sets ------------------------------------------------------------------------------------------


def test_missing_samples_are_found(zoo, tmp_path):
    zoo.write_run(tmp_path / "run", DONE, 33)
    merge(tmp_path / "run", World())
    assert errors(tmp_path / "run") == [
        "error: data: 5 of 33 samples are neither there nor failed: 3, 17, 30, 31, 32"
    ]
    assert not Journals.read(tmp_path / "run").failed


def test_samples_in_a_wrong_split_are_found(folder):
    (folder / "data" / "valid").rename(folder / "valid")
    (folder / "data" / "test").rename(folder / "data" / "valid")
    (folder / "valid").rename(folder / "data" / "test")
    assert any(
        "data/test: samples" in line and "belong to an earlier split" in line for line in errors(folder)
    )


def test_samples_that_are_there_twice_are_found(folder):
    shutil.copy(folder / TRAIN, folder / "data" / "train" / "zz.h5")
    found = errors(folder)
    assert any("of the design are there more than once" in line for line in found)
    assert any("data/train: its samples are not in the order of the design" in line for line in found)


def test_parameters_of_other_samples_are_found(folder):
    with h5py.File(folder / TRAIN, "r+") as file:
        file["scalars/viscosity"][0] = 5.0
        file["scalars/scheme"][1] = (file["scalars/scheme"][1] + 1) % 3
    found = errors(folder)
    assert f"error: {TRAIN}: scalars/viscosity: differs from the design, for samples 1" in found
    assert any("scalars/scheme: differs from the design" in line for line in found)


def test_a_simulator_that_ignores_its_parameters_is_odd(zoo, tmp_path):
    folder = tmp_path / "run"
    zoo.write_run(folder, [], 4, shards=0)
    with ShardWriter(folder, "same", zoo.layout) as writer:
        for index in range(4):
            writer.append(index, zoo.sample(7), 0.1)
    merge(folder, World())
    found = [str(finding) for finding in check(folder)]
    assert (
        "warning: data: 4 samples equal another one, bit for bit, such as 0, 1, 2, 3 of the design" in found
    )


def test_samples_that_share_a_checksum_by_chance_are_not_equal(folder):
    with h5py.File(folder / TRAIN, "r+") as file:
        file["hpc_ds/crc32"][:] = 7
    assert not any("bit for bit" in str(finding) for finding in check(folder))


def test_a_set_in_which_no_file_can_be_read_is_told_of(folder):
    for path in (folder / "data").rglob("*.h5"):
        path.write_bytes(b"nothing")
    assert len([line for line in errors(folder) if ".h5" in line]) == len(
        list((folder / "data").rglob("*.h5"))
    )


# ---- sets of others ----------------------------------------------------------------------------------------


def test_a_set_of_others_is_checked_as_far_as_it_goes(good, tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for path in (good / "data" / split).iterdir():
            copy = tmp_path / "data" / split / path.name
            shutil.copy(path, copy)
            with h5py.File(copy, "r+") as file:
                del file["hpc_ds"]
    shutil.copy(good / "stats.yaml", tmp_path)
    # That this vector is the same everywhere is known of our own sets only.
    uniform = {str(finding) for finding in check(tmp_path)}
    assert all("t1_fields/drift" in line and "hold one value only" in line for line in uniform)
    with h5py.File(tmp_path / TRAIN, "r+") as file:
        file["t0_fields/vorticity"][...] *= 2
    findings = [finding for finding in check(tmp_path) if str(finding) not in uniform]
    assert {(finding.severity, finding.place) for finding in findings} == {("warning", "stats.yaml")}
    assert any(finding.message.startswith("std of vorticity is ") for finding in findings)
