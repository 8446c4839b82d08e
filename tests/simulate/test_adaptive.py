"""Adaptive designs: more samples where something happens, the same ones each time."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.random import name_key, stream
from hpc_ds.simulate.adaptive import (
    LargestDisagreement,
    design_hash,
    is_adaptive,
    make_adaptive,
    summary_of,
)
from hpc_ds.simulate.design import make_design
from hpc_ds.simulate.parameters import ParameterSpace

SQUARE = ParameterSpace.from_dict({"a": {"bounds": [0, 1]}, "b": {"bounds": [0, 1]}})


def front(columns):
    """A steep front along a + b / 2 = 0.8."""
    return np.tanh(40 * (columns["a"] + 0.5 * columns["b"] - 0.8))[:, None]


def bump(columns):
    """A narrow bump, far from which nothing happens."""
    squares = (columns["a"] - 0.3) ** 2 + (columns["b"] - 0.6) ** 2
    return np.exp(-squares / (2 * 0.06**2))[:, None]


def grown(function, seed, generations=6, n=32, space=SQUARE):
    design = LargestDisagreement(space)
    parts = []
    for generation in range(generations):
        columns = design.ask(generation, n, stream(seed, name_key("design"), generation))
        parts.append(columns)
        design.tell(columns, function(columns))
    return {name: np.concatenate([part[name] for part in parts]) for name in space.names}


def error_of(columns, function):
    rng = np.random.default_rng(9)
    target = {"a": rng.random(2000), "b": rng.random(2000)}
    surrogate = RBFInterpolator(
        SQUARE.to_unit(columns), function(columns)[:, 0], neighbors=40, kernel="linear"
    )
    return np.sqrt(np.mean((surrogate(SQUARE.to_unit(target)) - function(target)[:, 0]) ** 2))


@pytest.mark.parametrize("function", [front, bump])
def test_a_surrogate_errs_less_than_with_as_many_sobol_points(function):
    seeds = range(4)
    adaptive = np.mean([error_of(grown(function, seed), function) for seed in seeds])
    sobol = np.mean([error_of(make_design(SQUARE, "sobol", 192, seed), function) for seed in seeds])
    assert adaptive < 0.7 * sobol


def test_more_points_lie_where_the_front_is():
    near = [np.mean(np.abs(front(grown(front, seed))) < 0.95) for seed in range(3)]
    even = [np.mean(np.abs(front(make_design(SQUARE, "sobol", 192, seed))) < 0.95) for seed in range(3)]
    assert np.mean(near) > 2.5 * np.mean(even)


def test_points_are_not_heaped_upon_each_other():
    points = SQUARE.to_unit(grown(front, 0))
    apart = np.linalg.norm(points[:, None] - points, axis=2) + np.eye(len(points))
    assert apart.min() > 1e-3


def test_constant_field_is_sampled_evenly():
    columns = grown(lambda found: np.ones((len(found["a"]), 3)), 1)
    assert np.histogram2d(columns["a"], columns["b"], bins=4)[0].min() >= 4


def test_generations_are_a_pure_function_of_the_earlier_ones():
    first, again = grown(front, 5), grown(front, 5)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    fresh = LargestDisagreement(SQUARE)  # as after a restart: told all, never asked
    for generation in range(5):
        rows = slice(32 * generation, 32 * generation + 32)
        part = {name: values[rows] for name, values in first.items()}
        fresh.tell(part, front(part))
    last = fresh.ask(5, 32, stream(5, name_key("design"), 5))
    assert all(np.array_equal(last[name], first[name][160:]) for name in first)


def test_failed_samples_leave_a_design_that_goes_on():
    design = LargestDisagreement(SQUARE)
    columns = design.ask(0, 16, stream(1, 0))
    design.tell({name: values[:0] for name, values in columns.items()}, np.empty((0, 2)))
    columns = design.ask(1, 16, stream(1, 1))
    design.tell({name: values[:3] for name, values in columns.items()}, front(columns)[:3])
    assert len(design.ask(2, 16, stream(1, 2))["a"]) == 16


def test_integers_choices_and_constraints_are_kept():
    space = ParameterSpace.from_dict(
        {"n": {"integer": [1, 4]}, "word": {"choices": ["x", "y"]}, "a": {"bounds": [0, 1]}, "g": 9.8},
        ["a * n < 2"],
    )
    columns = grown(lambda found: found["a"][:, None] * found["n"][:, None], 1, 3, space=space)
    assert set(columns["n"]) <= {1, 2, 3, 4}
    assert set(columns["word"]) == {"x", "y"}
    assert (columns["a"] * columns["n"] < 2).all()


def test_nothing_to_vary_is_refused():
    with pytest.raises(InputError, match="no parameter is varied"):
        LargestDisagreement(ParameterSpace.from_dict({"g": 9.81}))


# summaries


@pytest.mark.parametrize("shape", [(), (5,), (3, 7), (11, 64, 64), (4, 16, 16, 2)])
def test_summary_is_short_and_holds_the_mean(shape):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    summary = summary_of(array, 8)
    assert summary.dtype == np.float64
    assert 2 <= summary.size <= 9
    assert summary[-1] == pytest.approx(array.astype(np.float64).std())
    np.testing.assert_array_equal(summary_of(np.full(shape, 2.5), 8)[:-1], 2.5)


def test_summary_has_the_means_of_blocks():
    array = np.arange(24.0).reshape(6, 4)
    np.testing.assert_allclose(
        summary_of(array, 4)[:-1],
        [array[:3, :2].mean(), array[:3, 2:].mean(), array[3:, :2].mean(), array[3:, 2:].mean()],
    )


# of the user's own

OWN = """
import numpy as np

