"""Designs: which samples there are, that they grow, and that they fill the space they are to fill."""

import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.simulate.design import KINDS, SEQUENCES, can_grow, is_table, make_design, refusal
from hpc_ds.simulate.parameters import ParameterSpace

CUBE = ParameterSpace.from_dict({name: {"bounds": [0, 1]} for name in "abc"})
MIXED = ParameterSpace.from_dict(
    {
        "viscosity": {"distribution": "log_uniform(1e-3, 1e-1)"},
        "force": {"distribution": "normal(1, 2)"},
        "modes": {"integer": [1, 8]},
        "scheme": {"choices": ["upwind", "central"]},
        "low": {"bounds": [0, 1]},
        "high": {"bounds": ["low", 2]},
    },
    ["low + high <= 1.5"],
)


def points(columns):
    return np.stack(list(columns.values()), axis=1)


def same(one, other, rows):
    return all(np.array_equal(one[name][:rows], other[name][:rows]) for name in one)


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("space", [CUBE, MIXED], ids=["cube", "mixed"])
def test_first_samples_do_not_depend_on_how_many_there_are(kind, space):
    large = make_design(space, kind, 100_000, seed=3)  # more than a block
    for n in (1, 7, 64, 70_001):
        small = make_design(space, kind, n, seed=3)
        assert all(values.shape == (n,) for values in small.values())
        assert same(small, large, n)


@pytest.mark.parametrize("kind", [*SEQUENCES, "latin-hypercube"])
def test_seeds_give_different_designs_and_equal_seeds_equal_ones(kind):
    assert same(make_design(CUBE, kind, 16, 1), make_design(CUBE, kind, 16, 1), 16)
    assert not same(make_design(CUBE, kind, 16, 1), make_design(CUBE, kind, 16, 2), 16)


def test_sobol_points_are_those_of_scipy():
    engine = qmc.Sobol(3, bits=52, rng=stream(5, name_key("design")))
    np.testing.assert_allclose(points(make_design(CUBE, "sobol", 64, 5)), engine.random(64), atol=2.0**-52)


def test_sobol_points_are_balanced():
    found = points(make_design(CUBE, "sobol", 256, 5))
    for column in found.T:
        assert np.bincount((column * 256).astype(int)).tolist() == [1] * 256
    cells = (found[:, :2] * 16).astype(int)
    assert len({tuple(cell) for cell in cells}) == 256


@pytest.mark.parametrize("kind", ["sobol", "halton", "latin-hypercube"])
def test_discrepancy_is_below_that_of_random_points(kind):
    mean = [
        np.mean([qmc.discrepancy(points(make_design(CUBE, one, 256, seed))) for seed in range(8)])
        for one in (kind, "random")
    ]
    assert mean[0] < 0.5 * mean[1]


@pytest.mark.parametrize("kind", [*SEQUENCES, "latin-hypercube"])
def test_marginals_follow_the_distributions(kind):
    free = ParameterSpace(MIXED.variables)
    found = make_design(free, kind, 2048, 11)
    for name, law in (
        ("viscosity", stats.loguniform(1e-3, 1e-1)),
        ("force", stats.norm(1, 2)),
        ("low", stats.uniform()),
    ):
        assert stats.kstest(found[name], law.cdf).pvalue > 1e-3
    relative = (found["high"] - found["low"]) / (2 - found["low"])
    assert stats.kstest(relative, "uniform").pvalue > 1e-3
    assert stats.chisquare(np.bincount(found["modes"])[1:]).pvalue > 1e-3


@pytest.mark.parametrize("kind", SEQUENCES)
def test_constraints_hold_and_leave_the_law_of_what_satisfies_them(kind):
    found = make_design(MIXED, kind, 3000, 2)
    assert (found["low"] + found["high"] <= 1.5).all()
    assert (found["low"] <= found["high"]).all()
    rng = np.random.default_rng(0)
    low = rng.random(200_000)
    high = low + rng.random(low.size) * (2 - low)
    assert stats.ks_2samp(found["low"], low[low + high <= 1.5]).pvalue > 1e-3


def test_no_warnings_about_powers_of_two():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in SEQUENCES:
            make_design(MIXED, kind, 100, 1)
        make_design(CUBE, "latin-hypercube", 100, 1)


def test_space_of_fixed_parameters_has_designs_too():
    fixed = ParameterSpace.from_dict({"g": 9.81})
    for kind in [*SEQUENCES, "latin-hypercube"]:
        np.testing.assert_array_equal(make_design(fixed, kind, 5, 1)["g"], [9.81] * 5)
    assert make_design(ParameterSpace.from_dict({}), "sobol", 5, 1) == {}


def test_many_dimensions_are_made_in_small_blocks():
    many = ParameterSpace.from_dict({f"p{j}": {"bounds": [0, 1]} for j in range(600)})
    assert same(make_design(many, "sobol", 9000, 1), make_design(many, "sobol", 50, 1), 50)


@pytest.mark.parametrize("n", [0, -3])
@pytest.mark.parametrize("kind", KINDS)
def test_no_samples_are_refused(kind, n):
    with pytest.raises(InputError, match=f"samples = {n}: at least 1 is needed"):
        make_design(CUBE, kind, n, 1)


def test_unknown_design_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="design 'sobel': did you mean 'sobol'"):
        make_design(CUBE, "sobel", 8, 1)


def test_hopeless_constraints_are_given_up():
    narrow = ParameterSpace.from_dict({"a": {"bounds": [0, 1]}}, ["a < 1e-6"])
    with pytest.raises(InputError, match=r"constraints: \d+ of 1048576 points satisfy a < 1e-06"):
        make_design(narrow, "sobol", 100, 1)


