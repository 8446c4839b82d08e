"""NetCDF files are read back as written, open in xarray and arviz, and depend on their content alone."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.netcdf import Group, Variable, list_groups, read_attrs, read_group, write_groups


def posterior_groups() -> dict[str, Group]:
    """Return the groups of a small posterior: 2 chains, 50 draws, 3 peaks, 20 points."""
    rng = np.random.default_rng(5)
    samples, points = ("chain", "draw"), ("point",)
    positions = Variable(
        (*samples, "peak"), rng.normal(size=(2, 50, 3)), {"units": "eV", "long_name": "peak position"}
    )
    sampling = {"chain": np.arange(2), "draw": np.arange(50)}
    ladder = np.array([[0.0, 0.5, 1.0], [0.0, 0.4, np.nan]])
    return {
        "/": Group(attrs={"format": 1, "model": "K=3", "log_evidence": -12.5}),
        "posterior": Group(
            {"position": positions, "noise": (samples, rng.gamma(2, size=(2, 50)))},
            {**sampling, "peak": ["a", "b", "ç"]},
            attrs={
                "created_by": "hpc_ds",
                "names": ["position", "noise"],
                "widths": [0.1, 0.2],
                "done": True,
            },
        ),
        "sample_stats": Group({"log_likelihood": (samples, rng.normal(size=(2, 50)))}, sampling),
        "observed_data": Group({"y": (points, rng.normal(size=20))}),
        "constant_data": Group({"x": (points, np.arange(20.0)), "used": (points, np.arange(20) > 3)}),
        "ladder": Group({"beta": (("chain", "level"), ladder)}, {"chain": np.arange(2)}, {"pair": 2}),
        "exchange": Group({"round_trips": (("chain",), np.array([7, 9])), "scans": ((), 1000)}),
        "curves": Group(
            {"fit": (("quantile", "point"), np.ones((5, 20))), "label": (("peak",), ["C-C", "C-O", "C=O"])},
            {"quantile": [2.5, 25, 50, 75, 97.5]},
        ),
    }


def arrays_of(group: Group) -> dict[str, np.ndarray]:
    coords = {name: np.asarray(values) for name, values in group.coords.items()}
    return coords | {name: np.asarray(variable[1]) for name, variable in group.variables.items()}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "K=3.h5"
    write_groups(path, posterior_groups())
    return path


@pytest.mark.parametrize("name", posterior_groups())
def test_groups_are_read_back_as_written(path, name):
    expected = arrays_of(posterior_groups()[name])
    found = {key: value for key, value in read_group(path, name).items()}
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].shape == value.shape
        assert value.dtype.kind == "U" or found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


def test_attributes_and_group_names_are_read_back(path):
    assert read_attrs(path) == {"format": 1, "model": "K=3", "log_evidence": -12.5}
    attrs = read_attrs(path, "posterior")
    assert attrs["created_by"] == "hpc_ds"
    assert list(attrs["names"]) == ["position", "noise"]
    assert list(attrs["widths"]) == [0.1, 0.2]
    assert attrs["done"] == 1
    assert list_groups(path) == [name for name in posterior_groups() if name != "/"]


@pytest.mark.parametrize("name", [name for name in posterior_groups() if name != "/"])
def test_xarray_opens_every_group(path, name):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    group = posterior_groups()[name]
    with xarray.open_dataset(path, group=name, engine="h5netcdf") as data:
        assert set(data.data_vars) == set(group.variables)
        assert set(data.coords) == set(group.coords)
        for key, value in arrays_of(group).items():
            np.testing.assert_array_equal(data[key].values, value)
        for key, variable in group.variables.items():
            assert data[key].dims == tuple(variable[0])


def test_arviz_opens_the_file_with_its_own_groups_and_ours(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz")
        pytest.importorskip("h5netcdf")
        data = arviz.from_netcdf(path)
    assert set(data.groups()) == {name for name in posterior_groups() if name != "/"}
    assert data.attrs["model"] == "K=3"
    assert data.posterior["position"].attrs["units"] == "eV"
    assert data.curves["label"].values.tolist() == ["C-C", "C-O", "C=O"]
    summary = arviz.summary(data, var_names=["position"])
    assert list(summary.index) == ["position[a]", "position[b]", "position[ç]"]
    assert summary["r_hat"].between(0.9, 1.2).all()


def test_netcdf4_library_sees_the_same_variables(path):
    netcdf4 = pytest.importorskip("netCDF4")
    with netcdf4.Dataset(path) as file:
        assert list(file["posterior"].variables) == ["chain", "draw", "peak", "position", "noise"]
        assert file["curves/fit"].dimensions == ("quantile", "point")


def test_equal_input_gives_equal_bytes(path, tmp_path):
    again = tmp_path / "another_name.h5"
    write_groups(again, posterior_groups())
    assert again.read_bytes() == path.read_bytes()


def test_times_are_not_stored(path):
    """Times in object headers would make the bytes depend on the clock; h5py reports 0 where none are."""
    with h5py.File(path) as file:
        objects: list[h5py.HLObject] = [file]
        file.visititems(lambda _, item: objects.append(item))
        assert len(objects) > 20
        assert {h5py.h5g.get_objinfo(item.id).mtime for item in objects} == {0}


def test_axes_without_any_element_are_kept(tmp_path):
    path = tmp_path / "empty.h5"
    write_groups(path, {"posterior": Group({"a": (("chain", "draw"), np.zeros((2, 0)))})})
    assert read_group(path, "posterior")["a"].shape == (2, 0)


def test_many_attributes_fit(tmp_path):
    path = tmp_path / "attrs.h5"
    attrs = {f"name{i}": "x" * i for i in range(40)} | {"nothing": ""}
    write_groups(path, {"g": Group({"a": (("n",), [1.0], attrs)}, attrs=attrs)})
    assert read_attrs(path, "g") == attrs


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (Group({"a": (("n",), [1, 2]), "b": (("n",), [1])}), "b has 1 along n; 2 were stated before"),
        (Group({"a": (("n",), [1, 2])}, dims={"n": 3}), "a has 2 along n; 3 were stated before"),
        (Group({"a": (("n",), [[1], [2]])}), "a has 2 axes"),
        (Group({"n": (("n",), [1, 2])}), "n is a dimension: give its values in coords"),
        (Group({"a": (("n",), [None])}), "an array of object cannot be written"),
        (Group(attrs={"a": {}}), "an array of object cannot be written"),
    ],
)
def test_contradictions_are_refused_and_nothing_is_written(tmp_path, group, message):
    with pytest.raises(ValueError, match=message):
        write_groups(tmp_path / "bad.h5", {"g": group})
    assert list(tmp_path.iterdir()) == []


def test_old_file_survives_a_refused_one(path):
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write_groups(path, {"g": Group({"a": (("n", "m"), [1])})})
    assert path.read_bytes() == before


def test_reading_what_is_not_there_says_so(path, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_group(tmp_path / "missing.h5", "posterior")
    with pytest.raises(InputError, match="no group 'prior'; groups in it: posterior, sample_stats"):
        read_group(path, "prior")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(InputError, match="cannot be opened as HDF5"):
        read_attrs(tmp_path / "text.h5")
