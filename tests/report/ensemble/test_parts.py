"""The parts of the page that can be wrong by themselves: scales, images, rates, choice of samples, words."""

import numpy as np
import pytest

from hpc_ds.report.ensemble import images, samples, scales, timing, wording
from hpc_ds.report.ensemble.parameters import Parameter, read_parameters
from hpc_ds.report.ensemble.reader import load
from hpc_ds.store.design_file import Design
from hpc_ds.store.layout import Axis, Field


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.01, 1, [0.01, 0.1, 1]), (1, 8, [1, 3]), (2, 6, [2, 5]), (1e-9, 1e3, [1e-9, 1e-5, 1e-1, 1e3])],
)
def test_ticks_of_a_logarithmic_axis_are_round(low, high, ticks):
    assert np.allclose(scales.log_ticks(low, high, 4), ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(0.001, "0.001"), (300, "300"), (1e-5, "10⁻⁵"), (2e6, "2·10⁶"), (1e4, "10⁴")]
)
def test_ticks_are_written_short(value, text):
    assert scales.power(value) == text


def test_words_and_integers_are_steps_of_an_axis():
    item = Parameter("scheme", "", "", np.array([0.0, 1.0, 1.0, 0.0]), words=("implicit", "explicit"))
    scale = scales.scale_of(item, 3)
    assert scale.names == ["implicit", "explicit"] and scale.ticks == [0.0, 1.0]
    assert np.all(np.round(scale.placed(0)) == item.values)
    assert len(set(scale.placed(0).tolist())) == 4


@pytest.mark.parametrize(
    ("declared", "log"),
    [
        ({"distribution": "log_uniform(0.1, 10)"}, True),
        ({"distribution": "uniform(0.1, 1000)"}, False),
        ({"bounds": [0.1, 10], "scale": "log"}, True),
        ({"bounds": [0.1, 1000]}, False),
        (None, False),
    ],
)
def test_axis_is_logarithmic_where_the_law_is(declared, log):
    design = Design({"k": np.array([0.2, 1.0, 5.0])}, 3)
    space = {} if declared is None else {"space": {"parameters": {"k": declared}}}
    assert read_parameters(design, None, space)[0].log is log


def test_axis_of_an_unknown_law_is_logarithmic_over_two_decades():
    design = Design({"k": np.array([0.01, 1.0, 5.0]), "f": np.array([-1.0, 1.0, 500.0])}, 3)
    assert [item.log for item in read_parameters(design, None, {})] == [True, False]


def test_colour_scale_of_a_signed_field_is_symmetric():
    scale = images.scale_of([np.array([[-1.0, 3.0], [0.5, 2.0]])])
    assert (scale.low, scale.high, scale.colours, scale.extend) == (-3.0, 3.0, images.SIGNED, "neither")


def test_colour_scale_of_a_positive_field_begins_at_zero_if_that_is_near():
    near, far = images.scale_of([np.linspace(0.01, 3.0, 50)]), images.scale_of([np.linspace(290, 300, 50)])
    assert (near.low, near.colours) == (0.0, images.UNSIGNED)
    assert (far.low, far.high) == (290.0, 300.0)


def test_colour_scale_is_not_washed_out_by_a_spike():
    values = np.linspace(0.0, 1.0, 10_000)
    values[17] = 1e6
    scale = images.scale_of([values])
    assert scale.high < 1.1 and scale.extend == "max"


def test_colour_scale_of_a_constant_field_is_not_empty():
    scale = images.scale_of([np.full(9, 2.0)])
    assert scale.low < 2.0 < scale.high


def test_large_images_are_averaged():
    values, low, high = images.evened(np.arange(1000.0)[:, None], np.linspace(0, 999, 1000))
    assert values.shape == (images.MOST, 1)
    assert values.mean() == pytest.approx(499.5, abs=0.5)
    assert (low, high) == (-0.5, 999.5)