def test_a_latin_hypercube_has_one_sample_in_each_stratum():
    found = points(make_design(CUBE, "latin-hypercube", 100, 1))
    for column in found.T:
        assert sorted((column * 100).astype(int)) == list(range(100))


def test_a_latin_hypercube_with_constraints_is_refused_with_the_reason():
    with pytest.raises(InputError, match="latin-hypercube: cannot keep low"):
        make_design(MIXED, "latin-hypercube", 100, 1)


def test_what_cannot_grow_is_refused_with_the_reason():
    assert [kind for kind in KINDS if not can_grow(kind)] == ["latin-hypercube", "factorial"]
    assert can_grow("points.csv")
    for kind in ("latin-hypercube", "factorial"):
        told = refusal(kind, 10, 20)
        assert "samples = 20" in told
        assert "depend" in told
        assert "sobol" in told


# factorial


def test_factorial_design_has_all_combinations_with_the_ends_of_bounds():
    space = ParameterSpace.from_dict(
        {"a": {"bounds": [0, 2]}, "b": {"distribution": "normal(0, 1)"}, "c": {"choices": ["x", "y"]}}
    )
    found = make_design(space, "factorial", 18, 1)
    assert sorted(set(found["a"])) == [0.0, 1.0, 2.0]
    np.testing.assert_allclose(sorted(set(found["b"])), stats.norm.ppf([1 / 6, 0.5, 5 / 6]), atol=1e-15)
    assert len(set(zip(*(values.tolist() for values in found.values()), strict=True))) == 18


def test_factorial_design_takes_levels_by_name():
    found = make_design(CUBE, "factorial", None, 1, levels={"a": 2, "b": 3, "c": 1})
    assert [len(set(found[name])) for name in "abc"] == [2, 3, 1]


def test_factorial_design_leaves_out_what_constraints_forbid():
    space = ParameterSpace.from_dict({"a": {"bounds": [0, 1]}, "b": {"bounds": [0, 1]}}, ["a + b <= 1"])
    found = make_design(space, "factorial", 9, 1)
    assert len(found["a"]) == 6


@pytest.mark.parametrize(
    ("samples", "levels", "told"),
    [
        (10, None, "8 or 27 would do"),
        (None, None, "the number of samples, or of levels, is needed"),
        (9, 2, "with levels a 2, b 2, c 2 has 8"),
        (None, {"a": 2}, "levels: none for b, c"),
        (None, {"d": 2}, "levels: no parameter 'd'"),
        (None, 0, "at least 1"),
        (None, 10_000, "at most 4294967296"),
    ],
)
def test_factorial_design_that_does_not_fit_is_refused(samples, levels, told):
    with pytest.raises(InputError, match=told):
        make_design(CUBE, "factorial", samples, 1, levels=levels)


# tables

TABLE = "# chosen by hand\nscheme, modes, viscosity,low,high,force\nupwind,3,0.01,0.1,0.5,-4\ncentral,8,0.1,0,1.5,2.5\n"


def table(tmp_path, text=TABLE):
    file = tmp_path / "points.csv"
    file.write_text(text)
    return str(file)


def test_table_gives_the_samples_in_its_order(tmp_path):
    path = table(tmp_path)
    assert is_table(path)
    found = make_design(MIXED, path, None, 1)
    assert list(found) == list(MIXED.names)
    assert found["scheme"].tolist() == ["upwind", "central"]
    assert found["modes"].dtype == np.int64
    np.testing.assert_array_equal(found["force"], [-4, 2.5])
    assert make_design(MIXED, "sobol", 1, 1, table=path)["viscosity"].tolist() == [0.01]


def test_table_of_words_only_is_read(tmp_path):
    space = ParameterSpace.from_dict({"scheme": {"choices": ["upwind", "central"]}})
    assert make_design(space, table(tmp_path, "scheme\ncentral\nupwind\n"), None, 1)["scheme"].tolist() == [
        "central",
        "upwind",
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("0.01,0.1", "0.5,0.1", "line 3: viscosity = 0.5 lies outside its space"),
        ("0,1.5,2.5", "0.5,1.4,2.5", r"line 4: not low \+ high <= 1.5 \(low = 0.5, high = 1.4\)"),
        ("0.1,0,1.5,2.5", "0.1,0,x,2.5", "line 4, column 'high': found 'x'; a number is needed"),
        ("central,8", "central,8.5", "column 'modes': an integer is needed"),
        ("central,8", "centre,8", "line 4: scheme = centre lies outside its space, one of upwind, central"),
        ("force", "froce", "no parameter 'froce'; did you mean 'force'"),
        ("force", "low", "two columns are called 'low'"),
        ("force", "", "no parameter"),
        ("2.5", "nan", "a finite number is needed"),
    ],
)
def test_table_that_does_not_fit_is_told_with_its_line(tmp_path, old, new, told):
    with pytest.raises(InputError, match=told) as caught:
        make_design(MIXED, table(tmp_path, TABLE.replace(old, new, 1)), None, 1)
    assert "points.csv" in str(caught.value)


def test_table_without_a_column_is_told(tmp_path):
    with pytest.raises(InputError, match="no column 'force'"):
        make_design(
            MIXED, table(tmp_path, "scheme,modes,viscosity,low,high\nupwind,3,0.01,0.1,0.5\n"), None, 1
        )


def test_more_samples_than_rows_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"samples = 3: the table .* has 2 rows"):
        make_design(MIXED, table(tmp_path), 3, 1)


def test_missing_table_is_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        make_design(MIXED, str(tmp_path / "nowhere.csv"), 3, 1)
