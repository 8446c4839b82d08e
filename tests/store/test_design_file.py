"""The design comes back as it was written, with Python's own types."""

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.design_file import read_design, write_design
from hpc_ds.store.netcdf import Group, write_groups

COLUMNS = {
    "viscosity": np.array([0.1, 1e-300, -3.0]),
    "modes": np.array([1, 2, 2**53 + 1]),
    "scheme": np.array(["upwind", "zentral ü", "upwind"]),
}


def test_columns_and_attributes_are_read_back(tmp_path):
    attrs = {"kind": "sobol", "seed": 7, "generations": np.array([0, 2])}
    write_design(tmp_path, COLUMNS, attrs)
    design = read_design(tmp_path)
    assert (design.n, list(design.columns)) == (3, list(COLUMNS))
    for name, values in COLUMNS.items():
        np.testing.assert_array_equal(design.columns[name], values)
    assert (design.attrs["kind"], design.attrs["seed"]) == ("sobol", 7)
    assert type(design.attrs["seed"]) is int
    assert list(design.attrs["generations"]) == [0, 2]


def test_a_row_has_exact_python_types(tmp_path):
    write_design(tmp_path, COLUMNS)
    row = read_design(tmp_path).row(2)
    assert row == {"viscosity": -3.0, "modes": 2**53 + 1, "scheme": "upwind"}
    assert [type(value) for value in row.values()] == [float, int, str]


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_row_beyond_the_design(tmp_path, index):
    write_design(tmp_path, COLUMNS)
    with pytest.raises(IndexError, match=f"sample {index} of a design of 3"):
        read_design(tmp_path).row(index)


def test_lists_do_as_well_as_arrays(tmp_path):
    write_design(tmp_path, {"a": [1.5, 2.0], "b": [1, 2], "c": ["x", "y"], "d": [True, False]})
    assert read_design(tmp_path).row(0) == {"a": 1.5, "b": 1, "c": "x", "d": 1}


def test_a_design_may_have_no_columns(tmp_path):
    write_design(tmp_path, {}, n=4)
    design = read_design(tmp_path)
    assert (design.n, design.row(3)) == (4, {})


def test_a_longer_design_takes_the_place_of_the_old_one(tmp_path):
    write_design(tmp_path, {"a": [1.0]})
    write_design(tmp_path, {"a": [1.0, 2.0]})
    assert read_design(tmp_path).n == 2
    assert [path.name for path in tmp_path.iterdir()] == ["design.h5"]


def test_equal_designs_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_design(tmp_path / name, COLUMNS, {"seed": 1})
    assert (tmp_path / "a/design.h5").read_bytes() == (tmp_path / "b/design.h5").read_bytes()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, r"columns of one length: found \[1, 2\]"),
        ({}, "columns of one length"),
        ({"a": [[1.0]]}, "column a has 2 axes"),
        ({"a": [1j]}, "column a holds complex128"),
        ({"a": np.array([None])}, "column a holds object"),
    ],
)
def test_what_is_no_design_is_refused_and_nothing_is_written(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        write_design(tmp_path, columns)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_foreign_design_is_told_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"design\.h5: no such file"):
        read_design(tmp_path)
    write_groups(tmp_path / "design.h5", {"/": Group(attrs={"format": 2})})
    with pytest.raises(InputError, match="of format 2; this version knows 1"):
        read_design(tmp_path)
