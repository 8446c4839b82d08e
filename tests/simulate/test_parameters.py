"""Parameter spaces: what is read, what comes out, and what is refused in one line."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate.parameters import ParameterSpace, read_space, sample_of
from hpc_ds.store.layout import Column

PARAMETERS = {
    "viscosity": {"distribution": "log_uniform(1e-3, 1e-1)", "units": "m2/s"},
    "modes": {"integer": [1, 8]},
    "scheme": {"choices": ["upwind", "central"]},
    "high": {"bounds": ["low", 2]},
    "low": {"bounds": [0, 1]},
    "gravity": 9.81,
    "copies": 3,
    "cells": {"choices": [32, 64]},
    "width": {"bounds": [0.01, "1 + high"], "scale": "log"},
    "rank": {"integer": [1, "modes"]},
}
CONSTRAINTS = ["low + high <= 1.5", "scheme == 'upwind' or modes < 5"]


def space():
    return ParameterSpace.from_dict(PARAMETERS, CONSTRAINTS)


def columns(n=4096):
    return space().from_unit(np.random.default_rng(0).random((n, space().dimension)))


def test_space_keeps_the_order_in_which_it_was_written():
    assert space().names == tuple(PARAMETERS)
    assert tuple(columns()) == tuple(PARAMETERS)
    assert space().varied == tuple(name for name in PARAMETERS if name not in ("gravity", "copies"))
    assert space().dimension == 8


def test_columns_have_units_and_choices():
    assert space().columns[0] == Column("viscosity", "m2/s")
    assert space().columns[2] == Column("scheme", "", ("upwind", "central"))
    assert space().columns[7] == Column("cells")


def test_values_have_their_kinds():
    kinds = {name: values.dtype for name, values in columns().items()}
    assert [kinds[name] for name in ("viscosity", "high", "gravity", "width")] == [np.float64] * 4
    assert [kinds[name] for name in ("modes", "copies", "cells", "rank")] == [np.int64] * 4
    assert kinds["scheme"] == "<U7"
    one = sample_of(columns(), 5)
    assert [type(one[name]) for name in ("viscosity", "modes", "scheme")] == [float, int, str]


def test_bounds_that_depend_on_others_are_kept():
    found = columns()
    assert (found["low"] <= found["high"]).all()
    assert (found["high"] <= 2).all()
    assert (found["width"] <= 1 + found["high"]).all()
    assert (found["rank"] <= found["modes"]).all()
    assert set(found["rank"][found["modes"] == 3]) == {1, 2, 3}


def test_integers_and_choices_are_equally_likely():
    u = (np.arange(8000)[:, None] + 0.5) / 8000 * np.ones(space().dimension)
    found = space().from_unit(u)
    assert np.bincount(found["modes"])[1:].tolist() == [1000] * 8
    assert sorted(np.unique(found["scheme"], return_counts=True)[1]) == [4000, 4000]


def test_unit_coordinates_invert_the_values():
    u = np.random.default_rng(1).random((500, space().dimension))
    found = space().from_unit(u)
    back = space().to_unit(found)
    continuous = [space().varied.index(name) for name in ("viscosity", "high", "low", "width")]
    np.testing.assert_allclose(back[:, continuous], u[:, continuous], atol=1e-12)
    again = space().from_unit(back)
    for name in ("modes", "scheme", "cells", "rank"):
        np.testing.assert_array_equal(again[name], found[name])


def test_constraints_say_which_samples_satisfy_them():
    found = columns()
    mask = (found["low"] + found["high"] <= 1.5) & ((found["scheme"] == "upwind") | (found["modes"] < 5))
    np.testing.assert_array_equal(space().satisfied(found), mask)
    assert 0 < mask.sum() < mask.size


def test_plain_data_read_back_to_an_equal_space():
    again = ParameterSpace.from_dict(**space().to_dict())
    assert again == space()
    assert again.to_dict() == space().to_dict()
    assert pickle.loads(pickle.dumps(space())) == space()


def test_space_without_parameters_is_one():
    empty = ParameterSpace.from_dict({})
    assert empty.dimension == 0
    assert empty.from_unit(np.empty((3, 0))) == {}


FILE = """
constraints = ["low + high <= 1.5"]

[parameters.low]
bounds = [0, 1]
units = "m"

