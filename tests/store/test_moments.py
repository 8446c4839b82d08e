"""Moments are those of all values together, to rounding, however the samples lie; and the file says exactly them."""

import numpy as np
import pytest

from hpc_ds.store import moments as module
from hpc_ds.store.layout import Axis, Field, Layout, axis
from hpc_ds.store.moments import Moments, write_stats


def layout_of(*fields, nx=7, ny=5, nt=6):
    axes = (axis("x", 0.0, 1.0, nx), axis("y", 0.0, 1.0, ny))
    return Layout("test", axes, Axis("time", np.arange(float(nt))), fields)


def samples_of(layout, n, offset=0.0, scale=1.0, seed=1):
    rng = np.random.default_rng(seed)
    draw = lambda name: (offset + scale * rng.normal(size=layout.shape(name))).astype(np.float32)  # noqa: E731
    return [{field.name: draw(field.name) for field in layout.fields} for _ in range(n)]


def exact(layout, samples, name):
    """Return the six statistics of one field from all values at once, in extended precision."""
    field = layout.field(name)
    values = np.stack([sample[name] for sample in samples]).astype(np.longdouble)
    axes = tuple(range(values.ndim - field.rank))
    found = {"": values}
    if field.time_varying:
        found["_delta"] = np.diff(values, axis=1)
    return {
        key + suffix: function(array)
        for suffix, array in found.items()
        for key, function in {
            "mean": lambda v: v.mean(axis=axes),
            "std": lambda v: v.std(axis=axes),
            "rms": lambda v: np.sqrt((v**2).mean(axis=axes)),
        }.items()
    }


def stats_of(layout, samples):
    moments = Moments(layout)
    return moments.stats(np.stack([moments.of_sample(sample) for sample in samples]))


EVERY_KIND = (
    Field("u"),
    Field("v", 1),
    Field("s", 2),
    Field("mask", time_varying=False),
    Field("bed", 1, time_varying=False, dims=("x",)),
    Field("energy", dims=()),
    Field("score", dims=(), time_varying=False),
)


@pytest.mark.parametrize(
    ("offset", "scale"), [(0.0, 1.0), (3.0, 1e-3), (1e6, 1.0), (-1e30, 1e28), (1e-30, 1e-32)]
)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_statistics_are_those_of_all_values_at_once(n, offset, scale):
    layout = layout_of(*EVERY_KIND)
    samples = samples_of(layout, n, offset, scale)
    stats = stats_of(layout, samples)
    for field in layout.fields:
        for key, wanted in exact(layout, samples, field.name).items():
            found = stats[key][field.name]
            assert np.shape(found) == (2,) * field.rank
            # A mean is known as well as the values, whose size may be that of the offset.
            absolute = 1e-14 * (abs(offset) + scale)
            np.testing.assert_allclose(found, wanted.astype(float), rtol=1e-9, atol=absolute, err_msg=key)


def test_a_large_offset_is_no_matter_where_the_textbook_formula_has_no_digit_left():
    layout = layout_of(Field("u"), nx=50, ny=40)
    samples = samples_of(layout, 3, offset=1e7, scale=2.0)
    wanted = exact(layout, samples, "u")["std"]
    values = np.stack([sample["u"] for sample in samples]).astype(np.float64)
    textbook = np.sqrt((values**2).mean() - values.mean() ** 2)
    assert abs(textbook / wanted - 1) > 1e-5
    assert abs(stats_of(layout, samples)["std"]["u"] / wanted - 1) < 1e-12


def test_a_start_far_from_all_that_follows_costs_no_digits():
    layout = layout_of(Field("u"), nt=200)
    samples = samples_of(layout, 2)
    for sample in samples:
        sample["u"][0] += 1e6
    for key, wanted in exact(layout, samples, "u").items():
        np.testing.assert_allclose(stats_of(layout, samples)[key]["u"], float(wanted), rtol=1e-11)


