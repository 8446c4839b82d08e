"""What is input and what is target is said in a few letters, and what cannot be is refused in one line."""

import re

import pytest

from hpc_ds.learn.selection import Part, Quantity, Selection, parse, select, time_range
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError

KNOWN = {
    quantity.name: quantity
    for quantity in (
        Quantity("u", True, 11),
        Quantity("velocity", True, 11, (("x", "y"),)),
        Quantity("strain", True, 11, (("x", "y"), ("x", "y"))),
        Quantity("bed", True),
        Quantity("nu", False),
        Quantity("energy", False, 11),
        Quantity("phase", False, None, (), ("linear", "saturated")),
        Quantity("count", False, labels=True),
    )
}


def chosen(known=KNOWN, **values):
    return select(make_settings(values), known, "the set")


def texts(parts):
    return [str(part) for part in parts]


def test_by_default_the_first_state_predicts_the_last():
    selection = chosen()
    assert texts(selection.inputs) == ["u:0", "velocity:0", "strain:0", "bed"]
    assert texts(selection.targets) == ["u:-1", "velocity:-1", "strain:-1"]
    assert selection.task == "fields"


def test_of_static_fields_those_that_are_not_named_are_the_other_side():
    static = {"a": Quantity("a", True), "u": Quantity("u", True)}
    assert texts(chosen(static, input="a").targets) == ["u"]
    assert texts(chosen(static, target="u").inputs) == ["a"]
    with pytest.raises(InputError, match="--target: the set has no default; name some of a, u"):
        chosen(static)


def test_without_fields_all_numbers_that_are_not_learned_are_seen():
    numbers = {name: KNOWN[name] for name in ("nu", "count", "energy")}
    assert texts(chosen(numbers, target="count", task="scalars").inputs) == ["nu", "energy:0"]


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("0", [0]),
        ("-1", [10]),
        ("0:4", [0, 1, 2, 3]),
        ("1:10:3", [1, 4, 7]),
        ("-2:", [9, 10]),
        ("", range(11)),
    ],
)
def test_times_are_pythons(text, times):
    assert list(time_range(text, KNOWN["u"])) == list(times)


@pytest.mark.parametrize("text", ["u:3", "velocity.x:0", "velocity.1:0:10:2", "strain.x.y:-1", "nu"])
def test_a_part_is_written_as_it_was_given(text):
    assert str(parse(text, "--input", KNOWN, "here")) == text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"input": "velcity:0"},
            "--input velcity:0: no 'velcity' in the set; did you mean 'velocity'? there are u,",
        ),
        ({"input": "u:11"}, "--input u:11: time 11 is out of range: there are 11, 0 to 10"),
        ({"target": "u:-12"}, "--target u:-12: time -12 is out of range"),
        ({"input": "u:0:12"}, "--input u:0:12: time 12 is out of range"),
        ({"input": "u:5:5"}, "no time lies in this range"),
        ({"input": "u:5:0:-1"}, "times go forwards"),
        ({"input": "u:a"}, "times are given as"),
        ({"input": "u:"}, "--input u:: times are given as"),
        ({"input": "nu:0"}, "nu does not vary in time; leave out :0"),
        ({"input": "velocity.z:0"}, "velocity has no component 'z'; there are x, y"),
        ({"input": "velocity.x.y:0"}, "velocity is a vector: one component is needed"),
        ({"input": "strain.x:0"}, "strain is a tensor: two are needed"),
        ({"input": "u.x:0"}, "u has no components"),
        ({"target": "u:-1,nu"}, "--target u:-1,nu: mixes fields and numbers"),
        ({"target": "nu", "task": "fields"}, "--task fields: --target nu is no field"),
        ({"target": "u:-1", "task": "classify"}, "--task classify: --target u:-1 is a field"),
        ({"target": "nu,count", "task": "classify"}, "needs one target"),
        (
            {"target": "energy", "task": "classify"},
            "has 11 values a sample; --task classify needs one, such as energy:-1",
        ),
        ({"input": "u:0", "target": "u:0"}, "--target u:0: is what the network sees"),
        ({"input": "u:10", "target": "u:-1"}, "is what the network sees"),
        ({"input": "bed", "window": "2,1"}, "--window 2,1: no part of --input varies in time"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(InputError, match=re.escape(message)):
        chosen(**values)


@pytest.mark.parametrize(
    ("target", "task"),
    [
        ("phase", "classify"),
        ("count", "classify"),
        ("nu", "scalars"),
        ("nu,count", "scalars"),
        ("u:3", "fields"),
    ],
)
def test_the_task_follows_from_the_target(target, task):
    assert chosen(target=target).task == task


def test_a_window_stands_for_the_times_that_are_not_named():
    selection = chosen(window="4,1", input="u,bed")
    assert texts(selection.inputs) == ["u", "bed"]
    assert texts(selection.targets) == ["u", "velocity", "strain"]
    assert selection.window == (4, 1)


def test_a_selection_goes_through_json():
    selection = chosen(window="4,1", input="u,bed,velocity.x:0")
    assert Selection.from_dict(selection.to_dict()) == selection
    assert selection.inputs[2] == Part("velocity", "x", "0")