[parameters.high]
bounds = ["low", 2]
"""


def test_file_is_read(tmp_path):
    (tmp_path / "space.toml").write_text(FILE)
    found = read_space(tmp_path / "space.toml")
    assert found.names == ("low", "high")
    assert found.constraints[0].text == "low + high <= 1.5"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[parameters.a", "no TOML"),
        ("a = 1", "no key 'a'; known are parameters, constraints"),
        ("[parameter.a]\nbounds = [0, 1]", "no key 'parameter'; did you mean 'parameters'?"),
        ("", r"no \[parameters.NAME\]"),
        ("parameters = 1", "for each is needed"),
        ("[parameters.a]\nbounds = [1, 0]", r"parameter 'a': bounds = \[1, 0\]; low must be less than high"),
        ("[parameters.a]\nbounds = [0, 0]", "low must be less than high"),
        ("[parameters.a]\nbounds = [0]", "two are needed"),
        ("[parameters.a]\nbounds = [nan, 1]", "found nan; a finite number is needed"),
        ("[parameters.a]\nbounds = [0, inf]", "found inf; a finite number is needed"),
        ("[parameters.a]\nbounds = [true, 1]", "bounds holds True"),
        ("[parameters.a]\nbound = [0, 1]", "no key 'bound'; did you mean 'bounds'?"),
        ("[parameters.a]\nunits = 'm'", "found none; exactly one of distribution, bounds"),
        ("[parameters.a]\nbounds = [0, 1]\ninteger = [0, 1]", "found bounds and integer; exactly one"),
        ("[parameters.a]\nbounds = [0, 1]\nunits = 1", "units = 1; a text is needed"),
        ("[parameters.a]\nchoices = []", r"choices = \[\]; a list of at least one value"),
        ("[parameters.a]\nchoices = ['x', 1]", "either all words or all numbers"),
        ("[parameters.a]\nchoices = ['x', 'x']", "one stands twice"),
        ("[parameters.a]\ninteger = [5, 2]", "low must be less than high"),
        ("[parameters.a]\ninteger = [0.2, 0.8]", "numbers that ascend"),
        ("[parameters.a]\nbounds = [-1, 1]\nscale = 'log'", "must be greater than 0 on a scale = 'log'"),
        ("[parameters.a]\nbounds = [1, 2]\nscale = 'logarithmic'", "'linear' or 'log'"),
        ("[parameters.a]\ninteger = [1, 2]\nscale = 'log'", "with bounds is needed"),
        ("[parameters.a]\ndistribution = 'unifrm(0, 1)'", r"unknown; known are normal\(mean, sd\)"),
        ("[parameters.a]\ndistribution = 'uniform(1, 0)'", "low must be less than high"),
        ("[parameters.a]\ndistribution = 'normal(0, nan)'", "sd must be a finite number"),
        ("[parameters.a]\ndistribution = 3", "a text such as"),
        ("[parameters]\na = 'x'", "distribution 'x': unknown; known are"),
        ("[parameters]\na = inf", "a finite number is needed"),
        ("[parameters.'a b']\nbounds = [0, 1]", "parameter 'a b': a name of letters"),
        ("[parameters.a]\nbounds = ['b', 1]", "parameter 'a': no parameter 'b'"),
        ("[parameters.low]\nbounds = [0, 1]\n[parameters.a]\nbounds = ['lwo', 1]", "did you mean 'low'?"),
        ("[parameters.a]\nbounds = ['a', 1]", "depend on each other in a circle"),
        ("[parameters.a]\nbounds = [0, 'b']\n[parameters.b]\nbounds = [0, 'a']", "'a', 'b': .* circle"),
        ("[parameters.a]\nbounds = [0, 3]\n[parameters.b]\nbounds = ['a', 2]", r"found .* and 2 where a = "),
        ("[parameters.a]\nbounds = ['1 < 2', 3]", "is a truth; a number is needed"),
        (
            "[parameters.a]\nbounds = ['b', 3]\n[parameters.b]\nchoices = ['x']",
            "is a word; a number is needed",
        ),
        ("constraints = ['b < 1']\n[parameters.a]\nbounds = [0, 1]", "constraint 'b < 1': no parameter 'b'"),
        ("constraints = ['a + 1']\n[parameters.a]\nbounds = [0, 1]", "a comparison such as"),
        ("constraints = ['1 < 2']\n[parameters.a]\nbounds = [0, 1]", "names no parameter"),
        ("constraints = 'a < 1'\n[parameters.a]\nbounds = [0, 1]", "a list of texts"),
        ("constraints = [1]\n[parameters.a]\nbounds = [0, 1]", "constraint 1: a text"),
        ("[parameters.a]\nbounds = [0, 1]\nconstraints = []", r"belongs above the first \[table\]"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, text, told):
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        read_space(file)
    assert "space.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.toml: No such file"):
        read_space(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a": [0.5], "b": [1], "c": ["x"], "d": [1]}, "no parameter 'd'; parameters are a, b, c"),
        ({"a": [0.5], "b": [1]}, "no column 'c'"),
        ({"a": [0.5, 1.5], "b": [1, 1], "c": ["x", "x"]}, "sample 1: a = 1.5 lies outside its space"),
        ({"a": [0.5], "b": [1.5], "c": ["x"]}, "column 'b': an integer is needed"),
        ({"a": [0.5], "b": [7], "c": ["x"]}, "b = 7 lies outside its space, an integer from 1 to 3"),
        ({"a": [0.5], "b": [1], "c": ["xx"]}, "c = xx lies outside its space, one of x, y"),
        ({"a": ["q"], "b": [1], "c": ["x"]}, "column 'a': a number is needed"),
        ({"a": [float("nan")], "b": [1], "c": ["x"]}, "a = nan lies outside"),
        ({"a": [0.9], "b": [3], "c": ["x"]}, r"not a \* b < 2 \(a = 0.9, b = 3\)"),
    ],
)
def test_columns_from_outside_are_checked(given, told):
    small = ParameterSpace.from_dict(
        {"a": {"bounds": [0, 1]}, "b": {"integer": [1, 3]}, "c": {"choices": ["x", "y"]}}, ["a * b < 2"]
    )
    with pytest.raises(InputError, match=told):
        small.converted(given, "points.csv")


def test_import_is_light():
    code = (
        "import sys, hpc_ds.simulate.parameters, hpc_ds.simulate.design, hpc_ds.simulate.adaptive, "
        "hpc_ds.simulate.simulators; "
        "print([m for m in ('scipy.stats', 'dask', 'distributed', 'numba', 'torch', 'mpi4py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
