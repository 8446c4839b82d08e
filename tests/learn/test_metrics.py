"""Metrics against numbers computed by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpc_ds.learn.metrics import make_metrics, sample_error
from hpc_ds.learn.recorders import Batch
from hpc_ds.runtime.errors import InputError

LATITUDE = SimpleNamespace(name="lat", coordinates=np.array([-60.0, 0.0, 60.0]), periodic=False)
LONGITUDE = SimpleNamespace(name="lon", coordinates=np.arange(0.0, 360.0, 90.0), periodic=True)
SPREAD = ("nll", "crps", "coverage_68", "coverage_90", "coverage_95", "sharpness")


def records_of(metric, prediction, target, spread=None):
    tensors = [
        torch.as_tensor(np.asarray(part)) if part is not None else None
        for part in (prediction, target, spread)
    ]
    batch = Batch(tensors[0].double(), tensors[1], tensors[2])
    return {name: record(batch).double().numpy() for name, record in metric.needs.items()}


def value(name, prediction, target, spread=None, task="scalars", **options):
    (metric,) = make_metrics(task, (name,), spread=spread is not None, **options)
    return metric.reduce(records_of(metric, prediction, target, spread))


def detail(name, key, prediction, target, task="scalars"):
    (metric,) = make_metrics(task, (name,))
    return metric.details[key](records_of(metric, prediction, target))


def random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# ---- numbers -----------------------------------------------------------------------------------------------


P = np.array([[2.5, 1.0], [0.0, 2.0], [2.0, 3.0], [8.0, 5.0]])
T = np.array([[3.0, 1.0], [-0.5, 2.0], [2.0, 3.0], [7.0, 4.0]])


def test_r2_matches_the_textbook_example():
    # Residual 0.25 + 0.25 + 0 + 1 = 1.5 of a total of 29.1875 about the mean 2.875; second target: 1 of 5.
    assert detail("r2", "by_target", P, T) == pytest.approx([1 - 1.5 / 29.1875, 1 - 1 / 5])
    assert value("r2", P, T) == pytest.approx(1 - (1.5 / 29.1875 + 1 / 5) / 2)


def test_r2_of_a_constant_target_is_one_where_it_is_met_and_zero_elsewhere():
    constant = np.full((3, 2), 4.0)
    assert detail("r2", "by_target", np.add(constant, [0.0, 1.0]), constant).tolist() == [1.0, 0.0]


def test_rmse_and_mae_are_those_of_all_values_and_by_target():
    assert value("rmse", P, T) == pytest.approx(math.sqrt(2.5 / 8))
    assert detail("rmse", "by_target", P, T) == pytest.approx([math.sqrt(1.5 / 4), math.sqrt(1 / 4)])
    assert value("mae", P, T) == pytest.approx(3.0 / 8)
    assert detail("mae", "by_target", P, T) == pytest.approx([0.5, 0.25])


def test_msle_compares_logarithms():
    assert value("msle", [[math.e - 1.0], [-3.0]], [[0.0], [0.0]]) == pytest.approx(0.5)


def test_samples_of_numbers_are_ranked_by_error_in_units_of_the_targets_spread():
    _, needs, error = sample_error("scalars")
    batch = Batch(torch.tensor(P), torch.tensor(T))
    found = error({name: record(batch).numpy() for name, record in needs.items()})
    expected = np.sqrt((((P - T) / T.std(0)) ** 2).mean(1))
    assert found == pytest.approx(expected)


# ---- fields ------------------------------------------------------------------------------------------------


def test_relative_l2_is_the_mean_over_samples_of_ratios():
    target = random(0, 3, 2, 4, 4)
    prediction = target * np.array([1.1, 0.8, 1.0])[:, None, None, None]
    assert value("relative_l2", prediction, target, task="fields") == pytest.approx(0.1)


def test_vrmse_is_the_wells():
    # A prediction by the mean has mse = (n - 1)/n of the unbiased variance.
    target = random(1, 3, 2, 5, 5)
    mean = target.mean((2, 3), keepdims=True) + np.zeros_like(target)
    assert value("vrmse", mean, target, task="fields") == pytest.approx(math.sqrt(24 / 25), rel=1e-6)


def test_r2_of_fields_counts_variance_between_and_within_samples():
    prediction, target = random(2, 4, 2, 3, 3), random(3, 4, 2, 3, 3)
    flat = [np.moveaxis(part, 1, -1).reshape(-1, 2) for part in (prediction, target)]
    residual, total = ((flat[0] - flat[1]) ** 2).sum(0), ((flat[1] - flat[1].mean(0)) ** 2).sum(0)
    assert value("r2", prediction, target, task="fields") == pytest.approx((1 - residual / total).mean())


def test_h1_is_the_score_of_the_same_name():
    axis = SimpleNamespace(name="x", coordinates=2 * np.pi * np.arange(16) / 16, periodic=True)
    target = np.sin(2 * axis.coordinates)[None, None]
    error = 0.01 * np.sin(5 * axis.coordinates)
    found = value("h1", target + error, target, task="fields", axes=(axis,))
    assert found == pytest.approx(0.01 * math.sqrt(26 / 5))


def test_latitude_rmse_weighs_rows_and_takes_the_root_of_each_forecast():
    error = np.zeros((2, 1, 3, 4))
    error[0, 0, 1] = 3.0  # the equator: weight 1 / (2/3) of a third of the points
    found = value("latitude_rmse", error, np.zeros_like(error), task="fields", axes=(LATITUDE, LONGITUDE))
    assert found == pytest.approx(math.sqrt(9.0 * 1.5 / 3.0) / 2.0)


def test_anomaly_correlation_is_weatherbenchs():
    target, prediction = random(4, 6, 2, 3, 4), random(5, 6, 2, 3, 4)
    prediction += target
    clim = target.mean(0)
    w = np.cos(np.deg2rad(LATITUDE.coordinates))[:, None]
    w = w / w.mean()
    expected = []
    for channel in range(2):
        f, a = prediction[:, channel] - clim[channel], target[:, channel] - clim[channel]
        f, a = f - f.mean(), a - a.mean()
        expected.append((w * f * a).sum() / np.sqrt((w * f**2).sum() * (w * a**2).sum()))
    found = value("acc", prediction, target, task="fields", axes=(LATITUDE, LONGITUDE), climatology=clim)
    assert found == pytest.approx(np.mean(expected))


def test_anomaly_correlation_of_the_truth_is_one():
    target = random(6, 5, 1, 3, 4)
    options = {"task": "fields", "axes": (LATITUDE, LONGITUDE), "climatology": target.mean(0)}
    assert value("acc", target, target, **options) == pytest.approx(1.0)
    assert value("acc", 2.0 * target.mean(0) - target, target, **options) == pytest.approx(-1.0)


# ---- spreads -----------------------------------------------------------------------------------------------


def test_metrics_of_a_right_spread_have_their_closed_forms():
    n, sd = 200_000, 2.0
    target = sd * random(7, n, 1)
    mean, spread = np.zeros((n, 1)), np.full((n, 1), sd)
    found = {name: value(name, mean, target, spread) for name in SPREAD}
    assert found["coverage_68"] == pytest.approx(0.68, abs=0.004)
    assert found["coverage_90"] == pytest.approx(0.90, abs=0.003)
    assert found["coverage_95"] == pytest.approx(0.95, abs=0.002)
    assert found["sharpness"] == sd
    assert found["crps"] == pytest.approx(sd / math.sqrt(math.pi), rel=5e-3)
    assert found["nll"] == pytest.approx(0.5 + math.log(sd) + 0.5 * math.log(2 * math.pi), rel=5e-3)


def test_coverage_of_fields_counts_points():
    target = np.zeros((1, 1, 4))
    prediction, spread = np.array([[[0.5, 1.5, 1.8, 3.0]]]), np.ones((1, 1, 4))
    found = [value(f"coverage_{level}", prediction, target, spread, task="fields") for level in (68, 90, 95)]
    assert found == [0.25, 0.5, 0.75]


# ---- classes -----------------------------------------------------------------------------------------------

LABEL = np.array([0, 0, 0, 1, 1, 2])
PROBABILITY = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4]]
)


def of_classes(name, probability=PROBABILITY, label=LABEL):
    return value(name, probability, label, task="classify")


def by_class(name):
    return detail(name, "by_class", PROBABILITY, LABEL, task="classify").tolist()


def test_confusion_and_what_follows_from_it():
    table = detail("accuracy", "confusion", PROBABILITY, LABEL, task="classify")
    assert table.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert of_classes("accuracy") == pytest.approx(4 / 6)
    assert by_class("recall") == pytest.approx([2 / 3, 1 / 2, 1.0])
    assert by_class("precision") == pytest.approx([2 / 3, 1 / 2, 1.0])
    assert by_class("f1") == pytest.approx([2 / 3, 1 / 2, 1.0])
    assert of_classes("balanced_accuracy") == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    probability = np.eye(2)[[0, 1, 1, 1, 0]]
    label = np.array([0, 1, 1, 0, 0])
    p, r = np.array([1.0, 2 / 3]), np.array([2 / 3, 1.0])
    found = detail("f1", "by_class", probability, label, task="classify")
    assert found == pytest.approx(2 * p * r / (p + r))


def test_a_class_that_no_sample_has_is_left_out_of_means():
    probability, label = np.eye(3)[[0, 1]], np.array([0, 1])
    assert of_classes("balanced_accuracy", probability, label) == 1.0
    assert of_classes("auc", probability, label) == 1.0


def test_cross_entropy_and_brier_score_are_means_over_samples():
    right = PROBABILITY[np.arange(6), LABEL]
    assert of_classes("cross_entropy") == pytest.approx(-np.log(right).mean())
    squares = ((PROBABILITY - np.eye(3)[LABEL]) ** 2).sum(1)
    assert of_classes("brier") == pytest.approx(squares.mean())


def test_a_certain_error_costs_much_but_not_infinity():
    assert of_classes("cross_entropy", np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(
        87.34, abs=0.01
    )


def test_area_under_the_curve_is_the_part_of_pairs_in_order():
    score, positive = np.array([0.1, 0.4, 0.35, 0.8, 0.4]), np.array([0, 0, 1, 1, 1])
    pairs = [np.sign(p - q) for p in score[positive == 1] for q in score[positive == 0]]
    expected = np.mean([(sign + 1) / 2 for sign in pairs])
    assert of_classes("auc", np.stack([1 - score, score], 1), positive) == pytest.approx(expected)


def test_expected_calibration_error_of_bins():
    # Confidence 0.95 is right in 9 of 10: a gap of 0.05; confidence 0.6 in 5 of 10: a gap of 0.1.
    probability = np.repeat([[0.95, 0.05], [0.6, 0.4]], 10, axis=0)
    label = np.array([1] + [0] * 9 + [1] * 5 + [0] * 5)
    assert of_classes("calibration_error", probability, label) == pytest.approx((0.05 + 0.1) / 2)


def test_precision_at_recall_takes_the_best_threshold_that_finds_enough():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    positive = np.array([1, 0, 1, 1, 0, 1])
    probability = np.stack([1 - score, score], 1)
    for wanted, precision in [(0.25, 1.0), (0.5, 0.75), (0.75, 0.75), (0.79, 4 / 6), (1.0, 4 / 6)]:
        assert of_classes(f"precision_at_recall={wanted}", probability, positive) == pytest.approx(precision)


def test_precision_of_guesses_is_the_prevalence():
    guesses = np.full((200, 2), 0.5)
    positive = (np.arange(200) % 50 == 0).astype(int)
    assert of_classes("precision_at_recall=0.79", guesses, positive) == pytest.approx(0.02)


def test_precision_at_recall_falls_as_more_is_to_be_found():
    rng = np.random.default_rng(8)
    positive = rng.random(400) < 0.1
    score = np.clip(0.3 * positive + 0.7 * rng.random(400), 0, 1)
    probability = np.stack([1 - score, score], 1)
    found = [
        of_classes(f"precision_at_recall={w}", probability, positive.astype(int))
        for w in (0.2, 0.5, 0.79, 1.0)
    ]
    assert found == sorted(found, reverse=True)


# ---- the list ----------------------------------------------------------------------------------------------


def test_each_task_has_its_usual_metrics():
    def names(task, **options):
        return [metric.name for metric in make_metrics(task, **options)]

    assert names("fields") == ["relative_l2", "rmse", "mae", "vrmse"]
    assert names("fields", axes=(LATITUDE, LONGITUDE))[-1] == "latitude_rmse"
    assert names("scalars", spread=True) == ["rmse", "mae", "r2", *SPREAD]
    assert names("classify", spread=True)[:2] == ["cross_entropy", "accuracy"]


def test_each_metric_says_which_way_is_better_and_its_unit():
    by_name = {metric.name: metric for metric in make_metrics("scalars", spread=True)}
    assert by_name["rmse"].smaller_is_better and by_name["rmse"].unit == "target"
    assert by_name["r2"].smaller_is_better is False and by_name["r2"].unit == ""
    assert by_name["coverage_90"].smaller_is_better is None


def test_metrics_that_share_records_record_the_same():
    functions = {}
    for metric in make_metrics("fields", ("rmse", "r2", "mae", "vrmse", "relative_l2", "msle")):
        for name, record in metric.needs.items():
            assert functions.setdefault(name, record) is record


@pytest.mark.parametrize(
    ("task", "name", "options", "message"),
    [
        ("fields", "rsme", {}, "metric 'rsme': unknown; did you mean 'rmse'"),
        ("fields", "accuracy", {}, "metric 'accuracy': not for fields"),
        ("scalars", "h1", {}, "metric 'h1': not for scalars"),
        ("fields", "nll", {}, "needs predictions with a spread"),
        ("fields", "latitude_rmse", {}, "needs an axis lat"),
        ("fields", "acc", {}, "needs a climatology"),
        ("classify", "precision_at_recall", {}, "as precision_at_recall=0.79"),
        ("classify", "precision_at_recall=high", {}, "a number is needed after the ="),
    ],
)
def test_wrong_metrics_are_refused(task, name, options, message):
    with pytest.raises(InputError) as refused:
        make_metrics(task, (name,), **options)
    assert message in str(refused.value)