def test_uneven_axes_are_evened():
    values, low, high = images.evened(np.array([[0.0], [1.0], [10.0]]), np.array([0.0, 1.0, 10.0]))
    assert values[:, 0].tolist() == [
        0.0,
        1.0,
        1.0,
        10.0,
        10.0,
        10.0,
    ]  # the nearest of 0, 1, 10 to 0, 2, 4, 6, 8, 10
    assert (low, high) == (-1.0, 11.0)


def test_rate_leaves_pauses_out_and_marks_them():
    lines = [
        {"time": 1.0 * second + (5000 if second > 10 else 0), "done": 2 * second} for second in range(20)
    ]
    found = timing.rate(lines)
    assert found.edges[-1] == pytest.approx(18.0)
    assert found.rate == pytest.approx(2.0, rel=0.3)
    assert found.pauses == (10.0,)


def test_rate_never_is_negative_when_samples_are_tried_again():
    lines = [{"time": float(second), "done": done} for second, done in enumerate((1, 5, 9, 3, 4, 8, 12, 12))]
    assert timing.rate(lines).rate.min() >= 0.0


@pytest.mark.parametrize("lines", [[], [{"done": 1}] * 9, [{"time": 1.0, "done": 3}] * 9])
def test_rate_is_unknown_where_the_progress_says_too_little(lines):
    assert timing.rate(lines) is None


def test_root_mean_square_of_a_vector_is_that_of_its_magnitude():
    values = np.broadcast_to(np.array([3.0, 4.0], np.float32), (5, 7, 2))
    assert samples.rms(values, Field("v", rank=1)) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00042, "0.42 ms"),
        (0.042, "42 ms"),
        (0.5, "0.5 s"),
        (2.345, "2.3 s"),
        (42.2, "42 s"),
        (200, "3 min 20 s"),
    ],
)
def test_run_times_are_told_in_two_digits(seconds, text):
    assert wording.seconds(seconds) == text


def test_samples_of_a_large_run_are_looked_at_evenly(fake_ensemble):
    chosen = samples.gallery(load(fake_ensemble("lorenz96", 150).run()))
    assert chosen.looked_at == samples.LOOKED_AT
    assert len({shown.index for shown in chosen.shown}) == 4


def test_damaged_samples_are_passed_over(fake_ensemble):
    folder = fake_ensemble("lorenz96", 6).run(merged=False)
    shard = next(folder.glob("shards/*.h5"))
    shard.write_bytes(shard.read_bytes()[:3000])
    assert samples.gallery(load(folder)) is None


def test_fields_in_space_are_shown_by_their_middle_slice():
    from hpc_ds.report.ensemble.pictures import draw
    from hpc_ds.store.layout import Layout

    axes = tuple(Axis(name, np.arange(6.0)) for name in "zyx")
    layout = Layout(
        "flow", axes, Axis("time", np.arange(3.0)), (Field("p"), Field("v", rank=1, time_varying=False))
    )
    values = {"p": np.random.default_rng(0).normal(size=(3, 6, 6, 6)), "v": np.ones((6, 6, 6, 3))}
    shown = samples.Shown(4, 5, 1.0, {name: one.astype(np.float32) for name, one in values.items()})
    chosen = samples.Gallery("p", 1, (shown,), {})
    for field in layout.fields:
        svg, caption = draw(layout, field, chosen, field.name)
        assert "slice at z = 3" in caption and "x across" in caption and "<image" in svg


def test_a_figure_of_pure_noise_still_is_small():
    from hpc_ds.report.ensemble.pictures import draw
    from hpc_ds.store.layout import Layout

    axes = tuple(Axis(name, np.arange(300.0)) for name in "xy")
    layout = Layout("noise", axes, Axis("time", np.arange(4.0)), (Field("p"),))
    rng = np.random.default_rng(0)
    shown = tuple(
        samples.Shown(i, 5, 1.0, {"p": rng.normal(size=(4, 300, 300)).astype(np.float32)}) for i in range(4)
    )
    svg, _ = draw(layout, layout.fields[0], samples.Gallery("p", 4, shown, {}), "p")
    assert len(svg) < 3e5
