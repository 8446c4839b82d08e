"""A data file has The Well's structure, and its bytes are a function of its content."""

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.store import well
from hpc_ds.store.check_format import check_format
from hpc_ds.store.layout import Axis, Boundary, Column, Field, Layout, axis


def rows(zoo, count=7):
    indices = np.arange(count)
    return well.Rows(indices, indices.astype(np.uint32), zoo.columns(indices))


@pytest.fixture
def file(zoo, tmp_path):
    well.create(tmp_path / "a.h5", zoo.layout, rows(zoo))
    with h5py.File(tmp_path / "a.h5") as opened:
        yield opened


def test_equal_content_gives_equal_bytes(zoo, tmp_path):
    for name in ("a.h5", "b.h5"):
        well.create(tmp_path / name, zoo.layout, rows(zoo))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_values_are_holes_until_they_are_written(zoo, tmp_path):
    large = type(zoo)(nx=256, ny=256)
    well.create(tmp_path / "a.h5", large.layout, rows(large, 20))
    size = (tmp_path / "a.h5").stat()
    assert size.st_size > 20 * well.row_bytes(large.layout)
    assert size.st_blocks * 512 < 2**20


def test_the_root_says_what_the_set_is(file):
    assert file.attrs["dataset_name"] == "zoo"
    assert file.attrs["grid_type"] == "cartesian"
    assert file.attrs["n_spatial_dims"] == 2
    assert file.attrs["n_trajectories"] == 7
    assert list(file.attrs["simulation_parameters"]) == ["viscosity", "scheme"]
    assert np.allclose(file.attrs["viscosity"], [0.01, 0.07])
    assert file.attrs["title"] == "every kind of field"


def test_shapes_are_samples_times_space_components(file):
    shapes = {
        name: file[name].shape for name in ("t0_fields/vorticity", "t1_fields/velocity", "t2_fields/strain")
    }
    assert shapes == {
        "t0_fields/vorticity": (7, 5, 6, 4),
        "t1_fields/velocity": (7, 5, 6, 4, 2),
        "t2_fields/strain": (7, 5, 6, 4, 2, 2),
    }
    assert file["t0_fields/mask"].shape == (7, 6, 4)
    assert file["scalars/energy"].shape == (7, 5)
    assert file["scalars/score"].shape == (7,)
    assert file["t2_fields/strain"].attrs["symmetric"]
    assert not file["t0_fields/mask"].attrs["time_varying"]


def test_choices_are_numbers_with_their_words(file, zoo):
    words = list(file["scalars/scheme"].attrs["choices"])
    assert [words[int(code)] for code in file["scalars/scheme"]] == list(zoo.columns(range(7))["scheme"])


def test_units_stand_beside_the_values(file):
    assert file["t1_fields/velocity"].attrs["units"] == "m/s"
    assert file["scalars/viscosity"].attrs["units"] == "m2/s"
    assert file["dimensions/time"].attrs["units"] == "s"
    assert "units" not in file["t2_fields/strain"].attrs


def test_masks_say_which_sides(file):
    masks = {name: list(group["mask"]) for name, group in file["boundary_conditions"].items()}
    assert masks == {
        "x_periodic": [True, False, False, False, False, True],
        "y_low_wall": [True, False, False, False],
        "y_high_open": [False, False, False, True],
    }
    assert list(file["boundary_conditions/y_high_open"].attrs["associated_fields"]) == ["velocity"]


def test_a_condition_on_several_dimensions_is_one_for_each(zoo, tmp_path):
    conditions = (
        Boundary("WALL", ("x", "y"), fields=("velocity",)),
        Boundary("WALL", ("x",), fields=("mask",)),
    )
    well.create(tmp_path / "a.h5", replace(zoo.layout, boundaries=conditions), rows(zoo))
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file["boundary_conditions"]) == ["x_wall", "y_wall", "x_wall_2"]
        assert list(file["boundary_conditions/x_wall_2"].attrs["associated_fields"]) == ["mask"]


def test_there_are_no_time_stamps(file):
    def check(_name, item):
        info = h5py.h5o.get_info(item.id)
        assert info.mtime == info.ctime == 0

    file.visititems(check)


def test_values_begin_where_they_are_said_to(zoo, tmp_path):
    well.create(tmp_path / "a.h5", zoo.layout, rows(zoo))
    targets = well.targets(tmp_path / "a.h5", zoo.layout)
    values = np.arange(5 * 6 * 4 * 2, dtype=np.float32)
    with open(tmp_path / "a.h5", "r+b") as file:
        target = targets["velocity"]
        file.seek(target.offset + 3 * target.row_bytes)
        file.write(values.tobytes())
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file[target.path][3].ravel(), values)
    assert all(target.offset % 64 == 0 for target in targets.values())


@pytest.mark.parametrize("name", ["inflow", "bed", "drift", "vorticity"])
def test_a_field_of_some_dimensions_is_repeated_along_the_others(zoo, name):
    sample = zoo.sample(3)[name]
    stored = well.stored(zoo.layout, name, sample)
    assert stored.shape == well.stored_shape(zoo.layout, name)
    for dim, place in (("x", -3 if name == "drift" else -2), ("y", -2 if name == "drift" else -1)):
        along = np.moveaxis(stored, place, 0)
        assert (dim in zoo.layout.dims(name)) or (along == along[:1]).all()
    assert set(np.unique(stored)) == set(np.unique(sample))


@pytest.mark.parametrize("dims", [0, 1, 2, 3])
def test_any_number_of_dimensions_keeps_the_rules(tmp_path, dims):
    axes = tuple(axis(name, 0.0, 1.0, 3 + place) for place, name in enumerate("xyz"[:dims]))
    fields = (Field("total", dims=()), *((Field("u"), Field("v", 1), Field("w", 2)) if dims else ()))
    layout = Layout("any", axes, Axis("time", np.zeros(1)), fields, (), (Column("a"),))
    known = well.Rows(np.arange(2), np.zeros(2, np.uint32), {"a": np.ones(2)})
    well.create(tmp_path / "a.h5", layout, known)
    assert check_format(tmp_path / "a.h5", "a.h5") == []


def test_a_parameter_that_the_design_lacks_is_named(zoo, tmp_path):
    layout = replace(zoo.layout, columns=(Column("pressure"),))
    with pytest.raises(InputError, match="parameter 'pressure' of the layout is not in the design"):
        well.create(tmp_path / "a.h5", layout, rows(zoo))


def test_names_of_files_sort_as_their_numbers(zoo):
    names = [well.file_name(zoo.layout, "train", number, 10_001) for number in range(10_001)]
    assert names == sorted(names)
    assert well.file_name(zoo.layout, "train", 7, 10_000) == "train/zoo_train_0007.h5"


@pytest.mark.parametrize("value", [1e39, -np.inf, np.nan])
def test_a_parameter_beyond_single_precision_is_refused(zoo, value):
    columns = zoo.columns(range(3)) | {"viscosity": np.array([1.0, value, 2.0])}
    with pytest.raises(
        InputError, match=rf"parameter 'viscosity': {re.escape(str(value))} .* other units or its logarithm"
    ):
        well.check_columns(zoo.layout, columns)


def test_parameters_that_fit_pass(zoo):
    well.check_columns(zoo.layout, zoo.columns(range(3)) | {"of another set": np.array([1e300])})
