"""Sweeps: a command for each combination, a run folder for each command."""

import pytest

from hpc_ds.jobs.sweep import Axis, out_of, points, read_axes
from hpc_ds.runtime.errors import InputError

OURS = ("hpc-ds", "infer", "spectrum", "data.csv", "--out", "runs/first")


def test_axes_are_read_with_commas_and_quotes():
    axes = read_axes(["seed=1,2", '--peaks="1,2",3'])
    assert axes == (Axis("seed", ("1", "2")), Axis("peaks", ("1,2", "3")))


def test_the_product_of_two_axes_has_a_folder_each():
    found = points(OURS, read_axes(["seed=1,2", "noise=0.1,estimate"]))
    assert [point.out for point in found] == [
        "runs/first/seed=1,noise=0.1",
        "runs/first/seed=1,noise=estimate",
        "runs/first/seed=2,noise=0.1",
        "runs/first/seed=2,noise=estimate",
    ]
    assert found[3].command == (
        *OURS[:5],
        "runs/first/seed=2,noise=estimate",
        "--seed",
        "2",
        "--noise",
        "estimate",
    )


def test_entries_of_a_table_become_repeated_options():
    command = ("hpc-ds", "simulate", "burgers", "--out=data")
    found = points(command, read_axes(["option.resolution=64"]))
    assert found[0].command == (*command[:3], "--out=data/option.resolution=64", "--option", "resolution=64")


def test_braces_are_filled_in_any_command():
    found = points(("./solve", "--nu", "{nu}", "--out", "runs/nu{nu}"), read_axes(["nu=1e-3,1/2"]))
    assert found[1].command == ("./solve", "--nu", "1/2", "--out", "runs/nu1_2")
    assert found[1].out == "runs/nu1_2"


def test_a_job_without_a_sweep_is_one_point():
    (only,) = points(OURS, ())
    assert (only.label, only.command, only.out) == ("", OURS, "runs/first")


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["x", "-o", "a"], "a"),
        (["x", "--out=a"], "a"),
        (["x", "--out"], None),
        (["x", "--output", "a"], None),
    ],
)
def test_the_run_folder_of_a_command(command, out):
    assert out_of(command) == out


@pytest.mark.parametrize(
    "text", ["seed", "seed=", "=1", "se ed=1", "seed=1,1", "seed=1,,2x\u20131=3", 'seed=""']
)
def test_what_is_no_sweep_is_refused(text):
    if text == "seed=1,,2x\u20131=3":  # a value may hold anything
        assert read_axes([text])[0].values == ("1", "2x\u20131=3")
        return
    with pytest.raises(InputError, match="--sweep"):
        read_axes([text])


def test_twice_the_same_key_and_too_many_points_are_refused():
    with pytest.raises(InputError, match="swept already"):
        read_axes(["seed=1", "seed=2"])
    many = ",".join(map(str, range(400)))
    with pytest.raises(InputError, match="160000 combinations"):
        points(OURS, read_axes([f"seed={many}", f"draws={many}"]))


def test_a_strange_program_must_say_where_the_value_belongs():
    with pytest.raises(InputError, match=r"\{nu\}"):
        points(("./solve",), read_axes(["nu=1,2"]))
