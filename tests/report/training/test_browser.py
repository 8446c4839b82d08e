"""The report of a training in a real browser: everything visible, nothing overflowing, no error, no network."""

import pytest

import hpc_ds.report as report

pytestmark = pytest.mark.browser

FIGURES = {"line": 8, "plane": 9, "scalars": 9, "classes": 9}


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", FIGURES)
def test_report_is_whole_in_chromium(browser, trained, name, width):
    path = report.build(trained[name])
    seen = browser.visit(path, width)
    assert seen["inner"] == width
    assert len(seen["boxes"]) == FIGURES[name]
    hidden = [box for box in seen["boxes"] if box["height"] < 50 or box["right"] - box["left"] < 200]
    outside = [box for box in seen["boxes"] if box["left"] < 0 or box["right"] > width]
    assert hidden == [] and outside == []
    assert seen["page"] <= width
    assert seen["smallest"] >= 6.5
    assert browser.complaints() == []
    assert browser.requests(path) == []


def test_hostile_text_stays_text(browser, fake_training):
    name = "<img src=x onerror=alert(1)>"
    training = fake_training().history()
    training.fields()
    path = report.build(training.finish(network=f"net.py:{name}"))
    browser.visit(path, 1280)
    assert browser.ask("return document.querySelector('h1').textContent;").startswith(name)
    assert browser.complaints() == []