def test_steady_drift_has_no_spread():
    layout = layout_of(Field("u"), nt=9)
    start = np.random.default_rng(2).integers(-50, 50, (1, 7, 5))
    sample = {"u": (start + 3.0 * np.arange(9)[:, None, None]).astype(np.float32)}
    stats = stats_of(layout, [sample, sample])
    assert stats["mean_delta"]["u"] == pytest.approx(3.0, rel=1e-14)
    assert stats["std_delta"]["u"] < 1e-13
    assert stats["rms_delta"]["u"] == pytest.approx(3.0, rel=1e-14)


def test_a_constant_field_has_standard_deviation_zero_and_never_less():
    layout = layout_of(Field("u"), Field("k", time_varying=False))
    sample = {name: np.full(layout.shape(name), 0.1, np.float32) for name in ("u", "k")}
    stats = stats_of(layout, [sample] * 5)
    assert stats["std"]["u"] == stats["std"]["k"] == stats["std_delta"]["u"] == 0.0
    assert "k" not in stats["std_delta"]


def test_one_frame_has_differences_of_zero():
    layout = layout_of(Field("u"), nt=1)
    stats = stats_of(layout, samples_of(layout, 3))
    assert stats["mean_delta"] == stats["std_delta"] == stats["rms_delta"] == {"u": 0.0}


def test_the_result_depends_on_the_order_of_the_design_alone():
    layout = layout_of(Field("u"))
    moments = Moments(layout)
    samples = np.stack([moments.of_sample(sample) for sample in samples_of(layout, 37)])
    once, twice = moments.merged(samples), moments.merged(samples.copy(order="F"))
    assert once.tobytes() == twice.tobytes()
    with pytest.raises(ValueError, match="no samples"):
        moments.merged(samples[:0])


@pytest.mark.parametrize(
    ("field", "nx", "ny", "nt"),
    [
        (Field("u"), 7, 5, 6),
        (Field("u"), 64, 65, 33),
        (Field("u"), 130, 127, 2),
        (Field("u"), 130, 127, 1),
        (Field("v", 1), 61, 67, 21),
        (Field("s", 2), 40, 33, 30),
        (Field("e", dims=()), 7, 5, 3000),
        (Field("b", dims=("x",)), 40, 5, 5000),
    ],
)
def test_compiled_sums_are_the_same_to_the_last_bit(monkeypatch, field, nx, ny, nt):
    pytest.importorskip("numba")
    layout = layout_of(field, nx=nx, ny=ny, nt=nt)
    (sample,) = samples_of(layout, 1, offset=3.0)
    compiled = Moments(layout).of_sample(sample)
    monkeypatch.setattr(module, "_add_compiled", module._add_arrays)
    assert Moments(layout).of_sample(sample).tobytes() == compiled.tobytes()


def test_a_wrong_order_of_addition_would_be_seen(monkeypatch):
    layout = layout_of(Field("u"), nx=64, ny=65, nt=33)
    (sample,) = samples_of(layout, 1, offset=3.0)
    right = Moments(layout).of_sample(sample)
    monkeypatch.setattr(module, "_BLOCK", 2048)
    assert Moments(layout).of_sample(sample).tobytes() != right.tobytes()


def test_yaml_reads_back_exactly(tmp_path):
    yaml = pytest.importorskip("yaml")
    layout = layout_of(Field("u"), Field("v", 1), Field("s", 2), Field("no", time_varying=False))
    stats = stats_of(layout, samples_of(layout, 4, scale=1e-5))
    stats["mean"]["u"], stats["std"]["u"], stats["rms"]["u"] = 1e-05, 1e22, -0.0
    write_stats(tmp_path / "stats.yaml", stats)
    text = (tmp_path / "stats.yaml").read_text()
    assert yaml.safe_load(text) == stats
    assert repr(yaml.safe_load(text)["rms"]["u"]) == "-0.0"


def test_yaml_of_fields_that_never_vary_in_time_has_empty_tables(tmp_path):
    yaml = pytest.importorskip("yaml")
    layout = layout_of(Field("a", time_varying=False), nt=1)
    stats = stats_of(layout, samples_of(layout, 2))
    write_stats(tmp_path / "stats.yaml", stats)
    assert yaml.safe_load((tmp_path / "stats.yaml").read_text()) == stats
    assert stats["mean_delta"] == {}
