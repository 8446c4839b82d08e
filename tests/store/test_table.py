"""Measured tables are read right from every format; every fault is told in one line with its place."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.table import Table, read_columns, read_xy


def write(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: str | os.PathLike[str]) -> str:
    """Return the message with which read_xy refuses a file; it is one line that begins with the path."""
    with pytest.raises(InputError) as caught:
        read_xy(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(os.fspath(path))
    return message


def assert_holds(table: Table, x: list[float], y: list[float], sigma: list[float] | None = None) -> None:
    assert table.x.dtype == table.y.dtype == np.float64
    assert table.x.tolist() == x
    assert table.y.tolist() == y
    assert (None if table.sigma is None else table.sigma.tolist()) == sigma


# Text


@pytest.mark.parametrize(
    "content",
    [
        "1,10\n2,20\n",
        "1;10\n2;20",
        "1\t10\n2\t20\n",
        "1 10\n2 20\n",
        "  1.0   1.0E+01\n\t2.0 \t 20.\n",
        "1.0D+00 1.0d1\n2.0D+00 2.0d1\n",
        "1,10\r\n2,20\r\n",
        "1,10\r2,20\r",
        "# made by hand\n% again\n\n1,10\n\n  # in between\n2,20\n\n",
        "1 10 # first\n2 20 # second\n",
        "\ufeff1,10\n2,20\n",
        "1,10,\n2,20,\n",
        "\t1\t10\n\t2\t20\n",
        "1\t\t10\n2\t\t20\n",
        '"1","10"\n"2","20"\n',
        "1 , 10\n2 , 20",
    ],
)
def test_separators_comments_and_line_ends_do_not_matter(tmp_path, content):
    table = read_xy(write(tmp_path, content))
    assert_holds(table, [1, 2], [10, 20])
    assert (table.x_name, table.y_name) == ("x", "y")
    assert table.warnings == []


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("BE/eV,Counts\n1,10\n2,20\n", ("BE/eV", "Counts")),
        ("\ufeffBE/eV,Counts\n1,10\n2,20\n", ("BE/eV", "Counts")),
        ('"Energy, eV","Counts"\n1,10\n2,20\n', ("Energy, eV", "Counts")),
        ("Binding energy\tCounts\n1\t10\n2\t20\n", ("Binding energy", "Counts")),
        ("#   energy    munorm\n 1 10\n 2 20\n", ("energy", "munorm")),
        ("# energy, munorm\n 1 10\n 2 20\n", ("energy", "munorm")),
        ("energy,munorm\n1 10\n2 20\n", ("energy", "munorm")),
        ("a,b\n1,10,\n2,20,\n", ("a", "b")),
        ("three words here\n1,10\n2,20\n", ("x", "y")),
        ("x,y\n1,10\n2,20\n", ("x", "y")),
    ],
)
def test_names_come_from_the_header(tmp_path, content, names):
    table = read_xy(write(tmp_path, content))
    assert_holds(table, [1, 2], [10, 20])
    assert (table.x_name, table.y_name) == names
    assert table.warnings == []


def test_third_column_is_sigma(tmp_path):
    table = read_xy(write(tmp_path, "x,y,sigma\n1,10,.1\n2,20,.2\n"))
    assert_holds(table, [1, 2], [10, 20], [0.1, 0.2])
    assert table.warnings == []


def test_columns_called_x_y_sigma_are_taken_by_name(tmp_path):
    table = read_xy(write(tmp_path, "# sigma y x\n.1 10 1\n.2 20 2\n"))
    assert_holds(table, [1, 2], [10, 20], [0.1, 0.2])
    assert table.warnings == []


def test_third_column_of_another_meaning_is_announced(tmp_path):
    table = read_xy(write(tmp_path, "energy,counts,time\n1,10,1\n2,20,1\n"))
    assert table.sigma is not None
    assert table.warnings == ["column 'time' is taken as sigma, the error of y"]


def test_columns_beyond_the_third_are_ignored_and_may_hold_text(tmp_path):
    table = read_xy(write(tmp_path, "x,y,err,flag,note\n1,10,1,0,good\n2,20,1,0,\n"))
    assert_holds(table, [1, 2], [10, 20], [1, 1])
    assert table.warnings == ["columns not used: flag, note"]


def test_decimal_commas_are_read_and_announced(tmp_path):
    table = read_xy(write(tmp_path, "E;I\n1,5;10\n2,5;20,25\n"))
    assert_holds(table, [1.5, 2.5], [10, 20.25])
    assert table.warnings == ["commas inside numbers are read as decimal points"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_encodings_of_spreadsheets_are_read(tmp_path, encoding):
    table = read_xy(write(tmp_path, "Länge/µm,I\n1,10\n2,20\n".encode(encoding)))
    assert_holds(table, [1, 2], [10, 20])
    assert table.x_name == "Länge/µm"


def test_unsorted_x_is_sorted_with_a_warning_and_sigma_follows(tmp_path):
    table = read_xy(write(tmp_path, "3,30,.3\n1,10,.1\n2,20,.2\n"))
    assert_holds(table, [1, 2, 3], [10, 20, 30], [0.1, 0.2, 0.3])
    assert table.warnings == ["x is not in ascending order: the 3 points were sorted"]


def test_repeated_x_is_kept_in_order_with_a_warning(tmp_path):
    table = read_xy(write(tmp_path, "1,10\n2,20\n2,21\n3,30\n"))
    assert_holds(table, [1, 2, 2, 3], [10, 20, 21, 30])
    assert table.warnings == ["x is repeated (times: 1, first at 2): all points are used"]


def test_full_precision_survives(tmp_path):
    values = np.random.default_rng(3).normal(size=(2, 50))
    path = write(tmp_path, "\n".join(f"{x!r} {y!r}" for x, y in zip(*values.tolist(), strict=True)))
    order = np.argsort(values[0])
    table = read_xy(path)
    assert np.array_equal(np.stack([table.x, table.y]), values[:, order])


# Faults in text


@pytest.mark.parametrize(
    ("content", "place", "found"),
    [
        ("x,y\n1,2\n2,abc\n", "line 3, column 'y'", "found 'abc'; a number is needed"),
        ("1 2\n\n# note\n2 1_000\n", "line 4, column 'y'", "found '1_000'"),
        ("x,y\neV,counts\n1,2\n", "line 2, column 'x'", "found 'eV'"),
        ("1,2\n2,\n3,4\n", "line 2, column 'y'", "found an empty cell"),
        ("1,2\n2,nan\n", "line 2, column 'y'", "found nan; a finite number is needed"),
        ("1,2\n-Inf,3\n", "line 2, column 'x'", "found -Inf; a finite number is needed"),
        ("1,2\n2,1e999\n", "line 2, column 'y'", "found 1e999; a finite number is needed"),
        ("x,y,s\n1,2,.1\n2,3,0\n", "line 3, column 's'", "found sigma = 0; a standard deviation > 0"),
        ("x,y,s\n1,2,-.1\n2,3,0\n", "line 2, column 's'", "found sigma = -0.1"),
        ("1,2\n2,3,4\n", "line 2", "columns found: 3; needed: 2, as in line 1"),
        ("x y\n1 2\n2\n", "line 3", "columns found: 1; needed: 2, as in line 2"),
    ],
)
def test_fault_in_a_line_is_named(tmp_path, content, place, found):
    message = refusal(write(tmp_path, content))
    assert f"data.csv, {place}" in message
    assert found in message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "no data in the file"),
        ("\n  \n\n", "no data in the file"),
        ("# only\n# comments\n", "no data in the file"),
        ("x,y\n", "a header and no data"),
        ("1\n2\n3\n", "found one column, 'x'; two are needed"),
        ("energy\n1\n2\n", "found one column, 'energy'"),
        (",\n,\n", "found one column"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "a binary file"),
        ('"' + "a, " * 60000, "a header and no data"),
    ],
)
def test_file_without_two_columns_is_refused(tmp_path, content, found):
    assert found in refusal(write(tmp_path, content))


@pytest.mark.parametrize("name", ["missing.csv", "missing.npz", "missing.h5", "missing.h5:/group"])
def test_missing_file_is_named(tmp_path, name):
    assert "no such file" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["folder", "folder.npz", "folder.h5"])
def test_directory_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    assert "is a directory; a file is needed" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["data.csv", "data.npz", "data.h5"])
def test_file_without_permission_is_refused(name):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH)
        path = write(Path(folder), "1,2\n", name)
        path.chmod(0)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        try:
            assert "no permission to read it" in refusal(path)
        finally:
            if was_root:
                os.seteuid(0)


# Arrays


def test_npz_is_read_by_the_keys_x_y_sigma(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, truth=np.zeros(3), sigma=np.array([0.2, 0.1]), y=np.array([20, 10]), x=np.float32([2, 1]))
    table = read_xy(path)
    assert_holds(table, [1, 2], [10, 20], [0.1, 0.2])
    assert table.warnings == [
        "columns not used: truth",
        "x is not in ascending order: the 2 points were sorted",
    ]


def test_npz_without_those_keys_gives_its_first_arrays(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, energy=np.arange(3.0), counts=np.ones((3, 1)), image=np.ones((3, 3)))
    table = read_xy(path)
    assert_holds(table, [0, 1, 2], [1, 1, 1])
    assert (table.x_name, table.y_name) == ("energy", "counts")


def test_unnamed_third_array_beside_x_and_y_is_not_sigma(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(3.0), y=np.arange(3.0), fit=np.ones(3))
    assert read_xy(path).sigma is None


def test_hdf5_group_is_chosen_after_a_colon(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["scan/one/x"], file["scan/one/y"] = [1.0, 2.0], [10, 20]
        file["x"], file["y"], file["sigma"] = [5.0], [6.0], [7.0]
        file["note"] = "text"
    assert_holds(read_xy(path), [5], [6], [7])
    assert_holds(read_xy(f"{path}:/scan/one"), [1, 2], [10, 20])
    assert_holds(read_xy(f"{path}:scan/one"), [1, 2], [10, 20])
    assert "no group '/scan/two' in the file; groups in it: scan" in refusal(f"{path}:/scan/two")


def test_netcdf_dimension_without_values_is_not_a_column(tmp_path):
    from hpc_ds.store.netcdf import Group, write_groups

    path = tmp_path / "data.nc"
    write_groups(path, {"/": Group({"energy": (("point",), [1.0, 2.0]), "counts": (("point",), [3.0, 4.0])})})
    assert_holds(read_xy(path), [1, 2], [3, 4])


def test_netcdf_coordinate_is_x(tmp_path):
    from hpc_ds.store.netcdf import Group, write_groups

    path = tmp_path / "data.nc"
    write_groups(path, {"/": Group({"counts": (("energy",), [3.0, 4.0])}, {"energy": [1.0, 2.0]})})
    with h5py.File(path, "a") as file:
        file["a"] = [5.0, 6.0]
    table = read_xy(path)
    assert (table.x_name, table.y_name) == ("energy", "counts")


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"x": [1, 2], "y": [1, 2, 3]}, "arrays of different lengths (x 2, y 3)"),
        ({"x": [1, 2], "y": [1, 2], "sigma": [1]}, "arrays of different lengths (x 2, y 2, sigma 1)"),
        ({"x": [1, 2]}, "found one column, 'x'"),
        ({"x": [1, 2], "y": np.ones((2, 2))}, "found y float64[2, 2]; a one-dimensional array"),
        ({"x": [1, 2], "y": [1j, 2]}, "found y complex128[2]; a one-dimensional array of numbers"),
        ({"a": 1.0}, "found a float64[]; one-dimensional arrays x and y"),
        ({}, "found nothing; one-dimensional arrays x and y"),
        ({"x": [], "y": []}, "the array x is empty"),
        ({"x": [1, 2], "y": [1, np.nan]}, "element 1, column 'y': found nan; a finite number is needed"),
        ({"x": [1, 2], "y": [1, 2], "sigma": [1, -1]}, "element 1, column 'sigma': found sigma = -1"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_fault_in_arrays_is_named(tmp_path, arrays, found, kind):
    path = tmp_path / f"data.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            file.update({name: np.asarray(array) for name, array in arrays.items()})
    assert found in refusal(path)


@pytest.mark.parametrize("content", [b"", b"1,2\n", b"PK\x03\x04 broken", b"\x93NUMPY\x01\0"])
@pytest.mark.parametrize("name", ["data.npz", "data.h5"])
def test_file_that_is_not_what_its_name_says_is_refused(tmp_path, name, content):
    assert "not a" in refusal(write(tmp_path, content, name))


def test_truncated_hdf5_is_refused(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"] = file["y"] = np.arange(10000.0)
    path.write_bytes(path.read_bytes()[:3000])
    assert "cannot be read" in refusal(path)


def test_hdf5_that_is_damaged_inside_is_refused(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"] = file["y"] = np.arange(5.0)
    data = path.read_bytes()
    assert b"SNOD" in data
    path.write_bytes(data.replace(b"SNOD", b"????"))
    assert "cannot be read" in refusal(path)


def test_pickled_arrays_are_never_loaded(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{}, 1], dtype=object), y=np.zeros(2))
    assert "not a NumPy archive of numbers" in refusal(path)


# Columns for models of the user's own


def test_read_columns_keeps_order_and_all_columns(tmp_path):
    names, values = read_columns(write(tmp_path, "t,a,b,c\n2,1,2,3\n1,4,5,6\n"))
    assert names == ["t", "a", "b", "c"]
    assert values.tolist() == [[2, 1], [1, 4], [2, 5], [3, 6]]


def test_read_columns_names_columns_without_header(tmp_path):
    assert read_columns(write(tmp_path, "1 2 3 4 5\n"))[0] == ["x", "y", "sigma", "column4", "column5"]


def test_read_columns_takes_one_column(tmp_path):
    assert read_columns(write(tmp_path, "1\n2\n"))[1].tolist() == [[1, 2]]


def test_read_columns_refuses_text_in_any_column(tmp_path):
    with pytest.raises(InputError, match="line 2, column 'c': found 'bad'"):
        read_columns(write(tmp_path, "a,b,c\n1,2,bad\n"))


def test_text_is_read_without_importing_h5py_or_pandas(tmp_path):
    path = write(tmp_path, "1,2\n2,3\n")
    code = (
        f"import sys; from hpc_ds.store.table import read_xy; read_xy({str(path)!r}); "
        "sys.exit(bool({'h5py', 'pandas', 'scipy', 'mpi4py'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# Real files

needs_data = pytest.mark.needs_data


def real(*parts: str) -> Path:
    folder = os.environ.get("HPC_DS_DATA", "")
    path = Path(folder, *parts)
    if not folder or not path.exists():
        pytest.skip(f"real data {'/'.join(parts)} are not under $HPC_DS_DATA ({folder or 'not set'})")
    return path


@needs_data
@pytest.mark.parametrize(
    ("name", "n", "first", "last"),
    [
        ("PET_C1s.csv", 401, (279.300817131996, None), (299.300817131996, 324.2826)),
        ("111216_0459_O1s.csv", 126, (None, None), (546.0, 8.30239)),
        ("C1s_sample.csv", 351, (None, None), (301.5, 1709.0)),
        ("170109_1712_Ef.csv", 351, (None, None), (5.30000019073486, 9.639629)),
    ],
)
def test_measured_spectra_with_falling_energy_are_sorted(name, n, first, last):
    table = read_xy(real("xps_lg4x", name))
    assert len(table.x) == len(table.y) == n
    assert np.all(np.diff(table.x) > 0)
    assert (table.x[-1], table.y[-1]) == last
    assert first[0] is None or table.x[0] == pytest.approx(first[0], abs=1e-9)
    assert table.x_name == "BE/eV"
    assert table.sigma is None
    assert table.warnings == [f"x is not in ascending order: the {n} points were sorted"]


@needs_data
def test_measured_spectrum_with_byte_order_mark_is_read():
    table = read_xy(real("xps_lg4x", "CK.csv"))
    assert (table.x_name, table.y_name) == ("PE/eV", "AbNorm_161116_1251_Is")
    assert (table.x[0], table.y[0]) == (270.7, 0.073284424)
    assert table.warnings == []


@needs_data
def test_measured_absorption_with_commented_header_is_read():
    table = read_xy(real("xafs_larch", "lcf_s1.dat"))
    assert (table.x_name, table.y_name) == ("energy", "munorm")
    assert (table.x[0], table.y[0]) == (11719.826, 0.006723)
