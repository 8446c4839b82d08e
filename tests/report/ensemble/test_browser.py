"""The report of an ensemble in a real browser: everything visible, nothing overflowing, no error, no network."""

import pytest

import hpc_ds.report as report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize(("name", "figures"), [("burgers", 5), ("lorenz96", 5), ("navier_stokes", 10)])
def test_report_is_whole_in_chromium(browser, finished, name, figures, width):
    path = report.build(finished[name])
    seen = browser.visit(path, width)
    assert seen["inner"] == width
    assert len(seen["boxes"]) == figures
    hidden = [box for box in seen["boxes"] if box["height"] < 50 or box["right"] - box["left"] < 200]
    outside = [box for box in seen["boxes"] if box["left"] < 0 or box["right"] > width]
    assert hidden == [] and outside == []
    assert seen["page"] <= width
    assert seen["smallest"] >= 6.5
    assert browser.complaints() == []
    assert browser.requests(path) == []


def test_images_of_fields_are_drawn_pixel_by_pixel(browser, finished):
    browser.visit(report.build(finished["navier_stokes"]), 1280)
    look = "return [...document.querySelectorAll('svg image')].map(i => getComputedStyle(i).imageRendering);"
    kinds = browser.ask(look)
    assert len(kinds) >= 16 + 16 + 4
    assert kinds.count("pixelated") >= 36


def test_hostile_text_stays_text(browser, fake_ensemble):
    message = "<img src=x onerror=alert(1)> </table><script>alert(2)</script>"
    path = report.build(fake_ensemble("burgers", 10).run(failed={1: ("raised", message)}))
    browser.visit(path, 1280)
    assert browser.ask(
        "return [...document.querySelectorAll('td')].some(i => i.textContent.includes('<img src=x'));"
    )
    assert browser.complaints() == []