class Corners:
    def __init__(self, space):
        self.told = 0
    def ask(self, generation, n, rng):
        return {"a": np.full(n, min(self.told, 1)), "b": rng.random(n)}
    def tell(self, columns, values):
        self.told += len(values)

class Outside(Corners):
    def ask(self, generation, n, rng):
        return {"a": np.full(n, 7.0), "b": rng.random(n)}

class Short(Corners):
    def ask(self, generation, n, rng):
        return {"a": np.zeros(n - 1), "b": np.zeros(n - 1)}

class Raises(Corners):
    def tell(self, columns, values):
        raise ValueError("not today")

class Listed(Corners):
    def ask(self, generation, n, rng):
        return [1] * n

class Other:
    pass
"""


def own(tmp_path, name):
    (tmp_path / "mine.py").write_text(OWN)
    return make_adaptive(f"{tmp_path}/mine.py:{name}", SQUARE)


def test_own_design_is_asked_and_told(tmp_path):
    design = own(tmp_path, "Corners")
    first = design.ask(0, 3, stream(1, 0))
    design.tell(first, np.zeros((3, 1)))
    assert first["a"].tolist() == [0, 0, 0]
    assert first["a"].dtype == np.float64
    assert design.ask(1, 2, stream(1, 1))["a"].tolist() == [1, 1]
    assert is_adaptive(f"{tmp_path}/mine.py:Corners")
    assert len(design_hash(f"{tmp_path}/mine.py:Corners")) == 64
    assert is_adaptive("adaptive")
    assert design_hash("adaptive") is None
    assert not is_adaptive("sobol")
    assert not is_adaptive("points.csv")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Outside", r"mine.py:Outside, generation 0, sample 0: a = 7.0 lies outside"),
        ("Short", r"a has shape \(3,\); \(4,\) is needed"),
        ("Raises", r"mine.py: ValueError: not today \(line 22\)"),
        ("Listed", "ask returned list"),
        ("Other", "a class with ask"),
        ("Corner", "did you mean 'Corners'"),
    ],
)
def test_own_design_that_is_none_is_told(tmp_path, name, told):
    with pytest.raises(InputError, match=told):
        design = own(tmp_path, name)
        design.tell(design.ask(0, 4, stream(1, 0)), np.zeros((4, 1)))
