"""A layout refuses at once what no data file could hold, and so do its fields."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.layout import Axis, Column, Field, FieldError, Layout, axis

LAYOUT = Layout("set", (axis("x", 0.0, 1.0, 4),), Axis("time", np.arange(2.0)), (Field("u"),))
U = np.arange(8.0).reshape(2, 4)


def test_plain_data_describe_a_layout():
    again = Layout.from_dict(LAYOUT.to_dict())
    assert again.to_dict() == LAYOUT.to_dict()
    assert again.shape("u") == (2, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "returned None: a mapping of fields is needed"),
        (U, "returned a value of type ndarray: a mapping"),
        ({"u": [[1.0, 2.0], [3.0]]}, "'u' cannot be made an array"),
        ({"u": np.ma.masked_less(U, 2.0)}, "'u' has masked values"),
        ({"u": [["a"] * 4] * 2}, "real numbers are needed"),
        ({"u": U[:1]}, r"has shape \(1, 4\)"),
        ({"u": U * 1e39}, "7 of 8 values that are NaN or infinite"),
        ({}, "declared but was not returned"),
        ({"u": U, "v": U}, "'v' was returned but is not declared"),
    ],
)
def test_fields_that_are_not_the_declared_ones_are_refused(values, message):
    with pytest.raises(FieldError, match=message):
        LAYOUT.checked(values)


def test_an_object_that_refuses_to_be_an_array_is_refused():
    class Tensor:
        def __array__(self, *_args, **_kwargs):
            raise RuntimeError("needs its gradient")

    with pytest.raises(FieldError, match=r"cannot be made an array \(needs its gradient\)"):
        LAYOUT.checked({"u": Tensor()})


def test_a_mask_that_masks_nothing_is_fine():
    assert np.array_equal(LAYOUT.checked({"u": np.ma.masked_less(U, -1.0)})["u"], U)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": (axis("time", 0.0, 1.0, 4),)}, "no axis may be called 'time'"),
        ({"attributes": {"grid_type": "no"}}, "attribute 'grid_type' is one that The Well's files have"),
        ({"attributes": {"a": "no"}, "columns": (Column("a"),)}, "attribute 'a' is one"),
        ({"columns": (Column("n_trajectories"),)}, "parameter 'n_trajectories' is one"),
        ({"columns": (Column("dataset_name"),)}, "parameter 'dataset_name' is one"),
        ({"name": ""}, "its name is part of file names"),
        ({"name": ".hidden"}, "its name is part of file names"),
        ({"name": "a/b"}, "its name is part of file names"),
        (
            {"times": Axis("time", 1e9 + np.arange(2.0))},
            "'time' must be .* that increase in single precision",
        ),
        ({"axes": (axis("x", 0.0, 1e39, 4),)}, "'x' must be finite .* in single precision"),
        ({"axes": (Axis("x", np.zeros(4)),)}, "'x' must be finite numbers that increase$"),
        ({"axes": (), "fields": (Field("u", 1),)}, "'u' has rank 1"),
        ({"fields": ()}, "declares no field"),
        ({"fields": (Field("u"), Field("u"))}, "'u' is declared twice"),
        ({"fields": (Field("u", dims=("y",)),)}, "they must be among"),
    ],
)
def test_a_layout_that_cannot_be_stored_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(LAYOUT, **change)
