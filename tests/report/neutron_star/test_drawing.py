"""Names keep apart from each other and from the points."""

import numpy as np
from matplotlib.figure import Figure

from hpc_ds.report.neutron_star import drawing
from hpc_ds.report.neutron_star.wording import moments


def boxes_of(points, names):
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    drawing.label_apart(axes, points, names, 7.0)
    figure.draw_without_rendering()
    return axes, [text.get_window_extent() for text in axes.texts]


def test_names_of_a_crowd_cover_neither_each_other_nor_a_point():
    rng = np.random.default_rng(4)
    points = np.clip(0.5 + 0.12 * rng.normal(size=(16, 2)), 0.02, 0.98)
    axes, boxes = boxes_of(points, [f"star {k}0+1234" for k in range(16)])
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert not any(box.contains(*spot) for spot in axes.transData.transform(points))


def test_names_stay_inside_the_panel():
    corners = [(0, 0), (1, 1), (0, 1), (1, 0)]
    axes, boxes = boxes_of(corners, ["a long name"] * 4)
    inside = axes.get_window_extent().padded(1.0)
    assert all(inside.contains(*corner) for box in boxes for corner in box.corners())


def test_a_crowd_that_cannot_keep_apart_is_still_named():
    _, boxes = boxes_of([(0.5, 0.5)] * 80, ["a very long name indeed " * 2] * 80)
    assert len(boxes) == 80


def test_moments_are_those_of_the_networks_that_reach_a_mass():
    rows = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan], [5.0, np.nan, 4.0]])
    mean, sd = moments(rows)
    assert mean[0] == 3.0 and sd[0] == 2.0
    assert np.isnan(mean[1:]).all() and np.isnan(sd[1:]).all()
