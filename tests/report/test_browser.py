"""The report in a real browser: everything visible, nothing overflowing, no error, no network."""

import pytest

import hpc_ds.report as report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 400])
def test_spectrum_report_is_whole_in_chromium(browser, fake_run, width):
    path = report.build(fake_run.spectrum(background=0.3, x_name="BE / eV"))
    seen = browser.visit(path, width)
    assert seen["inner"] == width
    assert len(seen["boxes"]) == 23
    hidden = [box for box in seen["boxes"] if box["height"] < 50 or box["right"] - box["left"] < 200]
    outside = [box for box in seen["boxes"] if box["left"] < 0 or box["right"] > width]
    assert hidden == [] and outside == []
    assert seen["page"] <= width
    assert seen["smallest"] >= 6.5
    assert browser.complaints() == []
    assert browser.requests(path) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_user_model_report_is_whole_in_chromium(browser, fake_run, width):
    path = report.build(fake_run.user_model(name="a_model_with_quite_a_long_name_" * 3))
    seen = browser.visit(path, width)
    assert all(box["height"] > 50 and box["left"] >= 0 and box["right"] <= width for box in seen["boxes"])
    assert seen["page"] <= width
    assert browser.complaints() == []


def test_page_follows_the_colour_scheme(browser, fake_run):
    path = report.build(fake_run.spectrum(numbers=(3,)))
    look = """
      const style = item => getComputedStyle(document.querySelector(item));
      return [style('body').backgroundColor, style('svg text').fill];
    """
    shades = {}
    for scheme in ("light", "dark"):
        browser.visit(path, 1280, scheme)
        shades[scheme] = browser.ask(look)
    assert shades["light"] == ["rgb(255, 255, 255)", "rgb(27, 36, 48)"]
    assert shades["dark"] == ["rgb(18, 22, 27)", "rgb(232, 235, 239)"]
